package mailbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/scripts/rig"
)

func TestMailIsFiledAsTheServerAllows(t *testing.T) {
	move, uidPlus := []imap.Cap{imap.CapMove, imap.CapUIDPlus}, []imap.Cap{imap.CapUIDPlus}
	const keyword = "store $calltallyprocessed"
	for _, c := range []struct {
		name         string
		capabilities []imap.Cap
		folder       string // there is one before
		failing      []string
		want         []string // the commands after the fetch
		inbox        bool     // the mail stays in INBOX
		processed    bool     // the mail is in Processed
		failure      bool     // the poll ends with an error
	}{
		{name: "MOVE", capabilities: move, folder: "Processed", want: []string{"move to Processed"}, processed: true},
		{name: "MOVE into a folder that is not there", capabilities: move, want: []string{"move to Processed", "create Processed", "move to Processed"}, processed: true},
		{name: "MOVE fails", capabilities: move, folder: "Processed", failing: []string{"move to Processed"}, want: []string{"move to Processed", "create Processed", keyword}, inbox: true},
		{name: "MOVE into a folder that can't be made", capabilities: move, failing: []string{"create Processed"}, want: []string{"move to Processed", "create Processed", keyword}, inbox: true},
		{name: "no MOVE but UIDPLUS", capabilities: uidPlus, folder: "Processed", want: []string{"copy to Processed", `store \deleted`, "expunge 1"}, processed: true},
		{name: "no MOVE but UIDPLUS, the folder is not there", capabilities: uidPlus, want: []string{"copy to Processed", "create Processed", "copy to Processed", `store \deleted`, "expunge 1"}, processed: true},
		{name: "COPY fails", capabilities: uidPlus, folder: "Processed", failing: []string{"copy to Processed"}, want: []string{"copy to Processed", "create Processed", keyword}, inbox: true},
		{name: "COPY into a folder that can't be made", capabilities: uidPlus, failing: []string{"create Processed"}, want: []string{"copy to Processed", "create Processed", keyword}, inbox: true},
		{name: "the copy can't be followed by a removal", capabilities: uidPlus, folder: "Processed", failing: []string{`store \deleted`}, want: []string{"copy to Processed", `store \deleted`}, inbox: true, processed: true, failure: true},
		{name: "neither MOVE nor UIDPLUS", want: []string{keyword}, inbox: true},
		{name: "nothing at all is allowed", capabilities: move, failing: []string{"move to Processed", "create Processed", keyword}, want: []string{"move to Processed", "create Processed", keyword}, inbox: true, failure: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.capabilities...)
			if c.folder != "" {
				if err := s.user.Create(c.folder, nil); err != nil {
					t.Fatal(err)
				}
			}
			s.put(t, "INBOX", ordersMail)
			s.failing(c.failing...)
			m := mailboxOf(t, s.address)
			deliveries, err := poll(t.Context(), t, m, accept)
			if (err != nil) != c.failure {
				t.Errorf("the poll ended with the error %v", err)
			}
			wantNames(t, deliveries, "orders.csv")
			if got, want := s.commands(), slices.Concat([]string{"fetch size 1", "fetch mail 1"}, c.want); !slices.Equal(got, want) {
				t.Errorf("the commands were\n  %q, not\n  %q", got, want)
			}
			inbox, processed := s.folder(t, "INBOX"), s.folder(t, "Processed")
			if (len(inbox) == 1) != c.inbox || (len(processed) == 1) != c.processed {
				t.Errorf("INBOX holds %d mails, Processed %d", len(inbox), len(processed))
			}
			if len(inbox) == 0 && len(processed) == 0 {
				t.Fatal("the mail is lost")
			}
			for _, k := range inbox {
				if k.flagged(imap.FlagDeleted) || k.flagged(imap.FlagSeen) || k.raw != ordersMail {
					t.Errorf("the mail in INBOX has the flags %q", k.flags)
				}
			}
			if deliveries, _ := poll(t.Context(), t, m, accept); !c.failure && len(deliveries) > 0 {
				t.Errorf("the next poll delivers %q again", names(deliveries))
			}
		})
	}
}

