package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"calltally/conversion"
)

// Settle decides a chunk of rows and saves what it came to, in one transaction:
// it reads what the ledger holds, hands it to decide, and writes the settlement;
// a nil one changes nothing. Nothing else can write in between.
func (s *Store) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	return s.inTx(ctx, "settle rows", func(tx *sql.Tx) error {
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

const conversionColumns = "id, key, nth, changes, call, occurred_ms, sale, sale_currency, payout, payout_currency, reference_id, event_type, reason_code, sku_list, quantity_list, campaign, publisher, customer"

func scanConversion(row scanner, before ...any) (*conversion.Conversion, error) {
	var c conversion.Conversion
	var key []byte
	var sale, payout sql.NullInt64
	var saleCurrency, payoutCurrency string
	err := row.Scan(append(before, &c.ID, &key, &c.Nth, &c.Changes, &c.Call, &c.OccurredAt, &sale, &saleCurrency, &payout, &payoutCurrency,
		&c.ReferenceID, &c.EventType, &c.ReasonCode, &c.SKUs, &c.Quantities, &c.Campaign, &c.Publisher, &c.Customer)...)
	copy(c.Key[:], key)
	c.Sale, c.Payout = amount(sale, saleCurrency), amount(payout, payoutCurrency)
	return &c, err
}

func saveSettlement(ctx context.Context, tx *sql.Tx, account int64, s *conversion.Settlement) error {
	if err := advance(ctx, tx, s); err != nil {
		return err
	}
	if err := saveOutcomes(ctx, tx, s); err != nil {
		return err
	}
	if err := leaveKeys(ctx, tx, s.Rekeyed); err != nil {
		return err
	}
	if err := saveConversions(ctx, tx, account, s.Conversions); err != nil {
		return err
	}
	err := insert(ctx, tx, "change", "id, conversion, seq, verdict, at_ms, effective, sale_before, sale_after, payout_before, payout_after, details, rule", "", len(s.Changes),
		func(row int, into []any) []any {
			c := s.Changes[row]
			details := ""
			if len(c.Details) > 0 {
				details = asJSON(c.Details)
			}
			return append(into, c.ID, c.Conversion, c.Seq, c.Verdict.String(), int64(c.At), c.Effective,
				nullable(c.SaleBefore), nullable(c.SaleAfter), nullable(c.PayoutBefore), nullable(c.PayoutAfter), details, c.Rule)
		})
	if err != nil {
		return err
	}
	fingerprints := slices.SortedFunc(maps.Keys(s.Fingerprints), func(a, b conversion.Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	return insert(ctx, tx, "fingerprint", "fingerprint, change", "", len(fingerprints),
		func(row int, into []any) []any {
			return append(into, fingerprints[row][:], s.Fingerprints[fingerprints[row]])
		})
}

// advance moves the upload on, if it still stands where the settlement began.
func advance(ctx context.Context, tx *sql.Tx, s *conversion.Settlement) error {
	state := conversion.Deciding
	if s.Done {
		state = conversion.Decided
	}
	moved, err := tx.ExecContext(ctx, `UPDATE upload SET cursor_line = $5, tally = $6, waiting = $7, state = $8, decided_ms = CASE WHEN $8 <> state AND $8 = 'decided' THEN $9 ELSE decided_ms END, diagnosis = $10
		WHERE id = $1 AND state = $2 AND cursor_line = $3 AND waiting = $4`,
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
func leaveKeys(ctx context.Context, tx *sql.Tx, conversions []int64) error {
	for _, id := range conversions {
		if _, err := tx.ExecContext(ctx, "UPDATE conversion SET key = $2 WHERE id = $1", id, []byte("moving "+literal(id))); err != nil {
			return err
		}
	}
	return nil
}

func saveConversions(ctx context.Context, tx *sql.Tx, account int64, conversions []*conversion.Conversion) error {
	return insert(ctx, tx, "conversion", "account, "+conversionColumns,
		"ON CONFLICT (id) DO UPDATE SET key = excluded.key, nth = excluded.nth, changes = excluded.changes, sale = excluded.sale, sale_currency = excluded.sale_currency, payout = excluded.payout, payout_currency = excluded.payout_currency, "+
			"reference_id = excluded.reference_id, event_type = excluded.event_type, reason_code = excluded.reason_code, sku_list = excluded.sku_list, "+
			"quantity_list = excluded.quantity_list, campaign = excluded.campaign, publisher = excluded.publisher, customer = excluded.customer",
		len(conversions), func(row int, into []any) []any {
			c := conversions[row]
			return append(into, account, c.ID, c.Key[:], c.Nth, c.Changes, c.Call, int64(c.OccurredAt), nullable(c.Sale), string(c.Sale.Currency), nullable(c.Payout), string(c.Payout.Currency),
				c.ReferenceID, c.EventType, c.ReasonCode, c.SKUs, c.Quantities, c.Campaign, c.Publisher, c.Customer)
		})
}

// listedConversions reads conversions with their accounts and the provider's ids
// of their calls.
var listedConversions = "SELECT a.name, COALESCE(k.call_id, ''), c." + joinColumns("c", conversionColumns) +
	" FROM conversion c JOIN account a ON a.id = c.account LEFT JOIN call k ON k.id = c.call WHERE "

// Conversion returns one conversion, its account and the provider's id of its
// call.
func (s *Store) Conversion(ctx context.Context, id int64) (c *conversion.Conversion, account, callID string, err error) {
	c, err = scanConversion(s.read.QueryRowContext(ctx, listedConversions+"c.id = $1", id), &account, &callID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", "", fmt.Errorf("conversion %d: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, "", "", fmt.Errorf("read conversion %d: %w", id, err)
	}
	return c, account, callID, nil
}

// ListConversions calls each for conversions with their accounts and the
// provider's call ids, newest first: of one account ("" = all), at most limit
// (0 = all).
func (s *Store) ListConversions(ctx context.Context, account string, limit int, each func(c *conversion.Conversion, account, callID string) error) error {
	rows, err := s.read.QueryContext(ctx, listedConversions+"$1 = '' OR a.name = $1 ORDER BY c.id DESC LIMIT $2", account, orAll(limit))
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

const changeColumns = "id, conversion, seq, verdict, at_ms, effective, sale_before, sale_after, payout_before, payout_after, details, rule"

func scanChange(row scanner, c *conversion.Conversion) (*conversion.Change, error) {
	var change conversion.Change
	var verdict, details string
	var money [4]sql.NullInt64
	err := row.Scan(&change.ID, &change.Conversion, &change.Seq, &verdict, &change.At, &change.Effective, &money[0], &money[1], &money[2], &money[3], &details, &change.Rule)
	if err != nil {
		return nil, err
	}
	for _, v := range conversion.Verdicts {
		if v.String() == verdict {
			change.Verdict = v
		}
	}
	sale, payout := string(c.Sale.Currency), string(c.Payout.Currency)
	change.SaleBefore, change.SaleAfter = amount(money[0], sale), amount(money[1], sale)
	change.PayoutBefore, change.PayoutAfter = amount(money[2], payout), amount(money[3], payout)
	if details != "" {
		err = json.Unmarshal([]byte(details), &change.Details)
	}
	return &change, err
}

// Changes returns a conversion's ledger entries, oldest first.
func (s *Store) Changes(ctx context.Context, c *conversion.Conversion) ([]*conversion.Change, error) {
	return readChanges(ctx, s.read, c, "SELECT "+changeColumns+" FROM change WHERE id = $1 UNION ALL SELECT "+changeColumns+" FROM change WHERE conversion = $1 AND conversion <> id ORDER BY seq")
}

// readChanges reads the changes of a conversion that a query finds.
func readChanges(ctx context.Context, q querier, c *conversion.Conversion, query string) ([]*conversion.Change, error) {
	rows, err := q.QueryContext(ctx, query, c.ID)
	if err != nil {
		return nil, fmt.Errorf("read changes of conversion %d: %w", c.ID, err)
	}
	var changes []*conversion.Change
	err = scanAll(rows, func(rows *sql.Rows) error {
		change, err := scanChange(rows, c)
		changes = append(changes, change)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read changes of conversion %d: %w", c.ID, err)
	}
	return changes, nil
}

// joinColumns puts a table's name before every column but the first.
func joinColumns(table, columns string) string {
	return string(bytes.ReplaceAll([]byte(columns), []byte(", "), []byte(", "+table+".")))
}
