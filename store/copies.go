package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"calltally/conversion"
)

// loadCopies adds what other uploads of the same bytes have applied, and nobody
// has undone. The first that changed the ledger for a line counts.
func loadCopies(ctx context.Context, q querier, account int64, held *conversion.Held, query conversion.HeldQuery) error {
	if query.Upload == 0 {
		return nil
	}
	rows, err := q.QueryContext(ctx, `SELECT other.id FROM upload u
		JOIN upload other ON other.account = u.account AND other.digest = u.digest AND other.takes = u.takes
		WHERE u.id = $1 AND other.id <> u.id AND other.cursor_line > 0 AND other.undoes = 0 AND other.dry_run = 0 ORDER BY other.id`, query.Upload)
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	var copies []int64
	err = scanAll(rows, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		if query.Sees(id) && !slices.Contains(query.NoCopies, id) {
			copies = append(copies, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("find uploads of the same bytes: %w", err)
	}
	for _, id := range copies {
		said, err := appliedLines(ctx, q, account, id, query)
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

// appliedLines are what an upload applied of the lines that are asked for. That the
// ledger held what a row says counts as long as nothing is undone of what it held.
func appliedLines(ctx context.Context, q querier, account, upload int64, query conversion.HeldQuery) ([]conversion.Outcome, error) {
	var said []conversion.Outcome
	first := query.First // or the first line of an order that goes on there
	err := readOutcomes(ctx, q, upload, query.First, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			if o.Line >= query.First && o.Line <= query.Last && o.Verdict.Applied() {
				said = append(said, o)
				first = min(first, cmp.Or(o.PartOf, first))
			}
		}
		return outcomes[len(outcomes)-1].Line < query.Last, nil
	})
	if err != nil || len(said) == 0 {
		return said, err
	}
	undone, err := undoneOf(ctx, q, conversion.MakeID(upload, first), conversion.MakeID(upload, query.Last))
	if err != nil {
		return nil, err
	}
	gone, err := undoneSince(ctx, q, account, upload, said)
	return slices.DeleteFunc(said, func(o conversion.Outcome) bool {
		return undone[conversion.MakeID(upload, cmp.Or(o.PartOf, o.Line))] || o.Verdict == conversion.Unchanged && (gone.conversions[o.ConversionID] || o.ConversionID == 0 && gone.costs[o.CallID])
	}), err
}

// lost is of what, among what an upload found unchanged, something was undone that it
// had found.
type lost struct {
	conversions map[int64]bool
	costs       map[string]bool // of calls, by the provider's ids
}

// undoneSince tells what is lost of what an upload said.
func undoneSince(ctx context.Context, q querier, account, upload int64, said []conversion.Outcome) (lost, error) {
	l := lost{map[int64]bool{}, map[string]bool{}}
	var ids []int64
	var calls []string
	for _, o := range said {
		switch {
		case o.Verdict != conversion.Unchanged:
		case o.ConversionID != 0:
			ids = append(ids, o.ConversionID)
		case o.CallID != "":
			calls = append(calls, o.CallID)
		}
	}
	ids, calls = distinct(ids, cmp.Compare[int64]), distinct(calls, cmp.Compare[string])
	var doubtful []int64
	err := lookup(ctx, q, "v", `SELECT h.conversion FROM w CROSS JOIN change h WHERE h.conversion = w.v AND h.conversion <> h.id AND h.undoes <> 0`, len(ids), intArgs(ids), func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		doubtful = append(doubtful, id)
		return err
	})
	if err != nil {
		return l, fmt.Errorf("find undone changes: %w", err)
	}
	err = lookup(ctx, q, "v", "SELECT DISTINCT c.call_id FROM w CROSS JOIN call_name f CROSS JOIN call c CROSS JOIN call_cost u WHERE f.name = w.v AND f.nth = "+literal(account)+" AND c.id = f.call AND u.call = c.id AND u.undoes <> 0 AND u.undoes <= "+literal(conversion.MakeID(upload, conversion.MaxLine)), len(calls), func(row int, into []any) []any {
		name := nameOf(conversion.CallRecord, calls[row])
		return append(into, name[:])
	}, func(rows *sql.Rows) error {
		var call string
		err := rows.Scan(&call)
		l.costs[call] = true
		return err
	})
	if err != nil {
		return l, fmt.Errorf("find undone costs: %w", err)
	}
	ledgers, err := ledgersOf(ctx, q, distinct(doubtful, cmp.Compare[int64]))
	for id, ledger := range ledgers {
		undone := conversion.Undone(ledger)
		l.conversions[id] = slices.ContainsFunc(ledger, func(c *conversion.Change) bool {
			return undone[c.ID] && c.Undoes == 0 && conversion.UploadOf(c.ID) <= upload
		})
	}
	return l, err
}
