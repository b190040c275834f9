package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// poisonedStore panics whenever rows of one upload are settled.
type poisonedStore struct {
	worker.Store
	upload int64
}

func (s poisonedStore) around(other worker.Store) worker.Store { return poisonedStore{other, s.upload} }

func (s poisonedStore) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	return s.Store.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
		if query.By == s.upload {
			panic("poison")
		}
		return decide(held)
	})
}

func (b *bench) wantState(upload int64, state conversion.UploadState) *conversion.Upload {
	b.t.Helper()
	u := b.upload(upload)
	if u.State != state {
		b.t.Errorf("upload %d is %s, want it %s", upload, u.State, state)
	}
	return u
}

// decideAll decides what there is and returns what went wrong.
func (b *bench) decideAll(w *worker.Worker) string {
	b.t.Helper()
	if err := w.DecideAll(b.t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

func TestOnePoisonedFileOfAThousandCostsOnlyItself(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	const files, poisoned = 1000, 500
	for i := 1; i <= files; i++ {
		b.accept(fmt.Sprintf("%d.csv", i), table(line(0, fmt.Sprint("R", i), "", "1.00")))
	}
	w := b.another(poisonedStore{b.db, poisoned})
	if err := b.decideAll(w); !strings.Contains(err, "decide upload 500: ") || !strings.Contains(err, "panic: poison") || strings.Count(err, "decide upload") != 1 {
		t.Errorf("the error is %q, want one that names upload 500 and its panic", err)
	}
	decided := 0
	for i := int64(1); i <= files; i++ {
		if b.upload(i).State == conversion.Decided {
			decided++
		}
	}
	if decided != files-1 {
		t.Errorf("%d of %d files were decided, want all but one", decided, files)
	}
	b.wantState(poisoned, conversion.Deciding)

	// It is tried again later and later, and then waits for somebody.
	for _, step := range []struct {
		wait     time.Duration
		attempts int
	}{{0, 2}, {0, 3}, {59 * time.Second, 3}, {time.Second, 4}, {29 * time.Minute, 4}, {time.Minute, 5}} {
		b.clock.advance(step.wait)
		b.decideAll(w)
		if u := b.upload(poisoned); u.Attempts != step.attempts || !strings.Contains(u.LastError, "panic: poison") {
			t.Errorf("%s later: %d attempts, the last with %q; want %d", step.wait, u.Attempts, u.LastError, step.attempts)
		}
	}
	u := b.wantState(poisoned, conversion.OnHold)
	if u.Hold == nil || u.Hold.Code != conversion.AttemptsExhausted || !strings.Contains(u.Hold.Sentence, "tried 5 times. None of its rows was decided.") {
		t.Errorf("held for %+v", u.Hold)
	}
	b.clock.advance(24 * time.Hour)
	if err := b.decideAll(w); err != "" {
		t.Errorf("what is held was tried again: %s", err)
	}

	// Whoever has found the cure has it go on.
	if err := b.Retry(t.Context(), poisoned, false); err != nil {
		t.Fatal(err)
	}
	if u := b.wantState(poisoned, conversion.Decided); u.Attempts != 0 || u.LastError != "" || u.Hold != nil {
		t.Errorf("decided, and still %d attempts, %q, %+v", u.Attempts, u.LastError, u.Hold)
	}
	b.check()
}

func TestAttemptsThatEndedTheProcessCount(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	for i := range 3 {
		b.accept(fmt.Sprintf("%d.csv", i), table(line(i, "", "", "1.00")))
	}
	for range 5 { // five times, the process is killed while it decides the second
		if err := b.db.NoteAttempts(t.Context(), []*conversion.Upload{b.upload(2)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.decideAll(b.Worker); err != "" {
		t.Fatal(err)
	}
	b.wantState(1, conversion.Decided)
	b.wantState(3, conversion.Decided)
	if u := b.wantState(2, conversion.OnHold); u.Hold != nil && u.Hold.Code != conversion.AttemptsExhausted {
		t.Errorf("held for %+v", u.Hold)
	}
}

// An attempt may be the end of the process: that it is made is on the disk before.
func TestAnAttemptIsNotedBeforeItIsMade(t *testing.T) {
	for name, padding := range map[string]int{"small.csv": 0, "large.csv": 70 << 10} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			b.accept(name, table(line(0, "", "", "1.00"))+strings.Repeat("\n", padding))
			settled := false
			w := b.another(settleHook{b.db, func() {
				settled = true
				if got := b.upload(1).Attempts; got != 1 {
					t.Errorf("%d attempts are noted", got)
				}
			}})
			if err := b.decideAll(w); err != "" || !settled {
				t.Errorf("settled: %v; %s", settled, err)
			}
		})
	}
}

// openingStore notes which uploads are opened.
type openingStore struct {
	worker.Store
	opened *[]int64
}

func (s openingStore) OpenUpload(ctx context.Context, upload int64) func() (io.ReadCloser, error) {
	*s.opened = append(*s.opened, upload)
	return s.Store.OpenUpload(ctx, upload)
}

// Reading it may be what has ended the process: a file that comes again is not read by the way.
func TestWhatMayHaveEndedTheProcessIsNotReadOnArrival(t *testing.T) {
	b := newBench(t, nil)
	first, second := delivery("23", "first.csv", table(line(0, "", "", "1.00"))), delivery("23", "second.csv", table(line(0, "", "", "2.00")))
	if _, err := b.Accept(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := b.db.NoteAttempts(t.Context(), []*conversion.Upload{b.upload(1)}); err != nil {
		t.Fatal(err)
	}
	var opened []int64
	w := b.another(openingStore{b.db, &opened})
	for _, d := range []*ingest.Delivery{first, second} {
		if _, err := w.Accept(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(opened, []int64{2}) {
		t.Errorf("uploads %v are read, want the second", opened)
	}
}

// outageStore is in trouble itself.
type outageStore struct{ failingStore }

func (s outageStore) around(other worker.Store) worker.Store {
	return outageStore{failingStore{other, s.poison}}
}

func (outageStore) Outage(error) bool { return true }

func TestWhatIsNoFaultOfAnUploadDoesNotCount(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.accept("small.csv", table(line(0, "", "", "1.00")))
	large := table(line(1, "", "", "1.00")) + strings.Repeat("\n", 70<<10)
	b.accept("large.csv", large)
	sick := b.another(outageStore{failingStore{b.db, func(conversion.HeldQuery) bool { return true }}})
	for range 10 {
		if err := b.decideAll(sick); !strings.Contains(err, "disk I/O error") {
			t.Fatalf("the error is %q", err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	asked := b.another(failingStore{b.db, func(conversion.HeldQuery) bool { stop(); return true }})
	for range 10 {
		_ = asked.DecideAll(stopped)
	}
	for id := int64(1); id <= 2; id++ {
		if u := b.upload(id); u.Attempts != 0 || u.NextTry != 0 {
			t.Errorf("upload %d: %d attempts, the next at %s; want none", id, u.Attempts, u.NextTry)
		}
	}
	if err := b.decideAll(b.Worker); err != "" {
		t.Fatal(err)
	}
	b.wantState(1, conversion.Decided)
	b.wantState(2, conversion.Decided)
}

func TestAmountsOverTheAccountsLimitsAreApprovedFirst(t *testing.T) {
	limits := func(row, file string) func(*conversion.Account) {
		return func(a *conversion.Account) {
			a.HoldOver = conversion.AmountLimits{Row: decimal.RequireFromString(row), File: decimal.RequireFromString(file)}
		}
	}
	for _, c := range []struct {
		name    string
		account func(*conversion.Account)
		rows    []string
		why     string // "" if it isn't held
	}{
		{"just at the limits", limits("500", "1000"), []string{line(0, "", "", "500.00"), line(1, "", "", "500.00")}, ""},
		{"a row over", limits("500", "100000"), []string{line(0, "", "", "1.00"), line(1, "", "", "500.01")}, "Line 3 has a sale_amount of 500.01 USD, and an amount over 500.00 USD must be approved."},
		{"the file over", limits("500", "1000"), []string{line(0, "", "", "500"), line(1, "", "", "500"), line(2, "", "", "0.01")}, "By line 4, the sale_amount of the file's rows comes to 1,000.01 USD, and more than 1,000.00 USD in one file must be approved."},
		{"no limit for a file", limits("500", "0"), []string{line(0, "", "", "500"), line(1, "", "", "500"), line(2, "", "", "500")}, ""},
		{"a negative one", func(a *conversion.Account) { limits("500", "0")(a); a.NegativeAmounts = true }, []string{line(0, "", "", "-700")}, "Line 2 has a sale_amount of -700.00 USD, and"},
		{"a large one", limits("12345.5", "0"), []string{line(0, "", "", "1234567.89")}, "Line 2 has a sale_amount of 1,234,567.89 USD, and an amount over 12,345.50 USD must be approved."},
		{"rows that can't be taken anyway", limits("500", "0"), []string{line(0, "", "", "1e9"), line(1, "", "", "5")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.account)
			b.know(0, 3)
			upload := b.deliver("orders.csv", table(c.rows...))
			if c.why == "" {
				b.wantState(upload.ID, conversion.Decided)
				return
			}
			if b.wantState(upload.ID, conversion.OnHold); upload.Hold == nil || upload.Hold.Code != conversion.AmountsOverLimit || !strings.HasPrefix(upload.Hold.Sentence, c.why) {
				t.Fatalf("held for %+v, want %q", upload.Hold, c.why)
			}
			if err := b.ReplyAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if letter := b.post.last(t); letter.Subject != "File held – orders.csv" || !strings.Contains(strings.Join(strings.Fields(letter.Text), " "), c.why) || len(letter.Attachments) > 0 {
				t.Errorf("the letter is %q:\n%s", letter.Subject, letter.Text)
			}
			b.wantSales()
			if err := b.Retry(t.Context(), upload.ID, false); err != nil {
				t.Fatal(err)
			}
			b.wantState(upload.ID, conversion.Decided)
			if err := b.ReplyAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if letter := b.post.last(t); letter.Revision != 2 || !strings.Contains(letter.Subject, "created") {
				t.Errorf("the second letter is revision %d, %q", letter.Revision, letter.Subject)
			}
			b.check()
		})
	}
}

// What was held while newer files were decided takes the place of their values only knowingly.
func TestNewerValuesAreReplacedOnlyKnowingly(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.HoldOver.Row = decimal.NewFromInt(50) })
	b.know(0, 3)
	b.deliver("before.csv", table(line(0, "R0", "", "20"), line(1, "R1", "", "20")))
	b.clock.advance(time.Hour)
	monday := b.deliver("monday.csv", table(line(0, "R0", "", "60"), line(1, "R1", "", "30"), line(2, "R2", "", "60")))
	b.wantState(monday.ID, conversion.OnHold)
	b.clock.advance(24 * time.Hour)
	tuesday := b.deliver("tuesday.csv", table(line(0, "R0", "", "40"), line(2, "R2", "", "40")))
	want := fmt.Sprintf("Newer are those of 2 conversions by upload %d, tuesday.csv", tuesday.ID)
	if err := b.Retry(t.Context(), monday.ID, false); !errors.Is(err, worker.ErrNewer) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
	b.wantState(monday.ID, conversion.OnHold)
	b.wantSales("C0=40.00", "C1=20.00", "C2=40.00")
	if err := b.Retry(t.Context(), monday.ID, true); err != nil {
		t.Fatal(err)
	}
	b.wantSales("C0=60.00", "C1=30.00", "C2=60.00")
	b.check()

	// What changes nothing that is newer needs no more than to be approved.
	wednesday := b.deliver("wednesday.csv", table(line(1, "R1", "", "70")))
	b.clock.advance(time.Hour)
	b.deliver("thursday.csv", table(line(0, "R0", "", "10")))
	if err := b.Retry(t.Context(), wednesday.ID, false); err != nil {
		t.Error(err)
	}
}

// A file that could not be decided for a while, and then can, doesn't take the place of newer
// values by itself.
func TestWhatHasWaitedDoesNotReplaceNewerValues(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("before.csv", table(line(0, "R0", "", "20")))
	b.clock.advance(time.Hour)
	monday := b.accept("monday.csv", table(line(0, "R0", "", "60")))
	w := b.another(poisonedStore{b.db, monday.ID})
	for range 3 {
		b.decideAll(w)
	}
	b.clock.advance(30 * time.Second)
	b.deliver("tuesday.csv", table(line(0, "R0", "", "40")))
	b.clock.advance(30 * time.Second)
	if said := b.decideAll(b.Worker); said != "" {
		t.Error(said)
	}
	u := b.wantState(monday.ID, conversion.OnHold)
	if u.Hold == nil || u.Hold.Code != conversion.AttemptsExhausted || !strings.Contains(u.Hold.Sentence, "the place of newer ones by now. None of its rows was decided.") {
		t.Errorf("held for %+v", u.Hold)
	}
	b.wantSales("C0=40.00")
	if err := b.Retry(t.Context(), monday.ID, false); !errors.Is(err, worker.ErrNewer) {
		t.Errorf("the error is %v", err)
	}
	if err := b.Retry(t.Context(), monday.ID, true); err != nil {
		t.Error(err)
	}
	b.wantSales("C0=60.00")
}

func TestWhatIsDiscardedIsRefused(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.HoldOver.Row = decimal.NewFromInt(10) })
	b.know(0, 1)
	upload := b.deliver("orders.csv", table(line(0, "", "", "11")))
	if err := b.Discard(t.Context(), upload, "a typing\nmistake"); err != nil {
		t.Fatal(err)
	}
	u := b.wantState(upload.ID, conversion.Refused)
	if u.Refusal == nil || u.Refusal.Code != conversion.Discarded || !strings.HasSuffix(u.Refusal.Sentence, "Why: a typing mistake") || u.Hold != nil {
		t.Errorf("refused for %+v, held for %+v", u.Refusal, u.Hold)
	}
	if err := b.Retry(t.Context(), upload.ID, false); err == nil {
		t.Error("what was discarded went on")
	}
}

func TestWhatIsDecidedInPartCannotBeDiscarded(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 4)
	upload := b.accept("orders.csv", table(line(0, "", "", "1"), line(1, "", "", "1"), line(2, "", "", "1"), line(3, "", "", "1"))+strings.Repeat("\n", 70<<10))
	w := b.another(failingStore{b.db, func(q conversion.HeldQuery) bool { return q.First > 3 }})
	w.ChunkRows, w.Attempts = 2, 1
	b.decideAll(w)
	u := b.wantState(upload.ID, conversion.OnHold)
	if err := b.Discard(t.Context(), u, ""); err == nil || !strings.Contains(err.Error(), "its first rows were decided already") {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(u.Hold.Sentence, "up to line 3 were decided") {
		t.Errorf("held for %q", u.Hold.Sentence)
	}
	if err := b.Retry(t.Context(), upload.ID, false); err != nil {
		t.Fatal(err)
	}
	b.wantState(upload.ID, conversion.Decided)
	b.check()
}

// What was being decided when the process was killed is decided first: later files prevail.
func TestWhatAKillHasEndedIsNotOvertaken(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.accept("older.csv", table(line(0, "", "", "1.00")))
	b.accept("newer.csv", table(line(0, "", "", "2.00")))
	for range 4 {
		if err := b.db.NoteAttempts(t.Context(), []*conversion.Upload{b.upload(1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.decideAll(b.Worker); err != "" {
		t.Fatal(err)
	}
	b.wantSales("C0=2.00")
}

// What was put off by a clock that was a year ahead is not put off by a year.
func TestAClockThatWasAheadDelaysNothing(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.accept("orders.csv", table(line(0, "", "", "1.00")))
	right := b.clock.Now()
	b.clock.advance(365 * 24 * time.Hour)
	sick := b.another(failingStore{b.db, func(conversion.HeldQuery) bool { return true }})
	for range 3 {
		b.decideAll(sick)
	}
	b.clock.advance(right.Sub(b.clock.Now()))
	if err := b.decideAll(b.Worker); err != "" {
		t.Fatal(err)
	}
	b.wantState(1, conversion.Decided)
	b.clock.advance(365 * 24 * time.Hour)
	b.post.refuse = 1
	b.replyAll()
	b.clock.advance(right.Sub(b.clock.Now()))
	if err := b.replyAll(); err != "" || len(b.post.letters) != 2 {
		t.Errorf("%s; the letter was tried %d times, want twice", err, len(b.post.letters))
	}
}

// finishHook lets something happen before a call log is finished.
type finishHook struct {
	worker.Store
	before func()
}

func (s finishHook) FinishCalls(ctx context.Context, u *conversion.Upload, news bool) error {
	s.before()
	return s.Store.FinishCalls(ctx, u, news)
}

// What another process holds, decides or ends meanwhile is left to it, and trying it was no attempt.
func TestWhatIsLeftToAnotherProcessIsNoAttempt(t *testing.T) {
	for _, test := range []struct {
		name string
		late func(b *bench, hold func()) (*conversion.Upload, worker.Store)
	}{
		{"a file", func(b *bench, hold func()) (*conversion.Upload, worker.Store) {
			return b.accept("orders.csv", sold("10.00")), settleHook{b.db, hold}
		}},
		{"a call log", func(b *bench, hold func()) (*conversion.Upload, worker.Store) {
			log, _ := callLog(b.t, b)
			return log, finishHook{b.db, hold}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			var upload *conversion.Upload
			upload, late := test.late(b, func() {
				if err := b.db.Hold(t.Context(), upload.ID, conversion.Hold{Code: conversion.AmountsOverLimit, Sentence: "Too much."}, 5); err != nil {
					t.Error(err)
				}
			})
			w := b.another(late)
			if err := w.DecideAll(t.Context()); err != nil {
				t.Errorf("the error is %v", err)
			}
			if u := b.upload(upload.ID); u.State != conversion.OnHold || u.Attempts != 0 || u.LastError != "" {
				t.Errorf("it is %s after %d attempts, %q", u.State, u.Attempts, u.LastError)
			}
		})
	}
}

// Of two processes that take the same call log, each has all of its calls stored.
func TestTwoTakeACallLog(t *testing.T) {
	b := newBench(t, nil)
	log, _ := callLog(t, b)
	late := b.another(finishHook{b.db, func() {
		if err := b.DecideAll(t.Context()); err != nil {
			t.Error(err)
		}
	}})
	if tally, err := late.ImportCalls(t.Context(), log); err != nil || tally.Read != 1 {
		t.Errorf("the import says %+v, %v", tally, err)
	}
	b.wantState(log.ID, conversion.Decided)
}
