package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calltally/conversion"
)

// Settle decides a chunk of rows and saves what it came to, in one transaction:
// it reads what the ledger holds, hands it to decide, and writes the settlement;
// a nil one changes nothing. Nothing else can write in between.
func (s *Store) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	return s.inTx(ctx, "settle rows", func(tx *transaction) error {
		account, err := s.account(ctx, tx, query.Account)
		if err != nil {
			return err
		}
		held, err := loadHeld(ctx, tx, account, query)
		if err != nil {
			return err
		}
		settled, err := decide(held)
		if err != nil || settled == nil {
			return err
		}
		return saveSettlement(ctx, tx, account, settled)
	})
}

const standingColumns = "sale, sale_currency, received, received_currency, payout, payout_currency, status"

const conversionColumns = "id, key_call, key, keyed_by, nth, changes, call, occurred_ms, " + standingColumns + ", details"

func scanConversion(row scanner, before ...any) (*conversion.Conversion, error) {
	var c conversion.Conversion
	var key []byte
	var minor [3]sql.NullInt64
	var currency [3]string
	into := append(before, &c.ID, &c.Key.Call, &key, &c.KeyedBy, &c.Nth, &c.Changes, &c.Call, &c.OccurredAt,
		&minor[0], &currency[0], &minor[1], &currency[1], &minor[2], &currency[2], &c.Status, storedDetails{&c.Details})
	err := row.Scan(into...)
	copy(c.Key.Rest[:], key)
	c.Sale, c.Received, c.Payout = amount(minor[0], currency[0]), amount(minor[1], currency[1]), amount(minor[2], currency[2])
	return &c, err
}

