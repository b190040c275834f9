package worker_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// acknowledge notes how a delivery was acknowledged.
func acknowledge(into *ingest.Disposition) func(context.Context, ingest.Disposition) error {
	return func(_ context.Context, d ingest.Disposition) error {
		*into = d
		return nil
	}
}

func waits(a *conversion.Account) { a.WaitForCalls = 7 * 24 * time.Hour }

func waitsForMail(a *conversion.Account) { waits(a); mailAccount(a) }

// reply sends what is due and returns the letters it took.
func (b *bench) reply() []letter {
	b.t.Helper()
	before := len(b.post.letters)
	if err := b.ReplyAll(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return b.post.letters[before:]
}

func TestAWaitingRowIsSettledWhenItsCallComes(t *testing.T) {
	for _, chunk := range []int{0, 1, 2} {
		t.Run(fmt.Sprint("chunks of ", chunk), func(t *testing.T) {
			b := newBench(t, waitsForMail)
			b.know(0, 2)
			b.ChunkRows = chunk
			upload := b.mail(table(line(0, "", "", "1.00"), line(2, "R2", "S", "3.00"), line(1, "", "", "oops"), line(3, "", "", "4.00"), line(1, "", "", "5.00")), func(*ingest.Delivery) {})
			b.wantVerdicts(upload.ID, "created waiting:call_not_found rejected:amount_invalid waiting:call_not_found created")
			first := b.post.letters[0]

			// Nothing new: nothing is told.
			if err := b.Reconcile(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if letters := b.reply(); len(letters) != 0 {
				t.Fatalf("%d letters were sent without any news", len(letters))
			}

			b.clock.advance(26 * time.Hour)
			b.know(2, 3)
			for range 3 {
				if err := b.Reconcile(t.Context(), "23"); err != nil {
					t.Fatal(err)
				}
			}
			b.wantVerdicts(upload.ID, "created created rejected:amount_invalid waiting:call_not_found created")
			b.wantSales("C0=1.00", "C1=5.00", "C2=3.00")
			b.check()

			letters := b.reply()
			if len(letters) != 1 {
				t.Fatalf("%d follow-up reports were sent, want 1", len(letters))
			}
			second := letters[0]
			if second.Revision != 2 || second.MessageID == first.MessageID || second.InReplyTo != "m1@acme.example" ||
				!slices.Equal(second.References, []string{"m0@acme.example", "m1@acme.example", first.MessageID}) {
				t.Errorf("revision %d with id %s in reply to %s references %q; the first report was %s", second.Revision, second.MessageID, second.InReplyTo, second.References, first.MessageID)
			}
			if !second.Date.After(first.Date) {
				t.Errorf("the follow-up is dated %s, the first report %s", second.Date, first.Date)
			}
			if !slices.Equal(second.To, first.To) {
				t.Errorf("the follow-up went to %q, the first report to %q", second.To, first.To)
			}
			if !strings.Contains(second.Text, "5 rows: 3 created, 1 waiting, 1 rejected") {
				t.Errorf("the follow-up report says\n%s", second.Text)
			}
			if letters := b.reply(); len(letters) != 0 {
				t.Errorf("%d more letters were sent without any news", len(letters))
			}
		})
	}
}

// A call log that arrives wakes the rows that wait for its calls.
func TestACallLogWakesWaitingRows(t *testing.T) {
	b := newBench(t, waits)
	b.put("orders.csv", table(line(0, "", "", "1.00")))
	b.work()
	b.wantVerdicts(1, "waiting:call_not_found")
	before := b.read("results", "orders.results.csv")

	log := "call_id,start_time,duration_in_seconds,calling_phone_number\nC0,2026-03-31T11:00:00Z,60,+12125550100\n"
	d := delivery("23", "calls.csv", log)
	d.Takes = conversion.TakesCalls
	b.Plans = append(b.Plans, worker.Plan{Source: &pile{name: "calls", deliveries: []*ingest.Delivery{d}}})
	b.work()
	b.wantVerdicts(1, "created")
	b.check()
	if after := b.read("results", "orders.results.csv"); after == before || !strings.Contains(after, "created") {
		t.Errorf("the results file was not renewed:\n%s", after)
	}
	if len(b.post.letters) != 2 || b.post.letters[1].Revision != 2 {
		t.Errorf("%d letters were sent, want the report and a follow-up", len(b.post.letters))
	}
}

func TestAWaitThatIsOverIsRejected(t *testing.T) {
	b := newBench(t, waits)
	upload := b.deliver("orders.csv", table(line(0, "", "", "1.00")))
	b.reply()
	b.clock.advance(7*24*time.Hour - 61*time.Minute)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "waiting:call_not_found")
	b.clock.advance(3 * time.Minute)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "rejected:call_not_found")
	if letters := b.reply(); len(letters) != 1 || letters[0].Revision != 2 || len(letters[0].Attachments) != 2 {
		t.Errorf("%d follow-up reports, want one with a fix file", len(letters))
	}
	// Once rejected, it is over: the call comes too late.
	b.know(0, 1)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "rejected:call_not_found")
	b.check()
}

