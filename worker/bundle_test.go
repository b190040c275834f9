package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
)

// mailOf are the files of one mail.
func mailOf(files ...[2]string) (all []*ingest.Delivery) {
	deliveries++
	mail := fmt.Sprint("mail ", deliveries)
	for i, file := range files {
		d := mailed(file[1], func(d *ingest.Delivery) {
			d.Name, d.Origin = file[0], fmt.Sprintf("%s part %d", mail, i+1)
			d.Bundle, d.Closes = mail, i == len(files)-1
		})
		all = append(all, d)
	}
	return all
}

func (b *bench) take(d *ingest.Delivery) {
	b.t.Helper()
	if err := b.Members(b.t.Context(), d, func(d *ingest.Delivery) error {
		_, err := b.Accept(b.t.Context(), d)
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) decideAndReply() {
	b.t.Helper()
	if err := b.DecideAll(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.ReplyAll(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// The files of one mail are uploads of their own, told by one reply with a section each,
// however many an archive among them holds, and whether they are taken or not.
func TestSeveralFilesOfOneMail(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 4)
	for _, d := range mailOf(
		[2]string{"orders.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "oops"))},
		[2]string{"letter.txt", "Dear Sirs\n"},
		[2]string{"shops.zip", zipOf(t, "north/orders.csv", table(line(1, "R1", "S", "20.00")), "south/orders.csv", table(line(2, "R2", "S", "30.00")))},
	) {
		b.take(d)
	}
	b.decideAndReply()
	if len(b.post.letters) != 1 {
		t.Fatalf("%d letters, want one", len(b.post.letters))
	}
	l := b.post.letters[0]
	if l.Subject != "Re: March" || l.InReplyTo != "m1@acme.example" || !slices.Equal(l.To, []string{"jo@acme.example", "ops@acme.example"}) {
		t.Errorf("subject %q, in reply to %q, to %q", l.Subject, l.InReplyTo, l.To)
	}
	var names []string
	for _, a := range l.Attachments {
		names = append(names, a.Name)
	}
	if want := []string{"orders.results.csv", "orders.fix.csv", "orders-upload-3.results.csv", "orders-upload-4.results.csv"}; !slices.Equal(names, want) {
		t.Errorf("attached are %q, want %q", names, want)
	}
	at := 0
	for _, want := range []string{"4 files\n", "2 rows: 1 created, 1 rejected\n", "File:     orders.csv", "-----\n", "File not taken\n", "File:     letter.txt", "1 row: 1 created\n", "Attached:\n  orders-upload-3.results.csv", "Attached:\n  orders-upload-4.results.csv"} {
		found := strings.Index(l.Text[at:], want)
		if found < 0 {
			t.Fatalf("after %d bytes, the letter lacks %q:\n%s", at, want, l.Text)
		}
		at += found
	}
	if strings.Count(l.HTML, "<html") != 1 || strings.Count(l.HTML, "SHA-256") != 4 || !strings.Contains(l.HTML, "<title>4 files</title>") {
		t.Errorf("the HTML is\n%s", l.HTML)
	}
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("still due: %v", due)
	}
	b.check()
}

// Nothing is told of a mail before all of its files are ours and decided; only if the rest
// doesn't come is it told what there is.
func TestFilesOfAMailAreWaitedFor(t *testing.T) {
	for _, comes := range []bool{true, false} {
		t.Run(fmt.Sprint("the rest comes: ", comes), func(t *testing.T) {
			b := newBench(t, mailAccount)
			b.know(0, 2)
			files := mailOf([2]string{"a.csv", table(line(0, "R0", "S", "10.00"))}, [2]string{"b.csv", table(line(1, "R1", "S", "20.00"))})
			b.take(files[0])
			b.decideAndReply()
			if len(b.post.letters) > 0 {
				t.Fatal("a part of the mail was told")
			}
			want := "2 files\n"
			if comes {
				b.take(files[1])
				if err := b.ReplyAll(t.Context()); err != nil || len(b.post.letters) > 0 {
					t.Fatalf("it was told before it was decided, %v", err)
				}
			} else {
				b.clock.advance(time.Hour)
				want = "1 row: 1 created\n"
			}
			b.decideAndReply()
			if len(b.post.letters) != 1 || !strings.HasPrefix(b.post.letters[0].Text, want) {
				t.Fatalf("the letters are %+v", b.post.letters)
			}
		})
	}
}

// refusedOnce has decided a mail of two files, one of whose rows waits, and failed to answer it.
func refusedOnce(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, func(a *conversion.Account) { mailAccount(a); waits(a) })
	b.know(0, 1)
	b.post.refuse = 1
	for _, d := range mailOf([2]string{"a.csv", table(line(0, "R0", "S", "10.00"))}, [2]string{"b.csv", table(line(1, "R1", "S", "20.00"))}) {
		b.take(d)
	}
	if err := b.DecideAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.ReplyAll(t.Context()); err == nil {
		t.Fatal("the relay's refusal was not told")
	}
	return b
}

// A reply on several files that the relay doesn't take is tried again with the same bytes,
// and what is told later of one of them is a letter of its own.
func TestAReplyOnSeveralFilesIsTriedAgain(t *testing.T) {
	b := refusedOnce(t)
	b.clock.advance(time.Minute)
	b.decideAndReply()
	if len(b.post.letters) != 2 || b.post.letters[0].raw != b.post.letters[1].raw {
		t.Fatalf("%d letters, or other bytes", len(b.post.letters))
	}
	b.know(1, 2)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.decideAndReply()
	if len(b.post.letters) != 3 || !strings.HasPrefix(b.post.letters[2].Text, "Update: 1 row: 1 created\n") || b.post.letters[2].MessageID == b.post.letters[1].MessageID {
		t.Errorf("%d letters; the last says\n%s", len(b.post.letters), b.post.letters[len(b.post.letters)-1].Text)
	}
}

// If there is news of one of the files before the next try, that is another mail: a server
// that took the first one, and threw this one away as the same, would keep it from everybody.
func TestNewsBeforeAReplyOnSeveralFilesIsTriedAgain(t *testing.T) {
	b := refusedOnce(t)
	b.know(1, 2)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Minute)
	b.decideAndReply()
	letters := b.post.letters
	if len(letters) != 2 || !strings.HasPrefix(letters[1].Text, "2 files\n") || strings.Contains(letters[1].Text, "waiting") || letters[0].Revision != letters[1].Revision {
		t.Fatalf("%d letters; the last says\n%s", len(letters), letters[len(letters)-1].Text)
	}
	if letters[0].MessageID == letters[1].MessageID {
		t.Errorf("both are %s", letters[0].MessageID)
	}
}
