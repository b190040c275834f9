//go:build !race

package main

// What is here takes minutes under the race detector, and is tried without it only.

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/store"
)

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

func TestKilledAtEveryStep(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some sixty processes")
	}
	for _, mode := range []struct {
		name, verdicts string
		changes        conversion.Tally
	}{
		{"update", strings.Repeat("created ", 11) + "unchanged updated rejected", conversion.Tally{Rows: 12, Counts: [9]int{conversion.Created: 11, conversion.Updated: 1}}},
		{"create", strings.Repeat("created ", 13) + "rejected", conversion.Tally{Rows: 13, Counts: [9]int{conversion.Created: 13}}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			undisturbed := killAt(t, mode.name, nil, mode.verdicts, mode.changes)
			for _, step := range steps {
				t.Run(step, func(t *testing.T) {
					files := killAt(t, mode.name, []string{step, step}, mode.verdicts, mode.changes)
					for name, content := range undisturbed {
						if files[name] != content {
							t.Errorf("%s differs from that of a walk without a crash", name)
						}
					}
				})
			}
		})
	}
}
