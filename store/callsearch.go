package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"calltally/conversion"
)

// A call's id says on which day it started and from whom it came: so its table is in the
// order that rows look for calls in, and those of one caller on one day lie together.
// Above the number that tells them apart stand 39 bits of a digest of account and
// caller, and above those the day, counted from 1970 in UTC. All calls of a place are
// looked at for each row, so it holds few: those of a busier caller go astray.
const (
	callsInPlace = 1 << 8
	callerDigest = 1<<39 - 1
	dayMillis    = 24 * 60 * 60 * 1000
	lastDay      = 1<<16 - 1
)

func dayOf(at conversion.Millis) int64 { return min(max(int64(at)/dayMillis, 0), lastDay) }

// callPlace is the first id of a caller's calls on the day of a moment.
func callPlace(account int64, caller conversion.Phone, at conversion.Millis) int64 {
	return placeBy(account, strconv.FormatInt(int64(caller), 10), at)
}

// placeOf is where a call belongs. Calls of withheld numbers, which nobody looks for by
// that, are spread.
func placeOf(account int64, c *conversion.Call) int64 {
	if c.Caller == 0 {
		return placeBy(account, c.CallID, c.Start)
	}
	return callPlace(account, c.Caller, c.Start)
}

func placeBy(account int64, name string, at conversion.Millis) int64 {
	digest := digestOf(account, name)
	return (dayOf(at)*(callerDigest+1) + int64((digest^digest>>25)&callerDigest)) * callsInPlace
}

// astray reports whether a call isn't where it belongs: it was corrected after it had got
// its id, or there was no room.
func astray(account int64, c *conversion.Call) bool {
	return c.Caller != 0 && c.ID/callsInPlace != placeOf(account, c)/callsInPlace
}

// searched returns an account among whose calls something is to be found, 0 if there is
// none. All that calls are found by is written then.
func (s *Store) searched(ctx context.Context, account string) (int64, error) {
	if s.together != nil {
		if err := s.together.flushCalls(ctx); err != nil {
			return 0, err
		}
	}
	return s.account(ctx, s.read, account)
}

// Calls calls found with what each of some searches finds among an account's calls,
// one search after another; not for those that find none. The calls are valid until
// found returns. An id may be found in two ways: then it is called for each.
func (s *Store) Calls(ctx context.Context, account string, searches []conversion.CallSearch, found func(search int, calls []conversion.Call)) error {
	id, err := s.searched(ctx, account)
	if err != nil || id == 0 {
		return err
	}
	placed := false
	if err := s.read.QueryRowContext(ctx, "SELECT NOT EXISTS (SELECT 1 FROM call WHERE account = $1 AND astray = 1)", id).Scan(&placed); err != nil {
		return fmt.Errorf("find calls: %w", err)
	}
	for _, way := range ways {
		if err := s.callsFound(ctx, id, way, placed, searches, found); err != nil {
			return fmt.Errorf("find calls: %w", err)
		}
	}
	return nil
}

