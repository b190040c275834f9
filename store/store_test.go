package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"calltally/conversion"
)

func TestSQLiteConforms(t *testing.T) {
	conformance(t, func(t *testing.T) *Store {
		t.Helper()
		return opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	})
}

// opened opens a store for the length of a test.
func opened(t testing.TB, setting string) *Store {
	t.Helper()
	s, err := Open(t.Context(), setting)
	if err != nil {
		t.Fatal(err)
	}
	// The test's own context has ended by the time it cleans up.
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// tamper changes the database behind the store's back.
func tamper(t *testing.T, s *Store, statements ...string) error {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteDSN(s.path, 1024))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range append([]string{"PRAGMA foreign_keys = 0"}, statements...) {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			return err
		}
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func usd(cents int64) conversion.Amount { return conversion.Cents(cents, "USD") }

// content is a file's bytes, to be opened as often as one likes.
func content(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }
}

func newUpload(origin string) *conversion.Upload {
	return &conversion.Upload{
		Account: "23", Source: "drop", Origin: origin, Name: "sales.csv", Takes: conversion.TakesConversions,
		ReceivedAt: 1_000, State: conversion.Received,
	}
}

// saved saves an upload whose bytes are its origin.
func saved(t testing.TB, s *Store, origin string) *conversion.Upload {
	t.Helper()
	must(t, s.EnsureAccounts(t.Context(), []string{"23", "24"}))
	u, _, err := s.SaveUpload(t.Context(), newUpload(origin), content(origin))
	must(t, err)
	return u
}

// begun saves an upload and begins to decide it.
func begun(t testing.TB, s *Store, origin string) *conversion.Upload {
	t.Helper()
	u := saved(t, s, origin)
	must(t, s.BeginDeciding(t.Context(), u.ID, conversion.Reading{Dialect: "invoca", Delimiter: ",", Rows: 3}))
	return u
}

// made is a conversion that a line of an upload created, with its change.
func made(u *conversion.Upload, line int, change ...func(*conversion.Conversion)) (*conversion.Conversion, *conversion.Change) {
	id := conversion.MakeID(u.ID, line)
	c := &conversion.Conversion{
		ID: id, Key: key(fmt.Sprint(id)), Changes: 1, KeyedBy: 5, Call: 7, OccurredAt: 500,
		Standing: conversion.Standing{Sale: usd(6050), Received: usd(1210), Payout: usd(605), Status: conversion.StatusPending},
		Details: conversion.Details{
			ReferenceID: fmt.Sprintf("R%d", id), EventID: "E", EventType: "Sale", ReasonCode: "S", SKUs: "DVD,CD", Quantities: "1,2", ItemAmounts: "6000,50", Disposition: "D", Repeat: conversion.RepeatNew,
			Campaign: "C", Publisher: "P", Value: "true", PayoutBy: conversion.ByRow, ReceivedBy: conversion.ByRow, Parent: "5", Note: "a\nb", Customer: `{"name":"Zoë"}`,
		},
	}
	for _, f := range change {
		f(c)
	}
	return c, &conversion.Change{ID: id, Conversion: id, Verdict: conversion.Created, At: 1_000, Effective: 20260310, After: c.Standing, Rule: "10% of 60.50 = 6.05"}
}

func key(text string) (k conversion.Key) {
	copy(k.Rest[:], text)
	return k
}

func withKey(k conversion.Key, nth int) func(*conversion.Conversion) {
	return func(c *conversion.Conversion) { c.Key, c.Nth = k, nth }
}

// updated is a conversion after a later line changed it, with that change.
func updated(c *conversion.Conversion, u *conversion.Upload, line int, at conversion.Millis, f func(*conversion.Conversion)) (*conversion.Conversion, *conversion.Change) {
	after := *c
	after.Changes++
	f(&after)
	change := &conversion.Change{
		ID: conversion.MakeID(u.ID, line), Conversion: c.ID, Seq: c.Changes, Verdict: conversion.Updated, At: at, Effective: 20260311,
		Before: c.Standing, After: after.Standing, Details: after.Since(c.Details), Rule: "update",
	}
	return &after, change
}

