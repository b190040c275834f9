package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// mailed is a file that a mail brought to the account's address.
func mailed(content string, change func(*ingest.Delivery)) *ingest.Delivery {
	d := delivery("", "orders.csv", content)
	d.Mail = &ingest.Mail{
		From: "jo@acme.example", Recipients: []string{"uploads+acme@calltally.example"}, Subject: "March", MessageID: "m1@acme.example",
		References: []string{"m0@acme.example"}, TrustRecipient: true,
	}
	change(d)
	return d
}

func mailAccount(a *conversion.Account) {
	a.Addresses = []string{"Uploads+Acme@calltally.example"}
	a.Senders = []string{"*@acme.example"}
}

func (b *bench) mail(content string, change func(*ingest.Delivery)) *conversion.Upload {
	b.t.Helper()
	upload, err := b.Accept(b.t.Context(), mailed(content, change))
	if err == nil {
		err = b.DecideAll(b.t.Context())
	}
	if err == nil {
		err = b.ReplyAll(b.t.Context())
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return b.upload(upload.ID)
}

func TestWhoIsAnswered(t *testing.T) {
	tests := []struct {
		name    string
		account func(*conversion.Account)
		mail    func(*ingest.Delivery)
		to      []string
	}{
		{"the sender, if allowed and vouched for, and report_to", func(*conversion.Account) {}, func(*ingest.Delivery) {}, []string{"jo@acme.example", "ops@acme.example"}},
		{"report_to alone, if nobody vouches for the sender", func(*conversion.Account) {}, func(d *ingest.Delivery) { d.Mail.Doubt = "there is no proof" }, []string{"ops@acme.example"}},
		{"report_to alone, if a program sent the mail", func(*conversion.Account) {}, func(d *ingest.Delivery) { d.Mail.Automatic = true }, []string{"ops@acme.example"}},
		{"report_to alone, if the sender isn't allowed", func(*conversion.Account) {}, func(d *ingest.Delivery) { d.Mail.From = "eve@evil.example" }, []string{"ops@acme.example"}},
		{"any sender, if there is no list and the address is proof", func(a *conversion.Account) { a.Senders = nil }, func(d *ingest.Delivery) { d.Mail.From = "jo@home.example" }, []string{"jo@home.example", "ops@acme.example"}},
		{"no sender, if there is no list and no proof", func(a *conversion.Account) { a.Senders = nil }, func(d *ingest.Delivery) { d.Mail.TrustRecipient = false }, []string{"ops@acme.example"}},
		{"nobody twice", func(a *conversion.Account) { a.ReportTo = []string{"Jo@acme.example"} }, func(*ingest.Delivery) {}, []string{"jo@acme.example"}},
		{"nobody, if nobody may be", func(a *conversion.Account) { a.ReportTo = nil }, func(d *ingest.Delivery) { d.Mail.Automatic = true }, nil},
		{"nobody, if no account has the address", func(*conversion.Account) {}, func(d *ingest.Delivery) { d.Mail.Recipients = []string{"sales@calltally.example"} }, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) { mailAccount(a); test.account(a) })
			b.know(0, 1)
			b.mail(table(line(0, "", "", "1.00")), test.mail)
			var to []string
			for _, l := range b.post.letters {
				to = append(to, l.To...)
			}
			if !slices.Equal(to, test.to) || len(b.post.letters) > 1 {
				t.Errorf("%d letters went to %q, want one to %q", len(b.post.letters), to, test.to)
			}
			if due := b.dueReports(); len(due) > 0 {
				t.Errorf("reports %v are still due", due)
			}
		})
	}
}

