package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"calltally/conversion"
)

// unknownSpent is how many numbers are left out where the store that was there can't tell what it
// has given out since the backup: more than a house takes files in years.
const unknownSpent = 1_000_000

// highestNumber is the highest number that an upload has here, or had elsewhere.
const highestNumber = "SELECT MAX(COALESCE((SELECT MAX(id) FROM upload), 0), COALESCE((SELECT MAX(upload) FROM spent), 0))"

// Since is what a store knows and the backup doesn't that takes its place.
type Since struct {
	// Above is the highest number that the store may have given an upload: the next upload's is
	// above it.
	Above int64
	// Compared says that the store could be read. Came are the uploads then that the backup
	// doesn't have, Decided those that were held and on which somebody has decided since.
	Compared      bool
	Came, Decided []*conversion.Upload
}

// since finds out what the store that was there knows and the backup's copy doesn't, as far as it
// can be read. before is nil if it can't be.
func since(ctx context.Context, before *Store, path, part string) (found Since, err error) {
	next, err := openSQLite(ctx, part)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	if err := next.read.QueryRowContext(ctx, highestNumber).Scan(&found.Above); err != nil {
		return found, err
	}
	err = before.compare(ctx, part, &found)
	if errors.Is(orDamaged(err), ErrDamaged) {
		var restores int64
		restores, err = restoresOf(path)
		found = Since{Above: found.Above + unknownSpent*(1+restores)}
	}
	if err != nil {
		return found, err
	}
	if _, err := next.write.ExecContext(ctx, "INSERT INTO spent (upload) VALUES ($1)", found.Above); err != nil {
		return found, err
	}
	return found, next.closeAlone(ctx)
}

// restoresOf counts what is kept of stores that were here: each may have been one that can't be
// read, in whose place the same backup was put.
func restoresOf(path string) (n int64, err error) {
	beside, err := os.ReadDir(filepath.Dir(path))
	for _, file := range beside {
		if strings.HasPrefix(file.Name(), filepath.Base(path)+keptEnding) {
			n++
		}
	}
	return n, err
}

// compare compares a store that nobody else has open with the copy of a backup.
func (s *Store) compare(ctx context.Context, part string, found *Since) error {
	if s == nil {
		return ErrDamaged
	}
	if _, err := s.write.ExecContext(ctx, "ATTACH DATABASE $1 AS backup", "file:"+(&url.URL{Path: part}).EscapedPath()); err != nil {
		return err
	}
	var highest int64
	err := s.read.QueryRowContext(ctx, highestNumber).Scan(&highest)
	if err == nil {
		found.Above, found.Compared = max(found.Above, highest), true
		const same = "b.source = upload.source AND b.origin = upload.origin AND b.digest = upload.digest"
		err = errors.Join(
			s.eachUpload(ctx, addTo(&found.Came), "NOT EXISTS (SELECT 1 FROM backup.upload b WHERE "+same+") ORDER BY id"),
			s.eachUpload(ctx, addTo(&found.Decided), "(approved <> '[]' OR refusal_code = $1) AND NOT EXISTS (SELECT 1 FROM backup.upload b WHERE "+same+" AND b.approved = upload.approved AND b.refusal_code = upload.refusal_code) ORDER BY id", string(conversion.Discarded)))
	}
	_, detached := s.write.ExecContext(ctx, "DETACH DATABASE backup")
	if err = errors.Join(err, detached); err != nil {
		return fmt.Errorf("compare with the backup: %w", err)
	}
	return nil
}

func addTo(all *[]*conversion.Upload) func(*conversion.Upload) error {
	return func(u *conversion.Upload) error { *all = append(*all, u); return nil }
}
