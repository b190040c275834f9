package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"calltally/conversion"
	"calltally/store"
)

// The tests in this file kill the real program, at every step of its walk and
// at random moments, start it again, and look for what was lost or doubled.

// house is a folder with a configuration, a store and drop folders, in which
// processes live and die.
type house struct {
	t     *testing.T
	dir   string
	bin   string
	under []string          // the command that the program is started by, and its arguments; mostly none
	told  map[string]string // results files → what they said when they were first seen
}

const crashAccounts = "attempts: 1000 # each may be ended by a kill" + houseAccounts

const houseAccounts = `
store: calltally.db
time_zone: America/New_York
accounts:
  - {id: "23", region: US, report_to: [ops@acme.example], wait_for_calls: 0s, match: {lookback: 0s}, duplicates: {%s}, payouts: [{percent: 10}]}
  - {id: "24", region: US, wait_for_calls: 0s, match: {lookback: 0s}, duplicates: {mode: create}, payouts: [{percent: 10}]}
sources:
  - {name: drop, kind: folder, path: drop, account: "23", every: 1s, settle: 1ms}
  - {name: other, kind: folder, path: other, account: "24", every: 1s, settle: 1ms}
`

func newHouse(t *testing.T, config string) *house {
	t.Helper()
	bin, err := exec.LookPath("calltally")
	if err != nil {
		t.Fatal(err)
	}
	return newHouseIn(t, t.TempDir(), bin, config)
}

