// Package rig is where tests find the real servers that scripts/services starts
// on loopback, and a proxy that breaks connections to them.
package rig

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Where the servers listen, and the password of everybody there.
const (
	IMAP  = "127.0.0.1:10143"
	IMAPS = "127.0.0.1:10993"
	SMTPS = "127.0.0.1:10465"
	// Submission is the relay that begins without TLS and demands STARTTLS.
	Submission = "127.0.0.1:10587"
	LMTP       = "127.0.0.1:10024"
	SFTP       = "127.0.0.1:10022"
	Password   = "s3cret"
)

// PoorIMAP is the IMAP server where it says that it can do little: no MOVE, no UIDPLUS, no
// IDLE.
const PoorIMAP = "127.0.0.2:10993"

// Who logs in by SFTP, and the folder of this machine that they see as /.
const (
	SFTPUser = "calltally-rig"
	SFTPRoot = "/srv/calltally-rig"
)

// Token is an access token of a mailbox, good until then.
func Token(user string, until time.Time) string {
	return fmt.Sprintf("rig.%s.%d", user, until.Unix())
}

// CAFile returns the certificate that the servers' own are signed by.
func CAFile(t testing.TB) string {
	t.Helper()
	return filepath.Join(folder(t), "ca", "ca.pem")
}

// SFTPKey returns the file of the private key that logs in by SFTP.
func SFTPKey(t testing.TB) string {
	t.Helper()
	return filepath.Join(folder(t), "sshd", "client")
}

// SFTPHostKey returns the file of one of the SFTP server's public keys: ed25519, ecdsa or
// rsa.
func SFTPHostKey(t testing.TB, kind string) string {
	t.Helper()
	return filepath.Join(folder(t), "sshd", "host_"+kind+".pub")
}

// SFTPFingerprint returns the fingerprint of the SFTP server's ed25519 key.
func SFTPFingerprint(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(SFTPHostKey(t, "ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(key)
}

// NewSFTPFolder makes a folder on the SFTP server that ends with the test. It returns the
// folder as the server names it and as this machine does.
func NewSFTPFolder(t testing.TB) (there, here string) {
	t.Helper()
	folder(t)
	who, err := user.Lookup(SFTPUser)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		t.Fatal(err)
	}
	here, err = os.MkdirTemp(SFTPRoot, "drop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(here) })
	if err := os.Chown(here, uid, -1); err != nil {
		t.Fatal(err)
	}
	return "/" + filepath.Base(here), here
}

// folder is the servers' state folder. Where they are not up, the test is skipped; where
// they were promised to be (CI, scripts/test), it fails.
func folder(t testing.TB) string {
	t.Helper()
	for _, address := range []string{IMAPS, SFTP} {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			continue
		}
		if os.Getenv("CI") == "true" || os.Getenv("CALLTALLY_RIG_UP") == "1" {
			t.Fatalf("the servers are not up: run scripts/services install && scripts/services up (%v)", err)
		}
		t.Skip("needs Dovecot, Postfix and OpenSSH: run scripts/services install && scripts/services up")
	}
	return cmp.Or(os.Getenv("CALLTALLY_RIG"), "/tmp/calltally-rig")
}

// TLS is a client's configuration that trusts the servers.
func TLS(t testing.TB) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(CAFile(t))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the servers' CA file holds no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}
