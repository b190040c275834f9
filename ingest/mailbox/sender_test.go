package mailbox

import (
	"slices"
	"strings"
	"testing"
)

// head is a mail with a header of its own and a file.
func head(lines ...string) string {
	return crlf(strings.Join(lines, "\n")+"\nMIME-Version: 1.0\n") + multipart("mixed", "B", attached("text/csv", "orders.csv", orders))
}

func TestSender(t *testing.T) {
	for _, c := range []struct{ name, from, want string }{
		{"bare", "From: ann@shop.example", "ann@shop.example"},
		{"with a name", "From: Ann <ann@shop.example>", "ann@shop.example"},
		{"in capitals", "From: Ann <Ann@Shop.EXAMPLE>", "ann@shop.example"},
		{"with a comma in the name", `From: "Smith, Ann" <ann@shop.example>`, "ann@shop.example"},
		{"folded", "From: Ann\n <ann@shop.example>", "ann@shop.example"},
		{"with a name in UTF-8", "From: =?utf-8?q?J=C3=BCrgen?= <ann@shop.example>", "ann@shop.example"},
		{"with a name in Latin-1", "From: =?iso-8859-1?q?J=FCrgen?= <ann@shop.example>", "ann@shop.example"},
		{"with a name in Windows-1252", "From: =?windows-1252?q?J=FCrgen?= <ann@shop.example>", "ann@shop.example"},
		{"with a name in Latin-9", "From: =?iso-8859-15?Q?J=FCrgen?= <ann@shop.example>", "ann@shop.example"},
		{"with a name in KOI8-R", "From: =?koi8-r?B?68nSyczMIA==?= <ann@shop.example>", "ann@shop.example"},
		{"with a name of raw UTF-8", "From: Jürgen <ann@shop.example>", "ann@shop.example"},
		{"none", "X-Nothing: here", ""},
		{"two fields", "From: ann@shop.example\nFrom: eve@evil.example", ""},
		{"two equal fields", "From: ann@shop.example\nFrom: ann@shop.example", ""},
		{"two addresses", "From: ann@shop.example, eve@evil.example", ""},
		{"a group of one", "From: Friends: ann@shop.example;", ""},
		{"a group of two", "From: Friends: ann@shop.example, eve@evil.example;", ""},
		{"an empty group", "From: Friends:;", ""},
		{"two addresses without a comma", "From: ann@shop.example <eve@evil.example>", ""},
		{"a second address behind", "From: <ann@shop.example> <eve@evil.example>", ""},
		{"a second address that is quoted oddly", `From: <ann@shop.example>, <"e v"@evil.example>`, ""},
		{"a second address as the name", `From: "<eve@evil.example>" <ann@shop.example>`, ""},
		{"a second address behind a comment in a comment", "From: ann@shop.example (a (b) eve@evil.example)", ""},
		{"no domain", "From: ann", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, head(c.from, "To: uploads@tally.example"))
			checkLetter(t, m)
			if m.mail.From != c.want {
				t.Errorf("the sender is %q, not %q", m.mail.From, c.want)
			}
			if len(m.files) != 1 || m.files[0].refusal != nil {
				t.Errorf("the file was not taken: %q", describe(t, m.files))
			}
		})
	}
}

func TestSubject(t *testing.T) {
	for _, c := range []struct{ name, subject, want string }{
		{"plain", "Subject: Orders of March", "Orders of March"},
		{"folded", "Subject: Orders\n of March", "Orders of March"},
		{"encoded", "Subject: =?utf-8?B?QmVzdGVsbHVuZ2VuIE3DpHJ6?=", "Bestellungen März"},
		{"encoded in Windows-1252", "Subject: =?windows-1252?Q?M=E4rz?=", "März"},
		{"a line break that is encoded", "Subject: =?utf-8?q?Orders=0D=0ABcc:_eve@evil.example?=", "OrdersBcc: eve@evil.example"},
		{"a next-line character that is encoded", "Subject: =?utf-8?q?Orders=C2=85Bcc?=", "OrdersBcc"},
		{"raw bytes", "Subject: M\xE4rz", "Mrz"},
		{"none", "X-Nothing: here", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, head("From: ann@shop.example", c.subject))
			checkLetter(t, m)
			if m.mail.Subject != c.want {
				t.Errorf("the subject is %q, not %q", m.mail.Subject, c.want)
			}
		})
	}
}

