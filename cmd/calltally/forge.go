package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"

	"calltally/conversion"
	"calltally/ingest/mailbox"
	"calltally/report/reply"
)

// forge mails a mailbox a header that claims what only its server may say, and says whether
// the mailbox would have believed it.
func (a *app) forge(ctx context.Context, source int) (string, error) {
	box := a.worker.Plans[source].Source.(*mailbox.Mailbox)
	sender, ok := a.worker.Replier.(*reply.Sender)
	if !ok {
		return "not tried: a forged header is mailed by the relay of replies, and there is none", nil
	}
	to := a.config.addressOf(source)
	if to == "" {
		return "not tried: no address of the mailbox is known; give an account one with addresses", nil
	}
	mark := strings.ToLower(rand.Text())
	messageID := "check-" + mark + "@calltally.localhost"
	_, domain, _ := strings.Cut(sender.From.Address, "@")
	header, value := box.Vouchers.Forgery(domain, mark)
	posted, err := sender.Post(ctx, []string{to}, 0, func(out io.Writer) error {
		var h mail.Header
		h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
		h.Set("X-Calltally-Report", "check") // so that whoever works there takes it for none of their files
		h.Set("Auto-Submitted", "auto-generated")
		h.SetSubject("A check of calltally’s: its header is forged on purpose")
		h.SetMessageID(messageID)
		h.SetAddressList("To", []*mail.Address{{Address: to}})
		h.SetAddressList("From", []*mail.Address{&sender.From})
		h.SetDate(a.worker.Now())
		h.Set(header, value)
		body, err := mail.CreateSingleInlineWriter(out, h)
		if err != nil {
			return err
		}
		_, err = io.WriteString(body, "calltally has sent this to see whether the mailbox’s server takes out what others write in its name.\r\nIt can be deleted.\r\n")
		return errors.Join(err, body.Close())
	})
	if err == nil && posted[0].Refusal != nil {
		err = posted[0].Refusal
	}
	if err != nil {
		return "", fmt.Errorf("mail a forged header to %s: %w", to, err)
	}
	ctx, cancel := context.WithTimeout(ctx, forgeTime)
	defer cancel()
	believed, said, err := box.Believes(ctx, messageID, mark)
	id := box.Vouchers.Server
	switch {
	case err != nil:
		return "", fmt.Errorf("a forged header was mailed to %s: %w", to, err)
	case believed:
		return "", fmt.Errorf("a forged header was mailed to %s, and it would have been believed: have the mail server take Authentication-Results of %s out of what comes in, and write its own on top", to, id)
	case len(said) == 0:
		return "a forged header was taken out", nil
	}
	return "a forged header was not believed; the mail had notes of " + conversion.Clip(strings.Join(said, ", "), 60), nil
}

// forgeTime is how long a forged header may take to arrive.
const forgeTime = 45 * time.Second

// addressOf is an address whose mail comes to a mailbox; "" if none is known.
func (c *config) addressOf(source int) string {
	s := &c.Sources[source]
	if at, err := url.Parse(s.URL); err == nil && at.User != nil && strings.Contains(at.User.Username(), "@") {
		return at.User.Username()
	}
	for _, a := range c.Accounts {
		if len(a.Addresses) > 0 && (s.Account == "" || s.Account == a.ID) {
			return a.Addresses[0]
		}
	}
	return ""
}
