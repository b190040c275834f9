package rig

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, and breaks them when it is told to.
type Proxy struct {
	Address string
	// CutAfter is after how many bytes from the server a connection breaks; 0
	// for never.
	CutAfter atomic.Int64
	// Break is how it breaks then.
	Break atomic.Int32

	server string
	mu     sync.Mutex
	open   map[*net.TCPConn]bool // clients
	newest *net.TCPConn
}

// How a connection breaks.
const (
	HangUp    = iota // it ends, as if the server had ended it
	Reset            // it ends in the middle of a packet, with an error
	BlackHole        // it stays, and nothing comes any more in either direction
)

// Breaks are all the ways, with their names.
var Breaks = map[string]int32{"hang-up": HangUp, "reset": Reset, "black hole": BlackHole}

// NewProxy starts a proxy that ends with the test.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String(), server: server, open: map[*net.TCPConn]bool{}}
	t.Cleanup(func() {
		listener.Close()
		p.HangUpAll()
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.pass(client.(*net.TCPConn))
		}
	}()
	return p
}

func (p *Proxy) pass(client *net.TCPConn) {
	defer client.Close()
	p.mu.Lock()
	p.newest, p.open[client] = client, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, client)
		p.mu.Unlock()
	}()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	go io.Copy(server, client) //nolint:errcheck // it ends with the connection
	limit := p.CutAfter.Load()
	if limit == 0 {
		io.Copy(client, server) //nolint:errcheck // it ends with the connection
		return
	}
	if n, _ := io.Copy(client, io.LimitReader(server, limit)); n < limit {
		return
	}
	switch p.Break.Load() {
	case Reset:
		client.SetLinger(0) //nolint:errcheck // then it only hangs up
	case BlackHole:
		server.Close()
		io.Copy(io.Discard, client) //nolint:errcheck // until the client gives up
	}
}

// HangUp ends the newest connection.
func (p *Proxy) HangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest.Close()
}

// HangUpAll ends all connections.
func (p *Proxy) HangUpAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client := range p.open {
		client.Close()
	}
}