func TestTheSameRowWaitingInTwoFilesCountsOnce(t *testing.T) {
	for _, mode := range []conversion.Mode{conversion.ModeCreate, conversion.ModeUpdate} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) { waits(a); a.Duplicates.Mode = mode })
			b.deliver("a.csv", table(line(0, "R0", "", "1.00")))
			b.deliver("b.csv", table(line(0, "R0", "", "1.00"), line(1, "R1", "", "2.00")))
			b.know(0, 2)
			if err := b.Reconcile(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			b.wantVerdicts(1, "created")
			b.wantVerdicts(2, "unchanged created")
			b.wantSales("C0=1.00", "C1=2.00")
			b.check()
		})
	}
}

// The row came before the limit was reached; that its call was late doesn't
// change that.
func TestTheErrorLimitDoesNotCatchAWaitingRowBeforeIt(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { waits(a); a.ErrorLimit = 1 })
	b.know(1, 3)
	upload := b.deliver("orders.csv", table(line(0, "", "", "1.00"), line(1, "", "", "oops"), line(2, "", "", "3.00")))
	b.wantVerdicts(upload.ID, "waiting:call_not_found rejected:amount_invalid rejected:not_reached")
	b.know(0, 1)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "created rejected:amount_invalid rejected:not_reached")
	b.check()
}

// ownStore lets something happen just before a settlement.
type ownStore struct {
	worker.Store
	before func()
}

func (s *ownStore) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	if happen := s.before; happen != nil {
		s.before = nil
		happen()
	}
	return s.Store.Settle(ctx, query, decide)
}

// Two reconciliations at once – the nightly one and that of a call log – settle
// a waiting row once.
func TestTwoReconciliationsAtOnceSettleARowOnce(t *testing.T) {
	for _, mode := range []conversion.Mode{conversion.ModeCreate, conversion.ModeUpdate} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) { waits(a); a.Duplicates.Mode = mode })
			upload := b.deliver("orders.csv", table(line(0, "R0", "", "1.00"), line(1, "R1", "", "2.00")))
			b.reply()
			b.know(0, 1)
			slow := b.another(&ownStore{b.db, func() {
				if err := b.Reconcile(t.Context(), ""); err != nil {
					t.Error(err)
				}
				b.reply()
			}})
			if err := slow.Reconcile(t.Context(), ""); err != nil {
				t.Log("the slow one:", err)
			}
			b.wantVerdicts(upload.ID, "created waiting:call_not_found")
			if tally := b.upload(upload.ID).Tally; tally.Of(conversion.Waiting) != 1 || tally.Of(conversion.Created) != 1 {
				t.Errorf("the tally is %q, want 1 created, 1 waiting", tally)
			}
			if due := b.dueReports(); len(due) != 0 {
				t.Errorf("reports %v are due although the news was told", due)
			}
			b.wantSales("C0=1.00")
			b.check()
		})
	}
}

// A waiting row of an account that was taken out of the configuration keeps
// waiting and delays nobody.
func TestReconcileSkipsAccountsThatAreGone(t *testing.T) {
	b := newBench(t, waits)
	upload := b.deliver("orders.csv", table(line(0, "", "", "1.00")))
	b.know(0, 1)
	restarted := b.another(b.db)
	restarted.Accounts = nil
	if err := restarted.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "waiting:call_not_found")
}

func TestACallLogIsImportedOnce(t *testing.T) {
	b := newBench(t, nil)
	log := "call_id,start_time,duration_in_seconds,calling_phone_number\n"
	for i := range 7 {
		log += fmt.Sprintf("C%d,%s,60,+%d\n", i, callStart(i).Format(time.RFC3339), int64(caller(i)))
	}
	log += "C7,yesterday,60,\n"
	b.ChunkRows = 3
	for i, want := range []conversion.CallsTally{{Read: 8, Created: 7, Rejected: 1}, {Read: 8, Unchanged: 7, Rejected: 1}} {
		upload, err := b.Accept(t.Context(), &ingest.Delivery{
			Source: "calls", Origin: fmt.Sprint(i), Name: "calls.csv", Account: "23", Takes: conversion.TakesCalls,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(log)), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.ImportCalls(t.Context(), upload)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Faults) != 1 || got.Faults[0].Line != 9 || got.Faults[0].Faults[0].Code != conversion.StartTimeInvalid {
			t.Errorf("import %d: the faults are %+v, want one of line 9", i+1, got.Faults)
		}
		if got.Faults = nil; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("import %d: %+v, want %+v", i+1, got, want)
		}
	}
}
