package mailbox

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// Server is where a mailbox is and how to log in.
type Server struct {
	Address  string // host:port
	TLS      *tls.Config
	StartTLS bool // upgrade a plain connection; otherwise TLS from the start
	Plain    bool // no TLS at all: loopback only
	User     string
	Password string
	// Login, if set, is how to log in without a password: offers says whether the server
	// has a mechanism, and show goes through with one.
	Login func(ctx context.Context, offers func(mechanism string) bool, show func(sasl.Client) error) error
	// Patience is how long the server may take to begin an answer, and between its bytes; a
	// minute if it is 0.
	Patience time.Duration
}

func (s Server) patience() time.Duration { return cmp.Or(s.Patience, time.Minute) }

// conn is one IMAP session. It owns every call of the client library, because
// that has no deadlines and no contexts: each wait here has both.
type conn struct {
	client   *imapclient.Client
	wire     *patientConn
	patience time.Duration
	woken    chan struct{}
}

// patientConn renews a deadline with every byte that comes, while an answer is
// awaited. The client library's own deadline counts for a whole mail, however
// large it is and however steadily it arrives.
type patientConn struct {
	net.Conn
	patience time.Duration

	mu      sync.Mutex
	waiting bool
}

func (p *patientConn) Read(b []byte) (int, error) {
	if err := p.renew(); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.Conn.Close() // the library would read on, and wait again each time
	}
	return n, err
}

// renew gives a read a deadline if an answer is awaited, and otherwise none.
func (p *patientConn) renew() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var deadline time.Time
	if p.waiting {
		deadline = time.Now().Add(p.patience)
	}
	return p.Conn.SetReadDeadline(deadline)
}

// await says whether an answer is awaited from now on; it holds for a read that began before.
func (p *patientConn) await(waiting bool) {
	p.mu.Lock()
	p.waiting = waiting
	p.mu.Unlock()
	_ = p.renew() // a closed connection fails at its next use
}

// SetReadDeadline is the library's; ours counts.
func (p *patientConn) SetReadDeadline(time.Time) error { return nil }

// dial connects and logs in.
func dial(ctx context.Context, server Server) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, server.patience())
	defer cancel()
	dialer := net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}
	raw, err := dialer.DialContext(ctx, "tcp", server.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", server.Address, err)
	}
	c := &conn{woken: make(chan struct{}, 1)}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if err := c.greet(ctx, raw, server); err != nil {
		raw.Close()
		return nil, fmt.Errorf("connect to %s: %w", server.Address, err)
	}
	if err := c.logIn(ctx, server); err != nil {
		c.client.Close()
		return nil, fmt.Errorf("%s as %s: %w", server.Address, server.User, err)
	}
	return c, nil
}

// logIn logs in. After a failure the connection is of no use: the library may wait for
// more of the conversation.
func (c *conn) logIn(ctx context.Context, server Server) error {
	if server.Login == nil {
		return c.do(ctx, "log in", func() error { return c.client.Login(server.User, server.Password).Wait() })
	}
	offers := func(mechanism string) bool { return c.has(imap.AuthCap(mechanism)) }
	err := server.Login(ctx, offers, func(who sasl.Client) error {
		return c.do(ctx, "show the access token", func() error { return c.client.Authenticate(who) })
	})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// greet makes the session on a connection, with TLS before anything secret.
func (c *conn) greet(ctx context.Context, raw net.Conn, server Server) (err error) {
	c.patience = server.patience()
	c.wire = &patientConn{Conn: raw, patience: c.patience}
	options := &imapclient.Options{TLSConfig: server.TLS, UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				select {
				case c.woken <- struct{}{}:
				default:
				}
			}
		},
	}}
	switch {
	case server.Plain:
		c.client = imapclient.New(c.wire, options)
	case server.StartTLS:
		if c.client, err = imapclient.NewStartTLS(c.wire, options); err != nil {
			return err
		}
	default:
		secure := tls.Client(c.wire, server.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		c.client = imapclient.New(secure, options)
	}
	return c.do(ctx, "greeting", c.client.WaitGreeting)
}

// do waits for f at most until ctx ends; then it closes the connection, which is
// the only way to end a wait.
func (c *conn) do(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	return c.within(ctx, what, f)
}

