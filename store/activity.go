package store

import (
	"context"
	"database/sql"
	"fmt"

	"calltally/conversion"
)

// Activity tells, by account and source, what came after from and not after to.
// What was undone, replayed or only tried is none of it.
func (s *Store) Activity(ctx context.Context, from, to conversion.Millis) ([]conversion.Activity, error) {
	var all []conversion.Activity
	err := s.eachUpload(ctx, func(u *conversion.Upload) error {
		if n := len(all); n == 0 || all[n-1].Account != u.Account || all[n-1].Source != u.Source {
			all = append(all, conversion.Activity{Account: u.Account, Source: u.Source})
		}
		a := &all[len(all)-1]
		a.Files++
		if u.Refusal != nil {
			a.Refused++
		}
		a.Rows += u.Tally.Rows
		a.Tally.Sum(u.Tally)
		if u.Takes == conversion.TakesCalls {
			return nil
		}
		return readOutcomes(ctx, s.read, u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
			for i := range outcomes {
				needs, found := outcomes[i].NeedsCall()
				if needs {
					a.Sought++
				}
				if found {
					a.Matched++
				}
			}
			return true, nil
		})
	}, "received_ms > $1 AND received_ms <= $2 AND undoes = 0 AND replays = 0 AND dry_run = 0 ORDER BY account, source, id", int64(from), int64(to))
	return all, err
}

// Standstills tells, by account, what waits for its calls.
func (s *Store) Standstills(ctx context.Context) ([]conversion.Standstill, error) {
	return collect(ctx, s.read, "count waiting rows", scanStandstill, "SELECT account, SUM(waiting), MIN(received_ms) FROM upload WHERE waiting > 0 AND state = 'decided' AND dry_run = 0 GROUP BY account ORDER BY account")
}

// Held tells, by account, what waits for somebody's decision.
func (s *Store) Held(ctx context.Context) ([]conversion.Standstill, error) {
	return collect(ctx, s.read, "count held uploads", scanStandstill, "SELECT account, COUNT(*), MIN(received_ms) FROM upload WHERE hold_code <> '' GROUP BY account ORDER BY account")
}

func scanStandstill(rows *sql.Rows) (w conversion.Standstill, err error) {
	err = rows.Scan(&w.Account, &w.Count, &w.Oldest)
	return w, err
}

// PaidBetween tells, by account and currency, what payouts have changed by, after
// from and not after to.
func (s *Store) PaidBetween(ctx context.Context, from, to conversion.Millis) ([]conversion.Paid, error) {
	return collect(ctx, s.read, "sum up payouts", func(rows *sql.Rows) (p conversion.Paid, err error) {
		var currency conversion.Currency
		var paid, pending, withheld int64
		err = rows.Scan(&p.Account, &currency, &paid, &pending, &withheld)
		p.Paid, p.Pending = inCurrency(paid, currency), inCurrency(pending, currency)
		return p, err
	}, "SELECT a.name, c.payout_currency,"+payable+` FROM change h JOIN conversion c ON c.id = h.conversion JOIN account a ON a.id = c.account
		WHERE h.at_ms > $1 AND h.at_ms <= $2 AND c.payout_currency <> '' GROUP BY 1, 2 ORDER BY 1, 2`, int64(from), int64(to))
}

// Polls tells how each source was last looked at.
func (s *Store) Polls(ctx context.Context) ([]conversion.Poll, error) {
	return collect(ctx, s.read, "list polls", func(rows *sql.Rows) (p conversion.Poll, err error) {
		err = rows.Scan(&p.Source, &p.At, &p.Good, &p.Error)
		return p, err
	}, "SELECT source, at_ms, good_ms, error FROM poll ORDER BY source")
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, action string, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	var all []T
	err = scanAll(rows, func(rows *sql.Rows) error {
		one, err := scan(rows)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	return all, nil
}
