//go:build linux

package main

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
)

// The tests TestFault… go through the list of faults: what breaks around the program and
// within it. They are numbered so that none is missing. Each fault is a real one: processes
// are killed, disks are full, servers fall silent.

// injected is a fault and what must come of it.
type injected struct {
	name string // begins with its number
	test func(t *testing.T)
}

// faultsNotHere are the faults that can't happen to this version, and why.
var faultsNotHere = map[int]string{
	23: "the store is a file: no server's process can be killed under it",
	24: "the store is a file: the answer to a commit crosses no network",
	25: "SQLite has one writer at a time, so that none waits for another's rows",
	26: "the store is a file: no server fails over to one that is read-only",
}

func TestFaultNumbers(t *testing.T) {
	var names []string
	for _, f := range slices.Concat(walkFaults(), diskFaults(), mailFaults(), placeFaults(), timeFaults()) {
		names = append(names, f.name)
	}
	wantEachNumber(t, 50, names, faultsNotHere)
}

func injectAll(t *testing.T, all []injected) {
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // most of the time, each waits
			f.test(t)
		})
	}
}

func walkFaults() []injected {
	return []injected{
		{"1_killed_when_a_file_is_claimed", killedAt("accept-before-save")},
		{"2_killed_when_a_file_is_received", killedAt("accept-after-save")},
		{"3_killed_when_its_source_is_told", killedAt("accept-after-ack")},
		{"4_killed_when_a_file_is_screened", killedAt("accept-before-ack")},
		{"5_killed_when_deciding_has_begun", killedAt("decide-begun")},
		{"6_killed_before_rows_are_settled", killedAt("settle-before")},
		{"6_killed_while_rows_are_settled", killedAt("settle-inside")},
		{"7_killed_when_rows_are_settled", killedAt("settle-after")},
		{"8_killed_before_a_report_is_sent", killedAt("reply-before-send")},
		{"8_killed_when_a_report_is_sent", killedAt("reply-after-send")},
		{"9_killed_when_a_report_is_noted", killedAt("reply-noted")},
		{"10_killed_at_random", func(t *testing.T) { killAtRandom(t, 10, 10) }},
		{"11_power_cut", func(t *testing.T) { cutAtRandom(t, 3, 11) }},
		{"12_killed_while_it_recovers", func(t *testing.T) { killAt(t, "ignore", stepsOfRecoveries, ignoredVerdicts, ignoredChanges) }},
		{"13_stands_still_and_is_overtaken", stoodStill},
		{"13_stands_still_and_holds_the_store", stoodInTheWay},
		{"14_two_workers_on_one_folder", twoWorkers},
		{"45_asked_to_stop_in_the_middle", stopInTheMiddle},
		{"47_a_poisoned_file", poisonedFile},
		{"47_a_panic_is_told", panicIsTold},
		{"48_one_bad_file_of_a_hundred", oneBadFile},
	}
}

// stepsOfRecoveries are where one recovery after another is killed. From the third attempt in
// a row on, without a row decided, there would be pauses.
var stepsOfRecoveries = []string{
	"accept-before-save", "accept-after-save", "accept-before-ack", "accept-after-ack", "decide-begun", "settle-after",
	"settle-before", "settle-inside", "reply-before-send", "reply-after-send", "reply-after-send", "reply-noted",
}

// What comes of the file of crashes where what is there already is ignored.
var (
	ignoredVerdicts = strings.Repeat("created ", 11) + "ignored ignored rejected"
	ignoredChanges  = conversion.Tally{Rows: 11, Counts: [9]int{conversion.Created: 11}}
)

// killedAt has one file walk through a program that dies at a step and, when it recovers,
// there again. The report says what it does without that.
func killedAt(step string) func(*testing.T) {
	return func(t *testing.T) {
		if files := killAt(t, "ignore", []string{step, step}, ignoredVerdicts, ignoredChanges); !maps.Equal(files, unkilled(t)) {
			t.Error("the report's files differ from those of a walk without a crash")
		}
	}
}

var (
	unkilledFiles map[string]string
	walkUnkilled  sync.Once
)

// unkilled are the report's files of a walk without a crash.
func unkilled(t *testing.T) map[string]string {
	walkUnkilled.Do(func() { unkilledFiles = killAt(t, "ignore", nil, ignoredVerdicts, ignoredChanges) })
	return unkilledFiles
}

// faultHouse is a house whose accounts and folders are those of the crash tests; with more
// lines in its configuration.
func faultHouse(t *testing.T, more string) *house {
	t.Helper()
	return newHouse(t, faultSettings+more)
}

