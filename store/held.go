package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"calltally/conversion"
)

// loadHeld reads what the ledger holds for a chunk of rows.
func loadHeld(ctx context.Context, tx *transaction, account int64, query conversion.HeldQuery) (*conversion.Held, error) {
	held := conversion.NewHeld(ledger{ctx, tx}, len(query.Keys))
	if err := tx.putFound(ctx, held, account, &query); err != nil {
		return nil, err
	}
	for _, load := range []func(context.Context, querier, *conversion.Held, conversion.HeldQuery) error{
		loadSuccessors, loadApplied, rewind,
		func(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
			return loadCopies(ctx, q, account, held, query)
		},
		loadDone, loadCalls,
	} {
		if err := load(ctx, tx, held, query); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// putConversions adds the conversions c that some wanted values w lead to.
func putConversions(ctx context.Context, q querier, held *conversion.Held, columns, from string, rows int, args func(row int, into []any) []any) error {
	return lookup(ctx, q, columns, "SELECT c."+joinColumns("c", conversionColumns)+" FROM w CROSS JOIN "+from, rows, args, func(rows *sql.Rows) error {
		c, err := scanConversion(rows)
		if err == nil {
			held.Put(c)
		}
		return err
	})
}

// loadSuccessors adds what replays have made in place of conversions that rows name by
// their ids.
func loadSuccessors(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	for _, name := range query.Names {
		c := held.Conversion(name.ID)
		if c == nil || c.Status != conversion.StatusUndone || held.Successors[c.ID] != 0 {
			continue
		}
		next, err := successor(ctx, q, c)
		if err != nil {
			return err
		}
		if next != nil {
			held.Successors[c.ID] = next.ID
			held.Put(next)
		}
	}
	return nil
}

// successor is the conversion that replays have made in place of one that is undone,
// of the same line of the same file; nil if none has.
func successor(ctx context.Context, q querier, of *conversion.Conversion) (*conversion.Conversion, error) {
	line := conversion.LineOf(of.ID)
	for of.Status == conversion.StatusUndone {
		next, err := scanConversion(q.QueryRowContext(ctx, `SELECT c.`+joinColumns("c", conversionColumns)+` FROM upload r CROSS JOIN conversion c
			WHERE r.undoes + r.replays = $1 AND r.undoes + r.replays > 0 AND r.replays > 0 AND c.id = r.id * $2 + $3 ORDER BY r.id DESC LIMIT 1`,
			conversion.UploadOf(of.ID), conversion.MakeID(1, 0), line))
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("find what a replay has made of conversion %d: %w", of.ID, err)
		}
		of = next
	}
	return of, nil
}

// appliedRow is a row that was applied, by a change of a conversion.
type appliedRow struct {
	row        conversion.Fingerprint
	change     int64
	conversion *conversion.Conversion
}

// loadApplied adds the rows that earlier files had and that were applied then.
func loadApplied(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	fingerprints := distinct(query.Fingerprints, func(a, b conversion.Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	var doubtful []appliedRow
	err := lookup(ctx, q, "v", "SELECT f.fingerprint, f.change, EXISTS (SELECT 1 FROM change u WHERE u.undoes = f.change AND u.undoes <> 0), c."+joinColumns("c", conversionColumns)+
		" FROM w CROSS JOIN fingerprint f CROSS JOIN change h CROSS JOIN conversion c WHERE f.fingerprint = w.v AND h.id = f.change AND c.id = h.conversion", len(fingerprints),
		func(row int, into []any) []any { return append(into, fingerprints[row][:]) },
		func(rows *sql.Rows) error {
			var seen []byte
			var change int64
			var undone bool
			c, err := scanConversion(rows, &seen, &change, &undone)
			switch {
			case err != nil || !query.Sees(conversion.UploadOf(change)):
			case undone:
				doubtful = append(doubtful, appliedRow{conversion.Fingerprint(seen), change, c})
			default:
				held.PutApplied(conversion.Fingerprint(seen), c)
			}
			return err
		})
	if err == nil {
		err = putStanding(ctx, q, held, doubtful)
	}
	if err != nil {
		return fmt.Errorf("find applied rows: %w", err)
	}
	return nil
}

// putStanding adds those rows, among some of which something was undone, whose
// application still stands.
func putStanding(ctx context.Context, q querier, held *conversion.Held, doubtful []appliedRow) error {
	var ids []int64
	for _, a := range doubtful {
		ids = append(ids, a.conversion.ID)
	}
	undone, err := undoneAmong(ctx, q, ids)
	for _, a := range doubtful {
		if undone[a.change] {
			held.PutTakenBack(a.row, a.change)
		} else {
			held.PutApplied(a.row, a.conversion)
		}
	}
	return err
}

// loadDone adds what the upload to undo did by the lines that are asked for, with
// all changes of the conversions concerned.
func loadDone(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	if query.Undoes == 0 {
		return nil
	}
	first, last := conversion.MakeID(query.Undoes, query.First), conversion.MakeID(query.Undoes, query.Last)
	done, err := readChanges(ctx, q, changesOf+"h.id BETWEEN $1 AND $2 ORDER BY h.id", first, last)
	if err != nil {
		return err
	}
	var ids []int64
	for _, change := range done {
		held.Done[conversion.LineOf(change.ID)] = change
		ids = append(ids, change.Conversion)
	}
	ids = distinct(ids, cmp.Compare[int64])
	if held.Ledgers, err = ledgersOf(ctx, q, ids); err != nil {
		return err
	}
	if err := putConversions(ctx, q, held, "v", "conversion c WHERE c.id = w.v", len(ids), intArgs(ids)); err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	undone, err := undoneCosts(ctx, q, first, last)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, "SELECT "+costColumns+" FROM call_cost WHERE id BETWEEN $1 AND $2", first, last)
	if err != nil {
		return fmt.Errorf("read costs of calls: %w", err)
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		cost, err := scanCost(rows)
		if !undone[cost.ID] {
			held.Costs[conversion.LineOf(cost.ID)] = cost
		}
		return err
	})
	if err != nil {
		return err
	}
	return loadCostsSaid(ctx, q, held)
}

// loadCostsSaid adds all that was said of the costs of calls, and stands.
func loadCostsSaid(ctx context.Context, q querier, held *conversion.Held) error {
	var calls []int64
	for _, cost := range held.Costs {
		calls = append(calls, cost.Call)
	}
	calls = distinct(calls, cmp.Compare[int64])
	return lookup(ctx, q, "v", `SELECT k.call, k.id FROM w CROSS JOIN call_cost k WHERE k.call = w.v AND k.undoes = 0
		AND NOT EXISTS (SELECT 1 FROM call_cost u WHERE u.undoes = k.id AND u.undoes <> 0 AND NOT EXISTS (SELECT 1 FROM call_cost r WHERE r.undoes = u.id AND r.undoes <> 0)) ORDER BY k.id`,
		len(calls), intArgs(calls), func(rows *sql.Rows) error {
			var call, id int64
			err := rows.Scan(&call, &id)
			held.CostsSaid[call] = append(held.CostsSaid[call], id)
			return err
		})
}

// ledger answers what is asked of few rows only.
type ledger struct {
	ctx context.Context
	q   *transaction
}

// recent is how many of a conversion's changes are looked back over.
const recent = 20

func (l ledger) Earlier(c *conversion.Conversion) ([]*conversion.Change, error) {
	return readChanges(l.ctx, l.q, changesOf+"h.conversion = $1 AND h.conversion <> h.id ORDER BY h.seq DESC LIMIT "+literal(recent), c.ID)
}

// All returns all changes of a conversion, oldest first.
func (l ledger) All(id int64) ([]*conversion.Change, error) { return allChanges(l.ctx, l.q, id) }

// AppliedAgain follows what was applied again, and maybe undone and applied once more.
func (l ledger) AppliedAgain(change int64) (*conversion.Change, error) {
	for {
		next, err := readChanges(l.ctx, l.q, changesOf+"h.id = (SELECT r.by_change FROM reapplied r WHERE r.change = $1)", change)
		if err != nil || len(next) == 0 {
			return nil, err
		}
		all, err := allChanges(l.ctx, l.q, next[0].Conversion)
		if err != nil {
			return nil, err
		}
		if change = next[0].ID; !conversion.Undone(all)[change] {
			return next[0], nil
		}
	}
}

func (l ledger) Newest(key conversion.Key, but int64) (*conversion.Conversion, error) {
	if err := l.q.flush(l.ctx); err != nil {
		return nil, err
	}
	c, err := scanConversion(l.q.QueryRowContext(l.ctx, "SELECT c."+joinColumns("c", conversionColumns)+
		" FROM conversion_key f JOIN conversion c ON c.id = f.conversion WHERE f.call = $1 AND f.key = $2 AND f.conversion <> $3 ORDER BY f.nth DESC LIMIT 1", key.Call, key.Rest[:], but))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find conversion by key: %w", err)
	}
	return c, nil
}

