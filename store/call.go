package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	was           map[*conversion.Call]conversion.Call // those that were touched, before; zero if new
}

func loadCallBook(ctx context.Context, tx *transaction, account int64, calls []conversion.Call) (*callBook, error) {
	b := &callBook{byCallID: map[string]*conversion.Call{}, byTransaction: map[string]*conversion.Call{}, superseded: map[string]bool{}, newSuperseded: map[string]*conversion.Call{}, was: map[*conversion.Call]conversion.Call{}}
	var names []callName
	var transactions []string
	for _, c := range calls {
		names = append(names, nameOf(conversion.CallRecord, c.CallID))
		for _, t := range []string{c.TransactionID, c.Corrects} {
			if t != "" {
				names, transactions = append(names, nameOf(conversion.CallTransaction, t)), append(transactions, t)
			}
		}
	}
	names, transactions = distinct(names, callName.compare), distinct(transactions, cmp.Compare[string])
	ids := distinct(tx.names.find(names, nil), cmp.Compare[int64])
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
		from string
		rows int
		args func(row int, into []any) []any
	}{
		{"call_name f CROSS JOIN call c WHERE f.name = w.v AND c.id = f.call AND c.account = " + literal(account), len(names), func(row int, into []any) []any { return append(into, names[row][:]) }},
		{"call c WHERE c.id = w.v AND c.account = " + literal(account), len(ids), intArgs(ids)},
	} {
		if err := lookup(ctx, tx, "v", "SELECT c."+joinColumns("c", callColumns)+" FROM w CROSS JOIN "+by.from, by.rows, by.args, note); err != nil {
			return nil, fmt.Errorf("find calls: %w", err)
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
	if _, touched := b.was[known]; !touched {
		b.was[known] = *known
		b.touched = append(b.touched, known)
	}
	entry.ID, entry.Corrected = known.ID, entry.Corrected || known.Corrected
	if !entry.Cost.Given { // what a row said of it stands
		entry.Cost = known.Cost
	}
	*known = entry
	b.index(known)
}

func (b *callBook) save(ctx context.Context, tx *transaction, account int64) error {
	var fresh, changed []*conversion.Call
	for _, c := range b.touched {
		if c.ID == 0 {
			fresh = append(fresh, c)
		} else {
			changed = append(changed, c)
		}
	}
	if err := placeCalls(ctx, tx, account, fresh); err != nil {
		return err
	}
	var left, found callFound
	for _, c := range b.touched {
		switch was := b.was[c]; {
		case was.ID == 0:
			found.add(account, c)
		case foundOtherwise(&was, c):
			left.add(account, &was)
			found.add(account, c)
		}
	}
	if err := tx.leaveFound(ctx, &left); err != nil {
		return err
	}
	tx.enterFound(&found)
	for _, some := range []struct {
		calls      []*conversion.Call
		onConflict string
	}{{fresh, ""}, {changed, "ON CONFLICT (id) DO UPDATE SET " + changingCall}} {
		if err := writeCalls(ctx, tx, account, some.calls, some.onConflict); err != nil {
			return err
		}
	}
	superseded := slices.Sorted(maps.Keys(b.newSuperseded))
	superseded = slices.DeleteFunc(superseded, func(t string) bool { return b.newSuperseded[t].ID == 0 })
	err := insert(ctx, tx, "superseded_transaction", "account, transaction_id, call", "ON CONFLICT DO NOTHING", len(superseded),
		func(row int, into []any) []any {
			return append(into, account, superseded[row], b.newSuperseded[superseded[row]].ID)
		})
	if err != nil || len(tx.names.entries) < mostUnwritten {
		return err
	}
	return tx.flushCalls(ctx)
}

// changingCall are a call's columns that a log may change.
var changingCall = func() string {
	var set []string
	for column := range strings.SplitSeq("astray, "+strings.TrimPrefix(callColumns, "id, "), ", ") {
		set = append(set, column+" = excluded."+column)
	}
	return strings.Join(set, ", ")
}()

// writeCalls writes calls of an account, in the order of their ids.
func writeCalls(ctx context.Context, tx *transaction, account int64, calls []*conversion.Call, onConflict string) error {
	slices.SortFunc(calls, func(a, b *conversion.Call) int { return cmp.Compare(a.ID, b.ID) })
	return insert(ctx, tx, "call", "account, astray, "+callColumns, onConflict, len(calls), func(row int, into []any) []any {
		c := calls[row]
		return append(into, account, flag(astray(account, c)), c.ID, c.CallID, c.TransactionID, c.ExternalID, c.ClickID, int64(c.Start), c.Duration, int64(c.Caller), int64(c.Called), c.Campaign, c.Publisher, c.Status,
			nullable(c.Cost), string(c.Cost.Currency), flag(c.Corrected))
	})
}

// placeCalls gives new calls their ids. Those for whom there is no room where they
// belong go astray.
func placeCalls(ctx context.Context, tx *transaction, account int64, calls []*conversion.Call) error {
	calls, err := placeIn(ctx, tx, calls, func(c *conversion.Call) int64 { return placeOf(account, c) })
	if err == nil {
		calls, err = placeIn(ctx, tx, calls, func(c *conversion.Call) int64 { return placeBy(account, c.CallID, c.Start) })
	}
	if err != nil {
		return fmt.Errorf("find places for calls: %w", err)
	}
	if len(calls) > 0 {
		return fmt.Errorf("there is no id left for call %q", calls[0].CallID)
	}
	return nil
}

// placeIn gives calls ids in places, and returns those for whom there is no room.
func placeIn(ctx context.Context, tx *transaction, calls []*conversion.Call, place func(*conversion.Call) int64) (left []*conversion.Call, err error) {
	last := map[int64]int64{} // the id that was given last in each place
	for _, c := range calls {
		last[place(c)] = 0
	}
	places := slices.Sorted(maps.Keys(last))
	err = lookup(ctx, tx, "place", "SELECT w.place, MAX(c.id) FROM w CROSS JOIN call c WHERE c.id BETWEEN w.place AND w.place + "+literal(callsInPlace-1)+" GROUP BY w.place", len(places), intArgs(places), func(rows *sql.Rows) error {
		var place, id int64
		err := rows.Scan(&place, &id)
		last[place] = id
		return err
	})
	for _, c := range calls {
		at := place(c)
		id := max(last[at], at) + 1
		if id >= at+callsInPlace {
			left = append(left, c)
			continue
		}
		c.ID, last[at] = id, id
	}
	return left, err
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
