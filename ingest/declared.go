package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// listing is what is in a folder.
type listing struct {
	files []fs.FileInfo // to be taken some time
	// declarations are the files by which senders say that another one is complete, by that
	// one's name.
	declarations map[string]fs.FileInfo
	// stray are those without the file, by the name that it has once it is ours.
	stray map[string]fs.FileInfo
}

// list lists what is in the folder: where senders declare their files complete, only those
// for which they have.
func (d *Drop) list(files Files) (*listing, error) {
	infos, err := files.List(".")
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	inside := &listing{declarations: map[string]fs.FileInfo{}, stray: map[string]fs.FileInfo{}}
	there := map[string]bool{}
	for _, info := range infos {
		there[info.Name()] = true
		if file, ok := d.declares(info); ok {
			inside.declarations[file] = info
		}
	}
	for _, info := range infos {
		switch file, declares := d.declares(info); {
		case declares:
			if !there[file] {
				inside.stray[shortName(file, longestName)] = info
			}
		case d.takes(info) && (d.Done == "" || inside.declarations[info.Name()] != nil):
			inside.files = append(inside.files, info)
		}
	}
	return inside, nil
}

// declares reports whether a file only says that another one is complete, and which.
func (d *Drop) declares(info fs.FileInfo) (file string, ok bool) {
	if d.Done == "" || !info.Mode().IsRegular() {
		return "", false
	}
	return strings.CutSuffix(info.Name(), d.Done)
}

// serve puts away the declaration of a file that is ours, so that it doesn't hold for the next
// one of that name. One that has changed may be that one's already.
func (d *Drop) serve(files Files, declaration fs.FileInfo) error {
	name := declaration.Name()
	now, err := files.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !sightingOf(now).sameAs(sightingOf(declaration)):
		return nil
	case err == nil:
		err = putAway(files, name, shortName(name, longestName), d.processed())
	}
	if err != nil {
		return fmt.Errorf("put %s away: %w", name, err)
	}
	return nil
}

// declarationsLeft finds those of files in work/ that were left when these were claimed: by a
// crash, or because the server's answer was lost. Any other one without its file stays: it
// may have come first, or the server lists one of them and not yet the other.
func (d *Drop) declarationsLeft(files Files, claimed []*found) error {
	if d.Done == "" || len(claimed) == 0 {
		return nil
	}
	inside, err := d.list(files)
	if err != nil {
		return err
	}
	for _, f := range claimed {
		f.declaration = inside.stray[f.name]
	}
	return nil
}
