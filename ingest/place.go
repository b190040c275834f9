package ingest

import (
	"context"
	"io"
	"io/fs"
)

// Place is where a drop's files lie.
type Place interface {
	// Open makes ready for one look or errand. Close what it returns.
	Open(ctx context.Context) (Files, error)
}

// Watched is a place that tells of changes.
type Watched interface {
	// Watch waits until something changes or ctx ends; what is ignored doesn't count.
	Watch(ctx context.Context, ignored func(name string) bool) error
}

// Files are the files of a place. Names are relative to it, with slashes; errors are
// told apart by fs.ErrNotExist and fs.ErrExist.
type Files interface {
	// List lists what is in a folder, "." for the place itself.
	List(folder string) ([]fs.FileInfo, error)
	// Stat looks at a file; a link is itself.
	Stat(name string) (fs.FileInfo, error)
	// Open opens a file. What it reads is the whole file, or fails.
	Open(name string) (io.ReadCloser, error)
	// Write makes a file or takes its place, complete or not at all.
	Write(name string, write func(io.Writer) error) error
	// Move gives a file another name. It never takes the place of one that is there.
	Move(from, to string) error
	// Mkdir makes a folder, unless it is there.
	Mkdir(name string) error
	Remove(name string) error
	// Sync makes the names in some folders durable, where a place can be asked to.
	Sync(folders ...string) error
	// Lanes is how many errands go on at once: more than 1 where each waits for answers
	// from afar, so that what is read is kept on this side.
	Lanes() int
	// Lost reports whether the place can't be reached any more until it is opened anew.
	Lost() bool
	Close() error
}
