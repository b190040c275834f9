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

	"calltally/conversion"
)

// Backup writes a copy of the store, as it is at one moment, into a new file, while others go
// on. The copy is opened and proven before it has its name: every page and every sum.
func (s *Store) Backup(ctx context.Context, to string) (Verified, error) {
	if _, err := os.Lstat(to); err == nil {
		return Verified{}, fmt.Errorf("back up: %s: %w", to, fs.ErrExist)
	}
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Verified{}, fmt.Errorf("back up: %w", err)
	}
	defer os.Remove(part)
	copying, err := newConnector(sqliteDSN(s.path, readerCache), "") // a reader may write nowhere
	if err != nil {
		return Verified{}, fmt.Errorf("back up: %w", err)
	}
	from := sql.OpenDB(copying)
	_, err = from.ExecContext(ctx, "VACUUM INTO $1", part)
	if err = errors.Join(err, from.Close()); err != nil {
		return Verified{}, fmt.Errorf("back up: %w", err)
	}
	verified, err := Prove(ctx, part)
	if err != nil {
		return verified, fmt.Errorf("back up: %w", err)
	}
	if err := errors.Join(syncPath(part), os.Rename(part, to), syncPath(filepath.Dir(to))); err != nil {
		return verified, fmt.Errorf("back up: %w", err)
	}
	return verified, nil
}

// Restore puts a proven copy of a backup in the place of the store at a path, which nobody may
// have open. The store that was there is kept beside it; aside is its name, "" if there was none.
func Restore(ctx context.Context, backup, path, aside string) (verified Verified, kept string, err error) {
	part := path + ".part"
	defer os.Remove(part)
	if err := copyFile(backup, part); err != nil {
		return verified, "", fmt.Errorf("restore: %w", err)
	}
	if verified, err = Prove(ctx, part); err != nil {
		return verified, "", fmt.Errorf("restore %s: %w", backup, err)
	}
	if _, err := os.Lstat(path); err == nil {
		if err := putAside(ctx, path, aside); err != nil {
			return verified, "", fmt.Errorf("restore: %w", err)
		}
		kept = aside
	}
	return verified, kept, errors.Join(os.Rename(part, path), syncPath(filepath.Dir(path)))
}

// putAside gives a store another name as well. Of one that is damaged, what belongs to its file
// goes with it; whether others have it open can't be told then.
func putAside(ctx context.Context, path, aside string) error {
	switch err := closeAlone(ctx, path); {
	case errors.Is(err, ErrDamaged):
		for _, ending := range []string{"-wal", "-shm"} {
			if err := os.Rename(path+ending, aside+ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	case err != nil:
		return err
	}
	return os.Link(path, aside)
}

// Prove proves that a file is a store, that no page is damaged, and that its ledger adds up.
func Prove(ctx context.Context, path string) (verified Verified, err error) {
	s, err := openSQLite(ctx, path)
	if err != nil {
		return verified, err
	}
	if err = s.integrity(ctx, "integrity_check"); err == nil {
		verified, err = s.Verify(ctx)
	}
	if err == nil && verified.Mismatches > 0 {
		err = fmt.Errorf("the ledger doesn't add up in %s", conversion.Count(verified.Mismatches, "place"))
	}
	if err == nil { // all in one file
		err = s.inOneFile(ctx)
	}
	return verified, errors.Join(err, s.Close())
}

// ErrDamaged says that a store's file is damaged.
var ErrDamaged = errors.New("the store is damaged: put a backup in its place with “calltally restore FILE”, and look after the disk")

// integrity has the engine look for damaged pages: quick_check or integrity_check.
func (s *Store) integrity(ctx context.Context, how string) error {
	var said string
	if err := s.read.QueryRowContext(ctx, "PRAGMA "+how+"(1)").Scan(&said); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if said != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, said)
	}
	return nil
}

// Sound has the engine look through the file for damage, but for what indexes hold: it reads
// about a gigabyte in a few seconds.
func (s *Store) Sound(ctx context.Context) error {
	return s.integrity(ctx, "quick_check")
}

// ErrInUse says that others have a store open.
var ErrInUse = errors.New("another process has the store open; stop it first")

// closeAlone makes sure that nobody has a store open, and that all of it is in its one file.
func closeAlone(ctx context.Context, path string) error {
	s, err := openSQLite(ctx, path)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.inOneFile(ctx)
}

// inOneFile ends the write-ahead log, which only whoever is alone can do.
func (s *Store) inOneFile(ctx context.Context) error {
	if err := s.readers.Close(); err != nil {
		return err
	}
	var mode string
	if _, err := s.write.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode); err != nil || mode != "delete" {
		return errors.Join(ErrInUse, err)
	}
	return nil
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

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
