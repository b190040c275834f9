package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"calltally/conversion"
	"calltally/report"
)

type conversionsCommand struct {
	List conversionsListCommand `cmd:"" help:"List conversions, newest first."`
	Show conversionsShowCommand `cmd:"" help:"Show one conversion with every change of it."`
}

type conversionsListCommand struct {
	listFlags
}

type conversionJSON struct {
	ConversionID     string `json:"conversion_id"`
	Account          string `json:"account"`
	CallID           string `json:"call_id"`
	OccurredAt       string `json:"occurred_at"`
	EventType        string `json:"event_type"`
	ReasonCode       string `json:"reason_code"`
	ReferenceID      string `json:"reference_id"`
	SKUList          string `json:"sku_list"`
	QuantityList     string `json:"quantity_list"`
	SaleAmount       string `json:"sale_amount"`
	SaleCurrency     string `json:"sale_currency"`
	Received         string `json:"received"`
	ReceivedCurrency string `json:"received_currency"`
	Payout           string `json:"payout"`
	PayoutCurrency   string `json:"payout_currency"`
	PayoutBy         string `json:"payout_by"` // rules, or row
	Status           string `json:"status"`
	Disposition      string `json:"disposition"`
	EventID          string `json:"event_id"`
	DuplicateStatus  string `json:"duplicate_status"` // new, repeated or unknown
	Value            string `json:"value"`
	Parent           string `json:"parent_conversion_id"`
	Note             string `json:"note"`
	Campaign         string `json:"campaign_id"`
	Publisher        string `json:"publisher_id"`
	Upload           int64  `json:"upload"`
	Line             int    `json:"line"`
}

func conversionOf(c *conversion.Conversion, account, callID string) conversionJSON {
	return conversionJSON{
		ConversionID: conversion.FormatID(c.ID), Account: account, CallID: callID, OccurredAt: c.OccurredAt.String(), EventType: c.EventType, ReasonCode: c.ReasonCode,
		ReferenceID: c.ReferenceID, SKUList: c.SKUs, QuantityList: c.Quantities, SaleAmount: c.Sale.String(), SaleCurrency: string(c.Sale.Currency),
		Received: c.Received.String(), ReceivedCurrency: string(c.Received.Currency), Payout: c.Payout.String(), PayoutCurrency: string(c.Payout.Currency),
		PayoutBy: cmp.Or(c.PayoutBy, "rules"), Status: string(c.Status), Disposition: c.Disposition, EventID: c.EventID, DuplicateStatus: cmp.Or(c.Repeat, "unknown"),
		Value: c.Value, Parent: c.Parent, Note: c.Note, Campaign: c.Campaign, Publisher: c.Publisher,
		Upload: conversion.UploadOf(c.ID), Line: conversion.LineOf(c.ID),
	}
}

func (c *conversionsListCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	l := g.list(app, c.listFlags, "No conversions yet.", "conversion", "account", "occurred", "reference", "type", "status", "sale", "payout")
	err = app.store.ListConversions(g.ctx, c.Account, l.limit, func(c *conversion.Conversion, account, callID string) error {
		return l.add(conversionOf(c, account, callID),
			c.ID, conversion.Clip(account, 8), shortTime(c.OccurredAt)[:10], conversion.Clip(orDash(c.ReferenceID), 12), conversion.Clip(orDash(cmp.Or(c.EventType, c.ReasonCode)), 9), orDash(string(c.Status)), money(c.Sale), money(c.Payout))
	})
	if err != nil {
		return err
	}
	return l.end()
}

func money(a conversion.Amount) string {
	if !a.Given {
		return "-"
	}
	return a.String() + " " + string(a.Currency)
}

type conversionsShowCommand struct {
	Conversion int64 `arg:"" help:"The conversion's number."`
}

type changeJSON struct {
	Upload         int64               `json:"upload"`
	Line           int                 `json:"line"`
	Verdict        string              `json:"verdict"`
	At             string              `json:"at"`
	Effective      string              `json:"effective"`
	SaleBefore     string              `json:"sale_before"`
	SaleAfter      string              `json:"sale_after"`
	ReceivedBefore string              `json:"received_before"`
	ReceivedAfter  string              `json:"received_after"`
	PayoutBefore   string              `json:"payout_before"`
	PayoutAfter    string              `json:"payout_after"`
	StatusBefore   string              `json:"status_before"`
	StatusAfter    string              `json:"status_after"`
	Undoes         int64               `json:"undoes_upload"` // 0 for none
	Details        []map[string]string `json:"details"`
	Rule           string              `json:"rule"`
}

