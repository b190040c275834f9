package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/worker"
)

// forgetful can't note what became of a report while it is lost for words.
type forgetful struct {
	worker.Store
	lost bool
}

var errNoted = errors.New("disk I/O error")

func (s *forgetful) Post(ctx context.Context, postings []conversion.Posting) error {
	if s.lost {
		return errNoted
	}
	return s.Store.Post(ctx, postings)
}

func (s *forgetful) MarkReplied(ctx context.Context, upload int64, revision int, at conversion.Millis) error {
	if s.lost {
		return errNoted
	}
	return s.Store.MarkReplied(ctx, upload, revision, at)
}

func (s *forgetful) MarkReplyFailed(ctx context.Context, upload int64, revision int, why string, next conversion.Millis, givenUp bool) error {
	if s.lost {
		return errNoted
	}
	return s.Store.MarkReplyFailed(ctx, upload, revision, why, next, givenUp)
}

// A letter that may have gone out is never sent again with other words: what is
// new goes into a letter of its own.
func TestNewsAfterALetterMayHaveGoneOutIsALetterOfItsOwn(t *testing.T) {
	for _, first := range []struct {
		name   string
		refuse int
		lost   bool
	}{
		{"the relay refused it", 1, false},
		{"it was sent, but that could not be noted", 0, true},
		{"the relay refused it, and that could not be noted", 1, true},
	} {
		for _, tries := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d tries", first.name, tries), func(t *testing.T) {
				b := newBench(t, waits)
				notes := &forgetful{Store: b.db, lost: first.lost}
				b.Worker = b.another(notes)
				b.post.refuse = first.refuse * tries
				upload := b.deliver("orders.csv", table(line(0, "", "", "1.00"), line(1, "", "", "2.00")))
				for range tries {
					if err := b.ReplyAll(t.Context()); err == nil {
						t.Fatal("the first letter should have failed")
					}
					b.clock.advance(6 * time.Hour)
				}
				notes.lost = false
				early := b.post.letters
				if len(early) != tries {
					t.Fatalf("the first letter was tried %d times, want %d", len(early), tries)
				}
				for _, l := range early {
					if l.Revision != 1 || l.raw != early[0].raw {
						t.Errorf("a try sent revision %d or other bytes than the first", l.Revision)
					}
				}

				b.know(0, 1)
				b.reconcile()
				letters := b.reply()
				if len(letters) != 1 {
					t.Fatalf("%d letters were sent with the news, want 1", len(letters))
				}
				if l := letters[0]; l.Revision != 2 || l.MessageID == early[0].MessageID || !strings.Contains(l.Text, "1 created, 1 waiting") {
					t.Errorf("revision %d with id %s, after one with id %s, says\n%s", l.Revision, l.MessageID, early[0].MessageID, l.Text)
				}
				for range 50 {
					b.clock.advance(3 * time.Hour)
					if letters := b.reply(); len(letters) > 0 {
						t.Fatalf("revision %d was sent once more", letters[0].Revision)
					}
				}
				b.wantVerdicts(upload.ID, "created waiting:call_not_found")
				b.check()
			})
		}
	}
}

// News before the first try needs no letter of its own.
func TestNewsBeforeTheFirstTryIsToldAtOnce(t *testing.T) {
	b := newBench(t, waits)
	b.deliver("orders.csv", sold("10.00"))
	b.know(0, 1)
	b.reconcile()
	letters := b.reply()
	if len(letters) != 1 || letters[0].Revision != 1 || !strings.Contains(letters[0].Text, "1 row: 1 created") {
		t.Errorf("%d letters were sent, want one with the news", len(letters))
	}
	if letters := b.reply(); len(letters) > 0 {
		t.Errorf("%d more letters were sent", len(letters))
	}
}

// dueHook lets something happen between the listing of the reports that are due
// and the sending of the first.
type dueHook struct {
	worker.Store
	listed func()
}

func (s dueHook) ReportsDue(ctx context.Context, now conversion.Millis, each func(conversion.ReportDue) error) error {
	return s.Store.ReportsDue(ctx, now, func(due conversion.ReportDue) error {
		s.listed()
		return each(due)
	})
}

