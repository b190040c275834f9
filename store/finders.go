package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"calltally/conversion"
)

// transaction is a write transaction. What conversions and calls made in it are found by
// is written at its end, sorted: in a table whose entries come in any order each one
// would dirty a page of its own, and chunks of rows would write the whole table again
// and again.
type transaction struct {
	*sql.Tx
	failed     error // what went wrong in it: what was written until then must not stay
	keys       unwritten[conversion.Key]
	references unwritten[int64]
	calls      listing[int64]
	names      unwritten[callName]
	callers    listing[callerAt]
}

// mostUnwritten bounds what is kept in memory until it is written.
const mostUnwritten = 256 << 10

// listing are entries of one of the tables that conversions or calls are found by.
type listing[K comparable] struct{ entries []finding[K] }

// finding leads from what a conversion or a call is found by to it.
type finding[K comparable] struct {
	by    K
	nth   int64 // among those under the same
	to    int64
	older int // 1 + where the entry before it under the same is; 0 for none
}

func (l *listing[K]) add(by K, nth, to int64) {
	l.entries = append(l.entries, finding[K]{by: by, nth: nth, to: to})
}

// take takes the entries out, in order.
func (l *listing[K]) take(compare func(a, b K) int) []finding[K] {
	entries := l.entries
	slices.SortFunc(entries, func(a, b finding[K]) int {
		return cmp.Or(compare(a.by, b.by), cmp.Compare(a.nth, b.nth), cmp.Compare(a.to, b.to))
	})
	l.entries = nil
	return entries
}

// writeTo writes the entries to their table.
func (l *listing[K]) writeTo(ctx context.Context, tx *transaction, table, columns, onConflict string, compare func(a, b K) int, cells func(into []any, f *finding[K]) []any) error {
	if len(l.entries) == 0 {
		return nil
	}
	entries := l.take(compare)
	return insert(ctx, tx, table, columns, onConflict, len(entries), func(row int, into []any) []any { return cells(into, &entries[row]) })
}

// unwritten is a listing that is looked things up in before it is written.
type unwritten[K comparable] struct {
	listing[K]
	newest map[K]int // 1 + where the newest entry under each is
}

func (u *unwritten[K]) add(by K, nth, to int64) {
	if len(u.entries) == 0 { // those before were written
		u.newest = map[K]int{}
	}
	u.listing.add(by, nth, to)
	u.entries[len(u.entries)-1].older = u.newest[by]
	u.newest[by] = len(u.entries)
}

// find appends what is found by any of some values.
func (u *unwritten[K]) find(by []K, into []int64) []int64 {
	if len(u.entries) == 0 {
		return into
	}
	for _, value := range by {
		for at := u.newest[value]; at > 0; at = u.entries[at-1].older {
			into = append(into, u.entries[at-1].to)
		}
	}
	return into
}

// enter notes what a conversion is found by that was made.
func (tx *transaction) enter(account int64, c *conversion.Conversion) {
	tx.keys.add(c.Key, int64(c.Nth), c.ID)
	if c.ReferenceID != "" {
		tx.references.add(referenceDigest(account, c.ReferenceID), 0, c.ID)
	}
	tx.enterCall(c)
}

// enterCall notes the call of a conversion that its key doesn't lead to.
func (tx *transaction) enterCall(c *conversion.Conversion) {
	if c.Call != 0 && c.Key.Call == 0 {
		tx.calls.add(c.Call, 0, c.ID)
	}
}

// referenceDigest stands for an account's reference id where conversions are found by
// it. Two ids may share one: what is found is compared.
func referenceDigest(account int64, reference string) int64 {
	return int64(digestOf(account, reference))
}

// digestOf is a digest of a text of an account's. It is stored, so it stays as it is.
func digestOf(account int64, text string) uint64 {
	h := fnv.New64a()
	var number [8]byte
	binary.LittleEndian.PutUint64(number[:], uint64(account))
	h.Write(number[:])
	h.Write([]byte(text))
	return h.Sum64()
}

