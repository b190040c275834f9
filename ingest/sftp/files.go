package sftp

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/pkg/sftp"
)

// files are the folder's files, by one connection until it is lost.
type files struct {
	folder  *Folder
	ctx     context.Context
	session *session
	stop    func() bool
}

// Close leaves the connection for the next errand.
func (f *files) Close() error {
	f.stop()
	return nil
}

// Lanes: answers come from afar, and several are awaited at a time.
func (f *files) Lanes() int { return 8 }

func (f *files) Lost() bool { return f.session.over() }

func (f *files) at(name string) string { return path.Join(f.folder.Path, name) }

func (f *files) List(folder string) ([]fs.FileInfo, error) {
	infos, err := f.session.files.ReadDirContext(f.ctx, f.at(folder))
	if err != nil {
		return nil, err
	}
	infos = slices.DeleteFunc(infos, func(info fs.FileInfo) bool { return path.Base(info.Name()) != info.Name() }) // no server may lead us elsewhere
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
	return infos, nil
}

func (f *files) Stat(name string) (fs.FileInfo, error) { return f.session.files.Lstat(f.at(name)) }

// Write writes under a temporary name and then renames. Where a server can't rename onto a
// file that is there, that one is removed first.
func (f *files) Write(name string, write func(io.Writer) error) error {
	client, temporary := f.session.files, f.at(path.Join(path.Dir(name), "."+path.Base(name)+".tmp"))
	out, err := client.Create(temporary)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 256<<10)
	err = errors.Join(write(buffered), buffered.Flush(), f.sync(out), out.Close())
	if err == nil {
		err = f.replace(temporary, f.at(name))
	}
	if err != nil {
		return errors.Join(err, client.Remove(temporary))
	}
	return nil
}

// sync asks that a file's bytes be made durable, where the server can.
func (f *files) sync(file *sftp.File) error {
	if _, ok := f.session.files.HasExtension("fsync@openssh.com"); !ok {
		return nil
	}
	return file.Sync()
}

func (f *files) replace(from, to string) error {
	client := f.session.files
	if _, ok := client.HasExtension("posix-rename@openssh.com"); ok {
		return client.PosixRename(from, to)
	}
	if err := client.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return client.Rename(from, to)
}

// Move renames. Some servers would take the place of a file that is there, so that it is
// looked for first.
func (f *files) Move(from, to string) error {
	client := f.session.files
	if _, err := client.Lstat(f.at(to)); err == nil {
		return &fs.PathError{Op: "move to", Path: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return client.Rename(f.at(from), f.at(to))
}

func (f *files) Mkdir(name string) error {
	client := f.session.files
	if info, err := client.Stat(f.at(name)); err == nil && info.IsDir() {
		return nil
	}
	err := client.Mkdir(f.at(name))
	if err != nil { // another process may have made it
		if info, failure := client.Stat(f.at(name)); failure == nil && info.IsDir() {
			return nil
		}
	}
	return err
}

func (f *files) Remove(name string) error { return f.session.files.Remove(f.at(name)) }

// Sync does nothing: no server can be asked for it. What a server's crash takes back is
// delivered again, and known by its bytes.
func (f *files) Sync(...string) error { return nil }

// Open opens a file. Reading goes on over a new connection where one is lost.
func (f *files) Open(name string) (io.ReadCloser, error) {
	r := &reader{files: f, path: f.at(name)}
	if err := r.open(); err != nil {
		return nil, err
	}
	r.as = r.now
	size := min(r.as.Size()+1, readAhead)
	return struct {
		*bufio.Reader
		io.Closer
	}{bufio.NewReaderSize(r, int(max(size, 16))), r}, nil
}

// readAhead is how many bytes are asked for at once, in many requests side by side.
const readAhead = 1 << 20

// reader reads a file to its end, or fails: over a new connection where one is lost, if
// the file is still the one that it was.
type reader struct {
	files *files
	again bool // files are the reader's own: the connection was lost
	path  string
	file  *sftp.File
	now   fs.FileInfo // of the file that is open
	as    fs.FileInfo // of the file as it was opened first
	at    int64
	lost  int // connections, without a byte between them
}

// open opens the file at the place that was reached.
func (r *reader) open() error {
	file, err := r.files.session.files.Open(r.path)
	if err != nil {
		return err
	}
	if r.now, err = file.Stat(); err == nil && r.at > 0 {
		_, err = file.Seek(r.at, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	r.file = file
	return nil
}

func (r *reader) Close() error {
	err := r.file.Close()
	if r.again {
		err = errors.Join(err, r.files.Close())
	}
	return err
}

// errReplaced says that a file is not the one that it was.
var errReplaced = errors.New("the file changed while it was read; it is read again later")

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.file.Read(p)
		r.at += int64(n)
		switch {
		case n > 0:
			r.lost = 0
			return n, nil
		case errors.Is(err, io.EOF):
			return 0, r.end()
		case err != nil:
			err = r.resume(err)
		}
		if err != nil {
			return 0, err
		}
	}
}

// end makes sure that all of the file was read, and that it is still the same.
func (r *reader) end() error {
	info, err := r.file.Stat()
	switch {
	case err != nil:
		return err
	case r.at != r.as.Size() || !same(info, r.as):
		return errReplaced
	}
	return io.EOF
}

func same(a, b fs.FileInfo) bool { return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) }

// mostLost is how many connections are lost one after another before a file is left for
// the next look.
const mostLost = 3

// resume goes on over a new connection where one was lost.
func (r *reader) resume(why error) error {
	for r.files.session.over() {
		if r.lost++; r.lost > mostLost || r.files.ctx.Err() != nil {
			return why
		}
		if r.lost > 1 {
			pause(r.files.ctx, time.Second<<(r.lost-2))
		}
		fresh, err := r.files.folder.Open(r.files.ctx)
		if err != nil {
			why = err
			continue
		}
		if r.again {
			r.files.Close()
		}
		r.files, r.again = fresh.(*files), true
		if err := r.open(); err != nil {
			why = err
			continue
		}
		if !same(r.now, r.as) {
			return errReplaced
		}
		return nil
	}
	return why
}

func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// over reports whether the connection is lost. Whoever uses it may learn of that before it
// is noted.
func (s *session) over() bool {
	select {
	case <-s.ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}