func TestTwoWorkersSendADueReportOnce(t *testing.T) {
	for _, refuse := range []int{0, 1} {
		t.Run(fmt.Sprint(refuse, " refused"), func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			b.deliver("orders.csv", sold("10.00"))
			b.post.refuse = refuse
			slow := b.another(dueHook{b.db, func() {
				if err := b.ReplyAll(t.Context()); refuse == 0 && err != nil {
					t.Error(err)
				}
			}})
			if err := slow.ReplyAll(t.Context()); err != nil {
				t.Errorf("the slower worker fails: %v", err)
			}
			if len(b.post.letters) != 1 {
				t.Errorf("the report was sent %d times, want once", len(b.post.letters))
			}
			// What one worker failed to send is due again at its own time.
			b.clock.advance(59 * time.Second)
			if early := b.reply(); len(early) != 0 {
				t.Errorf("%d letters were sent before their time", len(early))
			}
			b.clock.advance(time.Second)
			if late := b.reply(); len(late) != refuse {
				t.Errorf("%d letters were sent again, want %d", len(late), refuse)
			}
		})
	}
}

// behind is a row about call i, with the clock five hours behind.
func behind(i int, sale string) string {
	return fmt.Sprintf("%s,+%d,,S,%s\n", callStart(i).Add(-5*time.Hour).Format(time.RFC3339), int64(caller(i)), sale)
}

const fiveHours = "rows without a call would find one if their times were 5 hours later"

func TestWhatAFilesTimesHaveInCommonIsFoundWhenItsCallsCome(t *testing.T) {
	for _, chunk := range []int{0, 2} {
		t.Run(fmt.Sprint("chunks of ", chunk), func(t *testing.T) {
			b := newBench(t, waits)
			b.ChunkRows = chunk
			var rows []string
			for i := range 6 {
				rows = append(rows, behind(i, "1.00"))
			}
			upload := b.deliver("orders.csv", table(rows...))
			if upload.Diagnosis != "" {
				t.Fatalf("before any call is known the diagnosis is %q", upload.Diagnosis)
			}
			b.reply()

			b.know(0, 6)
			b.reconcile()
			if got := b.upload(upload.ID).Diagnosis; !strings.HasPrefix(got, "All 6 "+fiveHours) {
				t.Errorf("the diagnosis is %q", got)
			}
			b.wantVerdicts(upload.ID, strings.TrimSpace(strings.Repeat("waiting:call_not_found ", 6)))
			letters := b.reply()
			if len(letters) != 1 || letters[0].Revision != 2 || !strings.Contains(strings.Join(strings.Fields(letters[0].Text), " "), fiveHours) {
				t.Errorf("%d follow-up reports were sent, want one that says what the rows have in common", len(letters))
			}
			b.reconcile()
			if letters := b.reply(); len(letters) > 0 {
				t.Errorf("%d more letters were sent without any news", len(letters))
			}
			b.check()
		})
	}
}

// Rows that were applied have no part in what the rows without a call have in
// common.
func TestADiagnosisLeavesAppliedRowsOut(t *testing.T) {
	const header = "start_time,calling_phone_number,reference_id,parent_reference_id,sale_amount\n"
	// off is a row five hours off; with a parent it is applied all the same.
	off := func(i int, parent string) string {
		return fmt.Sprintf("%s,+%d,,%s,2.00\n", callStart(i).Add(-5*time.Hour).Format(time.RFC3339), int64(caller(i)), parent)
	}
	var first, named, lost string
	for i := range 6 {
		first += fmt.Sprintf("%s,+%d,R%d,,1.00\n", callStart(i).Format(time.RFC3339), int64(caller(i)), i)
		named += off(i, fmt.Sprint("R", i))
		lost += off(i, "")
	}
	for _, test := range []struct{ name, rows, want string }{
		{"applied by their parent", named, ""},
		{"without a call", lost, "All 6 " + fiveHours},
		{"both", named + lost, "All 6 " + fiveHours},
		{"too few without a call", named + off(0, "") + off(1, ""), ""},
	} {
		for _, chunk := range []int{0, 4} {
			t.Run(fmt.Sprintf("%s, chunks of %d", test.name, chunk), func(t *testing.T) {
				b := newBench(t, nil)
				b.know(0, 6)
				b.deliver("first.csv", header+first)
				b.ChunkRows = chunk
				upload := b.deliver("second.csv", header+test.rows)
				if got := upload.Diagnosis; !strings.HasPrefix(got, test.want) || got != "" && test.want == "" {
					t.Errorf("the diagnosis is %q, want %q (the verdicts are %s)", got, test.want, b.verdicts(upload.ID))
				}
			})
		}
	}
}

