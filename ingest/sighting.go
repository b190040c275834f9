package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// sighting is what a file looked like when it was last looked at.
type sighting struct {
	size int64
	time time.Time // of its last change, by its place's clock
	at   time.Time // when we first saw it so, by our clock
	// stuck is set if it could not be claimed: it is tried again when the folder
	// is due, not before.
	stuck bool
}

func sightingOf(info fs.FileInfo) sighting { return sighting{size: info.Size(), time: info.ModTime()} }

func (s sighting) sameAs(other sighting) bool {
	return s.size == other.size && s.time.Equal(other.time)
}

// complete lists the files that have not changed since they were first seen at
// least Settle ago, oldest first.
func (d *Drop) complete(files Files) ([]*found, error) {
	inside, err := d.list(files)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, seen, ours := d.Now(), map[string]sighting{}, map[string]sighting{}
	var all []*found
	for _, info := range inside.files {
		name, s := info.Name(), sightingOf(info)
		s.at = now
		if known, ok := d.ours[name]; ok && known.sameAs(s) {
			ours[name] = known
			continue
		}
		if before, ok := d.seen[name]; ok && before.sameAs(s) {
			s.at, s.stuck = before.at, before.stuck
			if now.Sub(s.at) >= d.Settle {
				all = append(all, d.sighted(name, s, inside.declarations[name]))
			}
		}
		seen[name] = s
	}
	d.seen, d.ours = seen, ours
	oldestFirst(all)
	return all, nil
}

func (d *Drop) sighted(name string, s sighting, declaration fs.FileInfo) *found {
	f := &found{name: shortName(name, longestName), at: name, size: s.size, changed: s.time, declaration: declaration}
	if d.Leave {
		f.origin, f.ours = fmt.Sprintf("file %s of %d bytes, %d", name, s.size, s.time.UnixMilli()), true
	}
	return f
}

// leave notes that a file is ours and stays where it is.
func (d *Drop) leave(f *found) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ours[f.at] = sighting{size: f.size, time: f.changed}
	delete(d.seen, f.at)
}

// takes reports whether something in the folder is a file to be taken some time.
func (d *Drop) takes(info fs.FileInfo) bool {
	_, declares := d.declares(info)
	return info.Mode().IsRegular() && !temporary(info.Name()) && !declares
}

// temporary reports whether a name is one that programs give unfinished files.
func temporary(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~$") || strings.HasSuffix(name, "~") ||
		slices.Contains([]string{".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".lock"}, path.Ext(lower))
}

// Wake waits until something changes in the folder; if files were seen that may be
// complete soon, until then.
func (d *Drop) Wake(ctx context.Context) error {
	if wait := d.Settling(); wait > 0 {
		return pause(ctx, wait)
	}
	if watched, ok := d.Place.(Watched); ok {
		return watched.Watch(ctx, temporary)
	}
	<-ctx.Done()
	return nil
}

// Settling returns how long to wait if a file was seen that may be complete then.
func (d *Drop) Settling() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.seen {
		if !s.stuck {
			return max(d.Settle, time.Millisecond)
		}
	}
	return 0
}

// tried notes how claiming a file went.
func (d *Drop) tried(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(d.seen, name)
		return
	}
	d.stick(name)
}

// offered notes that a file which stays where it is was handed on. If nobody could take it,
// it is tried again when the folder is due, not before.
func (d *Drop) offered(f *found) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stick(f.at)
}

func (d *Drop) stick(name string) {
	if s, ok := d.seen[name]; ok {
		s.stuck = true
		d.seen[name] = s
	}
}

// forget has every file settle anew: the place can't be looked at.
func (d *Drop) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = nil
}

func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	return nil
}
