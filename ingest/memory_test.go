package ingest_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
)

// repeated is a file made on the fly: a header, then one row again and again.
type repeated struct {
	rest string // of the header, or of the row being given
	row  string
	left int // bytes of rows still to begin
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.rest == "" {
			if r.left < len(r.row) {
				break
			}
			r.rest = r.row
			r.left -= len(r.row)
		}
		took := copy(p[n:], r.rest)
		r.rest, n = r.rest[took:], n+took
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *repeated) Close() error { return nil }

// A file is streamed: reading 100 MB takes no more memory than reading one.
func TestReadingALargeFileTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 100 MB twice")
	}
	const (
		size    = 100 << 20
		most    = 64 << 20
		header  = "start_time_t,calling_phone_number,reference_id,sale_amount,sku_list,Notes\n"
		sampled = 5000 // rows between two looks at the heap
	)
	row := "1774980309,+12125550123,R-1,60.50,\"a,b\",\"" + strings.Repeat("many words ", 75) + "\"\n"
	open := func() (io.ReadCloser, error) {
		return &repeated{rest: header, row: row, left: size}, nil
	}
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, highest := stats.HeapAlloc, uint64(0)
	look := func() {
		runtime.ReadMemStats(&stats)
		highest = max(highest, stats.HeapAlloc)
	}
	begin := time.Now()

	table, refusal, err := ingest.Survey(context.Background(), open, settings())
	if err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	look()
	claims, err := table.Claims(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer claims.Close()
	want := conversion.Claim{Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Caller: 12125550123, Standing: conversion.Standing{Sale: conversion.Cents(6050, "USD")}, Details: conversion.Details{ReferenceID: "R-1", SKUs: "a,b"}}
	rows := 0
	for {
		claim, rejection, err := claims.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		rows++
		if want.Line = rows + 1; err != nil || rejection != nil || !reflect.DeepEqual(claim, want) {
			t.Fatalf("row %d: %+v, %v, %v", rows, claim, rejection, err)
		}
		if rows%sampled == 0 {
			look()
		}
	}
	look()
	if rows != size/len(row) || table.Reading.Rows != rows {
		t.Errorf("%d rows surveyed, %d read, %d sent", table.Reading.Rows, rows, size/len(row))
	}
	if highest > before+most {
		t.Errorf("the heap grew by %d MiB", (highest-before)>>20)
	}
	t.Logf("%d rows in %v; the heap grew by %.1f MiB", rows, time.Since(begin).Round(time.Millisecond), float64(int64(highest)-int64(before))/(1<<20))
}
