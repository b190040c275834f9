package store

import (
	"cmp"
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
	if s.together != nil {
		if err := s.together.flushAll(ctx); err != nil {
			return v, fmt.Errorf("verify: %w", err)
		}
	}
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM change").Scan(&v.Changes); err != nil {
		return v, fmt.Errorf("verify: %w", err)
	}
	// Conversions come in order of their ids, and so do their changes.
	query := "SELECT c.id, c.sale, c.received, c.payout, c.status, c.details, " + verified("h") + `
		FROM conversion c LEFT JOIN (
			SELECT id AS of, ` + verified("change") + ` FROM change WHERE conversion = id
			UNION ALL SELECT conversion, ` + verified("change") + ` FROM change WHERE conversion <> id
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
	for _, verify := range []func(context.Context, *Verified) error{s.verifyFinders, s.verifyCalls} {
		if err := verify(ctx, &v); err != nil {
			return v, fmt.Errorf("verify: %w", err)
		}
	}
	return v, nil
}

// verifyFinders proves that every conversion is found by what it is to be found by.
func (s *Store) verifyFinders(ctx context.Context, v *Verified) error {
	found := 0
	rows, err := s.read.QueryContext(ctx, `SELECT c.id, c.account, COALESCE(c.details ->> 'reference_id', ''),
		EXISTS (SELECT 1 FROM conversion_key f WHERE f.call = c.key_call AND f.key = c.key AND f.nth = c.nth AND f.conversion = c.id),
		c.call = 0 OR c.call = c.key_call OR EXISTS (SELECT 1 FROM conversion_call f WHERE f.call = c.call AND f.conversion = c.id) FROM conversion c`)
	if err != nil {
		return err
	}
	var names listing[int64]
	err = scanAll(rows, func(rows *sql.Rows) error {
		var id, account int64
		var reference string
		var byKey, byCall bool
		if err := rows.Scan(&id, &account, &reference, &byKey, &byCall); err != nil {
			return err
		}
		if byKey {
			found++
		} else {
			v.mismatch("conversion %d can't be found by its key", id)
		}
		if !byCall {
			v.mismatch("conversion %d can't be found by its call", id)
		}
		if reference != "" {
			names.add(referenceDigest(account, reference), 0, id)
		}
		if len(names.entries) < mostUnwritten {
			return nil
		}
		return s.verifyReferences(ctx, v, &names)
	})
	if err == nil {
		err = s.verifyReferences(ctx, v, &names)
	}
	if err != nil {
		return err
	}
	var keys int
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM conversion_key").Scan(&keys); err != nil {
		return err
	}
	if keys > found {
		v.mismatch("%d keys lead to no conversion", keys-found)
	}
	return nil
}

// verifyReferences proves that some conversions are found by their reference ids.
func (s *Store) verifyReferences(ctx context.Context, v *Verified, names *listing[int64]) error {
	entries := names.take(cmp.Compare[int64])
	return lookup(ctx, s.read, "by, conversion", "SELECT w.conversion FROM w WHERE NOT EXISTS (SELECT 1 FROM conversion_reference f WHERE f.reference = w.by AND f.conversion = w.conversion)", len(entries),
		func(row int, into []any) []any { return append(into, entries[row].by, entries[row].to) },
		func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			v.mismatch("conversion %d can't be found by its reference id", id)
			return err
		})
}

// verifyCalls proves that every call belongs to an account and is found by what it is to
// be found by.
func (s *Store) verifyCalls(ctx context.Context, v *Verified) error {
	rows, err := s.read.QueryContext(ctx, "SELECT c.account, EXISTS (SELECT 1 FROM account a WHERE a.id = c.account), c."+joinColumns("c", callColumns)+" FROM call c")
	if err != nil {
		return err
	}
	var account int64
	var known bool
	proven := 0
	var found callFound
	prove := func() error {
		proven += len(found.names.entries) + len(found.callers.entries)
		return s.verifyCallsFound(ctx, v, &found)
	}
	read := newCallScan(&account, &known)
	err = scanAll(rows, func(rows *sql.Rows) error {
		c, err := read.scan(rows)
		if err != nil {
			return err
		}
		if !known {
			v.mismatch("call %q belongs to no account", c.CallID)
		}
		if found.add(account, &c); len(found.names.entries) < mostUnwritten {
			return nil
		}
		return prove()
	})
	if err == nil {
		err = prove()
	}
	if err != nil {
		return err
	}
	var all int
	if err := s.read.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM call_name) + (SELECT COUNT(*) FROM call_caller)").Scan(&all); err != nil {
		return err
	}
	if all > proven {
		v.mismatch("%d ids or callers lead to no call", all-proven)
	}
	return nil
}

// verifyCallsFound proves that some calls are found, and forgets them.
func (s *Store) verifyCallsFound(ctx context.Context, v *Verified, found *callFound) error {
	mismatch := func(by string) func(*sql.Rows) error {
		return func(rows *sql.Rows) error {
			var call int64
			err := rows.Scan(&call)
			v.mismatch("call %d can't be found by its %s", call, by)
			return err
		}
	}
	names, callers := found.names.take(callName.compare), found.callers.take(callerAt.compare)
	err := lookup(ctx, s.read, "name, nth, call", "SELECT w.call FROM w WHERE NOT EXISTS (SELECT 1 FROM call_name f WHERE f.name = w.name AND f.nth = w.nth AND f.call = w.call)", len(names),
		func(row int, into []any) []any { return append(into, names[row].by[:], names[row].nth, names[row].to) }, mismatch("ids"))
	if err != nil {
		return err
	}
	return lookup(ctx, s.read, callerColumns, "SELECT w.call FROM w WHERE NOT EXISTS (SELECT 1 FROM call_caller f WHERE f.account = w.account AND f.caller = w.caller AND f.start_ms = w.start_ms AND f.call = w.call)", len(callers),
		func(row int, into []any) []any { return append(callers[row].by.cells(into), callers[row].to) }, mismatch("caller"))
}

// verified names the columns of a change that are proven.
func verified(table string) string {
	return table + "." + joinColumns(table, "id, seq, sale_before, sale_after, received_before, received_after, payout_before, payout_after, status_before, status_after, details")
}

// figures are what a conversion comes to, as it is stored.
type figures struct {
	money  [3]sql.NullInt64 // sale, received, payout
	status sql.NullString
}

var figureNames = [...]string{"sale", "received", "payout"}

// entry is one change beside the conversion it belongs to.
type entry struct {
	conversion    int64
	held          figures
	details       conversion.Details
	seq, change   sql.NullInt64
	before, after figures
	changed       sql.NullString
}

func (e *entry) scan(rows *sql.Rows) error {
	into := []any{&e.conversion, &e.held.money[0], &e.held.money[1], &e.held.money[2], &e.held.status}
	into = append(into, storedDetails{&e.details}, &e.change, &e.seq)
	for i := range figureNames {
		into = append(into, &e.before.money[i], &e.after.money[i])
	}
	return rows.Scan(append(into, &e.before.status, &e.after.status, &e.changed)...)
}

// proof follows one conversion's changes after another.
type proof struct {
	verified *Verified
	current  entry
	at       figures
	seen     int64             // changes
	details  map[string]string // what the changes say each detail is by now
}

func (p *proof) add(e entry) {
	if e.conversion != p.current.conversion {
		p.end()
		p.verified.Conversions++
		p.at, p.details, p.seen = figures{status: sql.NullString{Valid: true}}, map[string]string{}, 0
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
	for i, name := range figureNames {
		if e.before.money[i] != p.at.money[i] {
			p.verified.mismatch("conversion %d: change %d begins at a %s of %s, but the one before it ended at %s", e.conversion, e.change.Int64, name, minor(e.before.money[i]), minor(p.at.money[i]))
		}
	}
	if e.before.status != p.at.status {
		p.verified.mismatch("conversion %d: change %d begins at the status %q, but the one before it ended at %q", e.conversion, e.change.Int64, e.before.status.String, p.at.status.String)
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
	for i, held := range e.held.money {
		if held != p.at.money[i] {
			p.verified.mismatch("conversion %d holds a %s of %s, but its changes sum to %s", e.conversion, figureNames[i], minor(held), minor(p.at.money[i]))
		}
	}
	if e.held.status != p.at.status {
		p.verified.mismatch("conversion %d has the status %q, but its changes end at %q", e.conversion, e.held.status.String, p.at.status.String)
	}
	for _, part := range e.details.Parts() {
		if said, ok := p.details[part.Name]; ok && said != *part.Value {
			p.verified.mismatch("conversion %d holds another %s than its changes end at", e.conversion, part.Name)
		}
	}
}

func minor(n sql.NullInt64) string {
	if !n.Valid {
		return "nothing"
	}
	return fmt.Sprintf("%d minor units", n.Int64)
}
