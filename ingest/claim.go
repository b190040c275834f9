package ingest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// prepareAll claims a batch and makes that durable.
func (d *Drop) prepareAll(files Files, batch []*found) error {
	claims := slices.ContainsFunc(batch, func(f *found) bool { return !f.ours })
	var lanes errgroup.Group
	lanes.SetLimit(files.Lanes())
	for _, f := range batch {
		lanes.Go(func() error {
			d.prepare(files, f)
			return nil
		})
	}
	_ = lanes.Wait() // each file has its own error
	if !claims {
		return nil
	}
	if err := files.Sync(".", workFolder); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// prepare claims a file, if need be, and fetches a small one from afar.
func (d *Drop) prepare(files Files, f *found) {
	if seenAt := f.at; !f.ours {
		if f.err = unchanged(files, f); f.err == nil {
			f.err = claim(files, f)
		}
		d.tried(seenAt, f.err)
	}
	if f.err == nil && f.declaration != nil && !d.Leave {
		f.unserved = d.serve(files, f.declaration)
	}
	if f.err == nil && files.Lanes() > 1 && f.small() && !d.Leave {
		f.err = d.fetch(files, f)
	}
}

// fetch copies a file to this side.
func (d *Drop) fetch(files Files, f *found) error {
	in, err := files.Open(f.at)
	if err != nil {
		return fmt.Errorf("fetch file: %w", orGone(err))
	}
	defer in.Close()
	var all io.Reader = in
	if d.MaxBytes > 0 {
		all = io.LimitReader(in, d.MaxBytes+1)
	}
	copy, disk, err := Spool(all)
	if err = errors.Join(disk, err); err != nil {
		copy.Remove()
		return fmt.Errorf("fetch file: %w", err)
	}
	f.copy = copy
	return nil
}

// unchanged looks once more before a file is claimed: others may have come before it, and
// have taken long. One that has changed since settles anew, as if it had just come.
func unchanged(files Files, f *found) error {
	info, err := files.Stat(f.at)
	if err != nil {
		return fmt.Errorf("claim file: %w", err)
	}
	if !info.Mode().IsRegular() || !sightingOf(info).sameAs(sighting{size: f.size, time: f.changed}) {
		return fmt.Errorf("%s changed: %w", f.name, fs.ErrNotExist)
	}
	return nil
}

// claim renames a file into work/.
func claim(files Files, f *found) error {
	var token [8]byte
	_, _ = rand.Read(token[:]) // never fails
	name := hex.EncodeToString(token[:])
	at := path.Join(workFolder, name+tokenMark+f.name)
	if err := files.Move(f.at, at); err != nil {
		return fmt.Errorf("claim file: %w", err)
	}
	f.at, f.origin, f.ours = at, "file "+name, true
	return nil
}

// longestName is how many bytes of a file's name are kept, so that there is room for a token
// or a number.
const longestName = 200

// shortName cuts a name to so many bytes and keeps its extension, if that is
// short itself.
func shortName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > 10 {
		extension = ""
	}
	return strings.ToValidUTF8(name[:most-len(extension)], "") + extension
}

// finish puts a claimed file where it belongs. If a power cut takes that back, the file
// is delivered again from work/, known by then, and put away again.
func (d *Drop) finish(ctx context.Context, f *found, as Disposition) error {
	if d.Leave {
		d.leave(f)
		return nil
	}
	files, err := d.Place.Open(ctx)
	if err != nil {
		return fmt.Errorf("put file away: %w", err)
	}
	defer files.Close()
	folder := rejectedFolder
	if as == Accepted {
		folder = d.processed()
	}
	if err := putAway(files, f.at, f.name, folder); err != nil {
		return fmt.Errorf("put file away: %w", err)
	}
	return nil
}

// processed is the folder for what is put away today.
func (d *Drop) processed() string { return path.Join(processedFolder, d.Now().Format(time.DateOnly)) }

// putAway moves a file into a folder, unless it was put away already.
func putAway(files Files, at, name, folder string) error {
	err := moveInto(files, at, name, folder)
	if errors.Is(err, fs.ErrNotExist) { // the day's folder isn't there, or the file
		if err := files.Mkdir(folder); err != nil {
			return fmt.Errorf("make folder %s: %w", folder, err)
		}
		err = moveInto(files, at, name, folder)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// moveInto moves a file into a folder, under a name that none has yet: name.csv,
// name-2.csv …
func moveInto(files Files, at, name, folder string) error {
	extension := path.Ext(name)
	for n := 1; ; n++ {
		free := name
		if n > 1 {
			free = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), n, extension)
		}
		if err := files.Move(at, path.Join(folder, free)); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}
