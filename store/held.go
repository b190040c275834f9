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
	var ids []int64
	references := slices.Clone(query.References)
	for _, name := range query.Names {
		if name.ID != 0 {
			ids = append(ids, name.ID)
		}
		if name.Reference != "" {
			references = append(references, name.Reference)
		}
	}
	ids = distinct(ids, cmp.Compare[int64])
	references = distinct(references, cmp.Compare[string])
	calls := distinct(query.Calls, cmp.Compare[int64])
	for _, by := range []struct {
		what, where string
		rows        int
		args        func(row int, into []any) []any
	}{
		{"key", "c.key = w.v", len(keys), func(row int, into []any) []any { return append(into, keys[row][:]) }},
		{"id", "c.id = w.v AND c.account = " + literal(account), len(ids), intArgs(ids)},
		{"reference", "c.account = " + literal(account) + " AND c.reference_id = w.v AND c.reference_id <> ''", len(references), stringArgs(references)},
		{"call", "c.call = w.v AND c.call <> 0", len(calls), intArgs(calls)},
	} {
		err := lookup(ctx, q, "v", "SELECT "+columns+" FROM w CROSS JOIN conversion c WHERE "+by.where, by.rows, by.args, note)
		if err != nil {
			return nil, fmt.Errorf("find conversions by %s: %w", by.what, err)
		}
	}
	for _, load := range []func(context.Context, querier, *conversion.Held, conversion.HeldQuery) error{loadApplied, loadCopies, loadDone, loadCalls} {
		if err := load(ctx, q, held, query); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// loadApplied adds the rows that earlier files had and that were applied then.
func loadApplied(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	fingerprints := distinct(query.Fingerprints, func(a, b conversion.Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	type applied struct {
		row        conversion.Fingerprint
		change     int64
		conversion *conversion.Conversion
	}
	var doubtful []applied // something of their kind was undone
	err := lookup(ctx, q, "v", "SELECT f.fingerprint, f.change, EXISTS (SELECT 1 FROM change u WHERE u.undoes = f.change AND u.undoes <> 0), c."+joinColumns("c", conversionColumns)+
		" FROM w CROSS JOIN fingerprint f CROSS JOIN change h CROSS JOIN conversion c WHERE f.fingerprint = w.v AND h.id = f.change AND c.id = h.conversion", len(fingerprints),
		func(row int, into []any) []any { return append(into, fingerprints[row][:]) },
		func(rows *sql.Rows) error {
			var seen []byte
			var change int64
			var undone bool
			c, err := scanConversion(rows, &seen, &change, &undone)
			switch {
			case err != nil:
			case undone:
				doubtful = append(doubtful, applied{conversion.Fingerprint(seen), change, c})
			default:
				held.PutApplied(conversion.Fingerprint(seen), c)
			}
			return err
		})
	for _, a := range doubtful {
		undone, failed := isUndone(ctx, q, a.conversion.ID, a.change)
		err = errors.Join(err, failed)
		if !undone {
			held.PutApplied(a.row, a.conversion)
		}
	}
	if err != nil {
		return fmt.Errorf("find applied rows: %w", err)
	}
	return nil
}

// isUndone reports whether a change of a conversion was taken back.
func isUndone(ctx context.Context, q querier, id, change int64) (bool, error) {
	ledger, err := allChanges(ctx, q, id)
	return conversion.Undone(ledger)[change], err
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
	for _, change := range done {
		held.Done[conversion.LineOf(change.ID)] = change
		if held.Ledgers[change.Conversion] != nil {
			continue
		}
		if held.Ledgers[change.Conversion], err = allChanges(ctx, q, change.Conversion); err != nil {
			return err
		}
		c, err := scanConversion(q.QueryRowContext(ctx, "SELECT "+conversionColumns+" FROM conversion WHERE id = $1", change.Conversion))
		if err != nil {
			return fmt.Errorf("read conversion %d: %w", change.Conversion, err)
		}
		held.Put(c)
	}
	rows, err := q.QueryContext(ctx, "SELECT "+costColumns+" FROM call_cost WHERE id BETWEEN $1 AND $2", first, last)
	if err != nil {
		return fmt.Errorf("read costs of calls: %w", err)
	}
	return scanAll(rows, func(rows *sql.Rows) error {
		var cost conversion.CallCost
		var before, after sql.NullInt64
		var was, is string
		err := rows.Scan(&cost.ID, &cost.Call, &before, &was, &after, &is, &cost.Undoes)
		cost.Before, cost.After = amount(before, was), amount(after, is)
		held.Costs[conversion.LineOf(cost.ID)] = cost
		return err
	})
}

// ledger answers what is asked of few rows only.
type ledger struct {
	ctx context.Context
	q   querier
}

// recent is how many of a conversion's changes are looked back over.
const recent = 20

func (l ledger) Earlier(c *conversion.Conversion) ([]*conversion.Change, error) {
	return readChanges(l.ctx, l.q, changesOf+"h.conversion = $1 AND h.conversion <> h.id ORDER BY h.seq DESC LIMIT "+literal(recent), c.ID)
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

// loadCopies adds what other uploads of the same bytes have applied, and nobody
// has undone. The first that changed the ledger for a line counts.
func loadCopies(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	if query.Upload == 0 {
		return nil
	}
	undone := func(table string) string {
		return "EXISTS (SELECT 1 FROM " + table + " t WHERE t.undoes <> 0 AND t.undoes BETWEEN other.id * $2 AND other.id * $2 + $3)"
	}
	rows, err := q.QueryContext(ctx, "SELECT other.id, "+undone("change")+" OR "+undone("call_cost")+` FROM upload u
		JOIN upload other ON other.account = u.account AND other.digest = u.digest AND other.takes = u.takes
		WHERE u.id = $1 AND other.id <> u.id AND other.cursor_line > 0 AND other.undoes = 0 AND other.dry_run = 0 ORDER BY other.id`,
		query.Upload, conversion.MakeID(1, 0), conversion.MaxLine)
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	var copies []int64
	anyUndone := false
	err = scanAll(rows, func(rows *sql.Rows) error {
		var id int64
		var undone bool
		err := rows.Scan(&id, &undone)
		copies, anyUndone = append(copies, id), anyUndone || undone
		return err
	})
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	for _, id := range copies {
		said, err := appliedLines(ctx, q, id, query, anyUndone)
		if err != nil {
			return err
		}
		for _, o := range said {
			known, ok := held.Copies[o.Line]
			if !ok || known.Verdict == conversion.Unchanged && o.Verdict != conversion.Unchanged {
				held.Copies[o.Line] = conversion.AppliedLine{Upload: id, Outcome: o}
			}
		}
	}
	return nil
}

// appliedLines are what an upload applied of the lines that are asked for. Once
// something of a file was undone, that the ledger held a row already says nothing
// any more.
func appliedLines(ctx context.Context, q querier, upload int64, query conversion.HeldQuery, anyUndone bool) ([]conversion.Outcome, error) {
	var said []conversion.Outcome
	first := query.First // or the first line of an order that goes on there
	err := readOutcomes(ctx, q, upload, query.First, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			if o.Line >= query.First && o.Line <= query.Last && o.Verdict.Applied() && (!anyUndone || o.Verdict != conversion.Unchanged) {
				said = append(said, o)
				first = min(first, cmp.Or(o.PartOf, first))
			}
		}
		return outcomes[len(outcomes)-1].Line < query.Last, nil
	})
	if err != nil || !anyUndone {
		return said, err
	}
	undone, err := undoneOf(ctx, q, conversion.MakeID(upload, first), conversion.MakeID(upload, query.Last))
	return slices.DeleteFunc(said, func(o conversion.Outcome) bool { return undone[conversion.MakeID(upload, cmp.Or(o.PartOf, o.Line))] }), err
}

// loadCalls adds the calls of the conversions that rows name, and those whose cost
// rows tell, as they are now.
func loadCalls(ctx context.Context, q querier, held *conversion.Held, query conversion.HeldQuery) error {
	ids := slices.Clone(query.Costs)
	for _, cost := range held.Costs {
		ids = append(ids, cost.Call)
	}
	for c := range held.Found() {
		if c.Call != 0 && len(query.Names) > 0 {
			ids = append(ids, c.Call)
		}
	}
	ids = distinct(ids, cmp.Compare[int64])
	err := lookup(ctx, q, "v", "SELECT c."+joinColumns("c", callColumns)+" FROM w CROSS JOIN call c WHERE c.id = w.v", len(ids), intArgs(ids),
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

func intArgs(values []int64) func(row int, into []any) []any {
	return func(row int, into []any) []any { return append(into, values[row]) }
}

func distinct[K comparable](values []K, compare func(a, b K) int) []K {
	sorted := slices.SortedFunc(slices.Values(values), compare)
	return slices.Compact(sorted)
}
