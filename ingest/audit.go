package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"time"
)

// Archivist is a source that keeps what it has delivered.
type Archivist interface {
	// PutAway yields what was put away since a moment, by what the source knows of that.
	PutAway(ctx context.Context, since time.Time) iter.Seq2[*Kept, error]
}

// Kept is a delivery that was put away.
type Kept struct {
	Where string // it is, for people
	// Deliveries are what it was delivered as. Their origins are those that they had if
	// Exact is set; else they are known by their bytes.
	Deliveries []*Delivery
	Exact      bool
	// Return puts it back to where it is taken from.
	Return func(ctx context.Context) error
}

// PutAway yields the files in processed/ and rejected/ that were put away since a moment.
func (d *Drop) PutAway(ctx context.Context, since time.Time) iter.Seq2[*Kept, error] {
	return func(yield func(*Kept, error) bool) {
		if d.Leave { // what is left where it is is always looked at
			return
		}
		files, err := d.open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer files.Close()
		folders, err := d.putAwayFolders(files, since)
		for _, folder := range folders {
			infos, err := files.List(folder)
			if err != nil && !yield(nil, fmt.Errorf("read folder: %w", err)) {
				return
			}
			for _, info := range infos {
				if !info.Mode().IsRegular() || strings.HasPrefix(info.Name(), ".") || d.Done != "" && strings.HasSuffix(info.Name(), d.Done) {
					continue
				}
				if !yield(d.kept(files, path.Join(folder, info.Name())), nil) || ctx.Err() != nil {
					return
				}
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// putAwayFolders are rejected/ and the days in processed/ since a moment.
func (d *Drop) putAwayFolders(files Files, since time.Time) ([]string, error) {
	folders := []string{rejectedFolder}
	days, err := files.List(processedFolder)
	if err != nil {
		return folders, fmt.Errorf("read folder: %w", err)
	}
	for _, day := range days {
		if at, err := time.Parse(time.DateOnly, day.Name()); err == nil && !at.Before(since.Add(-24*time.Hour)) {
			folders = append(folders, path.Join(processedFolder, day.Name()))
		}
	}
	return folders, nil
}

func (d *Drop) kept(files Files, at string) *Kept {
	return &Kept{
		Where: at,
		Deliveries: []*Delivery{{
			Source: d.Label, Name: path.Base(at), Account: d.Account, Takes: d.Takes, Dialect: d.Dialect,
			Open: func() (io.ReadCloser, error) { return files.Open(at) },
		}},
		Return: func(context.Context) error {
			return errors.Join(moveInto(files, at, path.Base(at), "."), files.Sync(".", path.Dir(at)))
		},
	}
}
