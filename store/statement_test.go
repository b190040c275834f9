package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"calltally/conversion"
)

func testSearches(t *testing.T, open func(t *testing.T) *Store) {
	s := open(t)
	log := []conversion.Call{
		{CallID: "A", TransactionID: "T1", ExternalID: "X1", ClickID: "K1", Start: 10_000, Caller: 111},
		{CallID: "B", ClickID: "K1", Start: 20_000, Caller: 111},
		{CallID: "C", TransactionID: "K1", Start: 30_000, Caller: 111},
		{CallID: "D", Start: 30_000, Caller: 111},
	}
	_, err := s.SaveCalls(t.Context(), "23", log)
	must(t, err)
	_, err = s.SaveCalls(t.Context(), "24", []conversion.Call{{CallID: "E", ClickID: "K9", Start: 10_000, Caller: 999}})
	must(t, err)
	for _, test := range []struct {
		search    conversion.CallSearch
		want      string
		elsewhere bool
	}{
		{conversion.CallSearch{Kind: conversion.CallRecord, ID: "A"}, "[A]", false},
		{conversion.CallSearch{Kind: conversion.CallTransaction, ID: "T1"}, "[A]", false},
		{conversion.CallSearch{Kind: conversion.CallExternal, ID: "X1"}, "[A]", false},
		{conversion.CallSearch{Kind: conversion.CallClick, ID: "K1"}, "[A B]", false},
		{conversion.CallSearch{Kind: conversion.CallTransaction, ID: "K1"}, "[C]", false},
		{conversion.CallSearch{Kind: conversion.CallClick, ID: "K9"}, "[]", true},
		{conversion.CallSearch{Kind: conversion.CallRecord, ID: "E"}, "[]", true},
		{conversion.CallSearch{Caller: 111, From: 0, To: 29_999, Latest: true}, "[B]", false},
		{conversion.CallSearch{Caller: 111, From: 0, To: 30_000, Latest: true}, "[C D]", false},
		{conversion.CallSearch{Caller: 111, From: 10_001, To: 19_999, Latest: true}, "[]", false},
		{conversion.CallSearch{Caller: 999, From: 0, To: 30_000, Latest: true}, "[]", true},
	} {
		// Among others, so that each finds its own.
		searches := []conversion.CallSearch{{From: 0, To: 1}, test.search, {Caller: 111, From: 10_000, To: 10_000}}
		found, err := callsFound(t, s, "23", searches)
		must(t, err)
		var got []string
		for _, c := range found[1] {
			got = append(got, c.CallID)
		}
		slices.Sort(got)
		elsewhere, err := s.CallsElsewhere(t.Context(), "23", searches)
		must(t, err)
		if fmt.Sprint(got) != test.want || elsewhere[1] != test.elsewhere || len(found[0]) != 0 || len(found[2]) != 1 {
			t.Errorf("%+v found %v, elsewhere %v; want %s, %v", test.search, got, elsewhere[1], test.want, test.elsewhere)
		}
	}
}

// paid is a conversion with a payout, made on a day.
func paid(publisher string, cents int64, status conversion.Status) func(*conversion.Conversion) {
	return func(c *conversion.Conversion) {
		c.Publisher, c.Payout, c.Status, c.Received = publisher, usd(cents), status, conversion.Amount{}
	}
}

