package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// badLetter is a mail that comes, and all that becomes of it.
type badLetter struct {
	name string // begins with its number
	mail string // its lines end in LF here
	to   string // the account's address, if not said
	// distrust has the mailbox ask for more than the knowledge of the address.
	distrust bool
	most     int64 // how many bytes of it are stored at most; 0 for any
	want     string
}

func TestBadInputMail(t *testing.T) { runBadLetters(t, badLetters()) }

const (
	badUploads = "uploads@calltally.example"
	badAddress = "uploads+acme@calltally.example"
	badOther   = "uploads+borealis@calltally.example"
	badSender  = "orders@acme.example"
	badOps     = "ops@acme.example"
)

// badMailbox adds a mailbox to the accounts; two of them are mailed to, by the same sender.
func badMailbox(office *postOffice) string {
	accounts := strings.NewReplacer("name: Acme,", fmt.Sprintf(`name: Acme, addresses: [%s], senders: ["*@acme.example"], report_to: [%s],`, badAddress, badOps),
		"name: Borealis,", fmt.Sprintf(`name: Borealis, addresses: [%s], senders: [%s],`, badOther, badSender)).Replace(badAccounts)
	login := strings.Replace(badUploads, "@", "%40", 1)
	return accounts + fmt.Sprintf(`
sources: [{name: uploads, kind: imap, url: "imaps://%s@%s", password: %s, ca_file: ca.pem, trust: recipient, max_bytes: 1048576}]
replies: {smtp: "smtps://%s@%s", password: %s, ca_file: ca.pem, from: "Uploads <%s>"}
`, login, office.imap, demoPassword, login, office.smtp, demoPassword, badUploads)
}

func runBadLetters(t *testing.T, all []badLetter) {
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			if got := b.walk(t); got != b.want {
				t.Errorf("got\n%s\nwant\n%s", got, b.want)
			}
		})
	}
}

// walk has the mail come into the mailbox and the program look at it once. It returns
// what became of it, where it lies and who was written to.
func (b *badLetter) walk(t *testing.T) string {
	t.Helper()
	office, err := openPostOffice(badUploads, badSender, badOps)
	if err != nil {
		t.Fatal(err)
	}
	defer office.close()
	config := badMailbox(office)
	if b.distrust {
		config = strings.Replace(config, "trust: recipient, ", "", 1)
	}
	dir := newBadHouse(t, config)
	mail := strings.ReplaceAll(b.mail, "\n", "\r\n")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "ca.pem"), office.certificate, 0o600), office.deliver(cmp.Or(b.to, badAddress), []byte(mail))); err != nil {
		t.Fatal(err)
	}
	code, _, logged := runBad(t, dir, "once")
	if code != exitDone {
		t.Errorf("once ended with %d: %s", code, logged)
	}
	var told strings.Builder
	for _, why := range skippedMail.FindAllStringSubmatch(logged, -1) {
		fmt.Fprintln(&told, "not read:", why[1])
	}
	tellUploads(t, &told, dir, b.most)
	tellHeld(t, &told, dir)
	for _, mailbox := range []string{badUploads, badSender, badOps} {
		tellMailbox(t, &told, office, mailbox)
	}
	return strings.TrimSuffix(told.String(), "\n")
}

var skippedMail = regexp.MustCompile(`"msg":"mail not read".*"why":"([^"]*)"`)

// tellUploads says what became of the uploads after the calls.
func tellUploads(t *testing.T, told *strings.Builder, dir string, most int64) {
	t.Helper()
	_, stdout, stderr := runBad(t, dir, "uploads", "list", "--json")
	var all []uploadJSON
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	slices.Reverse(all) // oldest first
	for _, u := range all {
		if u.Takes == "calls" {
			continue
		}
		if most > 0 && u.Size > most {
			t.Errorf("%d bytes are stored", u.Size)
		}
		_, stdout, stderr := runBad(t, dir, "uploads", "show", fmt.Sprint(u.Upload), "--json")
		var one struct {
			decidedHead
			Outcomes []outcomeJSON `json:"outcomes"`
		}
		if err := json.Unmarshal([]byte(stdout), &one); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		fmt.Fprintf(told, "%s: ", u.File)
		tell(told, one.decidedHead, one.Outcomes)
	}
}

