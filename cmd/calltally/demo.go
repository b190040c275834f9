package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"calltally/conversion"
	"calltally/samples"
)

type demoCommand struct {
	Dir string `help:"Keep the files here; a new temporary folder if not said." type:"path" placeholder:"DIR"`
}

const (
	demoUploads = "uploads@calltally.example"
	demoAddress = "uploads+acme@calltally.example"
	demoSender  = "orders@acme.example"
)

// demoMorning is when the demo takes place: the day after its calls.
var demoMorning = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// Run shows the whole job: calls are imported, an advertiser mails a file, the
// worker answers, the file comes again, and then the corrected rows. Mail goes
// over real SMTP and IMAP with TLS, to a server inside this process.
func (c *demoCommand) Run(g *globals) error {
	office, err := openPostOffice(demoUploads, demoSender)
	if err != nil {
		return fmt.Errorf("start the demo's mail server: %w", err)
	}
	defer office.close()
	d := &demo{globals: g, office: office, dir: c.Dir}
	if err := d.prepare(); err != nil {
		return err
	}
	defer d.app.close()
	ctx, stop := context.WithCancel(g.ctx)
	defer stop()
	stopped := make(chan error, 1)
	for _, step := range []func(context.Context) error{
		d.importCalls,
		func(ctx context.Context) error { go func() { stopped <- d.app.worker.Run(ctx) }(); return nil },
		d.firstFile, d.sameFile, d.fixedFile, d.ledger,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	stop()
	return <-stopped
}

// demo is the story as it goes along.
type demo struct {
	*globals
	office *postOffice
	dir    string
	app    *app
	inbox  *inbox
	orders []byte
	fix    []byte // the fix file of the first reply
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }

// prepare writes the configuration and puts the program together.
func (d *demo) prepare() (err error) {
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "calltally-demo-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.dir, 0o777); err != nil {
		return err
	}
	settings, err := samples.Files.ReadFile("demo/calltally.yaml")
	if err != nil {
		return err
	}
	login := url.User(demoUploads).String()
	settings = fmt.Appendf(settings, `
sources:
  - {name: uploads, kind: imap, url: "imaps://%s@%s", password: %s, ca_file: ca.pem, trust: recipient, idle: true, every: 5s}
replies: {smtp: "smtps://%s@%s", password: %s, ca_file: ca.pem, from: "Conversion uploads <%s>"}
`, login, d.office.imap, demoPassword, login, d.office.smtp, demoPassword, demoUploads)
	file := filepath.Join(d.dir, "calltally.yaml")
	if err := errors.Join(os.WriteFile(filepath.Join(d.dir, "ca.pem"), d.office.certificate, 0o666), os.WriteFile(file, settings, 0o666)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.dir, "calltally.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	config, err := parseConfig(file, settings)
	if err != nil {
		return err
	}
	if d.app, err = assemble(d.ctx, config, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	began := time.Now()
	d.app.worker.Now = func() time.Time { return demoMorning.Add(time.Since(began)) }
	d.inbox, err = d.office.openInbox(demoSender)
	d.say("calltally demo. All of it runs in this process, on 127.0.0.1, over real")
	d.say("SMTP and IMAP. The configuration, the ledger and the mails are kept in")
	d.say("%s", d.dir)
	return err
}

func (d *demo) heading(text string) {
	d.say("\n── %s %s\n", text, strings.Repeat("─", max(75-len([]rune(text)), 0)))
}

// importCalls imports the call log.
func (d *demo) importCalls(ctx context.Context) error {
	d.heading("1. A call log is imported")
	log, err := samples.Files.ReadFile("demo/1-calls.csv")
	if err != nil {
		return err
	}
	file := filepath.Join(d.dir, "calls.csv")
	if err := os.WriteFile(file, log, 0o666); err != nil {
		return err
	}
	w := d.app.worker
	upload, err := w.Accept(ctx, commandLineDelivery(file, w.Accounts[0].ID, conversion.TakesCalls, "", false))
	if err != nil {
		return err
	}
	tally, err := w.ImportCalls(ctx, upload)
	if err != nil {
		return err
	}
	return printImported(d.globals, upload, tally)
}

// firstFile mails the orders and shows what comes back.
func (d *demo) firstFile(ctx context.Context) (err error) {
	if d.orders, err = samples.Files.ReadFile("demo/2-orders.csv"); err != nil {
		return err
	}
	d.heading("2. Acme mails its orders")
	reply, err := d.exchange(ctx, "Orders of 31 March", "orders.csv", d.orders)
	if err != nil {
		return err
	}
	d.heading(fmt.Sprintf("3. The reply, %d ms later", reply.after.Milliseconds()))
	d.fix = reply.files["orders.fix.csv"]
	d.say("From: %s\nTo: %s\nSubject: %s\nIn-Reply-To: %s\nAuto-Submitted: %s\n\n%s", reply.from, reply.to, reply.subject, reply.inReplyTo, reply.autoSubmitted, strings.TrimSpace(reply.text))
	return d.keep("reply-1", reply)
}

// sameFile mails the very same file: what was applied stays as it is.
func (d *demo) sameFile(ctx context.Context) error {
	d.heading("4. Acme mails the same file again")
	reply, err := d.exchange(ctx, "Orders of 31 March (again)", "orders.csv", d.orders)
	if err != nil {
		return err
	}
	d.say("\nThe reply: %s", strings.SplitN(reply.text, "\n", 2)[0])
	d.say("Every row that was applied is unchanged: nothing counts twice.")
	return d.keep("reply-2", reply)
}

// demoFixes are what a person would correct in the fix file.
var demoFixes = []struct{ wrong, right string }{
	{"646-555-0911", "646-555-0111"}, {"5.01E+11", "ORD-506"}, {`"1,234"`, "123.40"},
}

// fixedFile corrects the fix file and mails it back.
func (d *demo) fixedFile(ctx context.Context) error {
	d.heading("5. Acme corrects the fix file and mails it back")
	for _, fix := range demoFixes {
		d.say("  %-14s → %s", fix.wrong, fix.right)
		d.fix = bytes.ReplaceAll(d.fix, []byte(","+fix.wrong+","), []byte(","+fix.right+","))
	}
	d.say("")
	reply, err := d.exchange(ctx, "Re: Orders of 31 March", "orders.fix.csv", d.fix)
	if err != nil {
		return err
	}
	d.say("\nThe reply: %s", strings.SplitN(reply.text, "\n", 2)[0])
	return d.keep("reply-3", reply)
}

// ledger shows what all of it came to.
func (d *demo) ledger(ctx context.Context) error {
	d.heading("6. The ledger")
	l := d.list(d.app, listFlags{}, "", "conversion", "call", "reference", "reason", "sale", "payout")
	err := d.app.store.ListConversions(ctx, "", 0, func(c *conversion.Conversion, _, callID string) error {
		return l.add(nil, c.ID, callID, c.ReferenceID, c.ReasonCode, money(c.Sale), money(c.Payout))
	})
	if err == nil {
		err = l.end()
	}
	if err != nil {
		return err
	}
	verified, err := d.app.store.Verify(ctx)
	if err != nil {
		return err
	}
	d.say("\n%s equal the sum of their %s: %d that don't agree.", conversion.Count(verified.Conversions, "conversion"), conversion.Count(verified.Changes, "change"), verified.Mismatches)
	d.say("\nTo see the mail as Acme does, open in a browser:\n%s", filepath.Join(d.dir, "reply-1.html"))
	return nil
}

// answer is a reply as its reader sees it.
type answer struct {
	from, to, subject, inReplyTo, autoSubmitted string
	text, html                                  string
	files                                       map[string][]byte
	raw                                         []byte
	after                                       time.Duration
}

// exchange mails a file and waits for the reply.
func (d *demo) exchange(ctx context.Context, subject, name string, content []byte) (*answer, error) {
	d.say("From: %s\nTo: %s\nSubject: %s\nAttached: %s\n", demoSender, demoAddress, subject, name)
	for line := range strings.Lines(string(content)) {
		d.say("  %s", conversion.Clip(strings.TrimRight(line, "\r\n"), 76))
	}
	began := time.Now()
	if err := d.post(subject, name, content); err != nil {
		return nil, fmt.Errorf("mail the file: %w", err)
	}
	raw, err := d.inbox.next(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for the reply: %w", err)
	}
	reply, err := readAnswer(raw)
	if err != nil {
		return nil, fmt.Errorf("read the reply: %w", err)
	}
	reply.after = time.Since(began)
	return reply, nil
}

// post sends a mail with a file, as an advertiser's mail program would.
func (d *demo) post(subject, name string, content []byte) error {
	client, err := smtp.DialTLS(d.office.smtp, d.office.trusted())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Auth(sasl.NewPlainClient("", demoSender, demoPassword)); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := composeMail(&b, subject, name, content); err != nil {
		return err
	}
	if err := client.SendMail(demoSender, []string{demoAddress}, &b); err != nil {
		return err
	}
	return client.Quit()
}

func composeMail(to io.Writer, subject, name string, content []byte) error {
	var h mail.Header
	h.SetDate(demoMorning)
	h.SetAddressList("From", []*mail.Address{{Name: "Acme Orders", Address: demoSender}})
	h.SetAddressList("To", []*mail.Address{{Address: demoAddress}})
	h.SetSubject(subject)
	if err := h.GenerateMessageIDWithHostname("acme.example"); err != nil {
		return err
	}
	w, err := mail.CreateWriter(to, h)
	if err != nil {
		return err
	}
	var text mail.InlineHeader
	text.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	body, err := w.CreateSingleInline(text)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(body, "Please find attached.\r\n"); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	var file mail.AttachmentHeader
	file.SetContentType("text/csv", nil)
	file.SetFilename(name)
	attachment, err := w.CreateAttachment(file)
	if err != nil {
		return err
	}
	if _, err := attachment.Write(content); err != nil {
		return err
	}
	return errors.Join(attachment.Close(), w.Close())
}

func readAnswer(raw []byte) (*answer, error) {
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	a := &answer{raw: raw, files: map[string][]byte{}, from: r.Header.Get("From"), to: r.Header.Get("To"), inReplyTo: r.Header.Get("In-Reply-To"), autoSubmitted: r.Header.Get("Auto-Submitted")}
	if a.subject, err = r.Header.Subject(); err != nil {
		return nil, err
	}
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(part.Body)
		if err != nil {
			return nil, err
		}
		switch h := part.Header.(type) {
		case *mail.AttachmentHeader:
			name, err := h.Filename()
			if err != nil {
				return nil, err
			}
			a.files[name] = content
		case *mail.InlineHeader:
			if kind, _, _ := h.ContentType(); kind == "text/html" {
				a.html = string(content)
			} else {
				a.text = strings.ReplaceAll(string(content), "\r\n", "\n")
			}
		}
	}
}

// keep writes a reply and its files into the demo's folder.
func (d *demo) keep(name string, a *answer) error {
	err := errors.Join(
		os.WriteFile(filepath.Join(d.dir, name+".eml"), a.raw, 0o666),
		os.WriteFile(filepath.Join(d.dir, name+".html"), []byte(a.html), 0o666))
	written := []string{name + ".eml", name + ".html"}
	for file, content := range a.files {
		file = name + "." + file
		written = append(written, file)
		err = errors.Join(err, os.WriteFile(filepath.Join(d.dir, file), content, 0o666))
	}
	slices.Sort(written)
	d.say("\nWritten: %s", strings.Join(written, "\n         "))
	return err
}
