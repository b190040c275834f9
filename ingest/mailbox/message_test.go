package mailbox

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"calltally/conversion"
)

const (
	orders = "call_id,amount\r\nC1,5.00\r\n"
	sales  = "call_id,amount\r\nC2,7.50\r\n"

	greeting = "Good morning, please find the file attached."
)

// envelope is the header that most of the mails here begin with.
const envelope = `From: Ann <ann@shop.example>
To: uploads@tally.example
Subject: Orders
Message-ID: <m1@shop.example>
MIME-Version: 1.0
`

// crlf ends every line as mails do.
func crlf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

// mixed is a mail of several parts; each is a header, a blank line and a body.
func mixed(parts ...string) string { return crlf(envelope) + multipart("mixed", "B", parts...) }

// multipart is the Content-Type and the body of a part that has parts.
func multipart(subtype, boundary string, parts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: multipart/%s; boundary=%s\r\n\r\n", subtype, boundary)
	for _, part := range parts {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n", boundary, part)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.String()
}

// single is a mail without parts.
func single(header, body string) string { return crlf(envelope + header + "\n" + body) }

// plain is a part as it stands, encoded is one in base64.
func plain(header, body string) string { return crlf(header + "\n\n" + body) }

func encoded(header, body string) string {
	return crlf(header + "\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte(body)))
}

// attached is a part of a type that is attached under a name.
func attached(kind, name, body string) string {
	return encoded("Content-Type: "+kind+"\nContent-Disposition: attachment; filename=\""+name+"\"", body)
}

var (
	text = plain("Content-Type: text/plain", greeting)
	logo = encoded("Content-Type: image/png; name=logo.png\nContent-Disposition: inline; filename=logo.png\nContent-ID: <logo>", "\x89PNG\r\n\x1a\n")
)

// nested is a mail inside as many mails.
func nested(depth int, inner string) string {
	return strings.Repeat(crlf(envelope+"Content-Type: message/rfc822\n\n"), depth) + inner
}

// many are as many parts of text, with others put among them by their place.
func many(n int, others map[int]string) []string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = text
		if other, ok := others[i]; ok {
			parts[i] = other
		}
	}
	return parts
}

type wantFile struct {
	name    string
	content string          // of a file that is not refused
	refused conversion.Code // "" if it is not
}

// mailCase is a mail and what is to be made of it.
type mailCase struct {
	name  string
	raw   string
	files []wantFile
	skip  string
}

var (
	ordersFile   = wantFile{name: "orders.csv", content: orders}
	salesFile    = wantFile{name: "sales.csv", content: sales}
	noAttachment = wantFile{name: "mail.eml", refused: conversion.NoAttachment}
)

func one(f wantFile) []wantFile { return []wantFile{f} }

