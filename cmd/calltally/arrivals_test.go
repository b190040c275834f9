package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"calltally/conversion"
	"calltally/scripts/rig"
)

// scripts/arrivals runs the tests in this file with larger numbers and shows what they print.
var (
	backlog = flag.Int("backlog", 200, "how many mails and files wait for TestRigBacklog…")
	mails   = flag.Int("mails", 10, "how many mails TestRigFromArrivalToReply sends")
)

// TestRigBacklogOfMails has a mailbox that nobody looked at for long emptied, oldest first
// and in bounded memory.
func TestRigBacklogOfMails(t *testing.T) {
	p := newParties(t)
	deliverMany(t, p, *backlog)
	fetching := plainFetch(t, p, *backlog)
	app := startApp(t, configOf(t, strings.Split(p.settings(secureIMAP, ""), "replies:")[0]))
	importTestCalls(t, app, 100)
	took, grown := emptied(t, app)
	wantAllInOrder(t, app, *backlog)
	if uploads := p.open(t, p.uploads); uploads.count("INBOX") != 0 || uploads.count("Processed") != *backlog {
		t.Errorf("INBOX holds %d mails, Processed %d", uploads.count("INBOX"), uploads.count("Processed"))
	}
	fmt.Printf("%d mails: %.1f s, %.0f a second, heap up by %d MiB; plain fetch of the same %.2f s, ratio %.1f\n",
		*backlog, took.Seconds(), float64(*backlog)/took.Seconds(), grown>>20, fetching.Seconds(), took.Seconds()/fetching.Seconds())
	if grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestRigBacklogOfFiles(t *testing.T) {
	there, here := rig.NewSFTPFolder(t)
	local := t.TempDir()
	for _, c := range []struct{ name, folder, source string }{
		{"here", local, fmt.Sprintf(`{name: drop, kind: folder, path: %s, account: "23", settle: 0s}`, local)},
		{"by SFTP", here, fmt.Sprintf(`{name: drop, kind: sftp, url: "sftp://%s@%s%s", key_file: %s, fingerprints: ["%s"], account: "23", settle: 0s}`, rig.SFTPUser, rig.SFTP, there, rig.SFTPKey(t), rig.SFTPFingerprint(t))},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := startApp(t, configOf(t, fmt.Sprintf("store: calltally.db\ntime_zone: America/New_York\naccounts:\n  - {id: \"23\", region: US, wait_for_calls: 0s, match: {lookback: 0s}, payouts: [{fixed: 5.00}]}\nsources:\n  - %s\n", c.source)))
			importTestCalls(t, app, 100)
			for i := range *backlog {
				file := filepath.Join(c.folder, backlogName(i))
				if err := os.WriteFile(file, backlogFile(i), 0o666); err != nil {
					t.Fatal(err)
				}
				at := time.Now().Add(time.Duration(i-*backlog) * time.Second)
				if err := os.Chtimes(file, at, at); err != nil {
					t.Fatal(err)
				}
			}
			took, grown := emptied(t, app)
			wantAllInOrder(t, app, *backlog)
			fmt.Printf("%d files %s: %.1f s, %.0f a second, heap up by %d MiB\n", *backlog, c.name, took.Seconds(), float64(*backlog)/took.Seconds(), grown>>20)
			for folder, want := range map[string]int{"": 0, "work": 0, "processed/*": *backlog, "results": *backlog} {
				if found, err := filepath.Glob(filepath.Join(c.folder, folder, "*.csv")); err != nil || len(found) != want {
					t.Errorf("%q holds %d files, want %d", folder, len(found), want)
				}
			}
		})
	}
}

// backlogName is the name of the i-th file, which tells its place.
func backlogName(i int) string { return fmt.Sprintf("orders-%05d.csv", i) }

// backlogFile has two rows, and is unlike any other.
func backlogFile(i int) []byte {
	return fmt.Appendf(nil, "start_time_t,calling_phone_number,reference_id,sale_amount\n%d,+%d,B%d,1.50\n%d,+%d,B%d,2.50\n",
		testCallStart(i%100)/1000, 12125550000+i%100, i, testCallStart(i%100)/1000, 12125550000+i%100, i)
}