func (c *conn) within(ctx context.Context, what string, f func() error) error {
	c.wire.await(true)
	defer c.wire.await(false)
	stop := context.AfterFunc(ctx, func() { c.client.Close() })
	err := f()
	if !stop() && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (c *conn) has(capability imap.Cap) bool { return c.client.Caps().Has(capability) }

// alive asks the server for a sign of life.
func (c *conn) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.do(ctx, "noop", func() error { return c.client.Noop().Wait() }) == nil
}

// pending returns the mails that were not processed yet, oldest first. Whether a
// person has read them says nothing.
func (c *conn) pending(ctx context.Context, folder string) ([]imap.UID, error) {
	if err := c.do(ctx, "open "+folder, func() error { _, err := c.client.Select(folder, nil).Wait(); return err }); err != nil {
		return nil, err
	}
	var uids []imap.UID
	err := c.do(ctx, "search", func() error {
		found, err := c.client.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{processedKeyword, imap.FlagDeleted}}, nil).Wait()
		if err == nil {
			uids = found.AllUIDs()
		}
		return err
	})
	slices.Sort(uids)
	return uids, err
}

// file puts mails away: moved where that is safe, else marked with a keyword.
func (c *conn) file(ctx context.Context, uids imap.UIDSet, folder string) error {
	if c.has(imap.CapMove) {
		err := c.intoFolder(ctx, folder, func() error { _, err := c.client.Move(uids, folder).Wait(); return err })
		if err == nil || ctx.Err() != nil {
			return err
		}
		if all, _ := uids.Nums(); len(all) > 1 { // one of them may be gone
			return c.fileEach(ctx, all, folder)
		}
		return c.mark(ctx, uids, processedKeyword)
	}
	if !c.has(imap.CapUIDPlus) {
		return c.mark(ctx, uids, processedKeyword)
	}
	// Each step waits for the one before it: a copy that failed must not be
	// followed by a removal.
	err := c.intoFolder(ctx, folder, func() error { _, err := c.client.Copy(uids, folder).Wait(); return err })
	if err != nil {
		return c.mark(ctx, uids, processedKeyword)
	}
	if err := c.mark(ctx, uids, imap.FlagDeleted); err != nil {
		return err
	}
	return c.do(ctx, "expunge", func() error { return c.client.UIDExpunge(uids).Close() })
}

// fileEach puts mails away one by one.
func (c *conn) fileEach(ctx context.Context, uids []imap.UID, folder string) error {
	for _, uid := range uids {
		if err := c.file(ctx, imap.UIDSetNum(uid), folder); err != nil {
			return err
		}
	}
	return nil
}

// intoFolder does what needs a folder; if that fails, the folder is made and it
// is tried once more.
func (c *conn) intoFolder(ctx context.Context, folder string, f func() error) error {
	err := c.do(ctx, "move mail", f)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if err := c.do(ctx, "make folder "+folder, func() error { return c.client.Create(folder, nil).Wait() }); err != nil {
		return err
	}
	return c.do(ctx, "move mail", f)
}

func (c *conn) mark(ctx context.Context, uids imap.UIDSet, flag imap.Flag) error {
	return c.do(ctx, "mark mail", func() error {
		return c.client.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
	})
}

// idle waits until the server tells of a new mail or ctx ends.
func (c *conn) idle(ctx context.Context) error {
	if !c.has(imap.CapIdle) {
		<-ctx.Done()
		return nil
	}
	select {
	case <-c.woken: // told while we were busy
		return nil
	default:
	}
	var idling *imapclient.IdleCommand
	began, parted := parting(ctx)
	defer parted()
	err := c.do(began, "idle", func() (err error) { idling, err = c.client.Idle(); return err })
	if err != nil {
		return err
	}
	select {
	case <-c.woken:
	case <-ctx.Done():
	case <-c.client.Closed():
		return errors.New("the server ended the connection")
	}
	ending, ended := parting(ctx)
	defer ended()
	return c.do(ending, "end idle", func() error { return errors.Join(idling.Close(), idling.Wait()) })
}

// parting returns a context that outlives ctx by a few seconds, in which to end
// what was begun.
func parting(ctx context.Context) (context.Context, context.CancelFunc) {
	const grace = 4 * time.Second
	later, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { cancel(errors.New("the server doesn't answer")) }) })
	return later, func() { stop(); cancel(nil) }
}
