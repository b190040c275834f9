package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"

	"calltally/conversion"
)

const changeColumns = "id, conversion, seq, verdict, at_ms, effective, sale_before, sale_after, received_before, received_after, payout_before, payout_after, status_before, status_after, details, rule, undoes"

// changesOf reads changes with the currencies of their conversions, changesOfWanted
// those of wanted ones (see lookup).
var (
	changesOf       = changeAndCurrencies + " FROM change h JOIN conversion c ON c.id = h.conversion WHERE "
	changesOfWanted = changeAndCurrencies + " FROM w CROSS JOIN change h CROSS JOIN conversion c WHERE c.id = h.conversion AND "

	changeAndCurrencies = "SELECT h." + joinColumns("h", changeColumns) + ", c.sale_currency, c.received_currency, c.payout_currency"
)

func scanChange(row scanner, before ...any) (*conversion.Change, error) {
	var change conversion.Change
	var verdict, details string
	var money [6]sql.NullInt64
	var currency [3]string
	err := row.Scan(append(before, &change.ID, &change.Conversion, &change.Seq, &verdict, &change.At, &change.Effective,
		&money[0], &money[1], &money[2], &money[3], &money[4], &money[5], &change.Before.Status, &change.After.Status, &details, &change.Rule, &change.Undoes,
		&currency[0], &currency[1], &currency[2])...)
	if err != nil {
		return nil, err
	}
	for _, v := range conversion.Verdicts {
		if v.String() == verdict {
			change.Verdict = v
		}
	}
	for i, standing := range []*conversion.Standing{&change.Before, &change.After} {
		standing.Sale, standing.Received, standing.Payout = amount(money[i], currency[0]), amount(money[2+i], currency[1]), amount(money[4+i], currency[2])
	}
	if details != "" {
		err = json.Unmarshal([]byte(details), &change.Details)
	}
	return &change, err
}

// Changes returns a conversion's ledger entries, oldest first.
func (s *Store) Changes(ctx context.Context, c *conversion.Conversion) ([]*conversion.Change, error) {
	return allChanges(ctx, s.read, c.ID)
}

// allChanges reads a conversion's changes, oldest first.
func allChanges(ctx context.Context, q querier, id int64) ([]*conversion.Change, error) {
	ledgers, err := ledgersOf(ctx, q, []int64{id})
	return ledgers[id], err
}

// ledgersOf reads all changes of some conversions, oldest first.
func ledgersOf(ctx context.Context, q querier, ids []int64) (map[int64][]*conversion.Change, error) {
	ledgers := make(map[int64][]*conversion.Change, len(ids))
	add := func(rows *sql.Rows) error {
		change, err := scanChange(rows)
		if err == nil {
			ledgers[change.Conversion] = append(ledgers[change.Conversion], change)
		}
		return err
	}
	for _, which := range []string{"h.id = w.v", "h.conversion = w.v AND h.conversion <> h.id ORDER BY h.seq"} {
		if err := lookup(ctx, q, "v", changesOfWanted+which, len(ids), intArgs(ids), add); err != nil {
			return nil, fmt.Errorf("read changes: %w", err)
		}
	}
	return ledgers, nil
}

// ChangesBy returns, by line, what an upload's lines from first to last did to
// conversions, and which of that was taken back. A change that made a conversion lists
// all the details that it was made with.
func (s *Store) ChangesBy(ctx context.Context, upload int64, first, last int) (changes map[int]*conversion.Change, undone map[int64]bool, err error) {
	from, to := conversion.MakeID(upload, first), conversion.MakeID(upload, last)
	all, err := readChanges(ctx, s.read, changesOf+"h.id BETWEEN $1 AND $2", from, to)
	if err != nil {
		return nil, nil, err
	}
	changes = map[int]*conversion.Change{}
	for _, change := range all {
		changes[conversion.LineOf(change.ID)] = change
	}
	if err := s.addFirstDetails(ctx, changes, from, to); err != nil {
		return nil, nil, err
	}
	undone, err = undoneOf(ctx, s.read, from, to)
	return changes, undone, err
}

