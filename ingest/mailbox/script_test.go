package mailbox

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// script is a server with one mail that says what it is told to. Its ordinary
// answers can be replaced, step by step.
type script struct {
	capabilities string // "IMAP4rev1 IDLE MOVE UIDPLUS" if empty
	answers      map[string]answer

	mu    sync.Mutex
	lines strings.Builder
}

// answer is what the server says to a command; $T stands for the command's tag.
type answer struct {
	text   string
	then   string        // "" to go on, "silence" or "hang up"
	slowly time.Duration // how long to take; nothing comes for a tenth of it at most
}

var silence = answer{then: "silence"}

func (s *script) caps() string {
	if s.capabilities == "" {
		return "IMAP4rev1 IDLE MOVE UIDPLUS"
	}
	return s.capabilities
}

// listen serves on a free port.
func (s *script) listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return listener.Addr().String()
}

func (s *script) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	step, tag, idleTag := "greeting", "*", ""
	for {
		a := s.answer(step)
		if err := a.say(conn, tag); err != nil || a.then == "hang up" {
			return
		}
		if a.then == "silence" { // what is sent goes nowhere
			s.drain(in)
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		s.receive(line)
		fields := append(strings.Fields(line), "", "", "", "")
		tag, step = fields[0], fields[1]
		switch {
		case fields[0] == "DONE":
			tag, step = idleTag, "DONE"
		case step == "IDLE":
			idleTag = tag
		case step == "UID" && fields[2] == "FETCH" && strings.Contains(line, "RFC822.SIZE"):
			step = "SIZE"
		case step == "UID" && fields[2] == "FETCH":
			step = "BODY"
		case step == "UID":
			step = fields[2]
		}
	}
}

func (a answer) say(to io.Writer, tag string) error {
	text := strings.ReplaceAll(a.text, "$T", tag)
	for i := 10; i > 0; i-- {
		time.Sleep(a.slowly / 10)
		piece := text[:len(text)/i]
		if _, err := io.WriteString(to, piece); err != nil {
			return err
		}
		text = text[len(piece):]
	}
	return nil
}

func (s *script) drain(in *bufio.Reader) {
	for {
		line, err := in.ReadString('\n')
		s.receive(line)
		if err != nil {
			return
		}
	}
}

func (s *script) answer(step string) answer {
	if a, ok := s.answers[step]; ok {
		return a
	}
	const done = "$T OK done\r\n"
	switch step {
	case "greeting":
		return answer{text: "* OK [CAPABILITY " + s.caps() + "] ready\r\n"}
	case "LOGIN":
		return answer{text: "$T OK [CAPABILITY " + s.caps() + "] welcome\r\n"}
	case "CAPABILITY":
		return answer{text: "* CAPABILITY " + s.caps() + "\r\n" + done}
	case "SELECT":
		return answer{text: "* FLAGS (\\Seen \\Deleted)\r\n* 1 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 2] ok\r\n$T OK [READ-WRITE] done\r\n"}
	case "SEARCH":
		return answer{text: "* SEARCH 1\r\n" + done}
	case "SIZE":
		return answer{text: fmt.Sprintf("* 1 FETCH (UID 1 RFC822.SIZE %d)\r\n", len(ordersMail)) + done}
	case "BODY":
		return whole
	case "IDLE":
		return answer{text: "+ idling\r\n"}
	case "STARTTLS":
		return answer{text: "$T BAD unknown command\r\n"}
	}
	return answer{text: done}
}

func (s *script) receive(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines.WriteString(line)
}

// received is everything that clients sent.
func (s *script) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

func TestScriptedServerAnswersAsServersDo(t *testing.T) {
	for _, capabilities := range []string{"IMAP4rev1 IDLE MOVE UIDPLUS", "IMAP4rev1 UIDPLUS", "IMAP4rev1"} {
		t.Run(capabilities, func(t *testing.T) {
			s := &script{capabilities: capabilities}
			deliveries := mustPoll(t, mailboxOf(t, s.listen(t)))
			wantNames(t, deliveries, "orders.csv")
		})
	}
}

// whole is the mail as it is fetched.
var whole = answer{text: body + "$T OK done\r\n"}

var body = fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n%s)\r\n", len(ordersMail), ordersMail)

// half is the beginning of the mail's literal, which promises all of it.
var half = fmt.Sprintf("* 1 FETCH (UID 1 BODY[] {%d}\r\n%s", len(ordersMail), ordersMail[:len(ordersMail)/2])