// The calls' times were corrected after the rows were applied: sent again, the
// rows would find no call, but they are not without one.
func TestADiagnosisLeavesRowsOutThatTheSameFileApplied(t *testing.T) {
	b := newBench(t, nil)
	var rows string
	calls := testCalls(0, 6)
	for i := range calls {
		rows += line(i, "", "S", "1.00")
	}
	if _, err := b.db.SaveCalls(t.Context(), "23", calls); err != nil {
		t.Fatal(err)
	}
	b.deliver("orders.csv", table(rows))
	for i := range calls {
		calls[i].Start -= 5 * 3_600_000
	}
	if tally, err := b.db.SaveCalls(t.Context(), "23", calls); err != nil || tally.Updated != 6 {
		t.Fatalf("%+v, %v; want six calls updated", tally, err)
	}
	upload := b.deliver("orders.csv", table(rows))
	b.wantVerdicts(upload.ID, strings.TrimSpace(strings.Repeat("unchanged ", 6)))
	if upload.Diagnosis != "" {
		t.Errorf("the diagnosis is %q, want none", upload.Diagnosis)
	}
}

type markHook struct {
	worker.Store
	before func()
}

func (s markHook) MarkReplying(ctx context.Context, due conversion.ReportDue) error {
	s.before()
	return s.Store.MarkReplying(ctx, due)
}

// What comes just before a report is sent is told in it, or in the next one.
func TestNewsJustBeforeAReportIsSent(t *testing.T) {
	for _, refuse := range []int{0, 1} {
		t.Run(fmt.Sprint(refuse), func(t *testing.T) {
			b := newBench(t, waits)
			b.deliver("orders.csv", sold("10.00"))
			b.post.refuse = refuse
			w := b.another(markHook{b.db, func() { b.know(0, 1); b.reconcile() }})
			_ = w.ReplyAll(t.Context())
			b.clock.advance(time.Hour)
			b.reply()
			l := b.post.letters
			if last := l[len(l)-1]; !strings.Contains(last.Text, "1 created") {
				t.Errorf("the news was never told; the last letter says\n%s", last.Text)
			}
			if len(l) == 2 && l[0].MessageID == l[1].MessageID && l[0].raw != l[1].raw {
				t.Errorf("the same Message-ID with other bytes")
			}
		})
	}
}

// A report that failed is not sent again with other words because a call came
// that nearly fits.
func TestNewNearMissesMakeANewReport(t *testing.T) {
	b := newBench(t, waits)
	b.post.refuse = 1
	b.deliver("orders.csv", table(behind(0, "1.00")))
	_ = b.ReplyAll(t.Context())
	b.know(0, 1)
	b.reconcile()
	b.clock.advance(time.Hour)
	b.reply()
	l := b.post.letters
	if len(l) != 2 || l[0].MessageID == l[1].MessageID && l[0].raw != l[1].raw {
		t.Errorf("%d letters; same id %t, same bytes %t\n%s", len(l), l[0].MessageID == l[1].MessageID, l[0].raw == l[1].raw, l[1].Text)
	}
}

type diagnoseHook struct {
	worker.Store
	before func()
}

func (s diagnoseHook) Diagnose(ctx context.Context, u int64, sentence string, at conversion.Millis) error {
	s.before()
	return s.Store.Diagnose(ctx, u, sentence, at)
}

func TestTwoReconciliationsTellOneSentenceOnce(t *testing.T) {
	b := newBench(t, waits)
	var rows string
	for i := range 6 {
		rows += behind(i, "1.00")
	}
	b.deliver("orders.csv", table(rows))
	b.reply()
	b.know(0, 6)
	slow := b.another(diagnoseHook{b.db, func() { b.reconcile(); b.reply() }})
	if err := slow.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if more := b.reply(); len(more) > 0 {
		t.Errorf("the sentence was told again: %d letters in all, the last revision %d", len(b.post.letters), more[0].Revision)
	}
}
