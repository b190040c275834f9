package mailbox

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/emersion/go-imap/v2"

	"calltally/ingest"
)

// PutAway yields the mails that were put away since a moment: in Processed and Rejected, and
// those that are marked where they are. It works by a connection of its own.
func (m *Mailbox) PutAway(ctx context.Context, since time.Time) iter.Seq2[*ingest.Kept, error] {
	return func(yield func(*ingest.Kept, error) bool) {
		c, err := dial(ctx, m.Server)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.client.Close()
		for _, folder := range []string{m.Folder, processedFolder, rejectedFolder} {
			uids, err := c.putAway(ctx, folder, folder == m.Folder, since)
			if err != nil {
				if folder == m.Folder && !yield(nil, err) { // the others may not be there
					return
				}
				continue
			}
			for _, uid := range uids {
				kept, err := m.kept(ctx, c, folder, uid)
				if kept == nil && err == nil {
					continue
				}
				if !yield(kept, err) || ctx.Err() != nil {
					return
				}
			}
		}
	}
}

// putAway lists a folder's mails that came since a moment, of those marked as processed only if
// others lie there, too.
func (c *conn) putAway(ctx context.Context, folder string, marked bool, since time.Time) (uids []imap.UID, err error) {
	search := &imap.SearchCriteria{Since: since, NotFlag: []imap.Flag{imap.FlagDeleted}}
	if marked {
		search.Flag = []imap.Flag{processedKeyword}
	}
	err = c.do(ctx, "search "+folder, func() error {
		if _, err := c.client.Select(folder, nil).Wait(); err != nil {
			return err
		}
		found, err := c.client.UIDSearch(search, nil).Wait()
		if err == nil {
			uids = found.AllUIDs()
		}
		return err
	})
	return uids, err
}

// kept is what a mail that was put away holds; nil if that is nothing that would be taken.
func (m *Mailbox) kept(ctx context.Context, c *conn, folder string, uid imap.UID) (*ingest.Kept, error) {
	spool, err := os.MkdirTemp("", "calltally-mail-")
	if err != nil {
		return nil, fmt.Errorf("make spool folder: %w", err)
	}
	defer os.RemoveAll(spool)
	fetched, err := c.fetch(ctx, uid, m.MaxBytes, spool)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mail %d of %s: %w", uid, folder, err)
	}
	in, err := os.Open(fetched.path)
	if err != nil {
		return nil, fmt.Errorf("read spooled mail: %w", err)
	}
	defer in.Close()
	message, err := m.takeApart(in)
	if err != nil {
		return nil, err
	}
	defer message.remove()
	if message.skip != "" {
		return nil, nil
	}
	kept := &ingest.Kept{
		Where: fmt.Sprintf("%s: mail of %s, “%s”", folder, message.mail.From, message.mail.Subject), Exact: true,
		Return: func(ctx context.Context) error { return m.putBack(ctx, c, folder, uid) },
	}
	for i := range max(len(message.files), 1) {
		kept.Deliveries = append(kept.Deliveries, &ingest.Delivery{Source: m.Label, Origin: originOf(fetched.digest, i)})
	}
	return kept, nil
}

// putBack has a mail be taken again.
func (m *Mailbox) putBack(ctx context.Context, c *conn, folder string, uid imap.UID) error {
	if folder == m.Folder {
		return c.do(ctx, "unmark mail", func() error {
			return c.client.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsDel, Silent: true, Flags: []imap.Flag{processedKeyword}}, nil).Close()
		})
	}
	return c.file(ctx, imap.UIDSetNum(uid), m.Folder)
}

// originOf is the origin of a mail's nth file.
func originOf(digest string, n int) string { return fmt.Sprintf("mail %s part %d", digest, n+1) }
