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
	// Ledger holds all changes of the conversion, oldest first.
	Ledger []*conversion.Change
	// Holder is another conversion under the key that this one would come back to.
	Holder *conversion.Conversion
}

// Undo takes a change back by a new one of the given id, and leaves what others
// have changed since. Where that can't be told apart, it is a conflict: nothing
// is changed and the outcome says what stands in the way.
func Undo(t Taking, policy Policy, id int64) Decision {
	change, c := t.Change, t.Conversion
	outcome := conversion.Outcome{Line: conversion.LineOf(change.ID), ConversionID: c.ID, PayoutBefore: c.Payout, PayoutAfter: c.Payout}
	undone := conversion.Undone(t.Ledger)
	if undone[change.ID] {
		outcome.Verdict, outcome.Message = conversion.Unchanged, "This was undone before."
		return Decision{Outcome: outcome}
	}
	later := standing(t.Ledger, change, undone)
	if why := standsInTheWay(t, later); why != "" {
		outcome.Verdict, outcome.Code, outcome.Message = conversion.Rejected, conversion.UndoConflict, why
		return Decision{Outcome: outcome}
	}
	after := *c
	added := adds(t.Ledger, change)
	after.TakeBack(change, len(later) > 0 && added)
	if added {
		after.PayoutBy = payoutBy(&after, append(slices.Clone(t.Ledger), &conversion.Change{ID: id, Undoes: change.ID, Seq: c.Changes}))
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

// standing lists the changes made after one that still stand. A change and its
// taking back that both came after it cancel each other out.
func standing(ledger []*conversion.Change, change *conversion.Change, undone map[int64]bool) []*conversion.Change {
	seq := map[int64]int{}
	var later []*conversion.Change
	for _, other := range ledger {
		seq[other.ID] = other.Seq
		cancels := other.Undoes != 0 && seq[other.Undoes] > change.Seq
		if other.Seq > change.Seq && !undone[other.ID] && !cancels {
			later = append(later, other)
		}
	}
	return later
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

// standsInTheWay says why a change can't be taken back; "" if it can.
func standsInTheWay(t Taking, later []*conversion.Change) string {
	change, c := t.Change, t.Conversion
	var since []string
	for _, other := range later {
		if change.Seq == 0 || touchesSame(t.Ledger, change, other) {
			since = append(since, fmt.Sprintf("upload %d (line %d)", conversion.UploadOf(other.ID), conversion.LineOf(other.ID)))
		}
	}
	switch {
	case len(since) > 0:
		return fmt.Sprintf("Conversion %d was changed since by %s. Undo that first, or correct the conversion by a row of its own.", c.ID, strings.Join(slices.Compact(since), ", "))
	case c.Status == conversion.StatusUndone && change.After.Status != conversion.StatusUndone:
		return fmt.Sprintf("Conversion %d is undone itself. Undo that first.", c.ID)
	case t.Holder != nil && conversion.UploadOf(t.Holder.ID) > conversion.UploadOf(change.ID):
		return fmt.Sprintf("Conversion %d has taken its place since. Undo upload %d first.", t.Holder.ID, conversion.UploadOf(t.Holder.ID))
	}
	return ""
}

// touchesSame reports whether two changes of a conversion can't be told apart any
// more. Two sums that were added, or taken back, can.
func touchesSame(ledger []*conversion.Change, a, b *conversion.Change) bool {
	added := adds(ledger, a) && adds(ledger, b)
	if touchesMoney(a) && touchesMoney(b) && !added || a.Before.Status != a.After.Status && b.Before.Status != b.After.Status {
		return true
	}
	return slices.ContainsFunc(a.Details, func(d conversion.DetailChange) bool {
		return slices.ContainsFunc(b.Details, func(other conversion.DetailChange) bool { return other.Name == d.Name })
	})
}

// adds reports whether a change has added a sum, or taken one back that was added.
func adds(ledger []*conversion.Change, change *conversion.Change) bool {
	for change.Undoes != 0 {
		at := slices.IndexFunc(ledger, func(c *conversion.Change) bool { return c.ID == change.Undoes })
		if at < 0 {
			return false
		}
		change = ledger[at]
	}
	return change.Verdict == conversion.Incremented
}

// payoutBy is what a conversion's payout comes by after sums were added and taken
// back: as the first of them had it, while any stands; as it was before, if none does.
func payoutBy(c *conversion.Conversion, ledger []*conversion.Change) string {
	undone := conversion.Undone(ledger)
	by, stands := c.PayoutBy, false
	var first *conversion.DetailChange
	for _, change := range ledger {
		if change.Verdict != conversion.Incremented {
			continue
		}
		stands = stands || !undone[change.ID]
		if at := slices.IndexFunc(change.Details, func(d conversion.DetailChange) bool { return d.Name == "payout_by" }); at >= 0 && first == nil {
			first = &change.Details[at]
		}
	}
	switch {
	case first != nil && stands:
		by = first.After
	case first != nil:
		by = first.Before
	}
	return by
}

func touchesMoney(c *conversion.Change) bool {
	before, after := c.Before, c.After
	before.Status, after.Status = "", ""
	return before != after
}

// UndoCost takes back what a row said of a call's cost; now is what the call costs
// by now.
func UndoCost(said conversion.CallCost, now conversion.Amount, id int64) (*conversion.CallCost, string) {
	if now != said.After {
		return nil, fmt.Sprintf("The call's cost is %s by now, not %s. Undo what has set that first.", inCurrency(now), inCurrency(said.After))
	}
	return &conversion.CallCost{ID: id, Call: said.Call, Before: said.After, After: said.Before, Undoes: said.ID}, ""
}

// inCurrency writes an amount with its currency.
func inCurrency(a conversion.Amount) string {
	return strings.TrimSpace(nothing(a) + " " + string(a.Currency))
}
