package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-msgauth/dkim"
)

const plainMail = "From: Jo <jo@acme.example>\r\nTo: in@rig.test\r\nSubject: Orders\r\n\r\na,b\r\n1,2\r\n"

// signers are the keys of domains that sign mails.
type signers map[string]ed25519.PrivateKey

// sign signs a mail; covered are the fields, From and Subject if none are named.
func (s signers) sign(t *testing.T, raw, domain string, covered ...string) string {
	t.Helper()
	if s[domain] == nil {
		var err error
		if _, s[domain], err = ed25519.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
	}
	if covered == nil {
		covered = []string{"From", "From", "Subject", "Subject"}
	}
	var signed bytes.Buffer
	err := dkim.Sign(&signed, strings.NewReader(raw), &dkim.SignOptions{Domain: domain, Selector: "k", Signer: s[domain], HeaderKeys: covered})
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

func anybody(string) bool { return true }

// doubtOf is what vouchers say of a mail.
func doubtOf(t *testing.T, v Vouchers, raw string) (string, error) {
	t.Helper()
	head, err := textproto.ReadHeader(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	h := headerOf(head)
	return v.doubt(t.Context(), h, sender(h), strings.NewReader(raw))
}

// While a key can't be looked up, it isn't known whether a signature is good. A server of the
// sender's that never answers costs a few seconds.
func TestAKeyThatCanNotBeLookedUp(t *testing.T) {
	raw := signers{}.sign(t, signers{}.sign(t, plainMail, "acme.example"), "mail.acme.example")
	for name, lookup := range map[string]func(context.Context, string) ([]string, error){
		"no server answers": func(context.Context, string) ([]string, error) {
			return nil, &net.DNSError{Err: "no answer", IsTemporary: true}
		},
		"the server is silent": func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				doubt, err := doubtOf(t, Vouchers{Allows: anybody, LookupTXT: lookup}, raw)
				if took := time.Since(began); !errors.Is(err, errUnsure) || took > 5*time.Second {
					t.Errorf("after %s: %q, %v, want errUnsure", took, doubt, err)
				}
			})
		})
	}
}

// Whoever sends a mail decides what is asked of the DNS: no more than can make a difference.
func TestKeysThatAreNotLookedUp(t *testing.T) {
	elsewhere := plainMail
	for range mostSignatures {
		elsewhere = signers{}.sign(t, elsewhere, "evil.example")
	}
	own := plainMail
	for range 2 * mostSignatures {
		own = signers{}.sign(t, own, "acme.example")
	}
	stranger := func(address string) bool { return address != "jo@acme.example" }
	for _, c := range []struct {
		name   string
		allows func(string) bool
		raw    string
		most   int
	}{
		{"of somebody whom no account allows", stranger, own, 0},
		{"of other domains", anybody, elsewhere, 0},
		{"of many signatures", anybody, own, mostSignatures},
		{"of a mail with two types", anybody, "Content-Type: a/b\r\nContent-Type: a/b\r\n" + own, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			lookups := 0
			doubt, err := doubtOf(t, Vouchers{Allows: c.allows, LookupTXT: func(context.Context, string) ([]string, error) {
				lookups++
				return nil, errors.New("no such host")
			}}, c.raw)
			if err != nil || doubt == "" || lookups > c.most {
				t.Errorf("%d keys were looked up, want %d at most; %q, %v", lookups, c.most, doubt, err)
			}
		})
	}
}

