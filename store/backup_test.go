package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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

// Nobody may have a store open in whose place another one is put, and the one that was there is
// kept.
func TestAStoreIsRestoredAlone(t *testing.T) {
	dir := t.TempDir()
	at, backup, aside := filepath.Join(dir, "calltally.db"), filepath.Join(dir, "monday.db"), filepath.Join(dir, "aside.db")
	s := opened(t, at)
	saved(t, s, "a")
	_, err := s.Backup(t.Context(), backup)
	must(t, err)
	u := saved(t, s, "b")
	if _, _, err := Restore(t.Context(), backup, at, aside); !errors.Is(err, ErrInUse) {
		t.Errorf("while it is open: %v", err)
	}
	must(t, s.Close())
	_, kept, err := Restore(t.Context(), backup, at, aside)
	if err != nil || kept != aside {
		t.Fatalf("%q is kept, %v", kept, err)
	}
	if got := listed(t, opened(t, at), "", 0); len(got) != 1 {
		t.Errorf("restored: uploads %v", got)
	}
	if got := listed(t, opened(t, aside), "", 0); len(got) != 2 || got[0] != u.ID {
		t.Errorf("kept: uploads %v", got)
	}
}
