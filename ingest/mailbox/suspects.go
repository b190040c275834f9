package mailbox

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
)

// suspect notes a mail that could not be had. It comes last from now on, so that
// it delays no other.
func (m *Mailbox) suspect(uid imap.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.suspects == nil {
		m.suspects = map[imap.UID]int{}
	}
	m.suspects[uid]++
}

// suspected is how often a mail could not be had.
func (m *Mailbox) suspected(uid imap.UID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspects[uid]
}

func (m *Mailbox) suspectsLast(uids []imap.UID) []imap.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortStableFunc(uids, func(a, b imap.UID) int {
		switch {
		case (m.suspects[a] > 0) == (m.suspects[b] > 0):
			return cmp.Compare(a, b)
		case m.suspects[a] > 0:
			return 1
		}
		return -1
	})
	return uids
}

// unsuspected leaves out mails that could not be had before: they are fetched alone.
func (m *Mailbox) unsuspected(uids []imap.UID) []imap.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(uids), func(uid imap.UID) bool { return m.suspects[uid] > 0 })
}

// longestWait is how long after it came a mail waits for the key of its signature. Then nobody
// vouches for its sender.
const longestWait = 24 * time.Hour

// waits reports whether a mail stays where it is because it can't be told yet who sent it. That
// delays no other, and is no fault of the mailbox's: anybody can send such a mail.
func (m *Mailbox) waits(ctx context.Context, c *conn, uid imap.UID, why error) (bool, error) {
	came, err := c.arrived(ctx, uid)
	if err != nil || m.Now().Sub(came) > longestWait {
		return false, err
	}
	if m.suspected(uid) == 0 {
		m.Log.Warn("mail waits; it is looked at again", "source", m.Label, "uid", uid, "until", came.Add(longestWait), "why", why)
	}
	m.suspect(uid)
	return true, nil
}