func TestOnlyOurOwnMailIsExpunged(t *testing.T) {
	s := newServer(t, imap.CapUIDPlus)
	s.put(t, "INBOX", salesMail, imap.FlagDeleted) // a person deleted it, and may want it back
	s.put(t, "INBOX", ordersMail)
	wantNames(t, mustPoll(t, mailboxOf(t, s.address)), "orders.csv")
	if inbox := s.folder(t, "INBOX"); len(inbox) != 1 || inbox[0].raw != salesMail {
		t.Errorf("INBOX holds %d mails; only the one that a person deleted should be there", len(inbox))
	}
}

func TestWhatAPersonReadIsStillProcessed(t *testing.T) {
	s := newServer(t) // it can only mark mails, so that all stay in INBOX
	s.put(t, "INBOX", ordersMail, imap.FlagSeen, imap.FlagAnswered)
	s.put(t, "INBOX", salesMail, imap.FlagDeleted)
	s.put(t, "INBOX", salesMail, "$CalltallyProcessed")
	s.put(t, "INBOX", salesMail)
	deliveries := mustPoll(t, mailboxOf(t, s.address))
	wantNames(t, deliveries, "orders.csv", "sales.csv")
	for _, command := range s.commands() {
		if strings.Contains(command, "mark it read") {
			t.Errorf("%s: mails must be peeked at only", command)
		}
	}
	if inbox := s.folder(t, "INBOX"); inbox[3].flagged(imap.FlagSeen) {
		t.Error("our own reading marked a mail as read by a person")
	}
}

func TestDeliveryTellsWhereItCameFrom(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", "Delivered-To: uploads+acme@tally.example\r\n"+mixed(attached("text/csv", "orders.csv", orders), attached("text/csv", "sales.csv", sales)))
	m := mailboxOf(t, s.address)
	m.Account, m.Takes, m.Dialect, m.Vouchers.Recipient = "23", conversion.TakesCalls, "plain", true
	deliveries := mustPoll(t, m)
	wantNames(t, deliveries, "orders.csv", "sales.csv")
	for i, d := range deliveries {
		if d.Source != m.Label || d.Account != m.Account || d.Takes != m.Takes || d.Dialect != m.Dialect || !d.Mail.TrustRecipient {
			t.Errorf("the settings did not reach the delivery: %+v", d.Delivery)
		}
		if d.Mail.From != "ann@shop.example" || d.Mail.Recipients[0] != "uploads+acme@tally.example" || d.Mail.MessageID != "m1@shop.example" {
			t.Errorf("the mail is described as %+v", *d.Mail)
		}
		if want := []string{orders, sales}[i]; d.content != want {
			t.Errorf("%s holds %q, not %q", d.Name, d.content, want)
		}
	}
	if deliveries[0].Origin == deliveries[1].Origin {
		t.Errorf("two files of one mail have one origin, %q", deliveries[0].Origin)
	}
}

func TestAMailNobodyVouchesFor(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	deliveries := mustPoll(t, mailboxOf(t, s.address))
	wantNames(t, deliveries, "orders.csv")
	if mail := deliveries[0].Mail; mail.TrustRecipient || !strings.Contains(mail.Doubt, "no mail server is set that is believed about senders") {
		t.Errorf("trusted by its address: %v; doubted because %q", mail.TrustRecipient, mail.Doubt)
	}
}

