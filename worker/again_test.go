package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// sold is a file of one row: the sale of call 0.
func sold(sale string) string { return table(line(0, "R0", "S", sale)) }

// createsAll has every row of another file make a conversion, even one that a
// file had before.
func createsAll(a *conversion.Account) {
	a.Duplicates.Mode, a.Duplicates.Repeats = conversion.ModeCreate, conversion.RepeatsApply
}

// accept has a file come and leaves it undecided, as after a crash.
func (b *bench) accept(name, content string, change ...func(*ingest.Delivery)) *conversion.Upload {
	b.t.Helper()
	d := delivery(b.account.ID, name, content)
	for _, f := range change {
		f(d)
	}
	upload, err := b.Accept(b.t.Context(), d)
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	return upload
}

func again(d *ingest.Delivery) { d.Again = true }

// decide has a worker that was just started decide an upload.
func (b *bench) decide(upload *conversion.Upload) {
	b.t.Helper()
	restarted := b.another(openStore(b.t, b.file))
	if err := restarted.Decide(b.t.Context(), b.upload(upload.ID)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) reconcile() {
	b.t.Helper()
	if err := b.Reconcile(b.t.Context(), ""); err != nil {
		b.t.Fatal(err)
	}
}

// wantAppliedBy checks that an upload's rows say which upload applied them.
func (b *bench) wantAppliedBy(upload, by int64) {
	b.t.Helper()
	for _, o := range b.outcomes(upload) {
		if want := fmt.Sprintf("as upload %d,", by); !strings.Contains(o.Message, want) {
			b.t.Errorf("upload %d: line %d says %q, want %q", upload, o.Line, o.Message, want)
		}
	}
}

func TestTheSameFileAgainPastOneThatIsStuck(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	first := b.deliver("ten.csv", sold("10.00"))
	b.wantVerdicts(b.deliver("twenty.csv", sold("20.00")).ID, "updated")
	stuck := b.accept("ten.csv", sold("10.00"))
	last := b.deliver("ten.csv", sold("10.00"))
	b.wantVerdicts(last.ID, "unchanged")
	b.wantSales("C0=20.00")

	b.decide(stuck)
	b.wantVerdicts(stuck.ID, "unchanged")
	b.wantSales("C0=20.00")
	for _, upload := range []*conversion.Upload{stuck, last} {
		b.wantAppliedBy(upload.ID, first.ID)
	}
	b.check()
}

// Where repeats are applied, only the bytes tell that a file came twice.
func TestOfTwoUploadsOfTheSameBytesOneCounts(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		for _, chunk := range []int{0, 1} {
			t.Run(fmt.Sprintf("upload %d first, chunks of %d", order[0]+1, chunk), func(t *testing.T) {
				b := newBench(t, createsAll)
				b.know(0, 2)
				b.ChunkRows = chunk
				content := table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(1, "R1", "S", "20.00"))
				uploads := []*conversion.Upload{b.accept("a.csv", content), b.accept("b.csv", content)}
				sooner, later := uploads[order[0]], uploads[order[1]]
				b.decide(sooner)
				b.decide(later)
				b.wantVerdicts(sooner.ID, "created created created")
				b.wantVerdicts(later.ID, "unchanged unchanged unchanged")
				b.wantAppliedBy(later.ID, sooner.ID)
				b.wantSales("C0=10.00", "C1=20.00", "C1=20.00")
				b.check()
			})
		}
	}
}

// A row that some upload has applied stays applied, whatever became of it in an
// upload since.
func TestARowThatAnyUploadAppliedIsNotAppliedAgain(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	first := b.deliver("ten.csv", sold("10.00"))
	twin := testCalls(0, 1)
	twin[0].CallID = "twin"
	if _, err := b.db.SaveCalls(t.Context(), "23", twin); err != nil {
		t.Fatal(err)
	}
	forced := b.accept("ten.csv", sold("10.00"), again)
	b.decide(forced)
	b.wantVerdicts(forced.ID, "rejected:call_ambiguous")
	last := b.deliver("ten.csv", sold("10.00"))
	b.wantVerdicts(last.ID, "unchanged")
	b.wantAppliedBy(last.ID, first.ID)
	b.wantSales("C0=10.00")
	b.check()
}