func testStatements(t *testing.T, open func(t *testing.T) *Store) {
	lines := func(t *testing.T, s *Store, of Statement) (all []string) {
		t.Helper()
		must(t, s.Statement(t.Context(), of, func(l StatementLine) error {
			all = append(all, fmt.Sprintf("%s %s: %d made by %d changes, paid %s, pending %s, withheld %s", l.Account, l.Group, l.Conversions, l.Changes, l.Paid, l.Pending, l.Withheld))
			return nil
		}))
		return all
	}
	want := func(t *testing.T, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	s := open(t)
	u := begun(t, s, "a")
	settled := settlement(u, 0, 2, 3, 4)
	var held []*conversion.Conversion
	for i, c := range []func(*conversion.Conversion){paid("Ann", 500, ""), paid("Ann", 700, conversion.StatusPending), paid("Bob", 900, conversion.StatusApproved)} {
		made, change := made(u, 2+i, c)
		held = append(held, made)
		doing(settled, made, change) // they count from 2026-03-10
	}
	must(t, settle(t.Context(), s, settled))
	all := Statement{From: 0, To: 99991231, By: "publisher"}
	want(t, lines(t, s, all), "23 Ann: 2 made by 2 changes, paid 5.00, pending 7.00, withheld 0.00", "23 Bob: 1 made by 1 changes, paid 9.00, pending 0.00, withheld 0.00")

	// The next day one is approved, one rejected, and one undone.
	next := settlement(u, 4, 5, 6, 7)
	approved, change := updated(held[1], u, 5, 2_000, func(c *conversion.Conversion) { c.Status = conversion.StatusApproved })
	doing(next, approved, change)
	rejected, change := updated(held[2], u, 6, 2_000, func(c *conversion.Conversion) { c.Status = conversion.StatusRejected })
	doing(next, rejected, change)
	undone, change := updated(held[0], u, 7, 2_000, func(c *conversion.Conversion) {
		c.Standing = conversion.Standing{Status: conversion.StatusUndone}
	})
	change.Undoes = held[0].ID
	doing(next, undone, change)
	must(t, settle(t.Context(), s, next))
	want(t, lines(t, s, all), "23 Ann: 1 made by 4 changes, paid 7.00, pending 0.00, withheld 0.00", "23 Bob: 1 made by 2 changes, paid 0.00, pending 0.00, withheld 9.00")
	want(t, lines(t, s, Statement{From: 20260310, To: 20260310, By: "publisher"}), "23 Ann: 2 made by 2 changes, paid 5.00, pending 7.00, withheld 0.00", "23 Bob: 1 made by 1 changes, paid 9.00, pending 0.00, withheld 0.00")
	want(t, lines(t, s, Statement{From: 20260311, To: 20260311, By: "publisher"}), "23 Ann: -1 made by 2 changes, paid 2.00, pending -7.00, withheld 0.00", "23 Bob: 0 made by 1 changes, paid -9.00, pending 0.00, withheld 9.00")
	want(t, lines(t, s, Statement{From: 0, To: 99991231, By: "effective_date"}), "23 20260310: 3 made by 3 changes, paid 14.00, pending 7.00, withheld 0.00", "23 20260311: -1 made by 3 changes, paid -7.00, pending -7.00, withheld 9.00")
	want(t, lines(t, s, Statement{Account: "24", From: 0, To: 99991231, By: "publisher"}))
	if err := s.Statement(t.Context(), Statement{By: "moon"}, nil); err == nil {
		t.Error("a statement by the moon")
	}

	// What moves to another publisher leaves the days before as they were.
	june := Statement{From: 0, To: 20260311, By: "publisher"}
	paidThen := lines(t, s, june)
	moving := settlement(u, 7, 8, 9)
	moved, change := updated(approved, u, 8, 3_000, func(c *conversion.Conversion) { c.Publisher = "Cid" })
	change.Effective = 20260312
	doing(moving, moved, change)
	paid, change := updated(moved, u, 9, 3_000, func(c *conversion.Conversion) { c.Payout = usd(800) })
	change.Effective = 20260313
	doing(moving, paid, change)
	must(t, settle(t.Context(), s, moving))
	want(t, lines(t, s, june), paidThen...)
	want(t, lines(t, s, Statement{From: 20260312, To: 20260312, By: "publisher"}), "23 Ann: -1 made by 0 changes, paid -7.00, pending 0.00, withheld 0.00", "23 Cid: 1 made by 1 changes, paid 7.00, pending 0.00, withheld 0.00")
	want(t, lines(t, s, all), "23 Ann: 0 made by 4 changes, paid 0.00, pending 0.00, withheld 0.00", "23 Bob: 1 made by 2 changes, paid 0.00, pending 0.00, withheld 9.00", "23 Cid: 1 made by 2 changes, paid 8.00, pending 0.00, withheld 0.00")
	want(t, lines(t, s, Statement{From: 20260312, To: 99991231, By: "effective_date"}), "23 20260312: 0 made by 1 changes, paid 0.00, pending 0.00, withheld 0.00", "23 20260313: 0 made by 1 changes, paid 1.00, pending 0.00, withheld 0.00")

	// What was undone is remembered, with the currency it was in.
	wantVerified(t, s, 3, 8)
	changes, undoneIDs, err := s.ChangesBy(t.Context(), u.ID, 2, 7)
	must(t, err)
	if len(changes) != 6 || !undoneIDs[held[0].ID] || len(undoneIDs) != 1 || changes[7].Before.Payout != usd(500) || changes[7].Undoes != held[0].ID {
		t.Errorf("changes %+v, undone %v", changes[7], undoneIDs)
	}
	found, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Undoes: u.ID, First: 2, Last: 4})
	must(t, err)
	if len(found.Done) != 3 || len(found.Ledgers[held[0].ID]) != 2 || found.Conversion(held[0].ID).Status != conversion.StatusUndone {
		t.Errorf("to undo: %+v, %+v", found.Done, found.Ledgers)
	}
	listed := 0
	must(t, s.ListConversions(t.Context(), "", 0, func(*conversion.Conversion, string, string) error { listed++; return nil }))
	if listed != 2 {
		t.Errorf("%d conversions are listed, want 2", listed)
	}
}

