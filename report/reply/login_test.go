package reply_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"calltally/report"
	"calltally/report/reply"
)

// guarded is a relay that lets in whoever shows a password.
type guarded struct {
	relay

	mu    sync.Mutex
	shown []string // the passwords, marked if anybody could read them on their way
}

func (g *guarded) NewSession(conn *smtp.Conn) (smtp.Session, error) {
	return &guardedSession{session{relay: &g.relay}, g, conn}, nil
}

type guardedSession struct {
	session
	of   *guarded
	conn *smtp.Conn
}

func (s *guardedSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *guardedSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, password string) error {
		s.of.mu.Lock()
		defer s.of.mu.Unlock()
		if _, secret := s.conn.TLSConnectionState(); !secret {
			password += " for all to read"
		}
		s.of.shown = append(s.of.shown, password)
		return nil
	}), nil
}

// A relay is shown the password once nobody else can read it, and once it has shown that it is
// the one that is meant.
func TestNoPasswordToARelayWithoutTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // only for its certificate
	t.Cleanup(web.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	good := &tls.Config{RootCAs: trusted, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	unknown := &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	for _, test := range []struct {
		name             string
		implicit, speaks bool // speaks TLS: the relay
		config           *tls.Config
		want             []string
	}{
		{"TLS from the start", true, true, good, []string{"s3cret"}},
		{"STARTTLS", false, true, good, []string{"s3cret"}},
		{"TLS from the start, with a certificate that nobody vouches for", true, true, unknown, nil},
		{"STARTTLS, with a certificate that nobody vouches for", false, true, unknown, nil},
		{"TLS from the start is not spoken", true, false, good, nil},
		{"STARTTLS is not known", false, false, good, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := &guarded{}
			s := g.listen(t, test.implicit, test.speaks, &tls.Config{Certificates: web.TLS.Certificates})
			s.TLS, s.Implicit, s.User, s.Password = test.config, test.implicit, "box", "s3cret"
			_, err := s.Send(t.Context(), letter())
			g.mu.Lock()
			defer g.mu.Unlock()
			if (err == nil) != (test.want != nil) || !slices.Equal(g.shown, test.want) || len(g.taken) != len(test.want) {
				t.Errorf("shown %q, %d mails taken, error %v; want %q", g.shown, len(g.taken), err, test.want)
			}
		})
	}
}

func (g *guarded) listen(t *testing.T, implicit, speaks bool, config *tls.Config) *reply.Sender {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(g)
	server.AllowInsecureAuth = true // it is ours to know better
	server.ErrorLog = quiet{}
	s := sender()
	s.Address, s.Hello = listener.Addr().String(), "localhost"
	switch {
	case speaks && implicit:
		listener = tls.NewListener(listener, config)
	case speaks:
		server.TLSConfig = config
	}
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// A report is sent by nobody, so that no bounce answers it; a relay that insists gets an
// address.
func TestNoBounceAnswersAReport(t *testing.T) {
	for _, insists := range []bool{false, true} {
		r := &relay{insists: insists}
		if _, err := r.listen(t, 0).Send(t.Context(), letter(func(*report.Letter) {})); err != nil {
			t.Fatal(err)
		}
		want := []string{""}
		if insists {
			want = append(want, "uploads@calltally.example")
		}
		if !slices.Equal(r.senders, want) {
			t.Errorf("sent by %q, want %q", r.senders, want)
		}
	}
}