func TestOddAnswersToAFetch(t *testing.T) {
	const done = "$T OK done\r\n"
	for _, c := range []struct {
		name    string
		step    string
		answer  answer
		want    []string
		failure bool
	}{
		{name: "the mail is gone: no answer to its size", step: "SIZE", answer: answer{text: done}},
		{name: "the mail is gone: no answer to its body", step: "BODY", answer: answer{text: done}},
		{name: "the mail is gone: no body", step: "BODY", answer: answer{text: "* 1 FETCH (UID 1 BODY[] NIL)\r\n" + done}},
		{name: "something else is told as well", step: "BODY", answer: answer{text: "* 2 EXISTS\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (UID 1 BODY[] {" + fmt.Sprint(len(ordersMail)) + "}\r\n" + ordersMail + ")\r\n* 2 FETCH (FLAGS ())\r\n" + done}, want: []string{"orders.csv"}},
		{name: "a mail without bytes", step: "BODY", answer: answer{text: "* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n" + done}, want: []string{"mail.eml: no_attachment"}},
		{name: "a mail as a quoted string", step: "BODY", answer: answer{text: "* 1 FETCH (UID 1 BODY[] \"Subject: x\")\r\n" + done}, want: []string{"mail.eml: no_attachment"}},
		{name: "the size was an estimate", step: "SIZE", answer: answer{text: "* 1 FETCH (UID 1 RFC822.SIZE 12)\r\n" + done}, want: []string{"orders.csv"}},
		{name: "a person marks a large mail meanwhile", step: "SIZE", answer: answer{text: "* 1 FETCH (UID 1 RFC822.SIZE 99999999)\r\n* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n" + done}, want: []string{"mail.eml: " + tooLarge}},
		{name: "a mail whose size can't be learned is not fetched blindly", step: "SIZE", answer: answer{text: "* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n* 1 FETCH (UID 1 RFC822.SIZE 99999999)\r\n" + done}, failure: true},
		{name: "cut within the literal", step: "BODY", answer: answer{text: half, then: "hang up"}, failure: true},
		{name: "cut after the literal", step: "BODY", answer: answer{text: strings.TrimSuffix(body, ")\r\n"), then: "hang up"}, failure: true},
		{name: "cut before the last word", step: "BODY", answer: answer{text: body, then: "hang up"}, failure: true},
		{name: "a whole mail, then NO", step: "BODY", answer: answer{text: body + "$T NO sorry\r\n"}, failure: true},
		{name: "nonsense", step: "BODY", answer: answer{text: "* 1 FETCH (UID 1 BODY[] {x}\r\n"}, failure: true},
		{name: "a search for all numbers", step: "SEARCH", answer: answer{text: "* ESEARCH (TAG \"$T\") UID ALL 1:*\r\n" + done}, failure: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{answers: map[string]answer{c.step: c.answer}}
			m := mailboxOf(t, s.listen(t))
			var deliveries []seen
			var err error
			noPanic(t, func() { deliveries, err = poll(t.Context(), t, m, accept) })
			if (err != nil) != c.failure {
				t.Errorf("the poll ended with the error %v", err)
			}
			wantNames(t, deliveries, c.want...)
			if lines := s.received(); len(c.want) == 0 && strings.Contains(lines, "UID MOVE") {
				t.Errorf("a mail that nobody has seen was put away: %s", lines)
			}
		})
	}
}

// blackHoles are the moments at which a server may fall silent.
var blackHoles = map[string]map[string]answer{
	"at SELECT":                   {"SELECT": silence},
	"at the search":               {"SEARCH": silence},
	"at the mail's size":          {"SIZE": silence},
	"before the mail":             {"BODY": silence},
	"within the mail":             {"BODY": {text: half, then: "silence"}},
	"behind the mail":             {"BODY": {text: body, then: "silence"}},
	"at MOVE":                     {"MOVE": silence},
	"at making a folder":          {"MOVE": {text: "$T NO no such folder\r\n"}, "CREATE": silence},
	"at marking the mail":         {"MOVE": {text: "$T NO no\r\n"}, "CREATE": {text: "$T NO no\r\n"}, "STORE": silence},
	"within a line of the search": {"SEARCH": {text: "* SEA", then: "silence"}},
}

func TestABlackHoleEndsWithTheContext(t *testing.T) {
	holes := map[string]map[string]answer{
		"at the greeting":    {"greeting": silence},
		"at the login":       {"LOGIN": silence},
		"after the greeting": {"LOGIN": silence, "CAPABILITY": silence},
	}
	for name, answers := range blackHoles {
		holes[name] = answers
	}
	for name, answers := range holes {
		t.Run(name, func(t *testing.T) {
			s := &script{answers: answers}
			m := mailboxOf(t, s.listen(t))
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			began := time.Now()
			_, err := poll(ctx, t, m, accept)
			if took := time.Since(began); err == nil || took > 3*time.Second {
				t.Errorf("the poll ended after %s with the error %v", took, err)
			}
		})
	}
}

