package store

import (
	"errors"
	"fmt"

	"github.com/gofrs/flock"
)

// Alone does something unless another process, or another part of this one, does the same with
// this store just now. Whoever does it holds the lock of a file beside the store, which ends with
// the process at the latest.
func (s *Store) Alone(what string, f func() error) (alone bool, err error) {
	lock := flock.New(s.path+"."+what+".lock", flock.SetPermissions(0o644))
	alone, err = lock.TryLock()
	if err != nil || !alone {
		if err != nil {
			err = fmt.Errorf("lock %s: %w", lock.Path(), err)
		}
		return false, err
	}
	return true, errors.Join(f(), lock.Close())
}
