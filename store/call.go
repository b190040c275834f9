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

const callColumns = "id, call_id, transaction_id, external_id, click_id, start_ms, duration, caller, called, campaign, publisher, status, cost, cost_currency, corrected"

// callScan reads calls one after another, each into the place of the one before.
type callScan struct {
	call     conversion.Call
	cost     sql.NullInt64
	currency string
	into     []any
}

// newCallScan reads what stands before a call's columns into before.
func newCallScan(before ...any) *callScan {
	s := &callScan{}
	c := &s.call
	s.into = append(before, &c.ID, &c.CallID, &c.TransactionID, &c.ExternalID, &c.ClickID, &c.Start, &c.Duration, &c.Caller, &c.Called, &c.Campaign, &c.Publisher, &c.Status, &s.cost, &s.currency, &c.Corrected)
	return s
}

func (s *callScan) scan(rows *sql.Rows) (conversion.Call, error) {
	err := rows.Scan(s.into...)
	s.call.Cost = amount(s.cost, s.currency)
	return s.call, err
}

// SaveCalls stores the calls of a call log: new ones, and what has changed of
// known ones. An entry that a later one has replaced changes nothing.
func (s *Store) SaveCalls(ctx context.Context, account string, calls []conversion.Call) (tally conversion.CallsTally, err error) {
	if err := s.EnsureAccounts(ctx, []string{account}); err != nil {
		return tally, err
	}
	err = s.inTx(ctx, "save calls", func(tx *transaction) error {
		tally = conversion.CallsTally{}
		id, err := s.account(ctx, tx, account)
		if err != nil {
			return err
		}
		book, err := loadCallBook(ctx, tx, id, calls)
		if err != nil {
			return err
		}
		for i := range calls {
			book.enter(calls[i], &tally)
		}
		return book.save(ctx, tx, id)
	})
	return tally, err
}

// callBook is what the store knows of a log's calls, kept up to date while the
// log's entries are entered one after another.
type callBook struct {
	byCallID      map[string]*conversion.Call
	byTransaction map[string]*conversion.Call
	superseded    map[string]bool
	newSuperseded map[string]*conversion.Call // by what has replaced them
	touched       []*conversion.Call
	isTouched     map[*conversion.Call]bool
}

func loadCallBook(ctx context.Context, tx *transaction, account int64, calls []conversion.Call) (*callBook, error) {
	b := &callBook{byCallID: map[string]*conversion.Call{}, byTransaction: map[string]*conversion.Call{}, superseded: map[string]bool{}, newSuperseded: map[string]*conversion.Call{}, isTouched: map[*conversion.Call]bool{}}
	var callIDs, transactions []string
	for _, c := range calls {
		callIDs = append(callIDs, c.CallID)
		for _, t := range []string{c.TransactionID, c.Corrects} {
			if t != "" {
				transactions = append(transactions, t)
			}
		}
	}
	byID := map[int64]*conversion.Call{}
	read := newCallScan()
	note := func(rows *sql.Rows) error {
		c, err := read.scan(rows)
		if err != nil || byID[c.ID] != nil {
			return err
		}
		byID[c.ID] = &c
		b.index(&c)
		return nil
	}
	for _, by := range []struct {
		column string
		values []string
	}{{"call_id", callIDs}, {"transaction_id", transactions}} {
		query := "SELECT c." + joinColumns("c", callColumns) + " FROM w CROSS JOIN call c WHERE c.account = " + literal(account) + " AND c." + by.column + " = w.v AND c." + by.column + " <> ''"
		if err := lookup(ctx, tx, "v", query, len(by.values), stringArgs(by.values), note); err != nil {
			return nil, err
		}
	}
	query := "SELECT s.transaction_id FROM w CROSS JOIN superseded_transaction s WHERE s.account = " + literal(account) + " AND s.transaction_id = w.v"
	err := lookup(ctx, tx, "v", query, len(transactions), stringArgs(transactions), func(rows *sql.Rows) error {
		var t string
		err := rows.Scan(&t)
		b.superseded[t] = true
		return err
	})
	return b, err
}

func stringArgs(values []string) func(row int, into []any) []any {
	return func(row int, into []any) []any { return append(into, values[row]) }
}

func (b *callBook) index(c *conversion.Call) {
	b.byCallID[c.CallID] = c
	if c.TransactionID != "" {
		b.byTransaction[c.TransactionID] = c
	}
}

