//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/sftp"
	"calltally/scripts/rig"
)

func TestFaultPlace(t *testing.T) { injectAll(t, placeFaults()) }

func placeFaults() []injected {
	return []injected{
		{"38_rename_denied", renameDenied},
		{"39_cut_within_a_file", func(t *testing.T) { cutDownload(t, rig.Reset) }},
		{"39_silent_within_a_file", func(t *testing.T) { cutDownload(t, rig.BlackHole) }},
		{"40_host_key_changed", hostKeyChanged},
		{"41_writer_goes_on_before_it_is_read", func(t *testing.T) { writerGoesOn(t, "accept-before-save", "3 rows: 3 created") }},
		{"41_writer_goes_on_after_it_is_read", func(t *testing.T) {
			writerGoesOn(t, "accept-before-ack", "2 rows: 2 created", "3 rows: 1 created, 2 unchanged")
		}},
		{"41_writer_goes_on_while_it_settles", writerStillWrites},
	}
}

// partnerAccounts are the account and one of the sources of what comes by SFTP; more sources
// may follow.
const partnerAccounts = `store: calltally.db
accounts: [{id: "23", region: US, time_zone: America/New_York, wait_for_calls: 0s, match: {lookback: 0s}, duplicates: {mode: update, key: [reference_id]}, payouts: [{percent: 10}]}]
sources:
  - {name: other, kind: folder, path: "%s", account: "23", settle: 1ms}
`

// startPartnered starts the program with a folder of this machine and one of an SFTP server.
func startPartnered(t *testing.T, address, there, more string) (app *app, other string) {
	t.Helper()
	other = t.TempDir()
	app = startApp(t, configOf(t, fmt.Sprintf(partnerAccounts+`  - {name: partner, kind: sftp, url: "sftp://%s@%s%s", account: "23", settle: 0s, %s}`, other, rig.SFTPUser, address, there, more)))
	importTestCalls(t, app, 10)
	return app, other
}

func rigLogin(t *testing.T) string {
	return fmt.Sprintf(`key_file: "%s", fingerprints: ["%s"]`, rig.SFTPKey(t), rig.SFTPFingerprint(t))
}

func dropAt(t *testing.T, folder, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// wantTaken checks which files were taken, each once, with one conversion.
func wantTaken(t *testing.T, app *app, names ...string) {
	t.Helper()
	var got []string
	err := app.store.ListUploads(t.Context(), "", 0, func(u *conversion.Upload) error {
		got = append(got, u.Name)
		return nil
	})
	slices.Sort(got)
	slices.Sort(names)
	if n := countConversions(t, app); err != nil || !slices.Equal(got, names) || n != len(names) {
		t.Errorf("the uploads are %q with %d conversions, %v; want %q", got, n, err, names)
	}
}

// On a server that denies us to rename, nothing is taken, unless files are to stay where they
// are. Other sources go on.
func renameDenied(t *testing.T) {
	there, here := rig.NewSFTPFolder(t)
	app, other := startPartnered(t, rig.SFTP, there, rigLogin(t))
	if err := app.worker.RunOnce(t.Context()); err != nil { // it makes its folders
		t.Fatal(err)
	}
	dropAt(t, here, "orders.csv", crashRows(0, "A"))
	dropAt(t, other, "other.csv", crashRows(1, "B"))
	if err := os.Chmod(here, 0o555); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := app.worker.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "source partner: claim file: ") || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("the error is %v", err)
		}
		wantTaken(t, app, "other.csv")
	}
	if _, err := os.Stat(filepath.Join(here, "orders.csv")); err != nil {
		t.Error(err)
	}
	polls, err := app.store.Polls(t.Context())
	if err != nil || !slices.ContainsFunc(polls, func(p conversion.Poll) bool {
		return p.Source == "partner" && strings.Contains(p.Error, "permission denied")
	}) {
		t.Errorf("noted of the sources is %+v, %v", polls, err)
	}

	leaving, _ := startPartnered(t, rig.SFTP, there, rigLogin(t)+", leave: true")
	for range 2 {
		if err := leaving.worker.RunOnce(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wantTaken(t, leaving, "orders.csv")

	if err := os.Chmod(here, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Error(err)
	}
	wantTaken(t, app, "orders.csv", "other.csv")
}

// A file whose download breaks off is fetched again, as the same delivery.
func cutDownload(t *testing.T, how int32) {
	proxy := rig.NewProxy(t, rig.SFTP)
	there, here := rig.NewSFTPFolder(t)
	app, _ := startPartnered(t, proxy.Address, there, rigLogin(t))
	dropAt(t, here, "orders.csv", crashRows(0, "A")+strings.Repeat("\n", 2<<20))
	proxy.Break.Store(how)
	proxy.CutAfter.Store(20_000)
	server := app.worker.Plans[1].Source.(*ingest.Drop).Place.(*sftp.Folder)
	server.Patience = 300 * time.Millisecond
	var claimed []string
	eventually(t, "it is claimed", 20*time.Second, func() bool { // less patience than a busy server needs now and then
		if err := app.worker.RunOnce(t.Context()); err == nil {
			t.Fatal("nothing broke, so that this shows nothing")
		}
		claimed, _ = filepath.Glob(filepath.Join(here, "work", "*"))
		return len(claimed) == 1
	})
	wantTaken(t, app)
	proxy.CutAfter.Store(0)
	proxy.HangUpAll()
	server.Close()
	server.Patience = 0
	eventually(t, "it goes on", 20*time.Second, func() bool { return app.worker.RunOnce(t.Context()) == nil })
	wantTaken(t, app, "orders.csv")
	token, _, _ := strings.Cut(filepath.Base(claimed[0]), "~")
	if u, err := app.store.Upload(t.Context(), 1); err != nil || u.Origin != "file "+token {
		t.Errorf("its origin is %q, %v; want that of the first claim, %s", u.Origin, err, token)
	}
}

// A server whose key has changed is asked for nothing, however often. Other sources go on.
func hostKeyChanged(t *testing.T) {
	before, after := rig.NewSFTPServer(t), rig.NewSFTPServer(t)
	here := t.TempDir()
	app, other := startPartnered(t, before.Address, here, fmt.Sprintf(`password: %s, fingerprints: ["%s"]`, rig.Password, before.Fingerprint))
	server := app.worker.Plans[1].Source.(*ingest.Drop).Place.(*sftp.Folder)
	dropAt(t, here, "first.csv", crashRows(0, "A"))
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Address = after.Address
	dropAt(t, here, "second.csv", crashRows(1, "B"))
	dropAt(t, other, "other.csv", crashRows(2, "C"))
	for range 3 {
		if err := app.worker.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "source partner: ") || !strings.Contains(err.Error(), after.Fingerprint) || !strings.Contains(err.Error(), "not pinned") {
			t.Errorf("the error is %v", err)
		}
	}
	wantTaken(t, app, "first.csv", "other.csv")
	found := false
	for _, one := range app.checkAll(t.Context()) {
		if one.Name == "source partner" {
			found = true
			if one.OK || !strings.Contains(one.Answer, after.Fingerprint) {
				t.Errorf("the check says %t, %s", one.OK, one.Answer)
			}
		}
	}
	if !found {
		t.Error("nothing was checked")
	}
	server.Close()
	server.Address = before.Address
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Error(err)
	}
	wantTaken(t, app, "first.csv", "second.csv", "other.csv")
}