// flush writes what conversions are found by, if it is not written yet.
func (tx *transaction) flush(ctx context.Context) error {
	err := tx.keys.writeTo(ctx, tx, "conversion_key", "call, key, nth, conversion", "", conversion.Key.Compare, func(into []any, f *finding[conversion.Key]) []any {
		return append(into, f.by.Call, f.by.Rest[:], f.nth, f.to)
	})
	if err != nil {
		return err
	}
	byNumber := func(into []any, f *finding[int64]) []any { return append(into, f.by, f.to) }
	err = tx.references.writeTo(ctx, tx, "conversion_reference", "reference, conversion", "ON CONFLICT DO NOTHING", cmp.Compare[int64], byNumber)
	if err != nil {
		return err
	}
	return tx.calls.writeTo(ctx, tx, "conversion_call", "call, conversion", "ON CONFLICT DO NOTHING", cmp.Compare[int64], byNumber)
}

// flushCalls writes what calls are found by, if it is not written yet. Rows are matched
// while others are decided, maybe in the same transaction: so this is apart from flush.
func (tx *transaction) flushCalls(ctx context.Context) error {
	err := tx.names.writeTo(ctx, tx, "call_name", "name, nth, call", "", callName.compare, func(into []any, f *finding[callName]) []any {
		return append(into, f.by[:], f.nth, f.to)
	})
	if err != nil {
		return err
	}
	return tx.callers.writeTo(ctx, tx, "call_caller", callerColumns, "", callerAt.compare, func(into []any, f *finding[callerAt]) []any {
		return append(f.by.cells(into), f.to)
	})
}

// flushAll writes all that is not written yet.
func (tx *transaction) flushAll(ctx context.Context) error {
	if err := tx.flush(ctx); err != nil {
		return err
	}
	return tx.flushCalls(ctx)
}

// flushMany writes what conversions are found by, if that is much.
func (tx *transaction) flushMany(ctx context.Context) error {
	if len(tx.keys.entries) < mostUnwritten {
		return nil
	}
	return tx.flush(ctx)
}

// putFound adds the conversions that a query asks for by keys, ids, reference ids and
// calls.
func (tx *transaction) putFound(ctx context.Context, held *conversion.Held, account int64, query *conversion.HeldQuery) error {
	keys := distinct(query.Keys, conversion.Key.Compare)
	ids := slices.Clone(query.Conversions)
	var references []int64
	for _, id := range query.References {
		references = append(references, referenceDigest(account, id))
	}
	for _, name := range query.Names {
		if name.ID != 0 {
			ids = append(ids, name.ID)
		}
		if name.Reference != "" {
			references = append(references, referenceDigest(account, name.Reference))
		}
	}
	references = distinct(references, cmp.Compare[int64])
	calls := distinct(query.Calls, cmp.Compare[int64])
	if len(calls) > 0 { // few rows ask for those
		if err := tx.flush(ctx); err != nil {
			return err
		}
	}
	ids = tx.keys.find(keys, ids)
	ids = distinct(tx.references.find(references, ids), cmp.Compare[int64])
	for _, by := range []struct {
		what, columns, from string
		rows                int
		args                func(row int, into []any) []any
	}{
		{"key", "call, key", "conversion_key f CROSS JOIN conversion c WHERE f.call = w.call AND f.key = w.key AND c.id = f.conversion", len(keys), func(row int, into []any) []any { return append(into, keys[row].Call, keys[row].Rest[:]) }},
		{"id", "v", "conversion c WHERE c.id = w.v AND c.account = " + literal(account), len(ids), intArgs(ids)},
		{"reference", "v", "conversion_reference f CROSS JOIN conversion c WHERE f.reference = w.v AND c.id = f.conversion AND c.account = " + literal(account), len(references), intArgs(references)},
		{"call", "v", "conversion_key f CROSS JOIN conversion c WHERE f.call = w.v AND c.id = f.conversion", len(calls), intArgs(calls)},
		{"call", "v", "conversion_call f CROSS JOIN conversion c WHERE f.call = w.v AND c.id = f.conversion", len(calls), intArgs(calls)},
	} {
		if err := putConversions(ctx, tx, held, by.columns, by.from, by.rows, by.args); err != nil {
			return fmt.Errorf("find conversions by %s: %w", by.what, err)
		}
	}
	return nil
}