func TestThread(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		id          []string // any of them
		references  []string
	}{
		{"both", "Message-ID: <c@shop.example>\nReferences: <a@shop.example> <b@shop.example>", []string{"c@shop.example"}, []string{"a@shop.example", "b@shop.example"}},
		{"folded references", "Message-ID: <c@shop.example>\nReferences: <a@shop.example>\n\t<b@shop.example>", []string{"c@shop.example"}, []string{"a@shop.example", "b@shop.example"}},
		{"no Message-ID", "X-Nothing: here", []string{""}, nil},
		{"two Message-IDs", "Message-ID: <a@shop.example>\nMessage-ID: <b@shop.example>", []string{"a@shop.example", ""}, nil},
		{"a Message-ID without brackets", "Message-ID: a@shop.example", []string{"a@shop.example", ""}, nil},
		{"a Message-ID that is not one", "Message-ID: hello world", []string{""}, nil},
		{"ids that no header can hold", "Message-ID: <c\u008b@shop.example>\nReferences: <a@shop.example> <ä@shop.example>", []string{""}, []string{"a@shop.example"}},
		{"references that are cut", "Message-ID: <c@shop.example>\nReferences: <a@shop.example> <b@sh", []string{"c@shop.example"}, []string{"a@shop.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, head("From: ann@shop.example", c.lines))
			checkLetter(t, m)
			if !slices.Contains(c.id, m.mail.MessageID) {
				t.Errorf("the Message-ID is %q, none of %q", m.mail.MessageID, c.id)
			}
			if !slices.Equal(m.mail.References, c.references) {
				t.Errorf("the references are %q, not %q", m.mail.References, c.references)
			}
			if len(m.files) != 1 || m.files[0].refusal != nil {
				t.Errorf("the file was not taken: %q", describe(t, m.files))
			}
		})
	}
}

func TestRecipients(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		want        []string
	}{
		{"To and Cc", "To: a@tally.example, B <b@tally.example>\nCc: c@tally.example", []string{"a@tally.example", "b@tally.example", "c@tally.example"}},
		{"in capitals", "To: A+ACME@Tally.Example", []string{"a+acme@tally.example"}},
		{"a plus address that the server wrote", "Delivered-To: uploads+acme@tally.example\nTo: uploads@tally.example", []string{"uploads+acme@tally.example", "uploads@tally.example"}},
		{"a plus address that the server wrote, below To", "To: uploads@tally.example\nDelivered-To: uploads+acme@tally.example", []string{"uploads+acme@tally.example", "uploads@tally.example"}},
		{"in brackets", "Delivered-To: <uploads+acme@tally.example>", []string{"uploads+acme@tally.example"}},
		{"what Postfix wrote", "X-Original-To: uploads+acme@tally.example\nDelivered-To: uploads@tally.example", []string{"uploads+acme@tally.example", "uploads@tally.example"}},
		{"once each", "Delivered-To: a@tally.example\nTo: A@tally.example\nCc: a@tally.example", []string{"a@tally.example"}},
		{"Bcc: no one is named", "To: undisclosed-recipients:;\nDelivered-To: uploads+acme@tally.example", []string{"uploads+acme@tally.example"}},
		{"in a group", "To: Uploads: uploads+acme@tally.example, b@tally.example;", []string{"uploads+acme@tally.example", "b@tally.example"}},
		{"with a name in Windows-1252", "To: =?windows-1252?Q?M=FCller?= <uploads+acme@tally.example>", []string{"uploads+acme@tally.example"}},
		{"beside one that can't be read", "To: Nobody, <uploads+acme@tally.example>", []string{"uploads+acme@tally.example"}},
		{"with a comma that should be in quotes", "To: Tally, Inc. <uploads+acme@tally.example>", []string{"uploads+acme@tally.example"}},
		{"with a carriage return in it", "To: a\rb@tally.example", nil},
		{"none", "X-Nothing: here", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, head("From: ann@shop.example", c.lines))
			checkLetter(t, m)
			if !slices.Equal(m.mail.Recipients, c.want) {
				t.Errorf("the recipients are %q, not %q", m.mail.Recipients, c.want)
			}
		})
	}
}

func TestAutomaticMailIsReadButNotAnswered(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       bool
	}{
		{"a person", "X-Nothing: here", false},
		{"a person who says so", "Auto-Submitted: no", false},
		{"a program", "Auto-Submitted: auto-generated", true},
		{"a program, in capitals", "AUTO-SUBMITTED: Auto-Generated", true},
		{"a list by its id", "List-Id: Orders <orders.shop.example>", true},
		{"a list by its way out", "List-Unsubscribe: <mailto:leave@shop.example>", true},
		{"bulk", "Precedence: Bulk", true},
		{"a list by its precedence", "Precedence: list", true},
		{"first class", "Precedence: first-class", false},
		{"one who wants no automatic answer", "X-Auto-Response-Suppress: All", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, head("From: ann@shop.example", c.line))
			checkLetter(t, m)
			if m.skip != "" || len(m.files) != 1 || m.files[0].refusal != nil {
				t.Errorf("the mail was not read: skipped as %q, files %q", m.skip, describe(t, m.files))
			}
			if m.mail.Automatic != c.want {
				t.Errorf("automatic: %v, not %v", m.mail.Automatic, c.want)
			}
		})
	}
}