func TestAnAnswerJoinsItsThread(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 1)
	upload := b.mail(table(line(0, "", "", "1.00"), line(0, "", "", "oops")), func(*ingest.Delivery) {})
	if len(b.post.letters) != 1 {
		t.Fatalf("%d letters, want 1", len(b.post.letters))
	}
	l := b.post.letters[0]
	if l.Subject != "Re: March" || l.InReplyTo != "m1@acme.example" || !slices.Equal(l.References, []string{"m0@acme.example", "m1@acme.example"}) {
		t.Errorf("subject %q, in reply to %q, references %q", l.Subject, l.InReplyTo, l.References)
	}
	if want := fmt.Sprintf("upload-1.1.%x@calltally.example", upload.Digest[:8]); l.MessageID != want {
		t.Errorf("the Message-ID is %s, want %s", l.MessageID, want)
	}
	if len(l.Attachments) != 2 {
		t.Errorf("%d files are attached, want results and fix", len(l.Attachments))
	}
	for _, want := range []string{"Auto-Submitted: auto-replied\r\n", "orders.results.csv", "orders.fix.csv"} {
		if !strings.Contains(l.raw, want) {
			t.Errorf("the mail has no %q", want)
		}
	}
}

func TestWhyAMailIsRefused(t *testing.T) {
	tests := []struct {
		code     conversion.Code
		sentence string
		account  string
		mail     func(*ingest.Delivery)
	}{
		{conversion.AccountUnknown, "No account has any of the addresses that the mail was sent to (sales@calltally.example). Send it to your own upload address.", "",
			func(d *ingest.Delivery) { d.Mail.Recipients = []string{"sales@calltally.example"} }},
		{conversion.AccountUnknown, `There is no account "99". Name one that the configuration has.`, "",
			func(d *ingest.Delivery) { d.Mail, d.Account = nil, "99" }},
		{conversion.SenderNotAllowed, "eve@evil.example may not send files for this account. Have the address added to the account's senders, or send from one that is.", "23",
			func(d *ingest.Delivery) { d.Mail.From = "eve@evil.example" }},
		{conversion.TooLarge, "The mail is 99 MiB large; at most 70 MiB are read.", "23",
			func(d *ingest.Delivery) {
				d.Refusal = conversion.Refuse(conversion.TooLarge, "The mail is 99 MiB large; at most 70 MiB are read.")
			}},
		{conversion.NoAttachment, "The mail has no file attached.", "23",
			func(d *ingest.Delivery) {
				d.Refusal = conversion.Refuse(conversion.NoAttachment, "The mail has no file attached.")
			}},
	}
	for _, test := range tests {
		t.Run(string(test.code)+" "+test.account, func(t *testing.T) {
			b := newBench(t, mailAccount)
			b.know(0, 1)
			var acknowledged ingest.Disposition
			upload, err := b.Accept(t.Context(), mailed(table(line(0, "", "", "1.00")), func(d *ingest.Delivery) {
				test.mail(d)
				d.Ack = acknowledge(&acknowledged)
			}))
			if err != nil {
				t.Fatal(err)
			}
			upload = b.upload(upload.ID)
			if upload.State != conversion.Refused || upload.Refusal.Code != test.code || upload.Refusal.Sentence != test.sentence || upload.Account != test.account {
				t.Errorf("the upload of account %q is %s: %+v", upload.Account, upload.State, upload.Refusal)
			}
			if acknowledged != ingest.Refused {
				t.Errorf("the source was told %d, want %d", acknowledged, ingest.Refused)
			}
			if err := b.DecideAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.wantSales()
			if text := strings.Join(strings.Fields(b.told(upload.ID)), " "); !strings.Contains(text, test.sentence) || !strings.Contains(text, "Nothing in the file was applied.") {
				t.Errorf("the report doesn't say why:\n%s", text)
			}
		})
	}
}

