// Package reply sends reports as mails.
package reply

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"calltally/conversion"
	"calltally/report"
)

// Sender sends letters through a mail relay.
type Sender struct {
	Address  string // host:port
	TLS      *tls.Config
	Implicit bool // TLS from the start; otherwise STARTTLS
	Plain    bool // no TLS at all: loopback only
	User     string
	Password string
	// Login, if set, is how to log in without a password: offers says whether the relay
	// has a mechanism, and show goes through with one.
	Login func(ctx context.Context, offers func(mechanism string) bool, show func(sasl.Client) error) error
	From  mail.Address
	// Hello is the name that we greet with.
	Hello string
	// Patience is how long the relay may take to answer; a minute if it is 0. Letting us in
	// may take twice as long, taking a letter five times, and all of it ten times.
	Patience time.Duration
}

const dialTimeout = 20 * time.Second

func (s *Sender) patience() time.Duration { return cmp.Or(s.Patience, time.Minute) }

// Send sends a letter and says what became of it for each recipient; an error, that nobody
// has it, or that it isn't known. The same letter always becomes the same bytes.
func (s *Sender) Send(ctx context.Context, letter *report.Letter) ([]report.Posted, error) {
	to := letter.Envelope
	if to == nil {
		to = letter.To
	}
	return s.Post(ctx, to, letter.Size(), func(to io.Writer) error { return s.Write(to, letter) })
}

// Post sends a mail of about a size, in bytes, that write writes.
func (s *Sender) Post(ctx context.Context, to []string, size int64, write func(io.Writer) error) ([]report.Posted, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*s.patience())
	defer cancel()
	client, done, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if most, known := client.MaxMessageSize(); known && most > 0 && size > int64(most) {
		return nil, fmt.Errorf("%w: %s, of at most %s", report.ErrTooLarge, conversion.SizeName(size), conversion.SizeName(int64(most)))
	}
	if err := s.mailFrom(client); err != nil {
		return nil, err
	}
	posted, err := s.recipients(client, to)
	if err != nil || !slices.ContainsFunc(posted, func(p report.Posted) bool { return p.Refusal == nil }) {
		return posted, err
	}
	data, err := client.Data()
	if err != nil {
		return nil, refusal(err)
	}
	if err := write(data); err != nil {
		return nil, fmt.Errorf("send report: %w", err) // closing the connection takes the half mail back
	}
	if err := data.Close(); err != nil {
		return nil, refusal(err)
	}
	_ = client.Quit() // the mail is accepted; how we part doesn't matter
	return posted, nil
}

