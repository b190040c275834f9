package main

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"calltally/conversion"
	"calltally/store"
)

// payoutsCommand prints a statement: what conversions came to, by the days that
// their changes count from, whenever they were made.
type payoutsCommand struct {
	From    string `help:"The first day, such as 2026-06-01; if not given, the first there is." placeholder:"DAY"`
	To      string `help:"The last day; if not given, the last there is." placeholder:"DAY"`
	By      string `default:"publisher" enum:"publisher,campaign,event_type,effective_date" help:"What to sum up by: publisher, campaign, event_type or effective_date." placeholder:"WHAT"`
	Account string `help:"Only this account's." placeholder:"ID"`
	CSV     bool   `name:"csv" help:"Print CSV."`
}

// statementJSON is one line of a statement: what came in one currency.
type statementJSON struct {
	Account     string `json:"account"`
	By          string `json:"by"`
	Group       string `json:"group"`
	Conversions int    `json:"conversions"`
	Changes     int    `json:"changes"`
	Sales       string `json:"sales"`
	Received    string `json:"received"`
	Payout      string `json:"payout"`
	Pending     string `json:"pending"`
	Withheld    string `json:"withheld"`
	Currency    string `json:"currency"`
}

func (c *payoutsCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	of := store.Statement{Account: c.Account, By: c.By}
	if of.From, err = day("--from", c.From, 0); err != nil {
		return err
	}
	if of.To, err = day("--to", c.To, 99991231); err != nil {
		return err
	}
	if of.From > of.To {
		return usageError{fmt.Errorf("--from %s is after --to %s: there is no day between them", conversion.DayName(of.From), conversion.DayName(of.To))}
	}
	add, end := c.printer(g, app)
	totals := map[conversion.Currency][2]int64{}
	err = app.store.Statement(g.ctx, of, func(l store.StatementLine) error {
		total := totals[l.Currency]
		totals[l.Currency] = [2]int64{total[0] + l.Paid.Minor, total[1] + l.Pending.Minor}
		return add(l)
	})
	if err != nil {
		return err
	}
	return end(totals)
}

// printer returns what prints a statement's lines, and what ends it.
func (c *payoutsCommand) printer(g *globals, app *app) (add func(store.StatementLine) error, end func(map[conversion.Currency][2]int64) error) {
	if c.CSV {
		out := csv.NewWriter(g.stdout)
		header := []string{"account", c.By, "conversions", "changes", "sales", "received", "payout", "pending", "withheld", "currency"}
		if err := out.Write(header); err != nil {
			return func(store.StatementLine) error { return err }, func(map[conversion.Currency][2]int64) error { return err }
		}
		add = func(l store.StatementLine) error {
			j := c.line(l)
			return out.Write([]string{j.Account, j.Group, strconv.Itoa(j.Conversions), strconv.Itoa(j.Changes), j.Sales, j.Received, j.Payout, j.Pending, j.Withheld, j.Currency})
		}
		return add, func(map[conversion.Currency][2]int64) error { out.Flush(); return out.Error() }
	}
	l := g.list(app, listFlags{Account: c.Account}, "No payouts in that time.", strings.ReplaceAll(c.By, "_", " "), "account", "currency", "made", "sales", "payout", "pending", "withheld")
	add = func(line store.StatementLine) error {
		j := c.line(line)
		return l.add(j, conversion.Clip(orDash(j.Group), 18), conversion.Clip(j.Account, 8), orDash(j.Currency), j.Conversions, amountOrDash(line.Sales), amountOrDash(line.Paid), amountOrDash(line.Pending), amountOrDash(line.Withheld))
	}
	return add, func(totals map[conversion.Currency][2]int64) error {
		if err := l.end(); err != nil || l.json || l.rows == 0 {
			return err
		}
		for _, currency := range slices.Sorted(maps.Keys(totals)) {
			total := totals[currency]
			if currency == "" {
				continue
			}
			if _, err := fmt.Fprintf(g.stdout, "Total in %s: %s paid, %s pending\n", currency, conversion.Cents(total[0], currency), conversion.Cents(total[1], currency)); err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *payoutsCommand) line(l store.StatementLine) statementJSON {
	if c.By == "effective_date" {
		if n, err := strconv.Atoi(l.Group); err == nil {
			l.Group = conversion.DayName(n)
		}
	}
	return statementJSON{
		Account: l.Account, By: c.By, Group: l.Group, Conversions: l.Conversions, Changes: l.Changes, Sales: l.Sales.String(),
		Received: l.Received.String(), Payout: l.Paid.String(), Pending: l.Pending.String(), Withheld: l.Withheld.String(), Currency: string(l.Currency),
	}
}

func amountOrDash(a conversion.Amount) string {
	if a.Minor == 0 {
		return "-"
	}
	return a.String()
}

// day reads a day as yyyymmdd.
func day(flag, text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, usageError{fmt.Errorf("%s: %q is not a day such as 2026-06-01", flag, text)}
	}
	return conversion.DayOf(at), nil
}
