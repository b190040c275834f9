//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-smtp"

	"calltally/ingest/mailbox"
	"calltally/scripts/rig"
	"calltally/worker"
)

func TestFaultMail(t *testing.T) { injectAll(t, mailFaults()) }

func mailFaults() []injected {
	refused := func(code int) error { return &smtp.SMTPError{Code: code, Message: "not this one"} }
	return []injected{
		{"27_cut_within_a_mail", func(t *testing.T) { breakFetching(t, rig.Reset, time.Minute, 50_000, 900_000) }},
		{"28_half_open_connection", func(t *testing.T) {
			began := time.Now()
			breakFetching(t, rig.BlackHole, 300*time.Millisecond, 20, 60_000, 1_000_000)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		}},
		{"29_mails_have_new_numbers", newNumbers},
		{"30_expunged_before_it_is_fetched", expungedBeforeFetch},
		{"30_expunged_before_it_is_put_away", expungedBeforeAck},
		{"31_no_MOVE", func(t *testing.T) { notMoved(t, []imap.Cap{}, nil, "copy store expunge", 0) }},
		{"31_over_quota", func(t *testing.T) { notMoved(t, []imap.Cap{imap.CapMove}, errOverQuota, "move store", 1) }},
		{"32_wrong_password", wrongPassword},
		{"33_relay_says_421", func(t *testing.T) { putOff(t, "mail", refused(421)) }},
		{"33_relay_says_451_to_a_recipient", func(t *testing.T) { putOff(t, "rcpt", refused(451)) }},
		{"33_relay_says_451_to_a_mail", func(t *testing.T) { putOff(t, "data", refused(451)) }},
		{"34_relay_says_550_to_a_recipient", func(t *testing.T) { refusedForGood(t, "rcpt", refused(550)) }},
		{"34_relay_says_550_to_a_mail", func(t *testing.T) { refusedForGood(t, "data", refused(550)) }},
		{"35_too_large", tooLargeForTheRelay},
		{"36_cut_after_the_final_dot", cutAfterTheDot},
		{"37_one_of_two_refused_for_good", func(t *testing.T) { oneRefused(t, refused(550)) }},
		{"37_one_of_two_refused_for_now", func(t *testing.T) { oneRefused(t, refused(451)) }},
	}
}

// The mailbox's folder is made anew by its server, which gives each mail another number.
func newNumbers(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	importTestCalls(t, app, 3)
	p.send(t, "Orders", "orders.csv", testUpload(3, 1))
	box := p.open(t, p.uploads)
	arrived := func() bool { return box.count("INBOX") == 1 }
	eventually(t, "the mail arrives", 5*time.Second, arrived)
	validity := func() uint32 {
		status, err := box.client.Status("INBOX", &imap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return status.UIDValidity
	}
	before := validity()
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { _, err := box.client.Select("Processed", nil).Wait(); return err },
		func() error { _, err := box.client.Move(imap.SeqSetNum(1), "INBOX").Wait(); return err },
		func() error { return box.client.Logout().Wait() },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	app.worker.Plans[0].Source.(*mailbox.Mailbox).Close() // whoever has the folder open knows its numbers
	user, _, _ := strings.Cut(p.uploads, "@")
	eventually(t, "the mails have new numbers", 10*time.Second, func() bool { // of the second in which they are made
		lists, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(p.caFile)), "dovecot", "mail", user, "Maildir", "dovecot*"))
		if err != nil || len(lists) == 0 {
			t.Fatalf("no lists of numbers: %v", err)
		}
		for _, list := range lists {
			if err := os.Remove(list); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		box = p.open(t, p.uploads)
		if validity() != before && arrived() {
			return true
		}
		box.client.Close()
		time.Sleep(time.Second)
		return false
	})
	eventually(t, "the mailbox is read again", 10*time.Second, func() bool { return app.worker.RunOnce(t.Context()) == nil }) // the old connection's folder is gone
	if uploads, conversions := countUploads(t, app), countConversions(t, app); uploads != 1 || conversions != 3 || box.count("INBOX") != 0 || box.count("Processed") != 1 {
		t.Errorf("%d uploads, %d conversions; INBOX holds %d mails, Processed %d", uploads, conversions, box.count("INBOX"), box.count("Processed"))
	}
}

