package ingest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrUnsynced says that what was written here may not be on the disk: the system may have thrown
// it away, and say nothing the next time.
var ErrUnsynced = errors.New("the disk didn't keep what was written")

// SyncNames makes the names in a folder of this machine durable.
func SyncNames(folder string) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	return SyncNamesAndClose(dir)
}

// SyncNamesAndClose makes the names in an open folder durable, and closes it. File systems that
// can't (some network shares) say so with an error that means nothing to us.
func SyncNamesAndClose(dir *os.File) error {
	err := dir.Sync()
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EINVAL):
		err = nil
	case errors.Is(err, syscall.EIO):
		err = fmt.Errorf("%w: %w", ErrUnsynced, err)
	}
	return errors.Join(err, dir.Close())
}