// callsFound answers the searches that are to be answered one way.
func (s *Store) callsFound(ctx context.Context, account int64, way way, placed bool, searches []conversion.CallSearch, found func(search int, calls []conversion.Call)) error {
	chosen := way.choose(account, placed, searches)
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
// or the latest of a caller. Each is answered by an index of its own, or, of a caller on
// one day, by where the table holds those calls.
type way struct {
	id     bool
	caller bool
	placed bool
	latest bool
	// nearest are the few around the middle of a time.
	nearest bool
	// superseded is by the id of a log entry that a later one has replaced.
	superseded bool
}

var ways = []way{
	{id: true}, {id: true, superseded: true},
	{caller: true, placed: true}, {caller: true}, {}, {nearest: true}, {caller: true, latest: true},
}

// chosen is a search that is to be answered one way.
type chosen struct {
	at    int      // which search
	name  callName // of the calls, if the way goes by that
	place int64    // where the calls are, if the way goes by that
}

// choose returns the searches that are to be answered this way, in the order in which
// it comes by the calls. placed says that all calls are where they belong.
func (w way) choose(account int64, placed bool, searches []conversion.CallSearch) []chosen {
	var all []chosen
	for i := range searches {
		search := &searches[i]
		switch {
		case (search.ID != "") != w.id:
		case w.superseded:
			if search.Kind == conversion.CallTransaction {
				all = append(all, chosen{at: i})
			}
		case w.id:
			all = append(all, chosen{at: i, name: nameOf(search.Kind, search.ID)})
		case (search.Caller != 0) != w.caller || search.Latest != w.latest || search.Nearest != w.nearest:
		case !w.caller || w.latest:
			all = append(all, chosen{at: i})
		case w.placed == (placed && dayOf(search.From) == dayOf(search.To)):
			all = append(all, chosen{at: i, place: callPlace(account, search.Caller, search.From)})
		}
	}
	slices.SortFunc(all, func(a, b chosen) int {
		if w.placed {
			return cmp.Compare(a.place, b.place)
		}
		one, other := &searches[a.at], &searches[b.at]
		return cmp.Or(a.name.compare(b.name), cmp.Compare(one.ID, other.ID), cmp.Compare(one.Caller, other.Caller), cmp.Compare(one.From, other.From))
	})
	return all
}

func (w way) args(searches []conversion.CallSearch, all []chosen) func(row int, into []any) []any {
	return func(row int, into []any) []any {
		at := all[row].at
		search := &searches[at]
		switch {
		case w.superseded:
			return append(into, at, search.ID, 0, 0, 0)
		case w.id:
			return append(into, at, all[row].name[:], 0, 0, 0)
		case w.nearest:
			return append(into, at, int64(search.From+(search.To-search.From)/2), int64(search.From), int64(search.To), 0)
		case w.placed:
			return append(into, at, int64(search.Caller), int64(search.From), int64(search.To), all[row].place)
		}
		return append(into, at, int64(search.Caller), int64(search.From), int64(search.To), int64(search.Called))
	}
}

// soughtColumns are what a search is looked for by.
const soughtColumns = "at, sought, lo, hi, called" // or the place instead of the number called

// query finds the calls of an account that are wanted.
func (w way) query(account int64) string {
	return "SELECT w.at, c." + joinColumns("c", callColumns) + " FROM w CROSS JOIN " + w.tables() + " WHERE " + w.where(literal(account))
}

// tables are what is looked in: calls c, and what leads to them.
func (w way) tables() string {
	switch {
	case w.superseded:
		return "superseded_transaction f CROSS JOIN call c"
	case w.id:
		return "call_name f CROSS JOIN call c"
	case w.caller && !w.placed:
		return "call_caller f CROSS JOIN call c"
	}
	return "call c"
}

// where compares a call of an account with what is sought, so that each search is one
// seek.
func (w way) where(account string) string {
	const of = " AND c.id = f.call"
	switch {
	case w.superseded:
		return "f.account = " + account + " AND f.transaction_id = w.sought" + of
	case w.id:
		return "f.name = w.sought" + of + " AND c.account = " + account
	case w.latest:
		return "f.account = " + account + " AND f.caller = w.sought AND f.start_ms = (SELECT l.start_ms FROM call_caller l CROSS JOIN call d WHERE l.account = " + account +
			" AND l.caller = w.sought AND l.start_ms BETWEEN w.lo AND w.hi AND d.id = l.call AND (w.called = 0 OR d.called IN (0, w.called)) ORDER BY l.start_ms DESC LIMIT 1)" + of
	case w.nearest:
		side := func(between, order string) string {
			return "SELECT id FROM (SELECT id FROM call WHERE account = " + account + " AND start_ms " + between + " ORDER BY start_ms" + order + " LIMIT " + strconv.Itoa(conversion.NearestCalls) + ")"
		}
		return "c.id IN (" + side("BETWEEN w.lo AND w.sought", " DESC") + " UNION ALL " + side("> w.sought AND start_ms <= w.hi", "") + ")"
	case w.placed:
		return "c.id BETWEEN w.called AND w.called + " + literal(callsInPlace-1) + " AND +c.account = " + account + " AND +c.caller = w.sought AND +c.start_ms BETWEEN w.lo AND w.hi"
	case w.caller:
		return "f.account = " + account + " AND f.caller = w.sought AND f.start_ms BETWEEN w.lo AND w.hi" + of
	}
	return "c.account = " + account + " AND c.start_ms BETWEEN w.lo AND w.hi"
}

// literal writes one of our own numbers into a statement.
func literal(id int64) string { return strconv.FormatInt(id, 10) }

// CallsElsewhere tells, for each search that names a caller or an id, whether
// another account has such a call.
func (s *Store) CallsElsewhere(ctx context.Context, account string, searches []conversion.CallSearch) ([]bool, error) {
	elsewhere := make([]bool, len(searches))
	id, err := s.searched(ctx, account)
	if err != nil {
		return nil, err
	}
	for _, way := range ways {
		if !way.id && !way.caller || way.superseded {
			continue
		}
		chosen := way.choose(0, false, searches)
		query := "SELECT DISTINCT w.at FROM w CROSS JOIN account a CROSS JOIN " + way.tables() + " WHERE a.id <> " + literal(id) + " AND " + way.where("a.id")
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
