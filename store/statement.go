package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"calltally/conversion"
)

// StatementBy are the ways to sum up a statement, and what they group by.
var StatementBy = map[string]string{
	"publisher": detail("publisher"), "campaign": detail("campaign"), "event_type": detail("event_type"), "effective_date": "h.effective",
}

// detail is a detail of a conversion c.
func detail(name string) string { return "COALESCE(c.details ->> '" + name + "', '')" }

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
// Nothing is converted: each amount counts in the line of its own currency. What a
// change has moved to another group leaves the one and comes to the other on the
// change's day, so that statements of days before it stay as they were.
func (s *Store) Statement(ctx context.Context, of Statement, each func(StatementLine) error) error {
	group, known := StatementBy[of.By]
	if !known {
		return fmt.Errorf("a statement can't be summed up by %q", of.By)
	}
	sums := statementSums{}
	err := s.sumUp(ctx, of, group, sums)
	if err == nil && of.By != byDay {
		err = s.sumUpRegrouped(ctx, of, sums)
	}
	if err != nil {
		return fmt.Errorf("sum up payouts: %w", err)
	}
	for _, line := range sums.lines() {
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}

const byDay = "effective_date"

// sumUp sums up, in the database, the conversions that have always been in the group
// that they are in.
func (s *Store) sumUp(ctx context.Context, of Statement, group string, into statementSums) error {
	from := ` FROM change h JOIN conversion c ON c.id = h.conversion JOIN account a ON a.id = c.account WHERE ($1 = '' OR a.name = $1) AND h.effective BETWEEN $2 AND $3`
	if of.By != byDay {
		from += " AND c.regrouped = 0"
	}
	line := func(currency, sums string) string {
		return "SELECT a.name, " + group + " AS grp, " + currency + " AS currency, " + sums + from + " AND " + currency + " <> '' GROUP BY 1, 2, 3"
	}
	query := "SELECT name, grp, currency, SUM(made), SUM(changes), SUM(sale), SUM(received), SUM(paid), SUM(pending), SUM(withheld) FROM (" +
		line("COALESCE(NULLIF(c.payout_currency, ''), NULLIF(c.sale_currency, ''), NULLIF(c.received_currency, ''), '-')", `
			SUM(CASE WHEN h.conversion = h.id THEN 1 ELSE 0 END) - SUM(CASE WHEN h.status_after = 'undone' THEN 1 ELSE 0 END) + SUM(CASE WHEN h.status_before = 'undone' THEN 1 ELSE 0 END) AS made,
			COUNT(*) AS changes, 0 AS sale, 0 AS received, 0 AS paid, 0 AS pending, 0 AS withheld`) + " UNION ALL " +
		line("c.sale_currency", "0, 0, SUM(COALESCE(h.sale_after, 0) - COALESCE(h.sale_before, 0)), 0, 0, 0, 0") + " UNION ALL " +
		line("c.received_currency", "0, 0, 0, SUM(COALESCE(h.received_after, 0) - COALESCE(h.received_before, 0)), 0, 0, 0") + " UNION ALL " +
		line("c.payout_currency", "0, 0, 0, 0,"+payable) + ") GROUP BY 1, 2, 3"
	rows, err := s.read.QueryContext(ctx, query, of.Account, of.From, of.To)
	if err != nil {
		return err
	}
	return scanAll(rows, func(rows *sql.Rows) error {
		var at statementAt
		var sum statementSum
		err := rows.Scan(&at.account, &at.group, &at.currency, &sum.conversions, &sum.changes, &sum.sale, &sum.received, &sum.paid, &sum.pending, &sum.withheld)
		if at.currency == "-" { // conversions without any amount
			at.currency = ""
		}
		into[at] = sum
		return err
	})
}

// sumUpRegrouped sums up the few conversions that a change has moved to another group.
func (s *Store) sumUpRegrouped(ctx context.Context, of Statement, into statementSums) error {
	rows, err := s.read.QueryContext(ctx, listedConversions+"c.regrouped = 1 AND ($1 = '' OR a.name = $1)", of.Account)
	if err != nil {
		return err
	}
	accounts := map[int64]string{}
	var moved []*conversion.Conversion
	err = scanAll(rows, func(rows *sql.Rows) error {
		var account, callID string
		c, err := scanConversion(rows, &account, &callID)
		accounts[c.ID], moved = account, append(moved, c)
		return err
	})
	for chunk := range slices.Chunk(moved, 4096) {
		if err != nil {
			break
		}
		var ids []int64
		for _, c := range chunk {
			ids = append(ids, c.ID)
		}
		var ledgers map[int64][]*conversion.Change
		ledgers, err = ledgersOf(ctx, s.read, ids)
		for _, c := range chunk {
			into.addLedger(of, accounts[c.ID], *c.Part(of.By), ledgers[c.ID])
		}
	}
	return err
}

// statementSums are a statement's sums, in minor units, by line.
type statementSums map[statementAt]statementSum

type statementAt struct {
	account, group string
	currency       conversion.Currency
}

type statementSum struct {
	conversions, changes                    int
	sale, received, paid, pending, withheld int64
}

// addLedger adds what the changes of a conversion, which is in a group by now, have
// come to in the groups that it was in.
func (s statementSums) addLedger(of Statement, account, group string, ledger []*conversion.Change) {
	groups := make([]string, len(ledger)+1) // before each change, and after the last
	groups[len(ledger)] = group
	for i, change := range slices.Backward(ledger) {
		groups[i] = groups[i+1]
		for _, d := range change.Details {
			if d.Name == of.By {
				groups[i] = d.Before
			}
		}
	}
	counted := countedIn(ledger)
	for i, change := range ledger {
		if change.Effective < of.From || change.Effective > of.To {
			continue
		}
		if change.Seq > 0 {
			s.addStanding(account, groups[i], counted, change.Before, -1)
		}
		s.addStanding(account, groups[i+1], counted, change.After, 1)
	}
}

// countedIn is the currency of the line in which a conversion is counted.
func countedIn(ledger []*conversion.Change) conversion.Currency {
	var payout, sale, received conversion.Currency
	for _, change := range ledger {
		payout, sale, received = cmp.Or(payout, change.After.Payout.Currency), cmp.Or(sale, change.After.Sale.Currency), cmp.Or(received, change.After.Received.Currency)
	}
	return cmp.Or(payout, sale, received)
}

// addStanding adds what a conversion stands at to the lines of a group, or takes it
// off; it is counted in the line of one currency.
func (s statementSums) addStanding(account, group string, counted conversion.Currency, at conversion.Standing, sign int) {
	add := func(currency conversion.Currency, f func(*statementSum)) {
		where := statementAt{account, group, currency}
		sum := s[where]
		f(&sum)
		s[where] = sum
	}
	minor := func(a conversion.Amount) int64 { return int64(sign) * a.Minor }
	add(counted, func(sum *statementSum) {
		if at.Status != conversion.StatusUndone {
			sum.conversions += sign
		}
		sum.changes += max(sign, 0)
	})
	if at.Sale.Given {
		add(at.Sale.Currency, func(sum *statementSum) { sum.sale += minor(at.Sale) })
	}
	if at.Received.Given {
		add(at.Received.Currency, func(sum *statementSum) { sum.received += minor(at.Received) })
	}
	if !at.Payout.Given {
		return
	}
	add(at.Payout.Currency, func(sum *statementSum) {
		switch {
		case at.Status.Pays():
			sum.paid += minor(at.Payout)
		case at.Status == conversion.StatusPending:
			sum.pending += minor(at.Payout)
		default:
			sum.withheld += minor(at.Payout)
		}
	})
}

// lines are the sums as lines, by account, currency and group.
func (s statementSums) lines() []StatementLine {
	ats := slices.SortedFunc(maps.Keys(s), func(a, b statementAt) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(cmp.Or(a.currency, "-"), cmp.Or(b.currency, "-")), cmp.Compare(a.group, b.group))
	})
	var lines []StatementLine
	for _, at := range ats {
		sum := s[at]
		amount := func(minor int64) conversion.Amount { return inCurrency(minor, at.currency) }
		lines = append(lines, StatementLine{
			Account: at.account, Group: at.group, Currency: at.currency, Conversions: sum.conversions, Changes: sum.changes,
			Sales: amount(sum.sale), Received: amount(sum.received), Paid: amount(sum.paid), Pending: amount(sum.pending), Withheld: amount(sum.withheld),
		})
	}
	return lines
}

// inCurrency is an amount, or none where there is no currency.
func inCurrency(minor int64, c conversion.Currency) conversion.Amount {
	if c == "" {
		return conversion.Amount{}
	}
	return conversion.Cents(minor, c)
}