// A server that falls silent is given up within a minute, so that a connection
// of which only our half is open delays nothing for longer. The clock here is
// not the real one.
func TestABlackHoleEndsByItself(t *testing.T) {
	const patience = time.Minute + 15*time.Second // a minute, and a little
	for name, answers := range blackHoles {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := connected(t, &script{answers: answers})
				began := time.Now()
				_, err := poll(t.Context(), t, m, accept)
				took := time.Since(began)
				if err == nil {
					t.Error("the poll ended without an error")
				}
				if took > patience {
					t.Errorf("the poll ended only after %s: %v", took, err)
				}
				if took < 5*time.Second {
					t.Errorf("the poll ended after %s already: a slow server has no chance: %v", took, err)
				}
			})
		})
	}
	t.Run("at the greeting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			client, server := net.Pipe()
			go (&script{answers: map[string]answer{"greeting": silence}}).serve(server)
			c := &conn{woken: make(chan struct{}, 1)}
			err := c.greet(t.Context(), client, Server{Plain: true})
			client.Close()
			if took := time.Since(began); err == nil || took > patience {
				t.Errorf("it ended after %s with the error %v", took, err)
			}
		})
	})
	t.Run("between two polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := connected(t, &script{answers: map[string]answer{"NOOP": silence}})
			began := time.Now()
			if m.conn.alive(t.Context()) {
				t.Error("a silent server is thought to be alive")
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("that was noticed only after %s", took)
			}
		})
	})
}

// A mail that arrives slowly but steadily is not given up before its time.
func TestASlowMailIsFetched(t *testing.T) {
	for _, takes := range []time.Duration{time.Minute, 4 * time.Minute, 9 * time.Minute} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mail := whole
				mail.slowly = takes
				deliveries, err := poll(t.Context(), t, connected(t, &script{answers: map[string]answer{"BODY": mail}}), accept)
				if err != nil {
					t.Fatal(err)
				}
				wantNames(t, deliveries, "orders.csv")
			})
		})
	}
}

// connected is a mailbox with a session that is logged in already, on a pipe
// inside the process.
func connected(t *testing.T, s *script) *Mailbox {
	t.Helper()
	client, server := net.Pipe()
	ended := make(chan struct{})
	go func() { s.serve(server); close(ended) }()
	t.Cleanup(func() { <-ended }) // after the mailbox was closed
	m := mailboxOf(t, "")
	m.conn = loggedIn(t, client)
	return m
}

func loggedIn(t *testing.T, raw net.Conn) *conn {
	t.Helper()
	c := &conn{woken: make(chan struct{}, 1)}
	if err := c.greet(t.Context(), raw, Server{Plain: true}); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Login(testUser, testPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// The program must be able to end although a server is silent.
func TestWakeEndsSoonAlthoughTheServerIsSilent(t *testing.T) {
	for name, answers := range map[string]map[string]answer{
		"before IDLE": {"IDLE": silence},
		"during IDLE": {"IDLE": {text: "+ idling\r\n", then: "silence"}},
		"after IDLE":  {"DONE": silence},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := connected(t, &script{answers: answers})
				ctx, cancel := context.WithCancel(t.Context())
				woken := wake(ctx, m)
				time.Sleep(20 * time.Second)
				cancel()
				ended := time.Now()
				<-woken
				if took := time.Since(ended); took > 10*time.Second {
					t.Errorf("it waited for another %s", took)
				}
			})
		})
	}
}