// tellMailbox says which mails lie in the folders of the uploads' mailbox, or what was written
// to somebody.
func tellMailbox(t *testing.T, told *strings.Builder, office *postOffice, owner string) {
	t.Helper()
	box, err := office.openInbox(owner)
	if err != nil {
		t.Fatal(err)
	}
	defer box.client.Close()
	if owner == badUploads {
		for _, folder := range []string{"INBOX", "Processed", "Rejected"} {
			if n := box.count(folder); n > 0 {
				fmt.Fprintf(told, "in %s: %d\n", folder, n)
			}
		}
		return
	}
	letters, err := box.client.Status("INBOX", &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil {
		t.Fatal(err)
	}
	for range *letters.NumMessages {
		letter := nextAnswer(t, box)
		first, _, _ := strings.Cut(letter.text, "\n")
		fmt.Fprintf(told, "to %s: %s | %s\n", owner, letter.subject, first)
		if head, _, _ := strings.Cut(string(letter.raw), "\r\n\r\n"); strings.Contains(head, "\nBcc:") {
			t.Errorf("what the mail said became a header of the reply:\n%s", head)
		}
	}
}

// badMail is a good mail; parts of it are replaced.
func badMail(replace ...string) string {
	return strings.NewReplacer(replace...).Replace(`From: Acme Orders <orders@acme.example>
To: uploads+acme@calltally.example
Subject: Orders
Message-ID: <m1@acme.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: text/plain

Please find attached.
--B
` + badPart + badHead + badRow + `--B--
`)
}

const badPart = "Content-Type: text/csv\nContent-Disposition: attachment; filename=orders.csv\n\n"

// badText is a mail that is nothing but a text.
func badText(text string) string {
	return badMail("Content-Type: multipart/mixed; boundary=B", "Content-Type: text/plain", "--B--\n", "", "--B\n", "", "Content-Type: text/plain\n\n", "", badPart, "", "Please find attached.\n", text, badHead, "", badRow, "")
}

// What is told where all is as usual.
const (
	badRefused  = "in Rejected: 1\nto orders@acme.example: Re: Orders | File not taken\nto ops@acme.example: Re: Orders | File not taken"
	badAnswered = badHeld + "\nin Processed: 1\nto orders@acme.example: Re: Orders | 1 row: 1 created\nto ops@acme.example: Re: Orders | 1 row: 1 created"
)

func badLetters() []badLetter {
	return []badLetter{
		{name: "085_no_attachment", mail: badText("Where is my report?\n"),
			want: "mail.eml: refused: The mail has no attached file. Attach the CSV file; text in the mail itself and links are not read. (no_attachment)\n" + badRefused},
		{name: "086_rows_in_the_text", mail: badText(badHead + badRow),
			want: "mail.eml: refused: The mail has no attached file, but rows in its text, which are not read: mail programs break lines. Save the rows as a CSV file and attach it. (no_attachment)\n" + badRefused},
		// One reply tells of both.
		{name: "087_two_files", mail: badMail("--B--", "--B\n"+strings.Replace(badPart, "orders", "more", 1)+badHead+"2025-03-04 11:00:00,212-555-0102,R2,20.00\n--B--"),
			want: "orders.csv: 2 created\nmore.csv: 2 created\nholds R1: sale 50.00 USD, payout 5.00, call C1\nholds R2: sale 20.00 USD, payout 2.00, call C2\nin Processed: 1\nto orders@acme.example: Re: Orders | 2 files\nto ops@acme.example: Re: Orders | 2 files"},
		// A stranger is not answered; those who look after the account are told.
		{name: "088_unknown_sender", mail: badMail("orders@acme.example", "eve@elsewhere.example"),
			want: "orders.csv: refused: eve@elsewhere.example may not send files for this account. Have the address added to the account's senders, or send from one that is. (sender_not_allowed)\nin Rejected: 1\nto ops@acme.example: Re: Orders | File not taken"},
		{name: "092_line_breaks_in_encoded_words", mail: badMail("Subject: Orders", "Subject: =?utf-8?q?Orders=0D=0ABcc:_eve@elsewhere.example=0D=0A=0D=0Ahello?=", "filename=orders.csv", `filename="=?utf-8?q?orders=0D=0ABcc:_eve.csv?="`),
			want: "ordersBcc: eve.csv: 2 created\nholds R1: sale 50.00 USD, payout 5.00, call C1\nin Processed: 1\nto orders@acme.example: Re: OrdersBcc: eve@elsewhere.examplehello | 1 row: 1 created\nto ops@acme.example: Re: OrdersBcc: eve@elsewhere.examplehello | 1 row: 1 created"},
		{name: "093_two_names_of_a_file", mail: badMail("text/csv", "application/pdf", "filename=orders.csv", "filename=orders.pdf; filename*=utf-8''orders%2Ecsv"),
			want: "orders.csv: 2 created\n" + badAnswered},
		{name: "096_winmail.dat", mail: badMail("text/csv", "application/ms-tnef", "filename=orders.csv", "filename=winmail.dat", badHead+badRow, "\x78\x9F\x3E\x22\n"),
			want: "winmail.dat: refused: The mail came in Outlook's own format, which hides what is attached in winmail.dat. In Outlook, choose HTML or plain text as the mail's format, and send it again. (not_a_table)\n" + badRefused},
		{name: "097_encrypted", mail: badMail("multipart/mixed", "multipart/encrypted; protocol=\"application/pgp-encrypted\"", "text/plain\n", "application/pgp-encrypted\n", "text/csv", "application/octet-stream", "attachment; filename=orders.csv", "inline; filename=encrypted.asc", badHead+badRow, "-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----\n"),
			want: "mail.eml: refused: The mail is encrypted, so its attachment can't be read. Send it unencrypted to this address. (encrypted)\n" + badRefused},
		{name: "098_file_in_a_forwarded_mail", mail: badMail(badPart+badHead+badRow, "Content-Type: message/rfc822\n\nFrom: bob@acme.example\nSubject: Orders\nMIME-Version: 1.0\n"+badPart+badHead+badRow),
			want: "orders.csv: 2 created\n" + badAnswered},
		{name: "099_bounce", mail: "Return-Path: <>\n" + badMail("Acme Orders <orders@acme.example>", "MAILER-DAEMON@acme.example"),
			want: "not read: a bounce\nin Processed: 1"},
		{name: "100_automatic_reply", mail: "Auto-Submitted: auto-replied (vacation)\n" + badMail(),
			want: "not read: an automatic reply\nin Processed: 1"},
		{name: "101_file_that_a_program_sends", mail: "Auto-Submitted: auto-generated\n" + badMail(),
			want: "orders.csv: 2 created\nholds R1: sale 50.00 USD, payout 5.00, call C1\nin Processed: 1\nto ops@acme.example: Re: Orders | 1 row: 1 created"},
		{name: "102_our_own_report", mail: "X-Calltally-Report: upload=4\n" + badMail(),
			want: "not read: our own report\nin Processed: 1"},
		{name: "103_no_Message-ID", mail: badMail("Message-ID: <m1@acme.example>\n", ""),
			want: "orders.csv: 2 created\nholds R1: sale 50.00 USD, payout 5.00, call C1\nin Processed: 1\nto orders@acme.example: 1 row: 1 created – orders.csv | 1 row: 1 created\nto ops@acme.example: 1 row: 1 created – orders.csv | 1 row: 1 created"},
		{name: "103_two_Message-IDs", mail: badMail("Message-ID:", "Message-ID: <m0@acme.example>\nMessage-ID:"),
			want: "orders.csv: 2 created\n" + badAnswered},
		{name: "104_broken_base64", mail: badMail("filename=orders.csv\n", "filename=orders.csv\nContent-Transfer-Encoding: base64\n", badHead+badRow, "c3RhcnRfdGltZSxjYWxsaW5n*X3Bob25l\n"),
			want: "orders.csv: refused: The attachment orders.csv arrived damaged: its encoding breaks off or holds foreign text. Send it again. (not_a_table)\n" + badRefused},
		{name: "104_base64_cut_short", mail: badMail("filename=orders.csv\n", "filename=orders.csv\nContent-Transfer-Encoding: base64\n", badHead+badRow, "c3RhcnRfdGltZSxjYWxsaW5nX3Bob25lX251bWJl\nc3\n"),
			want: "orders.csv: refused: The attachment orders.csv arrived damaged: its encoding breaks off or holds foreign text. Send it again. (not_a_table)\n" + badRefused},
		{name: "105_link_to_the_cloud", mail: badText("The orders: https://drive.google.com/file/d/1aBc/view\n"),
			want: "mail.eml: refused: The mail has no attached file, but a link to drive.google.com, and links are never followed. Attach the file itself. (no_attachment)\n" + badRefused},
		{name: "106_too_large", most: 2000, mail: badMail(badRow, badRow+strings.Repeat("2025-03-04 11:00:00,212-555-0102,R2,20.00\n", 60000)),
			want: "mail.eml: refused: The mail is larger than 1 MiB, the most that is read of one. Send the file in parts. (too_large)\n" + badRefused},
		// The address that was written to decides; calls of the other account are none of its.
		{name: "122_sender_of_two_accounts", to: badOther, mail: badMail(badRow, "2025-03-04 15:00:00,212-555-0150,R1,50.00\n"+badRow),
			want: "orders.csv: 2 created\n3 rejected: No call within 5 minutes of 2025-03-04 10:00:00 EST from +12125550101. Correct the time or the caller, or send the row again once its call is known. (call_not_found)\nnear one: a call of that caller and time belongs to another account\nholds R1: sale 50.00 USD, payout 5.00, call X1\nin Processed: 1\nto orders@acme.example: Re: Orders | 2 rows: 1 created, 1 rejected"},
	}
}

// A mail whose sender may be another than it says, or that is made to mislead those who read
// it, is held: nothing of it counts, and its sender is not answered.
func TestBadInputMailHeld(t *testing.T) {
	for _, b := range badLettersHeld() {
		t.Run(b.name, func(t *testing.T) {
			got := b.walk(t)
			first, _, _ := strings.Cut(got, "\n")
			if !alike(first, b.want) || strings.Contains(got, "\nholds ") || strings.Contains(got, "\nto "+badSender) {
				t.Errorf("got\n%s\nwant\n%s", got, b.want)
			}
		})
	}
}

func badLettersHeld() []badLetter {
	deep := badPart + badHead + badRow
	for i := range 11 {
		deep = fmt.Sprintf("Content-Type: multipart/mixed; boundary=B%d\n\n--B%d\n%s\n--B%d--\n", i, i, deep, i)
	}
	return []badLetter{
		{name: "089_DMARC_failed", distrust: true, mail: "Authentication-Results: mx.calltally.example; dmarc=fail header.from=acme.example\n" + badMail(),
			want: "orders.csv: held: … (sender_not_authenticated)"},
		{name: "089_DMARC_not_looked_at", distrust: true, mail: badMail(),
			want: "orders.csv: held: … (sender_not_authenticated)"},
		{name: "090_forged_authentication", distrust: true, mail: "Authentication-Results: mx.elsewhere.example; dmarc=pass header.from=acme.example; dkim=pass header.d=acme.example\n" + badMail(),
			want: "orders.csv: held: … (sender_not_authenticated)"},
		{name: "091_two_senders", mail: "From: eve@elsewhere.example\n" + badMail(),
			want: "orders.csv: held: …"},
		{name: "091_group_in_place_of_a_sender", mail: badMail("Acme Orders <orders@acme.example>", "Acme: orders@acme.example;"),
			want: "orders.csv: held: …"},
		{name: "094_nested_too_deeply", mail: badMail(badPart+badHead+badRow, deep),
			want: "…: held: …"},
		{name: "095_too_many_header_fields", mail: strings.Repeat("X-Filler: x\n", 1001) + badMail(),
			want: "…: held: …"},
	}
}

// A mail that is hardly too large is told a limit that it exceeds.
func TestBadInputMailHardlyTooLarge(t *testing.T) {
	b := badLetter{mail: badMail(badRow, badRow+strings.Repeat("2025-03-04 11:00:00,212-555-0102,R2,20.00\n", 25000))}
	if got := b.walk(t); !strings.Contains(got, "(too_large)") || strings.Contains(got, "is 1 MiB large; at most 1 MiB") {
		t.Errorf("got\n%s", got)
	}
}
