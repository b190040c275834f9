// Package mailbox turns the mails of an IMAP folder into deliveries. A mail is
// fetched whole, taken apart on this side, and moved only after everything in it
// is durably ours.
package mailbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"calltally/conversion"
	"calltally/ingest"
)

// Mailbox is an IMAP folder that uploads are mailed to.
type Mailbox struct {
	Label   string // the source's name
	Server  Server
	Folder  string // "INBOX"
	Account string // the account of every mail; "" to tell by the recipient
	Takes   conversion.Takes
	Dialect string
	// Vouchers are who is believed about a mail's sender.
	Vouchers Vouchers
	// MaxBytes is the largest mail that is fetched.
	MaxBytes int64
	// Idle asks the server to wake us.
	Idle bool
	Now  func() time.Time
	Log  *slog.Logger

	silent map[string]bool // domains whose keys could not be looked up in this poll

	mu       sync.Mutex
	conn     *conn
	suspects map[imap.UID]int       // how often a mail could not be had
	toFile   map[string]imap.UIDSet // mails that are done, by the folder that they go to
}

const (
	processedFolder  = "Processed"
	rejectedFolder   = "Rejected"
	processedKeyword = imap.Flag("$CalltallyProcessed")
)

// Name returns the source's name.
func (m *Mailbox) Name() string { return m.Label }

