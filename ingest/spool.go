package ingest

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// spool is a file's copy on this side: a small one's in memory, another's on the disk.
type spool struct {
	bytes []byte
	path  string // of a temporary file
	full  bool
}

// fetch copies a file from afar.
func (s *spool) fetch(files Files, name string, size int64) error {
	in, err := files.Open(name)
	if err != nil {
		return fmt.Errorf("fetch file: %w", err)
	}
	defer in.Close()
	if size <= SmallFile {
		if s.bytes, err = io.ReadAll(in); err != nil {
			return fmt.Errorf("fetch file: %w", err)
		}
		s.full = true
		return nil
	}
	out, err := os.CreateTemp("", "calltally-file-*")
	if err != nil {
		return fmt.Errorf("fetch file: %w", err)
	}
	defer out.Close()
	s.path, s.full = out.Name(), true
	if _, err := io.Copy(out, in); err != nil {
		s.remove()
		return fmt.Errorf("fetch file: %w", err)
	}
	return nil
}

func (s *spool) holds() bool { return s != nil && s.full }

func (s *spool) open() (io.ReadCloser, error) {
	if s.path == "" {
		return io.NopCloser(bytes.NewReader(s.bytes)), nil
	}
	return os.Open(s.path)
}

// remove removes the copy from the disk; in memory it goes with its delivery. Asked for
// again, the file is fetched again.
func (s *spool) remove() {
	if s != nil && s.path != "" {
		os.Remove(s.path) // a temporary file; where it can't be removed, the system will
		*s = spool{}
	}
}