// deliverMany hands mails to Dovecot as a mail server does.
func deliverMany(t *testing.T, p mailParties, n int) {
	t.Helper()
	conn, err := net.Dial("tcp", rig.LMTP)
	if err != nil {
		t.Fatal(err)
	}
	client := smtp.NewClientLMTP(conn)
	defer client.Close()
	for i := range n {
		if err := client.SendMail(p.sender, []string{p.address}, strings.NewReader(backlogMail(p, i))); err != nil {
			t.Fatal(err)
		}
	}
}

func backlogMail(p mailParties, i int) string {
	return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Orders %d\r\nMessage-ID: <backlog-%d@shop.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain\r\n\r\nHere they are.\r\n--B\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=%s\r\n\r\n%s--B--\r\n",
		p.sender, p.address, i, i, backlogName(i), strings.ReplaceAll(string(backlogFile(i)), "\n", "\r\n"))
}

// plainFetch is how long it takes to fetch all mails by one command and do nothing.
func plainFetch(t *testing.T, p mailParties, n int) time.Duration {
	t.Helper()
	box := p.open(t, p.uploads)
	began := time.Now()
	if _, err := box.client.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	fetch := box.client.Fetch(all, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	got := 0
	for message := fetch.Next(); message != nil; message = fetch.Next() {
		for item := message.Next(); item != nil; item = message.Next() {
			if body, ok := item.(imapclient.FetchItemDataBodySection); ok {
				if _, err := io.Copy(io.Discard, body.Literal); err != nil {
					t.Fatal(err)
				}
				got++
			}
		}
	}
	if err := fetch.Close(); err != nil || got != n {
		t.Fatalf("%d mails, %v", got, err)
	}
	return time.Since(began)
}

// emptied is how long it takes until all that waits was taken, decided and reported, and by
// how much the heap has grown at most.
func emptied(t *testing.T, app *app) (took time.Duration, grown int64) {
	t.Helper()
	peak := watchHeap(t)
	began := time.Now()
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	return time.Since(began), peak()
}

// wantAllInOrder fails unless so many uploads were decided, in the order in which they came.
func wantAllInOrder(t *testing.T, app *app, n int) {
	t.Helper()
	next := n
	err := app.store.ListUploads(t.Context(), "", 0, func(u *conversion.Upload) error {
		if next--; u.Name != backlogName(next) || u.State != conversion.Decided || u.Tally.Rows != 2 {
			return fmt.Errorf("upload %d is %s, %s, %s; want %s", u.ID, u.Name, u.State, u.Tally, backlogName(next))
		}
		return nil
	})
	if err != nil || next != 0 {
		t.Fatalf("%d of %d uploads are missing, %v", next, n, err)
	}
	if _, err := app.store.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRigFromArrivalToReply measures how long a sender waits: from when the mail server has
// taken the mail until the reply is in their mailbox, mail by mail.
func TestRigFromArrivalToReply(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	importTestCalls(t, app, 100)
	runApp(t, app)
	sender := p.open(t, p.sender)
	time.Sleep(time.Second) // the worker is waiting in IDLE by now
	var waits []time.Duration
	for i := range *mails {
		p.sendRaw(t, []byte(backlogMail(p, i)))
		began := time.Now()
		reply := nextAnswer(t, sender)
		if waits = append(waits, time.Since(began)); reply.subject != fmt.Sprintf("Re: Orders %d", i) {
			t.Fatalf("mail %d was answered by %q", i, reply.subject)
		}
	}
	slices.Sort(waits)
	fmt.Printf("%d mails, from arrival to reply: median %d ms, 95 of 100 within %d ms, worst %d ms\n",
		len(waits), waits[len(waits)/2].Milliseconds(), waits[len(waits)*95/100].Milliseconds(), waits[len(waits)-1].Milliseconds())
}