// addFirstDetails adds the details that conversions between two ids were made with.
func (s *Store) addFirstDetails(ctx context.Context, changes map[int]*conversion.Change, from, to int64) error {
	rows, err := s.read.QueryContext(ctx, "SELECT "+conversionColumns+" FROM conversion WHERE id BETWEEN $1 AND $2", from, to)
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	var made []*conversion.Conversion
	var changed []int64
	err = scanAll(rows, func(rows *sql.Rows) error {
		c, err := scanConversion(rows)
		if made = append(made, c); err == nil && c.Changes > 1 {
			changed = append(changed, c.ID)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read conversions: %w", err)
	}
	ledgers, err := ledgersOf(ctx, s.read, changed)
	for _, c := range made {
		first := c.Details
		if ledger := ledgers[c.ID]; len(ledger) > 0 {
			first = c.Made("", ledger, func(change *conversion.Change) bool { return change.Seq == 0 }).Details
		}
		changes[conversion.LineOf(c.ID)].Details = first.Since(conversion.Details{})
	}
	return err
}

// undoneOf tells which of the changes between two ids, and of what was said there of
// calls' costs, were taken back.
func undoneOf(ctx context.Context, q querier, from, to int64) (map[int64]bool, error) {
	undone, err := undoneCosts(ctx, q, from, to)
	if err != nil {
		return nil, err
	}
	doubtful, err := readChanges(ctx, q, changesOf+"h.id BETWEEN $1 AND $2 AND EXISTS (SELECT 1 FROM change u WHERE u.undoes = h.id AND u.undoes <> 0)", from, to)
	if err != nil || len(doubtful) == 0 {
		return undone, err
	}
	var ids []int64
	for _, change := range doubtful {
		ids = append(ids, change.Conversion)
	}
	gone, err := undoneAmong(ctx, q, ids)
	for _, change := range doubtful {
		if gone[change.ID] {
			undone[change.ID] = true
		}
	}
	return undone, err
}

// undoneAmong tells which changes of some conversions were taken back.
func undoneAmong(ctx context.Context, q querier, conversions []int64) (map[int64]bool, error) {
	ledgers, err := ledgersOf(ctx, q, distinct(conversions, cmp.Compare[int64]))
	undone := map[int64]bool{}
	for _, ledger := range ledgers {
		maps.Copy(undone, conversion.Undone(ledger))
	}
	return undone, err
}

// undoneCosts tells what of what was said of calls' costs between two ids was taken
// back.
func undoneCosts(ctx context.Context, q querier, from, to int64) (map[int64]bool, error) {
	undone := map[int64]bool{}
	costs, err := q.QueryContext(ctx, `SELECT u.undoes FROM call_cost u WHERE u.undoes BETWEEN $1 AND $2 AND u.undoes <> 0
		AND NOT EXISTS (SELECT 1 FROM call_cost r WHERE r.undoes = u.id AND r.undoes <> 0)`, from, to)
	if err != nil {
		return nil, fmt.Errorf("read costs of calls: %w", err)
	}
	return undone, scanAll(costs, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		undone[id] = true
		return err
	})
}

// readChanges reads the changes that a query finds.
func readChanges(ctx context.Context, q querier, query string, args ...any) ([]*conversion.Change, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	var changes []*conversion.Change
	err = scanAll(rows, func(rows *sql.Rows) error {
		change, err := scanChange(rows)
		changes = append(changes, change)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	return changes, nil
}

// NewerChanged lists the uploads that came later than one and had changed, before it did, what it
// has changed.
func (s *Store) NewerChanged(ctx context.Context, upload int64) ([]conversion.Newer, error) {
	return collect(ctx, s.read, "list newer changes", func(rows *sql.Rows) (n conversion.Newer, err error) {
		err = rows.Scan(&n.Upload, &n.Name, &n.Conversions)
		return n, err
	}, `SELECT newer.id, newer.name, COUNT(DISTINCT c.conversion) FROM change c
		JOIN upload older ON older.id = $1
		LEFT JOIN change before ON before.conversion = c.conversion AND before.seq = c.seq - 1 AND before.conversion <> before.id
		JOIN upload newer ON newer.id = COALESCE(before.id, c.conversion) / $4
		WHERE c.id BETWEEN $2 AND $3 AND c.verdict = 'updated' AND newer.id <> older.id AND newer.received_ms > older.received_ms
		GROUP BY newer.id ORDER BY newer.id`, upload, conversion.MakeID(upload, 0), conversion.MakeID(upload, conversion.MaxLine), conversion.MakeID(1, 0))
}
