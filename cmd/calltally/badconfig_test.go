package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// badSettings are a configuration, and what every command says of it.
type badSettings struct {
	name string // begins with its number
	text string
	want string // without the lines around the place; … stands for any words
}

// TestBadInputConfig has a bad configuration refused by whatever would work by it, with its
// place, and before anything is touched.
func TestBadInputConfig(t *testing.T) { runBadConfigs(t, badConfigs(), 0o600) }

func runBadConfigs(t *testing.T, all []badSettings, secret os.FileMode) {
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range map[string]string{"calltally.yaml": b.text, "secret": "0123456789abcdef\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(dir, "secret"), secret); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "once", "run"} {
				code, stdout, stderr := runBad(t, dir, command)
				said, _, _ := strings.Cut(strings.ReplaceAll(stderr, dir+"/", ""), "\n")
				if code != exitUsage || stdout != "" || !alike(said, "calltally: calltally.yaml:"+b.want) {
					t.Fatalf("%s ended with %d, printed %q and said\n%s\nwant\n%s", command, code, stdout, said, b.want)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "calltally.db")); err == nil {
				t.Error("a store was made")
			}
		})
	}
}

// badSource is a configuration with some sources.
func badSource(sources string) string {
	return "store: calltally.db\naccounts:\n  - {id: \"23\", addresses: [a@calltally.example]}\n  - {id: \"24\"}\nsources:\n" + sources
}

func badSetting(setting string) string {
	return "store: calltally.db\naccounts:\n  - id: \"23\"\n    " + setting + "\n"
}

func badConfigs() []badSettings {
	return []badSettings{
		{name: "120_unknown_key", text: badSetting("time_zon: America/New_York"),
			want: `4:5: there is no setting "time_zon"; did you mean "time_zone"?`},
		{name: "121_time_zone", text: badSetting("time_zone: America/Gotham"),
			want: `4:16: "America/Gotham" is not a time zone such as America/New_York`},
		{name: "121_currency", text: badSetting("currency: DOLLARS"),
			want: `4:15: "DOLLARS" is not an ISO 4217 currency`},
		{name: "121_pattern", text: badSetting(`senders: ["[@acme.example"]`),
			want: `4:15: "[@acme.example" is not an address or a pattern such as *@acme.example`},
		{name: "121_schedule", text: badSetting("name: Acme") + "reconcile: {schedule: \"61 2 * * *\"}\n",
			want: `5:23: "61 2 * * *" is not a schedule such as "0 2 * * *": end of range (61) above maximum (59): 61`},
		{name: "122_address_of_two_accounts", text: badSetting("addresses: [up@calltally.example]\n  - id: \"24\"\n    addresses: [UP@calltally.example]"),
			want: "6:17: the address UP@calltally.example belongs to account 23 already; an address names one account"},
		{name: "123_overlapping_folders", text: badSource("  - {name: a, kind: folder, path: drop, account: \"23\"}\n  - {name: b, kind: folder, path: drop/sub, account: \"24\"}\n"),
			want: "7:35: the folder overlaps with that of source a (drop)"},
		{name: "126_mail_without_TLS_beyond_this_machine", text: badSource("  - {name: a, kind: imap, url: \"imap://up@mail.example?tls=off\", password_file: secret}\n"),
			want: "6:32: tls=off is only for servers on this machine; take it out"},
		{name: "126_replies_without_TLS_beyond_this_machine", text: badSetting("name: Acme") + "replies: {smtp: \"smtp://up@mail.example?tls=off\", password_file: secret, from: up@mail.example}\n",
			want: "5:17: tls=off is only for servers on this machine; take it out"},
		{name: "126_requests_without_TLS_beyond_this_machine", text: badSource("  - {name: a, kind: http, token: 0123456789abcdef0123, account: \"23\"}\n") + "web: {listen: \"0.0.0.0:8080\"}\n",
			want: "7:15: tokens and customers' data would cross the network unencrypted: name certificate_file and key_file, or listen on 127.0.0.1, or set proxied: true if a proxy in front encrypts"},
		// Without a rule of its own, an account has the one for updates.
		{name: "127_no_such_duplicate_rule", text: badSetting("duplicates: {mode: none}"),
			want: `4:24: "none" is not one of update, create, create_marked, ignore, increment_payout, ignore_same_event`},
	}
}

// These are refused as well, or else would come to light when it is too late.
func TestBadInputConfigHeld(t *testing.T) { runBadConfigs(t, badConfigsHeld(), 0o644) }

func badConfigsHeld() []badSettings {
	box := "sources: [{name: a, kind: imap, url: \"imaps://uploads%40calltally.example@127.0.0.1:9\", password: x, trust: recipient}]\n"
	return []badSettings{
		{name: "124_secret_that_others_may_read", text: badSource("  - {name: a, kind: imap, url: \"imaps://up@127.0.0.1:9\", password_file: secret, trust: recipient}\n"),
			want: "6:…: …secret…"},
		{name: "128_reports_to_the_mailbox_itself", text: badSetting("report_to: [uploads@calltally.example]") + box,
			want: "4:…: …uploads@calltally.example…"},
	}
}

const badReload = "131_bad_settings_while_it_runs"

// A configuration that is bad when it is read again is told, and the one before stays in force.
func TestBadInputReload(t *testing.T) {
	t.Run(badReload, func(t *testing.T) {
		h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update"))
		p := h.start("", "run")
		h.waitUntilWorking(p)
		if err := errors.Join(os.WriteFile(h.path("calltally.yaml"), []byte("stor: calltally.db\n"), 0o600), p.Process.Signal(syscall.SIGHUP)); err != nil {
			t.Fatal(err)
		}
		h.drop("drop", "orders.csv", crashFile())
		h.waitUntilSettled(1, 10*time.Second)
		_ = p.Process.Signal(syscall.SIGTERM)
		if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone || !strings.Contains(p.said.String(), `there is no setting \"stor\"; did you mean \"store\"?`) {
			t.Errorf("it ended with signal %v, code %d, and said\n%s", signal, code, p.said.String())
		}
	})
}
