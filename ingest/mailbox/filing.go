package mailbox

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"
)

// done notes that a mail is to be put into a folder. By another connection its number may
// mean another mail: then it comes again.
func (m *Mailbox) done(c *conn, uid imap.UID, folder string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != c {
		return
	}
	if m.toFile == nil {
		m.toFile = map[string]imap.UIDSet{}
	}
	uids := m.toFile[folder]
	uids.AddNum(uid)
	m.toFile[folder] = uids
}

// putAway puts mails away that are done.
func (m *Mailbox) putAway(ctx context.Context, c *conn) error {
	m.mu.Lock()
	toFile := m.toFile
	m.toFile = nil
	m.mu.Unlock()
	var failures []error
	for folder, uids := range toFile {
		failures = append(failures, c.file(ctx, uids, folder))
	}
	return errors.Join(failures...)
}

// Finish puts mails away that were acknowledged last.
func (m *Mailbox) Finish(ctx context.Context) error {
	m.mu.Lock()
	c := m.conn
	m.mu.Unlock()
	if c == nil {
		return nil
	}
	err := m.putAway(ctx, c)
	if err != nil && !refusedByServer(err) {
		m.drop()
	}
	return err
}
