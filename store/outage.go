package store

import (
	"errors"
	"fmt"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// outages are the engine's errors that say nothing of what it was asked for: the disk is
// full or fails, or another process is at work.
var outages = []int{sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB}

// Outage reports whether an error is the store's own trouble, whatever it was asked for.
func (s *Store) Outage(err error) bool {
	return isOneOf(err, outages)
}

// isOneOf reports whether an error is the engine's and of one of some kinds.
func isOneOf(err error, kinds []int) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && slices.Contains(kinds, failed.Code()&0xff)
}

// orOccupied says of an error, if it says so itself, that another process has kept us from
// writing.
func orOccupied(err error) error {
	if isOneOf(err, []int{sqlite3.SQLITE_BUSY}) {
		return fmt.Errorf("another process has been writing to the store for %.0f s, and must come to its end: “fuser -v FILE” names those that have the store open (%w)", patience.Seconds(), err)
	}
	return err
}

// unsynced are the engine's errors after which nobody knows what is on the disk: the system may
// have thrown away what it could not write, and say nothing the next time.
var unsynced = []int{sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}

// Unsynced reports whether an error says that what was written may not be on the disk. Who
// meets it must end, and begin anew from what is there.
func (s *Store) Unsynced(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && slices.Contains(unsynced, failed.Code())
}
