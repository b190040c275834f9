package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// needsRoot skips a test that only root can run; in CI it fails.
func needsRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("needs root, who may give files away: run it with sudo")
	default:
		t.Skip("needs root, who may give files away: run it with sudo")
	}
}

// asNobody does something as the user nobody: on a thread of its own, which ends with it.
func asNobody(t *testing.T, do func() error) error {
	t.Helper()
	needsRoot(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		if _, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); failed != 0 {
			done <- failed
			return
		}
		done <- do()
	}()
	return <-done
}

// reached is a folder that every user may go to.
func reached(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// wantFile checks a file's rights and whose it is.
func wantFile(t *testing.T, path string, mode fs.FileMode, uid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if owner := ownerOf(info); info.Mode().Perm() != mode || owner.Uid != uid || owner.Gid != uid {
		t.Errorf("%s is %v and belongs to %d:%d, want %v and %d", filepath.Base(path), info.Mode(), owner.Uid, owner.Gid, mode, uid)
	}
}

// What customers have said is nobody else's business. What root makes belongs to whom the folder
// belongs to.
func TestStoresAndBackupsArePrivate(t *testing.T) {
	needsRoot(t)
	for _, uid := range []int{0, nobody} {
		dir := t.TempDir()
		must(t, os.Chown(dir, uid, uid))
		at, backup := filepath.Join(dir, "calltally.db"), filepath.Join(dir, "monday.db")
		s := opened(t, at)
		saved(t, s, "a")
		_, err := s.Backup(t.Context(), backup)
		must(t, err)
		for _, path := range []string{at, at + "-wal", at + "-shm", backup} {
			wantFile(t, path, 0o600, uint32(uid))
		}
	}
}

// A store that was made otherwise stays as it is.
func TestAStoreKeepsTheRightsThatItHas(t *testing.T) {
	at := filepath.Join(t.TempDir(), "calltally.db")
	must(t, os.WriteFile(at, nil, 0o600))
	must(t, os.Chmod(at, 0o664))
	saved(t, opened(t, at), "a")
	if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o664 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A store that is restored by root is for whom it was for before.
func TestARestoredStoreIsItsOwners(t *testing.T) {
	needsRoot(t)
	r := newRestoring(t)
	must(t, errors.Join(os.Chmod(filepath.Dir(filepath.Dir(r.at)), 0o755), os.Chown(r.at, nobody, nobody), os.Chmod(r.at, 0o640)))
	r.restore(t)
	wantFile(t, r.at, 0o640, nobody)
	wantFile(t, r.at+".before-1", 0o640, nobody)

	must(t, errors.Join(os.Remove(r.at), os.Remove(r.at+".before-1"), os.Chown(filepath.Dir(r.at), nobody, nobody)))
	r.restore(t)
	wantFile(t, r.at, 0o600, nobody)

	must(t, errors.Join(os.Chown(r.backup, nobody, nobody), os.Chmod(r.at, 0o666), os.Chown(r.at, 0, 0)))
	err := asNobody(t, func() error {
		_, err := Restore(t.Context(), r.backup, r.at, "1")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "can't be given to root, as "+r.at+" is: run this as that user, or as root") {
		t.Errorf("by another than its owner: %v", err)
	}
}

// What keeps a store from being opened is named, and what helps.
func TestWhatKeepsAStoreFromBeingOpened(t *testing.T) {
	for _, test := range []struct {
		name, file, what, cure string
		do                     func(t *testing.T, dir string)
		anyone                 bool
	}{
		{"no folder", "missing/calltally.db", "there is no folder DIR/missing", "make it, or correct “store” in the configuration", func(*testing.T, string) {}, false},
		{"a file for a folder", "file/calltally.db", "DIR/file is no folder", "correct “store”", func(t *testing.T, dir string) { must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)) }, false},
		{"a folder", "folder", "DIR/folder is a folder", "correct “store”", func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700)) }, false},
		{"a folder in another's", "inner/calltally.db", "the user nobody may not go into DIR, which belongs to root", "or run this as root", func(t *testing.T, dir string) {
			must(t, errors.Join(os.Mkdir(filepath.Join(dir, "inner"), 0o777), os.Chmod(dir, 0o700)))
		}, true},
		{"another's folder", "calltally.db", "the user nobody may not read and write DIR, which belongs to root", "give this user the right to, or run this as root", func(*testing.T, string) {}, true},
		{"another's file", "calltally.db", "the user nobody may not read and write DIR/calltally.db, which belongs to root", "or run this as root", func(t *testing.T, dir string) {
			must(t, errors.Join(opened(t, filepath.Join(dir, "calltally.db")).Close(), os.Chmod(dir, 0o777)))
		}, true},
		{"a full disk", "calltally.db", "there is no room left on the disk of DIR", "make some", func(t *testing.T, dir string) {
			mounted(t, dir, 0, "size=4m")
			s, err := Open(t.Context(), filepath.Join(dir, "calltally.db"))
			must(t, err)
			must(t, s.Close())
			file, err := os.Create(filepath.Join(dir, "filler"))
			must(t, err)
			for err == nil {
				_, err = file.Write(make([]byte, 4<<10))
			}
			must(t, file.Close())
		}, false},
		{"a disk that is only read", "calltally.db", "DIR is on a disk that can only be read", "have it be mounted for writing", func(t *testing.T, dir string) { mounted(t, dir, syscall.MS_RDONLY, "") }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := reached(t)
			test.do(t, dir)
			open := func() error {
				s, err := Open(t.Context(), filepath.Join(dir, test.file))
				if err == nil {
					err = s.Close()
				}
				return err
			}
			var err error
			if test.anyone {
				err = asNobody(t, open)
			} else {
				err = open()
			}
			var trouble *Trouble
			if what := strings.ReplaceAll(test.what, "DIR", dir); !errors.As(err, &trouble) || trouble.What != what || !strings.Contains(trouble.Cure, test.cure) {
				t.Errorf("error %v, want that %s: %s", err, what, test.cure)
			}
		})
	}
}

// mounted mounts a disk of its own, in memory, over a folder.
func mounted(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	needsRoot(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skipf("needs a system where root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(fmt.Errorf("unmount: %w", err))
		}
	})
}
