package mailbox

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Vouchers are who is believed about a mail's sender.
type Vouchers struct {
	// Recipient has everybody be believed who knows an upload address.
	Recipient bool
	// Server is the authserv-id under which the mailbox's own server notes in
	// Authentication-Results what it has found out; "" if it is not to be believed. The server
	// must take such notes out of what comes from elsewhere.
	Server string
	// Allows reports whether anybody takes files from an address: for no other are keys looked
	// up.
	Allows func(address string) bool
	// LookupTXT asks the DNS for the keys of DKIM signatures.
	LookupTXT func(ctx context.Context, domain string) ([]string, error)
}

// NoServerID is the Server that writes no authserv-id at all, as Microsoft 365 does.
const NoServerID = "none"

// doubt says why nobody vouches for a mail's sender, "" if somebody does. An error is the
// disk's, or errUnsure.
func (v Vouchers) doubt(ctx context.Context, h message.Header, from string, in io.ReadSeeker) (string, error) {
	_, domain, _ := strings.Cut(from, "@")
	domain = asciiDomain(domain)
	if domain == "" {
		return "the mail has not one plain sender in From", nil
	}
	if v.Recipient {
		return "", nil
	}
	if field := repeated(h); field != "" {
		return fmt.Sprintf("its header has more than one %s", field), nil
	}
	why, final := v.serverDoubts(h, domain)
	if why == "" || final {
		return why, nil
	}
	if !v.Allows(from) {
		return why + ", and no account takes files from " + from, nil
	}
	signed, err := v.signatureDoubts(ctx, h, in, domain)
	if signed == "" || err != nil {
		return "", err
	}
	return why + ", and " + signed, nil
}

// once are the fields that a mail has at most once (RFC 5322, 2045, 2183, 3834). Of several, a
// signature covers the lowest, which was there when it was made, and readers take the topmost,
// which anybody may have put above it.
var once = []string{
	"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "MIME-Version", "Subject", "Date", "Auto-Submitted",
	"Message-ID", "In-Reply-To", "References", "Sender", "Reply-To", "To", "Cc", "Return-Path",
}

// repeated is a field that a mail must have once and has more often; "" if there is none.
func repeated(h message.Header) string {
	for _, field := range once {
		if h.FieldsByKey(field).Len() > 1 {
			return field
		}
	}
	return ""
}

// serverDoubts looks at what the mailbox's server has found out; final says that no signature
// makes good for that.
func (v Vouchers) serverDoubts(h message.Header, domain string) (why string, final bool) {
	if v.Server == "" {
		return "no mail server is set that is believed about senders", false
	}
	noted, err := v.noted(h)
	switch {
	case slices.ContainsFunc(noted, (*authResults).dmarcFailed):
		return fmt.Sprintf("the mail server %s has found that it doesn't come from %s (dmarc=fail)", v.Server, domain), true
	case err != nil:
		return err.Error(), false
	case len(noted) == 0:
		return fmt.Sprintf("the mail server %s has noted nothing", v.Server), false
	}
	why = fmt.Sprintf("the mail server %s has noted no dmarc", v.Server)
	dmarcs := 0
	for _, r := range noted[0].results {
		if r.method != "dmarc" {
			continue
		}
		from := r.properties["header.from"]
		dmarcs++
		switch {
		case dmarcs > 1:
			return fmt.Sprintf("the mail server %s has noted several results of dmarc", v.Server), true
		case r.result != "pass":
			why = fmt.Sprintf("the mail server %s has noted dmarc=%s", v.Server, r.result)
		case asciiDomain(from[strings.LastIndexByte(from, '@')+1:]) != domain:
			why = fmt.Sprintf("the mail server %s vouches for another sender than %s", v.Server, domain)
		default:
			why = ""
		}
	}
	return why, false
}

// noted is what the server has noted, topmost first; an error if what stands above all of that
// can't be read. Each of its filters may write a note, in any order. A pass is taken from the
// topmost only, since what the sender wrote is below it; a failure from any, since whoever forges
// one harms but their own mail.
func (v Vouchers) noted(h message.Header) (notes []*authResults, err error) {
	for fields := h.FieldsByKey(authHeader); fields.Next(); {
		note, unreadable := parseAuthResults(fields.Value())
		switch {
		case unreadable != nil && len(notes) == 0:
			err = cmp.Or(err, unreadable)
		case unreadable == nil && v.wrote(note):
			notes = append(notes, note)
		}
	}
	return notes, err
}

// wrote reports whether a note bears the server's name, or none if it writes none.
func (v Vouchers) wrote(note *authResults) bool {
	if v.Server == NoServerID {
		return !note.named
	}
	return note.named && strings.EqualFold(note.server, v.Server)
}

// aligned reports whether two domains are of one organisation.
func aligned(a, b string) bool {
	a, b = asciiDomain(a), asciiDomain(b)
	if a == b {
		return a != ""
	}
	orgA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	orgB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && orgA == orgB
}

// asciiDomain is a domain as the DNS has it, in lower case; "" if it is none.
func asciiDomain(domain string) string {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(textproto.TrimString(domain), "."))
	if err != nil {
		return ""
	}
	return strings.ToLower(ascii)
}