func newHouseIn(t *testing.T, dir, bin, config string) *house {
	t.Helper()
	h := &house{t: t, dir: dir, bin: bin, told: map[string]string{}}
	if err := errors.Join(os.Mkdir(h.path("drop"), 0o777), os.Mkdir(h.path("other"), 0o777), os.WriteFile(h.path("calltally.yaml"), []byte(config), 0o666)); err != nil {
		t.Fatal(err)
	}
	db := h.open()
	defer db.Close() // a disk on which something is open can't be taken away
	for _, account := range []string{"23", "24"} {
		calls := make([]conversion.Call, 200)
		for i := range calls {
			calls[i] = conversion.Call{CallID: fmt.Sprintf("C%d", i), Start: testCallStart(i), Duration: 60, Caller: conversion.Phone(12125550000 + int64(i)), Publisher: "pub"}
		}
		if _, err := db.SaveCalls(t.Context(), account, calls); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *house) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

func (h *house) open() *store.Store {
	h.t.Helper()
	db, err := store.Open(h.t.Context(), h.path("calltally.db"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { db.Close() })
	return db
}

// drop puts a file into a drop folder, whole at once.
func (h *house) drop(folder, name, content string) {
	h.t.Helper()
	if err := errors.Join(os.WriteFile(h.path(folder, "."+name), []byte(content), 0o666), os.Rename(h.path(folder, "."+name), h.path(folder, name))); err != nil {
		h.t.Fatal(err)
	}
}

// process is a running program.
type process struct {
	*exec.Cmd
	works chan struct{} // closed when it says that it works
	lines chan string   // what it says on standard error, as far as somebody wants to know
	said  bytes.Buffer  // all of that; complete once it has ended
	read  chan struct{}
}

// start starts a command; failpoint, if not empty, is the step at which it dies.
func (h *house) start(failpoint string, args ...string) *process {
	h.t.Helper()
	line := slices.Concat(h.under, []string{h.bin}, args)
	p := &process{Cmd: exec.Command(line[0], line[1:]...), works: make(chan struct{}), lines: make(chan string, 1000), read: make(chan struct{})}
	working := sync.OnceFunc(func() { close(p.works) })
	p.Dir = h.dir
	p.Env = append(os.Environ(), "CALLTALLY_FAILPOINT="+failpoint)
	out, err := p.StderrPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			p.said.WriteString(line)
			if strings.Contains(line, `"msg":"working"`) {
				working()
			}
			select {
			case p.lines <- line:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// end waits for a process and says how it ended: by a signal or with a code.
func (p *process) end() (signal syscall.Signal, code int) {
	<-p.read
	_ = p.Wait() // the state says it all
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return status.Signal(), -1
	}
	return 0, status.ExitStatus()
}

// endWithin is end for a process that must not go on forever.
func (h *house) endWithin(p *process, limit time.Duration) (syscall.Signal, int) {
	h.t.Helper()
	overdue := time.AfterFunc(limit, func() { _ = p.Process.Kill() })
	signal, code := p.end()
	if !overdue.Stop() {
		h.t.Fatalf("%v went on for more than %s:\n%s", p.Args[1:], limit, p.said.String())
	}
	return signal, code
}

// once runs the program once; it must end well.
func (h *house) once() {
	h.t.Helper()
	p := h.start("", "once")
	if signal, code := h.endWithin(p, time.Minute); signal != 0 || code != exitDone {
		h.t.Fatalf("once ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
}

// storedReport is a report as the store has it.
type storedReport struct {
	upload   int64
	revision int
	state    string
}

func (h *house) reports() []storedReport {
	h.t.Helper()
	db, err := sql.Open("sqlite", h.path("calltally.db"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(h.t.Context(), "SELECT upload, revision, state FROM report ORDER BY upload, revision")
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	var all []storedReport
	for rows.Next() {
		var r storedReport
		if err := rows.Scan(&r.upload, &r.revision, &r.state); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (h *house) uploads(db *store.Store) []*conversion.Upload {
	h.t.Helper()
	var all []*conversion.Upload
	err := db.ListUploads(h.t.Context(), "", 0, func(u *conversion.Upload) error {
		all = append(all, u)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// files lists the files in a folder and those below it, by their paths in it.
func (h *house) files(folder string) []string {
	h.t.Helper()
	names := []string{}
	err := filepath.WalkDir(h.path(folder), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, h.path(folder)+"/"))
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}

// ---------------------------------------------------------- a kill at each step

// steps are the failpoints of the walk, in its order.
var steps = []string{
	"accept-before-save", "accept-after-save", "accept-before-ack", "accept-after-ack",
	"decide-begun", "settle-before", "settle-inside", "settle-after",
	"reply-before-send", "reply-after-send", "reply-noted",
}

func TestEveryFailpointIsKilledAt(t *testing.T) {
	sources, err := filepath.Glob("../../worker/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, file := range sources {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			all += string(text)
		}
	}
	if got := strings.Count(all, `failpoint("`); got != len(steps) {
		t.Errorf("the worker has %d failpoints, %d are tested", got, len(steps))
	}
	for _, step := range steps {
		if !strings.Contains(all, `failpoint("`+step+`"`) {
			t.Errorf("the worker has no failpoint %s", step)
		}
	}
}

// crashFile has long rows, so that its 14 rows are decided in two chunks.
func crashFile() string {
	filler := strings.Repeat("x", 400<<10)
	row := func(call int, sale string) string {
		return fmt.Sprintf("%d,+%d,%s,%s\n", testCallStart(call)/1000, 12125550000+call, sale, filler)
	}
	var b strings.Builder
	b.WriteString("start_time_t,calling_phone_number,sale_amount,note\n")
	for i := range 11 {
		b.WriteString(row(i, fmt.Sprintf("%d.00", 10+i)))
	}
	b.WriteString(row(0, "10.00")) // the first row again
	b.WriteString(row(1, "99.00")) // another amount for the second row's call
	b.WriteString(row(2, "oops"))
	return b.String()
}

// killAt has one file walk through the program, which dies at the first of some steps, and
// at each of the others when it recovers, if it comes by, and then runs to the end. It
// returns the report files.
func killAt(t *testing.T, mode string, at []string, verdicts string, changes conversion.Tally) map[string]string {
	office, err := openPostOffice("ops@acme.example")
	if err != nil {
		t.Fatal(err)
	}
	defer office.close()
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: "+mode)+fmt.Sprintf(`replies: {smtp: "smtps://uploads@%s", password: %s, ca_file: ca.pem, from: "Uploads <uploads@calltally.example>"}`, office.smtp, demoPassword))
	if err := os.WriteFile(h.path("ca.pem"), office.certificate, 0o666); err != nil {
		t.Fatal(err)
	}
	h.drop("drop", "orders.csv", crashFile())

	sent := 1
	if len(at) == 0 {
		p := h.start("", "run")
		h.waitUntilSettled(1, 30*time.Second)
		_ = p.Process.Signal(syscall.SIGTERM)
		if signal, code := h.endWithin(p, 30*time.Second); code != exitDone {
			t.Fatalf("run ended with signal %v, code %d:\n%s", signal, code, p.said.String())
		}
	}
	for i, step := range at {
		p := h.start(step, map[bool]string{true: "run", false: "once"}[i == 0])
		switch signal, code := h.endWithin(p, 30*time.Second); {
		case signal == syscall.SIGKILL && step == "reply-after-send":
			sent++
		case signal != syscall.SIGKILL && (i == 0 || code != exitDone):
			t.Fatalf("%s ended with signal %v, code %d:\n%s", p.Args[1], signal, code, p.said.String())
		}
	}
	h.once()
	h.once() // and nothing more comes of it

	db := h.open()
	uploads := h.uploads(db)
	if len(uploads) != 1 || uploads[0].State != conversion.Decided {
		t.Fatalf("%d uploads, the first %s; want one, decided", len(uploads), uploads[0].State)
	}
	var got []string
	err = db.Outcomes(t.Context(), uploads[0].ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			got = append(got, o.Verdict.String())
		}
		return true, nil
	})
	if err != nil || strings.Join(got, " ") != verdicts {
		t.Errorf("the verdicts are %q, %v; want %q", strings.Join(got, " "), err, verdicts)
	}
	if uploads[0].Tally.Rows != 14 || len(got) != 14 {
		t.Errorf("the tally is %s, with %d outcomes; want 14", uploads[0].Tally, len(got))
	}
	verified, err := db.Verify(t.Context())
	if err != nil || verified.Mismatches != 0 || verified.Changes != changes.Rows || verified.Conversions != changes.Of(conversion.Created) {
		t.Errorf("the ledger has %+v, %v; want %d conversions with %d changes", verified, err, changes.Of(conversion.Created), changes.Rows)
	}
	if reports := h.reports(); !slices.Equal(reports, []storedReport{{uploads[0].ID, 1, "sent"}}) {
		t.Errorf("the reports are %v, want one, sent", reports)
	}
	h.checkFolder()
	checkLetters(t, office, sent)
	files := map[string]string{}
	for _, name := range []string{"orders.results.csv", "orders.fix.csv"} {
		text, err := os.ReadFile(h.path("drop", "results", name))
		if err != nil {
			t.Error(err)
		}
		files[name] = string(text)
	}
	return files
}

// checkFolder checks that the dropped file was put away once, and what stands
// beside it.
func (h *house) checkFolder() {
	h.t.Helper()
	names := h.files("drop")
	want := []string{"results/orders.fix.csv", "results/orders.results.csv"}
	if len(names) != 3 || !strings.HasPrefix(names[0], "processed/") || !strings.HasSuffix(names[0], "/orders.csv") || !slices.Equal(names[1:], want) {
		h.t.Errorf("the folder holds %q, want the file in processed/ and %q", names, want)
	}
}

// checkLetters checks how many letters came, and that all are one: whoever
// reads mail shows them as one.
func checkLetters(t *testing.T, office *postOffice, want int) {
	t.Helper()
	box, err := office.openInbox("ops@acme.example")
	if err != nil {
		t.Fatal(err)
	}
	defer box.client.Close()
	status, err := box.client.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(*status.NumMessages); got != want {
		t.Errorf("%d letters came, want %d", got, want)
	}
	var first []byte
	for i := range int(*status.NumMessages) {
		letter, err := box.next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = letter
		} else if !bytes.Equal(letter, first) {
			t.Errorf("letter %d has other bytes than the first", i+1)
		}
	}
}

// ------------------------------------------------------------ kills at random

// expectation makes up files and knows what the ledger must hold in the end.
type expectation struct {
	rng     *rand.Rand
	files   map[string][]string // folder → names
	rows    int
	amount  int            // the highest so far: every amount is another
	calls   map[string]int // reference → its call, of the account that updates
	sales   map[string]int // reference → its last sale
	updates int
	creates []string // rows of the account that creates
}

func newExpectation(seed int) *expectation {
	return &expectation{rng: rand.New(rand.NewPCG(uint64(seed), 23)), files: map[string][]string{}, calls: map[string]int{}, sales: map[string]int{}}
}

func (e *expectation) uploads() int { return len(e.files["drop"]) + len(e.files["other"]) }

// newFile makes up the next file of some folder and notes what must come of it.
func (e *expectation) newFile() (folder, name, content string) {
	folder = []string{"drop", "other"}[e.rng.IntN(2)]
	name = fmt.Sprintf("%s-%04d.csv", folder, len(e.files[folder]))
	e.files[folder] = append(e.files[folder], name)
	rows := e.updating
	if folder == "other" {
		rows = e.creating
	}
	lines := append(rows(name), e.row(e.rng.IntN(200), name+"-bad", "oops"))
	e.rows += len(lines)
	return folder, name, "start_time_t,calling_phone_number,reference_id,sale_amount\n" + strings.Join(lines, "")
}

func (e *expectation) row(call int, reference, sale string) string {
	return fmt.Sprintf("%d,+%d,%s,%s\n", testCallStart(call)/1000, 12125550000+call, reference, sale)
}

func (e *expectation) nextAmount() int {
	e.amount++
	return e.amount
}

// updating are new references, and other amounts for some of earlier files.
func (e *expectation) updating(file string) (lines []string) {
	known := slices.Sorted(maps.Keys(e.sales))
	for i := range 20 {
		reference := fmt.Sprintf("%s-%d", file, i)
		e.calls[reference], e.sales[reference] = e.rng.IntN(200), e.nextAmount()
		lines = append(lines, e.row(e.calls[reference], reference, strconv.Itoa(e.sales[reference])))
	}
	for _, i := range e.rng.Perm(len(known))[:min(5, len(known))] {
		reference := known[i]
		e.sales[reference] = e.nextAmount()
		e.updates++
		lines = append(lines, e.row(e.calls[reference], reference, strconv.Itoa(e.sales[reference])))
	}
	return lines
}

// creating are new rows, two of them the same, which both count, and some rows
// of earlier files, which count once.
func (e *expectation) creating(file string) (lines []string) {
	var again []string
	for _, i := range e.rng.Perm(len(e.creates))[:min(5, len(e.creates))] {
		again = append(again, e.creates[i])
	}
	for i := range 20 {
		lines = append(lines, e.row(e.rng.IntN(200), fmt.Sprintf("%s-%d", file, i), strconv.Itoa(e.nextAmount())))
	}
	lines = append(lines, lines[0])
	e.creates = append(e.creates, lines...)
	return append(lines, again...)
}

// TestRandomKills drops files while the program is started and killed again and
// again. CALLTALLY_KILLS says how often, CALLTALLY_SEED makes up other files and
// moments. scripts/soak runs it at length.
func TestRandomKills(t *testing.T) {
	killAtRandom(t, envNumber(t, "CALLTALLY_KILLS", 40), envNumber(t, "CALLTALLY_SEED", 1))
}

func killAtRandom(t *testing.T, kills, seed int) {
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]"))
	e := newExpectation(seed)
	began, early := time.Now(), 0
	for killed := 0; killed < kills; h.noteReports() {
		h.finishNowAndThen(e.rng)
		for range e.rng.IntN(2) {
			h.drop(e.newFile())
		}
		if h.killSoon(e.rng) {
			killed++
		} else {
			early++
		}
	}
	h.settle(e)
	fmt.Printf("soak: %d kills (%d more had ended before), %s, seed %d, %s\n",
		kills, early, h.compare(e), seed, time.Since(began).Round(time.Second))
}

// settle runs the program until every file is decided and reported, and asks it to stop.
func (h *house) settle(e *expectation) {
	h.t.Helper()
	p := h.start("", "run")
	h.waitUntilWorking(p)
	h.waitUntilSettled(e.uploads(), 2*time.Minute)
	_ = p.Process.Signal(syscall.SIGTERM)
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		h.t.Errorf("after SIGTERM, run ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
}

func envNumber(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, which is no number from 1 on", name, text)
	}
	return n
}

// finishNowAndThen lets the program come to an end once in a while: many reports are noted as
// sent together, so one that never lives long would only begin the first of them over and over.
func (h *house) finishNowAndThen(rng *rand.Rand) {
	h.t.Helper()
	if rng.IntN(20) == 0 {
		h.once()
	}
}

// killSoon starts the program and kills it within 60 ms: of its start, or of the
// moment it begins to work. It reports whether the program was alive until then.
func (h *house) killSoon(rng *rand.Rand) bool {
	command := []string{"run", "run", "run", "once"}[rng.IntN(4)]
	p := h.start("", command)
	if command == "run" && rng.IntN(8) > 0 {
		h.waitUntilWorking(p)
	}
	time.Sleep(time.Duration(rng.IntN(60_000)) * time.Microsecond)
	_ = p.Process.Kill()
	signal, code := p.end()
	if signal != syscall.SIGKILL && code != exitDone {
		h.t.Errorf("%s ended with signal %v, code %d:\n%s", command, signal, code, p.said.String())
	}
	return signal == syscall.SIGKILL
}

// waitUntilWorking waits until run has begun to work; from then on, SIGTERM asks
// it to stop.
func (h *house) waitUntilWorking(p *process) {
	h.t.Helper()
	select {
	case <-p.works:
	case <-p.read: // it ended
	case <-time.After(30 * time.Second):
		h.t.Error("run didn't begin to work within 30 s")
	}
}

// waitUntilSettled waits until so many uploads are decided and reported.
func (h *house) waitUntilSettled(uploads int, limit time.Duration) {
	h.t.Helper()
	db := h.open()
	var state string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		decided, sent := 0, 0
		for _, u := range h.uploads(db) {
			if u.State == conversion.Decided {
				decided++
			}
		}
		for _, r := range h.reports() {
			if r.state == "sent" {
				sent++
			}
		}
		if decided >= uploads && sent >= uploads {
			return
		}
		state = fmt.Sprintf("%d uploads decided, %d reports sent", decided, sent)
	}
	h.t.Errorf("after %s: %s; want %d of each", limit, state, uploads)
}

// findings are what a house and its ledger were compared with, and what was wrong.
type findings struct {
	uploads, rows int
	lost, doubled int // rows
	contradictory int // reports that say other things than the store or than they said before
}

func (f findings) String() string {
	return fmt.Sprintf("%d uploads, %d rows, %d lost, %d doubled, %d contradictory", f.uploads, f.rows, f.lost, f.doubled, f.contradictory)
}

// noteReports notes what results files say that weren't there the last time: whoever has
// read one must never find another in its place.
func (h *house) noteReports() {
	h.t.Helper()
	for _, folder := range []string{"drop", "other"} {
		entries, err := os.ReadDir(h.path(folder, "results"))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // the program makes the folder
			h.t.Fatal(err)
		}
		for _, entry := range entries {
			at := h.path(folder, "results", entry.Name())
			if _, known := h.told[at]; known || strings.HasPrefix(entry.Name(), ".") {
				continue
			}
			text, err := os.ReadFile(at)
			if err != nil {
				h.t.Fatal(err)
			}
			h.told[at] = string(text)
		}
	}
}

// compare compares the ledger and the reports with what they must hold.
func (h *house) compare(e *expectation) findings {
	h.t.Helper()
	db := h.open()
	times := map[string]int{}
	uploads := h.uploads(db)
	contradictory := h.checkAgain()
	for _, u := range uploads {
		times[u.Source+"/"+u.Name]++
		if h.contradicts(db, u) {
			contradictory++
		}
	}
	for folder, names := range e.files {
		for _, name := range names {
			if n := times[folder+"/"+name]; n != 1 {
				h.t.Errorf("%s was uploaded %d times", name, n)
			}
		}
	}
	reports := h.reports()
	for _, r := range reports {
		if r.revision > 1 { // nothing was undone
			h.t.Errorf("upload %d has a report %d", r.upload, r.revision)
			contradictory++
		}
	}
	if len(reports) != len(uploads) {
		h.t.Errorf("%d reports on %d uploads", len(reports), len(uploads))
	}
	lost, doubled := 0, 0
	sales, created := map[string][]string{}, 0
	err := db.ListConversions(h.t.Context(), "", 0, func(c *conversion.Conversion, account, _ string) error {
		if account == "23" {
			sales[c.ReferenceID] = append(sales[c.ReferenceID], c.Sale.String())
		} else {
			created++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	for reference, sale := range e.sales {
		want := fmt.Sprintf("%d.00", sale)
		switch got := sales[reference]; {
		case len(got) == 0:
			lost++
		case len(got) > 1:
			doubled++
		case got[0] != want:
			lost++
			h.t.Errorf("%s has a sale of %s, want %s", reference, got[0], want)
		}
	}
	if extra := len(sales) - len(e.sales); extra > 0 {
		doubled += extra
	}
	lost += max(0, len(e.creates)-created)
	doubled += max(0, created-len(e.creates))
	verified, err := db.Verify(h.t.Context())
	wantChanges := len(e.sales) + e.updates + len(e.creates)
	if err != nil || verified.Mismatches > 0 || verified.Changes != wantChanges {
		h.t.Errorf("the ledger has %+v, %v; want %d changes", verified, err, wantChanges)
	}
	lost, doubled = lost+max(0, wantChanges-verified.Changes), doubled+max(0, verified.Changes-wantChanges)
	if lost+doubled > 0 {
		h.t.Errorf("%d rows were lost, %d count twice", lost, doubled)
	}
	h.checkPutAway(e)
	return findings{e.uploads(), e.rows, lost, doubled, contradictory}
}

// checkAgain counts the results files that don't say any more what they said when they were
// first seen.
func (h *house) checkAgain() (contradictory int) {
	h.t.Helper()
	for at, before := range h.told {
		if text, err := os.ReadFile(at); err != nil || string(text) != before {
			h.t.Errorf("%s says other things than before: %v", at, err)
			contradictory++
		}
	}
	return contradictory
}

// contradicts reports whether the results file of an upload says other things than are
// stored. One that isn't there is wrong too, but says nothing.
func (h *house) contradicts(db *store.Store, u *conversion.Upload) bool {
	h.t.Helper()
	var stored []string
	err := db.Outcomes(h.t.Context(), u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			stored = append(stored, o.Verdict.String())
		}
		return true, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	in, err := os.Open(h.path(u.Source, "results", strings.TrimSuffix(u.Name, ".csv")+".results.csv"))
	if err != nil {
		h.t.Error(err)
		return false
	}
	defer in.Close()
	var told []string
	for r := csv.NewReader(in); ; {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			h.t.Errorf("the results of %s: %v", u.Name, err)
			break
		}
		told = append(told, row[4])
	}
	if len(told) > 0 && slices.Equal(told[1:], stored) {
		return false
	}
	h.t.Errorf("the results of %s say %q, stored is %q", u.Name, told, stored)
	return true
}

// checkPutAway checks that every file was put away once and none is left.
func (h *house) checkPutAway(e *expectation) {
	h.t.Helper()
	for folder, names := range e.files {
		var processed []string
		for _, name := range h.files(folder) {
			switch {
			case strings.HasPrefix(name, "processed/"):
				processed = append(processed, filepath.Base(name))
			case !strings.HasPrefix(name, "results/") || strings.HasSuffix(name, ".tmp"):
				h.t.Errorf("%s/%s is left", folder, name)
			}
		}
		slices.Sort(processed)
		if !slices.Equal(processed, names) {
			h.t.Errorf("%d files of %s were put away, want %d", len(processed), folder, len(names))
		}
	}
}

// A dropped file that is complete is taken by a single run: cron starts the
// program afresh each time.
func TestOnceTakesADroppedFile(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update"))
	h.drop("drop", "orders.csv", fmt.Sprintf("start_time_t,calling_phone_number,sale_amount\n%d,+%d,10.00\n", testCallStart(0)/1000, 12125550000))
	h.once()
	if names := h.files("drop"); !slices.Contains(names, "results/orders.results.csv") {
		t.Errorf("after one run, the folder holds %q; want the file processed and its results", names)
	}
}
