package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Trouble is what keeps a store from being worked with, and what helps.
type Trouble struct {
	What, Cure string
	said       error // by the engine or the system
	kind       error // ErrDamaged, or nil
}

func (t *Trouble) Error() string { return fmt.Sprintf("%s: %s (%v)", t.What, t.Cure, t.said) }

// Unwrap returns what was said, and what it is.
func (t *Trouble) Unwrap() []error { return []error{t.said, t.kind} }

// ErrDamaged says that a store's file is damaged.
var ErrDamaged = errors.New("the store is damaged")

func damaged(said error) error {
	return &Trouble{What: ErrDamaged.Error(), Cure: "put a backup in its place with “calltally restore FILE”, and look after the disk", said: said, kind: ErrDamaged}
}

// orDamaged says of an error, if it says so itself, that the file is damaged.
func orDamaged(err error) error {
	var failed *sqlite.Error
	if errors.As(err, &failed) && !errors.Is(err, ErrDamaged) && (failed.Code()&0xff == sqlite3.SQLITE_NOTADB || failed.Code()&0xff == sqlite3.SQLITE_CORRUPT) {
		return damaged(err)
	}
	return err
}
