//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-smtp"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

func TestFaultTime(t *testing.T) { injectAll(t, timeFaults()) }

func timeFaults() []injected {
	const year = 365 * 24 * time.Hour
	return []injected{
		{"42_clock_a_year_ahead", func(t *testing.T) { clockJumps(t, year) }},
		{"42_clock_a_year_behind", func(t *testing.T) { clockJumps(t, -year) }},
		{"42_report_put_off_by_a_clock_ahead", reportPutOffAhead},
		{"42_attempts_by_a_clock_ahead", attemptsAhead},
		{"43_clocks_put_forward", func(t *testing.T) { clocksPut(t, time.March, 8) }},
		{"43_clocks_put_back", func(t *testing.T) { clocksPut(t, time.November, 1) }},
		{"44_reload_of_no_YAML", func(t *testing.T) {
			reload(t, func(good string) string { return good + "sources: [\n" }, "the one before stays")
		}},
		{"44_reload_of_another_setting", func(t *testing.T) {
			reload(t, func(good string) string { return strings.Replace(good, "accounts:", "acounts:", 1) }, `did you mean \"accounts\"?`)
		}},
		{"44_reload_of_a_store_that_cannot_be", func(t *testing.T) {
			reload(t, func(good string) string { return strings.Replace(good, "calltally.db", "nowhere/calltally.db", 1) }, "the one before stays")
		}},
		{"44_reload_of_an_address_that_is_taken", func(t *testing.T) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			reload(t, func(good string) string { return good + fmt.Sprintf("web: {listen: %q}\n", taken.Addr()) }, "address already in use")
		}},
		{"44_reload_of_a_certificate_that_is_not_there", func(t *testing.T) {
			reload(t, func(good string) string {
				return good + "web: {listen: \"127.0.0.1:0\", certificate_file: none.pem, key_file: none.pem}\n"
			}, "certificate_file and key_file can't be read")
		}},
		{"50_DNS_down", nameUnknown},
		{"50_certificate_expired", certificateExpired},
	}
}

// clocked is a program that goes by a clock that is put as one likes.
type clocked struct {
	*app
	t    *testing.T
	drop string
	now  time.Time
}

func startClocked(t *testing.T) *clocked {
	t.Helper()
	c := &clocked{t: t, drop: t.TempDir(), now: time.Date(2028, 6, 1, 12, 0, 0, 0, time.UTC)} // the calls are of 2026: none is to come
	c.app = startApp(t, configOf(t, fmt.Sprintf(strings.Replace(partnerAccounts, "settle: 1ms", "settle: 0s", 1), c.drop)))
	importTestCalls(t, c.app, 10)
	clock := func() time.Time { return c.now }
	c.worker.Now, c.worker.Plans[0].Source.(*ingest.Drop).Now = clock, clock
	return c
}

// take has the program take a file.
func (c *clocked) take(i int) {
	c.t.Helper()
	dropAt(c.t, c.drop, fmt.Sprintf("%d.csv", i), crashRows(i, fmt.Sprint("R", i)))
	c.work()
}

func (c *clocked) work() {
	c.t.Helper()
	for range 2 { // a file is seen, and seen again
		if err := c.worker.RunOnce(c.t.Context()); err != nil {
			c.t.Errorf("at %s: %v", c.now, err)
		}
	}
}