// A program of the sender's has answered a mail of somebody else's and quotes it; or somebody
// has. What was quoted must not become an attachment of theirs.
func TestASignedMailThatIsRebuilt(t *testing.T) {
	const (
		from    = "From: Jo <jo@acme.example>\r\nSubject: I am away\r\nMIME-Version: 1.0\r\n"
		text    = "Content-Type: text/plain\r\n"
		parts   = "Content-Type: multipart/mixed; boundary=X\r\n"
		file    = "Content-Disposition: attachment; filename=orders.csv\r\n"
		encoded = "Content-Transfer-Encoding: 7bit\r\n"
		quoting = "\r\nI am away. You wrote:\r\n--X\r\n" + text + file + "\r\na,b\r\n1,2\r\n--X--\r\n"
	)
	usual := []string{"From", "Subject", "Date", "To", "Message-ID"}
	typed := append(usual, "MIME-Version", "Content-Type")
	dns := signers{}
	for _, c := range []struct {
		name       string
		raw        string
		signed     []string
		above      string // is put above the signature
		from, into string // is replaced below it
		want       string // the doubt; "" for none
	}{
		{"not at all", from + text + quoting, typed, "", "", "", ""},
		{"not at all, and it has parts", from + parts + quoting, typed, "", "", "", ""},
		{"not at all, and it has no type", from + quoting, usual, "", "", "", ""},
		{"a type above its own", from + text + quoting, typed, parts, "", "", "its header has more than one Content-Type"},
		{"a type above its own, which is not signed", from + text + quoting, usual, parts, "", "", "its header has more than one Content-Type"},
		{"another type that is not signed", from + text + quoting, usual, "", text, parts, "its DKIM signature of acme.example leaves out Content-Type"},
		{"another type that is signed", from + text + quoting, typed, "", text, parts, "its DKIM signature of acme.example is not good"},
		{"a type where it had none", from + quoting, usual, parts, "", "", "its DKIM signature of acme.example leaves out Content-Type"},
		{"a type where it had none, by its signature", from + quoting, typed, parts, "", "", "its DKIM signature of acme.example is not good"},
		{"the text as a file", from + text + quoting, typed, file, "", "", "its DKIM signature of acme.example leaves out Content-Disposition"},
		{"the text as a file, without a type", from + quoting, usual, file, "", "", "its DKIM signature of acme.example leaves out Content-Disposition"},
		{"an encoding", from + text + quoting, typed, encoded, "", "", "its DKIM signature of acme.example leaves out Content-Transfer-Encoding"},
		{"an encoding of parts, which is nothing", from + parts + quoting, typed, encoded, "", "", ""},
		{"no automatic answer any more", "Auto-Submitted: auto-replied\r\n" + from + text + quoting, typed, "Auto-Submitted: no\r\n", "", "", "its header has more than one Auto-Submitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := dns.sign(t, c.raw, "acme.example", c.signed...)
			if c.from != "" {
				raw = strings.Replace(raw, c.from, c.into, 1)
			}
			got, err := doubtOf(t, Vouchers{Allows: anybody, LookupTXT: dns.lookup}, c.above+raw)
			if err != nil || !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}

// What a mail has once, and readers may take from either place, is in doubt whoever vouches.
func TestFieldsThatStandTwice(t *testing.T) {
	for _, field := range []string{
		"Content-Type", "content-transfer-encoding", "Content-Disposition", "MIME-VERSION", "Subject", "Date", "Auto-Submitted",
		"Message-ID", "In-Reply-To", "References", "Sender", "Reply-To", "To", "Cc", "Return-Path",
	} {
		raw := field + ": x\r\nAuthentication-Results: mx.rig.test; dmarc=pass header.from=acme.example\r\nFrom: jo@acme.example\r\n" + field + " : x\r\n\r\n"
		if doubt, err := doubtOf(t, Vouchers{Server: "mx.rig.test"}, raw); err != nil || !strings.EqualFold(doubt, "its header has more than one "+field) {
			t.Errorf("%s: %q, %v", field, doubt, err)
		}
		if doubt, err := doubtOf(t, Vouchers{Recipient: true}, raw); err != nil || doubt != "" {
			t.Errorf("%s, where the address is proof: %q, %v", field, doubt, err)
		}
	}
}

func TestVouchers(t *testing.T) {
	dns := signers{}
	noted := func(value string) string { return "Authentication-Results: " + value + "\r\n" }
	pass := noted("mx.rig.test; dmarc=pass header.from=acme.example")
	fail := noted("mx.rig.test; dmarc=fail header.from=acme.example")
	signed := dns.sign(t, plainMail, "acme.example")
	buried, apart := signed, signed
	for range mostSignatures {
		buried, apart = signers{}.sign(t, buried, "lost.acme.example"), dns.sign(t, apart, "evil.example")
	}
	long := "X-Filler: " + strings.Repeat("x", maxSigned) + "\r\n" + plainMail
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
		{"signed below those of somebody else", Vouchers{}, apart, ""},
		{"signed below what is looked at", Vouchers{}, buried, "its DKIM signature of lost.acme.example is not good"},
		{"signed by a signature that covers much", Vouchers{}, dns.sign(t, long, "acme.example", "From", "X-Filler"), "its DKIM signature of acme.example is not good (it covers too much)"},
		{"signed by a signature that is long", Vouchers{}, dns.sign(t, plainMail, "acme.example", slices.Repeat([]string{"From"}, maxSignature/5)...), "its DKIM signature of acme.example is not good (it covers too much)"},
		{"signed, with much that isn't covered", Vouchers{}, dns.sign(t, long, "acme.example"), ""},
		{"signed, with a signature that is signed itself", Vouchers{}, dns.sign(t, dns.sign(t, plainMail, "evil.example"), "acme.example", "From", "DKIM-Signature"), ""},
		{"signed before a signature that signs it", Vouchers{}, dns.sign(t, signed, "evil.example", "From", "DKIM-Signature"), ""},
		{"signed for a list of senders that is not theirs", Vouchers{Allows: func(string) bool { return false }}, signed, "and no account takes files from jo@acme.example"},
		{"signed and changed", Vouchers{}, strings.Replace(dns.sign(t, plainMail, "acme.example"), "1,2", "1,9", 1), "its DKIM signature of acme.example is not good"},
		{"signed and failed", pinned, noted("mx.rig.test; dmarc=fail header.from=acme.example") + dns.sign(t, plainMail, "acme.example"), "(dmarc=fail)"},
		{"two senders", pinned, pass + "From: <jo@evil.example>\r\n" + plainMail, "the mail has not one plain sender in From"},
		{"two senders, and signed", Vouchers{}, "From: <jo@evil.example>\r\n" + dns.sign(t, plainMail, "acme.example"), "the mail has not one plain sender in From"},
		{"two senders, and the address is known", Vouchers{Recipient: true}, "From: <jo@evil.example>\r\n" + plainMail, "the mail has not one plain sender in From"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.vouchers.LookupTXT = dns.lookup
			if c.vouchers.Allows == nil {
				c.vouchers.Allows = anybody
			}
			got, err := doubtOf(t, c.vouchers, c.raw)
			if err != nil || got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
				t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
			}
		})
	}
}