func TestAReportIsTriedAgainWithTheSameBytes(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.post.refuse = 3
	b.deliver("orders.csv", table(line(0, "", "", "1.00"), line(1, "", "", "oops")))

	pauses := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}
	for i, pause := range pauses {
		if err := b.ReplyAll(t.Context()); err == nil || !strings.Contains(err.Error(), errRelay.Error()) {
			t.Fatalf("try %d: the error is %v, want the relay's", i+1, err)
		}
		b.clock.advance(pause - time.Second)
		if err := b.ReplyAll(t.Context()); err != nil || len(b.post.letters) != i+1 {
			t.Fatalf("after try %d: %d letters within %s, %v; want no further try", i+1, len(b.post.letters), pause, err)
		}
		b.clock.advance(time.Second)
	}
	if err := b.ReplyAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(24 * time.Hour)
	if err := b.ReplyAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.post.letters) != 4 {
		t.Fatalf("the letter was tried %d times, want 4", len(b.post.letters))
	}
	for i, l := range b.post.letters[1:] {
		if l.raw != b.post.letters[0].raw {
			t.Errorf("try %d sent other bytes than the first", i+2)
		}
	}
}

func TestAReportThatNobodyTakesIsGivenUp(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.post.refuse = 1000
	b.deliver("orders.csv", table(line(0, "", "", "1.00")))
	began, last := b.clock.Now(), b.clock.Now()
	for range 14 * 24 * 2 {
		tries := len(b.post.letters)
		_ = b.ReplyAll(t.Context())
		if len(b.post.letters) > tries {
			last = b.clock.Now()
		}
		b.clock.advance(30 * time.Minute)
	}
	if tries, took := len(b.post.letters), last.Sub(began); tries < 10 || tries > 40 || took < 4*24*time.Hour || took > 6*24*time.Hour {
		t.Errorf("tried %d times over %s, want some 28 times over about five days", tries, took)
	}
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("reports %v are still due after two weeks", due)
	}
}

// A report that can't be sent delays no other.
func TestOneReportsFailureDelaysNoOther(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.post.refuse = 1
	for i := range 3 {
		b.deliver("orders.csv", table(line(i, "", "", "1.00")))
	}
	_ = b.ReplyAll(t.Context())
	var accepted []int64
	for _, l := range b.post.letters {
		if l.accepted {
			accepted = append(accepted, l.Upload)
		}
	}
	if !slices.Equal(accepted, []int64{2, 3}) {
		t.Errorf("the reports on uploads %v were sent, want 2 and 3", accepted)
	}
}

func TestWithoutARelayTheFilesAreStillWritten(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.Replier = nil
	b.put("orders.csv", table(line(0, "", "", "1.00")))
	b.work()
	b.wantFiles([]string{"orders.results.csv"}, "results")
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("reports %v are still due", due)
	}
}

func TestARelayThatFailsDoesNotKeepTheFilesFromTheFolder(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.post.refuse = 1
	b.put("orders.csv", table(line(0, "", "", "1.00")))
	for range 2 {
		_ = b.RunOnce(t.Context())
	}
	b.wantFiles([]string{"orders.results.csv"}, "results")
	if due := len(b.post.letters); due != 1 {
		t.Errorf("%d letters were tried, want 1", due)
	}
}

func TestFilesFromTheCommandLineAreNotMailed(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	d := delivery("23", "orders.csv", table(line(0, "", "", "1.00")))
	d.Source = "command line"
	upload, err := b.Accept(t.Context(), d)
	if err == nil {
		err = b.Decide(t.Context(), upload)
	}
	if err == nil {
		err = b.ReplyAll(t.Context())
	}
	if err != nil || len(b.post.letters) != 0 {
		t.Errorf("%d letters, %v; want none", len(b.post.letters), err)
	}
}

func TestAReportListsTheFirstProblems(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	upload := b.deliver("orders.csv", table(strings.Repeat(line(0, "", "", "oops"), report.MostProblems+5)))
	text := b.told(upload.ID)
	if got := strings.Count(text, "\nLine "); got != report.MostProblems {
		t.Errorf("%d rows are listed, want %d", got, report.MostProblems)
	}
	if !strings.Contains(text, "and 5 more such rows") {
		t.Errorf("the report doesn't say that there are 5 more:\n%s", text)
	}
}
