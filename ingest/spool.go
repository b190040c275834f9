package ingest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

// Spooled is a file's copy on this side: a SmallFile's in memory, another's on the disk.
type Spooled struct {
	Size   int64
	Digest [sha256.Size]byte

	bytes []byte
	path  string // of a temporary file
}

// Spool reads a file to its end, or as far as it can be read. disk is the disk's failure,
// which is not the file's. Remove what it returns.
func Spool(in io.Reader) (s *Spooled, disk, err error) {
	s = &Spooled{}
	sum := sha256.New()
	in = io.TeeReader(in, sum)
	s.bytes, err = io.ReadAll(io.LimitReader(in, SmallFile+1))
	if s.Size = int64(len(s.bytes)); err == nil && s.Size > SmallFile {
		disk, err = s.toDisk(io.MultiReader(bytes.NewReader(s.bytes), in))
	}
	sum.Sum(s.Digest[:0])
	return s, disk, err
}

func (s *Spooled) toDisk(in io.Reader) (disk, err error) {
	out, err := os.CreateTemp("", "calltally-file-*")
	if err != nil {
		return err, nil
	}
	defer out.Close()
	to := &DiskWriter{To: out}
	s.bytes, s.path = nil, out.Name()
	if s.Size, err = io.Copy(to, in); to.Err != nil {
		return fmt.Errorf("copy file: %w", to.Err), nil
	}
	return nil, err
}

// DiskWriter tells the disk's errors from those of what is copied.
type DiskWriter struct {
	To  io.Writer
	Err error
}

func (d *DiskWriter) Write(p []byte) (n int, err error) {
	n, d.Err = d.To.Write(p)
	return n, d.Err
}

// Open opens the copy.
func (s *Spooled) Open() (io.ReadCloser, error) {
	if s.path == "" {
		return io.NopCloser(bytes.NewReader(s.bytes)), nil
	}
	return os.Open(s.path)
}

// openAt opens the copy to be read at any place.
func (s *Spooled) openAt() (interface {
	io.ReaderAt
	io.Closer
}, error) {
	if s.path == "" {
		return struct {
			*bytes.Reader
			io.Closer
		}{bytes.NewReader(s.bytes), io.NopCloser(nil)}, nil
	}
	return os.Open(s.path)
}

// Remove removes the copy from the disk; in memory it goes by itself.
func (s *Spooled) Remove() {
	if s != nil && s.path != "" {
		os.Remove(s.path) // a temporary file; where it can't be removed, the system will
	}
}
