package reply_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gomail "github.com/emersion/go-message/mail"

	"calltally/report"
	"calltally/report/reply"
)

const (
	text = "3 rows: 1 created, 2 rejected\n\nLine 3: rejected – “no call”\n.\nA line = with signs of its own, and one that is longer than the seventy-six characters of a line\n"
	page = "<!DOCTYPE html>\n<html><body>3 rows – <b>1 created</b></body></html>\n"
	csv  = "start_time,result\r\n2026-03-10 12:00:00,created\r\nZoë,rejected\r\n"
)

func sender() *reply.Sender {
	return &reply.Sender{From: gomail.Address{Name: "Conversion uploads", Address: "uploads@calltally.example"}}
}

func attachment(name, content string) report.Attachment {
	return report.Attachment{Name: name, Write: func(w io.Writer) error { _, err := io.WriteString(w, content); return err }}
}

func letter(change ...func(*report.Letter)) *report.Letter {
	l := &report.Letter{
		To: []string{"ann@acme.example", "ops@acme.example"}, Subject: "3 rows: 1 created, 2 rejected – sales.csv",
		MessageID: "upload-12.1.abcd000000000000@calltally.example", InReplyTo: "m3@acme.example", References: []string{"m1@acme.example", "m2@acme.example", "m3@acme.example"},
		Date: time.Date(2026, 3, 10, 16, 0, 0, 0, time.UTC), Text: text, HTML: page, Upload: 12, Revision: 1,
		Attachments: []report.Attachment{attachment("sales.results.csv", csv), attachment("sales.fix.csv", "a\n")},
	}
	for _, f := range change {
		f(l)
	}
	return l
}

func composed(t *testing.T, l *report.Letter) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := sender().Write(&b, l); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is one part of a mail as a reader sees it.
type part struct {
	kind, disposition, name string
	content                 string
}

// parsed is a mail as a reader sees it: its header, and its parts with the
// kinds of the multiparts they lie in.
type parsed struct {
	header mail.Header
	shape  []string
	parts  []part
}

func parse(t *testing.T, raw []byte) parsed {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{header: message.Header}
	p.walk(t, message.Header.Get("Content-Type"), message.Body, "")
	return p
}

func (p *parsed) walk(t *testing.T, contentType string, body io.Reader, inside string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("%s: %v", contentType, err)
	}
	p.shape = append(p.shape, inside+kind)
	if !strings.HasPrefix(kind, "multipart/") {
		return
	}
	if n := len(params["boundary"]); n > 70 {
		t.Errorf("a boundary has %d characters, 70 are allowed", n)
	}
	parts := multipart.NewReader(body, params["boundary"])
	for {
		next, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if sub := next.Header.Get("Content-Type"); strings.HasPrefix(sub, "multipart/") {
			p.walk(t, sub, next, inside+kind+" > ")
			continue
		}
		p.shape = append(p.shape, inside+kind+" > "+next.Header.Get("Content-Type"))
		disposition, named := "", map[string]string{}
		if d := next.Header.Get("Content-Disposition"); d != "" {
			if disposition, named, err = mime.ParseMediaType(d); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
		}
		p.parts = append(p.parts, part{next.Header.Get("Content-Type"), disposition, decodedWord(named["filename"]), decoded(t, next)})
	}
}

// decodedWord reads a name that is written as an encoded word, as most readers
// do.
func decodedWord(name string) string {
	if plain, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
		return plain
	}
	return name
}

