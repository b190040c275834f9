package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/textproto"
)

// FuzzMail takes any bytes apart. Whatever they are, the mail is told of or
// skipped, its files exist, its names can't break out of a line, and it is over
// soon.
func FuzzMail(f *testing.F) {
	for _, cases := range [][]mailCase{ordinaryMails, namedMails, refusedMails, damagedMails, skippedMails} {
		for _, c := range cases {
			if len(c.raw) < 32<<10 {
				f.Add([]byte(c.raw))
			}
		}
	}
	for _, header := range []string{
		"From: Friends: ann@shop.example;", "From: =?koi8-r?B?68nSyczMIA==?= <ann@shop.example>", "Subject: =?utf-8?q?a=0D=0Ab?=",
		"Message-ID: <\"a b\"@[::1]>\nReferences: <a@b> (c) <d@e", "Delivered-To: <a+b@c>\nTo: \"x\\\"y\"@z, <\"\x7F\"@q>",
	} {
		f.Add([]byte(head(header)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		began := time.Now()
		m, err := takeApart(bytes.NewReader(raw))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer m.remove()
		checkLetter(t, m)
	})
}

// Whoever writes a header decides whom we take for the sender and for the recipients: whatever it
// holds, there is at most one sender, and nothing in an address, a subject or a name that breaks
// a line.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		"From: Jo <jo@acme.example>\r\nTo: a@b.example, \"C, D\" <c@d.example>\r\nSubject: =?utf-8?q?M=C3=A4rz?=\r\nMessage-ID: <m@acme.example>\r\n",
		"From: a@b.example\r\nFrom: c@d.example\r\n", "From: group: a@b.example, c@d.example;\r\n", "From: \"x@y.example\" <a@b.example>\r\n", "From: a@b.example <c@d.example>\r\n",
		"From: =?utf-8?q?jo=40evil.example?= <jo@acme.example>\r\nSubject: =?utf-8?q?a=0D=0ABcc:_x@y.example?=\r\n",
		"Content-Disposition: attachment; filename*=utf-8''M%C3%A4rz%0D%0A.csv\r\nAuto-Submitted: auto-replied\r\n", "Content-Type: text/csv; name=\"=?utf-8?b?Li4vLi4vYS5jc3Y=?=\"\r\nReturn-Path: <>\r\n",
		"Authentication-Results: mx.rig.test; dmarc=pass header.from=acme.example\r\nFrom: (c(d)) jo@acme.example (e)\r\n", "X-Original-To: <a@b.example\r\n",
		"DKIM-Signature: v=1; a=rsa-sha256; d=acme.example; s=k; h=From:Content-Type:DKIM-Signature; bh=AA==; b=AA==\r\nContent-Type: text/csv\r\nDKIM-Signature: d=acme.example\r\nFrom: jo@acme.example\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		head, err := textproto.ReadHeader(bufio.NewReader(strings.NewReader(raw + "\r\n")))
		if err != nil {
			return
		}
		h := headerOf(head)
		m := readMail(h)
		breaks := func(text string) bool { return strings.ContainsAny(text, "\r\n\x00") }
		if breaks(m.From) || breaks(m.Subject) || breaks(fileName(h)) || m.From != "" && strings.Count(m.From, "@") == 0 {
			t.Errorf("%q is from %q about %q with %q", raw, m.From, m.Subject, fileName(h))
		}
		if m.From != "" && h.FieldsByKey("From").Len() != 1 {
			t.Errorf("%q has several From, and is from %q", raw, m.From)
		}
		for _, to := range m.Recipients {
			if breaks(to) || to != strings.ToLower(to) {
				t.Errorf("%q goes to %q", raw, to)
			}
		}
		_ = skipped(h)
		if _, err := (Vouchers{Server: "mx.rig.test"}).noted(h); err != nil {
			return
		}
		// Without a key, no signature is good.
		nobody := Vouchers{Allows: anybody, LookupTXT: func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }}
		if doubt, err := nobody.doubt(t.Context(), h, m.From, strings.NewReader(raw+"\r\n")); doubt == "" || err != nil {
			t.Errorf("%q is believed to be from %q, %v", raw, m.From, err)
		}
	})
}
