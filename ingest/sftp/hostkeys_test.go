package sftp_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"calltally/ingest/sftp"
	"calltally/scripts/rig"
)

// A server that isn't the one that is trusted is told no password, and gives no files.
func TestHostKeys(t *testing.T) {
	server := rig.NewSFTPServer(t)
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pins := func(fingerprint string) sftp.HostKeys {
		trusts, err := sftp.Fingerprints(fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		return trusts
	}
	elsewhere, _ := known(t, "127.0.0.1:1", other)
	changed, _ := known(t, server.Address, other)
	for _, test := range []struct {
		name   string
		trusts sftp.HostKeys
		says   string // "" if it is trusted
	}{
		{"the key is pinned", pins(server.Fingerprint), ""},
		{"another key is pinned", pins(ssh.FingerprintSHA256(other)), "which is not pinned"},
		{"the host is not known", elsewhere, "doesn't list"},
		{"the host is known by another key", changed, "has another one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &sftp.Folder{Address: server.Address, User: "acme", Login: sftp.Login{Password: rig.Password}, Trusts: test.trusts, Path: t.TempDir()}
			t.Cleanup(f.Close)
			_, err := f.Open(t.Context())
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	for _, fingerprint := range []string{"", "SHA256:", server.Fingerprint[:20], "MD5:" + server.Fingerprint[7:]} {
		if _, err := sftp.Fingerprints(fingerprint); err == nil {
			t.Errorf("%q is taken for a fingerprint", fingerprint)
		}
	}
}
