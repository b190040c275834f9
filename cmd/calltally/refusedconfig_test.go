package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Reports that come back as uploads would be answered by reports.
func TestReportsGoInNoCircle(t *testing.T) {
	for _, test := range []struct{ name, reportTo, digestTo, says string }{
		{"elsewhere", "ops@acme.example", "ops@acme.example", ""},
		{"to an upload address", "Up@acme.example", "ops@acme.example", "is an upload address of account 24"},
		{"to an address for dry runs", "try@acme.example", "ops@acme.example", "is an upload address of account 24"},
		{"to a mailbox that is read", "Box@acme.example", "ops@acme.example", "is the mailbox of source mail"},
		{"a digest to an upload address", "ops@acme.example", "up@acme.example", "is an upload address of account 24"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantConfig(t, test.says, strings.NewReplacer("REPORT_TO", test.reportTo, "DIGEST_TO", test.digestTo).Replace(`
store: calltally.db
accounts:
  - {id: "23", report_to: [REPORT_TO]}
  - {id: "24", addresses: [up@acme.example], dry_run_addresses: [try@acme.example]}
sources:
  - {name: mail, kind: imap, url: "imaps://box%40acme.example@mail.example", password: x}
replies: {smtp: "smtps://mail.example", from: reports@acme.example}
reconcile: {schedule: "0 4 * * *", digest_to: [DIGEST_TO]}
`))
		})
	}
}

// What goes without TLS stays on this machine.
func TestNoMailServerElsewhereGoesWithoutTLS(t *testing.T) {
	const why = "tls=off is only for servers on this machine"
	for host, says := range map[string]string{"127.0.0.1": "", "[::1]": "", "localhost": "", "192.0.2.1": why, "mail.example": why, "localhost.evil.example": why} {
		wantConfig(t, says, "store: calltally.db\naccounts: [{id: \"23\"}]\nreplies: {smtp: \"smtp://"+host+"?tls=off\", from: reports@acme.example}\n")
	}
}

// wantConfig reads a configuration, which fails by saying something; "" if it must not.
func wantConfig(t *testing.T, says, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "calltally.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := loadConfig(file)
	if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one that says %q", err, says)
	}
}