// enter applies one entry of a log.
func (b *callBook) enter(entry conversion.Call, tally *conversion.CallsTally) {
	stale := entry.TransactionID != "" && b.superseded[entry.TransactionID]
	known := b.byCallID[entry.CallID]
	if known == nil && entry.Corrects != "" {
		known = b.byTransaction[entry.Corrects]
	}
	entry.Corrected = entry.Corrects != ""
	if known == nil {
		known = &conversion.Call{}
	}
	if entry.Corrects != "" && !b.superseded[entry.Corrects] {
		b.superseded[entry.Corrects] = true
		b.newSuperseded[entry.Corrects] = known
	}
	switch {
	case stale, known.Corrected && !entry.Corrected && known.TransactionID != entry.TransactionID:
		tally.Unchanged++ // what came later says otherwise
		return
	case known.CallID == "":
		tally.Created++
	case known.SameAs(entry):
		tally.Unchanged++
		return
	default:
		tally.Updated++
	}
	entry.ID, entry.Corrected = known.ID, entry.Corrected || known.Corrected
	if !entry.Cost.Given { // what a row said of it stands
		entry.Cost = known.Cost
	}
	*known = entry
	b.index(known)
	if !b.isTouched[known] {
		b.isTouched[known] = true
		b.touched = append(b.touched, known)
	}
}

func (b *callBook) save(ctx context.Context, tx *transaction, account int64) error {
	if err := b.place(ctx, tx, account); err != nil {
		return err
	}
	slices.SortFunc(b.touched, func(a, b *conversion.Call) int { return cmp.Compare(a.ID, b.ID) })
	err := insert(ctx, tx, "call", "account, astray, "+callColumns,
		"ON CONFLICT (id) DO UPDATE SET astray = excluded.astray, call_id = excluded.call_id, transaction_id = excluded.transaction_id, external_id = excluded.external_id, click_id = excluded.click_id, start_ms = excluded.start_ms, "+
			"duration = excluded.duration, caller = excluded.caller, called = excluded.called, campaign = excluded.campaign, publisher = excluded.publisher, status = excluded.status, cost = excluded.cost, cost_currency = excluded.cost_currency, corrected = excluded.corrected",
		len(b.touched), func(row int, into []any) []any {
			c := b.touched[row]
			return append(into, account, flag(astray(account, c)), c.ID, c.CallID, c.TransactionID, c.ExternalID, c.ClickID, int64(c.Start), c.Duration, int64(c.Caller), int64(c.Called), c.Campaign, c.Publisher, c.Status,
				nullable(c.Cost), string(c.Cost.Currency), flag(c.Corrected))
		})
	if err != nil {
		return err
	}
	superseded := slices.Sorted(maps.Keys(b.newSuperseded))
	superseded = slices.DeleteFunc(superseded, func(t string) bool { return b.newSuperseded[t].ID == 0 })
	return insert(ctx, tx, "superseded_transaction", "account, transaction_id, call", "ON CONFLICT DO NOTHING", len(superseded),
		func(row int, into []any) []any {
			return append(into, account, superseded[row], b.newSuperseded[superseded[row]].ID)
		})
}

// place gives the new calls of a book their ids.
func (b *callBook) place(ctx context.Context, tx *transaction, account int64) error {
	places := map[int64]int64{} // the last id that was given in each
	for _, c := range b.touched {
		if c.ID == 0 {
			places[placeOf(account, c)] = 0
		}
	}
	wanted := slices.Sorted(maps.Keys(places))
	err := lookup(ctx, tx, "place", "SELECT w.place, MAX(c.id) FROM w CROSS JOIN call c WHERE c.id BETWEEN w.place AND w.place + "+literal(callsInPlace-1)+" GROUP BY w.place", len(wanted), intArgs(wanted), func(rows *sql.Rows) error {
		var place, last int64
		err := rows.Scan(&place, &last)
		places[place] = last
		return err
	})
	if err != nil {
		return fmt.Errorf("find places for calls: %w", err)
	}
	for _, c := range b.touched {
		if c.ID != 0 {
			continue
		}
		place := placeOf(account, c)
		if c.ID = max(places[place], place) + 1; c.ID >= place+callsInPlace {
			return fmt.Errorf("more than %d calls of one caller on one day", callsInPlace-2)
		}
		places[place] = c.ID
	}
	return nil
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

// ListCalls calls each for calls with their accounts, newest first: of one
// account ("" = all), at most limit (0 = all).
func (s *Store) ListCalls(ctx context.Context, account string, limit int, each func(c conversion.Call, account string) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT a.name, c."+joinColumns("c", callColumns)+
		" FROM call c JOIN account a ON a.id = c.account WHERE $1 = '' OR a.name = $1 ORDER BY c.start_ms DESC, c.call_id LIMIT $2", account, orAll(limit))
	if err != nil {
		return fmt.Errorf("list calls: %w", err)
	}
	var of string
	read := newCallScan(&of)
	return scanAll(rows, func(rows *sql.Rows) error {
		c, err := read.scan(rows)
		if err != nil {
			return err
		}
		return each(c, of)
	})
}

// orAll turns a limit of 0 into one that is never reached.
func orAll(limit int) int64 {
	if limit <= 0 {
		return 1<<63 - 1
	}
	return int64(limit)
}