func TestWhereAMailGoes(t *testing.T) {
	two := mixed(attached("text/csv", "orders.csv", orders), attached("text/csv", "sales.csv", sales))
	refuseSales := func(d *ingest.Delivery) (ingest.Disposition, bool) {
		if d.Name == "sales.csv" {
			return ingest.Refused, true
		}
		return ingest.Accepted, true
	}
	ignoreSales := func(d *ingest.Delivery) (ingest.Disposition, bool) {
		return ingest.Accepted, d.Name != "sales.csv"
	}
	for _, c := range []struct {
		name   string
		raw    string
		judge  verdict
		want   []string
		folder string
	}{
		{"one file, accepted", ordersMail, accept, []string{"orders.csv"}, "Processed"},
		{"one file, refused", ordersMail, refuse, []string{"orders.csv"}, "Rejected"},
		{"two files, both accepted", two, accept, []string{"orders.csv", "sales.csv"}, "Processed"},
		{"two files, one refused", two, refuseSales, []string{"orders.csv", "sales.csv"}, "Processed"},
		{"two files, both refused", two, refuse, []string{"orders.csv", "sales.csv"}, "Rejected"},
		{"two files, one not acknowledged", two, ignoreSales, []string{"orders.csv", "sales.csv"}, "INBOX"},
		{"one file, not acknowledged", ordersMail, ignore, []string{"orders.csv"}, "INBOX"},
		{"no file", mixed(text), refuse, []string{"mail.eml: no_attachment"}, "Rejected"},
		{"our own report", "X-Calltally-Report: upload=1\r\n" + ordersMail, refuse, nil, "Processed"},
		{"a bounce", "Return-Path: <>\r\n" + ordersMail, refuse, nil, "Processed"},
		{"no mail at all", "\x00\x01\x02", refuse, []string{"mail.eml: no_attachment"}, "Rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, imap.CapMove)
			s.put(t, "INBOX", c.raw)
			deliveries, err := poll(t.Context(), t, mailboxOf(t, s.address), c.judge)
			if err != nil {
				t.Fatal(err)
			}
			wantNames(t, deliveries, c.want...)
			for _, folder := range []string{"INBOX", "Processed", "Rejected"} {
				if got, want := len(s.folder(t, folder)), map[bool]int{true: 1}[folder == c.folder]; got != want {
					t.Errorf("%s holds %d mails, not %d", folder, got, want)
				}
			}
		})
	}
}

func TestWhatIsNotAcknowledgedIsDeliveredAgain(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	s.put(t, "INBOX", salesMail)
	m := mailboxOf(t, s.address)
	first, err := poll(t.Context(), t, m, ignore)
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, first, "orders.csv", "sales.csv")
	for _, k := range s.folder(t, "INBOX") {
		if k.flagged(processedKeyword) || k.flagged(imap.FlagDeleted) {
			t.Errorf("a mail that is not ours yet has the flags %q", k.flags)
		}
	}
	m.Close() // as after a crash
	second := mustPoll(t, m)
	wantNames(t, second, "orders.csv", "sales.csv")
	for i := range first {
		if first[i].Origin != second[i].Origin {
			t.Errorf("%s came from %q, then from %q", first[i].Name, first[i].Origin, second[i].Origin)
		}
	}
	if first[0].Origin == first[1].Origin {
		t.Errorf("two mails have one origin, %q", first[0].Origin)
	}
}

func TestTheSameBytesUnderAnotherNumberHaveOneOrigin(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	m := mailboxOf(t, s.address)
	first := mustPoll(t, m)
	s.put(t, "INBOX", salesMail)
	s.put(t, "INBOX", ordersMail) // a person moved it back, or the server numbered all mails anew
	again := mustPoll(t, m)
	wantNames(t, again, "sales.csv", "orders.csv")
	if len(first) == 1 && len(again) == 2 && (again[1].Origin != first[0].Origin || again[0].Origin == first[0].Origin) {
		t.Errorf("origins: first %q, then %q and %q", first[0].Origin, again[0].Origin, again[1].Origin)
	}
}

func TestAReaderThatStopsLeavesTheRest(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	s.put(t, "INBOX", salesMail)
	for range mailboxOf(t, s.address).Deliveries(t.Context()) {
		break
	}
	if inbox := s.folder(t, "INBOX"); len(inbox) != 2 || inbox[0].flagged(processedKeyword) || inbox[0].flagged(imap.FlagDeleted) {
		t.Errorf("INBOX holds %+v", inbox)
	}
}

