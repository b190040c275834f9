package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"

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

// Calls calls found with what each of some searches finds among an account's calls,
// one search after another; not for those that find none. The calls are valid until
// found returns. An id may be found in two ways: then it is called for each.
func (s *Store) Calls(ctx context.Context, account string, searches []conversion.CallSearch, found func(search int, calls []conversion.Call)) error {
	id, err := s.account(ctx, s.read, account)
	if err != nil || id == 0 {
		return err
	}
	for _, way := range ways {
		if err := s.callsFound(ctx, id, way, searches, found); err != nil {
			return fmt.Errorf("find calls: %w", err)
		}
	}
	return nil
}

// callsFound answers the searches that are to be answered one way.
func (s *Store) callsFound(ctx context.Context, account int64, way way, searches []conversion.CallSearch, found func(search int, calls []conversion.Call)) error {
	chosen := way.choose(searches)
	var at int
	var calls []conversion.Call // those that the search before has found
	of := -1
	read := newCallScan(&at)
	err := lookup(ctx, s.read, soughtColumns, way.query(account), len(chosen), way.args(searches, chosen), func(rows *sql.Rows) error {
		call, err := read.scan(rows)
		if err != nil {
			return err
		}
		if way.superseded {
			call.TransactionID = searches[at].ID // by which the row knows it
		}
		if at != of && len(calls) > 0 {
			found(of, calls)
			calls = calls[:0]
		}
		of, calls = at, append(calls, call)
		return nil
	})
	if err == nil && len(calls) > 0 {
		found(of, calls)
	}
	return err
}

// way is one way to look for calls: by an id, by caller and time, by time alone,
// or the latest of a caller. Each is answered by an index of its own.
type way struct {
	id     string // the column of the id; "" to look by time
	kind   conversion.CallIDKind
	caller bool
	latest bool
	// nearest are the few around the middle of a time.
	nearest bool
	// superseded is by the id of a log entry that a later one has replaced.
	superseded bool
}

var ways = []way{
	{id: "call_id", kind: conversion.CallRecord}, {id: "transaction_id", kind: conversion.CallTransaction}, {id: "transaction_id", kind: conversion.CallTransaction, superseded: true},
	{id: "external_id", kind: conversion.CallExternal}, {id: "click_id", kind: conversion.CallClick},
	{caller: true}, {}, {nearest: true}, {caller: true, latest: true},
}

// choose returns the indexes of the searches that are to be answered this way, in
// the order of its index.
func (w way) choose(searches []conversion.CallSearch) []int {
	var chosen []int
	for i, search := range searches {
		byID := search.ID != ""
		if byID && w.id != "" && search.Kind == w.kind || !byID && w.id == "" && (search.Caller != 0) == w.caller && search.Latest == w.latest && search.Nearest == w.nearest {
			chosen = append(chosen, i)
		}
	}
	slices.SortFunc(chosen, func(a, b int) int {
		return cmp.Or(cmp.Compare(searches[a].ID, searches[b].ID), cmp.Compare(searches[a].Caller, searches[b].Caller), cmp.Compare(searches[a].From, searches[b].From))
	})
	return chosen
}

func (w way) args(searches []conversion.CallSearch, chosen []int) func(row int, into []any) []any {
	return func(row int, into []any) []any {
		search := searches[chosen[row]]
		switch {
		case w.id != "":
			return append(into, chosen[row], search.ID, 0, 0, 0)
		case w.nearest:
			return append(into, chosen[row], int64(search.From+(search.To-search.From)/2), int64(search.From), int64(search.To), 0)
		}
		return append(into, chosen[row], int64(search.Caller), int64(search.From), int64(search.To), int64(search.Called))
	}
}

// soughtColumns are what a search is looked for by.
const soughtColumns = "at, sought, lo, hi, called"

// query finds the calls of an account that are wanted.
func (w way) query(account int64) string {
	return "SELECT w.at, c." + joinColumns("c", callColumns) + w.from() + " WHERE " + w.where(literal(account))
}

