// Package sftp is where files are dropped on an SFTP server.
package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"calltally/ingest"
)

// Folder is a folder on an SFTP server.
type Folder struct {
	Address string // host:port
	User    string
	Login   Login
	// Trusts says which server is the right one.
	Trusts HostKeys
	// Path is the folder on the server: absolute, or relative to where a login begins.
	Path string
	// Patience is how long the server may take to let us in, how often it is asked for a sign
	// of life then, and how long it may take to give one; 30 s if it is 0.
	Patience time.Duration

	mu   sync.Mutex
	live *session
}

const (
	dialTimeout = 20 * time.Second
	patience    = 30 * time.Second
)

// session is a connection, logged in.
type session struct {
	ssh   *ssh.Client
	files *sftp.Client
	ended chan struct{}
}

// Open returns the folder's files, by a connection that is made anew if it was lost.
func (f *Folder) Open(ctx context.Context) (ingest.Files, error) {
	s, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	info, err := s.files.Stat(f.Path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s on %s: %w", f.Path, f.Address, err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s on %s is no folder", f.Path, f.Address)
	}
	stop := context.AfterFunc(ctx, s.close) // the only way to end a wait
	return &files{folder: f, ctx: ctx, session: s, stop: stop}, nil
}

// connect returns the connection, made anew if it was lost.
func (f *Folder) connect(ctx context.Context) (*session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live != nil {
		select {
		case <-f.live.ended:
		default:
			return f.live, nil
		}
	}
	s, err := f.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", f.Address, err)
	}
	f.live = s
	return s, nil
}

// Close ends the connection.
func (f *Folder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live != nil {
		f.live.close()
		f.live = nil
	}
}

// dial connects and logs in. A server shows one of several host keys, of the first kind
// that we ask for: where it isn't known which kind is trusted, each is asked for in turn.
func (f *Folder) dial(ctx context.Context) (*session, error) {
	methods, done, err := f.Login.methods()
	if err != nil {
		return nil, err
	}
	defer done()
	var failures error
	for _, algorithms := range f.Trusts.algorithms(f.Address) {
		s, err := f.handshake(ctx, &ssh.ClientConfig{
			User: f.User, Auth: methods, HostKeyCallback: f.Trusts.check, HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-calltally",
		})
		if err == nil {
			f.Trusts.found(algorithms)
			return s, nil
		}
		failures = worst(failures, err)
		if !errors.Is(err, errHostKey) && !noCommonKey(err) {
			break
		}
	}
	return nil, failures
}

func (f *Folder) handshake(ctx context.Context, config *ssh.ClientConfig) (*session, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	raw, err := dialer.DialContext(ctx, "tcp", f.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.patience())
	defer cancel()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	s, err := begin(raw, f.Address, config)
	if err != nil {
		raw.Close()
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("no answer: %w", context.Cause(ctx))
		case refused(err):
			err = fmt.Errorf("log in as %s: the server takes neither the key nor the password that it was shown (%w)", f.User, err)
		}
		return nil, err
	}
	go s.keepAlive(f.patience())
	return s, nil
}

func (f *Folder) patience() time.Duration { return cmp.Or(f.Patience, patience) }

// refused reports whether a server has refused a login. One that has no questions to ask
// refuses those that we would answer by a message that the library doesn't expect.
func refused(err error) bool {
	return strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "unexpected message type 51")
}

func begin(raw net.Conn, address string, config *ssh.ClientConfig) (*session, error) {
	conn, channels, requests, err := ssh.NewClientConn(raw, address, config)
	if err != nil {
		return nil, err
	}
	s := &session{ssh: ssh.NewClient(conn, channels, requests), ended: make(chan struct{})}
	if s.files, err = sftp.NewClient(s.ssh); err != nil {
		s.ssh.Close()
		return nil, fmt.Errorf("the server offers no SFTP: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.ssh.Wait() // whoever uses it learns why it ended
	}()
	return s, nil
}

// keepAlive ends a connection on which the server doesn't answer any more: nothing else
// would, and whoever waits for an answer would wait for ever.
func (s *session) keepAlive(patience time.Duration) {
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		late := time.AfterFunc(patience, s.close)
		_, _, err := s.ssh.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			s.close()
			return
		}
	}
}

func (s *session) close() { s.ssh.Close() }
