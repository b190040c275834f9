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
	names   []finding[callName]
	callers []finding[callerAt]
}

// add adds what a call of an account's is found by. An account has one call of a call
// id: there the account is what tells the calls of one name apart. Several may share
// another id.
func (f *callFound) add(account int64, c *conversion.Call) {
	for kind, id := range c.IDs() {
		switch {
		case id == "":
		case conversion.CallIDKind(kind) == conversion.CallRecord:
			f.names = append(f.names, finding[callName]{by: nameOf(conversion.CallRecord, id), nth: account, to: c.ID})
		default:
			f.names = append(f.names, finding[callName]{by: nameOf(conversion.CallIDKind(kind), id), nth: c.ID, to: c.ID})
		}
	}
	if c.Caller != 0 {
		f.callers = append(f.callers, finding[callerAt]{by: callerAt{account, c.Caller, c.Start}, to: c.ID})
	}
}

// foundOtherwise reports whether a call is found by something else than it was.
func foundOtherwise(was, is *conversion.Call) bool {
	return was.IDs() != is.IDs() || was.Caller != is.Caller || was.Start != is.Start
}

// enterFound notes what calls are found by.
func (tx *transaction) enterFound(found *callFound) {
	for _, f := range found.names {
		tx.names.add(f.by, f.nth, f.to)
	}
	for _, f := range found.callers {
		tx.callers.add(f.by, f.nth, f.to)
	}
}

// leaveFound has calls no longer be found by what they were found by.
func (tx *transaction) leaveFound(ctx context.Context, found *callFound) error {
	if len(found.names) == 0 {
		return nil
	}
	if err := tx.flushCalls(ctx); err != nil {
		return err
	}
	err := remove(ctx, tx, "call_name", "name, nth", len(found.names), func(row int, into []any) []any {
		return append(into, found.names[row].by[:], found.names[row].nth)
	})
	if err != nil {
		return err
	}
	return remove(ctx, tx, "call_caller", callerColumns, len(found.callers), func(row int, into []any) []any {
		return append(found.callers[row].by.cells(into), found.callers[row].to)
	})
}
