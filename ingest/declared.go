package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// listing is what is in a folder.
type listing struct {
	files []fs.FileInfo // to be taken some time
	// declarations are the files by which senders say that another one is complete, by that
	// one's name.
	declarations map[string]fs.FileInfo
	stray        []fs.FileInfo // declarations without the file
}

// list lists what is in the folder: where senders declare their files complete, only those
// for which they have.
func (d *Drop) list(files Files) (*listing, error) {
	infos, err := files.List(".")
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	inside := &listing{declarations: map[string]fs.FileInfo{}}
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
				inside.stray = append(inside.stray, info)
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

// serve removes the declaration of a file that is ours, so that it doesn't hold for the next
// one of that name. One that has changed may be that one's already; one that can't be removed
// is a stray one later.
func serve(files Files, declaration fs.FileInfo) {
	now, err := files.Stat(declaration.Name())
	if err == nil && sightingOf(now).sameAs(sightingOf(declaration)) {
		_ = files.Remove(declaration.Name())
	}
}

// strayAge is how long a declaration must have been without its file before it is removed: it
// may have come first, and a server may list one of them and not yet the other.
const strayAge = time.Hour

// removeStray removes declarations that have long been without their files.
func (d *Drop) removeStray(files Files, stray []fs.FileInfo) error {
	if d.Leave {
		return nil
	}
	now, seen := d.Now(), map[string]sighting{}
	for _, info := range stray {
		name, s := info.Name(), sightingOf(info)
		s.at = now
		if before, ok := d.stray[name]; ok && before.sameAs(s) {
			s.at = before.at
		}
		if seen[name] = s; now.Sub(s.at) < max(strayAge, d.Settle) {
			continue
		}
		if err := files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	d.stray = seen
	return nil
}
