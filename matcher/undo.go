package matcher

import (
	"fmt"
	"slices"
	"strings"

	"calltally/conversion"
)

// Taking is a change that is to be taken back, and what must be known for it.
type Taking struct {
	Change     *conversion.Change
	Conversion *conversion.Conversion // as it is now
	History    *History               // of it
	// Holder is another conversion under the key that this one would come back to, and
	// HolderLedger all its changes.
	Holder       *conversion.Conversion
	HolderLedger []*conversion.Change
	// Again is the change by which the same row was applied again since, in another
	// file; nil if it wasn't.
	Again *conversion.Change
}

// Undo takes a change back by a new one of the given id, and leaves what others
// have changed since. Where that can't be told apart, it is a conflict: nothing
// is changed and the outcome says what stands in the way.
func Undo(t Taking, policy Policy, id int64) Decision {
	change, c := t.Change, t.Conversion
	outcome := conversion.Outcome{Line: conversion.LineOf(change.ID), ConversionID: c.ID, PayoutBefore: c.Payout, PayoutAfter: c.Payout}
	if t.History.TakenBackBy(change) != nil {
		outcome.Verdict, outcome.Message = conversion.Unchanged, "This was undone before."
		return Decision{Outcome: outcome}
	}
	later := t.History.since(change)
	if why := standsInTheWay(t, later, id); why != "" {
		outcome.Verdict, outcome.Code, outcome.Message = conversion.Rejected, conversion.UndoConflict, why
		return Decision{Outcome: outcome}
	}
	after := *c
	added := t.History.adds(change)
	after.TakeBack(change, len(later) > 0 && added)
	if added {
		after.PayoutBy = t.History.payoutBy(&after, change)
	}
	decision := Decision{Conversion: &after, Change: &conversion.Change{
		ID: id, Conversion: c.ID, Seq: c.Changes, Verdict: conversion.Updated, At: policy.Now, Effective: undoneOn(change, policy),
		Before: c.Standing, After: after.Standing, Details: after.Since(c.Details), Undoes: change.ID,
		Rule: fmt.Sprintf("undo: what upload %d did by line %d", conversion.UploadOf(change.ID), conversion.LineOf(change.ID)),
	}}
	after.Changes++
	if now := after.Home(policy.Account.ID); now != c.Key && (after.Status == conversion.StatusUndone || now != c.Home(policy.Account.ID)) {
		decision.NewKey = now
	}
	outcome.Verdict, outcome.PayoutAfter, outcome.Rule = conversion.Updated, after.Payout, decision.Change.Rule
	decision.Outcome = outcome
	return decision
}

// undoneOn is the day that taking a change back counts from: the change's own, so
// that its day is as it was; today, if that day is closed.
func undoneOn(change *conversion.Change, policy Policy) int {
	if change.Effective < policy.Account.LockBefore {
		return policy.Account.Day(policy.Now)
	}
	return change.Effective
}

// ReturnsTo is the key under which taking a change back puts a conversion that is
// held under another one, or none, now; the zero Key if it leaves it where it is.
func ReturnsTo(change *conversion.Change, c *conversion.Conversion, policy Policy) conversion.Key {
	if change.Seq == 0 {
		return conversion.Key{}
	}
	back := *c
	back.TakeBack(change, false)
	if key := back.Home(policy.Account.ID); key != c.Home(policy.Account.ID) {
		return key
	}
	return conversion.Key{}
}

// standsInTheWay says why a change can't be taken back by one of the given id; "" if it
// can.
func standsInTheWay(t Taking, later []*conversion.Change, id int64) string {
	change, c := t.Change, t.Conversion
	var since []string
	for _, other := range later {
		if change.Seq == 0 || touchesSame(t.History, change, other) {
			since = append(since, fmt.Sprintf("upload %d (line %d)", conversion.UploadOf(other.ID), conversion.LineOf(other.ID)))
		}
	}
	switch {
	case len(since) > 0:
		return fmt.Sprintf("Conversion %d was changed since by %s. Undo that first, or correct the conversion by a row of its own.", c.ID, strings.Join(slices.Compact(since), ", "))
	case c.Status == conversion.StatusUndone && change.After.Status != conversion.StatusUndone:
		return fmt.Sprintf("Conversion %d is undone itself. Undo that first.", c.ID)
	case t.Again != nil:
		return fmt.Sprintf("The same row was applied again since, by upload %d (line %d). Undo that first.", conversion.UploadOf(t.Again.ID), conversion.LineOf(t.Again.ID))
	case t.Holder != nil:
		by := conversion.UploadOf(cameBy(t.Holder, t.HolderLedger).ID)
		if by > conversion.UploadOf(change.ID) && by != conversion.UploadOf(id) {
			return fmt.Sprintf("Conversion %d has taken its place since. Undo upload %d first.", t.Holder.ID, by)
		}
	}
	return ""
}

// cameBy is the change by which a conversion came under the key that it is held under.
func cameBy(c *conversion.Conversion, ledger []*conversion.Change) *conversion.Change {
	home, back := c.Home(""), *c
	for _, change := range slices.Backward(ledger) {
		if back.TakeBack(change, false); back.Home("") != home {
			return change
		}
	}
	return ledger[0]
}

// touchesSame reports whether two changes of a conversion can't be told apart any
// more. Two sums that were added, or taken back, can.
func touchesSame(h *History, a, b *conversion.Change) bool {
	added := h.adds(a) && h.adds(b)
	if touchesMoney(a) && touchesMoney(b) && !added || a.Before.Status != a.After.Status && b.Before.Status != b.After.Status {
		return true
	}
	return slices.ContainsFunc(a.Details, func(d conversion.DetailChange) bool {
		return slices.ContainsFunc(b.Details, func(other conversion.DetailChange) bool { return other.Name == d.Name })
	})
}

func touchesMoney(c *conversion.Change) bool {
	before, after := c.Before, c.After
	before.Status, after.Status = "", ""
	return before != after
}

// CostInTheWay says what is in the way of taking back what a row said of a call's cost;
// "" if nothing is. now is what the call costs, standing are the ids of all that was
// said of it and not taken back.
func CostInTheWay(said conversion.CallCost, now conversion.Amount, standing []int64) string {
	for _, id := range standing {
		if id > said.ID && conversion.UploadOf(id) != conversion.UploadOf(said.ID) {
			return fmt.Sprintf("Upload %d (line %d) has set the call's cost since. Undo that first.", conversion.UploadOf(id), conversion.LineOf(id))
		}
	}
	if now != said.After {
		return fmt.Sprintf("The call's cost is %s by now, not %s.", inCurrency(now), inCurrency(said.After))
	}
	return ""
}

// inCurrency writes an amount with its currency.
func inCurrency(a conversion.Amount) string {
	return strings.TrimSpace(nothing(a) + " " + string(a.Currency))
}
