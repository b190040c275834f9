package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// makeFile makes an empty file for a store or a backup, if there is none: what is in them is
// nobody else's business, so only its owner may read it. One that root makes belongs to whom
// the folder belongs to, who is to work with it.
func makeFile(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folder := filepath.Dir(path)
	made, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(made.Name())
	if os.Geteuid() == 0 {
		err = giveLike(made.Name(), folder)
	}
	// It is closed before it has its name: to close a file gives up all locks that the process
	// has on it.
	if err := errors.Join(err, made.Close()); err != nil {
		return err
	}
	// Where files can't have two names, they mostly have no rights either, and the engine makes it.
	_ = os.Link(made.Name(), path)
	return nil
}

// giveLike gives a file to the owner and the group of another.
func giveLike(path, other string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	like, err := os.Stat(other)
	if err != nil {
		return err
	}
	has, wants := ownerOf(info), ownerOf(like)
	if has.Uid == wants.Uid && has.Gid == wants.Gid {
		return nil
	}
	if err := os.Chown(path, int(wants.Uid), int(wants.Gid)); err != nil {
		return &Trouble{What: fmt.Sprintf("the new file can't be given to %s, as %s is", userName(int(wants.Uid)), other), Cure: "run this as that user, or as root", Said: err}
	}
	return nil
}

// takeOver gives a file the owner and the rights of the one whose place it is to take; if there
// is none, what a new one has.
func takeOver(path, place string) error {
	info, err := os.Stat(place)
	if errors.Is(err, fs.ErrNotExist) {
		if os.Geteuid() == 0 {
			return giveLike(path, filepath.Dir(place))
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := giveLike(path, place); err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm())
}

func ownerOf(info fs.FileInfo) *syscall.Stat_t {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("store: no owner is known of " + info.Name()) // every system that we are built for tells
	}
	return owner
}

// userName is the name of a user, or else its number.
func userName(uid int) string {
	id := strconv.Itoa(uid)
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return "user " + id
}

// What others are told to do in place of helping a file's place.
const (
	elsewhereStore  = "correct “store” in the configuration"
	elsewhereBackup = "name another file"
)

// troubles are the engine's errors for which a file's place may be to blame.
var troubles = []int{sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}

// orTrouble says of an error what is wrong with the place of a file that can't be worked with,
// as far as the system tells, and what helps.
func orTrouble(err error, path, elsewhere string) error {
	all := err
	var system *fs.PathError
	if !isOneOf(err, troubles) && !errors.As(err, &system) {
		return err
	}
	if system != nil {
		err = system.Err // its file is told already
	}
	folder := filepath.Dir(path)
	switch info, failure := os.Stat(folder); {
	case errors.Is(failure, fs.ErrNotExist):
		return &Trouble{What: "there is no folder " + folder, Cure: "make it, or " + elsewhere, Said: err}
	case failure == nil && !info.IsDir():
		return &Trouble{What: folder + " is no folder", Cure: elsewhere, Said: err}
	}
	if info, failure := os.Stat(path); failure == nil && info.IsDir() {
		return &Trouble{What: path + " is a folder", Cure: elsewhere, Said: err}
	}
	for _, part := range []string{folder, path, path + "-wal", path + "-shm"} {
		const reading, writing = 4, 2
		switch failure := syscall.Access(part, reading|writing); {
		case errors.Is(failure, syscall.EACCES):
			return notOurs(part, err)
		case errors.Is(failure, syscall.EROFS):
			return &Trouble{What: part + " is on a disk that can only be read", Cure: "have it be mounted for writing, or " + elsewhere, Said: err}
		}
	}
	if failure := roomIn(folder); errors.Is(failure, syscall.ENOSPC) || errors.Is(failure, syscall.EDQUOT) {
		return &Trouble{What: "there is no room left on the disk of " + folder, Cure: "make some; nothing is lost", Said: err}
	}
	return all
}

// notOurs says that we may not work with a file, or not even go to where it is.
func notOurs(path string, said error) error {
	may, at := "read and write", path
	info, err := os.Stat(at)
	for ; errors.Is(err, fs.ErrPermission); info, err = os.Stat(at) {
		may, at = "go into", filepath.Dir(at)
	}
	what, cure := fmt.Sprintf("the user %s may not %s %s", userName(os.Getuid()), may, at), "give this user the right to"
	if err == nil {
		owner := userName(int(ownerOf(info).Uid))
		what, cure = what+", which belongs to "+owner, cure+", or run this as "+owner
	}
	return &Trouble{What: what, Cure: cure, Said: said}
}

// roomIn tries whether there is room for what the engine keeps beside a store's file.
func roomIn(folder string) error {
	const enough = 64 << 10
	tried, err := os.CreateTemp(folder, ".room.*")
	if err != nil {
		return err
	}
	defer os.Remove(tried.Name())
	_, err = tried.Write(make([]byte, enough))
	return errors.Join(err, tried.Close())
}
