package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the embedded engine
)

//go:embed migrations/*.sql
var migrations embed.FS

// openSQLite opens the embedded engine on a file. Every pragma that durability
// rests on is read back.
func openSQLite(ctx context.Context, path string) (*Store, error) {
	write, err := sql.Open("sqlite", sqliteDSN(path, "_txlock=immediate"))
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	write.SetMaxOpenConns(1) // SQLite has one writer; waiting in line here is fair
	read, err := sql.Open("sqlite", sqliteDSN(path, "_pragma=query_only(1)"))
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	read.SetMaxOpenConns(4)
	s := &Store{path: path, write: write, readers: read, read: read}
	for _, step := range []func(context.Context) error{s.checkDurability, s.migrate} {
		if err := patiently(ctx, step); err != nil {
			s.Close()
			return nil, fmt.Errorf("open store %s: %w", path, err)
		}
	}
	return s, nil
}

// sqliteDSN names the pragmas of every connection. Pages of 16 KiB and a cache
// of 64 MiB make bulk work indifferent to the order rows come in.
func sqliteDSN(path, more string) string {
	options := []string{
		"_pragma=busy_timeout(60000)", "_pragma=page_size(16384)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=foreign_keys(1)", "_pragma=cache_size(-65536)", "_pragma=temp_store(MEMORY)", more,
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(options, "&")
}

// checkDurability reads back what a commit's promise rests on.
func (s *Store) checkDurability(ctx context.Context) error {
	var journal string
	var synchronous int
	if err := s.write.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	const full = 2
	if journal != "wal" || synchronous != full {
		return fmt.Errorf("%w: journal_mode is %s and synchronous %d, not wal and %d; put the file on a local disk", errNotDurable, journal, synchronous, full)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// patiently tries a step of opening a store again where another process may be
// making the same file and tables: SQLite doesn't wait for that by itself.
func patiently(ctx context.Context, step func(context.Context) error) error {
	const tries, pause = 40, 50 * time.Millisecond
	for try := 1; ; try++ {
		err := step(ctx)
		if err == nil || errors.Is(err, errNotDurable) || try == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// errNotDurable says that a commit's promise would not hold.
var errNotDurable = errors.New("commits would not be durable")

// inTx runs f in one write transaction.
func (s *Store) inTx(ctx context.Context, action string, f func(*sql.Tx) error) error {
	if s.together != nil {
		if err := f(s.together); err != nil {
			return fmt.Errorf("%s: %w", action, err)
		}
		return nil
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if err := f(tx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", action, err), ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: commit: %w", action, err)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// querier is what both a pool and a transaction can do.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// batch is how many rows one statement writes or looks up: more is no faster.
const batch = 100

// eachBatch prepares a statement for batches of rows of width parameters and
// calls run for each batch with its parameters.
func eachBatch(ctx context.Context, q querier, rows, width int, query func(values string) string, args func(row int, into []any) []any, run func(stmt *sql.Stmt, args []any) error) error {
	var full *sql.Stmt
	parameters := make([]any, 0, batch*width)
	for from := 0; from < rows; from += batch {
		n := min(batch, rows-from)
		parameters = parameters[:0]
		for i := from; i < from+n; i++ {
			parameters = args(i, parameters)
		}
		stmt := full
		if stmt == nil || n < batch {
			var err error
			if stmt, err = q.PrepareContext(ctx, query(valuesList(n, width))); err != nil {
				return err
			}
			defer stmt.Close()
			if n == batch {
				full = stmt
			}
		}
		if err := run(stmt, parameters); err != nil {
			return err
		}
	}
	return nil
}

// valuesList writes (?,?),(?,?) … for a batch. SQLite takes a numbered
// placeholder for a name and looks each one up among all the others, which for
// batches costs more than the work itself.
func valuesList(rows, width int) string {
	row := "(" + strings.Repeat("?,", width-1) + "?)"
	return strings.Repeat(row+",", rows-1) + row
}

// insert writes rows in batches. onConflict may be "".
func insert(ctx context.Context, q querier, table, columns, onConflict string, rows int, args func(row int, into []any) []any) error {
	width := strings.Count(columns, ",") + 1
	query := func(values string) string {
		return "INSERT INTO " + table + " (" + columns + ") VALUES " + values + " " + onConflict
	}
	err := eachBatch(ctx, q, rows, width, query, args, func(stmt *sql.Stmt, args []any) error {
		_, err := stmt.ExecContext(ctx, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}

// lookup reads what matches rows of wanted values, in batches, and calls scan
// for every row found. query is the text after WITH w (columns) AS (values).
func lookup(ctx context.Context, q querier, columns, query string, rows int, args func(row int, into []any) []any, scan func(*sql.Rows) error) error {
	width := strings.Count(columns, ",") + 1
	whole := func(values string) string { return "WITH w (" + columns + ") AS (VALUES " + values + ") " + query }
	return eachBatch(ctx, q, rows, width, whole, args, func(stmt *sql.Stmt, args []any) error {
		found, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		return scanAll(found, scan)
	})
}

func scanAll(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