// from are the tables that are looked in.
func (w way) from() string {
	if w.superseded {
		return " FROM w CROSS JOIN superseded_transaction s CROSS JOIN call c"
	}
	return " FROM w CROSS JOIN call c"
}

// where compares a call of an account with what is sought, so that each search is one
// seek.
func (w way) where(account string) string {
	own := "c.account = " + account
	switch {
	case w.superseded:
		return own + " AND s.account = " + account + " AND s.transaction_id = w.sought AND c.id = s.call"
	case w.id != "":
		return own + " AND c." + w.id + " = w.sought AND c." + w.id + " <> ''"
	case w.latest:
		return own + " AND c.caller = w.sought AND c.start_ms = (SELECT MAX(l.start_ms) FROM call l WHERE l.account = " + account + " AND l.caller = w.sought AND l.start_ms BETWEEN w.lo AND w.hi AND (w.called = 0 OR l.called IN (0, w.called)))"
	case w.nearest:
		side := func(between, order string) string {
			return "SELECT id FROM (SELECT id FROM call WHERE account = " + account + " AND start_ms " + between + " ORDER BY start_ms" + order + " LIMIT " + strconv.Itoa(conversion.NearestCalls) + ")"
		}
		return "c.id IN (" + side("BETWEEN w.lo AND w.sought", " DESC") + " UNION ALL " + side("> w.sought AND start_ms <= w.hi", "") + ")"
	case w.caller:
		return own + " AND c.caller = w.sought AND c.start_ms BETWEEN w.lo AND w.hi"
	}
	return own + " AND c.start_ms BETWEEN w.lo AND w.hi"
}

// literal writes one of our own numbers into a statement.
func literal(id int64) string { return strconv.FormatInt(id, 10) }

// CallsElsewhere tells, for each search that names a caller or an id, whether
// another account has such a call.
func (s *Store) CallsElsewhere(ctx context.Context, account string, searches []conversion.CallSearch) ([]bool, error) {
	elsewhere := make([]bool, len(searches))
	id, err := s.account(ctx, s.read, account)
	if err != nil {
		return nil, err
	}
	for _, way := range ways {
		if way.id == "" && !way.caller || way.superseded {
			continue
		}
		chosen := way.choose(searches)
		query := "SELECT DISTINCT w.at FROM w CROSS JOIN account a CROSS JOIN call c WHERE a.id <> " + literal(id) + " AND " + way.where("a.id")
		err = lookup(ctx, s.read, soughtColumns, query, len(chosen), way.args(searches, chosen), func(rows *sql.Rows) error {
			var at int
			err := rows.Scan(&at)
			if err == nil {
				elsewhere[at] = true
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("find calls of other accounts: %w", err)
		}
	}
	return elsewhere, nil
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
	next := int64(0)
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM call").Scan(&next); err != nil {
		return err
	}
	err := insert(ctx, tx, "call", "account, "+callColumns,
		"ON CONFLICT (id) DO UPDATE SET call_id = excluded.call_id, transaction_id = excluded.transaction_id, external_id = excluded.external_id, click_id = excluded.click_id, start_ms = excluded.start_ms, "+
			"duration = excluded.duration, caller = excluded.caller, called = excluded.called, campaign = excluded.campaign, publisher = excluded.publisher, status = excluded.status, cost = excluded.cost, cost_currency = excluded.cost_currency, corrected = excluded.corrected",
		len(b.touched), func(row int, into []any) []any {
			c := b.touched[row]
			if c.ID == 0 {
				next++
				c.ID = next
			}
			return append(into, account, c.ID, c.CallID, c.TransactionID, c.ExternalID, c.ClickID, int64(c.Start), c.Duration, int64(c.Caller), int64(c.Called), c.Campaign, c.Publisher, c.Status,
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
		" FROM call c JOIN account a ON a.id = c.account WHERE $1 = '' OR a.name = $1 ORDER BY c.start_ms DESC, c.id LIMIT $2", account, orAll(limit))
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