func decoded(t *testing.T, p *multipart.Part) string {
	t.Helper()
	var body io.Reader = p
	switch strings.ToLower(p.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(p)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, p)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestALetterIsAMail(t *testing.T) {
	p := parse(t, composed(t, letter()))
	t.Run("its header says what it is and what it answers", func(t *testing.T) {
		for name, want := range map[string]string{
			"From": `"Conversion uploads" <uploads@calltally.example>`, "To": "<ann@acme.example>, <ops@acme.example>",
			"Message-Id": "<upload-12.1.abcd000000000000@calltally.example>", "In-Reply-To": "<m3@acme.example>",
			"References": "<m1@acme.example> <m2@acme.example> <m3@acme.example>", "Auto-Submitted": "auto-replied",
			"X-Auto-Response-Suppress": "All", "X-Calltally-Report": "upload=12; revision=1", "Mime-Version": "1.0",
		} {
			if got := strings.Join(p.header[name], "\n"); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if date, err := p.header.Date(); err != nil || !date.Equal(letter().Date) {
			t.Errorf("date %v, %v", date, err)
		}
		if subject := decodedWord(p.header.Get("Subject")); subject != letter().Subject {
			t.Errorf("subject %q", subject)
		}
	})
	t.Run("its parts are text, page and files", func(t *testing.T) {
		want := []string{
			"multipart/mixed", "multipart/mixed > multipart/alternative",
			"multipart/mixed > multipart/alternative > text/plain; charset=utf-8", "multipart/mixed > multipart/alternative > text/html; charset=utf-8",
			"multipart/mixed > text/csv; charset=utf-8", "multipart/mixed > text/csv; charset=utf-8",
		}
		if !slices.Equal(p.shape, want) {
			t.Errorf("shape\n%s\nwant\n%s", strings.Join(p.shape, "\n"), strings.Join(want, "\n"))
		}
	})
	t.Run("its parts come back as they were", func(t *testing.T) {
		want := []part{
			{"text/plain; charset=utf-8", "", "", text}, {"text/html; charset=utf-8", "", "", page},
			{"text/csv; charset=utf-8", "attachment", "sales.results.csv", csv}, {"text/csv; charset=utf-8", "attachment", "sales.fix.csv", "a\n"},
		}
		for i := range p.parts {
			if i < 2 { // lines of text end in CRLF on their way
				p.parts[i].content = strings.ReplaceAll(p.parts[i].content, "\r\n", "\n")
			}
		}
		if !slices.Equal(p.parts, want) {
			t.Errorf("parts\n%q\nwant\n%q", p.parts, want)
		}
	})
}

func TestTheSameLetterIsTheSameBytes(t *testing.T) {
	first := composed(t, letter())
	for range 20 {
		if again := composed(t, letter()); !bytes.Equal(again, first) {
			t.Fatalf("got\n%s\nwant\n%s", again, first)
		}
	}
}

func TestLinesFitIntoAMail(t *testing.T) {
	long := letter(func(l *report.Letter) {
		l.Text, l.HTML = strings.Repeat("wíde ", 1000), strings.Repeat("ü", 5000)
		l.References = slices.Repeat([]string{"a-reference-of-some-length@mail.acme.example"}, 60)
		l.Attachments = []report.Attachment{attachment(strings.Repeat("long name ", 20)+".csv", strings.Repeat("y", 5000))}
	})
	for line := range bytes.Lines(composed(t, long)) {
		if len(line) > 1000 {
			t.Errorf("a line of %d bytes: %.60s…", len(line), line)
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			t.Errorf("a line without CRLF: %.60q", line)
		}
		if bytes.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf }) {
			t.Errorf("a line that not every relay takes: %.60q", line)
		}
	}
}

