package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestSQLitePragmasAreInForce(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	for _, test := range []struct {
		pool         *sql.DB
		pragma, want string
	}{
		{s.write, "page_size", strconv.Itoa(pageSize)}, {s.write, "journal_mode", "wal"}, {s.write, "synchronous", "2"}, {s.write, "foreign_keys", "1"}, {s.write, "busy_timeout", "60000"}, {s.write, "query_only", "0"},
		{s.readers, "query_only", "1"}, {s.readers, "busy_timeout", "60000"}, {s.readers, "journal_mode", "wal"},
	} {
		var got string
		must(t, test.pool.QueryRowContext(t.Context(), "PRAGMA "+test.pragma).Scan(&got))
		if got != test.want {
			t.Errorf("%s is %s, want %s", test.pragma, got, test.want)
		}
	}
}

// An engine that doesn't do as it was told is not worked with: in memory, nothing is durable.
func TestAStoreThatIsNotDurableIsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := openSQLite(t.Context(), ":memory:")
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, errNotDurable) {
		t.Errorf("error %v, want errNotDurable", err)
	}
}

func TestSQLiteReadersCannotWrite(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	if _, err := s.read.ExecContext(t.Context(), "INSERT INTO account (name) VALUES ('x')"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestSQLiteFilesMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"with space.db", "100%.db", "what?.db", "no#1.db", "a&b=c.db", "zoë.db"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := opened(t, filepath.Join(dir, name))
			saved(t, s, "a")
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				entries, _ := os.ReadDir(dir)
				t.Errorf("%v; there are %v", err, entries)
			}
		})
	}
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	notADatabase := filepath.Join(t.TempDir(), "notes.txt")
	must(t, os.WriteFile(notADatabase, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	for _, test := range []struct{ name, setting, part string }{
		{"an engine that it doesn't have", "mysql://host/db", "name one such as calltally.db"},
		{"a file in no folder", filepath.Join(t.TempDir(), "missing", "calltally.db"), "open store"},
		{"a file that is no database", notADatabase, "open store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Open(t.Context(), test.setting)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.part) {
				t.Errorf("error %v, want one that says %q", err, test.part)
			}
		})
	}
}

func TestSQLiteEndsWithItsContext(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.EnsureAccounts(ctx, []string{"23"}); err == nil {
		t.Error("it wrote after its context had ended")
	}
	must(t, s.EnsureAccounts(t.Context(), []string{"23"}))
}

func TestSQLiteMayBeOpenedForTheFirstTimeByManyAtOnce(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "calltally.db")
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				s, err := Open(t.Context(), path)
				if err == nil {
					err = s.Close()
				}
				errs[i] = err
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
}

// A search that reads a table instead of an index takes minutes where there are
// millions of calls.
func TestSQLiteSearchesByIndexes(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	for _, way := range ways {
		wantSearched(t, s, wanting(soughtColumns)+way.query(1))
	}
	for _, table := range [][2]string{{"call_name", "name, nth"}, {"call_caller", callerColumns}} {
		wantSearched(t, s, removing(table[0], table[1]))
	}
}

// wantSearched checks that a statement finds rows by indexes.
func wantSearched(t *testing.T, s *Store, statement string) {
	t.Helper()
	ticket, withdraw := offer(0, nil)
	defer withdraw()
	rows, err := s.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement, ticket)
	must(t, err)
	must(t, scanAll(rows, func(rows *sql.Rows) error {
		var id, parent, unused int
		var detail string
		err := rows.Scan(&id, &parent, &unused, &detail)
		if strings.HasPrefix(detail, "SCAN") && !strings.HasPrefix(detail, "SCAN given") && !strings.HasPrefix(detail, "SCAN (subquery") || strings.HasSuffix(detail, "(account=?)") {
			t.Errorf("%s: %s", statement, detail)
		}
		return err
	}))
}

// A statement that is kept may be run while its own rows are read, and more statements
// may be run than are kept.
func TestSQLiteKeepsStatements(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "calltally.db"))
	must(t, s.EnsureAccounts(t.Context(), []string{"a", "b", "c"}))
	must(t, s.Together(t.Context(), func(s *Store) (bool, error) {
		const query = "SELECT name FROM account WHERE id >= $1 ORDER BY id"
		names := func(from int, each func(name string)) {
			rows, err := s.read.QueryContext(t.Context(), query, from)
			must(t, err)
			must(t, scanAll(rows, func(rows *sql.Rows) error {
				var name string
				err := rows.Scan(&name)
				each(name)
				return err
			}))
		}
		for range 3 {
			var got []string
			names(1, func(name string) {
				got = append(got, name)
				names(2, func(inner string) { got = append(got, name+inner) })
			})
			if want := "a ab ac b bb bc c cb cc"; strings.Join(got, " ") != want {
				t.Errorf("read %v, want %s", got, want)
			}
		}
		if _, err := s.together.ExecContext(t.Context(), "INSERT INTO account (id, name) VALUES ($1, 'a')", 9); err == nil {
			t.Error("the name was taken twice")
		}
		for i := range 3 * mostPrepared {
			var n int
			must(t, s.read.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %d + $1", i), 1).Scan(&n))
			if n != i+1 {
				t.Errorf("%d + 1 is %d", i, n)
			}
		}
		return true, nil
	}))
}
