package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
)

// A store that isn't sound makes no backup, and a backup takes no file's place.
func TestABackupIsProven(t *testing.T) {
	for _, test := range []struct {
		name    string
		tamper  []string
		refused bool
	}{
		{"as it is", nil, false},
		{"a ledger that doesn't add up", []string{"UPDATE change SET sale_after = sale_after + 1"}, true},
		{"a page that holds what it can't", []string{"PRAGMA ignore_check_constraints = 1", "UPDATE upload SET waiting = -1"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := opened(t, filepath.Join(dir, "calltally.db"))
			u := begun(t, s, "a")
			c, created := made(u, 2)
			must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
			must(t, tamper(t, s, test.tamper...))
			to := filepath.Join(dir, "monday.db")
			_, err := s.Backup(t.Context(), to)
			_, missing := os.Lstat(to)
			if (err != nil) != test.refused || errors.Is(missing, fs.ErrNotExist) != test.refused {
				t.Errorf("error %v; the backup: %v", err, missing)
			}
			if test.refused {
				return
			}
			if _, err := s.Backup(t.Context(), to); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second one to the same place: %v", err)
			}
		})
	}
}

// restoring is a store beside its backup, which has one upload; the store has another, which its
// log still holds if it is killed.
type restoring struct{ at, backup string }

func newRestoring(t *testing.T) restoring {
	t.Helper()
	dir := t.TempDir()
	r := restoring{at: filepath.Join(dir, "calltally.db"), backup: filepath.Join(dir, "monday.db")}
	s, err := Open(t.Context(), r.at)
	must(t, err)
	saved(t, s, "a")
	_, err = s.Backup(t.Context(), r.backup)
	must(t, err)
	saved(t, s, "b")
	must(t, s.Close())
	return r
}

func (r restoring) restore(t *testing.T) Restored {
	t.Helper()
	restored, err := Restore(t.Context(), r.backup, r.at, "1")
	must(t, err)
	return restored
}

// wantUploads checks that a store is sound and has the uploads of some origins, oldest first.
func wantUploads(t *testing.T, path string, want ...string) {
	t.Helper()
	s := opened(t, path)
	must(t, s.integrity(t.Context(), "integrity_check"))
	var got []string
	must(t, s.ListUploads(t.Context(), "", 0, func(u *conversion.Upload) error {
		got = append([]string{u.Origin}, got...)
		return nil
	}))
	if !slices.Equal(got, want) {
		t.Errorf("%s has the uploads %q, want %q", filepath.Base(path), got, want)
	}
}

// Nobody may have a store open in whose place another one is put, and the one that was there is
// kept.
func TestAStoreIsRestoredAlone(t *testing.T) {
	r := newRestoring(t)
	s := opened(t, r.at)
	if _, err := Restore(t.Context(), r.backup, r.at, "1"); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is open: %v", err)
	}
	must(t, s.Close())
	if got := r.restore(t).Kept; !slices.Equal(got, []string{r.at + ".before-1"}) {
		t.Errorf("%q is kept", got)
	}
	wantUploads(t, r.at, "a")
	wantUploads(t, r.at+".before-1", "a", "b")
}

// Whoever opens a store while another is put in its place never writes into the wrong one.
func TestAStoreIsOpenedWhileAnotherTakesItsPlace(t *testing.T) {
	r := newRestoring(t)
	late := make(chan error, 1)
	rename = func(from, to string) error {
		go func() {
			s, err := Open(t.Context(), r.at)
			if err == nil {
				_, _, err = s.SaveUpload(t.Context(), newUpload("late"), content("late"))
				err = errors.Join(err, s.Close())
			}
			late <- err
		}()
		select { // it has the file open by then, and waits
		case err := <-late:
			late <- err
		case <-time.After(200 * time.Millisecond):
		}
		return os.Rename(from, to)
	}
	defer func() { rename = os.Rename }()
	r.restore(t)
	must(t, <-late)
	wantUploads(t, r.at, "a", "late")
	wantUploads(t, r.at+".before-1", "a", "b")
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	must(t, err)
	return found
}