func TestRowsOfOneFileMayHaveBeenAppliedByDifferentUploads(t *testing.T) {
	for _, chunk := range []int{0, 1} {
		t.Run(fmt.Sprint("chunks of ", chunk), func(t *testing.T) {
			b := newBench(t, nil)
			b.ChunkRows = chunk
			content := table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(2, "R2", "S", "30.00"))
			for i, want := range []string{
				"created rejected:call_not_found rejected:call_not_found",
				"unchanged created rejected:call_not_found",
				"unchanged unchanged created",
				"unchanged unchanged unchanged",
			} {
				b.know(0, i+1)
				upload := b.deliver("orders.csv", content)
				b.wantVerdicts(upload.ID, want)
				// Meanwhile every sale is another one.
				b.deliver("newer.csv", table(line(i, "", "S", fmt.Sprintf("%d.00", 90+i))))
				for line, o := range b.outcomes(upload.ID) {
					if by := 2*line + 1; o.Verdict == conversion.Unchanged && !strings.Contains(o.Message, fmt.Sprintf("as upload %d,", by)) {
						t.Errorf("upload %d: line %d says %q, want it to name upload %d", upload.ID, o.Line, o.Message, by)
					}
				}
			}
			b.wantSales("C0=90.00", "C1=91.00", "C2=92.00", "C3=93.00")
			b.check()
		})
	}
}

func TestAgainIsRememberedOverARestart(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("ten.csv", sold("10.00"))
	b.deliver("twenty.csv", sold("20.00"))
	upload := b.accept("ten.csv", sold("10.00"), again)
	b.decide(upload)
	b.wantVerdicts(upload.ID, "updated")
	b.wantSales("C0=10.00")
	b.check()
}

func TestTheSameBytesWaitingTwiceCountOnce(t *testing.T) {
	tests := []struct {
		name    string
		account func(*conversion.Account)
		files   []string // their sales
		want    []string
		sales   []string
	}{
		{"a repeat sets nothing back", waits, []string{"10.00", "20.00", "10.00"}, []string{"created", "updated", "unchanged"}, []string{"C0=20.00"}},
		{"a repeat makes no conversion", func(a *conversion.Account) { waits(a); createsAll(a) }, []string{"10.00", "10.00"}, []string{"created", "unchanged"}, []string{"C0=10.00"}},
		{"another file's row makes one", func(a *conversion.Account) { waits(a); createsAll(a) }, []string{"10.00", "20.00", "20.00"}, []string{"created", "created", "unchanged"}, []string{"C0=10.00", "C0=20.00"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.account)
			for i, sale := range test.files {
				b.wantVerdicts(b.deliver(fmt.Sprint(i, ".csv"), sold(sale)).ID, "waiting:call_not_found")
			}
			b.know(0, 1)
			b.reconcile()
			for i, want := range test.want {
				b.wantVerdicts(int64(i+1), want)
			}
			b.wantSales(test.sales...)
			b.check()
		})
	}
}

