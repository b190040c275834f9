package ingest

import (
	"strconv"
	"strings"
	"time"

	"calltally/conversion"
)

// cake are the parameters of CAKE's UpdateConversion and of its reconciliation
// files. Every row is about a conversion that is held.
var cake = &Dialect{
	Name:     "cake",
	Takes:    conversion.TakesConversions,
	Required: []Requirement{{"the conversion (conversion_id, request_session_id or transaction_id)", []string{"conversion_id", "request_session_id", "transaction_id"}}},
	Columns: []Column{
		{"conversion_id", nil, KindID, "Our id of the conversion; 0 means none."},
		{"request_session_id", []string{"request_id"}, KindID, "The click whose call's newest conversion is meant; 0 means none."},
		{"transaction_id", nil, KindID, "The sender's own id of the conversion (its reference_id); 0 is an id like any other."},
		{"offer_id", nil, KindID, "The campaign that the conversion must belong to; 0 means any."},
		{"payout", nil, KindAmount, "A new payout, or more of it."},
		{"add_to_existing_payout", nil, KindFlag, "Whether payout is added to the one that is held or takes its place. Needed with payout."},
		{"received", nil, KindAmount, "A new amount, as received_option says."},
		{"received_option", nil, KindOption, "total_sale_amount, additional_sale_amount, total_revenue, additional_revenue or no_change. Needed with received."},
		{"currency", nil, KindCurrency, "The currency of payout and received, if not the account's."},
		{"disposition_type", nil, KindOption, "A new status: pending, rejected, approved, returned, or no_change."},
		{"disposition_id", nil, KindID, "More about the status; 0 means nothing."},
		{"update_revshare_payout", nil, KindFlag, "Whether the rules decide the payout anew, if it is a share of the sale or of what is received. Then payout counts for nothing."},
		{"effective_date_option", nil, KindOption, "The day that the change counts from: today, conversion_date or custom; if blank, today."},
		{"custom_date", nil, KindText, "That day as MM/DD/YYYY HH:MM:SS, for custom."},
		{"note_to_append", []string{"note"}, KindText, "A note for the conversion."},
	},
	labels: func(l *conversion.Labels) {
		l.Reference, l.Sale, l.Currency = "transaction_id", "received", "currency"
	},
	claim: (*rowParser).cake,
}

func (p *rowParser) cake() conversion.Claim {
	c := conversion.Claim{Names: p.cakeName()}
	c.CallIDs[conversion.CallClick] = p.nonZero("request_session_id")
	currency := p.currency("currency")
	c.Payout = p.payout("payout", currency)
	c.Effect = conversion.Effect{KeepPayout: true, Note: p.text("note_to_append")}
	c.Effect.AddPayout = p.added("add_to_existing_payout", c.Payout.Given)
	c.Effect.Repay, _ = p.flag("update_revshare_payout")
	p.received(&c, p.amount("received", currency))
	if c.Status = p.status("disposition_type", conversion.StatusPending, conversion.StatusRejected, conversion.StatusApproved, conversion.StatusReturned, noChange); c.Status == noChange {
		c.Status = ""
	}
	c.Disposition = p.nonZero("disposition_id")
	c.Effect.On, c.Effect.Custom = p.effective()
	return c
}

// noChange is CAKE's word for leaving a status as it is.
const noChange conversion.Status = "no_change"

// cakeName reads which conversion a row is about.
func (p *rowParser) cakeName() conversion.Name {
	name := conversion.Name{Reference: p.id("transaction_id"), Campaign: p.nonZero("offer_id"), ByCall: p.nonZero("request_session_id") != ""}
	if id := p.nonZero("conversion_id"); id != "" {
		name.ID = p.conversionID("conversion_id", id)
		name.Column = "conversion_id"
	}
	switch {
	case name.Column != "":
	case name.Reference != "":
		name.Column = "transaction_id"
	case name.ByCall:
		name.Column = "request_session_id"
	default:
		p.fault(conversion.OptionMissing, "conversion_id", "", "The row names no conversion. Fill in conversion_id, request_session_id or transaction_id.")
	}
	return name
}

// nonZero reads an id for which 0 means none.
func (p *rowParser) nonZero(column string) string {
	if id := p.id(column); id != "0" {
		return id
	}
	return ""
}

