package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"

	"calltally/conversion"
)

// callName is what a call is found by: a digest of one of its ids and of the id's kind.
type callName [16]byte

func nameOf(kind conversion.CallIDKind, id string) callName {
	digest := sha256.Sum256(fmt.Appendf(nil, "%d %s", kind, id))
	return callName(digest[:])
}

func (n callName) compare(other callName) int { return bytes.Compare(n[:], other[:]) }

// callerAt is when a caller began a call of an account's.
type callerAt struct {
	account int64
	caller  conversion.Phone
	start   conversion.Millis
}

const callerColumns = "account, caller, start_ms, call"

func (c callerAt) compare(other callerAt) int {
	return cmp.Or(cmp.Compare(c.account, other.account), cmp.Compare(c.caller, other.caller), cmp.Compare(c.start, other.start))
}

func (c callerAt) cells(into []any) []any {
	return append(into, c.account, int64(c.caller), int64(c.start))
}

// callFound is all that a call is found by.
type callFound struct {
	names   listing[callName]
	callers listing[callerAt]
}

// add adds what a call of an account's is found by. An account has one call of a call
// id: there the account is what tells the calls of one name apart. Several may share
// another id.
func (f *callFound) add(account int64, c *conversion.Call) {
	for kind, id := range c.IDs() {
		switch {
		case id == "":
		case conversion.CallIDKind(kind) == conversion.CallRecord:
			f.names.add(nameOf(conversion.CallRecord, id), account, c.ID)
		default:
			f.names.add(nameOf(conversion.CallIDKind(kind), id), c.ID, c.ID)
		}
	}
	if c.Caller != 0 {
		f.callers.add(callerAt{account, c.Caller, c.Start}, 0, c.ID)
	}
}

// foundOtherwise reports whether a call is found by something else than it was.
func foundOtherwise(was, is *conversion.Call) bool {
	return was.IDs() != is.IDs() || was.Caller != is.Caller || was.Start != is.Start
}

// enterFound notes what calls are found by.
func (tx *transaction) enterFound(found *callFound) {
	for _, f := range found.names.entries {
		tx.names.add(f.by, f.nth, f.to)
	}
	tx.callers.entries = append(tx.callers.entries, found.callers.entries...)
}

// leaveFound has calls no longer be found by what they were found by.
func (tx *transaction) leaveFound(ctx context.Context, found *callFound) error {
	names, callers := found.names.take(callName.compare), found.callers.take(callerAt.compare)
	if len(names) == 0 {
		return nil
	}
	if err := tx.flushCalls(ctx); err != nil {
		return err
	}
	err := remove(ctx, tx, "call_name", "name, nth", len(names), func(row int, into []any) []any {
		return append(into, names[row].by[:], names[row].nth)
	})
	if err != nil {
		return err
	}
	return remove(ctx, tx, "call_caller", callerColumns, len(callers), func(row int, into []any) []any {
		return append(callers[row].by.cells(into), callers[row].to)
	})
}