func TestAnUploadWhoseFirstRowsAreDecidedIsNeverRefused(t *testing.T) {
	content := table(line(0, "R0", "S", "1.00"), line(1, "R1", "S", "2.00"), line(2, "R2", "S", "3.00"), line(3, "R3", "S", "4.00"), line(4, "R4", "S", "5.00"))
	for _, broken := range []struct {
		name string
		how  func(*worker.Worker)
	}{
		{"the account is gone", func(w *worker.Worker) { w.Accounts = nil }},
		{"fewer bytes are read", func(w *worker.Worker) { w.Limits = ingest.Limits{Bytes: 100, Rows: 100, Columns: 20} }},
		{"fewer rows are read", func(w *worker.Worker) { w.Limits = ingest.Limits{Bytes: 1 << 20, Rows: 3, Columns: 20} }},
	} {
		for _, meanwhile := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, same bytes meanwhile: %t", broken.name, meanwhile), func(t *testing.T) {
				b := newBench(t, createsAll)
				b.know(0, 5)
				settles := 0
				interrupted := b.another(failingStore{b.db, func(conversion.HeldQuery) bool { settles++; return settles == 2 }})
				interrupted.ChunkRows = 2
				upload := b.accept("orders.csv", content)
				if err := interrupted.Decide(t.Context(), b.upload(upload.ID)); err == nil {
					t.Fatal("the second chunk should have failed")
				}

				restarted := b.another(b.db)
				broken.how(restarted)
				for range 2 {
					if err := restarted.DecideAll(t.Context()); err == nil || !strings.Contains(err.Error(), "set the configuration back") {
						t.Errorf("the error is %v, want it to say what to do", err)
					}
				}
				if state := b.upload(upload.ID).State; state != conversion.Deciding {
					t.Errorf("the upload is %s, want it deciding", state)
				}
				if due := b.dueReports(); len(due) > 0 {
					t.Errorf("reports %v are due on an upload that isn't decided", due)
				}
				b.wantSales("C0=1.00", "C1=2.00")

				want := "created created created created created"
				if meanwhile {
					copied := b.deliver("orders copy.csv", content)
					b.wantVerdicts(copied.ID, "unchanged unchanged created created created")
					want = "created created unchanged unchanged unchanged"
				}
				b.clock.advance(time.Minute) // what has failed often waits
				if err := b.DecideAll(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.wantVerdicts(upload.ID, want)
				b.wantSales("C0=1.00", "C1=2.00", "C2=3.00", "C3=4.00", "C4=5.00")
				b.check()
			})
		}
	}
}

// callLog is a log of one call, call 0, and the call as the log tells it.
func callLog(t *testing.T, b *bench) (*conversion.Upload, []conversion.Call) {
	t.Helper()
	calls := []conversion.Call{{CallID: "C0", Start: conversion.MillisOf(callStart(0)), Duration: 60, Caller: caller(0)}}
	log := "call_id,start_time,duration_in_seconds,calling_phone_number\nC0,2026-03-31T11:00:00Z,60,+12125550100\n"
	return b.accept("calls.csv", log, func(d *ingest.Delivery) { d.Takes = conversion.TakesCalls }), calls
}

// The first try at the log ended after its calls were saved and before the rows
// that wait for them were woken.
func TestACallLogThatIsTriedAgainWakesWaitingRows(t *testing.T) {
	b := newBench(t, waits)
	waiting := b.deliver("orders.csv", sold("10.00"))
	log, calls := callLog(t, b)
	if _, err := b.db.SaveCalls(t.Context(), "23", calls); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(waiting.ID, "waiting:call_not_found")
	tally, err := b.ImportCalls(t.Context(), log)
	if err != nil || tally.Unchanged != 1 || tally.Created+tally.Updated != 0 {
		t.Errorf("the import says %+v, %v; want the call unchanged", tally, err)
	}
	b.wantVerdicts(waiting.ID, "created")
	b.check()
}

// The calls are known; that a row can't be decided now is no fault of the log.
func TestACallLogIsImportedEvenIfWaitingRowsCannotBeDecided(t *testing.T) {
	b := newBench(t, waits)
	waiting := b.deliver("orders.csv", sold("10.00"))
	log, _ := callLog(t, b)
	w := b.another(failingStore{b.db, func(conversion.HeldQuery) bool { return true }})
	if tally, err := w.ImportCalls(t.Context(), log); err != nil || tally.Created != 1 {
		t.Errorf("the import says %+v, %v; want one call", tally, err)
	}
	if state := b.upload(log.ID).State; state != conversion.Decided {
		t.Errorf("the log is %s, want it decided", state)
	}
	b.wantVerdicts(waiting.ID, "waiting:call_not_found")
	b.reconcile()
	b.wantVerdicts(waiting.ID, "created")
	if left := slices.DeleteFunc(b.uploads(), func(u *conversion.Upload) bool { return u.State == conversion.Decided }); len(left) > 0 {
		t.Errorf("%d uploads are not decided", len(left))
	}
	b.check()
}

func TestTheUploadThatIsNamedIsTheOneThatAppliedTheRow(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	stuck := b.accept("ten.csv", sold("10.00"))
	did := b.deliver("ten.csv", sold("10.00"))
	b.decide(stuck)
	last := b.deliver("ten.csv", sold("10.00"))
	b.wantAppliedBy(last.ID, did.ID)
}