func testTogether(t *testing.T, open func(t *testing.T) *Store) {
	s, broken := open(t), errors.New("broken")
	for _, test := range []struct {
		keep bool
		err  error
		want int
	}{{false, nil, 0}, {true, broken, 0}, {true, nil, 1}} {
		err := s.Together(t.Context(), func(together *Store) (bool, error) {
			saved(t, together, "a")
			// What is done together within is part of it.
			must(t, together.Together(t.Context(), func(within *Store) (bool, error) { return false, nil }))
			return test.keep, test.err
		})
		if !errors.Is(err, test.err) || len(listed(t, s, "", 0)) != test.want {
			t.Errorf("keep %v, error %v: %v, %d uploads", test.keep, test.err, err, len(listed(t, s, "", 0)))
		}
	}
}

// What has failed half way must not stay, also if nobody tells.
func testFailedPart(t *testing.T, open func(t *testing.T) *Store) {
	s := open(t)
	u := begun(t, s, "a")
	c, created := made(u, 2)
	err := s.Together(t.Context(), func(together *Store) (bool, error) {
		must(t, settle(t.Context(), together, doing(settlement(u, 0, 2), c, created)))
		if err := settle(t.Context(), together, settlement(u, 7, 8)); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("the error is %v, want ErrTaken", err)
		}
		return true, nil
	})
	if !errors.Is(err, conversion.ErrTaken) {
		t.Errorf("the error is %v, want ErrTaken", err)
	}
	wantVerified(t, s, 0, 0)
}

func testCosts(t *testing.T, open func(t *testing.T) *Store) {
	s := open(t)
	_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{{CallID: "A", Start: 5, Cost: usd(10)}})
	must(t, err)
	id := ids(t, s, "23")["A"]
	u := begun(t, s, "a")
	said := settlement(u, 0, 2)
	said.Costs = []conversion.CallCost{{ID: conversion.MakeID(u.ID, 2), Call: id, Before: usd(10), After: usd(75)}}
	must(t, settle(t.Context(), s, said))
	if got := calls(t, s, "23")["A"].Cost; got != usd(75) {
		t.Errorf("the call costs %s", got)
	}
	// A log that says nothing of costs leaves alone what is known; one that does, replaces it.
	for _, test := range []struct{ said, want conversion.Amount }{{conversion.Amount{}, usd(75)}, {usd(20), usd(20)}} {
		_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{{CallID: "A", Start: 5, Duration: int(test.said.Minor), Cost: test.said}})
		must(t, err)
		if got := calls(t, s, "23")["A"].Cost; got != test.want {
			t.Errorf("the log says %q: the call costs %s, want %s", test.said, got, test.want)
		}
	}
	found, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Undoes: u.ID, First: 2, Last: 2, Costs: []int64{id}})
	must(t, err)
	if found.Costs[2] != said.Costs[0] || found.Calls[id].Cost != usd(20) {
		t.Errorf("said %+v, the call now %+v", found.Costs[2], found.Calls[id])
	}
}
