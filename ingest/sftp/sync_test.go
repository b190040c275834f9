package sftp

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/pkg/sftp"
)

// syncing is between a client and a server that can't sync: it offers that in its place, and
// notes what is asked for.
type syncing struct {
	mu      sync.Mutex // of what is written to the client
	client  io.Writer
	offered bool
	asked   []string
}

const fsync = "fsync@openssh.com"

// The types of packets that are looked at.
const versionPacket, writePacket, statusPacket, extendedPacket = 2, 6, 101, 200

// packets calls each for the packets that come, until there are no more.
func packets(from io.Reader, each func(kind byte, body []byte)) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-1)
		if _, err := io.ReadFull(from, body); err != nil {
			return
		}
		each(head[4], body)
	}
}

func packet(kind byte, body []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+1)), kind), body...)
}

func text(into []byte, words ...string) []byte {
	for _, word := range words {
		into = append(binary.BigEndian.AppendUint32(into, uint32(len(word))), word...)
	}
	return into
}

func (s *syncing) answer(kind byte, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == versionPacket && s.offered {
		body = text(body, fsync, "1")
	}
	_, _ = s.client.Write(packet(kind, body)) // the test would see it
}

func (s *syncing) request(server io.Writer, kind byte, body []byte) {
	switch kind {
	case writePacket:
		s.asked = append(s.asked, "write")
	case extendedPacket:
		name := string(body[8 : 8+binary.BigEndian.Uint32(body[4:])])
		s.asked = append(s.asked, name)
		if name == fsync {
			s.answer(statusPacket, text(append(slices.Clone(body[:4]), 0, 0, 0, 0), "", ""))
			return
		}
	}
	_, _ = server.Write(packet(kind, body))
}

// A server that can is asked to sync a file's bytes before the file has its name; one that
// can't is not asked.
func TestWhatIsWrittenIsSynced(t *testing.T) {
	for name, offered := range map[string]bool{"it can": true, "it can't": false} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			toServer, fromServer := net.Pipe()
			s := &syncing{client: theirs, offered: offered}
			server, err := sftp.NewServer(fromServer)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			all.Go(func() { _ = server.Serve() })
			all.Go(func() { packets(toServer, s.answer) })
			all.Go(func() { packets(theirs, func(kind byte, body []byte) { s.request(toServer, kind, body) }) })
			client, err := sftp.NewClientPipe(ours, ours)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			f := &files{folder: &Folder{Path: dir}, session: &session{files: client}}
			err = f.Write("orders.csv", func(to io.Writer) error {
				_, err := io.WriteString(to, "a,b\n")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, end := range []io.Closer{ours, theirs, toServer, fromServer} {
				end.Close()
			}
			all.Wait()
			want := []string{"write", fsync, "posix-rename@openssh.com"}
			if !offered {
				want = slices.Delete(want, 1, 2)
			}
			if !slices.Equal(s.asked, want) {
				t.Errorf("it was asked for %q, want %q", s.asked, want)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "orders.csv")); err != nil || string(got) != "a,b\n" {
				t.Errorf("the file holds %q, %v", got, err)
			}
		})
	}
}