var ordinaryMails = []mailCase{
	{name: "an attachment", raw: mixed(text, attached("text/csv", "orders.csv", orders)), files: one(ordersFile)},
	{name: "text/csv that is not marked as attached", raw: mixed(text, encoded("Content-Type: text/csv; name=orders.csv", orders)), files: one(ordersFile)},
	{name: "text/csv without any name", raw: mixed(text, encoded("Content-Type: text/csv", orders)), files: one(wantFile{name: "upload.csv", content: orders})},
	{name: "an inline file", raw: mixed(text, encoded("Content-Type: text/csv\nContent-Disposition: inline; filename=orders.csv", orders)), files: one(ordersFile)},
	{name: "bytes of no known type named .csv", raw: mixed(text, attached("application/octet-stream", "orders.csv", orders)), files: one(ordersFile)},
	{name: "Excel's type for a .csv", raw: mixed(text, attached("application/vnd.ms-excel", "orders.csv", orders)), files: one(ordersFile)},
	{name: "types in capitals", raw: crlf(envelope) + strings.Replace(multipart("mixed", "B", text, attached("TEXT/CSV", "ORDERS.CSV", orders)), "multipart/mixed", "MULTIPART/Mixed", 1), files: one(wantFile{name: "ORDERS.CSV", content: orders})},
	{name: "the mail itself is the file", raw: single("Content-Type: text/csv; name=orders.csv\nContent-Disposition: attachment\n", orders), files: one(ordersFile)},
	{name: "text that is attached without a name", raw: mixed(text, encoded("Content-Type: text/plain\nContent-Disposition: attachment", orders)), files: one(wantFile{name: "upload.csv", content: orders})},
	{name: "a .txt file", raw: mixed(text, attached("text/plain", "orders.txt", orders)), files: one(wantFile{name: "orders.txt", content: orders})},
	{name: "a .tsv file", raw: mixed(text, attached("application/octet-stream", "orders.tsv", orders)), files: one(wantFile{name: "orders.tsv", content: orders})},
	{name: "quoted-printable", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: quoted-printable", "call_id,amount=0D=0AC1,5=\n.00=0D=0A=\n")), files: one(ordersFile)},
	{name: "not encoded at all", raw: mixed(plain("Content-Type: text/csv; name=orders.csv", orders)), files: one(ordersFile)},
	{name: "bytes stay as they are, whatever charset is declared", raw: mixed(attached("text/csv; charset=windows-1252", "orders.csv", "M\xE4rz,1\r\n")), files: one(wantFile{name: "orders.csv", content: "M\xE4rz,1\r\n"})},
	{name: "base64 in broken lines with spaces", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: BASE64", "Y2FsbF9p ZCxhbW91\n\nbnQNCkMx\n LDUuMDANCg==\n")), files: one(ordersFile)},
	{name: "lines that end in LF alone", raw: strings.ReplaceAll(mixed(text, attached("text/csv", "orders.csv", orders)), "\r\n", "\n"), files: one(ordersFile)},
	{name: "an attachment of no bytes", raw: mixed(text, attached("text/csv", "orders.csv", "")), files: one(wantFile{name: "orders.csv"})},
	{name: "two files", raw: mixed(text, attached("text/csv", "orders.csv", orders), attached("text/csv", "sales.csv", sales)), files: []wantFile{ordersFile, salesFile}},
	{name: "two files of one name", raw: mixed(attached("text/csv", "orders.csv", orders), attached("text/csv", "orders.csv", sales)), files: []wantFile{ordersFile, {name: "orders.csv", content: sales}}},
	{name: "a file beside a PDF and a logo", raw: mixed(multipart("related", "R", text, logo), attached("application/pdf", "orders.pdf", "%PDF-1.7"), attached("text/csv", "orders.csv", orders)), files: one(ordersFile)},
	{name: "a file beside a workbook, which is answered too", raw: mixed(attached("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "sales.xlsx", "PK\x03\x04"), attached("text/csv", "orders.csv", orders)), files: []wantFile{{name: "sales.xlsx", content: "PK\x03\x04"}, ordersFile}},
	{name: "a file beside the footer that Exchange adds", raw: mixed(attached("text/csv", "orders.csv", orders), attached("text/plain", "ATT00001.txt", "Confidential.")), files: one(ordersFile)},
	{name: "a file that Exchange named itself", raw: mixed(text, attached("text/plain", "ATT00001.txt", orders)), files: one(wantFile{name: "ATT00001.txt", content: orders})},
	{name: "a file in a forwarded mail", raw: mixed(text, plain("Content-Type: message/rfc822", crlf(envelope)+multipart("mixed", "I", text, attached("text/csv", "orders.csv", orders)))), files: one(ordersFile)},
	{name: "a file in a mail forwarded three times", raw: nested(3, mixed(attached("text/csv", "orders.csv", orders))), files: one(ordersFile)},
	{name: "a forwarded mail that is encoded", raw: mixed(encoded("Content-Type: message/rfc822\nContent-Disposition: attachment; filename=fwd.eml", mixed(attached("text/csv", "orders.csv", orders)))), files: one(ordersFile)},
	// Whether they are ours shows in their header, not in their name.
	{name: "results alone", raw: mixed(text, attached("text/csv", "orders.results.csv", orders)), files: one(wantFile{name: "orders.results.csv", content: orders})},
	{name: "bytes that are not marked as attached", raw: mixed(text, encoded("Content-Type: application/octet-stream", orders)), files: one(wantFile{name: "upload.csv", content: orders})},
	{name: "a file as a Mac attaches it", raw: mixed(text, multipart("appledouble", "D", encoded("Content-Type: application/applefile; name=orders.csv\nContent-Disposition: attachment; filename=orders.csv", "\x00\x05\x16\x07"), attached("text/csv", "orders.csv", orders))), files: one(ordersFile)},
	{name: "our own results beside a new file", raw: mixed(attached("text/csv", "Orders.Results.CSV", sales), attached("text/csv", "orders.csv", orders)), files: one(ordersFile)},
	{name: "a corrected fix file", raw: mixed(text, attached("text/csv", "orders.fix.csv", orders)), files: one(wantFile{name: "orders.fix.csv", content: orders})},
	{name: "a CSV sent by a program", raw: "Auto-Submitted: auto-generated\r\n" + mixed(attached("text/csv", "orders.csv", orders)), files: one(ordersFile)},
	{name: "a CSV sent through a list", raw: "List-Id: <orders.shop.example>\r\n" + mixed(attached("text/csv", "orders.csv", orders)), files: one(ordersFile)},
	{name: "a sender whose name only ends like the postmaster's", raw: strings.Replace(mixed(attached("text/csv", "orders.csv", orders)), "ann@", "thepostmaster@", 1), files: one(ordersFile)},
	{name: "a sender who mentions the postmaster", raw: strings.Replace(mixed(attached("text/csv", "orders.csv", orders)), "From: Ann", `From: "Ann, was postmaster@old.example"`, 1), files: one(ordersFile)},
}

var namedMails = []mailCase{
	{name: "a name in Content-Type alone", raw: mixed(encoded("Content-Type: application/octet-stream; name=\"orders.csv\"", orders)), files: one(ordersFile)},
	{name: "RFC 2231", raw: mixed(encoded("Content-Type: text/csv\nContent-Disposition: attachment; filename*=utf-8''Bestellungen%20M%C3%A4rz.csv", orders)), files: one(wantFile{name: "Bestellungen März.csv", content: orders})},
	{name: "RFC 2231 in pieces", raw: mixed(encoded("Content-Type: text/csv\nContent-Disposition: attachment; filename*0*=utf-8''Bestellungen%20;\n filename*1*=M%C3%A4rz;\n filename*2=.csv", orders)), files: one(wantFile{name: "Bestellungen März.csv", content: orders})},
	{name: "RFC 2231 in Latin-1", raw: mixed(encoded("Content-Type: text/csv\nContent-Disposition: attachment; filename*=iso-8859-1''M%E4rz.csv", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "RFC 2047", raw: mixed(encoded("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"=?utf-8?Q?Bestellungen_M=C3=A4rz.csv?=\"", orders)), files: one(wantFile{name: "Bestellungen März.csv", content: orders})},
	{name: "RFC 2047 in base64", raw: mixed(encoded("Content-Type: application/octet-stream; name=\"=?UTF-8?B?TcOkcnouY3N2?=\"", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "RFC 2047 in Windows-1252", raw: mixed(encoded("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"=?windows-1252?Q?M=E4rz.csv?=\"", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "RFC 2047 in Windows-1252 beside a PDF", raw: mixed(attached("application/pdf", "orders.pdf", "%PDF-1.7"), encoded("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"=?windows-1252?Q?M=E4rz.csv?=\"", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "both kinds of name", raw: mixed(encoded("Content-Type: text/csv; name=b.csv\nContent-Disposition: attachment; filename=c.csv; filename*=utf-8''M%C3%A4rz.csv", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "a space without quotes", raw: mixed(encoded("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=my orders.csv", orders)), files: one(wantFile{name: "my orders.csv", content: orders})},
	{name: "a parameter twice", raw: mixed(encoded("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=orders.csv; filename=orders.csv", orders)), files: one(ordersFile)},
	{name: "raw UTF-8", raw: mixed(attached("application/octet-stream", "März.csv", orders)), files: one(wantFile{name: "März.csv", content: orders})},
	{name: "control characters in an encoded name", raw: mixed(encoded("Content-Type: text/csv\nContent-Disposition: attachment; filename=\"=?utf-8?Q?a=0D=0ABcc:_eve@evil.example=00.csv?=\"", orders)), files: one(wantFile{name: "aBcc: eve@evil.example.csv", content: orders})},
	{name: "control characters in an RFC 2231 name", raw: mixed(encoded("Content-Type: text/csv\nContent-Disposition: attachment; filename*=utf-8''a%0D%0ABcc%3A.csv", orders)), files: one(wantFile{name: "aBcc:.csv", content: orders})},
}

var refusedMails = []mailCase{
	{name: "no file, only text", raw: mixed(text), files: one(noAttachment)},
	{name: "no file, only the table pasted into the text", raw: single("Content-Type: text/plain\n", orders), files: one(noAttachment)},
	{name: "text in two forms", raw: crlf(envelope) + multipart("alternative", "A", text, plain("Content-Type: text/html", "<p>Hello</p>")), files: one(noAttachment)},
	{name: "only a signature's picture", raw: mixed(multipart("related", "R", text, logo)), files: one(noAttachment)},
	{name: "only an invitation", raw: mixed(text, encoded("Content-Type: text/calendar; name=invite.ics", "BEGIN:VCALENDAR")), files: one(noAttachment)},
	{name: "a mail of no bytes", raw: "", files: one(noAttachment)},
	// What is sent in place of a CSV file is taken, so that its own refusal can
	// say what it is.
	{name: "only a PDF", raw: mixed(text, attached("application/pdf", "orders.pdf", "%PDF-1.7")), files: one(wantFile{name: "orders.pdf", content: "%PDF-1.7"})},
	{name: "only a ZIP archive", raw: mixed(text, attached("application/zip", "orders.zip", "PK\x03\x04")), files: one(wantFile{name: "orders.zip", content: "PK\x03\x04"})},
	{name: "only a ZIP archive as Windows calls it", raw: mixed(text, attached("application/x-zip-compressed", "orders.zip", "PK\x03\x04")), files: one(wantFile{name: "orders.zip", content: "PK\x03\x04"})},
	{name: "only a workbook", raw: mixed(text, attached("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "orders.xlsx", "PK\x03\x04")), files: one(wantFile{name: "orders.xlsx", content: "PK\x03\x04"})},
	{name: "only winmail.dat", raw: mixed(text, attached("application/ms-tnef", "winmail.dat", "\x78\x9F\x3E\x22")), files: one(wantFile{name: "winmail.dat", refused: conversion.NotATable})},
	{name: "PGP", raw: crlf(envelope) + multipart("encrypted; protocol=\"application/pgp-encrypted\"", "E", plain("Content-Type: application/pgp-encrypted", "Version: 1"), plain("Content-Type: application/octet-stream", "-----BEGIN PGP MESSAGE-----")), files: one(wantFile{name: "mail.eml", refused: conversion.Encrypted})},
	{name: "PGP as most programs name its parts", raw: crlf(envelope) + multipart("encrypted; protocol=\"application/pgp-encrypted\"", "E", plain("Content-Type: application/pgp-encrypted\nContent-Description: PGP/MIME version identification", "Version: 1"), plain("Content-Type: application/octet-stream; name=\"encrypted.asc\"\nContent-Disposition: inline; filename=\"encrypted.asc\"", "-----BEGIN PGP MESSAGE-----")), files: one(wantFile{name: "mail.eml", refused: conversion.Encrypted})},
	{name: "S/MIME", raw: single("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Disposition: attachment; filename=smime.p7m\nContent-Transfer-Encoding: base64\n", "MIAGCSqGSIb3DQEHA6CA\n"), files: one(wantFile{name: "mail.eml", refused: conversion.Encrypted})},
}

var damagedMails = []mailCase{
	{name: "base64 that breaks off", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64", "Y2FsbF9pZCxhbW91bnQNCkMxLDUuM")), files: one(wantFile{name: "orders.csv", refused: conversion.NotATable})},
	{name: "base64 that breaks off with the mail, between two groups", raw: cutAfter(mixed(attached("text/csv", "orders.csv", orders)), "Y2FsbF9pZCxhbW91"), files: one(wantFile{name: "orders.csv", refused: conversion.NotATable})},
	{name: "base64 with a list's footer", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64", base64.StdEncoding.EncodeToString([]byte(orders))+"\n_______________________\nTo unsubscribe, write to us.")), files: one(wantFile{name: "orders.csv", refused: conversion.NotATable})},
	{name: "base64 in two runs", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64", "Y2FsbF9pZA==\nLGFtb3VudA==")), files: one(wantFile{name: "orders.csv", refused: conversion.NotATable})},
	{name: "one file is damaged, another is not", raw: mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64", "Y2FsbF9pZCxhbW91bnQNCkMxLDUuM"), attached("text/csv", "sales.csv", sales)), files: []wantFile{{name: "orders.csv", refused: conversion.NotATable}, salesFile}},
	{name: "the last boundary is missing", raw: strings.TrimSuffix(mixed(plain("Content-Type: text/csv; name=orders.csv", orders)), "--B--\r\n"), files: one(wantFile{name: "orders.csv", refused: conversion.NotATable})},
	{name: "a part with a broken header comes first", raw: mixed(plain("this is no header", "x"), attached("text/csv", "orders.csv", orders)), files: one(noAttachment)},
	{name: "a multipart whose own parameters are broken", raw: strings.Replace(mixed(text, attached("text/csv", "orders.csv", orders)), "boundary=B", "boundary=B; name=my file", 1), files: one(noAttachment)},
	{name: "a header line without a colon", raw: "Received by nobody\r\n" + mixed(attached("text/csv", "orders.csv", orders)), files: one(noAttachment)},
	{name: "an mbox line before the header", raw: "From ann@shop.example Mon Mar  2 10:00:00 2026\r\n" + mixed(attached("text/csv", "orders.csv", orders)), files: one(noAttachment)},
	{name: "mails nested 25 deep", raw: nested(25, mixed(attached("text/csv", "orders.csv", orders))), files: one(noAttachment)},
	{name: "multiparts nested 25 deep", raw: crlf(envelope) + nestedParts(25, attached("text/csv", "orders.csv", orders)), files: one(noAttachment)},
	{name: "mails nested 5,000 deep", raw: nested(5000, mixed(attached("text/csv", "orders.csv", orders))), files: one(noAttachment)},
	{name: "a file behind 300 parts", raw: mixed(many(301, map[int]string{300: attached("text/csv", "orders.csv", orders)})...), files: one(noAttachment)},
	{name: "a header over its limit", raw: "X-Filler: " + strings.Repeat("x", maxHeader) + "\r\n" + mixed(attached("text/csv", "orders.csv", orders)), files: one(noAttachment)},
}

func nestedParts(depth int, inner string) string {
	for i := range depth {
		inner = multipart("mixed", fmt.Sprintf("B%d", i), inner)
	}
	return inner
}

// cutAfter ends a mail after a piece of it.
func cutAfter(raw, piece string) string {
	before, _, _ := strings.Cut(raw, piece)
	return before + piece
}

var skippedMails = []mailCase{
	{name: "a bounce without a sender", raw: "Return-Path: <>\r\n" + mixed(attached("text/csv", "orders.csv", orders)), skip: "a bounce"},
	{name: "a bounce by the mail system", raw: strings.Replace(mixed(attached("text/csv", "orders.csv", orders)), "Ann <ann@", "Mail Delivery System <MAILER-DAEMON@", 1), skip: "a bounce"},
	{name: "a bounce by the postmaster", raw: strings.Replace(mixed(text), "ann@", "postmaster@", 1), skip: "a bounce"},
	{name: "an answer by a program", raw: "Auto-Submitted: auto-replied\r\n" + mixed(attached("text/csv", "orders.csv", orders)), skip: "an automatic reply"},
	{name: "an answer by a program, with a comment", raw: "Auto-Submitted: Auto-Replied (vacation)\r\n" + mixed(text), skip: "an automatic reply"},
	{name: "a delivery report", raw: crlf(envelope) + multipart("report; report-type=delivery-status", "R", text, plain("Content-Type: message/delivery-status", "Action: failed")), skip: "a delivery report or a receipt"},
	{name: "a receipt", raw: crlf(envelope) + multipart("report; report-type=disposition-notification", "R", text, plain("Content-Type: message/disposition-notification", "Disposition: displayed")), skip: "a delivery report or a receipt"},
	{name: "a bounce of another kind", raw: "X-Failed-Recipients: ann@shop.example\r\n" + mixed(text), skip: "a delivery report or a receipt"},
	{name: "our own report", raw: "X-Calltally-Report: upload=1\r\n" + mixed(attached("text/csv", "orders.csv", orders)), skip: "our own report"},
	{name: "our own report as a mail that is answered", raw: "Auto-Submitted: auto-replied\r\nX-Calltally-Report: upload=1\r\n" + mixed(text), skip: "our own report"},
}

func TestTakeApart(t *testing.T) {
	for group, cases := range map[string][]mailCase{"ordinary": ordinaryMails, "named": namedMails, "refused": refusedMails, "damaged": damagedMails, "skipped": skippedMails} {
		for _, c := range cases {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				m := apart(t, c.raw)
				if m.skip != c.skip {
					t.Errorf("skipped as %q, not as %q", m.skip, c.skip)
				}
				if got, want := describe(t, m.files), describeWant(c.files); !slices.Equal(got, want) {
					t.Errorf("files:\n  got  %s\n  want %s", strings.Join(got, "\n       "), strings.Join(want, "\n       "))
				}
				checkLetter(t, m)
			})
		}
	}
}

// apart takes a mail apart.
func apart(t *testing.T, raw string) *letter {
	t.Helper()
	m, err := takeApart(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.remove)
	return m
}

// copied is an attachment's content.
func copied(t *testing.T, f file) []byte {
	t.Helper()
	in, err := f.copy.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func describe(t *testing.T, files []file) []string {
	t.Helper()
	lines := make([]string, len(files))
	for i, f := range files {
		if f.refusal != nil {
			lines[i] = fmt.Sprintf("%q refused as %s", f.name, f.refusal.Code)
			continue
		}
		content := copied(t, f)
		// The line end before a boundary belongs to the boundary.
		lines[i] = fmt.Sprintf("%q holds %q", f.name, strings.TrimSuffix(string(content), "\r\n"))
	}
	return lines
}

func describeWant(files []wantFile) []string {
	lines := make([]string, len(files))
	for i, f := range files {
		if f.refused != "" {
			lines[i] = fmt.Sprintf("%q refused as %s", f.name, f.refused)
			continue
		}
		lines[i] = fmt.Sprintf("%q holds %q", f.name, strings.TrimSuffix(f.content, "\r\n"))
	}
	return lines
}

// checkLetter checks what is true of every mail that was taken apart.
func checkLetter(t *testing.T, m *letter) {
	t.Helper()
	if m.skip == "" && len(m.files) == 0 {
		t.Error("the mail has neither files nor a reason to skip it: it would be lost")
	}
	if m.skip != "" && len(m.files) > 0 {
		t.Errorf("the mail is skipped as %q and has %d files", m.skip, len(m.files))
	}
	for _, f := range m.files {
		checkOneLine(t, "file name", f.name)
		if f.name == "" {
			t.Error("a file has no name")
		}
		copied(t, f)
		if f.refusal != nil && (f.refusal.Code == "" || f.refusal.Sentence == "") {
			t.Errorf("%q is refused without a code or a sentence: %+v", f.name, *f.refusal)
		}
		if f.refusal != nil {
			checkOneLine(t, "refusal", f.refusal.Sentence)
		}
	}
	checkOneLine(t, "From", m.mail.From)
	checkOneLine(t, "subject", m.mail.Subject)
	checkOneLine(t, "Message-ID", m.mail.MessageID)
	for _, recipient := range m.mail.Recipients {
		checkOneLine(t, "recipient", recipient)
	}
	for _, reference := range m.mail.References {
		checkOneLine(t, "reference", reference)
	}
}

// checkOneLine checks that a text can't break out of the line that tells it.
func checkOneLine(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("the %s %q is not valid UTF-8", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }); i >= 0 {
		t.Errorf("the %s %q breaks out of its line at byte %d", what, text, i)
	}
}

func TestNameIsNeverAPath(t *testing.T) {
	for _, name := range []string{"../../etc/cron.d/orders.csv", "/etc/passwd.csv", `..\\..\\orders.csv`, "..", ".csv"} {
		t.Run(name, func(t *testing.T) {
			spool := t.TempDir()
			t.Setenv("TMPDIR", spool)
			m := apart(t, mixed(attached("text/csv", name, strings.Repeat(orders, 10_000))))
			checkLetter(t, m)
			if len(m.files) != 1 || m.files[0].refusal != nil {
				t.Fatalf("%d files", len(m.files))
			}
			stored, err := os.ReadDir(spool)
			if err != nil || len(stored) != 1 || !strings.HasPrefix(stored[0].Name(), "calltally-file-") {
				t.Errorf("the attachment was stored as %v, %v: its own name must not decide", stored, err)
			}
		})
	}
}

func TestRawBytesInANameBecomeValidText(t *testing.T) {
	for _, name := range []string{"M\xE4rz.csv", "\xFF\xFE.csv", "a\x85b.csv", "a\xE2\x80\xA8b.csv", "a\xC2\x85b.csv", "\xED\xA0\x80.csv"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			m := apart(t, mixed(attached("application/octet-stream", name, orders)))
			checkLetter(t, m)
			if len(m.files) != 1 || m.files[0].refusal != nil || !strings.HasSuffix(m.files[0].name, ".csv") {
				t.Errorf("files: %q", describe(t, m.files))
			}
		})
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	for _, c := range []struct{ name, raw, sentence string }{
		{"only text", mixed(text), "The mail has no attached file. Attach the CSV file; text in the mail itself and links are not read."},
		{"damaged", "no header\r\n" + mixed(text), "The mail is damaged and no file could be found in it. Send the file again as an attachment."},
		{"too many parts", mixed(many(300, nil)...), "The mail is damaged and no file could be found in it. Send the file again as an attachment."},
		{"encrypted", crlf(envelope) + multipart("encrypted", "E", plain("Content-Type: application/pgp-encrypted", "Version: 1")), "The mail is encrypted, so its attachment can't be read. Send it unencrypted to this address."},
		{"damaged attachment", mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64", "Y2Fsb")), "The attachment orders.csv arrived damaged: its encoding breaks off or holds foreign text. Send it again."},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, c.raw)
			if len(m.files) != 1 || m.files[0].refusal == nil || m.files[0].refusal.Sentence != c.sentence {
				t.Errorf("got %+v, want the sentence %q", m.files, c.sentence)
			}
		})
	}
}

// Where the rest of a mail can't be read, its sender must be told: a file that
// may have been in it would be lost without a word.
func TestFilesAreNotLostBehindDamage(t *testing.T) {
	first, second := attached("text/csv", "orders.csv", orders), attached("text/csv", "sales.csv", sales)
	for _, c := range []struct{ name, raw string }{
		{"a part with a broken header between two files", mixed(first, plain("this is no header", "x"), second)},
		{"300 parts between two files", mixed(many(302, map[int]string{0: first, 301: second})...)},
		{"the second file is nested 25 deep", mixed(first, nestedParts(25, second))},
		{"a file of an unknown transfer encoding", mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: x-uuencode", "begin 644 orders.csv\n`\nend"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := apart(t, c.raw)
			checkLetter(t, m)
			if !slices.ContainsFunc(m.files, func(f file) bool { return f.refusal != nil }) {
				t.Errorf("nothing is refused, so nobody learns of what was lost: %q", describe(t, m.files))
			}
		})
	}
}

// A comment beside the encoding's name is allowed (RFC 2045, section 5.1).
func TestEncodingWithACommentIsDecodedOrRefused(t *testing.T) {
	m := apart(t, mixed(plain("Content-Type: text/csv; name=orders.csv\nContent-Transfer-Encoding: base64 (RFC 2045)", base64.StdEncoding.EncodeToString([]byte(orders)))))
	if len(m.files) != 1 {
		t.Fatalf("files: %q", describe(t, m.files))
	}
	if got := describe(t, m.files)[0]; m.files[0].refusal == nil && got != describeWant(one(ordersFile))[0] {
		t.Errorf("the encoded text was taken for the file: %s", got)
	}
}

// Mails that are made to take long must not: the mails behind them wait.
func TestTakeApartIsQuick(t *testing.T) {
	var distinct strings.Builder
	for i := range 90_000 {
		fmt.Fprintf(&distinct, "%d@a,", i)
	}
	list := strings.TrimSuffix(distinct.String(), ",")
	file := attached("text/csv", "orders.csv", orders)
	for _, c := range []struct{ name, raw string }{
		{"a list of very many recipients", "Cc: " + list + "\r\n" + mixed(file)},
		{"very many recipient fields", "To: " + strings.ReplaceAll(list[:len(list)/2], ",", "\r\nTo: ") + "\r\n" + mixed(file)},
		{"very many senders", "From: " + list + "\r\n" + mixed(file)},
		{"very many references", "References: " + strings.Repeat("<a@b> ", 150_000) + "\r\n" + mixed(file)},
		{"a subject of very many words", "Subject: " + strings.Repeat("=?utf-8?q?a?= ", 60_000) + "\r\n" + mixed(file)},
		{"an address of open brackets", "To: " + strings.Repeat("(", 900_000) + "\r\n" + mixed(file)},
		{"an address of open quotes", "To: " + strings.Repeat("\"", 900_000) + "\r\n" + mixed(file)},
		{"mails nested 20,000 deep", nested(20_000, mixed(file))},
		{"multiparts nested 500 deep", crlf(envelope) + nestedParts(500, file)},
		{"20,000 parts", mixed(many(20_000, nil)...)},
		{"a part with a header of 16 MB", mixed(plain("X-Filler: "+strings.Repeat("x", 16<<20), "x"), file)},
		{"a part with 100,000 header fields", mixed(plain("Content-Type: text/plain\n"+strings.TrimSpace(strings.Repeat("X: y\n", 100_000)), "x"), file)},
		{"a part with a name of 900 kB that can't be parsed", mixed(encoded("Content-Disposition: attachment; filename=a "+strings.Repeat("name = ", 130_000)+".csv", orders))},
		{"4,000,000 lines that look like boundaries", mixed(plain("Content-Type: text/plain", strings.Repeat("--\n", 4_000_000)), file)},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			m := apart(t, c.raw)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			checkLetter(t, m)
		})
	}
}

// panicking panics at the first byte that is read from it.
type panicking struct {
	*strings.Reader
	done bool
}

func (p *panicking) Read(b []byte) (int, error) {
	if !p.done {
		p.done = true
		panic("poison")
	}
	return p.Reader.Read(b)
}

// A mail on which the reading of mails panics is refused, and kept.
func TestAMailThatCannotBeTakenApart(t *testing.T) {
	m := &Mailbox{Log: slog.New(slog.DiscardHandler)}
	letter, err := m.takeApart(&panicking{Reader: strings.NewReader(plainMail)})
	if err != nil {
		t.Fatal(err)
	}
	defer letter.remove()
	if len(letter.files) != 1 || letter.files[0].refusal == nil || letter.files[0].refusal.Code != conversion.NotATable || letter.files[0].copy.Size != int64(len(plainMail)) {
		t.Errorf("it became %+v", letter.files)
	}
}