func TestAReaderThatStopsAfterAcknowledging(t *testing.T) {
	acknowledgeFirst := func(ctx context.Context, t *testing.T, m *Mailbox, before func()) {
		for d, err := range m.Deliveries(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Ack(ctx, ingest.Accepted); err != nil {
				t.Fatal(err)
			}
			before()
			break
		}
	}
	t.Run("the mail is filed", func(t *testing.T) {
		s := newServer(t, imap.CapMove)
		s.put(t, "INBOX", ordersMail)
		acknowledgeFirst(t.Context(), t, mailboxOf(t, s.address), func() {})
		if got := len(s.folder(t, "Processed")); got != 1 {
			t.Errorf("Processed holds %d mails", got)
		}
	})
	t.Run("the mail can't be filed", func(t *testing.T) {
		s := newServer(t, imap.CapMove)
		s.put(t, "INBOX", ordersMail)
		s.failing("move to Processed", "create Processed", "store $calltallyprocessed")
		noPanic(t, func() { acknowledgeFirst(t.Context(), t, mailboxOf(t, s.address), func() {}) })
		if got := len(s.folder(t, "INBOX")); got != 1 {
			t.Errorf("INBOX holds %d mails", got)
		}
	})
	t.Run("because the program ends", func(t *testing.T) {
		s := newServer(t, imap.CapMove)
		s.put(t, "INBOX", ordersMail)
		ctx, cancel := context.WithCancel(t.Context())
		m := mailboxOf(t, s.address)
		noPanic(t, func() { acknowledgeFirst(ctx, t, m, cancel) })
		if len(s.folder(t, "INBOX"))+len(s.folder(t, "Processed")) != 1 {
			t.Error("the mail is lost")
		}
	})
}

// noPanic reports a panic as a failure of this test alone.
func noPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	f()
}

// One mail that can't be had must not keep those behind it from being read.
func TestAPoisonMailDelaysNothingElse(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	s.put(t, "INBOX", salesMail)
	s.failing("fetch mail 1")
	m := mailboxOf(t, s.address)
	var delivered []seen
	var failures int
	for range 3 {
		deliveries, err := poll(t.Context(), t, m, accept)
		delivered = append(delivered, deliveries...)
		if err != nil {
			failures++
		}
	}
	wantNames(t, delivered, "sales.csv")
	if failures == 0 {
		t.Error("nobody learns of the mail that can't be had")
	}
	if inbox := s.folder(t, "INBOX"); len(inbox) != 1 || inbox[0].raw != ordersMail {
		t.Errorf("INBOX holds %d mails, not just the one that can't be had", len(inbox))
	}
}

func TestAMailThatIsRemovedMeanwhile(t *testing.T) {
	for _, when := range []string{"fetch size 1", "fetch mail 1"} {
		t.Run("before "+when, func(t *testing.T) {
			s := newServer(t, imap.CapMove, imap.CapUIDPlus)
			s.put(t, "INBOX", ordersMail)
			s.put(t, "INBOX", salesMail)
			s.failWith(func(command string) error {
				if command == when {
					s.remove(t, 1)
				}
				return nil
			})
			wantNames(t, mustPoll(t, mailboxOf(t, s.address)), "sales.csv")
		})
	}
}

