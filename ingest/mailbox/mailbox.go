// Package mailbox turns the mails of an IMAP folder into deliveries. A mail is
// fetched whole, taken apart on this side, and moved only after everything in it
// is durably ours.
package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
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
	// TrustRecipient takes a mail's upload address as proof of its sender.
	TrustRecipient bool
	// MaxBytes is the largest mail that is fetched.
	MaxBytes int64
	// Idle asks the server to wake us.
	Idle bool
	Log  *slog.Logger

	mu       sync.Mutex
	conn     *conn
	suspects map[imap.UID]bool
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
		for _, uid := range m.suspectsLast(uids) {
			more, err := m.deliver(ctx, c, uid, yield)
			if err == nil && more {
				continue
			}
			if err != nil {
				m.suspect(uid)
			}
			if !more {
				m.drop()
				if err != nil {
					m.Log.Warn("mail not put away; it is looked at again", "source", m.Label, "uid", uid, "error", err)
				}
				return
			}
			if !yield(nil, fmt.Errorf("mail %d: %w", uid, err)) || !refusedByServer(err) {
				m.drop()
				return
			}
		}
	}
}

// refusedByServer reports whether the server said no to a command, after which
// the connection goes on.
func refusedByServer(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Type != imap.StatusResponseTypeBye
}

// suspect notes a mail that could not be had. It comes last from now on, so that
// it delays no other.
func (m *Mailbox) suspect(uid imap.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.suspects == nil {
		m.suspects = map[imap.UID]bool{}
	}
	m.suspects[uid] = true
}

func (m *Mailbox) suspectsLast(uids []imap.UID) []imap.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortStableFunc(uids, func(a, b imap.UID) int {
		switch {
		case m.suspects[a] == m.suspects[b]:
			return cmp.Compare(a, b)
		case m.suspects[a]:
			return 1
		}
		return -1
	})
	return uids
}

// deliver fetches one mail and yields what is in it. An error is the
// connection's; what is wrong with the mail itself is in its deliveries.
func (m *Mailbox) deliver(ctx context.Context, c *conn, uid imap.UID, yield func(*ingest.Delivery, error) bool) (more bool, err error) {
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
	message, err := takeApart(fetched.path, spool)
	if err != nil {
		return true, err
	}
	if why := message.skip; why != "" {
		m.Log.Info("mail not read", "source", m.Label, "uid", uid, "why", why)
		return true, c.file(ctx, uid, processedFolder)
	}
	if fetched.tooLarge {
		message.files = []file{{name: "mail.eml", path: fetched.path, refusal: conversion.Refuse(conversion.TooLarge,
			"The mail is %d MiB large; at most %d MiB are read. Send the file in parts.", fetched.size>>20, m.MaxBytes>>20)}}
	}
	return m.yieldFiles(ctx, c, uid, fetched.digest, message, yield)
}

// yieldFiles yields a mail's files and moves the mail when all are ours.
func (m *Mailbox) yieldFiles(ctx context.Context, c *conn, uid imap.UID, digest string, message *letter, yield func(*ingest.Delivery, error) bool) (more bool, err error) {
	acknowledged, refused := 0, 0
	message.mail.TrustRecipient = m.TrustRecipient
	for i, f := range message.files {
		more = yield(&ingest.Delivery{
			Source: m.Label, Origin: fmt.Sprintf("mail %s part %d", digest, i+1), Name: f.name, Account: m.Account, Takes: m.Takes, Dialect: m.Dialect,
			Refusal: f.refusal, Mail: &message.mail, Open: f.open, Bundle: "mail " + digest, Closes: i == len(message.files)-1,
			Ack: func(_ context.Context, d ingest.Disposition) error {
				acknowledged++
				if d == ingest.Refused {
					refused++
				}
				return nil
			},
		}, nil)
		if !more {
			break
		}
	}
	if acknowledged < len(message.files) {
		return more, nil // it stays where it is and is tried again
	}
	folder := processedFolder
	if refused == len(message.files) {
		folder = rejectedFolder
	}
	return more, c.file(ctx, uid, folder)
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
		m.conn = nil
	}
}

// Close ends the connection.
func (m *Mailbox) Close() { m.drop() }

// Wake waits with IDLE until the server tells of a change, or for as long as that can be
// relied on.
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
	ctx, cancel := context.WithTimeout(ctx, longestIdle)
	defer cancel()
	err := c.idle(ctx)
	if err != nil {
		m.drop()
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
