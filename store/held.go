package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"calltally/conversion"
)

// loadHeld reads what the ledger holds for a chunk of rows.
func loadHeld(ctx context.Context, q querier, account int64, query conversion.HeldQuery) (*conversion.Held, error) {
	held := conversion.NewHeld(ledger{ctx, q})
	note := func(rows *sql.Rows) error {
		c, err := scanConversion(rows)
		if err == nil {
			held.Put(c)
		}
		return err
	}
	columns := "c." + joinColumns("c", conversionColumns)
	keys := distinct(query.Keys, func(a, b conversion.Key) int { return bytes.Compare(a[:], b[:]) })
	err := lookup(ctx, q, "v", "SELECT "+columns+" FROM w CROSS JOIN conversion c WHERE c.key = w.v", len(keys),
		func(row int, into []any) []any { return append(into, keys[row][:]) }, note)
	if err != nil {
		return nil, fmt.Errorf("find conversions by key: %w", err)
	}
	references := slices.Compact(slices.Sorted(slices.Values(slices.Concat(query.References, query.Parents))))
	err = lookup(ctx, q, "v", "SELECT "+columns+" FROM w CROSS JOIN conversion c WHERE c.account = "+literal(account)+" AND c.reference_id = w.v AND c.reference_id <> ''", len(references),
		stringArgs(references), note)
	if err != nil {
		return nil, fmt.Errorf("find conversions by reference: %w", err)
	}
	fingerprints := distinct(query.Fingerprints, func(a, b conversion.Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	err = lookup(ctx, q, "v", "SELECT f.fingerprint, "+columns+" FROM w CROSS JOIN fingerprint f CROSS JOIN change h CROSS JOIN conversion c WHERE f.fingerprint = w.v AND h.id = f.change AND c.id = h.conversion", len(fingerprints),
		func(row int, into []any) []any { return append(into, fingerprints[row][:]) },
		func(rows *sql.Rows) error {
			var seen []byte
			c, err := scanConversion(rows, &seen)
			if err == nil {
				held.PutApplied(conversion.Fingerprint(seen), c)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("find applied rows: %w", err)
	}
	if err := loadCopies(ctx, q, held, query); err != nil {
		return nil, err
	}
	return held, loadParentCalls(ctx, q, held, query.Parents)
}

// ledger answers what is asked of few rows only.
type ledger struct {
	ctx context.Context
	q   querier
}

// recent is how many of a conversion's changes are looked back over.
const recent = 20

func (l ledger) Earlier(c *conversion.Conversion) ([]*conversion.Change, error) {
	return readChanges(l.ctx, l.q, c, "SELECT "+changeColumns+" FROM change WHERE conversion = $1 AND conversion <> id ORDER BY seq DESC LIMIT "+literal(recent))
}

func (l ledger) Newest(key conversion.Key, but int64) (*conversion.Conversion, error) {
	c, err := scanConversion(l.q.QueryRowContext(l.ctx, "SELECT "+conversionColumns+" FROM conversion WHERE key = $1 AND id <> $2 ORDER BY nth DESC LIMIT 1", key[:], but))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find conversion by key: %w", err)
	}
	return c, nil
}

// loadCopies adds what other uploads of the same bytes have applied. The first
// that changed the ledger for a line counts.
func loadCopies(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	if query.Upload == 0 {
		return nil
	}
	rows, err := q.QueryContext(ctx, "SELECT other.id FROM upload u JOIN upload other ON other.account = u.account AND other.digest = u.digest AND other.takes = u.takes WHERE u.id = $1 AND other.id <> u.id AND other.cursor_line > 0 ORDER BY other.id", query.Upload)
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	var copies []int64
	err = scanAll(rows, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		copies = append(copies, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	for _, id := range copies {
		err := readOutcomes(ctx, q, id, query.First, func(outcomes []conversion.Outcome) (bool, error) {
			for _, o := range outcomes {
				if o.Line < query.First || o.Line > query.Last || !o.Verdict.Applied() {
					continue
				}
				known, ok := held.Copies[o.Line]
				if !ok || known.Verdict == conversion.Unchanged && o.Verdict != conversion.Unchanged {
					held.Copies[o.Line] = conversion.AppliedLine{Upload: id, Outcome: o}
				}
			}
			return outcomes[len(outcomes)-1].Line < query.Last, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadParentCalls adds the calls of the conversions that rows are about.
func loadParentCalls(ctx context.Context, q querier, held *conversion.Held, parents []string) error {
	var ids []int64
	for _, parent := range parents {
		if c := held.Referenced(parent); c != nil && c.Call != 0 {
			ids = append(ids, c.Call)
		}
	}
	err := lookup(ctx, q, "v", "SELECT c."+joinColumns("c", callColumns)+" FROM w CROSS JOIN call c WHERE c.id = w.v", len(ids),
		func(row int, into []any) []any { return append(into, ids[row]) },
		func(rows *sql.Rows) error {
			call, err := scanCall(rows)
			if err == nil {
				held.Calls[call.ID] = &call
			}
			return err
		})
	if err != nil {
		return fmt.Errorf("find calls of conversions: %w", err)
	}
	return nil
}

func distinct[K comparable](values []K, compare func(a, b K) int) []K {
	sorted := slices.SortedFunc(slices.Values(values), compare)
	return slices.Compact(sorted)
}