// conversionID reads one of our own ids.
func (p *rowParser) conversionID(column, text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		p.fault(conversion.ConversionNotFound, column, text, "%s is %q, which is none of our ids of conversions. Copy it from a results file.", p.label(column), text)
	}
	return id
}

// option reads one of some words; a blank one is what the account says that it
// means.
func (p *rowParser) option(column string, known ...string) string {
	text := p.text(column)
	if text == "" {
		return p.account.Options[column]
	}
	for _, word := range known {
		if strings.EqualFold(text, word) {
			return word
		}
	}
	p.fault(conversion.OptionInvalid, column, text, "%s is %q, which is none of %s. Correct it.", p.label(column), text, strings.Join(known, ", "))
	return ""
}

// needed notes that an option is missing without which an amount could be taken
// in two ways.
func (p *rowParser) needed(column, because string) {
	if !p.faulted(column) {
		p.fault(conversion.OptionMissing, column, "", "%s is blank, and without it there are two ways to take %s. Fill it in, or have it set in the account's options.", p.label(column), because)
	}
}

// added reads whether an amount is added.
func (p *rowParser) added(column string, given bool) bool {
	text := p.text(column)
	if text == "" {
		text = p.account.Options[column]
	}
	switch {
	case text == "" && given:
		p.needed(column, "the payout")
		return false
	case p.text(column) == "":
		return text == "true" && given
	}
	adds, _ := p.flag(column)
	return adds && given
}

// received reads what to do with a received amount.
func (p *rowParser) received(c *conversion.Claim, amount conversion.Amount) {
	option := p.option("received_option", ReceivedOptions...)
	switch option {
	case "":
		if amount.Given {
			p.needed("received_option", "what was received")
		}
		return
	case "no_change":
		return
	}
	sale, adds := strings.HasSuffix(option, "_sale_amount"), strings.HasPrefix(option, "additional_")
	if sale {
		c.Sale, c.Effect.AddSale, c.Effect.ReceivedOfSale = amount, adds, amount.Given
	} else {
		c.Received, c.Effect.AddReceived = amount, adds
	}
}

// ReceivedOptions are what CAKE's received_option may be, EffectiveOptions its
// effective_date_option.
var (
	ReceivedOptions  = []string{"total_sale_amount", "additional_sale_amount", "total_revenue", "additional_revenue", "no_change"}
	EffectiveOptions = []string{string(conversion.OnToday), string(conversion.OnConversion), string(conversion.OnCustom)}
)

// effective reads the day that a change counts from.
func (p *rowParser) effective() (conversion.EffectiveOn, int) {
	on := conversion.EffectiveOn(p.option("effective_date_option", EffectiveOptions...))
	if on != conversion.OnCustom {
		return on, 0
	}
	text := p.text("custom_date")
	if text == "" {
		p.fault(conversion.OptionMissing, "custom_date", "", "effective_date_option is custom, but %s is blank. Fill in the day, such as 03/31/2026 00:00:00.", p.label("custom_date"))
		return on, 0
	}
	day, ok := p.day(text)
	if !ok {
		p.fault(conversion.OptionInvalid, "custom_date", text, "%s is %q, which is no moment such as 03/31/2026 00:00:00. Correct it.", p.label("custom_date"), text)
		return on, 0
	}
	if now := p.table.settings.ReceivedAt; now != 0 && day > p.account.Day(now)+10000 { // a year
		p.fault(conversion.OptionInvalid, "custom_date", text, "%s is %q, which is more than a year ahead. Correct it.", p.label("custom_date"), text)
	}
	return on, day
}

// day reads a day that may have a time, month first: the day that is written, on
// whatever clock, unless its offset says which.
func (p *rowParser) day(text string) (day int, ok bool) {
	reader := conversion.TimeReader{Zone: time.UTC, Order: conversion.DateOrderMDY}
	when, err := reader.Read(text)
	if err != nil {
		text += " 00:00:00"
		when, err = reader.Read(text)
	}
	if conversion.ReadEvidence(text).Zoneless {
		return conversion.DayOf(when.First.From.Time().UTC()), err == nil
	}
	return p.account.Day(when.First.From), err == nil
}
