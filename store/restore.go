package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Restored is what a restore has come to.
type Restored struct {
	Verified
	Since
	// Kept are the files by which the store that was there is kept; none if nothing was there.
	Kept []string
}

// Restore puts a proven copy of a backup in the place of the store at a path, which nobody may
// have open. What was there is kept beside it, under its name and a stamp, and no number that it
// has given out is given out again.
func Restore(ctx context.Context, backup, path, stamp string) (r Restored, err error) {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at
	}
	part := path + ".part"
	if err := removeStore(part); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	defer removeStore(part)
	if err := copyFile(backup, part); err != nil {
		return r, fmt.Errorf("restore: %w", orTrouble(err, part, elsewhereStore))
	}
	if r.Verified, err = proveBackup(ctx, part); err != nil {
		return r, fmt.Errorf("restore: %s %w", backup, err)
	}
	before, err := holdAlone(ctx, path)
	if err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if before != nil { // until the other has its name: whoever has opened it meanwhile must not write into it
		defer before.Close()
	}
	if r.Since, err = since(ctx, before, path, part); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if err := takeOver(part, path); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	if r.Kept, err = putAside(path, path+keptEnding+stamp); err != nil {
		return r, fmt.Errorf("restore: %w", err)
	}
	return r, errors.Join(rename(part, path), syncPath(filepath.Dir(path)))
}

// keptEnding is followed by a stamp in the names of stores that others were put in the place of.
const keptEnding = ".before-"

// rename is a variable so that a test can look at what is so at that moment.
var rename = os.Rename

// proveBackup proves a copy of a backup. It is no fault of the store's if that fails.
func proveBackup(ctx context.Context, part string) (Verified, error) {
	err := isStore(ctx, part)
	var verified Verified
	if err == nil {
		verified, err = prove(ctx, part)
	}
	if trouble := (*Trouble)(nil); errors.As(err, &trouble) && errors.Is(err, ErrDamaged) {
		err = trouble.Said
	} else if err == nil || verified.Mismatches == 0 {
		if err != nil {
			err = fmt.Errorf("can't be proven: %w", err)
		}
		return verified, err
	}
	return verified, fmt.Errorf("is damaged, or is no backup (%w); the store was left as it is: take an earlier backup", err)
}

// isStore looks whether a file holds a store: an empty one, or another program's, would be made
// one by being opened.
func isStore(ctx context.Context, path string) error {
	looking, err := newConnector(sqliteDSN(path, readerCache), "")
	if err != nil {
		return err
	}
	db := sql.OpenDB(looking)
	defer db.Close()
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_schema WHERE name IN ('upload', 'change')").Scan(&tables); err != nil {
		return orDamaged(err)
	}
	if tables < 2 {
		return damaged(errors.New("it holds no uploads and no ledger"))
	}
	return nil
}

// holdAlone opens the store at a path so that nobody else can, and has all of it be in its one
// file. nil: there is none, or a damaged one; whether others have that open can't be told.
func holdAlone(ctx context.Context, path string) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	s, err := openSQLite(ctx, path)
	if err == nil {
		if err = s.closeAlone(ctx); err != nil {
			err = errors.Join(err, s.Close())
		}
	}
	switch {
	case errors.Is(err, ErrDamaged):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return s, nil
}

// ErrInUse says that others have a store open.
var ErrInUse = errors.New("another process has the store open; stop it first")

// closeAlone ends the write-ahead log, which only whoever is alone can do, and keeps all others
// out until the store is closed. There is one connection from then on.
func (s *Store) closeAlone(ctx context.Context) error {
	if err := s.readers.Close(); err != nil {
		return err
	}
	s.read = s.write
	if _, err := s.write.ExecContext(ctx, "PRAGMA busy_timeout = 0; PRAGMA main.locking_mode = EXCLUSIVE"); err != nil {
		return err
	}
	var mode string
	err := s.write.QueryRowContext(ctx, "PRAGMA main.journal_mode = DELETE").Scan(&mode)
	if errors.Is(orDamaged(err), ErrDamaged) {
		return orDamaged(err)
	}
	if err != nil || mode != "delete" {
		return errors.Join(ErrInUse, err)
	}
	if err := os.Remove(s.path + "-journal"); err != nil && !errors.Is(err, fs.ErrNotExist) { // kept by whoever is alone; nothing is in it
		return err
	}
	return nil
}

// putAside gives what is at a store's path another name as well. What belongs to its file gets
// that instead, since the engine would take it for the other's: nothing is left of it where all
// was in one file, but beside a store that is damaged, or whose file is gone.
func putAside(path, aside string) (kept []string, err error) {
	switch err := os.Link(path, aside); {
	case err == nil:
		kept = []string{aside}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, ending := range besides {
		switch err := os.Rename(path+ending, aside+ending); {
		case err == nil:
			kept = append(kept, aside+ending)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return kept, nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
