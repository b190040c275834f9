//go:build !race

package main

// What is here takes minutes under the race detector, and is tried without it only.

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/store"
)

// Asked to stop in the middle of a large file, the program ends within seconds, and goes on
// where it was.
func TestStopInTheMiddleOfAFile(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]"))
	const rows = 200_000 // of which those of the first transaction are 131,072
	var file strings.Builder
	file.WriteString(crashHeader)
	for i := range rows {
		fmt.Fprintf(&file, "%s,+%d,R%d,1.00\n", testCallStart(i%200), 12125550000+i%200, i)
	}
	h.drop("drop", "large.csv", file.String())
	p := h.start("", "run")
	p.says(t, `"msg":"upload received"`)
	for db := h.open(); ; time.Sleep(20 * time.Millisecond) {
		if u, err := db.Upload(t.Context(), 1); err != nil || u.Cursor > 0 || u.State == conversion.Decided {
			break
		}
	}
	_ = p.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		t.Fatalf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
	db := h.open()
	u, err := db.Upload(t.Context(), 1)
	if err != nil || u.State != conversion.Deciding || u.Cursor == 0 || u.Attempts != 0 {
		t.Fatalf("stopped after %s: the upload is %s at line %d, with %d attempts, %v; want it in the middle", time.Since(began), u.State, u.Cursor, u.Attempts, err)
	}
	h.once()
	verified, err := db.Verify(t.Context())
	if u, err2 := db.Upload(t.Context(), 1); err != nil || err2 != nil || u.Tally.Of(conversion.Created) != rows || verified.Mismatches != 0 || verified.Conversions != rows {
		t.Errorf("in the end: %s, %+v, %v, %v", u.Tally, verified, err, err2)
	}
}

// Killed with ten thousand uploads in the queue, the program works again within seconds: the
// queue goes on, and what comes is taken.
func TestRecoveryWithALongQueue(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]"))
	const queued = 10_000
	err := h.open().Together(t.Context(), func(db *store.Store) (bool, error) {
		for i := range queued {
			text := crashRows(i%200, fmt.Sprint("R", i))
			u := &conversion.Upload{Account: "23", Source: "drop", Origin: fmt.Sprint("file ", i), Name: fmt.Sprintf("%d.csv", i), Stem: fmt.Sprint(i), Takes: conversion.TakesConversions, ReceivedAt: conversion.Millis(i + 1), State: conversion.Received}
			if _, _, err := db.SaveUpload(t.Context(), u, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := h.start("", "run") // to be killed while it works on the queue
	p.says(t, `"msg":"upload decided"`)
	_ = p.Process.Kill()
	p.end()

	h.drop("drop", "new.csv", crashRows(0, "NEW"))
	began := time.Now()
	p = h.start("", "run")
	seen := map[string]time.Duration{}
	for len(seen) < 2 {
		select {
		case line := <-p.lines:
			for _, what := range []string{"upload decided", "upload received"} {
				if _, known := seen[what]; !known && strings.Contains(line, what) {
					seen[what] = time.Since(began)
				}
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("within 30 s, only %v", seen)
		}
	}
	_ = p.Process.Kill()
	p.end()
	t.Logf("first decided after %s, first taken after %s", seen["upload decided"], seen["upload received"])
	if slowest := max(seen["upload decided"], seen["upload received"]); slowest > 5*time.Second {
		t.Errorf("it took %s, more than 5 s", slowest)
	}
}
