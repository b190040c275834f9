package mailbox

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"calltally/ingest"
	"calltally/scripts/rig"
)

// The tests in this file run against Dovecot, which “scripts/services up” starts
// on loopback.

// rigBox is a fresh mailbox in Dovecot.
type rigBox struct {
	user, address string // the address has a detail: user+acme
	secure        *tls.Config
}

func newRigBox(t *testing.T) rigBox { return newRigBoxOf(t, "box-m") }

// newRigBoxOf is one whose name begins so: with sdbox- it is kept in another form.
func newRigBoxOf(t *testing.T, begins string) rigBox {
	t.Helper()
	name := begins + strings.ToLower(rand.Text()[:10])
	return rigBox{user: name + "@rig.test", address: name + "+acme@rig.test", secure: rig.TLS(t)}
}

// mailbox is the mailbox as calltally reads it.
func (b rigBox) mailbox(t *testing.T) *Mailbox {
	t.Helper()
	m := mailboxOf(t, rig.IMAPS)
	m.Server = Server{Address: rig.IMAPS, TLS: b.secure, User: b.user, Password: rig.Password}
	return m
}

// deliver hands a mail to Dovecot as a mail server does.
func (b rigBox) deliver(t *testing.T, raw string) {
	t.Helper()
	conn, err := net.Dial("tcp", rig.LMTP)
	if err != nil {
		t.Fatal(err)
	}
	client := smtp.NewClientLMTP(conn)
	defer client.Close()
	if err := client.SendMail("ann@shop.example", []string{b.address}, strings.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

// open opens the mailbox as a person's mail program does.
func (b rigBox) open(t *testing.T) *imapclient.Client {
	t.Helper()
	client, err := imapclient.DialTLS(rig.IMAPS, &imapclient.Options{TLSConfig: b.secure})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(b.user, rig.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return client
}

func appendTo(t *testing.T, client *imapclient.Client, folder, raw string) {
	t.Helper()
	command := client.Append(folder, int64(len(raw)), nil)
	if _, err := command.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := command.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := command.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestRigMailIsMoved(t *testing.T) {
	for _, form := range []string{"box-m", "sdbox-m"} {
		t.Run(form, func(t *testing.T) { testRigMailIsMoved(t, newRigBoxOf(t, form)) })
	}
}

func testRigMailIsMoved(t *testing.T, box rigBox) {
	box.deliver(t, ordersMail)
	box.deliver(t, salesMail)
	box.deliver(t, "X-Calltally-Report: upload=1\r\n"+ordersMail)
	m := box.mailbox(t)
	deliveries, err := poll(t.Context(), t, m, func(d *ingest.Delivery) (ingest.Disposition, bool) {
		if d.Name == "sales.csv" {
			return ingest.Refused, true
		}
		return ingest.Accepted, true
	})
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, deliveries, "orders.csv", "sales.csv")
	for _, d := range deliveries {
		if len(d.Mail.Recipients) == 0 || d.Mail.Recipients[0] != box.address {
			t.Errorf("the mail went to %q, first to the upload address %s", d.Mail.Recipients, box.address)
		}
	}
	client := box.open(t)
	for folder, want := range map[string]int{"INBOX": 0, "Processed": 2, "Rejected": 1} {
		keeps := folderOf(t, client, folder)
		if len(keeps) != want {
			t.Errorf("%s holds %d mails, not %d", folder, len(keeps), want)
		}
		for _, k := range keeps {
			if k.flagged(imap.FlagSeen) {
				t.Errorf("a mail in %s is marked as read, but no person read it", folder)
			}
		}
	}
	wantNames(t, mustPoll(t, m))
	if got, err := m.Probe(t.Context()); err != nil || got != "INBOX: 0 mails to process; files mail by MOVE; IDLE" {
		t.Errorf("the check says %q, %v", got, err)
	}
}

// All mails of a folder may get new numbers, for example when it is restored:
// what was ours must be known again.
func TestRigOriginOutlivesTheServersNumbers(t *testing.T) {
	box := newRigBox(t)
	client := box.open(t)
	m := box.mailbox(t)
	m.Folder = "Uploads"
	var origins []string
	var validities []uint32
	for range 2 {
		if err := client.Create("Uploads", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		appendTo(t, client, "Uploads", salesMail)
		appendTo(t, client, "Uploads", ordersMail)
		status, err := client.Status("Uploads", &imap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		deliveries, err := poll(t.Context(), t, m, ignore)
		if err != nil {
			t.Fatal(err)
		}
		wantNames(t, deliveries, "sales.csv", "orders.csv")
		for _, d := range deliveries {
			origins = append(origins, d.Origin)
		}
		validities = append(validities, status.UIDValidity)
		m.Close() // nobody may have the folder open
		if err := client.Delete("Uploads").Wait(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // Dovecot counts UIDVALIDITY in seconds
	}
	if validities[0] == validities[1] {
		t.Fatalf("UIDVALIDITY stayed %d, so that this shows nothing", validities[0])
	}
	if len(origins) == 4 && (origins[0] != origins[2] || origins[1] != origins[3] || origins[0] == origins[1]) {
		t.Errorf("the origins were %q, then %q", origins[:2], origins[2:])
	}
}

func TestRigAMailThatIsMovedBackHasItsOldOrigin(t *testing.T) {
	box := newRigBox(t)
	box.deliver(t, ordersMail)
	m := box.mailbox(t)
	first := mustPoll(t, m)
	client := box.open(t)
	if _, err := client.Select("Processed", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Move(imap.SeqSetNum(1), "INBOX").Wait(); err != nil {
		t.Fatal(err)
	}
	second := mustPoll(t, m)
	if len(first) != 1 || len(second) != 1 || first[0].Origin != second[0].Origin {
		t.Errorf("first %q, then %q", names(first), names(second))
	}
}

func TestRigWake(t *testing.T) {
	for _, c := range []struct {
		name   string
		before time.Duration // how long it waits before the mail arrives
	}{{"the mail arrives while it waits", 300 * time.Millisecond}, {"the mail arrived before", -1}} {
		t.Run(c.name, func(t *testing.T) {
			box := newRigBox(t)
			m := box.mailbox(t)
			mustPoll(t, m)
			if c.before < 0 {
				box.deliver(t, ordersMail)
			}
			woken := wake(t.Context(), m)
			if c.before >= 0 {
				time.Sleep(c.before)
				box.deliver(t, ordersMail)
			}
			if err := within(t, 2*time.Second, woken); err != nil {
				t.Fatal(err)
			}
			wantNames(t, mustPoll(t, m), "orders.csv")
		})
	}
}

func TestRigAMailThatIsRemovedMeanwhile(t *testing.T) {
	box := newRigBox(t)
	box.deliver(t, ordersMail)
	box.deliver(t, salesMail)
	box.deliver(t, ordersMail)
	client := box.open(t)
	removed := false
	deliveries, err := poll(t.Context(), t, box.mailbox(t), func(*ingest.Delivery) (ingest.Disposition, bool) {
		if !removed {
			removed = true
			if _, err := client.Select("INBOX", nil).Wait(); err != nil {
				t.Error(err)
			}
			if err := client.Store(imap.SeqSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
				t.Error(err)
			}
			if err := client.Expunge().Close(); err != nil {
				t.Error(err)
			}
		}
		return ingest.Accepted, true
	})
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, deliveries, "orders.csv", "sales.csv", "orders.csv") // all were fetched before
	if got := len(folderOf(t, client, "Processed")); got != 2 {
		t.Errorf("Processed holds %d mails, not 2", got)
	}
}

func TestRigWrongPassword(t *testing.T) {
	box := newRigBox(t)
	m := box.mailbox(t)
	m.Server.Password = "falsch-0815"
	_, err := poll(t.Context(), t, m, accept)
	if err == nil || !strings.Contains(err.Error(), box.user) || strings.Contains(err.Error(), "falsch-0815") {
		t.Errorf("the error is %v", err)
	}
}

// A server that can neither move mail nor expunge one alone keeps it where it is, marked.
func TestRigAServerThatCanDoLittle(t *testing.T) {
	box := newRigBox(t)
	box.deliver(t, ordersMail)
	box.deliver(t, salesMail)
	m := box.mailbox(t)
	m.Server.Address = rig.PoorIMAP
	wantNames(t, mustPoll(t, m), "orders.csv", "sales.csv")
	wantNames(t, mustPoll(t, m))
	for _, k := range folderOf(t, box.open(t), "INBOX") {
		if !k.flagged(processedKeyword) || k.flagged(imap.FlagDeleted) {
			t.Error("a mail is not marked, or marked as deleted")
		}
	}
	if got, err := m.Probe(t.Context()); err != nil || got != "INBOX: 0 mails to process; files mail by a keyword (the server can't move mail safely); no IDLE, polling only" {
		t.Errorf("the check says %q, %v", got, err)
	}
}

// Connections break in every way at every place, with every form of mailbox and server, and
// in the end each mail was delivered whole, under one origin, and put away once.
func TestRigBrokenConnections(t *testing.T) {
	for way, how := range rig.Breaks {
		for _, c := range []struct {
			name, form, address string
			token               bool
		}{
			{"maildir", "box-m", rig.IMAPS, false}, {"sdbox", "sdbox-m", rig.IMAPS, false}, {"can do little", "box-m", rig.PoorIMAP, false}, {"by token", "box-m", rig.IMAPS, true},
		} {
			t.Run(way+" "+c.name, func(t *testing.T) {
				t.Parallel()
				box := newRigBoxOf(t, c.form)
				const mails = 4
				for range mails / 2 {
					box.deliver(t, ordersMail)
					box.deliver(t, strings.Replace(salesMail, "\r\n\r\n", "\r\n\r\n"+strings.Repeat("filler\r\n", 2000), 1))
				}
				proxy := rig.NewProxy(t, c.address)
				proxy.Break.Store(how)
				m := box.mailbox(t)
				m.Server.Address, m.Server.Patience = proxy.Address, 300*time.Millisecond
				if c.token {
					m.Server.Login = func(_ context.Context, _ func(string) bool, show func(sasl.Client) error) error {
						return show(sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: box.user, Token: rig.Token(box.user, time.Now().Add(time.Hour))}))
					}
				}
				defer m.Close()
				delivered := map[string]string{}
				look := func() (failed bool) {
					for d, err := range m.Deliveries(t.Context()) {
						if err != nil {
							failed = true
							continue
						}
						content := contentOf(t, d)
						if before, known := delivered[d.Origin]; known && before != content {
							t.Errorf("%s came with other bytes", d.Origin)
						}
						delivered[d.Origin] = content
						if err := d.Ack(t.Context(), ingest.Accepted); err != nil {
							t.Error(err)
						}
					}
					return failed
				}
				failures := 0
				for _, bytes := range []int64{20, 1500, 3000, 4200, 4500, 5000, 6000, 9000, 15_000, 25_000, 40_000} {
					proxy.CutAfter.Store(bytes)
					m.Close()
					if look() {
						failures++
					}
				}
				if failures == 0 {
					t.Error("nothing broke, so that this shows nothing")
				}
				proxy.CutAfter.Store(0)
				m.Close()
				for range 2 {
					if look() {
						t.Error("it fails although nothing breaks any more")
					}
				}
				if len(delivered) != mails {
					t.Errorf("%d mails were delivered, want %d", len(delivered), mails)
				}
				client := box.open(t)
				kept := len(folderOf(t, client, "Processed"))
				if c.address == rig.PoorIMAP {
					kept = 0
					for _, k := range folderOf(t, client, "INBOX") {
						if k.flagged(processedKeyword) {
							kept++
						}
					}
				} else if left := len(folderOf(t, client, "INBOX")); left > 0 {
					t.Errorf("INBOX still holds %d mails", left)
				}
				if kept != mails {
					t.Errorf("%d mails are put away, want %d", kept, mails)
				}
			})
		}
	}
}