func changeOf(c *conversion.Change) changeJSON {
	j := changeJSON{
		Upload: conversion.UploadOf(c.ID), Line: conversion.LineOf(c.ID), Verdict: c.Verdict.String(), At: c.At.String(),
		Effective:  conversion.DayName(c.Effective),
		SaleBefore: c.Before.Sale.String(), SaleAfter: c.After.Sale.String(), ReceivedBefore: c.Before.Received.String(), ReceivedAfter: c.After.Received.String(),
		PayoutBefore: c.Before.Payout.String(), PayoutAfter: c.After.Payout.String(), StatusBefore: string(c.Before.Status), StatusAfter: string(c.After.Status),
		Undoes: conversion.UploadOf(c.Undoes), Details: []map[string]string{}, Rule: c.Rule,
	}
	for _, d := range c.Details {
		j.Details = append(j.Details, map[string]string{"name": d.Name, "before": d.Before, "after": d.After})
	}
	return j
}

func (c *conversionsShowCommand) Run(g *globals) error {
	app, err := g.open(g.ctx)
	if err != nil {
		return err
	}
	defer app.close()
	held, account, callID, err := app.store.Conversion(g.ctx, c.Conversion)
	if errors.Is(err, conversion.ErrNotFound) {
		return usageError{fmt.Errorf("there is no conversion %d; “calltally conversions list” names them", c.Conversion)}
	}
	if err != nil {
		return err
	}
	changes, err := app.store.Changes(g.ctx, held)
	if err != nil {
		return err
	}
	if g.JSON {
		shown := struct {
			conversionJSON
			Changes []changeJSON `json:"changes"`
		}{conversionOf(held, account, callID), []changeJSON{}}
		for _, change := range changes {
			shown.Changes = append(shown.Changes, changeOf(change))
		}
		return printJSON(g.stdout, shown)
	}
	say := func(indent int, format string, args ...any) {
		fmt.Fprintf(g.stdout, "%s%s\n", strings.Repeat(" ", indent), report.Wrap(78, indent+2, fmt.Sprintf(format, args...)))
	}
	say(0, "Conversion %d of account %s: %s", held.ID, account, standing(held))
	if held.Status == conversion.StatusUndone {
		next, err := app.store.Successor(g.ctx, held)
		if err != nil {
			return err
		}
		if next != nil {
			say(2, "In its place a replay has made conversion %d.", next.ID)
		}
	}
	for _, change := range changes {
		j := changeOf(change)
		say(2, "%s  %s by upload %d, line %d; counts from %s", change.At.Time().Format("2006-01-02 15:04"), j.Verdict, j.Upload, j.Line, j.Effective)
		for _, part := range [][3]string{{"sale", j.SaleBefore, j.SaleAfter}, {"received", j.ReceivedBefore, j.ReceivedAfter}, {"payout", j.PayoutBefore, j.PayoutAfter}, {"status", j.StatusBefore, j.StatusAfter}} {
			if part[1] != part[2] {
				say(6, "%s: %s → %s", part[0], orDash(part[1]), orDash(part[2]))
			}
		}
		if j.Rule != "" {
			say(6, "%s", j.Rule)
		}
		for _, d := range change.Details {
			switch d.Name {
			case "customer":
				say(6, "customer data changed")
			case "item_amounts", "payout_by", "received_by": // the amounts say it
			default:
				say(6, "%s: %s → %s", d.Name, orDash(d.Before), orDash(d.After))
			}
		}
	}
	return nil
}

// standing says what a conversion comes to.
func standing(c *conversion.Conversion) string {
	text := "sale " + money(c.Sale)
	if c.Received.Given {
		text += ", received " + money(c.Received)
	}
	text += ", payout " + money(c.Payout)
	if c.Status != "" {
		text += ", " + string(c.Status)
	}
	return text
}
