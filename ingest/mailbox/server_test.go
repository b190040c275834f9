package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"calltally/conversion"
	"calltally/ingest"
)

const (
	testUser     = "uploads@tally.example"
	testPassword = "geheim-4711"
)

// server is an IMAP server inside the process whose commands can be made to
// fail.
type server struct {
	address string
	user    *imapmemserver.User

	mu   sync.Mutex
	done []string
	// fail says with which error a command fails; nil if it does not. It may be
	// nil itself.
	fail func(command string) error
}

// errNo is what a server says that can't do a thing.
var errNo = &imap.Error{Type: imap.StatusResponseTypeNo, Text: "not today"}

// newServer starts a server with some capabilities and an empty INBOX.
func newServer(t *testing.T, capabilities ...imap.Cap) *server {
	t.Helper()
	return newServerFor(t, testPassword, capabilities...)
}

func newServerFor(t *testing.T, password string, capabilities ...imap.Cap) *server {
	t.Helper()
	s := &server{user: imapmemserver.NewUser(testUser, password)}
	if err := s.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	s.address = s.serve(t, true, capabilities)
	return s
}

// serve starts a door to the server's mails; only what goes through a watched
// door is noted and made to fail.
func (s *server) serve(t *testing.T, watched bool, capabilities []imap.Cap) string {
	t.Helper()
	caps := imap.CapSet{imap.CapIMAP4rev1: {}}
	for _, c := range capabilities {
		caps[c] = struct{}{}
	}
	imapServer := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			var session imapserver.Session = imapmemserver.NewUserSession(s.user)
			if watched {
				session = &watchedSession{imapmemserver.NewUserSession(s.user), s}
			}
			return session, nil, nil
		},
		Caps: caps, InsecureAuth: true, Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go imapServer.Serve(listener) //nolint:errcheck // it ends when the server is closed
	t.Cleanup(func() { imapServer.Close() })
	return listener.Addr().String()
}

// note notes a command and says whether it fails.
func (s *server) note(command string) error {
	s.mu.Lock()
	s.done = append(s.done, command)
	fail := s.fail
	s.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(command)
}

// failing makes some commands fail.
func (s *server) failing(commands ...string) {
	s.failWith(func(command string) error {
		if slices.Contains(commands, command) {
			return errNo
		}
		return nil
	})
}

func (s *server) failWith(fail func(command string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// commands returns the commands so far.
func (s *server) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.done)
}

// watchedSession notes what is asked of the server.
type watchedSession struct {
	*imapmemserver.UserSession
	server *server
}

func (s *watchedSession) Fetch(w *imapserver.FetchWriter, uids imap.NumSet, options *imap.FetchOptions) error {
	what := "fetch size"
	for _, section := range options.BodySection {
		what = "fetch mail"
		if section.Specifier == imap.PartSpecifierHeader {
			what = "fetch header"
		}
		if !section.Peek {
			what += " and mark it read"
		}
	}
	all, _ := uids.(imap.UIDSet).Nums()
	for _, uid := range all {
		if err := s.server.note(fmt.Sprint(what, " ", uid)); err != nil {
			return err
		}
	}
	return s.UserSession.Fetch(w, uids, options)
}

func (s *watchedSession) Store(w *imapserver.FetchWriter, uids imap.NumSet, flags *imap.StoreFlags, options *imap.StoreOptions) error {
	names := make([]string, len(flags.Flags))
	for i, flag := range flags.Flags {
		names[i] = strings.ToLower(string(flag))
	}
	if err := s.server.note("store " + strings.Join(names, " ")); err != nil {
		return err
	}
	return s.UserSession.Store(w, uids, flags, options)
}

func (s *watchedSession) Create(folder string, options *imap.CreateOptions) error {
	if err := s.server.note("create " + folder); err != nil {
		return err
	}
	return s.UserSession.Create(folder, options)
}

func (s *watchedSession) Copy(uids imap.NumSet, folder string) (*imap.CopyData, error) {
	if err := s.server.note("copy to " + folder); err != nil {
		return nil, err
	}
	return s.UserSession.Copy(uids, folder)
}

func (s *watchedSession) Move(w *imapserver.MoveWriter, uids imap.NumSet, folder string) error {
	if err := s.server.note("move to " + folder); err != nil {
		return err
	}
	return s.UserSession.Move(w, uids, folder)
}

func (s *watchedSession) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	what := "expunge all that is deleted"
	if uids != nil {
		what = "expunge " + uids.String()
	}
	if err := s.server.note(what); err != nil {
		return err
	}
	return s.UserSession.Expunge(w, uids)
}