func TestALetterWithoutAThreadStartsOne(t *testing.T) {
	p := parse(t, composed(t, letter(func(l *report.Letter) { l.InReplyTo, l.References, l.Attachments = "", nil, nil })))
	for _, name := range []string{"In-Reply-To", "References"} {
		if got, ok := p.header[name]; ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(p.parts) != 2 {
		t.Errorf("%d parts, want 2", len(p.parts))
	}
}

// A name with a line break must become no header of its own. Refusing to write
// the letter is as good as writing the break away.
func TestNothingCanInjectAHeader(t *testing.T) {
	const bad = "x\r\nBcc: all@acme.example\r\nX-Bad: 1\r\n\r\nbody"
	for name, put := range map[string]func(*report.Letter){
		"the subject":             func(l *report.Letter) { l.Subject = bad },
		"a subject with LF alone": func(l *report.Letter) { l.Subject = strings.ReplaceAll(bad, "\r", "") },
		"a subject with CR alone": func(l *report.Letter) { l.Subject = strings.ReplaceAll(bad, "\n", "") },
		"a file's name":           func(l *report.Letter) { l.Attachments[0].Name = bad + ".csv" },
		"a file's name with LF":   func(l *report.Letter) { l.Attachments[0].Name = strings.ReplaceAll(bad, "\r", "") + ".csv" },
		"a file's name with CR":   func(l *report.Letter) { l.Attachments[0].Name = strings.ReplaceAll(bad, "\n", "") + ".csv" },
		"the mail answered":       func(l *report.Letter) { l.InReplyTo = bad },
		"a reference":             func(l *report.Letter) { l.References[0] = bad },
		"a recipient":             func(l *report.Letter) { l.To[0] = bad + "@acme.example" },
		"a quote in a file name":  func(l *report.Letter) { l.Attachments[0].Name = `a"; filename="b.exe` },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := sender().Write(&b, letter(put)); err != nil {
				if strings.Contains(b.String(), "\nBcc:") {
					t.Errorf("it failed (%v), but only after writing\n%s", err, b.String())
				}
				return
			}
			for line := range strings.FieldsFuncSeq(b.String(), func(r rune) bool { return r == '\r' || r == '\n' }) {
				if strings.HasPrefix(line, "Bcc:") || strings.HasPrefix(line, "X-Bad:") {
					t.Errorf("it wrote %q", line)
				}
			}
			p := parse(t, b.Bytes())
			if len(p.parts) != 4 || p.parts[0].kind != "text/plain; charset=utf-8" {
				t.Errorf("parts %q", p.parts)
			}
			if name == "a quote in a file name" && p.parts[2].name != `a"; filename="b.exe` {
				t.Errorf("the file is called %q", p.parts[2].name)
			}
		})
	}
}

func TestALongSubjectIsCut(t *testing.T) {
	for _, test := range []struct{ name, subject, want string }{
		{"a hundred characters stay", strings.Repeat("x", 100), strings.Repeat("x", 100)},
		{"one more is cut", strings.Repeat("x", 101), strings.Repeat("x", 99) + "…"},
		{"characters count, not bytes", strings.Repeat("é", 100), strings.Repeat("é", 100)},
		{"a cut goes between characters", strings.Repeat("é", 500), strings.Repeat("é", 99) + "…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := parse(t, composed(t, letter(func(l *report.Letter) { l.Subject = test.subject })))
			if got := decodedWord(p.header.Get("Subject")); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestFilesKeepTheirNames(t *testing.T) {
	for _, name := range []string{"sales.csv", "two words.csv", "Verkäufe März.csv", "売上.csv", `say "x".csv`, "semi;colon.csv", strings.Repeat("long ", 30) + "name.csv"} {
		t.Run(name, func(t *testing.T) {
			p := parse(t, composed(t, letter(func(l *report.Letter) { l.Attachments[0].Name = name })))
			if got := p.parts[2].name; got != name {
				t.Errorf("%q, want %q", got, name)
			}
		})
	}
}

// Boundaries are made of the Message-ID and have a greatest length.
func TestADomainMayBeLong(t *testing.T) {
	for _, domain := range []string{"calltally.localhost", "uploads.calltally.marketing.acme-holding.example", strings.Repeat("long-label.", 20) + "example"} {
		t.Run(domain, func(t *testing.T) {
			var b bytes.Buffer
			l := letter(func(l *report.Letter) { l.MessageID = "upload-123456.12.abcd000000000000@" + domain })
			if err := sender().Write(&b, l); err != nil {
				t.Fatal(err)
			}
			p := parse(t, b.Bytes())
			if len(p.parts) != 4 || p.header.Get("Message-Id") != "<"+l.MessageID+">" {
				t.Errorf("%d parts, Message-ID %s", len(p.parts), p.header.Get("Message-Id"))
			}
		})
	}
}

func TestAFileThatCannotBeWrittenFailsTheLetter(t *testing.T) {
	broken := errors.New("broken")
	l := letter(func(l *report.Letter) {
		l.Attachments[1].Write = func(w io.Writer) error {
			_, err := io.WriteString(w, "half")
			return errors.Join(err, broken)
		}
	})
	if err := sender().Write(io.Discard, l); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