// What another store has left behind is no part of the one that is put in its place: neither
// the log of one whose file is gone, or damaged, nor that of a copy that was never proven to its
// end.
func TestNoOtherStoresLogBecomesARestoredOnes(t *testing.T) {
	for _, test := range []struct {
		name string
		kept []string // endings
		do   func(t *testing.T, r restoring)
	}{
		{"the file is gone", []string{"-wal", "-shm"}, func(t *testing.T, r restoring) { must(t, os.Rename(r.at, r.at+".moved")) }},
		{"the file is damaged", []string{"", "-wal", "-shm"}, func(t *testing.T, r restoring) { must(t, os.WriteFile(r.at, []byte("Dear Sirs"), 0o600)) }},
		{"a copy was being proven", []string{""}, func(t *testing.T, r restoring) {
			for _, ending := range []string{"", "-wal", "-shm"} {
				must(t, os.Rename(r.at+ending, r.at+".part"+ending))
			}
			s, err := Open(t.Context(), r.at)
			must(t, err)
			must(t, s.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRestoring(t)
			s := opened(t, r.at)
			saved(t, s, "c")
			for _, ending := range []string{"", "-wal", "-shm"} { // as a kill would leave it
				text, err := os.ReadFile(r.at + ending)
				must(t, err)
				must(t, os.WriteFile(r.at+".killed"+ending, text, 0o600))
			}
			must(t, s.Close())
			for _, ending := range []string{"", "-wal", "-shm"} {
				must(t, os.Rename(r.at+".killed"+ending, r.at+ending))
			}
			test.do(t, r)
			var kept []string
			for _, path := range r.restore(t).Kept {
				ending, _ := strings.CutPrefix(path, r.at+".before-1")
				kept = append(kept, ending)
			}
			if !slices.Equal(kept, test.kept) {
				t.Errorf("it is kept under the endings %q, want %q", kept, test.kept)
			}
			wantUploads(t, r.at, "a")
		})
	}
}

// Numbers that were given out since the backup are not given out again: as far as the store that
// was there tells, or else far enough above.
func TestNoNumberIsGivenOutTwice(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(t *testing.T, r restoring)
		want int64
	}{
		{"the store can be read", func(*testing.T, restoring) {}, 3},
		{"it is gone", func(t *testing.T, r restoring) { must(t, os.Remove(r.at)) }, 2 + unknownSpent},
		{"it is damaged", func(t *testing.T, r restoring) { must(t, os.WriteFile(r.at, []byte("Dear Sirs"), 0o600)) }, 2 + unknownSpent},
		{"it was damaged before, and is again", func(t *testing.T, r restoring) {
			damage := func() { must(t, os.WriteFile(r.at, []byte("Dear Sirs"), 0o600)) }
			damage()
			r.restore(t)
			s, err := Open(t.Context(), r.at)
			must(t, err)
			saved(t, s, "c")
			must(t, errors.Join(s.Close(), os.Rename(r.at+".before-1", r.at+".before-0")))
			damage()
		}, 2 + 2*unknownSpent},
		{"it was restored before, and nothing came", func(t *testing.T, r restoring) { r.restore(t) }, 3},
		{"it is older than the backup", func(t *testing.T, r restoring) {
			must(t, os.Rename(r.at, r.backup+".new"))
			must(t, os.Rename(r.backup, r.at))
			must(t, os.Rename(r.backup+".new", r.backup))
		}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRestoring(t)
			test.do(t, r)
			must(t, os.RemoveAll(r.at+".before-1"))
			if got := r.restore(t).Above; got != test.want-1 {
				t.Errorf("it goes on above %d, want %d", got, test.want-1)
			}
			s := opened(t, r.at)
			for n := range int64(2) {
				if u := saved(t, s, fmt.Sprint("new ", n)); u.ID != test.want+n {
					t.Errorf("the next upload has the number %d, want %d", u.ID, test.want+n)
				}
			}
			must(t, os.Remove(r.backup))
			if _, err := s.Backup(t.Context(), r.backup); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the backup doesn't have is told: what came since, and what was decided on what was held.
func TestWhatCameSinceTheBackupIsTold(t *testing.T) {
	dir := t.TempDir()
	r := restoring{at: filepath.Join(dir, "calltally.db"), backup: filepath.Join(dir, "monday.db")}
	s, err := Open(t.Context(), r.at)
	must(t, err)
	hold := conversion.Hold{Code: "amounts_over_limit", Sentence: "It is held."}
	held := map[string]*conversion.Upload{}
	for _, name := range []string{"approved before", "approved", "discarded", "held still"} {
		held[name] = saved(t, s, name)
		must(t, s.Hold(t.Context(), held[name].ID, hold, 1))
	}
	refuse := func(u *conversion.Upload) {
		must(t, s.Refuse(t.Context(), u.ID, conversion.Refusal{Code: conversion.Discarded, Sentence: "No."}, 2))
	}
	must(t, s.Approve(t.Context(), held["approved before"].ID))
	_, err = s.Backup(t.Context(), r.backup)
	must(t, err)
	must(t, s.Approve(t.Context(), held["approved"].ID))
	refuse(held["discarded"])
	must(t, s.SaveDerived(t.Context(), &conversion.Upload{Account: "23", Source: "drop", Origin: "undo", Takes: conversion.TakesConversions, State: conversion.Received, Undoes: 1}))
	came := saved(t, s, "came")
	must(t, s.Hold(t.Context(), came.ID, hold, 1))
	refuse(came)
	must(t, s.Close())
	got := r.restore(t)
	origins := func(all []*conversion.Upload) (origins []string) {
		for _, u := range all {
			origins = append(origins, u.Origin)
		}
		return origins
	}
	if !got.Compared || !slices.Equal(origins(got.Came), []string{"undo", "came"}) || !slices.Equal(origins(got.Decided), []string{"approved", "discarded", "came"}) {
		t.Errorf("compared %v: came %q, decided %q", got.Compared, origins(got.Came), origins(got.Decided))
	}
}

// What is no backup, or a damaged one, is named, and leaves the store as it was.
func TestWhatIsNoBackupIsNotRestored(t *testing.T) {
	for _, test := range []struct {
		name, says string
		spoil      func(t *testing.T, r restoring)
	}{
		{"no database", "file is not a database", func(t *testing.T, r restoring) {
			must(t, os.WriteFile(r.backup, []byte(strings.Repeat("Dear Sirs", 1000)), 0o600))
		}},
		{"nothing", "it holds no uploads and no ledger", func(t *testing.T, r restoring) { must(t, os.Truncate(r.backup, 0)) }},
		{"half of it", "malformed", func(t *testing.T, r restoring) { must(t, os.Truncate(r.backup, 20*pageSize)) }},
		{"a ledger that doesn't add up", "the ledger doesn't add up in 1 place", func(t *testing.T, r restoring) {
			s := opened(t, r.backup)
			u := begun(t, s, "x")
			c, created := made(u, 2)
			must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
			must(t, tamper(t, s, "UPDATE change SET sale_after = sale_after + 1"))
			must(t, s.Close())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRestoring(t)
			test.spoil(t, r)
			_, err := Restore(t.Context(), r.backup, r.at, "1")
			for _, part := range []string{"restore: " + r.backup + " is damaged, or is no backup (", test.says, "the store was left as it is: take an earlier backup"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v, want one that says %q", err, part)
				}
			}
			if errors.Is(err, ErrDamaged) || strings.Contains(fmt.Sprint(err), "calltally restore") {
				t.Errorf("it is called a damaged store: %v", err)
			}
			wantUploads(t, r.at, "a", "b")
			if left := globbed(t, r.at+".*"); len(left) > 0 {
				t.Errorf("it leaves %q", left)
			}
		})
	}
}

// A damaged store can't be backed up: it is named, and so is the cure.
func TestADamagedStoreIsNotBackedUp(t *testing.T) {
	r := newRestoring(t)
	s := opened(t, r.at)
	var root int64
	must(t, s.read.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = 'change'").Scan(&root))
	file, err := os.OpenFile(r.at, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteAt([]byte(strings.Repeat("?", pageSize)), (root-1)*pageSize)
	must(t, errors.Join(err, file.Close()))
	_, err = s.Backup(t.Context(), r.backup+".new")
	if want := "back up " + r.at + ": the store is damaged: put a backup in its place with “calltally restore FILE”"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want one that begins %q", err, want)
	}
}
