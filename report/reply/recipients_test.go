package reply_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"calltally/report"
)

// relay is a mail relay that refuses some recipients.
type relay struct {
	refused map[string]int // address → SMTP code
	taken   [][]string     // recipients of each mail that it took
}

func (r *relay) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{relay: r}, nil }

type session struct {
	relay *relay
	to    []string
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Reset()                               { s.to = nil }
func (s *session) Logout() error                        { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if code := s.relay.refused[to]; code != 0 {
		return &smtp.SMTPError{Code: code, Message: "not here"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.relay.taken = append(s.relay.taken, s.to)
	return err
}

// A recipient who is refused for good keeps the report from nobody else; one who
// is put off has it tried again for all.
func TestRecipientsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused map[string]int
		taken   []string // nil if the mail is not sent
		logged  string
	}{
		{name: "nobody", taken: []string{"ann@acme.example", "ops@acme.example"}},
		{name: "one for good", refused: map[string]int{"ann@acme.example": 550}, taken: []string{"ops@acme.example"}, logged: "ann@acme.example"},
		{name: "the last for good", refused: map[string]int{"ops@acme.example": 553}, taken: []string{"ann@acme.example"}, logged: "ops@acme.example"},
		{name: "all for good", refused: map[string]int{"ann@acme.example": 550, "ops@acme.example": 550}},
		{name: "one for now", refused: map[string]int{"ann@acme.example": 451}},
		{name: "one for good, one for now", refused: map[string]int{"ann@acme.example": 550, "ops@acme.example": 451}},
	} {
		t.Run(test.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := &relay{refused: test.refused}
			server := smtp.NewServer(r)
			go server.Serve(listener) //nolint:errcheck // it ends with the test
			t.Cleanup(func() { server.Close() })
			var log bytes.Buffer
			s := sender()
			s.Address, s.Plain, s.Hello, s.Log = listener.Addr().String(), true, "localhost", slog.New(slog.NewTextHandler(&log, nil))
			err = s.Send(t.Context(), letter(func(*report.Letter) {}))
			if test.taken == nil {
				if reply := (*smtp.SMTPError)(nil); !errors.As(err, &reply) || len(r.taken) != 0 {
					t.Errorf("error %v, and %d mails were taken; want the relay's error and no mail", err, len(r.taken))
				}
				return
			}
			if err != nil || len(r.taken) != 1 || !slices.Equal(r.taken[0], test.taken) {
				t.Errorf("%v; taken for %q, want once for %q", err, r.taken, test.taken)
			}
			if test.logged == "" && log.Len() > 0 || !strings.Contains(log.String(), test.logged) {
				t.Errorf("the log says %q, want it to name %q", &log, test.logged)
			}
		})
	}
}

func TestAMailThatIsLargerThanTheRelayTakes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{}
	server := smtp.NewServer(r)
	server.MaxMessageBytes = 100_000
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	s := sender()
	s.Address, s.Plain, s.Hello = listener.Addr().String(), true, "localhost"
	for _, test := range []struct {
		size int
		fits bool
	}{{1, true}, {60_000, true}, {80_000, false}} {
		err := s.Send(t.Context(), letter(func(l *report.Letter) {
			file := attachment("a.csv", strings.Repeat("x", test.size))
			file.Size = int64(test.size)
			l.Attachments = []report.Attachment{file}
		}))
		if test.fits && err != nil || !test.fits && !errors.Is(err, report.ErrTooLarge) {
			t.Errorf("a file of %d bytes: %v", test.size, err)
		}
	}
	if len(r.taken) != 2 {
		t.Errorf("%d mails were taken, want 2", len(r.taken))
	}
}
