package rig

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, and breaks them when it is told to.
type Proxy struct {
	Address string
	// CutAfter is after how many bytes from the server a connection is cut; 0
	// for never.
	CutAfter atomic.Int64

	server  string
	current atomic.Value // net.Conn, the client's newest
}

// NewProxy starts a proxy that ends with the test.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	p := &Proxy{Address: listener.Addr().String(), server: server}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.current.Store(client)
			go p.pass(client)
		}
	}()
	return p
}

func (p *Proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	go io.Copy(server, client) //nolint:errcheck // it ends with the connection
	var from io.Reader = server
	if limit := p.CutAfter.Load(); limit > 0 {
		from = io.LimitReader(server, limit)
	}
	io.Copy(client, from) //nolint:errcheck // it ends with the connection
}

// HangUp ends the newest connection.
func (p *Proxy) HangUp() { p.current.Load().(net.Conn).Close() }
