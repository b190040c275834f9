package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"calltally/conversion"
)

const benchRows = 8192 // a chunk

func benchCalls() []conversion.Call {
	calls := make([]conversion.Call, 100_000)
	for i := range calls {
		calls[i] = conversion.Call{
			CallID: fmt.Sprintf("CBD7-%08X", i), ClickID: fmt.Sprintf("%016x", i*7919), Start: conversion.Millis(1_749_180_897_000 + i*6000), Duration: i % 900,
			Caller: conversion.Phone(12_125_550_000 + i*7919%90_000), Called: 18_005_550_032, Campaign: "C060", Publisher: "P1163", Status: "connected",
		}
	}
	return calls
}

// BenchmarkSaveCalls imports 100,000 calls, in chunks, into an empty store.
func BenchmarkSaveCalls(b *testing.B) {
	calls := benchCalls()
	b.ReportAllocs()
	for b.Loop() {
		s := opened(b, filepath.Join(b.TempDir(), "calltally.db"))
		for from := 0; from < len(calls); from += benchRows {
			_, err := s.SaveCalls(b.Context(), "23", calls[from:min(from+benchRows, len(calls))])
			must(b, err)
		}
	}
}

// BenchmarkCalls searches for the calls of a chunk's rows among 100,000.
func BenchmarkCalls(b *testing.B) {
	calls := benchCalls()
	s := opened(b, filepath.Join(b.TempDir(), "calltally.db"))
	_, err := s.SaveCalls(b.Context(), "23", calls)
	must(b, err)
	searches := make([]conversion.CallSearch, benchRows)
	for i := range searches {
		call := &calls[i*7919%len(calls)]
		searches[i] = conversion.CallSearch{Caller: call.Caller, From: call.Start - 300_000, To: call.Start + 300_000}
	}
	b.ReportAllocs()
	for b.Loop() {
		found := 0
		must(b, s.Calls(b.Context(), "23", searches, func(_ int, calls []conversion.Call) { found += len(calls) }))
		if found < benchRows {
			b.Fatalf("%d calls", found)
		}
	}
}

// BenchmarkSettle settles a chunk of new rows after another: what the ledger holds is
// looked up, conversions, changes and outcomes are written.
func BenchmarkSettle(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "calltally.db"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		u := begun(b, s, fmt.Sprint("a", n))
		chunk := settlement(u, 0)
		query := conversion.HeldQuery{Account: "23"}
		for line := 2; line < benchRows+2; line++ {
			c, created := made(u, line, func(c *conversion.Conversion) { c.Key.Call = int64(line*7919%benchRows + n) })
			doing(chunk, c, created)
			chunk.Outcomes = append(chunk.Outcomes, conversion.Outcome{Line: line, Verdict: conversion.Created, CallID: "CBD7-00000000", ConversionID: c.ID})
			query.Keys, query.References = append(query.Keys, c.Key), append(query.References, c.ReferenceID)
		}
		chunk.Cursor, chunk.Done = benchRows+1, true
		chunk.Tally.Add(chunk.Outcomes...)
		b.StartTimer()
		must(b, s.Settle(b.Context(), query, func(*conversion.Held) (*conversion.Settlement, error) { return chunk, nil }))
	}
}

// BenchmarkOutcomes reads a chunk's outcomes.
func BenchmarkOutcomes(b *testing.B) {
	s := opened(b, filepath.Join(b.TempDir(), "calltally.db"))
	u := begun(b, s, "a")
	chunk := settlement(u, 0)
	for line := 2; line < benchRows+2; line++ {
		chunk.Outcomes = append(chunk.Outcomes, conversion.Outcome{Line: line, Verdict: conversion.Unchanged, CallID: "CBD7-00000000", CallStart: 1_749_180_897_000, ConversionID: 20_000_000 + int64(line)})
	}
	chunk.Cursor, chunk.Done = benchRows+1, true
	chunk.Tally.Add(chunk.Outcomes...)
	must(b, settle(b.Context(), s, chunk))
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Outcomes(b.Context(), u.ID, 0, func([]conversion.Outcome) (bool, error) { return true, nil }))
	}
}