// Idle first tells of what happened before, as real servers do.
func (s *watchedSession) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	if err := s.Poll(w, true); err != nil {
		return err
	}
	return s.UserSession.Idle(w, stop)
}

// put puts a mail into a folder.
func (s *server) put(t *testing.T, folder, raw string, flags ...imap.Flag) {
	t.Helper()
	if _, err := s.user.Append(folder, literal{strings.NewReader(raw)}, &imap.AppendOptions{Time: time.Now(), Flags: flags}); err != nil {
		t.Fatal(err)
	}
}

type literal struct{ *strings.Reader }

func (l literal) Size() int64 { return l.Reader.Size() }

// keep is a mail as it lies in a folder.
type keep struct {
	raw   string
	flags []imap.Flag
}

// folder returns the mails of a folder; nil if there is no such folder.
func (s *server) folder(t *testing.T, folder string) []keep {
	t.Helper()
	client, err := imapclient.DialInsecure(s.serve(t, false, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Login(testUser, testPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return folderOf(t, client, folder)
}

func folderOf(t *testing.T, client *imapclient.Client, folder string) []keep {
	t.Helper()
	selected, err := client.Select(folder, nil).Wait()
	if err != nil || selected.NumMessages == 0 {
		return nil
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	messages, err := client.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Flags: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var keeps []keep
	for _, m := range messages {
		keeps = append(keeps, keep{string(m.FindBodySection(whole)), m.Flags})
	}
	return keeps
}

// flagged reports whether a mail has a flag, in whatever case.
func (k keep) flagged(flag imap.Flag) bool {
	return slices.ContainsFunc(k.flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), string(flag)) })
}

// mailboxOf is a mailbox whose mails are at an address without TLS.
func mailboxOf(t *testing.T, address string) *Mailbox {
	t.Helper()
	m := &Mailbox{
		Label: "uploads", Server: Server{Address: address, Plain: true, User: testUser, Password: testPassword},
		Folder: "INBOX", Account: "23", MaxBytes: 1 << 20, Idle: true, Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
		Now: time.Now, Vouchers: Vouchers{Allows: anybody},
	}
	t.Cleanup(m.Close)
	return m
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

// seen is a delivery that was yielded, with its content.
type seen struct {
	*ingest.Delivery
	content string
}

// verdict is what a test makes of a delivery.
type verdict func(d *ingest.Delivery) (ingest.Disposition, bool)

func accept(*ingest.Delivery) (ingest.Disposition, bool) { return ingest.Accepted, true }
func refuse(*ingest.Delivery) (ingest.Disposition, bool) { return ingest.Refused, true }
func ignore(*ingest.Delivery) (ingest.Disposition, bool) { return 0, false }

// poll looks once at a mailbox, acknowledges its deliveries and returns them.
func poll(ctx context.Context, t *testing.T, m *Mailbox, judge verdict) (deliveries []seen, err error) {
	t.Helper()
	for d, failure := range m.Deliveries(ctx) {
		if failure != nil {
			err = errors.Join(err, failure)
			continue
		}
		deliveries = append(deliveries, seen{d, contentOf(t, d)})
		if disposition, ack := judge(d); ack {
			if err := d.Ack(ctx, disposition); err != nil {
				t.Errorf("acknowledge %s: %v", d.Origin, err)
			}
		}
	}
	return deliveries, err
}

func contentOf(t *testing.T, d *ingest.Delivery) string {
	t.Helper()
	in, err := d.Open()
	if err != nil {
		t.Errorf("open %s: %v", d.Name, err)
		return ""
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	if err != nil {
		t.Errorf("read %s: %v", d.Name, err)
	}
	return string(content)
}

// mustPoll is a poll without failures that accepts everything.
func mustPoll(t *testing.T, m *Mailbox) []seen {
	t.Helper()
	deliveries, err := poll(t.Context(), t, m, accept)
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

// names are the deliveries' names with the codes of their refusals.
func names(deliveries []seen) []string {
	found := make([]string, len(deliveries))
	for i, d := range deliveries {
		found[i] = d.Name
		if d.Refusal != nil {
			found[i] += ": " + string(d.Refusal.Code)
		}
	}
	return found
}

func wantNames(t *testing.T, deliveries []seen, want ...string) {
	t.Helper()
	if got := names(deliveries); !slices.Equal(got, want) {
		t.Errorf("%q were delivered, not %q", got, want)
	}
}

// ordersMail is a mail with one file; salesMail another.
var (
	ordersMail = mixed(text, attached("text/csv", "orders.csv", orders))
	salesMail  = mixed(text, attached("text/csv", "sales.csv", sales))
)

var tooLarge = string(conversion.TooLarge)
