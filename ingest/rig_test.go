package ingest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"calltally/conversion"
	"calltally/ingest"
)

// change is what a test sets differently.
type change func(*ingest.Settings)

// settings are those of an American account that takes conversions.
func settings(changes ...change) ingest.Settings {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	s := ingest.Settings{
		Account: &conversion.Account{
			ID: "23", Region: "US", Zone: newYork, Currency: "USD", DecimalMark: '.',
			DateOrder: conversion.DateOrderAuto, Dialect: "auto",
		},
		Takes:  conversion.TakesConversions,
		Limits: ingest.DefaultLimits,
	}
	for _, c := range changes {
		c(&s)
	}
	return s
}

func takesCalls(s *ingest.Settings) { s.Takes = conversion.TakesCalls }
func noZone(s *ingest.Settings)     { s.Account.Zone = nil }

func mapping(columns map[string]string) change {
	return func(s *ingest.Settings) { s.Account.Columns = columns }
}

func dateOrder(order conversion.DateOrder) change {
	return func(s *ingest.Settings) { s.Account.DateOrder = order }
}

func limits(rows, columns int) change {
	return func(s *ingest.Settings) { s.Limits.Rows, s.Limits.Columns = rows, columns }
}

func opener(content string) ingest.Opener {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

// survey understands a file that must be understood.
func survey(t testing.TB, content string, changes ...change) *ingest.Table {
	t.Helper()
	table, refusal, err := ingest.Survey(context.Background(), opener(content), settings(changes...))
	if err != nil {
		t.Fatalf("Survey: %v", err)
	}
	if refusal != nil {
		t.Fatalf("refused: %v", refusal)
	}
	return table
}

// refusalOf is why a file that must be refused is refused.
func refusalOf(t testing.TB, content string, changes ...change) conversion.Refusal {
	t.Helper()
	table, refusal, err := ingest.Survey(context.Background(), opener(content), settings(changes...))
	if err != nil {
		t.Fatalf("Survey failed where it should refuse: %v", err)
	}
	if refusal == nil {
		t.Fatalf("taken, read as %+v", table.Reading)
	}
	if table != nil {
		t.Error("a refused file has a table")
	}
	return *refusal
}

// readClaims reads all of a table's claims; rejections are nil for good rows.
func readClaims(t testing.TB, table *ingest.Table) (claims []conversion.Claim, rejections []*conversion.Rejection) {
	t.Helper()
	reader, err := table.Claims(context.Background())
	if err != nil {
		t.Fatalf("Claims: %v", err)
	}
	defer reader.Close()
	for {
		claim, rejection, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return claims, rejections
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		claims, rejections = append(claims, claim), append(rejections, rejection)
	}
}

// goodClaims reads all claims of a file whose rows must all be good.
func goodClaims(t testing.TB, content string, changes ...change) []conversion.Claim {
	t.Helper()
	claims, rejections := readClaims(t, survey(t, content, changes...))
	for _, rejection := range rejections {
		if rejection != nil {
			t.Errorf("rejected: %v", rejection)
		}
	}
	return claims
}

// goodCalls reads all calls of a call log whose entries must all be good, and
// counts those that are no calls.
func goodCalls(t testing.TB, content string, changes ...change) (calls []conversion.Call, skipped int) {
	t.Helper()
	calls, skipped, rejections := readCalls(t, content, changes...)
	for _, rejection := range rejections {
		t.Errorf("rejected: %v", &rejection)
	}
	return calls, skipped
}

func readCalls(t testing.TB, content string, changes ...change) (calls []conversion.Call, skipped int, rejections []conversion.Rejection) {
	t.Helper()
	reader, err := survey(t, content, append([]change{takesCalls}, changes...)...).Calls(context.Background())
	if err != nil {
		t.Fatalf("Calls: %v", err)
	}
	defer reader.Close()
	for {
		call, isCall, rejection, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			return calls, skipped, rejections
		case err != nil:
			t.Fatalf("Next: %v", err)
		case rejection != nil:
			rejections = append(rejections, *rejection)
		case isCall:
			calls = append(calls, call)
		default:
			skipped++
		}
	}
}

// rowsOf reads all rows as they were sent.
func rowsOf(t testing.TB, table *ingest.Table) (rows []conversion.Row) {
	t.Helper()
	err := table.Rows(context.Background(), func(row conversion.Row) error {
		row.Cells = append([]string(nil), row.Cells...)
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		t.Fatalf("Rows: %v", err)
	}
	return rows
}

func linesOf(claims []conversion.Claim) (lines []int) {
	for _, claim := range claims {
		lines = append(append(lines, claim.Line), claim.Others...)
	}
	return lines
}

// utf16Text encodes a text with its byte order mark.
func utf16Text(order binary.AppendByteOrder, text string) string {
	b := order.AppendUint16(nil, 0xFEFF)
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func utc(t testing.TB, text string) conversion.Millis {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return conversion.MillisOf(at)
}

// toTheSecond is a time written to the second that has one reading.
func toTheSecond(t testing.TB, text string) conversion.When {
	t.Helper()
	return conversion.When{First: conversion.Span{From: utc(t, text), To: utc(t, text) + 999}}
}

func contentOf(d *ingest.Delivery) ([]byte, error) {
	in, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}
