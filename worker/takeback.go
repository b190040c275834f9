package worker

import (
	"fmt"
	"slices"

	"calltally/conversion"
	"calltally/matcher"
)

// takingBack decides how lines are taken back. The changes of one conversion are
// taken back together, the newest first: rows that waited were not done in order.
type takingBack struct {
	*settling
	*undoing
	done      map[int64]conversion.Outcome // by the change that was to be taken back
	histories map[int64]*matcher.History   // of the conversions that are done
}

// line takes back what a line did.
func (t *takingBack) line(was conversion.Outcome) (conversion.Outcome, error) {
	outcome := conversion.Outcome{Line: was.Line, Verdict: conversion.Unchanged, ConversionID: was.ConversionID}
	change := t.held.Done[was.Line]
	switch {
	case was.PartOf != 0:
		outcome.Message = fmt.Sprintf("Part of the order that begins on line %d.", was.PartOf)
	case was.Verdict == conversion.Waiting || was.Waited:
		t.waited(&outcome, was.Verdict)
	case change == nil:
		outcome.Message = "This row had changed no conversion."
	default:
		if err := t.all(change.Conversion); err != nil {
			return outcome, err
		}
		outcome = t.done[change.ID]
		outcome.Line = was.Line
	}
	outcome.CallID, outcome.CallStart, outcome.PartOf = was.CallID, was.CallStart, was.PartOf
	t.cost(&outcome)
	return outcome, nil
}

// waited says what becomes of a line that waited for its call.
func (t *takingBack) waited(outcome *conversion.Outcome, was conversion.Verdict) {
	switch amended := t.amended.has(outcome.Line); {
	case amended && t.restores:
		outcome.Verdict, outcome.Waited, outcome.Message = conversion.Updated, true, "The row waits for its call again."
	case amended:
		outcome.Verdict, outcome.Waited, outcome.Message = conversion.Updated, true, "The row waited for its call, and waits no longer."
	case was == conversion.Waiting:
		outcome.Message = "The row waits for its call; that is left to the replay."
	case t.restores || t.of == t.base:
		outcome.Message = "This was undone before."
	default:
		outcome.Verdict, outcome.Code = conversion.Rejected, conversion.UndoConflict
		outcome.Message = fmt.Sprintf("The row has not waited since then: it was decided. Undo upload %d for that.", t.base.ID)
	}
}

// all takes back all that the upload did to a conversion, once.
func (t *takingBack) all(id int64) error {
	if t.histories[id] != nil {
		return nil
	}
	c, history := t.held.Conversion(id), matcher.NewHistory(t.held.Ledgers[id])
	t.histories[id] = history
	var decisions []matcher.Decision
	var inTheWay *conversion.Outcome
	for _, change := range slices.Backward(t.held.Ledgers[id]) {
		if conversion.UploadOf(change.ID) != t.of.ID {
			continue
		}
		if by := history.TakenBackBy(change); by != nil && conversion.UploadOf(by.ID) == t.upload.ID { // in another chunk
			t.done[change.ID] = conversion.Outcome{Verdict: conversion.Updated, ConversionID: id, PayoutBefore: by.Before.Payout, PayoutAfter: by.After.Payout, Rule: by.Rule}
			continue
		}
		decision, err := t.undo(change, c, history)
		if err != nil {
			return err
		}
		t.done[change.ID] = decision.Outcome
		if why := t.costInTheWay(conversion.LineOf(change.ID)); t.wholly && why != "" {
			t.done[change.ID] = conversion.Outcome{Verdict: conversion.Rejected, Code: conversion.UndoConflict, ConversionID: id, PayoutBefore: c.Payout, PayoutAfter: c.Payout, Message: why}
		}
		if outcome := t.done[change.ID]; outcome.Verdict == conversion.Rejected {
			inTheWay = &outcome
		}
		if decision.Change != nil {
			history.Add(decision.Change)
			c = decision.Conversion
			decisions = append(decisions, decision)
		}
	}
	for _, decision := range decisions {
		if t.wholly && inTheWay != nil {
			left := *inTheWay
			left.PayoutBefore, left.PayoutAfter = t.held.Conversion(id).Payout, t.held.Conversion(id).Payout
			t.done[decision.Change.Undoes] = left
		} else if err := t.keep(decision); err != nil {
			return err
		}
	}
	return nil
}

// undo decides how a change of a conversion, as it is by now, is taken back.
func (t *takingBack) undo(change *conversion.Change, c *conversion.Conversion, history *matcher.History) (matcher.Decision, error) {
	taking := matcher.Taking{Change: change, Conversion: c, History: history}
	if key := matcher.ReturnsTo(change, c, t.policy); key != (conversion.Key{}) {
		holder, err := t.held.Ledger.Newest(key, c.ID)
		if err != nil {
			return matcher.Decision{}, err
		}
		if taking.Holder = holder; holder != nil {
			if taking.HolderLedger, err = t.held.Ledger.All(holder.ID); err != nil {
				return matcher.Decision{}, err
			}
		}
	}
	if row := history.Restores(change); row != nil {
		again, err := t.held.Ledger.AppliedAgain(row.ID)
		if err != nil {
			return matcher.Decision{}, err
		}
		taking.Again = again
	}
	return matcher.Undo(taking, t.policy, conversion.MakeID(t.upload.ID, conversion.LineOf(change.ID))), nil
}

// costInTheWay says what is in the way of taking back what a line said of its call's
// cost; "" if nothing is.
func (t *takingBack) costInTheWay(line int) string {
	said, ok := t.held.Costs[line]
	if !ok {
		return ""
	}
	return matcher.CostInTheWay(said, t.held.Calls[said.Call].Cost, t.held.CostsSaid[said.Call])
}

// cost takes back what a line said of its call's cost.
func (t *takingBack) cost(outcome *conversion.Outcome) {
	said, ok := t.held.Costs[outcome.Line]
	if !ok || outcome.Verdict == conversion.Rejected {
		return
	}
	if why := t.costInTheWay(outcome.Line); why != "" {
		outcome.Code, outcome.Message = conversion.UndoConflict, why
		if t.held.Done[outcome.Line] == nil { // it had done nothing else
			outcome.Verdict = conversion.Rejected
		}
		return
	}
	t.costs = append(t.costs, conversion.CallCost{ID: conversion.MakeID(t.upload.ID, outcome.Line), Call: said.Call, Before: said.After, After: said.Before, Undoes: said.ID})
	t.held.Calls[said.Call].Cost = said.Before
	t.held.CostsSaid[said.Call] = slices.DeleteFunc(t.held.CostsSaid[said.Call], func(id int64) bool { return id == said.ID })
	outcome.Verdict = conversion.Updated
}
