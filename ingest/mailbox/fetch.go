package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"calltally/ingest"
)

// fetched is a mail on this side.
type fetched struct {
	path     string
	size     int64
	digest   string // of the mail's bytes
	tooLarge bool   // only the header was fetched
}

var (
	errGone = errors.New("the mail is gone")
	errCut  = errors.New("the mail arrived cut short")
	// errTooLong says that a mail is larger than the server had said.
	errTooLong = errors.New("the mail is larger than the server said")
)

// fetch copies a mail into the spool folder without marking it read. A mail
// over the limit is not fetched, but for its header.
func (c *conn) fetch(ctx context.Context, uid imap.UID, limit int64, spool string) (*fetched, error) {
	size, err := c.size(ctx, uid)
	if err != nil {
		return nil, err
	}
	f := &fetched{path: filepath.Join(spool, "mail.eml"), size: size, tooLarge: size > limit}
	section := &imap.FetchItemBodySection{Peek: true}
	if f.tooLarge {
		section.Specifier, limit = imap.PartSpecifierHeader, max(limit, maxHeader)
	}
	out, err := os.Create(f.path)
	if err != nil {
		return nil, fmt.Errorf("spool mail: %w", err)
	}
	defer out.Close()
	digest := sha256.New()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err = c.within(ctx, "fetch mail", func() error { return c.copySection(uid, section, limit, io.MultiWriter(out, digest)) })
	if err != nil {
		return nil, err
	}
	f.digest = mailDigest(digest.Sum(nil))
	return f, out.Close()
}

// fetchSmall fetches the small ones of several mails by one command, without marking them
// read. What it leaves out is large, or gone.
func (c *conn) fetchSmall(ctx context.Context, uids []imap.UID, limit int64) (map[imap.UID][]byte, error) {
	if len(uids) < 2 {
		return nil, nil
	}
	var small imap.UIDSet
	err := c.do(ctx, "fetch sizes", func() error {
		messages, err := c.client.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, RFC822Size: true}).Collect()
		for _, m := range messages {
			if m.RFC822Size > 0 && m.RFC822Size <= min(limit, ingest.SmallFile) {
				small.AddNum(m.UID)
			}
		}
		return err
	})
	if err != nil || len(small) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	mails := map[imap.UID][]byte{}
	if err := c.within(ctx, "fetch mails", func() error { return c.readAll(small, mails) }); err != nil {
		return nil, err // what came before the failure may not be whole
	}
	return mails, nil
}

// readAll reads mails into memory. A literal must be read when it comes, before or after the
// number that it belongs to.
func (c *conn) readAll(uids imap.UIDSet, into map[imap.UID][]byte) error {
	cmd := c.client.Fetch(uids, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for message := cmd.Next(); message != nil; message = cmd.Next() {
		var uid imap.UID
		var mail []byte
		for item := message.Next(); item != nil; item = message.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				uid = item.UID
			case imapclient.FetchItemDataBodySection:
				if item.Literal == nil {
					continue // it is gone
				}
				if item.Literal.Size() > 2*ingest.SmallFile {
					c.abandon(item.Literal)
					return errTooLong
				}
				var err error
				if mail, err = io.ReadAll(item.Literal); err != nil || int64(len(mail)) != item.Literal.Size() {
					c.client.Close() // see copySection
					return errors.Join(errCut, err)
				}
			}
		}
		if uid != 0 && mail != nil {
			into[uid] = mail
		}
	}
	return cmd.Close()
}

// mailDigest is what a mail is told by, made of its SHA-256.
func mailDigest(sum []byte) string { return fmt.Sprintf("%x", sum[:16]) }

// size asks how large a mail is before any of it is fetched. Another session's
// change of the mail's flags may be told first and without the size; then it is
// asked again.
func (c *conn) size(ctx context.Context, uid imap.UID) (size int64, err error) {
	const tries = 3
	for range tries {
		known := false
		err = c.do(ctx, "fetch size", func() error {
			messages, err := c.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, RFC822Size: true}).Collect()
			for _, m := range messages {
				if m.UID == uid {
					known, size = true, max(size, m.RFC822Size)
				}
			}
			return err
		})
		switch {
		case err != nil:
			return 0, err
		case !known:
			return 0, errGone
		case size > 0:
			return size, nil
		}
	}
	return 0, errors.New("the server doesn't tell the mail's size")
}

// arrived is when a mail came into the mailbox.
func (c *conn) arrived(ctx context.Context, uid imap.UID) (at time.Time, err error) {
	err = c.do(ctx, "fetch date", func() error {
		messages, err := c.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, InternalDate: true}).Collect()
		for _, m := range messages {
			if m.UID == uid && !m.InternalDate.IsZero() {
				at = m.InternalDate
			}
		}
		return err
	})
	return at, err
}

// copySection streams one section of a mail. It counts only if every byte of
// the literal came and the server said that it was done.
func (c *conn) copySection(uid imap.UID, section *imap.FetchItemBodySection, limit int64, to io.Writer) error {
	cmd := c.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	result := errGone
	for message := cmd.Next(); message != nil; message = cmd.Next() {
		for item := message.Next(); item != nil; item = message.Next() {
			body, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || body.Literal == nil {
				continue
			}
			if body.Literal.Size() > limit {
				c.abandon(body.Literal)
				return errTooLong
			}
			disk := &ingest.DiskWriter{To: to}
			n, err := io.Copy(disk, body.Literal)
			switch {
			case disk.Err != nil:
				c.abandon(body.Literal)
				return disk.Err
			case err != nil || n != body.Literal.Size():
				// The library must not read on from where the connection broke, and
				// already does so in a goroutine of its own.
				c.client.Close()
				return errors.Join(errCut, err)
			default:
				result = nil
			}
		}
	}
	if err := cmd.Close(); err != nil {
		return err
	}
	return result
}

// abandon ends the connection in the middle of a literal that still comes. The
// library waits until it was read to an end, if only to an error.
func (c *conn) abandon(literal io.Reader) {
	c.wire.Close()
	_, _ = io.Copy(io.Discard, literal) // fails at once
	c.client.Close()
}
