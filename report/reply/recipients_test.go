package reply_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"calltally/report"
	"calltally/report/reply"
)

// relay is a mail relay that refuses some recipients.
type relay struct {
	refused map[string]int // address → SMTP code
	after   int            // what it says against each mail that it has read; 0 to take it
	taken   [][]string     // recipients of each mail that it took
	insists bool           // on a sender
	senders []string       // that were named
}

func (r *relay) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{relay: r}, nil }

type session struct {
	relay *relay
	to    []string
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.relay.senders = append(s.relay.senders, from)
	if from == "" && s.relay.insists {
		return &smtp.SMTPError{Code: 550, Message: "say who you are"}
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if code := s.relay.refused[to]; code != 0 {
		return &smtp.SMTPError{Code: code, Message: "not here"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if s.relay.after != 0 {
		return &smtp.SMTPError{Code: s.relay.after, Message: "not this one"}
	}
	s.relay.taken = append(s.relay.taken, s.to)
	return err
}

// listen has a relay answer, and returns who sends by it.
func (r *relay) listen(t *testing.T, most int64) *reply.Sender {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(r)
	server.MaxMessageBytes = most
	go server.Serve(listener) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	s := sender()
	s.Address, s.Plain, s.Hello = listener.Addr().String(), true, "localhost"
	return s
}

// A recipient who is refused, for good or for now, keeps the report from nobody else.
func TestRecipientsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused map[string]int
		posted  string
		taken   []string // nil if the mail is not sent
	}{
		{"nobody", nil, "ann@acme.example ops@acme.example", []string{"ann@acme.example", "ops@acme.example"}},
		{"one for good", map[string]int{"ann@acme.example": 550}, "ann@acme.example!550 ops@acme.example", []string{"ops@acme.example"}},
		{"the last for good", map[string]int{"ops@acme.example": 553}, "ann@acme.example ops@acme.example!553", []string{"ann@acme.example"}},
		{"all for good", map[string]int{"ann@acme.example": 550, "ops@acme.example": 550}, "ann@acme.example!550 ops@acme.example!550", nil},
		{"one for now", map[string]int{"ann@acme.example": 451}, "ann@acme.example!451? ops@acme.example", []string{"ops@acme.example"}},
		{"one for good, one for now", map[string]int{"ann@acme.example": 550, "ops@acme.example": 451}, "ann@acme.example!550 ops@acme.example!451?", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &relay{refused: test.refused}
			posted, err := r.listen(t, 0).Send(t.Context(), letter(func(*report.Letter) {}))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, p := range posted {
				one := p.To
				if reply := (*smtp.SMTPError)(nil); errors.As(p.Refusal, &reply) {
					one += fmt.Sprint("!", reply.Code)
				}
				if p.Later {
					one += "?"
				}
				said = append(said, one)
			}
			if got := strings.Join(said, " "); got != test.posted {
				t.Errorf("posted %q, want %q", got, test.posted)
			}
			if test.taken == nil && len(r.taken) != 0 || test.taken != nil && (len(r.taken) != 1 || !slices.Equal(r.taken[0], test.taken)) {
				t.Errorf("taken for %q, want for %q", r.taken, test.taken)
			}
		})
	}
}

// Only some of those whom a letter names may still need it.
func TestTheEnvelopeNarrowsWhoGetsALetter(t *testing.T) {
	r := &relay{}
	s := r.listen(t, 0)
	l := letter(func(l *report.Letter) { l.Envelope = []string{"ops@acme.example"} })
	if _, err := s.Send(t.Context(), l); err != nil || len(r.taken) != 1 || !slices.Equal(r.taken[0], l.Envelope) {
		t.Errorf("taken for %q, %v", r.taken, err)
	}
}

// What a relay says once it knows the mail is for all, and for good but for 4xx.
func TestWhatARelayRefusesAfterItHasReadIt(t *testing.T) {
	for code, want := range map[int]error{554: report.ErrRefused, 552: report.ErrTooLarge, 451: nil} {
		r := &relay{after: code}
		_, err := r.listen(t, 0).Send(t.Context(), letter(func(*report.Letter) {}))
		if err == nil || want != nil && !errors.Is(err, want) || want == nil && (errors.Is(err, report.ErrRefused) || errors.Is(err, report.ErrTooLarge)) {
			t.Errorf("%d: the error is %v, want %v", code, err, want)
		}
	}
}

func TestAMailThatIsLargerThanTheRelayTakes(t *testing.T) {
	r := &relay{}
	s := r.listen(t, 100_000)
	for _, test := range []struct {
		size int
		fits bool
	}{{1, true}, {60_000, true}, {80_000, false}} {
		_, err := s.Send(t.Context(), letter(func(l *report.Letter) {
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
