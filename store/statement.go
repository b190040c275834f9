package store

import (
	"context"
	"database/sql"
	"fmt"

	"calltally/conversion"
)

// StatementBy are the ways to sum up a statement, and the columns that they group
// by.
var StatementBy = map[string]string{
	"publisher": "c.publisher", "campaign": "c.campaign", "event_type": "c.event_type", "effective_date": "h.effective",
}

// Statement sums up what the changes that count from From to To (days as yyyymmdd,
// both included) have come to. What is paid is the payout of conversions whose
// status pays; that of pending ones is pending.
type Statement struct {
	Account  string // "" = all
	From, To int
	By       string // one of StatementBy
}

// StatementLine is one line of a statement: what an account's conversions came to
// in one currency. Conversions counts those that were made less those that were
// undone, in the line of their payout's currency or, without one, their sale's.
type StatementLine struct {
	Account, Group          string
	Currency                conversion.Currency // "" for conversions without any amount
	Conversions, Changes    int
	Sales, Received         conversion.Amount
	Paid, Pending, Withheld conversion.Amount
}

// payable are the sums of a statement: what of a change's payout is paid, pending
// and withheld, before and after it.
var payable = payoutOf("'', 'approved', 'other'") + ", " + payoutOf("'pending'") + ", " + payoutOf("'declined', 'rejected', 'returned', 'reversed'")

// payoutOf is the sum of what changes have added to the payouts of conversions of some
// statuses.
func payoutOf(statuses string) string {
	side := func(side string) string {
		return "CASE WHEN h.status_" + side + " IN (" + statuses + ") THEN COALESCE(h.payout_" + side + ", 0) ELSE 0 END"
	}
	return "SUM(" + side("after") + " - " + side("before") + ")"
}

// Statement calls each for a statement's lines, by account, currency and group.
// Nothing is converted: each amount counts in the line of its own currency.
func (s *Store) Statement(ctx context.Context, of Statement, each func(StatementLine) error) error {
	group, known := StatementBy[of.By]
	if !known {
		return fmt.Errorf("a statement can't be summed up by %q", of.By)
	}
	from := ` FROM change h JOIN conversion c ON c.id = h.conversion JOIN account a ON a.id = c.account WHERE ($1 = '' OR a.name = $1) AND h.effective BETWEEN $2 AND $3`
	line := func(currency, sums string) string {
		return "SELECT a.name, " + group + " AS grp, " + currency + " AS currency, " + sums + from + " AND " + currency + " <> '' GROUP BY 1, 2, 3"
	}
	query := "SELECT name, grp, currency, SUM(made), SUM(changes), SUM(sale), SUM(received), SUM(paid), SUM(pending), SUM(withheld) FROM (" +
		line("COALESCE(NULLIF(c.payout_currency, ''), NULLIF(c.sale_currency, ''), NULLIF(c.received_currency, ''), '-')", `
			SUM(CASE WHEN h.conversion = h.id THEN 1 ELSE 0 END) - SUM(CASE WHEN h.status_after = 'undone' THEN 1 ELSE 0 END) + SUM(CASE WHEN h.status_before = 'undone' THEN 1 ELSE 0 END) AS made,
			COUNT(*) AS changes, 0 AS sale, 0 AS received, 0 AS paid, 0 AS pending, 0 AS withheld`) + " UNION ALL " +
		line("c.sale_currency", "0, 0, SUM(COALESCE(h.sale_after, 0) - COALESCE(h.sale_before, 0)), 0, 0, 0, 0") + " UNION ALL " +
		line("c.received_currency", "0, 0, 0, SUM(COALESCE(h.received_after, 0) - COALESCE(h.received_before, 0)), 0, 0, 0") + " UNION ALL " +
		line("c.payout_currency", "0, 0, 0, 0,"+payable) + ") GROUP BY 1, 2, 3 ORDER BY 1, 3, 2"
	rows, err := s.read.QueryContext(ctx, query, of.Account, of.From, of.To)
	if err != nil {
		return fmt.Errorf("sum up payouts: %w", err)
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		var l StatementLine
		var sums [5]int64
		err := rows.Scan(&l.Account, &l.Group, &l.Currency, &l.Conversions, &l.Changes, &sums[0], &sums[1], &sums[2], &sums[3], &sums[4])
		if err != nil {
			return err
		}
		if l.Currency == "-" { // conversions without any amount
			l.Currency = ""
		}
		for i, into := range []*conversion.Amount{&l.Sales, &l.Received, &l.Paid, &l.Pending, &l.Withheld} {
			*into = inCurrency(sums[i], l.Currency)
		}
		return each(l)
	})
	if err != nil {
		return fmt.Errorf("sum up payouts: %w", err)
	}
	return nil
}

// inCurrency is an amount, or none where there is no currency.
func inCurrency(minor int64, c conversion.Currency) conversion.Amount {
	if c == "" {
		return conversion.Amount{}
	}
	return conversion.Cents(minor, c)
}