// ids are those of the conversions, in order.
func (c *clocked) ids() (all []string) {
	c.t.Helper()
	err := c.store.ListConversions(c.t.Context(), "23", 0, func(one *conversion.Conversion, _, _ string) error {
		all = append(all, fmt.Sprint(one.ID, " ", one.ReferenceID))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// The clock is wrong by a year for a while: nothing waits for it or is done twice, and ids are
// as they would have been.
func clockJumps(t *testing.T, by time.Duration) {
	steady, jumping := startClocked(t), startClocked(t)
	for i := range 6 {
		steady.take(i)
		if i == 2 {
			jumping.now = jumping.now.Add(by)
		}
		if i == 4 {
			jumping.now = jumping.now.Add(-by)
		}
		jumping.take(i)
	}
	if got, want := jumping.ids(), steady.ids(); len(want) != 6 || !slices.Equal(got, want) {
		t.Errorf("the conversions are %q, want %q", got, want)
	}
	for i := int64(1); i <= 6; i++ {
		u, err := jumping.store.Upload(t.Context(), i)
		if err != nil || u.Name != fmt.Sprintf("%d.csv", i-1) || u.State != conversion.Decided || u.Attempts != 0 {
			t.Errorf("upload %d is %s, %s after %d attempts, %v", i, u.Name, u.State, u.Attempts, err)
		}
	}
	if n := countConversions(t, jumping.app); n != 6 {
		t.Errorf("%d conversions", n)
	}
	due := 0
	err := jumping.store.ReportsDue(t.Context(), conversion.MillisOf(jumping.now.Add(10*365*24*time.Hour)), func(conversion.ReportDue) error { due++; return nil })
	if results, _ := filepath.Glob(filepath.Join(jumping.drop, "results", "*.results.csv")); err != nil || due > 0 || len(results) != 6 {
		t.Errorf("%d reports are due, %v; %d are there", due, err, len(results))
	}
}

// A report that was put off while the clock was a year ahead is sent once it is right again.
func reportPutOffAhead(t *testing.T) {
	r := startRelayed(t, 3)
	right := r.now
	r.relay.set(always("data", &smtp.SMTPError{Code: 451, Message: "not this one"}))
	r.work(365 * 24 * time.Hour)
	r.relay.set(nil)
	r.now = right
	for range 3 {
		r.work(6 * time.Hour)
	}
	if len(r.relay.taken) != 1 {
		t.Errorf("%d letters were sent within 18 hours", len(r.relay.taken))
	}
}

// An upload that failed while the clock was a year ahead is decided once it is right again.
func attemptsAhead(t *testing.T) {
	c := startClocked(t)
	right, together := c.now, c.worker.Together
	c.now = right.Add(365 * 24 * time.Hour)
	dropAt(t, c.drop, "orders.csv", crashRows(0, "A"))
	c.worker.Together = func(ctx context.Context, f func(worker.Store) (bool, error)) error {
		if _, err := c.store.Upload(ctx, 1); err == nil { // it is received, and to be decided
			return errors.New("something is wrong")
		}
		return together(ctx, f)
	}
	for range 3 {
		_ = c.worker.RunOnce(t.Context()) // it fails, as it must
	}
	if u, err := c.store.Upload(t.Context(), 1); err != nil || u.Attempts != 3 {
		t.Fatalf("%d attempts, %v", u.Attempts, err)
	}
	c.worker.Together, c.now = together, right
	for range 3 {
		c.now = c.now.Add(6 * time.Hour)
		if err := c.worker.RunOnce(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if u, err := c.store.Upload(t.Context(), 1); err != nil || u.State != conversion.Decided {
		t.Errorf("after 18 hours it is %s after %d attempts, the next at %s, %v", u.State, u.Attempts, u.NextTry, err)
	}
}

// In the nights in which New York's clocks are put forward and back, each daily run takes
// place once.
func clocksPut(t *testing.T, month time.Month, day int) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"0 0", "59 0", "0 1", "30 1", "0 2", "30 2", "59 2", "0 3", "30 3"} {
		schedule, err := worker.ParseSchedule(at+" * * *", zone)
		if err != nil {
			t.Fatal(err)
		}
		var days []int
		end := time.Date(2026, month, day+3, 0, 0, 0, 0, zone)
		for next := time.Date(2026, month, day-1, 0, 0, 0, 0, zone).Add(-time.Second); ; {
			if next = schedule.Next(next); !next.Before(end) {
				break
			}
			days = append(days, next.In(zone).YearDay())
		}
		first := time.Date(2026, month, day-1, 12, 0, 0, 0, zone).YearDay()
		if want := []int{first, first + 1, first + 2, first + 3}; !slices.Equal(days, want) {
			t.Errorf("at %q, it runs on the days %v of the year, want %v", at, days, want)
		}
	}
}

// The name of a mailbox's host is not known for a while. Other sources go on.
func nameUnknown(t *testing.T) {
	if os.Geteuid() != 0 {
		(&disk{t: t}).missing("needs root, who may have names of its own: run it with sudo")
	}
	s := newIMAPScript(t, imap.CapMove)
	certificate := newCertificate(t, "mail.calltally.example", time.Now().Add(time.Hour))
	_, port, err := net.SplitHostPort(s.secure(t, certificate))
	if err != nil {
		t.Fatal(err)
	}
	h := faultHouse(t, fmt.Sprintf("  - {name: mail, kind: imap, url: \"imaps://%s@mail.calltally.example:%s\", password: %s, ca_file: ca.pem, trust: recipient, account: \"23\", every: 1s}\n", url.User(scriptUser), port, demoPassword))
	names := h.path("hosts")
	if err := errors.Join(os.WriteFile(h.path("ca.pem"), certificateOf(certificate), 0o666), os.WriteFile(names, []byte("127.0.0.1 localhost\n"), 0o666), os.WriteFile(h.path("resolv.conf"), []byte("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"), 0o666)); err != nil {
		t.Fatal(err)
	}
	h.under = []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf("mount --bind '%s' /etc/hosts && mount --bind '%s' /etc/resolv.conf && exec \"$@\"", names, h.path("resolv.conf")), "sh"}
	if said, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		(&disk{t: t}).missing(fmt.Sprintf("needs name spaces of its own, which many containers may not have: %v %s", err, said))
	}
	h.fails("lookup mail.calltally.example", "once")
	p := h.start("", "run")
	p.says(t, "lookup mail.calltally.example")
	h.drop("drop", "dropped.csv", crashRows(1, "B"))
	h.waitUntilSettled(1, 10*time.Second)
	if err := os.WriteFile(names, []byte("127.0.0.1 localhost mail.calltally.example\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	h.waitUntilSettled(2, 20*time.Second)
	h.stop(p)
	h.wantDecided("dropped.csv", "orders.csv")
}

// newCertificate is a server's certificate, that is its own authority, good until a moment.
func newCertificate(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func certificateOf(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// The certificates of a mailbox and of a relay have expired: it is said so, and nothing is
// sent there. Other sources go on.
func certificateExpired(t *testing.T) {
	s := newIMAPScript(t, imap.CapMove)
	certificate := newCertificate(t, "mail.calltally.example", time.Now().Add(-time.Hour))
	secure, drop := s.secure(t, certificate), t.TempDir()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, certificateOf(certificate), 0o666); err != nil {
		t.Fatal(err)
	}
	c := configOf(t, fmt.Sprintf(partnerAccounts+`  - {name: mail, kind: imap, url: "imaps://%s@%s", password: %s, ca_file: "%s", trust: recipient, account: "23"}
replies: {smtp: "smtps://%s@%s", password: %s, ca_file: "%s", from: "Uploads <uploads@calltally.example>"}
`, drop, url.User(scriptUser), secure, demoPassword, ca, url.User(scriptUser), secure, demoPassword, ca))
	var log bytes.Buffer
	app, err := assemble(t.Context(), c, newLog(&log, slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	defer app.close()
	importTestCalls(t, app, 3)
	dropAt(t, drop, "dropped.csv", crashRows(1, "B"))
	const expired = "certificate has expired"
	if err := app.worker.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "source mail: connect to "+secure) || !strings.Contains(err.Error(), expired) {
		t.Errorf("the error is %v", err)
	}
	wantTaken(t, app, "dropped.csv")
	found := 0
	for _, one := range app.checkAll(t.Context()) {
		if one.Name == "source mail" || one.Name == "replies" {
			found++
			if one.OK || !strings.Contains(one.Answer, expired) || !strings.Contains(one.Cure, "renews it") {
				t.Errorf("%s: %t, %s; %s", one.Name, one.OK, one.Answer, one.Cure)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d were checked", found)
	}
	if polls, err := app.store.Polls(t.Context()); err != nil || !slices.ContainsFunc(polls, func(p conversion.Poll) bool { return p.Source == "mail" && strings.Contains(p.Error, expired) }) {
		t.Errorf("noted of the sources is %+v, %v", polls, err)
	}
	if n := len(s.asked("login")); n > 0 {
		t.Errorf("somebody has logged in %d times", n)
	}
}