// Deliveries yields the attachments of every mail that was not processed yet,
// oldest first.
func (m *Mailbox) Deliveries(ctx context.Context) iter.Seq2[*ingest.Delivery, error] {
	return func(yield func(*ingest.Delivery, error) bool) {
		c, err := m.connect(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		uids, err := c.pending(ctx, m.Folder)
		if err != nil {
			m.drop()
			yield(nil, err)
			return
		}
		m.silent = map[string]bool{}
		for batch := range slices.Chunk(m.suspectsLast(uids), ingest.Together) {
			if c = m.deliverAll(ctx, c, batch, yield); c == nil {
				return
			}
		}
	}
}

// deliverAll yields what is in some mails. It returns the connection, nil if nothing follows.
func (m *Mailbox) deliverAll(ctx context.Context, c *conn, batch []imap.UID, yield func(*ingest.Delivery, error) bool) *conn {
	small, err := c.fetchSmall(ctx, m.unsuspected(batch), m.MaxBytes)
	if err != nil && !refusedByServer(err) { // one of them may be the reason: each is fetched alone
		m.drop()
		if c, err = m.connect(ctx); err == nil {
			_, err = c.pending(ctx, m.Folder)
		}
		if err != nil {
			m.drop()
			yield(nil, err)
			return nil
		}
	}
	for _, uid := range batch {
		more, err := m.deliver(ctx, c, uid, small[uid], yield)
		if err == nil && more {
			continue
		}
		if err != nil {
			m.suspect(uid)
		}
		if !more {
			err = errors.Join(err, m.putAway(ctx, c))
			m.drop()
			if err != nil {
				m.Log.Warn("mail not put away; it is looked at again", "source", m.Label, "uid", uid, "error", err)
			}
			return nil
		}
		if !yield(nil, fmt.Errorf("mail %d: %w", uid, err)) || !refusedByServer(err) {
			m.drop()
			return nil
		}
	}
	if err := m.putAway(ctx, c); err != nil {
		if !yield(nil, err) || !refusedByServer(err) {
			m.drop()
			return nil
		}
	}
	return c
}

// refusedByServer reports whether the server said no to a command, after which
// the connection goes on.
func refusedByServer(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Type != imap.StatusResponseTypeBye
}

// deliver yields what is in one mail; raw are its bytes, nil if it must be fetched. An error
// is the connection's; what is wrong with the mail itself is in its deliveries.
func (m *Mailbox) deliver(ctx context.Context, c *conn, uid imap.UID, raw []byte, yield func(*ingest.Delivery, error) bool) (more bool, err error) {
	if raw != nil {
		sum := sha256.Sum256(raw)
		return m.yieldMail(ctx, c, uid, bytes.NewReader(raw), mailDigest(sum[:]), nil, yield)
	}
	spool, err := os.MkdirTemp("", "calltally-mail-")
	if err != nil {
		return true, fmt.Errorf("make spool folder: %w", err)
	}
	defer os.RemoveAll(spool)
	fetched, err := c.fetch(ctx, uid, m.MaxBytes, spool)
	if errors.Is(err, errGone) {
		m.Log.Warn("mail was removed before it could be read", "source", m.Label, "uid", uid)
		return true, nil
	}
	if err != nil {
		return true, err
	}
	var large *conversion.Refusal
	if fetched.tooLarge {
		large = conversion.Refuse(conversion.TooLarge, "The mail is larger than %s, the most that is read of one. Send the file in parts.", conversion.SizeName(m.MaxBytes))
	}
	in, err := os.Open(fetched.path)
	if err != nil {
		return true, fmt.Errorf("read spooled mail: %w", err)
	}
	defer in.Close()
	if more, err = m.yieldMail(ctx, c, uid, in, fetched.digest, large, yield); err != nil {
		return more, err
	}
	return more, m.putAway(ctx, c)
}

// yieldMail takes a mail apart and yields its files; large is why its body was not fetched.
// It is put away once all of them are ours.
func (m *Mailbox) yieldMail(ctx context.Context, c *conn, uid imap.UID, in io.ReadSeeker, digest string, large *conversion.Refusal, yield func(*ingest.Delivery, error) bool) (more bool, err error) {
	message, err := m.takeApart(in)
	if err != nil {
		return true, err
	}
	defer message.remove()
	if why := message.skip; why != "" {
		m.Log.Info("mail not read", "source", m.Label, "uid", uid, "why", why)
		m.done(c, uid, processedFolder)
		return true, nil
	}
	message.mail.TrustRecipient = m.Vouchers.Recipient
	message.mail.Doubt, err = m.doubt(ctx, message, in)
	if errors.Is(err, errUnsure) {
		waits, failure := m.waits(ctx, c, uid, err)
		if waits || failure != nil {
			return true, failure
		}
		message.mail.Doubt, err = err.Error(), nil
	}
	if err != nil {
		return true, err
	}
	if large != nil {
		w := &walker{}
		if err := w.refuse(message, in, large); err != nil {
			return true, err
		}
		message.copies = append(message.copies, w.copies...)
	}
	return m.yieldFiles(c, uid, digest, message, yield), nil
}

// doubt says why a mail is not taken as its sender's, "" if it is. One whose check panics is
// nobody's: it must not end the others. An error is the disk's, or errUnsure.
func (m *Mailbox) doubt(ctx context.Context, message *letter, in io.ReadSeeker) (why string, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.Log.Error("a mail's sender can't be checked", "source", m.Label, "panic", p)
			why, err = "its header or its signatures can't be checked", nil
		}
	}()
	if message.odd != "" {
		return message.odd, nil
	}
	vouchers := m.Vouchers
	_, domain, _ := strings.Cut(message.mail.From, "@")
	if m.silent[domain] { // once is enough: with many mails, each would take its time
		vouchers.LookupTXT = func(_ context.Context, name string) ([]string, error) {
			return nil, &net.DNSError{Err: "there was no answer for another mail's", Name: name, IsTemporary: true}
		}
	}
	why, err = vouchers.doubt(ctx, message.head, message.mail.From, in)
	if errors.Is(err, errUnsure) {
		m.silent[domain] = true
	}
	return why, err
}

// takeApart takes a mail apart. One that a reader of mails panics on is refused like one that is
// damaged: it must not end the others.
func (m *Mailbox) takeApart(in io.ReadSeeker) (message *letter, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.Log.Error("mail can't be taken apart", "source", m.Label, "panic", p)
			message, err = asItIs(in, conversion.Refuse(conversion.NotATable, "The mail could not be taken apart. Send the file in a mail of its own, from another program if need be."))
		}
	}()
	return takeApart(in)
}

