package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// openSQLite opens the embedded engine on a file. Every pragma that durability
// rests on is read back.
func openSQLite(ctx context.Context, path string) (*Store, error) {
	if err := makeFile(path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, orTrouble(err, path, elsewhereStore))
	}
	writing, err := newConnector(sqliteDSN(path, writerCache, "_txlock=immediate"), "")
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	reading, err := newConnector(sqliteDSN(path, readerCache), "PRAGMA query_only = 1")
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	write, read := sql.OpenDB(writing), sql.OpenDB(reading)
	write.SetMaxOpenConns(1) // SQLite has one writer; waiting in line here is fair
	read.SetMaxOpenConns(4)
	s := &Store{path: path, write: write, readers: read, read: read}
	for _, step := range []func(context.Context) error{s.checkDurability, s.migrate} {
		err := patiently(ctx, func(ctx context.Context) error { return orTrouble(orDamaged(step(ctx)), path, elsewhereStore) })
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("open store %s: %w", path, err)
		}
	}
	return s, nil
}

// What a connection may keep of the file in memory, in KiB. Rows are decided no faster
// with more, because what is written is sorted; a large call log is imported slower.
const writerCache, readerCache = 24 << 10, 4 << 10

// pageSize is that of a new file, in bytes: larger ones make the import of a large call
// log take more memory.
const pageSize = 8 << 10

// patience is how long whoever writes waits for another process that does.
const patience = time.Minute

// sqliteDSN names the pragmas of every connection. The cache, in KiB, makes bulk work
// indifferent to the order rows come in; the engine gives what all connections may have to
// those that need it. The journal's mode is set after the others: once it is, a file has
// its page size.
func sqliteDSN(path string, cache int, more ...string) string {
	options := []string{
		"_pragma=busy_timeout(" + strconv.FormatInt(patience.Milliseconds(), 10) + ")", "_pragma=page_size(" + strconv.Itoa(pageSize) + ")", "_journal_mode=WAL", "_pragma=synchronous(FULL)",
		"_pragma=foreign_keys(1)", "_pragma=temp_store(MEMORY)", "_pragma=cache_size(-" + strconv.Itoa(cache) + ")",
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(append(options, more...), "&")
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
		if trouble := (*Trouble)(nil); err == nil || errors.Is(err, errNotDurable) || errors.As(err, &trouble) || try == tries || ctx.Err() != nil {
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
func (s *Store) inTx(ctx context.Context, action string, f func(*transaction) error) (err error) {
	if s.together != nil {
		err = f(s.together)
		s.together.failed = cmp.Or(s.together.failed, err)
	} else {
		err = s.transact(ctx, func(tx *transaction) (keep bool, err error) { return true, f(tx) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

// transact runs f in a write transaction of its own, and keeps what it did if it says
// so.
func (s *Store) transact(ctx context.Context, f func(*transaction) (keep bool, err error)) error {
	begun, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", orOccupied(err))
	}
	defer func() {
		if p := recover(); p != nil { // whoever is to blame for it, what was begun must end
			_ = begun.Rollback()
			panic(p)
		}
	}()
	tx := &transaction{Tx: begun}
	keep, err := f(tx)
	if err == nil && keep {
		err = cmp.Or(tx.failed, tx.flushAll(ctx))
	}
	if err != nil || !keep {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
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
}

// insert writes rows. onConflict may be "". A row that can't be written leaves those
// before it (OR FAIL): whoever begins a transaction takes it back then, and the engine
// need not copy each page so that it could.
func insert(ctx context.Context, q querier, table, columns, onConflict string, rows int, args func(row int, into []any) []any) error {
	if rows == 0 {
		return nil
	}
	ticket, withdraw := offer(rows, args)
	defer withdraw()
	width := strings.Count(columns, ",") + 1
	_, err := q.ExecContext(ctx, "INSERT OR FAIL INTO "+table+" ("+columns+") SELECT "+givenColumns(width)+" FROM given($1) WHERE true "+onConflict, ticket)
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}

// remove removes the rows of a table that have some values in columns that make a key.
func remove(ctx context.Context, q querier, table, columns string, rows int, args func(row int, into []any) []any) error {
	if rows == 0 {
		return nil
	}
	ticket, withdraw := offer(rows, args)
	defer withdraw()
	if _, err := q.ExecContext(ctx, removing(table, columns), ticket); err != nil {
		return fmt.Errorf("remove from %s: %w", table, err)
	}
	return nil
}

func removing(table, columns string) string {
	return "DELETE FROM " + table + " WHERE (" + columns + ") IN (SELECT " + givenColumns(strings.Count(columns, ",")+1) + " FROM given($1))"
}

// lookup reads what matches rows of wanted values, and calls scan for every row
// found. query is the text after WITH w (columns) AS (wanted values).
func lookup(ctx context.Context, q querier, columns, query string, rows int, args func(row int, into []any) []any, scan func(*sql.Rows) error) error {
	if rows == 0 {
		return nil
	}
	ticket, withdraw := offer(rows, args)
	defer withdraw()
	found, err := q.QueryContext(ctx, wanting(columns)+query, ticket)
	if err != nil {
		return err
	}
	return scanAll(found, scan)
}

// wanting begins a query for wanted values that are given.
func wanting(columns string) string {
	return "WITH w (" + columns + ") AS (SELECT " + givenColumns(strings.Count(columns, ",")+1) + " FROM given($1)) "
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
