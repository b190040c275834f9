package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	if err := removeStore(part); err != nil {
		return Verified{}, fmt.Errorf("back up: %w", err)
	}
	defer removeStore(part)
	err := makeFile(part)
	if err == nil {
		err = s.copyInto(ctx, part)
	}
	if err != nil {
		return Verified{}, fmt.Errorf("back up %s: %w", s, orTrouble(orDamaged(err), part, elsewhereBackup))
	}
	verified, err := prove(ctx, part)
	if verified.Mismatches > 0 {
		err = fmt.Errorf("%w; “calltally verify” says where", err)
	}
	if err != nil {
		return verified, fmt.Errorf("back up %s: %w", s, err)
	}
	if err := errors.Join(syncPath(part), os.Rename(part, to), syncPath(filepath.Dir(to))); err != nil {
		return verified, fmt.Errorf("back up: %w", err)
	}
	return verified, nil
}

// copyInto writes a copy of the store into a file. A reader may write nowhere, so this has a
// connection of its own.
func (s *Store) copyInto(ctx context.Context, to string) error {
	copying, err := newConnector(sqliteDSN(s.path, readerCache), "")
	if err != nil {
		return err
	}
	from := sql.OpenDB(copying)
	_, err = from.ExecContext(ctx, "VACUUM INTO $1", to)
	return errors.Join(err, from.Close())
}

// prove proves of a copy of a store that no page is damaged and that its ledger adds up. All of
// it is in its one file then.
func prove(ctx context.Context, path string) (verified Verified, err error) {
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
	if err == nil {
		err = s.closeAlone(ctx)
	}
	return verified, errors.Join(err, s.Close())
}

// integrity has the engine look for damaged pages: quick_check or integrity_check.
func (s *Store) integrity(ctx context.Context, how string) error {
	var said string
	if err := s.read.QueryRowContext(ctx, "PRAGMA "+how+"(1)").Scan(&said); err != nil {
		return orDamaged(err)
	}
	if said != "ok" {
		return damaged(errors.New(said))
	}
	return nil
}

// Sound has the engine look through the file for damage, but for what indexes hold: it reads
// about a gigabyte in a few seconds.
func (s *Store) Sound(ctx context.Context) error {
	return s.integrity(ctx, "quick_check")
}

// besides are the endings of the files that belong to a store's: the engine makes what they
// hold a part of whatever has the store's name.
var besides = []string{"-journal", "-wal", "-shm"}

// removeStore removes a store's file, if it is there, and what belongs to it.
func removeStore(path string) error {
	var failures []error
	for _, ending := range append([]string{""}, besides...) {
		if err := os.Remove(path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
