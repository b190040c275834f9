package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"calltally/conversion"
)

// ErrTaken says that an upload has moved on since it was looked at.
var ErrTaken = conversion.ErrTaken

// Settle decides a chunk of rows and saves what it came to, in one transaction:
// it reads what the ledger holds, hands it to decide, and writes the settlement;
// a nil one changes nothing.
// Nothing else can write in between.
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

// Held returns what the ledger holds, for decisions that are not saved.
func (s *Store) Held(ctx context.Context, query conversion.HeldQuery) (*conversion.Held, error) {
	account, err := s.account(ctx, s.read, query.Account)
	if err != nil {
		return nil, err
	}
	return loadHeld(ctx, s.read, account, query)
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

// saveOutcomes packs a chunk's outcomes.
func saveOutcomes(ctx context.Context, tx *sql.Tx, s *conversion.Settlement) error {
	if len(s.Outcomes) == 0 {
		return nil
	}
	packed, err := pack(s.Outcomes)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO outcome_chunk (upload, first_line, last_line, outcomes) VALUES ($1, $2, $3, $4) ON CONFLICT (upload, first_line) DO UPDATE SET outcomes = excluded.outcomes",
		s.Upload, s.Outcomes[0].Line, s.Outcomes[len(s.Outcomes)-1].Line, packed)
	return err
}

func pack(outcomes []conversion.Outcome) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(outcomes); err != nil {
		return nil, fmt.Errorf("pack outcomes: %w", err)
	}
	return b.Bytes(), nil
}

// Outcomes calls each for the chunks of an upload's outcomes that hold lines
// from first on, in order, until each says to stop.
func (s *Store) Outcomes(ctx context.Context, upload int64, first int, each func([]conversion.Outcome) (more bool, err error)) error {
	return readOutcomes(ctx, s.read, upload, first, each)
}

func readOutcomes(ctx context.Context, q querier, upload int64, first int, each func([]conversion.Outcome) (more bool, err error)) error {
	for {
		var packed []byte
		var last int
		err := q.QueryRowContext(ctx, "SELECT last_line, outcomes FROM outcome_chunk WHERE upload = $1 AND last_line >= $2 ORDER BY first_line LIMIT 1", upload, first).Scan(&last, &packed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read outcomes of upload %d: %w", upload, err)
		}
		var outcomes []conversion.Outcome
		if err := gob.NewDecoder(bytes.NewReader(packed)).Decode(&outcomes); err != nil {
			return fmt.Errorf("read outcomes of upload %d: %w", upload, err)
		}
		if more, err := each(outcomes); err != nil || !more {
			return err
		}
		first = last + 1
	}
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