func saveSettlement(ctx context.Context, tx *transaction, account int64, s *conversion.Settlement) error {
	if err := advance(ctx, tx, s); err != nil {
		return err
	}
	if err := saveOutcomes(ctx, tx, s); err != nil {
		return err
	}
	if err := leaveKeys(ctx, tx, s.Rekeyed); err != nil {
		return err
	}
	if err := saveConversions(ctx, tx, account, s); err != nil {
		return err
	}
	err := insert(ctx, tx, "change", changeColumns, "", len(s.Changes),
		func(row int, into []any) []any {
			c := s.Changes[row]
			details := ""
			if len(c.Details) > 0 {
				details = asJSON(c.Details)
			}
			return append(into, c.ID, c.Conversion, c.Seq, c.Verdict.String(), int64(c.At), c.Effective,
				nullable(c.Before.Sale), nullable(c.After.Sale), nullable(c.Before.Received), nullable(c.After.Received), nullable(c.Before.Payout), nullable(c.After.Payout),
				string(c.Before.Status), string(c.After.Status), details, c.Rule, c.Undoes)
		})
	if err != nil {
		return err
	}
	if err := saveCosts(ctx, tx, s.Costs); err != nil {
		return err
	}
	reapplied := slices.Sorted(maps.Keys(s.Reapplied))
	err = insert(ctx, tx, "reapplied", "change, by_change", "ON CONFLICT (change) DO UPDATE SET by_change = excluded.by_change", len(reapplied),
		func(row int, into []any) []any { return append(into, reapplied[row], s.Reapplied[reapplied[row]]) })
	if err != nil {
		return err
	}
	fingerprints := slices.SortedFunc(maps.Keys(s.Fingerprints), func(a, b conversion.Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	return insert(ctx, tx, "fingerprint", "fingerprint, change", "ON CONFLICT (fingerprint) DO UPDATE SET change = excluded.change", len(fingerprints),
		func(row int, into []any) []any {
			return append(into, fingerprints[row][:], s.Fingerprints[fingerprints[row]])
		})
}

// advance moves the upload on, if it still stands where the settlement began.
func advance(ctx context.Context, tx *transaction, s *conversion.Settlement) error {
	state := conversion.Deciding
	if s.Done {
		state = conversion.Decided
	}
	moved, err := tx.ExecContext(ctx, `UPDATE upload SET cursor_line = $5, tally = $6, waiting = $7, state = $8, decided_ms = CASE WHEN $8 <> state AND $8 = 'decided' THEN $9 ELSE decided_ms END, diagnosis = $10,
			attempts = 0, next_ms = 0, last_error = ''
		WHERE id = $1 AND state = $2 AND hold_code = '' AND cursor_line = $3 AND waiting = $4`,
		s.Upload, string(s.From), s.After, s.Waiting, s.Cursor, asJSON(s.Tally), s.Tally.Of(conversion.Waiting), string(state), int64(s.At), s.Diagnosis)
	if err := orTaken(moved, err, s.Upload); err != nil {
		return err
	}
	switch {
	case s.News:
		return reportDue(ctx, tx, s.Upload, s.At)
	case s.From == conversion.Decided:
		return renewReport(ctx, tx, s.Upload, s.At)
	}
	return nil
}

// leaveKeys frees the keys that conversions are held under, so that the order in
// which conversions change places doesn't matter.
func leaveKeys(ctx context.Context, tx *transaction, conversions []int64) error {
	if len(conversions) == 0 {
		return nil
	}
	if err := tx.flush(ctx); err != nil {
		return err
	}
	for _, id := range conversions {
		if _, err := tx.ExecContext(ctx, "DELETE FROM conversion_key WHERE (call, key, nth) = (SELECT key_call, key, nth FROM conversion WHERE id = $1) AND conversion = $1", id); err != nil {
			return fmt.Errorf("free a key: %w", err)
		}
	}
	return nil
}

// changing are a conversion's columns that changes may change. What currency an
// amount was in is remembered even while there is none.
var changing = func() string {
	var set []string
	for column := range strings.SplitSeq("key_call, key, keyed_by, nth, changes, sale, received, payout, status, details", ", ") {
		set = append(set, column+" = excluded."+column)
	}
	for _, column := range []string{"sale_currency", "received_currency", "payout_currency"} {
		set = append(set, column+" = CASE WHEN excluded."+column+" = '' THEN conversion."+column+" ELSE excluded."+column+" END")
	}
	return strings.Join(append(set, "regrouped = MAX(conversion.regrouped, excluded.regrouped)"), ", ")
}()

// saveConversions writes conversions as they are after some changes, and notes what they
// are found by.
func saveConversions(ctx context.Context, tx *transaction, account int64, s *conversion.Settlement) error {
	made, regrouped, renamed := map[int64]bool{}, map[int64]int{}, map[int64]bool{}
	for _, change := range s.Changes {
		if change.Seq == 0 {
			made[change.Conversion] = true
		}
		for _, d := range change.Details {
			if StatementBy[d.Name] != "" {
				regrouped[change.Conversion] = 1
			}
			if d.Name == "reference_id" {
				renamed[change.Conversion] = true
			}
		}
	}
	rekeyed := map[int64]bool{}
	for _, id := range s.Rekeyed {
		rekeyed[id] = true
	}
	var fresh, changed []*conversion.Conversion
	for _, c := range s.Conversions {
		if made[c.ID] {
			fresh = append(fresh, c)
			tx.enter(account, c)
			continue
		}
		changed = append(changed, c)
		if rekeyed[c.ID] {
			tx.keys.add(c.Key, int64(c.Nth), c.ID)
			tx.enterCall(c)
		}
		if renamed[c.ID] && c.ReferenceID != "" {
			tx.references.add(referenceDigest(account, c.ReferenceID), 0, c.ID)
		}
	}
	for _, some := range []struct {
		conversions []*conversion.Conversion
		onConflict  string
	}{{fresh, ""}, {changed, "ON CONFLICT (id) DO UPDATE SET " + changing}} {
		err := insert(ctx, tx, "conversion", "account, regrouped, "+conversionColumns, some.onConflict, len(some.conversions), func(row int, into []any) []any {
			c := some.conversions[row]
			return append(into, account, regrouped[c.ID], c.ID, c.Key.Call, c.Key.Rest[:], int(c.KeyedBy), c.Nth, c.Changes, c.Call, int64(c.OccurredAt),
				nullable(c.Sale), string(c.Sale.Currency), nullable(c.Received), string(c.Received.Currency), nullable(c.Payout), string(c.Payout.Currency), string(c.Status), detailsText(&c.Details))
		})
		if err != nil {
			return err
		}
	}
	return tx.flushMany(ctx)
}

// saveCosts notes what rows said of calls' costs; the last one's word stands.
func saveCosts(ctx context.Context, tx *transaction, costs []conversion.CallCost) error {
	for _, cost := range costs {
		_, err := tx.ExecContext(ctx, "UPDATE call SET cost = $2, cost_currency = $3 WHERE id = $1", cost.Call, nullable(cost.After), string(cost.After.Currency))
		if err != nil {
			return fmt.Errorf("save the cost of a call: %w", err)
		}
	}
	return insert(ctx, tx, "call_cost", costColumns, "", len(costs), func(row int, into []any) []any {
		c := costs[row]
		return append(into, c.ID, c.Call, nullable(c.Before), string(c.Before.Currency), nullable(c.After), string(c.After.Currency), c.Undoes)
	})
}

func scanCost(row scanner) (cost conversion.CallCost, err error) {
	var before, after sql.NullInt64
	var was, is string
	err = row.Scan(&cost.ID, &cost.Call, &before, &was, &after, &is, &cost.Undoes)
	cost.Before, cost.After = amount(before, was), amount(after, is)
	return cost, err
}

const costColumns = "id, call, before, before_currency, after, after_currency, undoes"

// listedConversions reads conversions with their accounts and the provider's ids
// of their calls.
var listedConversions = "SELECT a.name, COALESCE(k.call_id, ''), c." + joinColumns("c", conversionColumns) +
	" FROM conversion c JOIN account a ON a.id = c.account LEFT JOIN call k ON k.id = c.call WHERE "

// Conversion returns one conversion, its account and the provider's id of its
// call.
func (s *Store) Conversion(ctx context.Context, id int64) (c *conversion.Conversion, account, callID string, err error) {
	c, err = scanConversion(s.read.QueryRowContext(ctx, listedConversions+"c.id = $1", id), &account, &callID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", "", fmt.Errorf("conversion %d: %w", id, conversion.ErrNotFound)
	}
	if err != nil {
		return nil, "", "", fmt.Errorf("read conversion %d: %w", id, err)
	}
	return c, account, callID, nil
}

// Successor returns the conversion that replays have made in place of one that is
// undone; nil for none.
func (s *Store) Successor(ctx context.Context, c *conversion.Conversion) (*conversion.Conversion, error) {
	return successor(ctx, s.read, c)
}

// ListConversions calls each for conversions with their accounts and the
// provider's call ids, newest first: of one account ("" = all), at most limit
// (0 = all). Those that were undone are none.
func (s *Store) ListConversions(ctx context.Context, account string, limit int, each func(c *conversion.Conversion, account, callID string) error) error {
	rows, err := s.read.QueryContext(ctx, listedConversions+"($1 = '' OR a.name = $1) AND c.status <> 'undone' ORDER BY c.id DESC LIMIT $2", account, orAll(limit))
	if err != nil {
		return fmt.Errorf("list conversions: %w", err)
	}
	return scanAll(rows, func(rows *sql.Rows) error {
		var account, callID string
		c, err := scanConversion(rows, &account, &callID)
		if err != nil {
			return err
		}
		return each(c, account, callID)
	})
}

// joinColumns puts a table's name before every column but the first.
func joinColumns(table, columns string) string {
	return string(bytes.ReplaceAll([]byte(columns), []byte(", "), []byte(", "+table+".")))
}