// ------------------------------------------------------------ a server that is told what to do

// imapScript is an IMAP server inside the test whose commands can be made to fail.
type imapScript struct {
	address string
	user    *imapmemserver.User
	server  *imapserver.Server

	mu   sync.Mutex
	done []string
	// before is asked before each command what it fails with; it may do things itself.
	before func(command string) error
}

const scriptUser = "uploads@calltally.example"

// newIMAPScript starts a server that can do some things, with one mail for account 23.
func newIMAPScript(t *testing.T, can ...imap.Cap) *imapScript {
	t.Helper()
	s := &imapScript{user: imapmemserver.NewUser(scriptUser, demoPassword)}
	if err := s.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	caps := imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}}
	for _, c := range can {
		caps[c] = struct{}{}
	}
	s.server = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &scriptedSession{imapmemserver.NewUserSession(s.user), s}, nil, nil
		},
		Caps: caps, InsecureAuth: true,
	})
	s.address = serve(t, s.server.Serve, s.server)
	s.put(t, "orders.csv", crashRows(0, "A"))
	return s
}

// secure opens another door to the server, with TLS, and returns its address.
func (s *imapScript) secure(t *testing.T, certificate tls.Certificate) (address string) {
	t.Helper()
	return serve(t, func(l net.Listener) error {
		return s.server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}))
	}, s.server)
}

func serve(t *testing.T, serve func(net.Listener) error, server io.Closer) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serve(listener) //nolint:errcheck // it ends when the server is closed
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}