// remove expunges a mail from INBOX as another program would.
func (s *server) remove(t *testing.T, uid imap.UID) {
	t.Helper()
	client, err := imapclient.DialInsecure(s.serve(t, false, []imap.Cap{imap.CapUIDPlus}), nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	uids := imap.UIDSetNum(uid)
	for _, step := range []func() error{
		client.Login(testUser, testPassword).Wait,
		func() error { _, err := client.Select("INBOX", nil).Wait(); return err },
		func() error {
			return client.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close()
		},
		func() error { return client.UIDExpunge(uids).Close() },
	} {
		if err := step(); err != nil {
			t.Error(err)
		}
	}
}

func TestAMailOverTheLimitIsNotFetched(t *testing.T) {
	large := mixed(attached("text/csv", "orders.csv", strings.Repeat(orders, 1000)))
	for _, c := range []struct {
		name     string
		raw      string
		limit    int64
		want     []string
		commands []string
	}{
		{"at the limit", large, int64(len(large)), []string{"orders.csv"}, []string{"fetch size 1", "fetch mail 1", "move to Processed"}},
		{"over the limit", large, int64(len(large)) - 1, []string{"mail.eml: " + tooLarge}, []string{"fetch size 1", "fetch header 1", "move to Rejected"}},
		{"far over the limit, without a file", mixed(plain("Content-Type: text/plain", strings.Repeat(greeting, 1000))), 1000, []string{"mail.eml: " + tooLarge}, []string{"fetch size 1", "fetch header 1", "move to Rejected"}},
		{"our own report over the limit", "X-Calltally-Report: upload=1\r\n" + large, 1000, nil, []string{"fetch size 1", "fetch header 1", "move to Processed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, imap.CapMove)
			for _, folder := range []string{"Processed", "Rejected"} {
				if err := s.user.Create(folder, nil); err != nil {
					t.Fatal(err)
				}
			}
			s.put(t, "INBOX", c.raw)
			m := mailboxOf(t, s.address)
			m.MaxBytes = c.limit
			deliveries, err := poll(t.Context(), t, m, func(d *ingest.Delivery) (ingest.Disposition, bool) {
				if d.Refusal != nil {
					return ingest.Refused, true
				}
				return ingest.Accepted, true
			})
			if err != nil {
				t.Fatal(err)
			}
			wantNames(t, deliveries, c.want...)
			if got := s.commands(); !slices.Equal(got, c.commands) {
				t.Errorf("the commands were %q, not %q", got, c.commands)
			}
			for _, d := range deliveries {
				if d.Mail == nil || d.Mail.From != "ann@shop.example" || d.Mail.Subject != "Orders" {
					t.Errorf("the sender can't be told: %+v", d.Mail)
				}
			}
		})
	}
}

func TestRefusalOfALargeMailGivesTheLimit(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", mixed(plain("Content-Type: text/csv; name=orders.csv", strings.Repeat("x", 3<<20))))
	m := mailboxOf(t, s.address)
	m.MaxBytes = 2 << 20
	deliveries := mustPoll(t, m)
	wantNames(t, deliveries, "mail.eml: "+tooLarge)
	if got, want := deliveries[0].Refusal.Sentence, "The mail is larger than 2 MiB, the most that is read of one. Send the file in parts."; got != want {
		t.Errorf("the sentence is %q, not %q", got, want)
	}
}

func TestSpoolIsEmptyAfterEveryPoll(t *testing.T) {
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	s := newServer(t, imap.CapMove)
	for range 3 {
		s.put(t, "INBOX", ordersMail)
	}
	s.put(t, "INBOX", "X-Calltally-Report: upload=1\r\n"+ordersMail)
	m := mailboxOf(t, s.address)
	m.MaxBytes = 100 // only headers are fetched
	if _, err := poll(t.Context(), t, m, ignore); err != nil {
		t.Fatal(err)
	}
	m.MaxBytes = 1 << 20
	s.failing("fetch mail 2")
	if _, err := poll(t.Context(), t, m, accept); err == nil {
		t.Error("the failure went unnoticed")
	}
	for range m.Deliveries(t.Context()) {
		break
	}
	left, err := os.ReadDir(spool)
	if err != nil || len(left) > 0 {
		t.Errorf("mails are left on the disk: %v, %v", left, err)
	}
}

func TestACutConnectionYieldsNothing(t *testing.T) {
	s := newServer(t, imap.CapMove)
	large := mixed(attached("text/csv", "orders.csv", strings.Repeat(orders, 5000)))
	s.put(t, "INBOX", large)
	proxy := rig.NewProxy(t, s.address)
	m := mailboxOf(t, proxy.Address)
	for _, cut := range []int{1, 50, 400, 1000, len(large) / 2, len(large)} {
		proxy.CutAfter.Store(int64(cut))
		m.Close()
		deliveries, err := poll(t.Context(), t, m, accept)
		if err == nil || len(deliveries) > 0 {
			t.Errorf("cut after %d bytes: %q were delivered, with the error %v", cut, names(deliveries), err)
		}
		if inbox := s.folder(t, "INBOX"); len(inbox) != 1 || inbox[0].flagged(processedKeyword) {
			t.Fatalf("cut after %d bytes: INBOX holds %d mails", cut, len(inbox))
		}
	}
	proxy.CutAfter.Store(0)
	deliveries := mustPoll(t, m)
	wantNames(t, deliveries, "orders.csv")
	if len(deliveries) == 1 && deliveries[0].content != strings.Repeat(orders, 5000) {
		t.Error("the file is not the one that was sent")
	}
}

func TestAConnectionLostBetweenPollsIsMadeAnew(t *testing.T) {
	s := newServer(t, imap.CapMove)
	proxy := rig.NewProxy(t, s.address)
	m := mailboxOf(t, proxy.Address)
	mustPoll(t, m)
	proxy.HangUp()
	s.put(t, "INBOX", ordersMail)
	wantNames(t, mustPoll(t, m), "orders.csv")
}

// wake runs Wake and returns what it returned and after how long.
func wake(ctx context.Context, m *Mailbox) <-chan error {
	woken := make(chan error, 1)
	go func() { woken <- m.Wake(ctx) }()
	return woken
}

func within(t *testing.T, limit time.Duration, woken <-chan error) error {
	t.Helper()
	select {
	case err := <-woken:
		return err
	case <-time.After(limit):
		t.Fatalf("Wake has not returned within %s", limit)
		return nil
	}
}

func TestWake(t *testing.T) {
	const settled = 200 * time.Millisecond // IDLE is running by then
	t.Run("a mail arrives", func(t *testing.T) {
		s := newServer(t, imap.CapMove, imap.CapIdle)
		m := mailboxOf(t, s.address)
		for range 3 {
			mustPoll(t, m)
			woken := wake(t.Context(), m)
			time.Sleep(settled)
			s.put(t, "INBOX", ordersMail)
			if err := within(t, 2*time.Second, woken); err != nil {
				t.Fatal(err)
			}
			wantNames(t, mustPoll(t, m), "orders.csv")
		}
	})
	t.Run("a mail arrived before", func(t *testing.T) {
		s := newServer(t, imap.CapMove, imap.CapIdle)
		m := mailboxOf(t, s.address)
		mustPoll(t, m)
		s.put(t, "INBOX", ordersMail)
		if err := within(t, 2*time.Second, wake(t.Context(), m)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a mail arrived during the poll", func(t *testing.T) {
		s := newServer(t, imap.CapMove, imap.CapIdle)
		s.put(t, "INBOX", ordersMail)
		s.failWith(func(command string) error {
			if command == "fetch mail 1" {
				s.put(t, "INBOX", salesMail)
			}
			return nil
		})
		m := mailboxOf(t, s.address)
		wantNames(t, mustPoll(t, m), "orders.csv")
		if err := within(t, 2*time.Second, wake(t.Context(), m)); err != nil {
			t.Fatal(err)
		}
		wantNames(t, mustPoll(t, m), "sales.csv")
	})
	t.Run("nothing arrives", func(t *testing.T) {
		s := newServer(t, imap.CapMove, imap.CapIdle)
		m := mailboxOf(t, s.address)
		mustPoll(t, m)
		select {
		case err := <-wake(t.Context(), m):
			t.Errorf("it returned %v without a reason", err)
		case <-time.After(time.Second):
		}
	})
	for _, idle := range []bool{true, false} {
		t.Run(fmt.Sprintf("the wait ends, IDLE %v", idle), func(t *testing.T) {
			s := newServer(t, imap.CapMove)
			m := mailboxOf(t, s.address)
			m.Idle = idle
			mustPoll(t, m)
			ctx, cancel := context.WithCancel(t.Context())
			woken := wake(ctx, m)
			time.Sleep(settled)
			select {
			case err := <-woken:
				t.Fatalf("it returned %v before its end", err)
			default:
			}
			cancel()
			within(t, 2*time.Second, woken) //nolint:errcheck // either answer is good
			s.put(t, "INBOX", ordersMail)
			wantNames(t, mustPoll(t, m), "orders.csv")
		})
	}
	t.Run("the server hangs up", func(t *testing.T) {
		s := newServer(t, imap.CapMove, imap.CapIdle)
		proxy := rig.NewProxy(t, s.address)
		m := mailboxOf(t, proxy.Address)
		mustPoll(t, m)
		woken := wake(t.Context(), m)
		time.Sleep(settled)
		proxy.HangUp()
		if err := within(t, 2*time.Second, woken); err == nil {
			t.Error("a lost connection went unnoticed")
		}
		s.put(t, "INBOX", ordersMail)
		wantNames(t, mustPoll(t, m), "orders.csv")
	})
	t.Run("not connected", func(t *testing.T) {
		m := mailboxOf(t, "127.0.0.1:1")
		if err := within(t, time.Second, wake(t.Context(), m)); err == nil {
			t.Error("it returned as if a mail had come")
		}
	})
}

func TestWrongPassword(t *testing.T) {
	s := newServer(t, imap.CapMove)
	s.put(t, "INBOX", ordersMail)
	m := mailboxOf(t, s.address)
	m.Server.Password = "falsch-0815"
	deliveries, err := poll(t.Context(), t, m, accept)
	if err == nil || len(deliveries) > 0 {
		t.Fatalf("%q were delivered, with the error %v", names(deliveries), err)
	}
	if !strings.Contains(err.Error(), testUser) || !strings.Contains(err.Error(), s.address) {
		t.Errorf("%q names neither the user nor the server", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "falsch-0815") {
		t.Errorf("%q gives the password away", err)
	}
	m.Server.Password = testPassword
	wantNames(t, mustPoll(t, m), "orders.csv")
}

func TestAFolderThatIsNotThere(t *testing.T) {
	s := newServer(t, imap.CapMove)
	m := mailboxOf(t, s.address)
	m.Folder = "Uploads"
	if _, err := poll(t.Context(), t, m, accept); err == nil || !strings.Contains(err.Error(), "Uploads") {
		t.Errorf("the error %v does not name the folder", err)
	}
}

func TestNoServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if _, err := poll(t.Context(), t, mailboxOf(t, address), accept); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("the error %v does not name the server", err)
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct{ name, capabilities, want string }{
		{"all", "IMAP4rev1 MOVE UIDPLUS IDLE", "INBOX: 1 mail to process; files mail by MOVE; IDLE"},
		{"no MOVE", "IMAP4rev1 UIDPLUS IDLE", "INBOX: 1 mail to process; files mail by COPY and UID EXPUNGE; IDLE"},
		{"nothing", "IMAP4rev1", "INBOX: 1 mail to process; files mail by a keyword (the server can't move mail safely); no IDLE, polling only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{capabilities: c.capabilities}
			got, err := mailboxOf(t, s.listen(t)).Probe(t.Context())
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
			if lines := s.received(); regexp.MustCompile(`(?i)STORE|MOVE|COPY|EXPUNGE|CREATE|FETCH`).MatchString(lines) {
				t.Errorf("a check must change nothing: %s", lines)
			}
		})
	}
}