// A server that tells of nothing, or that has long forgotten us, is looked at again after
// nine minutes, however long nobody asks for it; then it is seen whether it is still there.
func TestIdleEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := connected(t, &script{})
		for range 4 { // more than the half an hour after which servers hang up
			began := time.Now()
			if err := m.Wake(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 8*time.Minute || took > 10*time.Minute {
				t.Errorf("it waited for %s", took)
			}
			if _, err := poll(t.Context(), t, m, accept); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A connection that was good and is lost in IDLE has us look at once, however long it is
// until the mailbox is due; one that is never good doesn't, or it would be asked for ever.
func TestAConnectionThatIsLostInIdle(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]answer
		again   bool
	}{
		"nothing comes any more": {map[string]answer{"DONE": silence}, true},
		"it ends at once":        {map[string]answer{"IDLE": {text: "+ idling\r\n", then: "hang up"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := connected(t, &script{answers: c.answers})
				began := time.Now()
				err := m.Wake(t.Context())
				if took := time.Since(began); took > 10*time.Minute || c.again != (err == nil) {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

func TestWakeWithoutIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{capabilities: "IMAP4rev1 MOVE"}
		m := connected(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		m.Wake(ctx) //nolint:errcheck // either answer is good
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it waited for %s, not for a minute", took)
		}
		if strings.Contains(s.received(), "IDLE") {
			t.Error("IDLE was asked of a server that has none")
		}
	})
}

func TestNoPasswordWithoutTLS(t *testing.T) {
	for _, c := range []struct {
		name     string
		startTLS bool
		answers  map[string]answer
	}{
		{"STARTTLS is not known", true, nil},
		{"STARTTLS is refused", true, map[string]answer{"STARTTLS": {text: "$T NO not now\r\n"}}},
		{"STARTTLS is agreed to, but no TLS follows", true, map[string]answer{"STARTTLS": {text: "$T OK go on\r\n* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] welcome\r\n"}}},
		{"the server says that we are logged in already", true, map[string]answer{"greeting": {text: "* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n"}}},
		{"the server logs us in, then agrees to STARTTLS", true, map[string]answer{"greeting": {text: "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome\r\n"}, "STARTTLS": {text: "$T OK go on\r\n* OK welcome\r\n"}}},
		{"the server hangs up at STARTTLS", true, map[string]answer{"STARTTLS": {then: "hang up"}}},
		{"TLS from the start is not spoken", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{answers: c.answers}
			m := mailboxOf(t, s.listen(t))
			m.Server.Plain, m.Server.StartTLS, m.Server.TLS = false, c.startTLS, &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			deliveries, err := poll(ctx, t, m, accept)
			if err == nil || len(deliveries) > 0 {
				t.Errorf("%q were delivered, with the error %v", names(deliveries), err)
			}
			if ctx.Err() != nil {
				t.Error("it took 5 s: it was not noticed, but timed out")
			}
			checkNoSecret(t, s.received())
		})
	}
}

func checkNoSecret(t *testing.T, sent string) {
	t.Helper()
	for _, secret := range []string{testPassword, " LOGIN ", " AUTHENTICATE "} {
		if strings.Contains(sent, secret) {
			t.Errorf("%q went over the wire: %q", secret, sent)
		}
	}
}

func TestTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // only for its certificate
	t.Cleanup(web.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	for _, c := range []struct {
		name     string
		startTLS bool
		config   *tls.Config
		want     bool
	}{
		{"from the start", false, &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}, true},
		{"by STARTTLS", true, &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1"}, true},
		{"from the start, with a certificate that nobody vouches for", false, &tls.Config{ServerName: "127.0.0.1"}, false},
		{"by STARTTLS, with a certificate that nobody vouches for", true, &tls.Config{ServerName: "127.0.0.1"}, false},
		{"from the start, with another server's certificate", false, &tls.Config{RootCAs: trusted, ServerName: "mail.tally.example"}, false},
		{"by STARTTLS, with another server's certificate", true, &tls.Config{RootCAs: trusted, ServerName: "mail.tally.example"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.put(t, "INBOX", ordersMail)
			var log logged
			m := mailboxOf(t, s.secure(t, &tls.Config{Certificates: web.TLS.Certificates}, c.startTLS, &log))
			m.Server.Plain, m.Server.StartTLS, m.Server.TLS = false, c.startTLS, c.config
			deliveries, err := poll(t.Context(), t, m, accept)
			if c.want {
				if err != nil {
					t.Fatal(err)
				}
				wantNames(t, deliveries, "orders.csv")
				return
			}
			if err == nil || len(deliveries) > 0 {
				t.Errorf("%q were delivered, with the error %v", names(deliveries), err)
			}
			checkNoSecret(t, log.String())
		})
	}
}

// logged is everything that passes a server, in plain text.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// secure opens a door with TLS to the server's mails.
func (s *server) secure(t *testing.T, config *tls.Config, startTLS bool, log io.Writer) string {
	t.Helper()
	imapServer := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return imapmemserver.NewUserSession(s.user), nil, nil
		},
		Caps: imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapMove: {}}, TLSConfig: config, DebugWriter: log,
		Logger: discard{},
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if !startTLS {
		listener = tls.NewListener(listener, config)
	}
	go imapServer.Serve(listener) //nolint:errcheck // it ends when the server is closed
	t.Cleanup(func() { imapServer.Close() })
	return listener.Addr().String()
}

type discard struct{}

func (discard) Printf(string, ...any) {}

func TestPasswordsOfAllCharacters(t *testing.T) {
	for _, password := range []string{`a"b\c`, "pass word", "pässwörd", "{5}", "a%b*c(d)"} {
		t.Run(password, func(t *testing.T) {
			s := newServerFor(t, password, imap.CapMove)
			s.put(t, "INBOX", ordersMail)
			m := mailboxOf(t, s.address)
			m.Server.Password = password
			wantNames(t, mustPoll(t, m), "orders.csv")
			if !slices.Contains(s.commands(), "fetch mail 1") {
				t.Error("the mail was not fetched")
			}
		})
	}
}
