package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/store"
)

// says waits until a process says something in its log.
func (p *process) says(t *testing.T, what string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, what) {
				return
			}
		case <-late:
			t.Fatalf("it didn't say %q within 20 s", what)
		}
	}
}

func (h *house) configure(text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path("calltally.yaml"), []byte(text), 0o666); err != nil {
		h.t.Fatal(err)
	}
}

// A configuration that can't be taken leaves the one before in force; one that can takes its
// place, and no file is lost on the way.
func TestReload(t *testing.T) {
	good := fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]")
	h := newHouse(t, good)
	p := h.start("", "run")
	p.says(t, `"msg":"working","sources":2`)
	decided := func() { p.says(t, `"msg":"upload decided"`) }
	h.drop("drop", "a.csv", crashRows(0, "A"))
	decided()

	h.configure(strings.Replace(good, "every: 1s", "every: soon", 1))
	_ = p.Process.Signal(syscall.SIGHUP)
	p.says(t, `\"soon\" is not a length of time`)
	h.drop("drop", "b.csv", crashRows(1, "B"))
	decided()

	if err := os.Mkdir(h.path("third"), 0o777); err != nil {
		t.Fatal(err)
	}
	h.configure(good + `  - {name: third, kind: folder, path: third, account: "24", every: 1s, settle: 1ms}` + "\n")
	_ = p.Process.Signal(syscall.SIGHUP)
	p.says(t, `"msg":"working","sources":3`)
	h.drop("third", "c.csv", crashRows(2, "C"))
	decided()

	_ = p.Process.Signal(syscall.SIGTERM)
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		t.Errorf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
	if n := len(h.uploads(h.open())); n != 3 {
		t.Errorf("%d uploads, want 3", n)
	}
}

const crashHeader = "start_time,calling_phone_number,reference_id,sale_amount\n"

// crashRows is a file with one row about a call.
func crashRows(call int, reference string) string {
	return crashHeader + fmt.Sprintf("%s,+%d,%s,%d.00\n", testCallStart(call), 12125550000+call, reference, call+1)
}

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
