package sftp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/sftp"
	"calltally/scripts/rig"
)

// The tests in this file run against OpenSSH, which “scripts/services up” starts on
// loopback, with everybody locked into a folder.

// rigFolder is a fresh folder on the server, and the same on this machine.
type rigFolder struct {
	*sftp.Folder
	here string
}

// newRigFolder makes one that is reached at an address.
func newRigFolder(t *testing.T, address string) rigFolder {
	t.Helper()
	there, here := rig.NewSFTPFolder(t)
	f := rigFolder{&sftp.Folder{
		Address: address, User: rig.SFTPUser, Login: sftp.Login{KeyFile: rig.SFTPKey(t)}, Trusts: pinned(t, "ed25519"), Path: there,
	}, here}
	t.Cleanup(f.Close)
	return f
}

// drop is the folder as a source.
func (f rigFolder) drop() *ingest.Drop {
	return &ingest.Drop{Label: "drop", Place: f.Folder, Account: "23", Takes: conversion.TakesConversions, Now: time.Now}
}

func (f rigFolder) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.here, name), content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// names lists a folder below it.
func (f rigFolder) names(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.here, folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func publicKey(t *testing.T, kind string) ssh.PublicKey {
	t.Helper()
	text, err := os.ReadFile(rig.SFTPHostKey(t, kind))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pinned(t *testing.T, kind string) sftp.HostKeys {
	t.Helper()
	keys, err := sftp.Fingerprints(ssh.FingerprintSHA256(publicKey(t, kind)))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// known writes a file that knows an address by some keys.
func known(t *testing.T, address string, keys ...ssh.PublicKey) (sftp.HostKeys, string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&text, "[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(key))
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	trusts, err := sftp.KnownHosts(file)
	if err != nil {
		t.Fatal(err)
	}
	return trusts, file
}

// takeAll looks until nothing more is found, and accepts what comes. Failures are counted.
func takeAll(ctx context.Context, t *testing.T, d *ingest.Drop, most int) (contents map[string][]byte, failures int) {
	t.Helper()
	contents = map[string][]byte{}
	for looks := 0; looks < most; looks++ {
		for delivery, err := range d.Deliveries(ctx) {
			if err == nil {
				contents[delivery.Origin], err = contentOf(delivery)
			}
			if err == nil {
				err = delivery.Ack(ctx, ingest.Accepted)
			}
			if err != nil {
				t.Logf("%v", err)
				failures++
			}
		}
	}
	return contents, failures
}

func contentOf(d *ingest.Delivery) ([]byte, error) {
	in, err := d.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

func TestRigFilesAreTakenAndPutAway(t *testing.T) {
	f := newRigFolder(t, rig.SFTP)
	small, large := []byte("a,b\n1,2\n"), bytes.Repeat([]byte("0123456789abcdef"), 400_000)
	f.put(t, "small.csv", small)
	f.put(t, "large.csv", large)
	f.put(t, "upload.csv.filepart", small)
	d := f.drop()
	contents, failures := takeAll(t.Context(), t, d, 3)
	if failures > 0 || len(contents) != 2 {
		t.Fatalf("%d files, %d failures", len(contents), failures)
	}
	for _, content := range contents {
		if !bytes.Equal(content, small) && !bytes.Equal(content, large) {
			t.Errorf("%d bytes came as something else", len(content))
		}
	}
	if got := f.names(t, filepath.Join("processed", time.Now().Format(time.DateOnly))); !slices.Equal(got, []string{"large.csv", "small.csv"}) {
		t.Errorf("processed holds %q", got)
	}
	for range 2 { // the second takes the first's place
		if err := d.PutReport(t.Context(), "small.results.csv", func(to io.Writer) error {
			_, err := to.Write(large)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.names(t, "results"); !slices.Equal(got, []string{"small.results.csv"}) {
		t.Errorf("results holds %q", got)
	}
	if got, err := d.Probe(t.Context()); err != nil || got != "0 files to take; results can be written" {
		t.Errorf("the check says %q, %v", got, err)
	}
}

// The server shows a key of one kind, and has three. Whichever of them is trusted, it is
// the one to ask for.
func TestRigAnyTrustedKeyIsAskedFor(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		for way, trusts := range map[string]sftp.HostKeys{"pinned": pinned(t, kind), "known": first(known(t, rig.SFTP, publicKey(t, kind)))} {
			t.Run(kind+" "+way, func(t *testing.T) {
				f := newRigFolder(t, rig.SFTP)
				f.Trusts = trusts
				for range 2 { // by a new connection each time
					if _, err := f.drop().Probe(t.Context()); err != nil {
						t.Error(err)
					}
					f.Close()
				}
			})
		}
	}
}

// Which kind of key was right before says nothing for ever: a server may get another one of
// those that are trusted.
func TestRigAServerChangesToAnotherTrustedKey(t *testing.T) {
	before := rig.NewSFTPServer(t)
	trusts, err := sftp.Fingerprints(before.Fingerprint, ssh.FingerprintSHA256(publicKey(t, "ecdsa")))
	if err != nil {
		t.Fatal(err)
	}
	f := newRigFolder(t, before.Address)
	f.Trusts, f.Login.Password = trusts, rig.Password
	there := f.Path
	for _, server := range [][2]string{{before.Address, f.here}, {rig.SFTP, there}, {before.Address, f.here}} {
		f.Address, f.Path = server[0], server[1]
		f.Close()
		files, err := f.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		files.Close()
	}
}

func first(keys sftp.HostKeys, _ string) sftp.HostKeys { return keys }

func TestRigWrongServer(t *testing.T) {
	f := newRigFolder(t, rig.SFTP)
	other, err := sftp.Fingerprints("SHA256:" + strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	shown := ssh.FingerprintSHA256(publicKey(t, "ed25519"))
	changed, _ := known(t, rig.SFTP, newKey(t).PublicKey())
	unknown, file := known(t, "files.example:22", publicKey(t, "ed25519"))
	for _, c := range []struct {
		name   string
		trusts sftp.HostKeys
		want   []string
	}{
		{"not pinned", other, []string{"not pinned", "SHA256:"}},
		{"changed", changed, []string{"shows the key " + shown, "in the old one's place"}},
		{"unknown", unknown, []string{"doesn't list 127.0.0.1:10022", "ssh-keyscan -p 10022 127.0.0.1 >> " + file}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.Trusts = c.trusts
			_, err := f.drop().Probe(t.Context())
			for _, part := range c.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%v should say %q", err, part)
				}
			}
		})
	}
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRigLogins(t *testing.T) {
	locked := filepath.Join(t.TempDir(), "locked")
	pem, err := os.ReadFile(rig.SFTPKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(locked, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range []struct {
		name  string
		login sftp.Login
		want  string // in the error; "" if it works
	}{
		{"a key", sftp.Login{KeyFile: rig.SFTPKey(t)}, ""},
		{"a key with a passphrase", sftp.Login{KeyFile: locked, Passphrase: "open sesame"}, ""},
		{"a passphrase that is missing", sftp.Login{KeyFile: locked}, "name its file with passphrase_file"},
		{"a passphrase that is wrong", sftp.Login{KeyFile: locked, Passphrase: "abracadabra"}, "read the SSH key"},
		{"a password", sftp.Login{Password: rig.Password}, ""},
		{"a password that is wrong", sftp.Login{Password: "falsch-0815"}, "log in as calltally-rig: the server takes neither"},
		{"an agent", sftp.Login{Agent: runAgent(t, pem)}, ""},
		{"no agent", sftp.Login{Agent: filepath.Join(t.TempDir(), "nothing")}, "ask the SSH agent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newRigFolder(t, rig.SFTP)
			f.Login = c.login
			_, err := f.drop().Probe(t.Context())
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "falsch")) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// runAgent runs an SSH agent that holds a key, and returns its socket.
func runAgent(t *testing.T, pem []byte) string {
	t.Helper()
	key, err := ssh.ParseRawPrivateKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, conn) //nolint:errcheck // it ends with the connection
		}
	}()
	return listener.Addr().String()
}

// Connections break in every way at every place, and in the end each file was taken whole
// and once.
func TestRigBrokenConnections(t *testing.T) {
	for way, how := range rig.Breaks {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			proxy := rig.NewProxy(t, rig.SFTP)
			f := newRigFolder(t, proxy.Address)
			f.Patience = 300 * time.Millisecond
			want := map[string]bool{}
			for i := range 4 {
				content := bytes.Repeat(fmt.Appendf(nil, "file %d,", i), 10<<(5*i))
				want[string(content)] = true
				f.put(t, fmt.Sprintf("%d.csv", i), content)
			}
			d := f.drop()
			proxy.Break.Store(how)
			broken := 0
			for _, bytes := range []int64{10, 1000, 2500, 3500, 4500, 5500, 6500, 8000, 12_000, 60_000, 500_000} {
				proxy.CutAfter.Store(bytes)
				f.Close()
				contents, failures := takeAll(t.Context(), t, d, 1)
				broken += failures
				wanted(t, contents, want)
			}
			if broken == 0 {
				t.Error("nothing broke, so that this shows nothing")
			}
			proxy.CutAfter.Store(0)
			contents, _ := takeAll(t.Context(), t, d, 3)
			wanted(t, contents, want)
			if got := f.names(t, filepath.Join("processed", time.Now().Format(time.DateOnly))); !slices.Equal(got, []string{"0.csv", "1.csv", "2.csv", "3.csv"}) {
				t.Errorf("processed holds %q", got)
			}
			if got := f.names(t, "work"); len(got) > 0 {
				t.Errorf("work holds %q", got)
			}
		})
	}
}

// wanted fails for any content that is not a whole file's.
func wanted(t *testing.T, contents map[string][]byte, want map[string]bool) {
	t.Helper()
	for origin, content := range contents {
		if content != nil && !want[string(content)] {
			t.Errorf("%s came with %d bytes that are no whole file", origin, len(content))
		}
	}
}

// Reading goes on over a new connection where one is lost, so that a large file is had
// however short the connections last.
func TestRigReadingGoesOnAfterABreak(t *testing.T) {
	for way, how := range rig.Breaks {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			proxy := rig.NewProxy(t, rig.SFTP)
			f := newRigFolder(t, proxy.Address)
			f.Patience = 300 * time.Millisecond
			content := make([]byte, 5<<20)
			for i := range content {
				content[i] = byte(i * 7 / 3)
			}
			f.put(t, "large.csv", content)
			proxy.Break.Store(how)
			proxy.CutAfter.Store(2 << 20)
			contents, failures := takeAll(t.Context(), t, f.drop(), 2)
			if len(contents) != 1 || failures > 0 {
				t.Errorf("%d files, %d failures", len(contents), failures)
			}
			for _, got := range contents {
				if !bytes.Equal(got, content) {
					t.Errorf("%d bytes came, not the %d of the file", len(got), len(content))
				}
			}
		})
	}
}

// What changes while it is read is not taken in part.
func TestRigAFileThatChangesWhileItIsRead(t *testing.T) {
	f := newRigFolder(t, rig.SFTP)
	f.put(t, "large.csv", bytes.Repeat([]byte("x"), 5<<20))
	files, err := f.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	in, err := files.Open("large.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := io.CopyN(io.Discard, in, 100); err != nil {
		t.Fatal(err)
	}
	f.put(t, "large.csv", bytes.Repeat([]byte("y"), 5<<20+1))
	if n, err := io.Copy(io.Discard, in); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("%d bytes, %v", n, err)
	}
}
