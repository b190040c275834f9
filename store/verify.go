package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"calltally/conversion"
)

// Verified is what a proof of the ledger found.
type Verified struct {
	Conversions int      `json:"conversions"`
	Changes     int      `json:"changes"`
	Mismatches  int      `json:"mismatches"`
	Sentences   []string `json:"sentences,omitempty"` // the first mismatches
}

const mostSentences = 20

func (v *Verified) mismatch(format string, args ...any) {
	v.Mismatches++
	if len(v.Sentences) < mostSentences {
		v.Sentences = append(v.Sentences, fmt.Sprintf(format, args...))
	}
}

// Verify proves that every conversion equals the sum of its changes: each change
// begins where the one before it ended, the last ends at the conversion, and no
// change stands alone.
func (s *Store) Verify(ctx context.Context) (Verified, error) {
	var v Verified
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM change").Scan(&v.Changes); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	// Conversions come in order of their ids, and so do their changes.
	query := `SELECT c.id, c.sale, c.payout, c.reference_id, c.event_type, c.reason_code, c.sku_list, c.quantity_list, c.campaign, c.publisher, c.customer,
			h.seq, h.id, h.sale_before, h.sale_after, h.payout_before, h.payout_after, h.details
		FROM conversion c LEFT JOIN (
			SELECT id, id AS of, seq, sale_before, sale_after, payout_before, payout_after, details FROM change WHERE conversion = id
			UNION ALL SELECT id, conversion, seq, sale_before, sale_after, payout_before, payout_after, details FROM change WHERE conversion <> id
		) h ON h.of = c.id ORDER BY c.id, h.seq`
	rows, err := s.read.QueryContext(ctx, query)
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	proof := proof{verified: &v}
	counted := 0
	err = scanAll(rows, func(rows *sql.Rows) error {
		var e entry
		if err := e.scan(rows); err != nil {
			return err
		}
		if e.change.Valid {
			counted++
		}
		proof.add(e)
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	proof.end()
	if counted != v.Changes {
		v.mismatch("%d changes belong to no conversion", v.Changes-counted)
	}
	return v, nil
}

// entry is one change beside the conversion it belongs to.
type entry struct {
	conversion   int64
	sale, payout sql.NullInt64
	details      conversion.Details
	seq, change  sql.NullInt64
	before       [2]sql.NullInt64 // sale, payout
	after        [2]sql.NullInt64
	changed      sql.NullString
}

func (e *entry) scan(rows *sql.Rows) error {
	d := &e.details
	return rows.Scan(&e.conversion, &e.sale, &e.payout, &d.ReferenceID, &d.EventType, &d.ReasonCode, &d.SKUs, &d.Quantities, &d.Campaign, &d.Publisher, &d.Customer,
		&e.seq, &e.change, &e.before[0], &e.after[0], &e.before[1], &e.after[1], &e.changed)
}

// proof follows one conversion's changes after another.
type proof struct {
	verified *Verified
	current  entry
	at       [2]sql.NullInt64
	seen     int64             // changes
	details  map[string]string // what the changes say each detail is by now
}

func (p *proof) add(e entry) {
	if e.conversion != p.current.conversion {
		p.end()
		p.verified.Conversions++
		p.at, p.details, p.seen = [2]sql.NullInt64{}, map[string]string{}, 0
	}
	p.current = e
	if !e.change.Valid {
		p.verified.mismatch("conversion %d has no change that created it", e.conversion)
		return
	}
	if e.seq.Int64 != p.seen {
		what := "change number " + strconv.FormatInt(p.seen, 10)
		if p.seen == 0 {
			what = "change that created it"
		}
		p.verified.mismatch("conversion %d has no %s", e.conversion, what)
	}
	p.seen = e.seq.Int64 + 1
	for i, name := range []string{"sale", "payout"} {
		if e.before[i] != p.at[i] {
			p.verified.mismatch("conversion %d: change %d begins at a %s of %s, but the one before it ended at %s", e.conversion, e.change.Int64, name, minor(e.before[i]), minor(p.at[i]))
		}
	}
	p.at = e.after
	for _, d := range detailsOf(e.changed.String) {
		if known, ok := p.details[d.Name]; ok && known != d.Before {
			p.verified.mismatch("conversion %d: change %d begins at another %s than the one before it ended at", e.conversion, e.change.Int64, d.Name)
		}
		p.details[d.Name] = d.After
	}
}

// end compares a conversion with where its changes ended.
func (p *proof) end() {
	e := p.current
	if e.conversion == 0 || !e.change.Valid {
		return
	}
	for i, held := range []sql.NullInt64{e.sale, e.payout} {
		if held != p.at[i] {
			p.verified.mismatch("conversion %d holds a %s of %s, but its changes sum to %s", e.conversion, []string{"sale", "payout"}[i], minor(held), minor(p.at[i]))
		}
	}
	d := e.details
	for name, held := range map[string]string{
		"reference_id": d.ReferenceID, "event_type": d.EventType, "reason_code": d.ReasonCode, "sku_list": d.SKUs,
		"quantity_list": d.Quantities, "campaign": d.Campaign, "publisher": d.Publisher, "customer": d.Customer,
	} {
		if said, ok := p.details[name]; ok && said != held {
			p.verified.mismatch("conversion %d holds another %s than its changes end at", e.conversion, name)
		}
	}
}

func minor(n sql.NullInt64) string {
	if !n.Valid {
		return "nothing"
	}
	return fmt.Sprintf("%d minor units", n.Int64)
}
