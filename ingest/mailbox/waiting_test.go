package mailbox

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// dnsOf answers for keys as the DNS would, or not for now, and counts what it is asked.
type dnsOf struct {
	signers
	down   bool
	lookup int
}

func (d *dnsOf) answer(ctx context.Context, name string) ([]string, error) {
	d.lookup++
	if d.down {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	return d.signers.lookup(ctx, name)
}

func (d *dnsOf) signed(t *testing.T, raw string) string {
	return d.sign(t, raw, "shop.example", "From", "Subject", "Content-Type", "MIME-Version")
}

// A mail whose signature can't be checked for now waits for a day, in the mailbox: it delays
// none of the others, and the mailbox has not failed, as everybody can send such a mail.
func TestAMailThatWaitsForAKey(t *testing.T) {
	dns := &dnsOf{signers: signers{}, down: true}
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", dns.signed(t, ordersMail))
	s.put(t, "INBOX", dns.signed(t, strings.Replace(ordersMail, "Subject: ", "Subject: More ", 1)))
	s.put(t, "INBOX", strings.Replace(salesMail, "ann@shop.example", "bob@elsewhere.example", 1))
	var log bytes.Buffer
	box := func(later time.Duration) *Mailbox {
		m := mailboxOf(t, s.address)
		m.Vouchers.LookupTXT, m.Now = dns.answer, func() time.Time { return time.Now().Add(later) }
		m.Log = slog.New(slog.NewTextHandler(&log, nil))
		return m
	}
	m := box(0)
	wantNames(t, mustPoll(t, m), "sales.csv")
	if dns.lookup != 1 {
		t.Errorf("of one domain that doesn't answer, %d keys were looked up", dns.lookup)
	}
	for range 20 { // however often it is looked at
		wantNames(t, mustPoll(t, m))
	}
	if waits := strings.Count(log.String(), "mail waits"); waits != 2 || strings.Contains(log.String(), "ERROR") {
		t.Errorf("of two mails, the log says %d times that they wait:\n%s", waits, log.String())
	}
	wantNames(t, mustPoll(t, box(23*time.Hour))) // by another run of the program
	if n := len(s.folder(t, "INBOX")); n != 2 {
		t.Fatalf("INBOX holds %d mails", n)
	}
	late, err := poll(t.Context(), t, box(25*time.Hour), ignore)
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, late, "orders.csv", "orders.csv")
	for _, d := range late {
		if !strings.Contains(d.Mail.Doubt, "can't be looked up") {
			t.Errorf("after a day it is doubted because %q", d.Mail.Doubt)
		}
	}
	dns.down = false
	answered := mustPoll(t, m)
	wantNames(t, answered, "orders.csv", "orders.csv")
	for _, d := range answered {
		if d.Mail.Doubt != "" {
			t.Errorf("with the key it is doubted because %q", d.Mail.Doubt)
		}
	}
}

// What is built as no mail is, is held without asking anybody.
func TestAnOddMailAsksForNoKey(t *testing.T) {
	dns := &dnsOf{signers: signers{}}
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", strings.Repeat("X-Filler: x\r\n", usualFields)+dns.signed(t, ordersMail))
	m := mailboxOf(t, s.address)
	m.Vouchers.LookupTXT = dns.answer
	if deliveries := mustPoll(t, m); len(deliveries) != 1 || !strings.Contains(deliveries[0].Mail.Doubt, "fields") || dns.lookup != 0 {
		t.Errorf("%d deliveries, %d keys looked up", len(deliveries), dns.lookup)
	}
}

// A mail on whose signatures the check panics is nobody's, and the others are taken.
func TestASenderThatCanNotBeChecked(t *testing.T) {
	dns := &dnsOf{signers: signers{}}
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", dns.signed(t, dns.signed(t, ordersMail)))
	s.put(t, "INBOX", salesMail)
	m := mailboxOf(t, s.address)
	m.Vouchers.LookupTXT = func(context.Context, string) ([]string, error) { panic("poison") }
	deliveries := mustPoll(t, m)
	wantNames(t, deliveries, "orders.csv", "sales.csv")
	for _, d := range deliveries {
		if d.Mail.Doubt == "" {
			t.Errorf("%s is believed", d.Name)
		}
	}
}

// failingAt is a spooled mail that the disk can't be read of behind its header.
type failingAt struct {
	*strings.Reader
	failure error
}

func (f failingAt) Read(p []byte) (int, error) {
	if n, err := f.Reader.Read(p[:min(len(p), 16)]); err == nil {
		return n, nil
	}
	return 0, f.failure
}

// The disk's failure is no doubt about a mail.
func TestADiskThatFailsCastsNoDoubt(t *testing.T) {
	dns := &dnsOf{signers: signers{}}
	raw := dns.signed(t, ordersMail)
	letter := apart(t, raw)
	broken := errors.New("input/output error")
	why, err := Vouchers{Allows: anybody, LookupTXT: dns.answer}.doubt(t.Context(), letter.head, "ann@shop.example", failingAt{strings.NewReader(raw), broken})
	if !errors.Is(err, broken) {
		t.Errorf("%q, %v", why, err)
	}
}

// Being stopped casts no doubt on a mail either.
func TestBeingStoppedCastsNoDoubt(t *testing.T) {
	dns := &dnsOf{signers: signers{}}
	raw := dns.signed(t, ordersMail)
	letter := apart(t, raw)
	ctx, stop := context.WithCancel(t.Context())
	why, err := Vouchers{Allows: anybody, LookupTXT: func(context.Context, string) ([]string, error) {
		stop()
		return nil, errors.New("lookup was canceled")
	}}.doubt(ctx, letter.head, "ann@shop.example", strings.NewReader(raw))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", why, err)
	}
}