// settlement is a chunk of outcomes for some lines, with no effect yet.
func settlement(u *conversion.Upload, after int, lines ...int) *conversion.Settlement {
	s := &conversion.Settlement{Upload: u.ID, From: conversion.Deciding, After: after, Cursor: after, At: 2_000, Fingerprints: map[conversion.Fingerprint]int64{}}
	for _, line := range lines {
		s.Outcomes = append(s.Outcomes, conversion.Outcome{Line: line, Verdict: conversion.Unchanged})
		s.Cursor = line
	}
	s.Tally.Add(s.Outcomes...)
	return s
}

func doing(s *conversion.Settlement, c *conversion.Conversion, change *conversion.Change) *conversion.Settlement {
	s.Conversions, s.Changes = append(s.Conversions, c), append(s.Changes, change)
	return s
}

func settle(ctx context.Context, s *Store, settled *conversion.Settlement) error {
	return s.Settle(ctx, conversion.HeldQuery{Account: "23"}, func(*conversion.Held) (*conversion.Settlement, error) { return settled, nil })
}

// heldBy is what the ledger holds, by a settlement that changes nothing.
func heldBy(ctx context.Context, s *Store, query conversion.HeldQuery) (found *conversion.Held, err error) {
	err = s.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
		found = held
		return nil, nil
	})
	return found, err
}

// outcomes reads an upload's outcomes back from a line on, and how many chunks
// they came in.
func outcomes(t *testing.T, s *Store, upload int64, first int) (all []conversion.Outcome, chunks int) {
	t.Helper()
	must(t, s.Outcomes(t.Context(), upload, first, func(chunk []conversion.Outcome) (bool, error) {
		all = append(all, chunk...)
		chunks++
		return true, nil
	}))
	return all, chunks
}

func readAll(t *testing.T, s *Store, upload int64) string {
	t.Helper()
	in, err := s.OpenUpload(t.Context(), upload)()
	must(t, err)
	defer in.Close()
	text, err := io.ReadAll(in)
	must(t, err)
	return string(text)
}

// listed are the store's uploads, newest first.
func listed(t *testing.T, s *Store, account string, limit int) (ids []int64) {
	t.Helper()
	must(t, s.ListUploads(t.Context(), account, limit, func(u *conversion.Upload) error {
		ids = append(ids, u.ID)
		return nil
	}))
	return ids
}

// calls are an account's calls by their provider's ids, without ours.
func calls(t *testing.T, s *Store, account string) map[string]conversion.Call {
	t.Helper()
	all := map[string]conversion.Call{}
	must(t, s.ListCalls(t.Context(), account, 0, func(c conversion.Call, _ string) error {
		c.ID = 0
		all[c.CallID] = c
		return nil
	}))
	return all
}

// due are the reports that are due at a moment, as upload/revision/attempts.
func due(t *testing.T, s *Store, now conversion.Millis) (list []string) {
	t.Helper()
	must(t, s.ReportsDue(t.Context(), now, func(r conversion.ReportDue) error {
		list = append(list, fmt.Sprintf("%d/%d/%d", r.Upload, r.Revision, r.Attempts))
		return nil
	}))
	return list
}

func wantDue(t *testing.T, s *Store, now conversion.Millis, want ...string) {
	t.Helper()
	if got := due(t, s, now); !slices.Equal(got, want) {
		t.Errorf("at %d these reports are due: %q, want %q", now, got, want)
	}
}

func wantVerified(t *testing.T, s *Store, conversions, changes int) {
	t.Helper()
	v, err := s.Verify(t.Context())
	must(t, err)
	if v.Conversions != conversions || v.Changes != changes || v.Mismatches != 0 || len(v.Sentences) != 0 {
		t.Errorf("verified %+v, want %d conversions, %d changes and no mismatch", v, conversions, changes)
	}
}
