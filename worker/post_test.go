package worker_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/ingest"
	"calltally/report"
)

// accepted are whom letters were sent to, one letter after another.
func (b *bench) accepted() (all []string) {
	for _, l := range b.post.letters {
		to := l.Envelope
		if to == nil {
			to = l.To
		}
		all = append(all, strings.Join(to, "+"))
	}
	return all
}

// replyAll sends what is due and returns what went wrong.
func (b *bench) replyAll() string {
	b.t.Helper()
	if err := b.ReplyAll(b.t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

func TestOnlyThoseWhoDoNotHaveAReportGetItAgain(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 1)
	b.post.says = map[string]error{"ops@acme.example": errors.New("451 not now")}
	accept := func() int64 {
		d := delivery("", "orders.csv", table(line(0, "", "", "1.00")))
		d.Account, d.Mail = "", &ingest.Mail{From: "jo@acme.example", Recipients: []string{"uploads+acme@calltally.example"}, Subject: "March", MessageID: "m1@acme.example", TrustRecipient: true}
		u, err := b.Accept(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		b.decideAll(b.Worker)
		return u.ID
	}
	accept()
	if said := b.replyAll(); !strings.Contains(said, "recipient ops@acme.example: 451 not now") {
		t.Errorf("it failed with %q", said)
	}
	b.post.says = nil
	b.clock.advance(time.Hour)
	if said := b.replyAll(); said != "" {
		t.Error(said)
	}
	if want := []string{"jo@acme.example+ops@acme.example", "ops@acme.example"}; !slices.Equal(b.accepted(), want) {
		t.Errorf("sent to %q, want %q", b.accepted(), want)
	}
	if first, second := b.post.letters[0], b.post.letters[1]; first.raw != second.raw {
		t.Errorf("the second letter differs:\n%s\n%s", first.raw, second.raw)
	}

	// A refusal for good is noted, and keeps the report from nobody else.
	b.post.says = map[string]error{"ops@acme.example": errors.New("550 nobody here")}
	upload := accept()
	if said := b.replyAll(); said != "" || len(b.dueReports()) != 0 {
		t.Errorf("%s; due: %v", said, b.dueReports())
	}
	postings, err := b.db.Postings(t.Context(), upload)
	if err != nil || len(postings) != 2 || postings[0].Refusal != "" || postings[1].Recipient != "ops@acme.example" || postings[1].Refusal != "550 nobody here" {
		t.Errorf("postings %+v, %v", postings, err)
	}

	// Refused for all, a report has failed, once and for all, and ops are told.
	b.post.says["jo@acme.example"] = errors.New("550 nobody here")
	upload = accept()
	letters := len(b.post.letters)
	if said := b.replyAll(); !strings.Contains(said, report.ErrRefused.Error()) {
		t.Errorf("it failed with %q", said)
	}
	b.clock.advance(240 * time.Hour)
	if said := b.replyAll(); said != "" || len(b.post.letters) != letters+1 {
		t.Errorf("%s; %d letters", said, len(b.post.letters)-letters)
	}
	undelivered, err := b.db.Undelivered(t.Context(), 0)
	if err != nil || len(undelivered) != 2 || undelivered[1].Upload != upload || !strings.Contains(undelivered[1].Why, "550 nobody here") {
		t.Errorf("undelivered %+v, %v", undelivered, err)
	}
}

func TestManyReportsInAnHourAreOneLetter(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.LettersAnHour = 3
	next := 0
	come := func(files int) {
		for range files {
			next++
			b.deliver(fmt.Sprintf("%d.csv", next), table(line(0, fmt.Sprint("R", next), "", "1.00")))
		}
	}
	sections := func() (all []int) {
		for _, l := range b.post.letters {
			all = append(all, strings.Count(l.Text, "\nFile: "))
		}
		return all
	}
	for _, step := range []struct {
		come int
		wait time.Duration
		want []int // reports in each letter so far
	}{
		{2, 0, []int{1, 1}},
		{4, time.Minute, []int{1, 1, 4}},
		{3, time.Minute, []int{1, 1, 4}}, // they wait
		{2, 50 * time.Minute, []int{1, 1, 4}},
		{0, 10 * time.Minute, []int{1, 1, 4, 5}},
		{1, 5 * time.Minute, []int{1, 1, 4, 5, 1}},
		{250, time.Hour, []int{1, 1, 4, 5, 1, 200}},
		{0, 10 * time.Minute, []int{1, 1, 4, 5, 1, 200, 50}},
	} {
		b.clock.advance(step.wait)
		come(step.come)
		if said := b.replyAll(); said != "" {
			t.Fatal(said)
		}
		if got := sections(); !slices.Equal(got, step.want) {
			t.Fatalf("%d more after %s: letters of %v reports, want %v", step.come, step.wait, got, step.want)
		}
	}
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("still due: %v", due)
	}
	sent := map[int64]int{}
	for id := int64(1); id <= int64(next); id++ {
		postings, err := b.db.Postings(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		sent[id] = len(postings)
	}
	for id, times := range sent {
		if times != 1 {
			t.Errorf("upload %d was told %d times", id, times)
		}
	}
	// Another recipient has letters of their own.
	b.account.ReportTo = []string{"cfo@acme.example"}
	come(1)
	if said := b.replyAll(); said != "" || b.post.last(t).To[0] != "cfo@acme.example" {
		t.Errorf("%s; the last letter went to %v", said, b.post.last(t).To)
	}
}

// mailed are the uploads whose reports each recipient was mailed, in order.
func (b *bench) mailed() map[string]string {
	b.t.Helper()
	all := map[string]string{}
	for _, u := range b.uploads() {
		postings, err := b.db.Postings(b.t.Context(), u.ID)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, p := range postings {
			all[p.Recipient] += fmt.Sprint(u.ID, " ")
		}
	}
	return all
}

func (b *bench) wantTold(want map[string]string) {
	b.t.Helper()
	if got := b.mailed(); !maps.Equal(got, want) {
		b.t.Errorf("told are %q, want %q", got, want)
	}
}

// A letter that tells several reports goes to those alone who lack each of them.
func TestReportsAreToldTogetherToThoseWhoLackThem(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.account.ReportTo = []string{"a@acme.example", "b@acme.example"}
	b.LettersAnHour = 2
	come := func(n int) { b.deliver(fmt.Sprintf("%d.csv", n), table(line(0, fmt.Sprint("R", n), "", "1.00"))) }
	b.post.says = map[string]error{"b@acme.example": errors.New("451 not now")}
	come(1)
	if said := b.replyAll(); !strings.Contains(said, "451 not now") {
		t.Errorf("it failed with %q", said)
	}
	b.wantTold(map[string]string{"a@acme.example": "1 "})
	b.post.says = nil
	b.clock.advance(10 * time.Minute)
	for n := 2; n <= 5; n++ {
		come(n)
	}
	for range 8 {
		if said := b.replyAll(); said != "" {
			t.Error(said)
		}
		b.clock.advance(10 * time.Minute)
	}
	b.wantTold(map[string]string{"a@acme.example": "1 2 3 4 5 ", "b@acme.example": "1 2 3 4 5 "})
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("still due: %v", due)
	}
}

// The limit is each recipient's own, and delays nobody else's letters.
func TestLettersAreLimitedForEachRecipient(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 1)
	b.LettersAnHour = 3
	const senders = 12
	for i := range senders {
		d := delivery("", fmt.Sprintf("%d.csv", i), table(line(0, fmt.Sprint("R", i), "", "1.00")))
		d.Account, d.Mail = "", &ingest.Mail{From: fmt.Sprintf("p%d@acme.example", i), Recipients: []string{"uploads+acme@calltally.example"}, Subject: "March", MessageID: fmt.Sprintf("m%d@acme.example", i), TrustRecipient: true}
		if _, err := b.Accept(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		b.decideAll(b.Worker)
		if said := b.replyAll(); said != "" {
			t.Error(said)
		}
	}
	letters := map[string]int{}
	count := func() map[string]int {
		clear(letters)
		for _, to := range b.accepted() {
			for address := range strings.SplitSeq(to, "+") {
				letters[address]++
			}
		}
		return letters
	}
	if got := count(); got["ops@acme.example"] != 3 || got["p0@acme.example"] != 1 || got[fmt.Sprintf("p%d@acme.example", senders-1)] != 1 {
		t.Errorf("at once, letters were sent to %v", got)
	}
	for range 7 {
		b.clock.advance(10 * time.Minute)
		if said := b.replyAll(); said != "" {
			t.Error(said)
		}
	}
	if got := count(); got["ops@acme.example"] != 4 || got["p0@acme.example"] != 1 || b.mailed()["ops@acme.example"] != "1 2 3 4 5 6 7 8 9 10 11 12 " || len(b.dueReports()) > 0 {
		t.Errorf("in the end, letters were sent to %v; ops were told %s; due are %v", got, b.mailed()["ops@acme.example"], b.dueReports())
	}
}

// Letters that were sent while the clock was ahead count no longer.
func TestLettersOfAClockAheadDoNotCount(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.LettersAnHour = 1
	for i, wait := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		b.clock.advance(wait)
		b.deliver(fmt.Sprintf("%d.csv", i), table(line(0, fmt.Sprint("R", i), "", "1.00")))
		if said := b.replyAll(); said != "" || len(b.post.letters) != i+1 {
			t.Errorf("%s; %d letters", said, len(b.post.letters))
		}
	}
}

// While one process mails a report, another doesn't.
func TestOneProcessSendsReportsAtATime(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("orders.csv", table(line(0, "R", "", "1.00")))
	other := b.another(b.db)
	b.post.sending = func() {
		b.post.sending = nil
		if err := other.ReplyAll(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if said := b.replyAll(); said != "" || len(b.post.letters) != 1 || len(b.dueReports()) != 0 {
		t.Errorf("%s; %d letters, due are %v", said, len(b.post.letters), b.dueReports())
	}
}
