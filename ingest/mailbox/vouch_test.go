package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-msgauth/dkim"
)

const plainMail = "From: Jo <jo@acme.example>\r\nTo: in@rig.test\r\nSubject: Orders\r\n\r\na,b\r\n1,2\r\n"

// signers are the keys of domains that sign mails.
type signers map[string]ed25519.PrivateKey

func (s signers) sign(t *testing.T, raw, domain string) string {
	t.Helper()
	if s[domain] == nil {
		var err error
		if _, s[domain], err = ed25519.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
	}
	var signed bytes.Buffer
	err := dkim.Sign(&signed, strings.NewReader(raw), &dkim.SignOptions{Domain: domain, Selector: "k", Signer: s[domain], HeaderKeys: []string{"From", "From", "Subject", "Subject"}})
	if err != nil {
		t.Fatal(err)
	}
	return signed.String()
}

// lookup answers as the DNS would.
func (s signers) lookup(_ context.Context, name string) ([]string, error) {
	key := s[strings.TrimPrefix(name, "k._domainkey.")]
	if key == nil {
		return nil, errors.New("no such host")
	}
	return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}, nil
}

// While a key can't be looked up, it isn't known whether a signature is good.
func TestAKeyThatCanNotBeLookedUp(t *testing.T) {
	v := Vouchers{LookupTXT: func(context.Context, string) ([]string, error) {
		return nil, &net.DNSError{Err: "no answer", IsTemporary: true}
	}}
	raw := signers{}.sign(t, plainMail, "acme.example")
	head, err := textproto.ReadHeader(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if doubt, err := v.doubt(t.Context(), headerOf(head), "jo@acme.example", strings.NewReader(raw)); !errors.Is(err, errUnsure) {
		t.Errorf("%q, %v, want errUnsure", doubt, err)
	}
}

func TestVouchers(t *testing.T) {
	dns := signers{}
	noted := func(value string) string { return "Authentication-Results: " + value + "\r\n" }
	pass := noted("mx.rig.test; dmarc=pass header.from=acme.example")
	fail := noted("mx.rig.test; dmarc=fail header.from=acme.example")
	signed := dns.sign(t, plainMail, "acme.example")
	buried := dns.sign(t, plainMail, "acme.example")
	for range mostSignatures {
		buried = dns.sign(t, buried, "evil.example")
	}
	pinned := Vouchers{Server: "mx.rig.test"}
	for _, c := range []struct {
		name     string
		vouchers Vouchers
		raw      string
		want     string // the doubt; "" for none
	}{
		{"the address is known", Vouchers{Recipient: true}, plainMail, ""},
		{"the server vouches", pinned, pass + plainMail, ""},
		{"it writes its name otherwise", pinned, strings.Replace(pass, "mx.rig", "MX.Rig", 1) + plainMail, ""},
		{"below what another server noted", pinned, noted("filter.rig.test; none") + pass + plainMail, ""},
		{"a server without a name", Vouchers{Server: NoServerID}, noted("spf=pass smtp.mailfrom=acme.example; dmarc=pass action=none header.from=acme.example") + plainMail, ""},
		{"nothing is set", Vouchers{}, pass + plainMail, "no mail server is set that is believed about senders, and it has no DKIM signature of acme.example"},
		{"nothing is noted", pinned, plainMail, "the mail server mx.rig.test has noted nothing, and it has no DKIM signature of acme.example"},
		{"another server vouches", pinned, noted("mx.evil.example; dmarc=pass header.from=acme.example") + plainMail, "the mail server mx.rig.test has noted nothing, and"},
		{"a server without a name vouches", pinned, noted("spf=pass smtp.mailfrom=acme.example; dmarc=pass header.from=acme.example") + plainMail, "the mail server mx.rig.test has noted nothing, and"},
		{"a name that only begins so", pinned, noted("mx.rig.test.evil.example; dmarc=pass header.from=acme.example") + plainMail, "the mail server mx.rig.test has noted nothing, and"},
		{"a forgery below it", pinned, noted("mx.rig.test; dmarc=none") + pass + plainMail, "the mail server mx.rig.test has noted dmarc=none, and"},
		{"it has failed", pinned, noted("mx.rig.test; dmarc=fail header.from=acme.example") + pass + plainMail, "the mail server mx.rig.test has found that it doesn't come from acme.example (dmarc=fail)"},
		{"only SPF has passed", pinned, noted("mx.rig.test; spf=pass smtp.mailfrom=acme.example") + plainMail, "the mail server mx.rig.test has noted no dmarc, and"},
		{"for another sender", pinned, noted("mx.rig.test; dmarc=pass header.from=evil.example") + plainMail, "the mail server mx.rig.test vouches for another sender than acme.example, and"},
		{"twice", pinned, noted("mx.rig.test; dmarc=none header.from=acme.example; dmarc=pass header.from=acme.example") + plainMail, "several results of dmarc"},
		{"twice, and signed", pinned, noted("mx.rig.test; dmarc=none header.from=acme.example; dmarc=pass header.from=acme.example") + signed, "several results of dmarc"},
		{"passed and failed", pinned, noted("mx.rig.test; dmarc=pass header.from=acme.example; dmarc=fail header.from=acme.example") + plainMail, "(dmarc=fail)"},
		{"failed below another of its notes", pinned, pass + fail + plainMail, "(dmarc=fail)"},
		{"failed below another of its notes, and signed", pinned, noted("mx.rig.test; spf=pass smtp.mailfrom=acme.example") + fail + signed, "(dmarc=fail)"},
		{"failed below what can't be read", pinned, noted("mx.rig.test; dmarc=pass (header.from=acme.example") + fail + signed, "(dmarc=fail)"},
		{"failed below what another server noted", pinned, noted("filter.rig.test; none") + fail + signed, "(dmarc=fail)"},
		{"failed by another server", pinned, noted("mx.evil.example; dmarc=fail header.from=acme.example") + pass + plainMail, ""},
		{"passed below another of its notes", pinned, noted("mx.rig.test; spf=pass smtp.mailfrom=acme.example") + pass + plainMail, "the mail server mx.rig.test has noted no dmarc, and"},
		{"a server that is called none", Vouchers{Server: NoServerID}, noted("none; dmarc=pass header.from=acme.example") + plainMail, "the mail server none has noted nothing, and"},
		{"a server with an empty name", Vouchers{Server: NoServerID}, noted(`""; dmarc=pass header.from=acme.example`) + plainMail, "the mail server none has noted nothing, and"},
		{"failed by a server without a name", Vouchers{Server: NoServerID}, noted("spf=pass smtp.mailfrom=acme.example") + noted("dmarc=fail header.from=acme.example") + signed, "(dmarc=fail)"},
		{"what can't be read", pinned, noted("mx.rig.test; dmarc=pass (header.from=acme.example") + pass + plainMail, "the Authentication-Results header can't be read, and"},
		{"a forgery in a quoted word", pinned, noted(`mx.rig.test; spf=pass smtp.mailfrom="x; dmarc=pass header.from=acme.example"@evil.example; dmarc=fail header.from=acme.example`) + plainMail, "(dmarc=fail)"},
		{"signed", pinned, dns.sign(t, plainMail, "acme.example"), ""},
		{"signed, and nothing set", Vouchers{}, dns.sign(t, plainMail, "acme.example"), ""},
		{"signed by a part of it", Vouchers{}, dns.sign(t, plainMail, "mail.acme.example"), ""},
		{"signed by somebody else", Vouchers{}, dns.sign(t, plainMail, "evil.example"), "it has no DKIM signature of acme.example"},
		{"signed by all of a country", Vouchers{}, dns.sign(t, strings.Replace(plainMail, "acme.example", "acme.co.uk", 1), "evil.co.uk"), "it has no DKIM signature of acme.co.uk"},
		{"signed below what is looked at", Vouchers{}, buried, "it has no DKIM signature of acme.example"},
		{"signed and changed", Vouchers{}, strings.Replace(dns.sign(t, plainMail, "acme.example"), "1,2", "1,9", 1), "its DKIM signature of acme.example is not good"},
		{"signed and failed", pinned, noted("mx.rig.test; dmarc=fail header.from=acme.example") + dns.sign(t, plainMail, "acme.example"), "(dmarc=fail)"},
		{"two senders", pinned, pass + "From: <jo@evil.example>\r\n" + plainMail, "the mail has not one plain sender in From"},
		{"two senders, and signed", Vouchers{}, "From: <jo@evil.example>\r\n" + dns.sign(t, plainMail, "acme.example"), "the mail has not one plain sender in From"},
		{"two senders, and the address is known", Vouchers{Recipient: true}, "From: <jo@evil.example>\r\n" + plainMail, "the mail has not one plain sender in From"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.vouchers.LookupTXT = dns.lookup
			in := strings.NewReader(c.raw)
			head, err := textproto.ReadHeader(bufio.NewReader(strings.NewReader(c.raw)))
			if err != nil {
				t.Fatal(err)
			}
			h := headerOf(head)
			got, err := c.vouchers.doubt(t.Context(), h, sender(h), in)
			if err != nil || got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}
