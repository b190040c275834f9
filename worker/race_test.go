package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// Two processes on one store decide one upload at once: its rows are applied
// once, and the slower one is told that the upload is taken.
func TestTwoWorkersDecideAnUploadOnce(t *testing.T) {
	for _, mode := range conversion.Modes {
		for _, rows := range []int{1, 4, 9} {
			t.Run(fmt.Sprintf("%s, %d rows", mode, rows), func(t *testing.T) {
				b := newBench(t, inMode(mode))
				b.know(0, rows)
				var content string
				for i := range rows {
					content += line(i, fmt.Sprint("R", i), "S", fmt.Sprintf("%d.00", i))
				}
				upload, err := b.Accept(t.Context(), delivery("23", "orders.csv", table(content)))
				if err != nil {
					t.Fatal(err)
				}
				failures := make([]error, 4)
				var all sync.WaitGroup
				for i := range failures {
					w := b.another(openStore(t, b.file))
					w.ChunkRows = 2
					snapshot := b.upload(upload.ID)
					all.Go(func() { failures[i] = w.Decide(t.Context(), snapshot) })
				}
				all.Wait()
				good := 0
				for _, err := range failures {
					switch {
					case err == nil:
						good++
					case !errors.Is(err, conversion.ErrTaken):
						t.Errorf("the error is %v, want ErrTaken", err)
					}
				}
				if good > 1 {
					t.Errorf("%d workers believe that they decided the upload, want at most one", good)
				}
				if good == 0 { // each was overtaken by another; the next look goes on
					if err := b.DecideAll(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				b.wantVerdicts(upload.ID, strings.TrimSpace(strings.Repeat("created ", rows)))
				if verified, err := b.db.Verify(t.Context()); err != nil || verified.Conversions != rows || verified.Changes != rows {
					t.Errorf("%d conversions and %d changes, %v; want %d of each", verified.Conversions, verified.Changes, err, rows)
				}
				b.check()
			})
		}
	}
}

// A worker that comes back late to an upload that was decided and reported in
// the meantime changes nothing, also if no row or a full chunk was left to it.
func TestALateWorkerChangesNothing(t *testing.T) {
	for _, rows := range []int{0, 1, 2, 3, 4} {
		t.Run(fmt.Sprint(rows, " rows"), func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 9)
			b.ChunkRows = 2
			var content string
			for i := range rows {
				content += line(i, "", "S", "1.00")
			}
			upload, err := b.Accept(t.Context(), delivery("23", "orders.csv", table(content)))
			if err != nil {
				t.Fatal(err)
			}
			// The late worker falls asleep before its last chunk.
			settles := 0
			late := b.another(settleHook{b.db, func() {
				if settles++; settles == rows/2+1 {
					if err := b.DecideAll(t.Context()); err != nil {
						t.Error(err)
					}
					b.reply()
				}
			}})
			late.ChunkRows = 2
			if err := late.Decide(t.Context(), b.upload(upload.ID)); !errors.Is(err, conversion.ErrTaken) {
				t.Errorf("the error is %v, want ErrTaken", err)
			}
			if due := b.dueReports(); len(due) > 0 {
				t.Errorf("reports %v are due although the report was sent", due)
			}
			b.check()
		})
	}
}

// settleHook lets something happen before every settlement.
type settleHook struct {
	worker.Store
	before func()
}

func (s settleHook) beforeTogether() error {
	s.before()
	return nil
}

func (s settleHook) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	s.before()
	return s.Store.Settle(ctx, query, decide)
}

// saveHook lets something happen right after an upload was saved: another
// goroutine's turn, or a crash and a restart.
type saveHook struct {
	worker.Store
	after func()
}

func (s saveHook) SaveUpload(ctx context.Context, u *conversion.Upload, open func() (io.ReadCloser, error)) (*conversion.Upload, bool, error) {
	saved, known, err := s.Store.SaveUpload(ctx, u, open)
	s.after()
	return saved, known, err
}

// Whoever may not send must not have a single row applied, however the steps of
// accepting and deciding fall: deciding runs beside accepting, and a crash may
// come between any two steps.
func TestWhatIsRefusedIsNeverDecided(t *testing.T) {
	tests := []struct {
		name string
		mail func(*ingest.Delivery)
	}{
		{"a sender who isn't allowed", func(d *ingest.Delivery) { d.Mail.From = "eve@evil.example" }},
		{"a mail that its source refuses", func(d *ingest.Delivery) {
			d.Refusal = conversion.Refuse(conversion.SenderNotAuthenticated, "The mail can't be proved to come from its sender.")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, mailAccount)
			b.know(0, 1)
			w := b.another(saveHook{b.db, func() {
				if err := b.DecideAll(t.Context()); err != nil {
					t.Error(err)
				}
			}})
			upload, err := w.Accept(t.Context(), mailed(table(line(0, "", "", "1000.00")), test.mail))
			if err != nil {
				t.Fatal(err)
			}
			b.wantSales()
			if state := b.upload(upload.ID).State; state != conversion.Refused {
				t.Errorf("the upload is %s, want refused", state)
			}
		})
	}
}

// A file that can't be read is refused by whoever comes first.
// What nobody vouches for waits from the moment that it is saved, until somebody approves it.
func TestWhatNobodyVouchesForIsHeld(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 1)
	w := b.another(saveHook{b.db, func() {
		if err := b.DecideAll(t.Context()); err != nil {
			t.Error(err)
		}
	}})
	upload, err := w.Accept(t.Context(), mailed(table(line(0, "", "", "1.00")), func(d *ingest.Delivery) { d.Mail.Doubt = "there is no proof" }))
	if err == nil {
		err = b.DecideAll(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.wantSales()
	if u := b.wantState(upload.ID, conversion.OnHold); u.Hold == nil || u.Hold.Code != conversion.SenderNotAuthenticated || !strings.Contains(u.Hold.Sentence, "jo@acme.example: there is no proof.") {
		t.Errorf("held for %+v", u.Hold)
	}
	if err := b.Retry(t.Context(), upload.ID, false); err != nil {
		t.Fatal(err)
	}
	b.wantSales("C0=1.00")
}

func TestAcceptingAndDecidingAtOnce(t *testing.T) {
	for name, content := range map[string]string{"good.csv": table(line(0, "", "", "1.00")), "bad.csv": "no table at all, just a few words\n"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			w := b.another(saveHook{b.db, func() {
				if err := b.DecideAll(t.Context()); err != nil {
					t.Error(err)
				}
				b.reply()
			}})
			var acknowledged ingest.Disposition
			d := delivery("23", name, content)
			d.Ack = acknowledge(&acknowledged)
			if _, err := w.Accept(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if err := b.DecideAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.reply()
			want, sales := ingest.Accepted, []string{"C0=1.00"}
			if name == "bad.csv" {
				want, sales = ingest.Refused, nil
			}
			if acknowledged != want || !slices.Equal(b.sales(), sales) {
				t.Errorf("acknowledged as %d with sales %v, want %d and %v", acknowledged, b.sales(), want, sales)
			}
			if len(b.post.letters) != 1 {
				t.Errorf("%d letters were sent, want 1", len(b.post.letters))
			}
			b.check()
		})
	}
}
