package sftp

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// HostKeys say which server is the right one: a file of known hosts, or the fingerprints
// of its keys.
type HostKeys interface {
	// algorithms are the kinds of keys to ask for, each in a connection of its own.
	algorithms(address string) [][]string
	check(address string, remote net.Addr, key ssh.PublicKey) error
	// found tells which kind was right.
	found(algorithms []string)
}

// errHostKey says that a server is not the one that is trusted.
var errHostKey = errors.New("the server is not the one that is trusted")

// worst of two errors is the one that says more: a key that isn't trusted says more than
// a kind of key that the server doesn't have.
func worst(a, b error) error {
	if a == nil || !errors.Is(a, errHostKey) && errors.Is(b, errHostKey) {
		return b
	}
	return a
}

// noCommonKey reports whether a server has no key of the kind that it was asked for.
func noCommonKey(err error) bool {
	var no *ssh.AlgorithmNegotiationError
	return errors.As(err, &no)
}

type knownHosts struct {
	file string
	db   *knownhosts.HostKeyDB
}

// KnownHosts trusts the hosts that a file in OpenSSH's form lists.
func KnownHosts(file string) (HostKeys, error) {
	db, err := knownhosts.NewDB(file)
	if err != nil {
		return nil, err
	}
	return knownHosts{file, db}, nil
}

// algorithms are the kinds of keys that the file has of the host. A server that also has
// others would show one of those.
func (k knownHosts) algorithms(address string) [][]string {
	return [][]string{k.db.HostKeyAlgorithms(address)}
}

func (k knownHosts) found([]string) {}

func (k knownHosts) check(address string, remote net.Addr, key ssh.PublicKey) error {
	err := k.db.HostKeyCallback()(address, remote, key)
	shown := ssh.FingerprintSHA256(key)
	switch {
	case knownhosts.IsHostUnknown(err):
		host, port, _ := net.SplitHostPort(address)
		return fmt.Errorf("%w: %s doesn't list %s, which shows the key %s; if the server's owner confirms that key, add it with “ssh-keyscan -p %s %s >> %s”", errHostKey, k.file, address, shown, port, host, k.file)
	case knownhosts.IsHostKeyChanged(err):
		return fmt.Errorf("%w: %s shows the key %s, and %s has another one; if the server's owner confirms the new key, put it in the old one's place", errHostKey, address, shown, k.file)
	case err != nil:
		return fmt.Errorf("%w: %w", errHostKey, err)
	}
	return nil
}

// fingerprints are those of the server's keys that are trusted.
type fingerprints struct {
	trusted []string

	mu    sync.Mutex
	right int // of kinds: the one that was trusted the last time
}

// Fingerprints trusts the server that shows a key of one of these fingerprints, written
// SHA256:… as “ssh-keygen -l” does.
func Fingerprints(trusted ...string) (HostKeys, error) {
	for _, fingerprint := range trusted {
		if sum, ok := strings.CutPrefix(fingerprint, "SHA256:"); !ok || len(sum) != 43 {
			return nil, fmt.Errorf("%q is not a fingerprint such as SHA256:… with 43 characters, which “ssh-keygen -lf KEYFILE” prints", fingerprint)
		}
	}
	return &fingerprints{trusted: trusted}, nil
}

// kinds of host keys, best first.
var kinds = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

func (f *fingerprints) algorithms(string) [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	first, others := kinds[:f.right], kinds[f.right:]
	return slices.Concat(others[:1], first, others[1:])
}

func (f *fingerprints) found(algorithms []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.right = slices.IndexFunc(kinds, func(kind []string) bool { return kind[0] == algorithms[0] })
}

func (f *fingerprints) check(address string, _ net.Addr, key ssh.PublicKey) error {
	shown := ssh.FingerprintSHA256(key)
	if slices.Contains(f.trusted, shown) {
		return nil
	}
	return fmt.Errorf("%w: %s shows the %s key %s, which is not pinned; if the server's owner confirms that key, pin it", errHostKey, address, strings.TrimPrefix(key.Type(), "ssh-"), shown)
}
