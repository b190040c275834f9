// Package store keeps uploads, calls, conversions and the ledger in SQL. Its
// statements use numbered placeholders, ON CONFLICT and RETURNING, which SQLite
// and PostgreSQL both read; what differs is in engine.go.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"calltally/conversion"
)

// Store is the database.
type Store struct {
	path     string
	write    *sql.DB
	readers  *sql.DB
	read     querier      // the readers, or that one transaction
	together *transaction // set if all belongs to one transaction

	mu       sync.Mutex
	accounts map[string]int64 // the configuration's id → ours
}

// Open opens the store that a setting names: a file.
func Open(ctx context.Context, setting string) (*Store, error) {
	if strings.Contains(setting, "://") {
		return nil, fmt.Errorf("store %s: only a file is supported; name one such as calltally.db", setting)
	}
	return openSQLite(ctx, setting)
}

// Close closes the store.
func (s *Store) Close() error { return errors.Join(s.readers.Close(), s.write.Close()) }

// Rehearse runs f on a store that does all it is asked to and then forgets it:
// one transaction that is rolled back. Nothing else can write meanwhile.
func (s *Store) Rehearse(ctx context.Context, f func(*Store) error) error {
	return s.Together(ctx, func(together *Store) (keep bool, err error) { return false, f(together) })
}

// Together runs f on a store that does all it is asked to in one transaction, and
// keeps it if f says so.
func (s *Store) Together(ctx context.Context, f func(*Store) (keep bool, err error)) error {
	if s.together != nil {
		_, err := f(s)
		return err
	}
	return s.transact(ctx, func(tx *transaction) (keep bool, err error) {
		return f(&Store{path: s.path, write: s.write, readers: s.readers, read: tx, together: tx})
	})
}

// String names the store for people.
func (s *Store) String() string { return s.path }

// Check reads the engine's version, as proof that it answers.
func (s *Store) Check(ctx context.Context) (string, error) {
	var version string
	if err := s.read.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return "", fmt.Errorf("read store: %w", err)
	}
	return "SQLite " + version, nil
}

// account returns our number for an account's id, made at first sight.
func (s *Store) account(ctx context.Context, q querier, name string) (int64, error) {
	s.mu.Lock()
	id, known := s.accounts[name]
	s.mu.Unlock()
	if known {
		return id, nil
	}
	err := q.QueryRowContext(ctx, "SELECT id FROM account WHERE name = $1", name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find account %s: %w", name, err)
	}
	s.remember(name, id)
	return id, nil
}

// EnsureAccounts makes numbers for accounts that have none yet, so that reading
// never has to write.
func (s *Store) EnsureAccounts(ctx context.Context, names []string) error {
	var missing []string
	for _, name := range names {
		id, err := s.account(ctx, s.read, name)
		if err != nil {
			return err
		}
		if id == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil // so that commands which only look never wait to write
	}
	return s.inTx(ctx, "register accounts", func(tx *transaction) error {
		for _, name := range missing {
			if _, err := tx.ExecContext(ctx, "INSERT INTO account (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) remember(name string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts == nil {
		s.accounts = map[string]int64{}
	}
	s.accounts[name] = id
}

// asJSON writes a value for a JSON column.
func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: %T does not marshal: %v", v, err)) // our own plain structs always do
	}
	return string(text)
}

// nullable is how an amount is stored: NULL if not given.
func nullable(a conversion.Amount) any {
	if !a.Given {
		return nil
	}
	return a.Minor
}

func amount(minor sql.NullInt64, currency string) conversion.Amount {
	if !minor.Valid {
		return conversion.Amount{}
	}
	return conversion.Cents(minor.Int64, conversion.Currency(currency))
}