// Whoever has written a file still holds it and goes on writing, after it was claimed and the
// program was killed at a step. Whole versions are taken, and each row counts once.
func writerGoesOn(t *testing.T, step string, tallies ...string) {
	h := faultHouse(t, "")
	out, err := os.Create(h.path("drop", "orders.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	write := func(text string) {
		t.Helper()
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write(crashHeader + row(0) + row(1))
	if signal, _ := h.endWithin(h.start(step, "once"), 30*time.Second); signal != syscall.SIGKILL {
		t.Fatal("it wasn't killed, so that this shows nothing")
	}
	write(row(2))
	h.once()
	h.once()
	db := h.open()
	var got []string
	for _, u := range h.uploads(db) {
		got = append(got, u.Tally.String())
	}
	if verified, err := db.Verify(t.Context()); err != nil || !slices.Equal(got, tallies) || verified.Mismatches != 0 || verified.Conversions != 3 || verified.Changes != 3 {
		t.Errorf("it comes to %q, the ledger has %+v, %v; want %q and 3 conversions", got, verified, err, tallies)
	}
	if left := h.in("drop"); len(left) > 0 {
		t.Errorf("the folder still holds %q", left)
	}
}

func row(i int) string { return strings.TrimPrefix(crashRows(i, fmt.Sprint("R", i)), crashHeader) }

// A file that grows is left alone until it has settled.
func writerStillWrites(t *testing.T) {
	h := newHouse(t, strings.Replace(faultSettings, `path: drop, account: "23", every: 1s, settle: 1ms`, `path: drop, account: "23", every: 1s, settle: 900ms`, 1))
	p := h.start("", "run")
	h.waitUntilWorking(p)
	out, err := os.Create(h.path("drop", "orders.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const rows = 10
	for i := range rows {
		text := row(i)
		if i == 0 {
			text = crashHeader + text
		}
		for _, half := range []string{text[:len(text)/2], text[len(text)/2:]} {
			if _, err := out.WriteString(half); err != nil {
				t.Fatal(err)
			}
			if n := len(h.uploads(h.open())); n > 0 {
				t.Fatalf("it was taken after %d rows", i)
			}
			time.Sleep(150 * time.Millisecond)
		}
	}
	h.waitUntilSettled(1, 10*time.Second)
	h.stop(p)
	if u := h.uploads(h.open())[0]; u.Tally.Rows != rows || u.Tally.Of(conversion.Created) != rows {
		t.Errorf("of %d rows, it has taken %s", rows, u.Tally)
	}
}
