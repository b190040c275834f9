// Package folder is where files are dropped on this machine or on a network share that
// it has mounted.
package folder

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"calltally/ingest"
)

// Folder is a folder's path.
type Folder string

// Open opens the folder. It isn't made: a share that isn't mounted must not be hidden.
func (f Folder) Open(context.Context) (ingest.Files, error) {
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, err
	}
	return files{root}, nil
}

// Watch waits until the operating system tells of a change.
func (f Folder) Watch(ctx context.Context, ignored func(name string) bool) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folder: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(string(f)); err != nil {
		return fmt.Errorf("watch folder: %w", err)
	}
	for {
		select {
		case event := <-watcher.Events:
			if !ignored(path.Base(event.Name)) && !event.Has(fsnotify.Chmod) {
				return nil
			}
		case err := <-watcher.Errors:
			return fmt.Errorf("watch folder: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// files are the folder's files. Nothing outside of it is ever touched.
type files struct{ root *os.Root }

func (f files) Close() error { return f.root.Close() }

func (f files) Lanes() int { return 1 }

func (f files) Lost() bool { return false }

func (f files) List(folder string) ([]fs.FileInfo, error) {
	dir, err := f.root.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it has vanished
			infos = append(infos, looked(path.Join(folder, e.Name()), info))
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
	return infos, nil
}

func (f files) Stat(name string) (fs.FileInfo, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	return looked(name, info), nil
}

// looked is what is known of a file. One that was dropped and has another name elsewhere is
// no regular one: whoever may write here could have linked what only we may read.
func looked(name string, info fs.FileInfo) fs.FileInfo {
	of, ok := info.Sys().(*syscall.Stat_t)
	if ok && of.Nlink > 1 && info.Mode().IsRegular() && path.Dir(name) == "." {
		return linked{info}
	}
	return info
}

// linked is a file that has several names.
type linked struct{ fs.FileInfo }

func (l linked) Mode() fs.FileMode { return l.FileInfo.Mode() | fs.ModeIrregular }

func (f files) Open(name string) (io.ReadCloser, error) { return f.root.Open(name) }

func (f files) Write(name string, write func(io.Writer) error) error {
	temporary := path.Join(path.Dir(name), "."+path.Base(name)+".tmp")
	out, err := f.root.Create(temporary)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 64<<10)
	err = errors.Join(write(buffered), buffered.Flush(), out.Sync(), out.Close())
	if err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(temporary))
	}
	return nil
}

func (f files) Move(from, to string) error {
	if _, err := f.root.Lstat(to); err == nil {
		return &fs.PathError{Op: "move to", Path: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.root.Rename(from, to)
}

func (f files) Mkdir(name string) error {
	err := f.root.Mkdir(name, 0o777)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := f.root.Stat(name)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is there and is no folder: move it away", name)
	}
	return err
}

func (f files) Remove(name string) error { return f.root.Remove(name) }

// Sync makes the names in folders durable.
func (f files) Sync(folders ...string) error {
	for _, name := range folders {
		if err := f.sync(name); err != nil {
			return err
		}
	}
	return nil
}

func (f files) sync(name string) error {
	dir, err := f.root.Open(name)
	if err != nil {
		return err
	}
	return ingest.SyncNamesAndClose(dir)
}