var faultSettings = fmt.Sprintf(houseAccounts, "mode: update, key: [reference_id]")

// stop asks a program to stop, which must end well.
func (h *house) stop(p *process) {
	h.t.Helper()
	_ = p.Process.Signal(syscall.SIGTERM)
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		h.t.Errorf("after SIGTERM, %s ended with signal %v, code %d:\n%s", p.Args[1], signal, code, p.said.String())
	}
}

// fails runs a command that must end with an error that says something.
func (h *house) fails(says string, args ...string) {
	h.t.Helper()
	p := h.start("", args...)
	if signal, code := h.endWithin(p, 30*time.Second); signal != 0 || code != exitFailed || !strings.Contains(p.said.String(), says) {
		h.t.Errorf("%s ended with signal %v, code %d and said\n%s\nwant an error that says %q", args[0], signal, code, p.said.String(), says)
	}
}

// inStore changes the store behind the program's back.
func (h *house) inStore(statement string) {
	h.t.Helper()
	db, err := sql.Open("sqlite", h.path("calltally.db"))
	if err == nil {
		_, err = db.ExecContext(h.t.Context(), statement)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// wantDecided checks that these files, and no others, were each uploaded once and decided,
// and that the ledger has one conversion for each.
func (h *house) wantDecided(names ...string) {
	h.t.Helper()
	db := h.open()
	var got []string
	for _, u := range h.uploads(db) {
		if u.State != conversion.Decided || u.Hold != nil {
			h.t.Errorf("%s is %s, %+v", u.Name, u.State, u.Hold)
		}
		got = append(got, u.Name)
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		h.t.Errorf("the uploads are %q, want %q", got, names)
	}
	if verified, err := db.Verify(h.t.Context()); err != nil || verified.Mismatches != 0 || verified.Conversions != len(names) || verified.Changes != len(names) {
		h.t.Errorf("the ledger has %+v, %v; want %d conversions", verified, err, len(names))
	}
}

// startStopped starts a process that carries on what there is, once, and stands still at a step.
func (h *house) startStopped(step string) *process {
	h.t.Helper()
	p := h.start("stop:"+step, "once")
	eventually(h.t, "it stands still", 20*time.Second, func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
		return err == nil && strings.Contains(string(status), "State:\tT")
	})
	return p
}

// goOn has a process that stands still go on, which must end well.
func (h *house) goOn(p *process) {
	h.t.Helper()
	_ = p.Process.Signal(syscall.SIGCONT)
	if signal, code := h.endWithin(p, 30*time.Second); signal != 0 || code != exitDone {
		h.t.Errorf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
}

// A process stands still before it tells a source, and goes on when another has done all the
// work: it comes too late.
func stoodStill(t *testing.T) {
	h := faultHouse(t, "")
	h.drop("drop", "orders.csv", crashRows(0, "A"))
	late := h.startStopped("accept-before-ack")
	h.once()
	h.wantDecided("orders.csv")
	files := h.files("drop")
	h.goOn(late)
	h.wantDecided("orders.csv")
	if now := h.files("drop"); !slices.Equal(now, files) {
		t.Errorf("the folder holds %q, and held %q", now, files)
	}
}

// A process stands still in the middle of a transaction: another waits until it goes on.
func stoodInTheWay(t *testing.T) {
	h := faultHouse(t, "")
	h.drop("drop", "orders.csv", crashRows(0, "A"))
	late := h.startStopped("settle-before")
	waits := h.start("", "run")
	h.waitUntilWorking(waits)
	h.drop("other", "other.csv", crashRows(1, "B"))
	time.Sleep(1500 * time.Millisecond)
	if uploads := h.uploads(h.open()); len(uploads) != 1 || uploads[0].State != conversion.Received {
		t.Errorf("meanwhile the store has %d uploads, the first is %s", len(uploads), uploads[0].State)
	}
	h.goOn(late)
	h.waitUntilSettled(2, 20*time.Second)
	h.stop(waits)
	h.wantDecided("orders.csv", "other.csv")
}

// Two processes look at the same folders and decide by the same store.
func twoWorkers(t *testing.T) {
	h := faultHouse(t, "")
	e := newExpectation(14)
	workers := []*process{h.start("", "run"), h.start("", "run")}
	for _, p := range workers {
		h.waitUntilWorking(p)
	}
	for range 30 {
		h.drop(e.newFile())
		time.Sleep(time.Duration(e.rng.IntN(60)) * time.Millisecond)
	}
	h.waitUntilSettled(e.uploads(), 30*time.Second)
	for _, p := range workers {
		h.stop(p)
		if !strings.Contains(p.said.String(), `"msg":"upload received"`) {
			t.Log("one of them came too late for each file") // it happens where both wait for a processor
		}
		if strings.Contains(p.said.String(), `"level":"ERROR"`) {
			t.Errorf("what the other has taken is called an error:\n%s", p.said.String())
		}
	}
	h.compare(e)
}

// A file that makes the program panic costs the others nothing, and is held in the end.
func poisonedFile(t *testing.T) {
	h := faultHouse(t, "")
	h.drop("drop", "poison.csv", crashRows(0, "POISON"))
	names, poison := []string{"poison.csv"}, &conversion.Upload{}
	for round := 1; poison.Hold == nil; round++ {
		name := fmt.Sprintf("good-%d.csv", round)
		names = append(names, name)
		h.drop("drop", name, crashRows(round, name))
		p := h.start("panic:settle-inside@poison.csv", "once")
		if signal, code := h.endWithin(p, 30*time.Second); signal != 0 || code != exitDone && code != exitFailed || round > 5 {
			t.Fatalf("round %d ended with signal %v, code %d:\n%s", round, signal, code, p.said.String())
		}
		for _, u := range h.uploads(h.open()) {
			if u.Name == "poison.csv" {
				poison = u
			} else if u.State != conversion.Decided {
				t.Errorf("round %d: %s is %s", round, u.Name, u.State)
			}
		}
		if !strings.Contains(poison.LastError, "panic: failpoint settle-inside@poison.csv") {
			t.Fatalf("round %d: the error is %q after %d attempts", round, poison.LastError, poison.Attempts)
		}
		h.inStore("UPDATE upload SET next_ms = 0") // as if that were long ago
	}
	if poison.Hold.Code != conversion.AttemptsExhausted || poison.Attempts != 5 {
		t.Errorf("held for %+v, after %d attempts", poison.Hold, poison.Attempts)
	}
	p := h.start("", "quarantine", "retry", fmt.Sprint(poison.ID)) // once the cure was found
	if _, code := h.endWithin(p, 30*time.Second); code != exitDone {
		t.Errorf("retry ended with code %d: %s", code, p.said.String())
	}
	h.wantDecided(names...)
}

// Each time that a file makes the program panic, once says so and ends with an error, although
// it has decided another file since.
func panicIsTold(t *testing.T) {
	h := faultHouse(t, "")
	h.drop("drop", "poison.csv", crashRows(0, "POISON"))
	before := 0
	for round := range 4 {
		h.drop("drop", fmt.Sprintf("good-%d.csv", round), crashRows(round+1, fmt.Sprint("R", round)))
		p := h.start("panic:settle-inside@poison.csv", "once")
		_, code := h.endWithin(p, 30*time.Second)
		for _, u := range h.uploads(h.open()) {
			if u.Attempts > before && u.Hold == nil && (code != exitFailed || !strings.Contains(p.said.String(), "panic: failpoint")) {
				t.Errorf("after %d attempts at %s it ended with code %d:\n%s", u.Attempts, u.Name, code, p.said.String())
			}
			before = max(before, u.Attempts)
		}
		h.inStore("UPDATE upload SET next_ms = 0") // as if that were long ago
	}
}

// One file of a hundred is bad: its fate is its own.
func oneBadFile(t *testing.T) {
	h := faultHouse(t, "")
	for i := range 100 {
		content := crashRows(i, fmt.Sprint("R", i))
		if i == 50 {
			content = "<!DOCTYPE html><html>Please log in</html>"
		}
		h.drop("drop", fmt.Sprintf("%03d.csv", i), content)
	}
	h.once()
	for _, u := range h.uploads(h.open()) {
		if want := map[bool]conversion.UploadState{true: conversion.Refused, false: conversion.Decided}[u.Name == "050.csv"]; u.State != want {
			t.Errorf("%s is %s, want %s", u.Name, u.State, want)
		}
	}
	if verified, err := h.open().Verify(t.Context()); err != nil || verified.Mismatches != 0 || verified.Conversions != 99 {
		t.Errorf("the ledger has %+v, %v; want 99 conversions", verified, err)
	}
	count := map[string]int{}
	for _, name := range h.files("drop") {
		folder, _, _ := strings.Cut(name, "/")
		count[folder]++
	}
	if want := map[string]int{"processed": 99, "rejected": 1, "results": 100}; !maps.Equal(count, want) {
		t.Errorf("the folder holds %v, want %v", count, want)
	}
	if _, err := os.Stat(h.path("drop", "results", "050.refused.txt")); err != nil {
		t.Error(err)
	}
}
