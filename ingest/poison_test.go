package ingest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
)

// A row that our own reading panics on costs only itself.
func TestOnePoisonedRowOfAThousand(t *testing.T) {
	content := "start_time,calling_phone_number,reference_id\n" + strings.Repeat("2026-03-31 14:05:09,+12125550123,R\n", 499) + "2026-03-31 14:05:09,+12125550123,poison\n" + strings.Repeat("2026-03-31 14:05:09,+12125550123,R\n", 500)
	open := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
	table, refusal, err := Survey(t.Context(), open, Settings{Account: &conversion.Account{ID: "23", Zone: time.UTC, Region: "US", Currency: "USD", DecimalMark: '.'}, Takes: conversion.TakesConversions, Limits: DefaultLimits})
	if err != nil || refusal != nil {
		t.Fatal(err, refusal)
	}
	sick := *table.Dialect
	sick.claim = func(p *rowParser) conversion.Claim {
		claim := table.Dialect.claim(p)
		if claim.ReferenceID == "poison" {
			panic("poison")
		}
		return claim
	}
	poisoned := *table
	poisoned.Dialect = &sick
	claims, err := poisoned.Claims(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer claims.Close()
	taken := 0
	var rejected []*conversion.Rejection
	for {
		_, rejection, err := claims.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rejection != nil {
			rejected = append(rejected, rejection)
		} else {
			taken++
		}
	}
	if taken != 999 || len(rejected) != 1 || rejected[0].Line != 501 || rejected[0].Faults[0].Code != conversion.RowMalformed {
		t.Errorf("%d rows were taken, rejected %v; want 999, and line 501", taken, rejected)
	}
}