// put puts a mail with a file into the mailbox.
func (s *imapScript) put(t *testing.T, name, content string) {
	t.Helper()
	var b bytes.Buffer
	if err := composeMail(&b, "Orders", name, []byte(content)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.user.Append("INBOX", literal{bytes.NewReader(b.Bytes())}, &imap.AppendOptions{Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func (s *imapScript) fails(before func(command string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// note notes a command and says what it fails with.
func (s *imapScript) note(command string) error {
	s.mu.Lock()
	s.done = append(s.done, command)
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(command)
}

// asked are the commands so far, of some kinds.
func (s *imapScript) asked(commands ...string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, command := range s.done {
		if slices.Contains(commands, command) {
			all = append(all, command)
		}
	}
	return all
}

type scriptedSession struct {
	*imapmemserver.UserSession
	script *imapScript
}

func (s *scriptedSession) Login(user, password string) error {
	if err := s.script.note("login"); err != nil {
		return err
	}
	return s.UserSession.Login(user, password)
}

func (s *scriptedSession) Fetch(w *imapserver.FetchWriter, mails imap.NumSet, options *imap.FetchOptions) error {
	if len(options.BodySection) > 0 {
		if err := s.script.note("fetch mail"); err != nil {
			return err
		}
	}
	return s.UserSession.Fetch(w, mails, options)
}

func (s *scriptedSession) Store(w *imapserver.FetchWriter, mails imap.NumSet, flags *imap.StoreFlags, options *imap.StoreOptions) error {
	if err := s.script.note("store"); err != nil {
		return err
	}
	return s.UserSession.Store(w, mails, flags, options)
}

func (s *scriptedSession) Copy(mails imap.NumSet, folder string) (*imap.CopyData, error) {
	if err := s.script.note("copy"); err != nil {
		return nil, err
	}
	return s.UserSession.Copy(mails, folder)
}

func (s *scriptedSession) Move(w *imapserver.MoveWriter, mails imap.NumSet, folder string) error {
	if err := s.script.note("move"); err != nil {
		return err
	}
	return s.UserSession.Move(w, mails, folder)
}

func (s *scriptedSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if err := s.script.note("expunge"); err != nil {
		return err
	}
	return s.UserSession.Expunge(w, uids)
}

func (s *imapScript) open(t *testing.T) *inbox {
	t.Helper()
	client, err := imapclient.DialInsecure(s.address, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(scriptUser, demoPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return &inbox{client: client}
}

func (s *imapScript) source(password string) string {
	return fmt.Sprintf("  - {name: mail, kind: imap, url: \"imap://%s@%s?tls=off\", password: %s, trust: recipient, account: \"23\", every: 1s}\n", url.User(scriptUser), s.address, password)
}

// mailedAccounts are the account of what comes by mail; with more of its settings, and its sources.
const mailedAccounts = `store: calltally.db
accounts: [{id: "23", region: US, time_zone: America/New_York, %swait_for_calls: 0s, match: {lookback: 0s}, duplicates: {mode: update, key: [reference_id]}, payouts: [{percent: 10}]}]
sources:
%s`

// startMailed starts the program with the script's mailbox as a source.
func startMailed(t *testing.T, s *imapScript) *app {
	t.Helper()
	app := startApp(t, configOf(t, fmt.Sprintf(mailedAccounts, "", s.source(demoPassword))))
	importTestCalls(t, app, 3)
	return app
}

// expunge removes the first mail as another program does.
func (b *inbox) expunge() error {
	_, err := b.client.Select("INBOX", nil).Wait()
	return errors.Join(err, b.client.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(), b.client.Expunge().Close())
}

// What another program removes before it was fetched was never ours; the next mail is.
func expungedBeforeFetch(t *testing.T) {
	s := newIMAPScript(t, imap.CapMove)
	app := startMailed(t, s)
	other := s.open(t)
	s.fails(func(command string) error {
		if command != "fetch mail" {
			return nil
		}
		s.fails(nil)
		return other.expunge()
	})
	if err := app.worker.RunOnce(t.Context()); err != nil || countUploads(t, app) != 0 || len(s.asked("expunge")) != 1 {
		t.Errorf("%d uploads, %v; %d mails were expunged", countUploads(t, app), err, len(s.asked("expunge")))
	}
	s.put(t, "more.csv", crashRows(1, "B"))
	if err := app.worker.RunOnce(t.Context()); err != nil || countUploads(t, app) != 1 || other.count("Processed") != 1 {
		t.Errorf("the next mail: %v, %d uploads; Processed holds %d", err, countUploads(t, app), other.count("Processed"))
	}
}

// What another program removes before it was put away is ours, and nothing is left to do.
func expungedBeforeAck(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	importTestCalls(t, app, 3)
	p.send(t, "Orders", "orders.csv", testUpload(3, 1))
	box := p.open(t, p.uploads)
	eventually(t, "the mail arrives", 5*time.Second, func() bool { return box.count("INBOX") == 1 })
	together := app.worker.Together
	app.worker.Together = func(ctx context.Context, f func(worker.Store) (bool, error)) error { // it was fetched, and is stored
		app.worker.Together = together
		return errors.Join(box.expunge(), together(ctx, f))
	}
	for range 2 {
		if err := app.worker.RunOnce(t.Context()); err != nil {
			t.Error(err)
		}
		if uploads, conversions := countUploads(t, app), countConversions(t, app); uploads != 1 || conversions != 3 || box.count("INBOX")+box.count("Processed") != 0 {
			t.Errorf("%d uploads, %d conversions; INBOX holds %d mails, Processed %d", uploads, conversions, box.count("INBOX"), box.count("Processed"))
		}
	}
	if reply := nextAnswer(t, p.open(t, p.sender)); !strings.HasPrefix(reply.text, "3 rows: 3 created\n") {
		t.Errorf("the reply says %q", reply.text)
	}
}

var errOverQuota = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeOverQuota, Text: "no room"}

// A server that can't move mail, or has no room to, is asked for what else there is, and the
// mail is not taken again. While there is nothing else, it stays, and is ours all the same.
func notMoved(t *testing.T, can []imap.Cap, fails error, want string, left int) {
	s := newIMAPScript(t, can...)
	app := startMailed(t, s)
	refuse := func(also ...string) {
		s.fails(func(command string) error {
			if fails != nil && (command == "move" || command == "copy") || slices.Contains(also, command) {
				return errOverQuota
			}
			return nil
		})
	}
	refuse("store", "copy")
	if err := app.worker.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "OVERQUOTA") {
		t.Errorf("the error is %v", err)
	}
	before := len(s.asked("move", "copy", "store", "expunge"))
	refuse()
	for range 2 {
		if err := app.worker.RunOnce(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(s.asked("move", "copy", "store", "expunge")[before:], " "); got != want {
		t.Errorf("it asked for %q, want %q", got, want)
	}
	box := s.open(t)
	if uploads, conversions := countUploads(t, app), countConversions(t, app); uploads != 1 || conversions != 1 || box.count("INBOX") != left || box.count("Processed") != 1-left {
		t.Errorf("%d uploads and %d conversions were made of one mail; INBOX holds %d, Processed %d", uploads, conversions, box.count("INBOX"), box.count("Processed"))
	}
}

// A password that is wrong is tried less and less often, and told nobody. Other sources go on.
func wrongPassword(t *testing.T) {
	const wrong = "falsch-0815"
	s := newIMAPScript(t, imap.CapMove)
	h := faultHouse(t, s.source(wrong))
	p := h.start("", "run")
	p.says(t, `"again_in":"1s"`)
	h.drop("drop", "dropped.csv", crashRows(1, "B"))
	h.waitUntilSettled(1, 10*time.Second)
	p.says(t, `"again_in":"2s"`)
	p.says(t, `"again_in":"4s"`)
	if n := len(s.asked("login")); n != 3 {
		t.Errorf("it has tried %d times", n)
	}
	h.configure(faultSettings + s.source(demoPassword))
	_ = p.Process.Signal(syscall.SIGHUP)
	h.waitUntilSettled(2, 10*time.Second)
	h.stop(p)
	if said := p.said.String(); strings.Contains(said, wrong) || strings.Contains(said, demoPassword) || !strings.Contains(said, "log in") {
		t.Errorf("it said %s", said)
	}
	h.wantDecided("dropped.csv", "orders.csv")
}

// relayScript is a mail relay inside the test that does what it is told to.
type relayScript struct {
	address string

	mu       sync.Mutex
	sessions int
	says     func(step, to string) error // to MAIL, RCPT and DATA; nil to take all
	hangUp   bool                        // in place of an answer to a mail
	read     []sent                      // each mail that it has read
	taken    []sent                      // of those, what it has taken
}

type sent struct {
	to  []string
	raw string
}

func newRelayScript(t *testing.T) *relayScript {
	t.Helper()
	r := &relayScript{}
	server := smtp.NewServer(r)
	server.Domain = "localhost"
	r.address = serve(t, server.Serve, server)
	return r
}

func (r *relayScript) set(says func(step, to string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.says, r.hangUp = says, false
}

func (r *relayScript) answer(step, to string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.says == nil {
		return nil
	}
	return r.says(step, to)
}

func (r *relayScript) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions
}

func (r *relayScript) NewSession(c *smtp.Conn) (smtp.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions++
	return &relaySession{r, c, nil}, nil
}

type relaySession struct {
	relay *relayScript
	conn  *smtp.Conn
	to    []string
}

func (s *relaySession) Reset()                                   { s.to = nil }
func (s *relaySession) Logout() error                            { return nil }
func (s *relaySession) Mail(_ string, _ *smtp.MailOptions) error { return s.relay.answer("mail", "") }

func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := s.relay.answer("rcpt", to); err != nil {
		return err
	}
	s.to = append(s.to, to)
	return nil
}

func (s *relaySession) Data(from io.Reader) error {
	raw, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	mail := sent{s.to, string(raw)}
	answer := s.relay.answer("data", mail.raw)
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.relay.read = append(s.relay.read, mail)
	switch {
	case s.relay.hangUp:
		return s.conn.Conn().Close()
	case answer == nil:
		s.relay.taken = append(s.relay.taken, mail)
	}
	return answer
}

// relayed is the program with a relay and a clock that are told what to do.
type relayed struct {
	*app
	t     *testing.T
	relay *relayScript
	now   time.Time
}

// startRelayed has a file with some rows be decided by the program. Two want to have its
// report.
func startRelayed(t *testing.T, rows int) *relayed {
	t.Helper()
	drop := t.TempDir()
	r := &relayed{t: t, relay: newRelayScript(t), now: time.Now()}
	r.app = startApp(t, configOf(t, fmt.Sprintf(`
store: calltally.db
accounts: [{id: "23", region: US, report_to: [ops@acme.example, cfo@acme.example], wait_for_calls: 0s, match: {lookback: 0s}, payouts: [{percent: 10}]}]
sources: [{name: drop, kind: folder, path: "%s", account: "23", settle: 1ms}]
replies: {smtp: "smtp://%s?tls=off", from: "Uploads <uploads@calltally.example>"}
`, drop, r.relay.address)))
	r.worker.Now = func() time.Time { return r.now }
	importTestCalls(t, r.app, rows)
	if err := os.WriteFile(filepath.Join(drop, "orders.csv"), testUpload(rows, 1), 0o666); err != nil {
		t.Fatal(err)
	}
	return r
}

// work does all there is to do after a while and says what went wrong.
func (r *relayed) work(after time.Duration) string {
	r.now = r.now.Add(after)
	if err := r.worker.RunOnce(r.t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

// undelivered are the reports that are given up, and why.
func (r *relayed) undelivered() (why []string) {
	r.t.Helper()
	all, err := r.store.Undelivered(r.t.Context(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, one := range all {
		why = append(why, one.Why)
	}
	return why
}

// always has a relay answer a step so, each time.
func always(step string, with error) func(string, string) error {
	return func(at, _ string) error {
		if at == step {
			return with
		}
		return nil
	}
}

// A relay that puts reports off is asked again for five days, less and less often.
func putOff(t *testing.T, step string, with error) {
	r := startRelayed(t, 3)
	r.relay.set(always(step, with))
	if said := r.work(0); !strings.Contains(said, "not this one") {
		t.Fatalf("it said %q", said)
	}
	for range 3 {
		r.work(10 * time.Minute)
	}
	r.relay.set(nil)
	r.work(6 * time.Hour)
	if len(r.relay.taken) != 1 || len(r.undelivered()) > 0 {
		t.Errorf("once it takes letters, it has %d; given up: %q", len(r.relay.taken), r.undelivered())
	}

	r = startRelayed(t, 3)
	r.relay.set(always(step, with))
	r.work(0)
	const look = 15 * time.Minute
	var tries []time.Duration
	for since := look; since < 8*24*time.Hour; since += look {
		before := r.relay.count()
		r.now = r.now.Add(look)
		_ = r.worker.ReplyAll(t.Context()) // what it says is the relay's answer
		if r.relay.count() > before {
			tries = append(tries, since)
		}
	}
	last, gap := time.Duration(0), time.Duration(0)
	for _, at := range tries {
		if at-last+look < gap || at-last > 6*time.Hour+look {
			t.Errorf("tried after %s and then after %s", last, at)
		}
		last, gap = at, at-last
	}
	if last < 5*24*time.Hour || last > 5*24*time.Hour+6*time.Hour+look || len(tries) > 40 {
		t.Errorf("tried %d times, the last after %s", len(tries), last)
	}
	if why := r.undelivered(); len(why) != 1 || !strings.Contains(why[0], "not this one") {
		t.Errorf("given up: %q", why)
	}
}

// What a relay refuses for good is given up at once, and told.
func refusedForGood(t *testing.T, step string, with error) {
	r := startRelayed(t, 3)
	r.relay.set(always(step, with))
	if said := r.work(0); !strings.Contains(said, "550") {
		t.Errorf("it said %q", said)
	}
	for range 10 {
		if said := r.work(24 * time.Hour); said != "" {
			t.Errorf("it said %q again", said)
		}
	}
	if n, why := r.relay.count(), r.undelivered(); n != 1 || len(why) != 1 || !strings.Contains(why[0], "550") {
		t.Errorf("it was tried %d times; given up: %q", n, why)
	}
}

// A letter that a relay finds too large is sent without its files, and says where they are.
func tooLargeForTheRelay(t *testing.T) {
	r := startRelayed(t, 600)
	r.relay.set(func(step, raw string) error {
		if step == "data" && len(raw) > 20_000 {
			return &smtp.SMTPError{Code: 552, Message: "too large"}
		}
		return nil
	})
	if said := r.work(0); said != "" {
		t.Error(said)
	}
	if len(r.relay.read) != 2 || len(r.relay.taken) != 1 {
		t.Fatalf("it has read %d letters and taken %d", len(r.relay.read), len(r.relay.taken))
	}
	answer, err := readAnswer([]byte(r.relay.taken[0].raw))
	if err != nil || len(answer.files) > 0 || !strings.HasPrefix(answer.text, "600 rows: 600 created\n") || !strings.Contains(answer.text, "results/orders.results.csv") {
		t.Errorf("%v: %d files, and the text says %q", err, len(answer.files), answer.text)
	}
	if said := r.work(24 * time.Hour); said != "" || len(r.relay.read) != 2 {
		t.Errorf("later, it said %q and sent %d letters", said, len(r.relay.read)-2)
	}
}

// A connection that breaks before the relay's last answer leaves unknown who has the letter:
// the same is sent again.
func cutAfterTheDot(t *testing.T) {
	r := startRelayed(t, 3)
	r.relay.hangUp = true
	if said := r.work(0); said == "" {
		t.Error("nothing was noticed")
	}
	r.relay.set(nil)
	if said := r.work(time.Hour); said != "" {
		t.Error(said)
	}
	if read := r.relay.read; len(read) != 2 || read[0].raw != read[1].raw || !slices.Equal(read[0].to, read[1].to) {
		t.Errorf("%d letters were sent, or they differ: %+v", len(read), read)
	}
	if said := r.work(24 * time.Hour); said != "" || len(r.relay.read) != 2 {
		t.Errorf("later, it said %q and sent %d letters", said, len(r.relay.read)-2)
	}
}

// One of two recipients is refused: the other has the report, once.
func oneRefused(t *testing.T, with error) {
	const ops, cfo = "ops@acme.example", "cfo@acme.example"
	r := startRelayed(t, 3)
	r.relay.set(func(step, to string) error {
		if step == "rcpt" && to == ops {
			return with
		}
		return nil
	})
	postings := func() (all []string) {
		noted, err := r.store.Postings(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range noted {
			all = append(all, strings.TrimSpace(p.Recipient+" "+p.Refusal))
		}
		slices.Sort(all)
		return all
	}
	want, later := []string{cfo, ops + " SMTP error 550: not this one"}, 1
	refusal := (*smtp.SMTPError)(nil)
	if errors.As(with, &refusal) && refusal.Temporary() {
		want, later = []string{cfo}, 2
	}
	r.work(0)
	if got := postings(); !slices.Equal(got, want) {
		t.Errorf("noted is %q, want %q", got, want)
	}
	r.relay.set(nil)
	for range 3 {
		if said := r.work(7 * time.Hour); said != "" {
			t.Error(said)
		}
	}
	if len(r.relay.taken) != later || !slices.Equal(r.relay.taken[0].to, []string{cfo}) {
		t.Fatalf("%d letters were sent, the first to %q", len(r.relay.taken), r.relay.taken[0].to)
	}
	if later == 1 {
		return
	}
	if second := r.relay.taken[1]; !slices.Equal(second.to, []string{ops}) || second.raw != r.relay.taken[0].raw || !slices.Equal(postings(), []string{cfo, ops}) {
		t.Errorf("the second was sent to %q, noted is %q; or it differs", second.to, postings())
	}
}
