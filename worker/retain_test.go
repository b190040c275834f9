package worker_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/worker"
)

const aDay = 24 * time.Hour

// holds reports whether the store's files hold a text.
func (b *bench) holds(text string) bool {
	b.t.Helper()
	for _, file := range []string{b.file, b.file + "-wal"} {
		content, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			b.t.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) {
			return true
		}
	}
	return false
}

func (b *bench) retain() {
	b.t.Helper()
	if err := b.Retain(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func TestWhatIsKeptNoLongerIsGoneAndTheFiguresStay(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.Match.Lookback = 0 })
	b.know(0, 3)
	b.Retention = worker.Retention{Files: 90 * aDay, Customers: 400 * aDay}
	content := "start_time,calling_phone_number,reference_id,sale_amount,email_address\n" +
		callStart(0).Format(time.RFC3339) + ",+12125550100,R0,10.00,zenobia@customer.example\n" +
		callStart(1).Format(time.RFC3339) + ",+12125550101,R1,20.00,yorick@customer.example\n" +
		callStart(2).Format(time.RFC3339) + ",+12125550102,R2,oops-xanthippe,\n"
	first := b.deliver("old.csv", content)
	b.reply()
	before, sales := b.told(first.ID), b.sales()

	b.clock.advance(89 * aDay)
	b.retain()
	if b.told(first.ID) != before {
		t.Error("something was removed before its time")
	}
	b.clock.advance(2 * aDay)
	b.retain()
	told := b.told(first.ID)
	if u := b.upload(first.ID); u.EmptiedAt == 0 || !strings.Contains(told, "The file was removed on") || !strings.Contains(told, "2 created") {
		t.Errorf("emptied at %s; the report says:\n%s", u.EmptiedAt, told)
	}
	if b.holds("email_address\n") {
		t.Error("the store still holds the file")
	}
	if !b.holds("zenobia@customer.example") {
		t.Error("the customer is gone before its time")
	}
	// It can't be decided again, but taken back.
	err := b.Replay(t.Context(), b.upload(first.ID), false, func(*worker.Worker, *conversion.Upload, worker.Comparison) error { return nil })
	if !errors.Is(err, worker.ErrCannotUndo) || !strings.Contains(err.Error(), "its file was removed on") {
		t.Errorf("replayed: %v", err)
	}

	// A conversion that has changed since keeps its customer until that is old, too.
	b.deliver("new.csv", "start_time,calling_phone_number,reference_id,sale_amount,email_address\n"+callStart(1).Format(time.RFC3339)+",+12125550101,R1,25.00,\n")
	b.clock.advance(310 * aDay)
	b.retain()
	if b.holds("zenobia@") || !b.holds("yorick@") || b.holds("xanthippe") {
		t.Errorf("zenobia is held: %v, yorick: %v, a quoted cell: %v; want only the second", b.holds("zenobia@"), b.holds("yorick@"), b.holds("xanthippe"))
	}
	b.clock.advance(95 * aDay)
	b.retain()
	if b.holds("yorick@") {
		t.Error("the customer of a conversion that was changed later is never forgotten")
	}
	if after := b.sales(); strings.Join(after, " ") != strings.Replace(strings.Join(sales, " "), "20.00", "25.00", 1) {
		t.Errorf("the ledger holds %v, and held %v", after, sales)
	}
	b.check()
	if _, verdicts := b.undo(first.ID, true); !strings.Contains(verdicts, "taken back") {
		t.Errorf("taken back: %s", verdicts)
	}
	b.reply()
	b.check()
}

func TestWhatIsNotDoneWithIsKept(t *testing.T) {
	b := newBench(t, waits)
	b.Retention = worker.Retention{Files: aDay}
	b.know(0, 1)
	waiting := b.deliver("waiting.csv", table(line(0, "", "", "1.00"), line(1, "", "", "2.00")))
	b.account.HoldOver.Row = decimal.NewFromInt(50)
	held := b.deliver("held.csv", table(line(0, "", "", "100.00")))
	b.account.HoldOver = conversion.AmountLimits{}
	unsent := b.deliver("unsent.csv", table(line(0, "X", "", "3.00")))
	b.clock.advance(3 * aDay)
	b.retain()
	for _, u := range []*conversion.Upload{waiting, held, unsent} {
		if b.upload(u.ID).EmptiedAt != 0 {
			t.Errorf("the file of %s was removed", u.Name)
		}
	}
}

// The rows of a replay may wait for their call, and are decided from the same file.
func TestTheFileOfAReplayThatWaitsIsKept(t *testing.T) {
	b := newBench(t, waits)
	b.Retention = worker.Retention{Files: aDay}
	b.know(0, 1)
	first := b.deliver("orders.csv", table("2026-03-31T11:02:00Z,+12125550100,R0,S,10.00\n"))
	b.wantVerdicts(first.ID, "created")
	window := b.account.Match.Window
	b.account.Match.Window = time.Second
	again, _ := b.replay(first.ID, true)
	b.wantVerdicts(again.ID, "waiting:call_not_found")
	b.reply()
	b.clock.advance(3 * aDay)
	b.retain()
	if b.upload(first.ID).EmptiedAt != 0 {
		t.Error("the file was removed")
	}
	b.account.Match.Window = window
	b.reconcile()
	b.wantVerdicts(again.ID, "created")
	b.reply()
	b.retain()
	if b.upload(first.ID).EmptiedAt == 0 {
		t.Error("the file was kept when all was done")
	}
	b.check()
}
