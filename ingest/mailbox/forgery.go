package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-message"
	"github.com/emersion/go-message/textproto"
)

// Forgery is the header by which a mail claims that the mailbox's server had vouched for its
// sender; mark makes it known again. A server that is to be believed takes it out.
func (v Vouchers) Forgery(domain, mark string) (header, value string) {
	value = fmt.Sprintf("dmarc=pass reason=%s header.from=%s", mark, domain)
	if v.Server != NoServerID {
		value = v.Server + "; " + value
	}
	return authHeader, value
}

// Believes waits for a mail with a forgery in it, removes it, and reports whether the forgery
// would have been believed; said are the names by which notes in it are signed. It waits until
// ctx ends.
func (m *Mailbox) Believes(ctx context.Context, messageID, mark string) (believed bool, said []string, err error) {
	c, err := dial(ctx, m.Server)
	if err != nil {
		return false, nil, err
	}
	defer c.client.Close()
	h, err := c.await(ctx, messageID, m.Folder, processedFolder)
	if err != nil {
		return false, nil, err
	}
	for fields := h.FieldsByKey(authHeader); fields.Next(); {
		noted, err := parseAuthResults(fields.Value())
		switch {
		case err != nil:
			continue
		case !slices.Contains(said, noted.server):
			said = append(said, noted.server)
		}
	}
	noted, err := m.Vouchers.noted(*h)
	if err != nil || len(noted) == 0 {
		return false, said, nil
	}
	return slices.ContainsFunc(noted[0].results, func(r authResult) bool { return r.properties["reason"] == mark }), said, nil
}

// await waits for a mail in some folders and removes it. It returns its header.
func (c *conn) await(ctx context.Context, messageID string, folders ...string) (*message.Header, error) {
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 3*time.Second) {
		for i, folder := range folders {
			h, err := c.take(ctx, messageID, folder)
			if h != nil || err != nil && i == 0 { // the others may not be there
				return h, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("the mail did not arrive in time")
		case <-time.After(pause):
		}
	}
}

// take removes a mail from a folder and returns its header, nil if it isn't there.
func (c *conn) take(ctx context.Context, messageID, folder string) (h *message.Header, err error) {
	var uids []imap.UID
	err = c.do(ctx, "search "+folder, func() error {
		if _, err := c.client.Select(folder, nil).Wait(); err != nil {
			return err
		}
		found, err := c.client.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: messageID}}, NotFlag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
		if err == nil {
			uids = found.AllUIDs()
		}
		return err
	})
	if err != nil || len(uids) == 0 {
		return nil, err
	}
	var raw bytes.Buffer
	section := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader}
	if err := c.do(ctx, "fetch header", func() error { return c.copySection(uids[0], section, maxHeader, &raw) }); err != nil {
		return nil, err
	}
	head, err := textproto.ReadHeader(bufio.NewReader(&raw))
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	if err := c.mark(ctx, imap.UIDSetNum(uids[0]), imap.FlagDeleted); err != nil {
		return nil, err
	}
	if c.has(imap.CapUIDPlus) {
		err = c.do(ctx, "expunge", func() error { return c.client.UIDExpunge(imap.UIDSetNum(uids[0])).Close() })
	}
	decoded := headerOf(head)
	return &decoded, err
}
