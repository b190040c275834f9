package store

import (
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

// Trouble is what keeps a store from being worked with, and what helps.
type Trouble struct {
	What, Cure string
	Said       error // by the engine or the system
	kind       error // ErrDamaged, or nil
}

func (t *Trouble) Error() string { return fmt.Sprintf("%s: %s (%v)", t.What, t.Cure, t.Said) }

// Unwrap returns what was said, and what it is.
func (t *Trouble) Unwrap() []error { return []error{t.Said, t.kind} }

// ErrDamaged says that a store's file is damaged.
var ErrDamaged = errors.New("the store is damaged")

func damaged(said error) error {
	return &Trouble{What: ErrDamaged.Error(), Cure: "put a backup in its place with “calltally restore FILE”, and look after the disk", Said: said, kind: ErrDamaged}
}

// orDamaged says of an error, if it says so itself, that the file is damaged.
func orDamaged(err error) error {
	if isOneOf(err, []int{sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}) && !errors.Is(err, ErrDamaged) {
		return damaged(err)
	}
	return err
}