// refusal is what a relay says against a mail once it knows it.
func refusal(err error) error {
	const exceeded = 552 // RFC 5321: the mail is larger than it takes, or the mailbox is full
	said := (*smtp.SMTPError)(nil)
	switch {
	case !errors.As(err, &said) || said.Temporary():
		return fmt.Errorf("send report: %w", err)
	case said.Code == exceeded || said.EnhancedCode == smtp.EnhancedCode{5, 3, 4}:
		return fmt.Errorf("%w: %w", report.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", report.ErrRefused, err)
}

// recipients names the recipients. One that the relay refuses doesn't keep the report from
// the others.
func (s *Sender) recipients(client *smtp.Client, all []string) (posted []report.Posted, err error) {
	for _, to := range all {
		one := report.Posted{To: to}
		if err := client.Rcpt(to, nil); err != nil {
			said := (*smtp.SMTPError)(nil)
			if !errors.As(err, &said) {
				return nil, fmt.Errorf("recipient %s: %w", to, err)
			}
			one.Refusal, one.Later = err, said.Temporary()
		}
		posted = append(posted, one)
	}
	return posted, nil
}

// mailFrom names the empty sender, so that no bounce ever answers a report; a
// relay that insists gets our address.
func (s *Sender) mailFrom(client *smtp.Client) error {
	if client.Mail("", nil) == nil {
		return nil
	}
	if err := client.Reset(); err != nil {
		return fmt.Errorf("send report: %w", err)
	}
	if err := client.Mail(s.From.Address, nil); err != nil {
		return fmt.Errorf("sender %s: %w", s.From.Address, err)
	}
	return nil
}

// connect greets the relay and logs in, with TLS before anything secret.
func (s *Sender) connect(ctx context.Context) (client *smtp.Client, done func(), err error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to relay: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	done = func() { stop(); conn.Close() }
	late := time.AfterFunc(2*s.patience(), func() { conn.Close() })
	defer late.Stop()
	if client, err = s.greet(ctx, conn); err != nil {
		done()
		return nil, nil, fmt.Errorf("relay %s: %w", s.Address, err)
	}
	return client, done, nil
}

func (s *Sender) greet(ctx context.Context, conn net.Conn) (client *smtp.Client, err error) {
	switch {
	case s.Plain:
		client = smtp.NewClient(conn)
	case s.Implicit:
		secure := tls.Client(conn, s.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		client = smtp.NewClient(secure)
	default:
		if client, err = smtp.NewClientStartTLS(conn, s.TLS); err != nil {
			return nil, err
		}
	}
	client.CommandTimeout, client.SubmissionTimeout = s.patience(), 5*s.patience()
	if err := client.Hello(s.Hello); err != nil {
		return nil, err
	}
	if s.User == "" {
		return client, nil
	}
	if state, ok := client.TLSConnectionState(); !s.Plain && (!ok || !state.HandshakeComplete) {
		return nil, errors.New("the connection is not encrypted, so nothing secret was sent")
	}
	if s.Login == nil {
		err = client.Auth(sasl.NewPlainClient("", s.User, s.Password))
	} else {
		err = s.Login(ctx, client.SupportsAuth, client.Auth)
	}
	if err != nil {
		return nil, fmt.Errorf("log in as %s: %w", s.User, err)
	}
	return client, nil
}

// Probe connects and logs in, for checks. It returns what answered.
func (s *Sender) Probe(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	client, done, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if err := client.Noop(); err != nil {
		return "", err
	}
	if size, ok := client.MaxMessageSize(); ok && size > 0 {
		return fmt.Sprintf("takes mail up to %d MiB", size>>20), client.Quit()
	}
	return "takes mail", client.Quit()
}

// Write composes a letter.
func (s *Sender) Write(w io.Writer, letter *report.Letter) error {
	var h mail.Header
	s.headers(&h, letter)
	boundary := fmt.Sprintf("%x", sha256.Sum256([]byte(letter.MessageID)))[:32]
	h.SetContentType("multipart/mixed", map[string]string{"boundary": "mixed-" + boundary})
	mixed, err := message.CreateWriter(w, h.Header)
	if err != nil {
		return err
	}
	if err := writeBodies(mixed, letter, "alternative-"+boundary); err != nil {
		return err
	}
	for _, a := range letter.Attachments {
		if err := writeAttachment(mixed, a); err != nil {
			return err
		}
	}
	return mixed.Close()
}

// headers writes the letter's header. Fields come out in reverse order.
func (s *Sender) headers(h *mail.Header, letter *report.Letter) {
	about, submitted := fmt.Sprintf("upload=%d; revision=%d", letter.Upload, letter.Revision), "auto-replied"
	if letter.Upload == 0 {
		about, submitted = "digest", "auto-generated"
	}
	h.Set("X-Calltally-Report", about)
	h.Set("X-Auto-Response-Suppress", "All")
	h.Set("Auto-Submitted", submitted)
	if len(letter.References) > 0 {
		h.SetMsgIDList("References", letter.References)
	}
	if letter.InReplyTo != "" {
		h.SetMsgIDList("In-Reply-To", []string{letter.InReplyTo})
	}
	h.SetMessageID(letter.MessageID)
	h.SetSubject(conversion.Clip(letter.Subject, 100))
	to := make([]*mail.Address, len(letter.To))
	for i, address := range letter.To {
		to[i] = &mail.Address{Address: address}
	}
	h.SetAddressList("To", to)
	h.SetAddressList("From", []*mail.Address{&s.From})
	h.SetDate(letter.Date)
}

// writeBodies writes the report as text and as HTML: readers take the last they
// understand.
func writeBodies(mixed *message.Writer, letter *report.Letter, boundary string) error {
	var h message.Header
	h.SetContentType("multipart/alternative", map[string]string{"boundary": boundary})
	bodies, err := mixed.CreatePart(h)
	if err != nil {
		return err
	}
	for _, body := range []struct{ kind, text string }{{"text/plain", letter.Text}, {"text/html", letter.HTML}} {
		var h message.Header
		h.SetContentType(body.kind, map[string]string{"charset": "utf-8"})
		h.Set("Content-Transfer-Encoding", "quoted-printable")
		part, err := bodies.CreatePart(h)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(part, body.text); err != nil {
			return err
		}
		if err := part.Close(); err != nil {
			return err
		}
	}
	return bodies.Close()
}

func writeAttachment(mixed *message.Writer, a report.Attachment) error {
	var h mail.AttachmentHeader
	h.Set("Content-Transfer-Encoding", "base64")
	if strings.HasSuffix(a.Name, ".gz") {
		h.SetContentType("application/gzip", nil)
	} else {
		h.SetContentType("text/csv", map[string]string{"charset": "utf-8"})
	}
	h.SetFilename(a.Name)
	part, err := mixed.CreatePart(h.Header)
	if err != nil {
		return err
	}
	if err := a.Write(part); err != nil {
		return err
	}
	return part.Close()
}
