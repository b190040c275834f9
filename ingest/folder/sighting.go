package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// sighting is what a file looked like when it was last looked at.
type sighting struct {
	size int64
	time time.Time // of its last change, by its file system
	at   time.Time // when we first saw it so, by our clock
	// stuck is set if it could not be claimed: it is tried again when the folder
	// is due, not before.
	stuck bool
}

// complete lists the files that have not changed since they were first seen at
// least Settle ago, oldest first.
func (f *Folder) complete(root *os.Root) ([]fs.FileInfo, error) {
	entries, err := readDir(root, ".")
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, seen := f.Now(), map[string]sighting{}
	var files []fs.FileInfo
	for _, e := range entries {
		if !e.Type().IsRegular() || temporary(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // vanished
		}
		s := sighting{size: info.Size(), time: info.ModTime(), at: now}
		if before, ok := f.seen[e.Name()]; ok && before.size == s.size && before.time.Equal(s.time) {
			s.at, s.stuck = before.at, before.stuck
			if now.Sub(s.at) >= f.Settle {
				files = append(files, info)
			}
		}
		seen[e.Name()] = s
	}
	f.seen = seen
	oldestFirst(files)
	return files, nil
}

// temporary reports whether a name is one that programs give unfinished files.
func temporary(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~$") || strings.HasSuffix(name, "~") ||
		slices.Contains([]string{".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", ".lock"}, filepath.Ext(lower))
}

// Wake waits until something changes in the folder, and then a little longer:
// a file is only complete when it has stayed as it is.
func (f *Folder) Wake(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folder: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(f.Path); err != nil {
		return fmt.Errorf("watch folder: %w", err)
	}
	if wait := f.Settling(); wait > 0 {
		return pause(ctx, wait)
	}
	for {
		select {
		case event := <-watcher.Events:
			if !temporary(filepath.Base(event.Name)) && !event.Has(fsnotify.Chmod) {
				return nil
			}
		case err := <-watcher.Errors:
			return fmt.Errorf("watch folder: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// Settling returns how long to wait if a file was seen that may be complete then.
func (f *Folder) Settling() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if !s.stuck {
			return max(f.Settle, time.Millisecond)
		}
	}
	return 0
}

// tried notes how claiming a file went.
func (f *Folder) tried(name string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(f.seen, name)
		return
	}
	s := f.seen[name]
	s.stuck = true
	f.seen[name] = s
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return nil
}
