package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/mailbox"
	"calltally/ingest/sftp"
	"calltally/report/reply"
	"calltally/scripts/rig"
	"calltally/worker"
)

// The tests in this file run against real servers, Dovecot and Postfix, which
// “scripts/services up” starts on loopback.

// mailParties are two fresh mailboxes: of the uploads, and of an advertiser.
type mailParties struct {
	caFile          string
	uploads, sender string
	address         string // the account's upload address
}

func newParties(t *testing.T) mailParties {
	ca := rig.CAFile(t)
	id := strings.ToLower(rand.Text()[:10])
	return mailParties{caFile: ca, uploads: "box-u" + id + "@rig.test", sender: "box-s" + id + "@rig.test", address: "box-u" + id + "+acme@rig.test"}
}

// config is a configuration whose mailbox is reached at an IMAP address.
func (p mailParties) config(t *testing.T, imapURL, more string) *config {
	t.Helper()
	return configOf(t, p.settings(imapURL, more))
}

func (p mailParties) settings(imapURL, more string) string {
	login := url.User(p.uploads).String()
	return fmt.Sprintf(`
store: calltally.db
time_zone: America/New_York
accounts:
  - id: "23"
    name: Acme
    region: US
    addresses: [%s]
    senders: [%s]
    report_to: [%s]
    wait_for_calls: 0s
    match: {lookback: 0s}
    payouts: [{fixed: 5.00}]
sources:
  - {name: uploads, kind: imap, url: "%s", password: %s, ca_file: %s, trust: recipient, every: 30s}
%s
replies: {smtp: "smtps://%s@%s", password: %s, ca_file: %s, from: "Uploads <%s>"}
`, p.address, p.sender, p.sender, fmt.Sprintf(imapURL, login), rig.Password, p.caFile, more, login, rig.SMTPS, rig.Password, p.caFile, p.uploads)
}

// configOf reads a configuration from a file of its own.
func configOf(t *testing.T, text string) *config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "calltally.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const secureIMAP = "imaps://%s@" + rig.IMAPS

func startApp(t *testing.T, c *config) *app {
	t.Helper()
	app, err := assemble(t.Context(), c, newLog(testWriter{t}, slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.close() })
	return app
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	if phone := testPhones.Find(p); phone != nil {
		w.t.Errorf("the log tells the number %s", phone)
	}
	return len(p), nil
}

// runApp runs the worker until the test ends.
func runApp(t *testing.T, app *app) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// importTestCalls gives the account n calls, one a minute, each from a caller of
// its own.
func importTestCalls(t *testing.T, app *app, n int) {
	t.Helper()
	calls := make([]conversion.Call, n)
	for i := range calls {
		calls[i] = conversion.Call{CallID: fmt.Sprintf("C%d", i), Start: testCallStart(i), Duration: 60, Caller: conversion.Phone(12125550000 + int64(i)), Publisher: "pub"}
	}
	if _, err := app.store.SaveCalls(t.Context(), "23", calls); err != nil {
		t.Fatal(err)
	}
}

func testCallStart(i int) conversion.Millis {
	return conversion.MillisOf(time.Date(2026, 3, 1, 0, i, 0, 0, time.UTC))
}

// testUpload is a file of n rows that match the first n calls; the filler makes
// its rows longer.
func testUpload(n, filler int) []byte {
	var b bytes.Buffer
	b.WriteString("start_time_t,calling_phone_number,reference_id,sale_amount,note\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,+%d,R%d,%d.50,%s\n", testCallStart(i)/1000, 12125550000+i, i, i, strings.Repeat("x", filler))
	}
	return b.Bytes()
}

// send mails a file to the upload address by authenticated SMTP.
func (p mailParties) send(t *testing.T, subject, name string, content []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := composeMail(&b, subject, name, content); err != nil {
		t.Fatal(err)
	}
	raw := bytes.Replace(b.Bytes(), []byte(demoSender), []byte(p.sender), 1)
	raw = bytes.Replace(raw, []byte(demoAddress), []byte(p.address), 1)
	p.sendRaw(t, raw)
}

