package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"calltally/conversion"
)

// testCallsFound looks for calls by all that they are found by, and by what they were.
func testCallsFound(t *testing.T, open func(t *testing.T) *Store) {
	byID := func(kind conversion.CallIDKind, id string) conversion.CallSearch {
		return conversion.CallSearch{Kind: kind, ID: id}
	}
	call := conversion.Call{CallID: "A", TransactionID: "T1", ExternalID: "X1", ClickID: "K1", Start: 10_000, Caller: 111}
	was := []conversion.CallSearch{byID(conversion.CallTransaction, "T1"), byID(conversion.CallExternal, "X1"), byID(conversion.CallClick, "K1"), {Caller: 111, From: 0, To: 2 * dayMillis}, {Caller: 111, To: dayMillis, Latest: true}}
	is := []conversion.CallSearch{byID(conversion.CallTransaction, "T2"), byID(conversion.CallExternal, "X2"), byID(conversion.CallClick, "K2"), {Caller: 222, From: 0, To: 2 * dayMillis}, {Caller: 222, To: dayMillis, Latest: true}}
	other := conversion.Call{CallID: "A", TransactionID: "T2", ExternalID: "X2", ClickID: "K2", Start: 20_000, Caller: 222}
	yes, no := []string{"A", "A", "A", "A", "A"}, []string{"", "", "", "", ""}
	save := func(t *testing.T, s *Store, calls ...conversion.Call) {
		t.Helper()
		_, err := s.SaveCalls(t.Context(), "23", calls)
		must(t, err)
	}
	for _, in := range []struct {
		name string
		run  func(t *testing.T, s *Store, f func(s *Store))
	}{
		{"in a transaction each", func(_ *testing.T, s *Store, f func(s *Store)) { f(s) }},
		{"in one transaction", func(t *testing.T, s *Store, f func(s *Store)) {
			must(t, s.Together(t.Context(), func(s *Store) (bool, error) { f(s); return true, nil }))
		}},
	} {
		t.Run("a call is found by what its log says now, "+in.name, func(t *testing.T) {
			s := open(t)
			in.run(t, s, func(s *Store) {
				for range 2 {
					save(t, s, call)
					wantFound(t, s, was, yes...)
					wantFound(t, s, is, no...)
					save(t, s, other)
					wantFound(t, s, was, no...)
					wantFound(t, s, is, yes...)
				}
			})
			wantFound(t, s, is, yes...)
			wantVerified(t, s, 0, 0)
		})
		t.Run("an entry that comes again is the same call, "+in.name, func(t *testing.T) {
			s := open(t)
			in.run(t, s, func(s *Store) {
				save(t, s, call)
				longer := call
				longer.Duration = 5
				save(t, s, longer)
				save(t, s, conversion.Call{CallID: "B", TransactionID: "T3", Corrects: "T1", Start: 10_000, Caller: 111})
			})
			if got := ids(t, s, "23"); len(got) != 1 || got["B"] == 0 {
				t.Errorf("calls %v", got)
			}
			wantFound(t, s, []conversion.CallSearch{byID(conversion.CallRecord, "A"), byID(conversion.CallRecord, "B"), byID(conversion.CallTransaction, "T1"), byID(conversion.CallTransaction, "T3")}, "", "B", "B", "B")
		})
	}
	t.Run("one account's ids are not another's", func(t *testing.T) {
		s := open(t)
		save(t, s, call)
		_, err := s.SaveCalls(t.Context(), "24", []conversion.Call{{CallID: "A", Start: 77, Caller: 111}})
		must(t, err)
		for _, list := range wantFound(t, s, []conversion.CallSearch{byID(conversion.CallRecord, "A"), {Caller: 111, From: 0, To: 2 * dayMillis}}, "A", "A") {
			if list[0].Start != 10_000 {
				t.Errorf("found the other's: %+v", list[0])
			}
		}
	})
	t.Run("more calls of one caller and day than belong together", func(t *testing.T) {
		s := open(t)
		var busy []conversion.Call
		for i := range 3 * callsInPlace {
			busy = append(busy, conversion.Call{CallID: fmt.Sprint("P", i), Start: conversion.Millis(1000 * i), Caller: 111})
		}
		save(t, s, busy...)
		save(t, s, conversion.Call{CallID: "Q", Start: 5000, Caller: 222})
		before := ids(t, s, "23")
		if len(before) != len(busy)+1 {
			t.Fatalf("%d calls are kept", len(before))
		}
		var searches []conversion.CallSearch
		var want []string
		for i := range busy {
			searches, want = append(searches, conversion.CallSearch{Caller: 111, From: busy[i].Start, To: busy[i].Start + 999}), append(want, busy[i].CallID)
		}
		wantFound(t, s, append(searches, conversion.CallSearch{Caller: 222, From: 0, To: 9000}), append(want, "Q")...)
		slices.Reverse(busy)
		save(t, s, busy...)
		for id, ours := range ids(t, s, "23") {
			if before[id] != ours {
				t.Errorf("call %s is %d by now, was %d", id, ours, before[id])
			}
		}
		wantVerified(t, s, 0, 0)
	})
	for _, test := range []struct{ name, damage, part string }{
		{"an id that leads nowhere", "DELETE FROM call_name", "can't be found by its ids"},
		{"an id that leads to another call", "UPDATE call_name SET call = call + 1 WHERE nth = 1", "can't be found by its ids"},
		{"a caller that leads nowhere", "DELETE FROM call_caller", "can't be found by its caller"},
		{"an id of no call", "INSERT INTO call_name (name, nth, call) VALUES (x'77', 77, 77)", "1 ids or callers lead to no call"},
		{"a call of no account", "UPDATE call SET account = 99", "call \"A\" belongs to no account"},
	} {
		t.Run("the proof finds "+test.name, func(t *testing.T) {
			s := open(t)
			save(t, s, call)
			must(t, tamper(t, s, test.damage))
			v, err := s.Verify(t.Context())
			must(t, err)
			if !strings.Contains(strings.Join(v.Sentences, "\n"), test.part) {
				t.Errorf("%d mismatches: %q, want one that says %q", v.Mismatches, v.Sentences, test.part)
			}
		})
	}
}