// rewind has the conversions be as the query wants them.
func rewind(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) (err error) {
	if query.AsOf == 0 {
		return nil
	}
	var ids []int64
	for c := range held.Found() {
		ids = append(ids, c.ID)
	}
	if held.Ledgers, err = ledgersOf(ctx, q, ids); err == nil {
		held.Rewind(query)
	}
	return err
}

// loadCalls adds the calls of the conversions that rows name, and those whose cost
// rows tell, as they are now.
func loadCalls(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	ids := slices.Clone(query.Costs)
	for _, cost := range held.Costs {
		ids = append(ids, cost.Call)
	}
	for c := range held.Found() {
		if c.Call != 0 && query.TheirCalls {
			ids = append(ids, c.Call)
		}
	}
	ids = distinct(ids, cmp.Compare[int64])
	before, err := costsBefore(ctx, q, query, ids)
	if err != nil {
		return err
	}
	read := newCallScan()
	err = lookup(ctx, q, "v", "SELECT c."+joinColumns("c", callColumns)+" FROM w CROSS JOIN call c WHERE c.id = w.v", len(ids), intArgs(ids),
		func(rows *sql.Rows) error {
			call, err := read.scan(rows)
			if cost, later := before[call.ID]; later {
				call.Cost = cost
			}
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

// costsBefore are what those of some calls cost before that have cost something else
// since the moment that a query wants to see.
func costsBefore(ctx context.Context, q querier, query conversion.HeldQuery, calls []int64) (map[int64]conversion.Amount, error) {
	before := map[int64]conversion.Amount{}
	if query.AsOf == 0 {
		return before, nil
	}
	err := lookup(ctx, q, "v", "SELECT k."+joinColumns("k", costColumns)+" FROM w CROSS JOIN call_cost k WHERE k.call = w.v AND k.id >= "+literal(conversion.MakeID(query.AsOf, 0))+" ORDER BY k.id", len(calls), intArgs(calls), func(rows *sql.Rows) error {
		cost, err := scanCost(rows)
		switch _, known := before[cost.Call]; {
		case conversion.UploadOf(cost.ID) == query.By:
			before[cost.Call] = cost.After
		case !known:
			before[cost.Call] = cost.Before
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find what calls cost: %w", err)
	}
	return before, nil
}

func intArgs(values []int64) func(row int, into []any) []any {
	return func(row int, into []any) []any { return append(into, values[row]) }
}

func distinct[K comparable](values []K, compare func(a, b K) int) []K {
	sorted := slices.SortedFunc(slices.Values(values), compare)
	return slices.Compact(sorted)
}
