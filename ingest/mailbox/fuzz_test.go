package mailbox

import (
	"bytes"
	"testing"
	"time"
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
