// Package rig is where tests find the real servers that scripts/services starts
// on loopback, and a proxy that breaks connections to them.
package rig

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Where the servers listen, and the password of everybody there.
const (
	IMAP     = "127.0.0.1:10143"
	IMAPS    = "127.0.0.1:10993"
	SMTPS    = "127.0.0.1:10465"
	LMTP     = "127.0.0.1:10024"
	Password = "s3cret"
)

// CAFile returns the certificate that the servers' own are signed by. Where the
// servers are not up, the test is skipped; where they were promised to be (CI,
// scripts/test), it fails.
func CAFile(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("CALLTALLY_RIG")
	if folder == "" {
		folder = "/tmp/calltally-rig"
	}
	conn, err := net.DialTimeout("tcp", IMAPS, time.Second)
	if err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("CALLTALLY_RIG_UP") == "1" {
			t.Fatalf("the mail servers are not up: run scripts/services install && scripts/services up (%v)", err)
		}
		t.Skip("needs Dovecot and Postfix: run scripts/services install && scripts/services up")
	}
	conn.Close()
	return filepath.Join(folder, "ca", "ca.pem")
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