func (p mailParties) sendRaw(t *testing.T, raw []byte) {
	t.Helper()
	client, err := smtp.DialTLS(rig.SMTPS, rig.TLS(t))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Auth(sasl.NewPlainClient("", p.sender, rig.Password)); err != nil {
		t.Fatal(err)
	}
	if err := client.SendMail(p.sender, []string{p.address}, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

// open opens a mailbox as its owner.
func (p mailParties) open(t *testing.T, user string) *inbox {
	t.Helper()
	client, err := imapclient.DialTLS(rig.IMAPS, &imapclient.Options{TLSConfig: rig.TLS(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Login(user, rig.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return &inbox{client: client}
}

// count returns how many mails a folder holds; 0 if it is not there.
func (b *inbox) count(folder string) int {
	data, err := b.client.Status(folder, &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil || data.NumMessages == nil {
		return 0
	}
	return int(*data.NumMessages)
}

// append puts a mail into the inbox as it is.
func (b *inbox) append(t *testing.T, raw string) {
	t.Helper()
	adding := b.client.Append("INBOX", int64(len(raw)), nil)
	if _, err := adding.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := adding.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := adding.Wait(); err != nil {
		t.Fatal(err)
	}
}

func nextAnswer(t *testing.T, b *inbox) *answer {
	t.Helper()
	raw, err := b.next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reply, err := readAnswer(raw)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within %s", what, within)
}

func TestRigMailIsAnsweredInItsThreadWithinSeconds(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	importTestCalls(t, app, 3)
	runApp(t, app)
	sender := p.open(t, p.sender)
	time.Sleep(time.Second) // the worker is waiting in IDLE by now
	upload := append(testUpload(3, 1), []byte("bogus,,,,\n")...)
	began := time.Now()
	p.send(t, "Orders of 31 March", "orders.csv", upload)
	reply := nextAnswer(t, sender)
	took := time.Since(began)
	t.Logf("answered after %s", took)
	if took > 5*time.Second {
		t.Errorf("the reply took %s, more than 5 s", took)
	}
	if reply.subject != "Re: Orders of 31 March" || reply.inReplyTo == "" || reply.autoSubmitted != "auto-replied" {
		t.Errorf("subject %q, In-Reply-To %q, Auto-Submitted %q", reply.subject, reply.inReplyTo, reply.autoSubmitted)
	}
	if !strings.HasPrefix(reply.text, "4 rows: 3 created, 1 rejected\n") || !strings.Contains(reply.html, "3 created") {
		t.Errorf("the reply says %q", reply.text)
	}
	if got := bytes.Count(reply.files["orders.results.csv"], []byte("\n")); got != 5 {
		t.Errorf("the results file has %d lines: %s", got, reply.files["orders.results.csv"])
	}
	if got := bytes.Count(reply.files["orders.fix.csv"], []byte("\n")); got != 2 {
		t.Errorf("the fix file has %d lines: %s", got, reply.files["orders.fix.csv"])
	}
	if !bytes.Contains(reply.raw, []byte("Return-Path: <>")) {
		t.Error("the reply has an envelope sender, so that a bounce could answer it")
	}
	uploads := p.open(t, p.uploads)
	eventually(t, "the mail is put away", 5*time.Second, func() bool { return uploads.count("Processed") == 1 && uploads.count("INBOX") == 0 })
}

// A mailbox and a relay are let in by access tokens, whichever mechanism the server has; one
// grant serves both.
func TestRigMailByAGrant(t *testing.T) {
	for _, to := range []string{grantToUser, grantToApp} {
		t.Run(to, func(t *testing.T) {
			p := newParties(t)
			provider := rig.NewProvider(t, p.uploads)
			c := configOf(t, strings.ReplaceAll(p.settings(secureIMAP, ""), "password: "+rig.Password, "grant: rig")+fmt.Sprintf(
				"grants: [{name: rig, provider: other, to: %s, client_id: calltally, client_secret: %s, token_url: \"%s/token\"}]\n", to, rig.Secret, provider.URL))
			if to == grantToUser {
				g := c.granted["rig"]
				g.held.RefreshToken = provider.Refresh()
				if err := g.write(); err != nil {
					t.Fatal(err)
				}
				g.held = kept{}
			}
			app := startApp(t, c)
			importTestCalls(t, app, 3)
			p.send(t, "Orders", "orders.csv", testUpload(3, 1))
			uploads := p.open(t, p.uploads)
			eventually(t, "the mail arrives", 5*time.Second, func() bool { return uploads.count("INBOX") == 1 })
			if err := app.worker.RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if reply := nextAnswer(t, p.open(t, p.sender)); !strings.HasPrefix(reply.text, "3 rows: 3 created\n") {
				t.Errorf("the reply says %q", reply.text)
			}
			for _, one := range app.checkAll(t.Context()) {
				if !one.OK {
					t.Errorf("%s: %s", one.Name, one.Answer)
				}
			}
			if asked := provider.Asked(); len(asked) != 1 {
				t.Errorf("tokens were asked for %d times: %v", len(asked), asked)
			}
		})
	}
}

// Servers that have only the newer mechanism are logged in to by that.
func TestRigOAuthBearer(t *testing.T) {
	p := newParties(t)
	provider := rig.NewProvider(t, p.uploads)
	login := bearerLogin(p.uploads, grantFrom(t, provider, ", to: app"))
	for way, offered := range map[string]string{"the newer": sasl.OAuthBearer, "the older": xoauth2, "neither": "PLAIN"} {
		t.Run(way, func(t *testing.T) {
			box := &mailbox.Mailbox{Folder: "INBOX", Log: slog.New(slog.DiscardHandler), Server: mailbox.Server{
				Address: rig.IMAPS, TLS: rig.TLS(t), User: p.uploads,
				Login: func(ctx context.Context, offers func(string) bool, show func(sasl.Client) error) error {
					return login(ctx, func(mechanism string) bool { return mechanism == offered && offers(mechanism) }, show)
				},
			}}
			_, err := box.Probe(t.Context())
			if way == "neither" != (err != nil && strings.Contains(err.Error(), "it offers neither XOAUTH2 nor OAUTHBEARER")) {
				t.Error(err)
			}
		})
	}
}

// A server that doesn't take a token says why, and nothing waits for more of it.
func TestRigATokenThatIsNotTaken(t *testing.T) {
	p := newParties(t)
	provider := rig.NewProvider(t, "somebody-else@rig.test")
	c := configOf(t, strings.ReplaceAll(p.settings(secureIMAP, ""), "password: "+rig.Password, "grant: rig")+fmt.Sprintf(
		"grants: [{name: rig, provider: other, to: app, client_id: calltally, client_secret: %s, token_url: \"%s/token\"}]\n", rig.Secret, provider.URL))
	provider.Lifetime = -time.Hour // the server finds it expired
	app := startApp(t, c)
	failed := 0
	for _, one := range app.checkAll(t.Context()) {
		if strings.HasPrefix(one.Name, "source") || one.Name == "replies" {
			failed++
			if one.OK || !strings.Contains(one.Answer, "the access token was refused") || !strings.Contains(one.Cure, "doesn't take the grant") || strings.Contains(one.Answer, "rig.somebody") {
				t.Errorf("%s: %s → %s", one.Name, one.Answer, one.Cure)
			}
		}
	}
	if failed != 2 {
		t.Errorf("%d checks of mail", failed)
	}
}

func TestRigARefusedMailIsAnsweredAndPutAside(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	p.send(t, "Orders", "orders.csv", []byte("<!DOCTYPE html><html>Please log in</html>"))
	uploads, sender := p.open(t, p.uploads), p.open(t, p.sender)
	eventually(t, "the mail arrives", 5*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	reply := nextAnswer(t, sender)
	if !strings.HasPrefix(reply.text, "File not taken\n") || !strings.Contains(reply.text, "(not_a_table)") || len(reply.files) != 0 {
		t.Errorf("the reply says %q", reply.text)
	}
	if uploads.count("Rejected") != 1 || uploads.count("INBOX") != 0 {
		t.Errorf("Rejected holds %d mails, INBOX %d", uploads.count("Rejected"), uploads.count("INBOX"))
	}
}

// A mail with two files is two uploads and one reply.
func TestRigAMailWithTwoFiles(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	importTestCalls(t, app, 3)
	raw := "From: " + p.sender + "\r\nTo: " + p.address + "\r\nSubject: Both shops\r\nMessage-ID: <both@shop.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
	for name, content := range map[string]string{"north.csv": string(testUpload(2, 1)), "south.csv": "Dear Sirs\r\n"} {
		raw += "--B\r\nContent-Type: text/csv; name=" + name + "\r\n\r\n" + content + "\r\n"
	}
	p.sendRaw(t, []byte(raw+"--B--\r\n"))
	uploads, sender := p.open(t, p.uploads), p.open(t, p.sender)
	eventually(t, "the mail arrives", 5*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	reply := nextAnswer(t, sender)
	if !strings.HasPrefix(reply.text, "2 files\n") || !strings.Contains(reply.text, "2 rows: 2 created\n") || !strings.Contains(reply.text, "File not taken\n") || reply.subject != "Re: Both shops" || len(reply.files) != 1 {
		t.Errorf("subject %q, %d files: the reply says %q", reply.subject, len(reply.files), reply.text)
	}
	if n := countUploads(t, app); n != 2 || sender.count("INBOX") > 1 || uploads.count("Processed") != 1 {
		t.Errorf("%d uploads, %d replies, %d mails in Processed", n, sender.count("INBOX"), uploads.count("Processed"))
	}
}

func TestRigOurOwnReportIsNeverRead(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	p.sendRaw(t, []byte("From: "+p.sender+"\r\nTo: "+p.address+"\r\nSubject: x\r\nAuto-Submitted: auto-replied\r\nX-Calltally-Report: upload=1\r\n\r\nhello\r\n"))
	uploads := p.open(t, p.uploads)
	eventually(t, "the mail arrives", 5*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := countUploads(t, app); n != 0 || uploads.count("Processed") != 1 {
		t.Errorf("%d uploads were made of our own report; Processed holds %d", n, uploads.count("Processed"))
	}
}

func TestRigADroppedFileIsReportedWithinSeconds(t *testing.T) {
	p := newParties(t)
	drop := t.TempDir()
	app := startApp(t, p.config(t, secureIMAP, fmt.Sprintf("  - {name: drop, kind: folder, path: %s, account: \"23\", every: 30s, settle: 1s}", drop)))
	importTestCalls(t, app, 3)
	runApp(t, app)
	sender := p.open(t, p.sender)
	time.Sleep(time.Second)
	began := time.Now()
	if err := os.WriteFile(filepath.Join(drop, "orders.csv"), testUpload(3, 1), 0o666); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the results file", 5*time.Second, func() bool {
		content, err := os.ReadFile(filepath.Join(drop, "results", "orders.results.csv"))
		return err == nil && bytes.Count(content, []byte(",created,")) == 3
	})
	reply := nextAnswer(t, sender) // report_to is told as well
	t.Logf("reported after %s", time.Since(began))
	if reply.subject != "3 rows: 3 created – orders.csv" {
		t.Errorf("subject %q", reply.subject)
	}
	if found, _ := filepath.Glob(filepath.Join(drop, "processed", "*", "orders.csv")); len(found) != 1 {
		t.Errorf("processed holds %v", found)
	}
}

func TestRigALargeAttachmentStreams(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	const rows = 20_000
	importTestCalls(t, app, rows)
	content := testUpload(rows, 1100)
	if len(content) < 20<<20 {
		t.Fatalf("the file has only %d bytes", len(content))
	}
	p.send(t, "Many orders", "orders.csv", content)
	content = nil
	uploads := p.open(t, p.uploads)
	eventually(t, "the mail arrives", 10*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	peak := watchHeap(t)
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	grown := peak()
	t.Logf("the heap grew by at most %d MiB for a mail of 28 MiB", grown>>20)
	if grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if n := countConversions(t, app); n != rows {
		t.Errorf("%d conversions were made of %d rows", n, rows)
	}
}

// watchHeap samples the heap and returns, when asked, by how much it grew at
// most.
func watchHeap(t *testing.T) func() int64 {
	t.Helper()
	runtime.GC()
	var base runtime.MemStats
	runtime.ReadMemStats(&base)
	var highest atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest.Store(max(highest.Load(), now.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return int64(highest.Load()) - int64(base.HeapAlloc)
	}
}

func TestRigACutConnectionIsFetchedAgain(t *testing.T) {
	breakFetching(t, rig.HangUp, time.Minute, 100_000, 700_000, 1_300_000)
}

// breakFetching has connections break after so many bytes, while a mail of 1.4 MB is fetched
// by somebody so patient. It is fetched again, and is one upload.
func breakFetching(t *testing.T, how int32, patience time.Duration, cuts ...int64) {
	p := newParties(t)
	proxy := rig.NewProxy(t, rig.IMAP)
	proxy.Break.Store(how)
	app := startApp(t, p.config(t, "imap://%s@"+proxy.Address+"?tls=off", ""))
	app.worker.Plans[0].Source.(*mailbox.Mailbox).Server.Patience = patience
	const rows = 2000
	importTestCalls(t, app, rows)
	p.send(t, "Orders", "orders.csv", testUpload(rows, 500))
	uploads := p.open(t, p.uploads)
	eventually(t, "the mail arrives", 5*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	for _, cutAfter := range cuts {
		proxy.CutAfter.Store(cutAfter)
		if err := app.worker.RunOnce(t.Context()); err == nil {
			t.Fatalf("a connection cut after %d bytes went unnoticed", cutAfter)
		}
		if n := countUploads(t, app); n != 0 {
			t.Fatalf("a mail cut after %d bytes made %d uploads", cutAfter, n)
		}
	}
	proxy.CutAfter.Store(0)
	for range 2 {
		if err := app.worker.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if uploads, conversions := countUploads(t, app), countConversions(t, app); uploads != 1 || conversions != rows {
		t.Errorf("%d uploads and %d conversions were made of one mail with %d rows", uploads, conversions, rows)
	}
}

// Files come from an SFTP server whose connections break in every way, and none is lost
// or taken twice; in the end each has its report beside it.
func TestRigAServerWhoseConnectionsBreak(t *testing.T) {
	for way, how := range rig.Breaks {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p := newParties(t)
			proxy := rig.NewProxy(t, rig.SFTP)
			there, here := rig.NewSFTPFolder(t)
			app := startApp(t, p.config(t, secureIMAP, fmt.Sprintf(
				`  - {name: partner, kind: sftp, url: "sftp://%s@%s%s", key_file: %s, fingerprints: ["%s"], account: "23", settle: 0s}`,
				rig.SFTPUser, proxy.Address, there, rig.SFTPKey(t), rig.SFTPFingerprint(t))))
			app.worker.Plans[1].Source.(*ingest.Drop).Place.(*sftp.Folder).Patience = 300 * time.Millisecond
			const files, rows = 3, 40
			importTestCalls(t, app, files*rows)
			upload := bytes.SplitAfter(testUpload(files*rows, 300), []byte("\n"))
			for i := range files {
				part := append([][]byte{upload[0]}, upload[1+i*rows:1+(i+1)*rows]...)
				if err := os.WriteFile(filepath.Join(here, fmt.Sprintf("%d.csv", i)), bytes.Join(part, nil), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			proxy.Break.Store(how)
			failures := 0
			for _, bytes := range []int64{100, 3000, 5000, 6000, 7000, 8000, 10_000, 20_000} {
				proxy.CutAfter.Store(bytes)
				if err := app.worker.RunOnce(t.Context()); err != nil {
					failures++
				}
			}
			proxy.CutAfter.Store(0)
			proxy.HangUpAll()
			app.worker.Now = func() time.Time { return time.Now().Add(time.Hour) } // when what failed is due again
			for range 4 {
				if err := app.worker.RunOnce(t.Context()); err != nil {
					t.Logf("once more: %v", err)
				}
			}
			if failures == 0 {
				t.Error("nothing broke, so that this shows nothing")
			}
			if uploads, conversions := countUploads(t, app), countConversions(t, app); uploads != files || conversions != files*rows {
				t.Errorf("%d uploads and %d conversions were made of %d files with %d rows", uploads, conversions, files, files*rows)
			}
			for folder, want := range map[string]int{"work": 0, filepath.Join("processed", "*"): files, "results": files} {
				if found, err := filepath.Glob(filepath.Join(here, folder, "*.csv")); err != nil || len(found) != want {
					t.Errorf("%s holds %q, not %d files", folder, found, want)
				}
			}
		})
	}
}

// Replies go through a relay whose connections break in every way and at every place: each
// mail is answered, and one that is sent again is the same mail.
func TestRigARelayWhoseConnectionsBreak(t *testing.T) {
	for way, how := range rig.Breaks {
		for scheme, relay := range map[string]string{"smtps": rig.SMTPS, "smtp": rig.Submission} {
			t.Run(way+" "+scheme, func(t *testing.T) {
				t.Parallel()
				p := newParties(t)
				proxy := rig.NewProxy(t, relay)
				settings := p.settings(secureIMAP, "")
				app := startApp(t, configOf(t, strings.ReplaceAll(strings.ReplaceAll(settings, rig.SMTPS, proxy.Address), "smtps://", scheme+"://")))
				importTestCalls(t, app, 3)
				app.worker.Replier.(*reply.Sender).Patience = 300 * time.Millisecond
				cuts := []int64{10, 60, 200, 600, 1500, 1900, 2200, 2300, 2400, 2500, 2700}
				const mails = 3
				for i := range mails {
					p.send(t, fmt.Sprint("Orders ", i), fmt.Sprintf("orders-%d.csv", i), testUpload(3, i+1))
				}
				uploads := p.open(t, p.uploads)
				eventually(t, "the mails arrive", 10*time.Second, func() bool { return uploads.count("INBOX") == mails })
				now := time.Now()
				app.worker.Now = func() time.Time { return now }
				proxy.Break.Store(how)
				failures := 0
				for _, bytes := range append(cuts, 0) {
					proxy.CutAfter.Store(bytes)
					if err := app.worker.RunOnce(t.Context()); err != nil {
						failures++
					}
					now = now.Add(6 * time.Hour) // when what failed is due again
				}
				if failures == 0 {
					t.Error("nothing broke, so that this shows nothing")
				}
				sender := p.open(t, p.sender)
				answered := map[string]string{}
				for range sender.count("INBOX") {
					answer := nextAnswer(t, sender)
					if before, known := answered[answer.inReplyTo]; known && before != string(answer.files[""])+answer.text {
						t.Errorf("%s was answered by two different mails", answer.subject)
					}
					answered[answer.inReplyTo] = string(answer.files[""]) + answer.text
				}
				if len(answered) != mails {
					t.Errorf("%d mails are answered, want %d", len(answered), mails)
				}
			})
		}
	}
}

func countUploads(t *testing.T, app *app) (n int) {
	t.Helper()
	if err := app.store.ListUploads(t.Context(), "", 0, func(*conversion.Upload) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func countConversions(t *testing.T, app *app) int {
	t.Helper()
	verified, err := app.store.Verify(t.Context())
	if err != nil || verified.Mismatches > 0 {
		t.Fatal(errors.Join(err, fmt.Errorf("verify: %+v", verified)))
	}
	return verified.Conversions
}

// A file comes before its calls. They come the next day, the nightly run finds them,
// and its sender is told once, in the thread; so are those who look after the worker.
func TestRigLateCallsAreToldInTheThread(t *testing.T) {
	p := newParties(t)
	app := startApp(t, p.config(t, secureIMAP, ""))
	today := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	app.worker.Now = func() time.Time { return today }
	app.worker.Accounts[0].WaitForCalls = 7 * 24 * time.Hour
	sender := p.open(t, p.sender)
	p.send(t, "Orders of 1 March", "orders.csv", testUpload(3, 1))
	uploads := p.open(t, p.uploads)
	eventually(t, "the mail arrives", 10*time.Second, func() bool { return uploads.count("INBOX") == 1 })
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := nextAnswer(t, sender)
	if !strings.HasPrefix(first.text, "3 rows: 3 waiting\n") {
		t.Errorf("the first report says %q", first.text)
	}

	today = today.Add(14 * time.Hour)
	importTestCalls(t, app, 2) // the third never comes
	app.worker.DigestTo = []string{p.sender}
	if err := app.worker.Nightly(t.Context()); err != nil {
		t.Fatal(err)
	}
	follow := nextAnswer(t, sender)
	if follow.subject != first.subject || follow.inReplyTo != first.inReplyTo || !strings.Contains(string(follow.raw), "References: ") {
		t.Errorf("the follow-up is no part of the thread: %q in reply to %q", follow.subject, follow.inReplyTo)
	}
	if !strings.HasPrefix(follow.text, "Update: 3 rows: 2 created, 1 waiting\n") || bytes.Count(follow.files["orders.results.csv"], []byte(",created,")) != 2 {
		t.Errorf("the follow-up says %q", follow.text)
	}
	digest := nextAnswer(t, sender)
	if digest.subject != "Digest of 2 March 2026: 1 file, 3 rows" || digest.autoSubmitted != "auto-generated" || !strings.Contains(digest.text, "66.7%") {
		t.Errorf("the digest is %q, %s:\n%s", digest.subject, digest.autoSubmitted, digest.text)
	}
	if err := app.worker.Nightly(t.Context()); err != nil { // no news: only the digest
		t.Fatal(err)
	}
	if again := nextAnswer(t, sender); !strings.HasPrefix(again.subject, "Digest of ") {
		t.Errorf("without news, %q was sent", again.subject)
	}
}

// A mailbox that asks its server about senders takes what the server vouches for, and holds
// the rest; the sender of what is held is never answered.
func TestRigSendersThatNobodyVouchesFor(t *testing.T) {
	p := newParties(t)
	c := configOf(t, strings.Replace(p.settings(secureIMAP, ""), "trust: recipient", "authserv_id: mx.rig.test", 1))
	app := startApp(t, c)
	importTestCalls(t, app, 9)
	box := p.open(t, p.uploads)
	mail := func(subject, header, from string) {
		t.Helper()
		box.append(t, header+fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@rig.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/csv; name=orders.csv\r\nContent-Disposition: attachment; filename=%s.csv\r\n\r\n%s",
			from, p.address, subject, subject, subject, testUpload(1, 1)))
	}
	pass := "Authentication-Results: mx.rig.test; dmarc=pass header.from=rig.test\r\n"
	mail("vouched", pass, p.sender)
	mail("nothing", "", p.sender)
	mail("forged-below", "Authentication-Results: mx.rig.test; dmarc=fail header.from=rig.test\r\n"+pass, p.sender)
	mail("other-server", "Authentication-Results: mx.evil.example; dmarc=pass header.from=rig.test\r\n", p.sender)
	mail("two-senders", pass+"From: <eve@evil.example>\r\n", p.sender)
	mail("not-allowed", pass, "eve@rig.test")
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"vouched": "decided", "nothing": "held sender_not_authenticated", "forged-below": "held sender_not_authenticated", "other-server": "held sender_not_authenticated",
		"two-senders": "held sender_not_authenticated", "not-allowed": "refused sender_not_allowed",
	}
	err := app.store.ListUploads(t.Context(), "", 0, func(u *conversion.Upload) error {
		got := string(u.State)
		if u.Hold != nil {
			got += " " + string(u.Hold.Code)
		}
		if u.Refusal != nil {
			got += " " + string(u.Refusal.Code)
		}
		if subject := strings.TrimSuffix(u.Name, ".csv"); want[subject] != got {
			t.Errorf("%s is %s, want %s", subject, got, want[subject])
		}
		if (u.Mail.ReplyTo != "") != (u.Name == "vouched.csv") {
			t.Errorf("%s answers %q", u.Name, u.Mail.ReplyTo)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The check mails itself a forged header: by smtps the server takes it out, by submission it
// doesn't.
func TestRigACheckForgesAHeader(t *testing.T) {
	for relay, believed := range map[string]bool{rig.SMTPS: false, rig.Submission: true} {
		p := newParties(t)
		settings := strings.Replace(p.settings(secureIMAP, ""), "trust: recipient", "authserv_id: mx.rig.test", 1)
		if believed {
			settings = strings.Replace(settings, "smtps://", "smtp://", 1)
			settings = strings.Replace(settings, "@"+rig.SMTPS, "@"+rig.Submission, 1)
		}
		app := startApp(t, configOf(t, settings))
		found := false
		for _, one := range app.checkAll(t.Context()) {
			if one.Name != "senders of uploads" {
				continue
			}
			found = true
			if one.OK == believed || !strings.Contains(one.Answer, map[bool]string{true: "it would have been believed", false: "a forged header was taken out"}[believed]) {
				t.Errorf("by %s: %v, %s", relay, one.OK, one.Answer)
			}
		}
		if !found {
			t.Error("nothing was forged")
		}
		if box := p.open(t, p.uploads); box.count("INBOX") != 0 {
			t.Error("the check's mail was left in the mailbox")
		}
	}
}

// What a mailbox has put away and the store doesn't know, an audit finds, and has come again.
func TestRigAuditOfAMailbox(t *testing.T) {
	for _, poor := range []bool{false, true} {
		p := newParties(t)
		start := func() *app {
			app := startApp(t, p.config(t, secureIMAP, ""))
			if poor { // its mails are marked where they are
				app.worker.Plans[0].Source.(*mailbox.Mailbox).Server.Address = rig.PoorIMAP
			}
			importTestCalls(t, app, 3)
			return app
		}
		first := start()
		p.send(t, "Orders", "orders.csv", testUpload(3, 1))
		box := p.open(t, p.uploads)
		eventually(t, "the mail arrives", 5*time.Second, func() bool { return box.count("INBOX") == 1 })
		if err := first.worker.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		audit := func(app *app, rereceive bool) (missing []worker.Missing) {
			t.Helper()
			looked, err := app.worker.Audit(t.Context(), time.Now().Add(-time.Hour), rereceive, func(m worker.Missing) error { missing = append(missing, m); return nil })
			if err != nil || looked != 1 {
				t.Errorf("looked at %d, %v; want the mail", looked, err)
			}
			return missing
		}
		if missing := audit(first, false); len(missing) != 0 {
			t.Errorf("missing: %v", missing)
		}
		lost := start() // its store is empty
		if missing := audit(lost, true); len(missing) != 1 || !missing[0].Returned || !strings.Contains(missing[0].Where, "Orders") {
			t.Errorf("missing: %v", missing)
		}
		if err := lost.worker.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if missing := audit(lost, false); len(missing) != 0 {
			t.Errorf("still missing: %v", missing)
		}
	}
}