// yieldFiles yields a mail's files. Small ones may be acknowledged after more were yielded.
func (m *Mailbox) yieldFiles(c *conn, uid imap.UID, digest string, message *letter, yield func(*ingest.Delivery, error) bool) (more bool) {
	acknowledged, refused := 0, 0
	small := !slices.ContainsFunc(message.files, func(f file) bool { return f.copy.Size > ingest.SmallFile })
	for i, f := range message.files {
		more = yield(&ingest.Delivery{
			Source: m.Label, Origin: originOf(digest, i), Name: f.name, Account: m.Account, Takes: m.Takes, Dialect: m.Dialect,
			Refusal: f.refusal, Mail: &message.mail, Open: f.copy.Open, Bundle: "mail " + digest, Closes: i == len(message.files)-1, AtHand: small,
			Ack: func(_ context.Context, d ingest.Disposition) error {
				acknowledged++
				if d == ingest.Refused {
					refused++
				}
				switch {
				case acknowledged < len(message.files): // it stays where it is until all are ours
				case refused == len(message.files):
					m.done(c, uid, rejectedFolder)
				default:
					m.done(c, uid, processedFolder)
				}
				return nil
			},
		}, nil)
		if !more {
			break
		}
	}
	return more
}

// connect returns the connection, made anew if it was lost.
func (m *Mailbox) connect(ctx context.Context) (*conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.alive(ctx) {
		return m.conn, nil
	}
	m.closeLocked()
	c, err := dial(ctx, m.Server)
	if err != nil {
		return nil, err
	}
	m.conn = c
	return c, nil
}

// drop ends the connection, so that the next poll makes a new one.
func (m *Mailbox) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closeLocked()
}

func (m *Mailbox) closeLocked() {
	if m.conn != nil {
		m.conn.client.Close()
		m.conn, m.toFile = nil, nil
	}
}

// Close ends the connection.
func (m *Mailbox) Close() { m.drop() }

// Wake waits with IDLE until the server tells of a change, or for as long as that can be
// relied on. A connection that was good for a while and is lost has us look again at once, by
// a new one.
func (m *Mailbox) Wake(ctx context.Context) error {
	if !m.Idle {
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	c := m.conn
	m.mu.Unlock()
	if c == nil {
		return errors.New("not connected")
	}
	waiting, cancel := context.WithTimeout(ctx, longestIdle)
	defer cancel()
	fresh, stop := context.WithTimeout(ctx, m.Server.patience())
	defer stop()
	err := c.idle(waiting)
	if err == nil {
		return nil
	}
	m.drop()
	if ctx.Err() == nil && fresh.Err() != nil { // it was good for that long
		m.Log.Info("connection lost while waiting; it is made anew", "source", m.Label, "error", err)
		return nil
	}
	return err
}

// Probe connects, logs in and looks at the folder, for checks. It returns what
// answered.
func (m *Mailbox) Probe(ctx context.Context) (string, error) {
	defer m.drop()
	c, err := m.connect(ctx)
	if err != nil {
		return "", err
	}
	uids, err := c.pending(ctx, m.Folder)
	if err != nil {
		return "", err
	}
	ways := "MOVE"
	switch {
	case c.has(imap.CapMove):
	case c.has(imap.CapUIDPlus):
		ways = "COPY and UID EXPUNGE"
	default:
		ways = "a keyword (the server can't move mail safely)"
	}
	idle := "IDLE"
	if !c.has(imap.CapIdle) {
		idle = "no IDLE, polling only"
	}
	return fmt.Sprintf("%s: %s to process; files mail by %s; %s", m.Folder, conversion.Count(len(uids), "mail"), ways, idle), nil
}

const (
	fetchTimeout = 30 * time.Minute // for a whole mail
	// longestIdle is how long we wait in IDLE before we look, which is a sign of life too:
	// between us and the server, connections that nothing passes over are forgotten.
	longestIdle = 9 * time.Minute
)
