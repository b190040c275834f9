package matcher

import (
	"cmp"
	"fmt"
	"strings"

	"calltally/conversion"
)

// Candidates are what a claim is decided against.
type Candidates struct {
	// Match is the claim's call, as FindCall chose it.
	Match Match
	// Prior is the newest conversion held under the claim's key; PriorCall is its call,
	// where that is not the claim's.
	Prior     *conversion.Conversion
	PriorCall *conversion.Call
	// Referenced is the newest conversion with the claim's reference id.
	Referenced *conversion.Conversion
	// Named are the conversions that the claim names, one for each way it does, nil
	// where that leads to none; NamedCall is the first one's call.
	Named     []*conversion.Conversion
	NamedCall *conversion.Call
	// Repeated is the conversion that the same row in an earlier file became.
	Repeated *conversion.Conversion
	// Mark is what a conversion that is made in another's place is marked as, whatever
	// came since; "" where that is to be decided.
	Mark string
}

// Decision is what a claim does to the ledger. Change and Conversion are nil if
// it does nothing.
type Decision struct {
	Outcome    conversion.Outcome
	Change     *conversion.Change
	Conversion *conversion.Conversion // as it is after the change
	// NewKey is set if the change moves the conversion to another key.
	NewKey conversion.Key
	// Cost is set if the row says what its call cost, and that is news.
	Cost *conversion.CallCost
}

// Decide says what a claim does, given the call it means and what the ledger
// holds. upload is the upload the claim came in.
func Decide(claim *conversion.Claim, found Candidates, policy Policy, upload int64) Decision {
	d := decider{claim: claim, found: found, policy: policy, id: conversion.MakeID(upload, claim.Line)}
	d.outcome.Line = claim.Line
	return d.withCost(d.decide())
}

func (d *decider) decide() Decision {
	claim, call := d.claim, d.found.Match.Call
	if claim.Names.Given() {
		return d.addressed()
	}
	if match, column := d.misdated(); match.Code != "" && (claim.Web || call != nil) {
		d.meet(call)
		return d.reject(match.Code, column, "", "%s", match.Sentence)
	}
	switch {
	case claim.Web:
		return d.byKey(nil)
	case call == nil:
		return d.unmatched()
	}
	d.meet(call)
	if claim.Effect.CostOnly {
		d.outcome.Verdict = conversion.Unchanged
		return Decision{Outcome: d.outcome}
	}
	if used, label, id := d.usedBefore(); used != nil && used.Call != 0 && used.Call != call.ID {
		return d.reject(conversion.CluesConflict, label, id,
			"%s call %s, but %s %q was used before for conversion %d on another call. Correct one of them.",
			d.clues(), call.CallID, label, id, used.ID)
	}
	return d.byKey(call)
}

// usedBefore is the conversion that an id of the row belongs to already, and the id
// with its label: that under the key, where the id is part of a key without the call.
func (d *decider) usedBefore() (used *conversion.Conversion, label, id string) {
	key := d.policy.Rules(d.claim).KeySet()
	switch {
	case d.claim.ReferenceID != "" && key.Has(conversion.KeyReferenceID):
		return d.found.Prior, d.policy.labels().Reference, d.claim.ReferenceID
	case d.claim.EventID != "" && key.Has(conversion.KeyEventID) && !key.Has(conversion.KeyCall):
		return d.found.Prior, d.policy.labels().EventID, d.claim.EventID
	case d.claim.ReferenceID != "":
		return d.found.Referenced, d.policy.labels().Reference, d.claim.ReferenceID
	}
	return nil, "", ""
}

// clues begins a sentence with what of the row means its call.
func (d *decider) clues() string {
	if d.claim.CallIDs.Given() {
		return "The row's ids mean"
	}
	return "The start time means"
}

// decider carries one claim through its decision.
type decider struct {
	claim   *conversion.Claim
	found   Candidates
	policy  Policy
	id      int64
	outcome conversion.Outcome
	repeats bool                   // an earlier file had the very row, and its cost
	note    string                 // what else there is to tell the sender
	parent  *conversion.Conversion // what the claim adds a conversion to, if it does
}

// meet notes the call that the row turned out to be about.
func (d *decider) meet(call *conversion.Call) {
	if call != nil {
		d.outcome.CallID, d.outcome.CallStart = call.CallID, call.Start
	}
}

func (d *decider) reject(code conversion.Code, column, value, format string, args ...any) Decision {
	d.outcome.Verdict, d.outcome.Code = conversion.Rejected, code
	d.outcome.Column, d.outcome.Value = column, value
	d.outcome.Message = fmt.Sprintf(format, args...)
	return Decision{Outcome: d.outcome}
}

// leave is the decision to leave a conversion as it is.
func (d *decider) leave(verdict conversion.Verdict, held *conversion.Conversion, why string) Decision {
	d.outcome.Verdict, d.outcome.Message = verdict, strings.TrimSpace(why+" "+d.note)
	d.outcome.ConversionID, d.outcome.PayoutBefore, d.outcome.PayoutAfter = held.ID, held.Payout, held.Payout
	return Decision{Outcome: d.outcome}
}

// apply is the decision to change a conversion, unless its day is closed.
func (d *decider) apply(verdict conversion.Verdict, prior, after *conversion.Conversion, rule string) Decision {
	effective, fault := d.effective(prior, after)
	if fault != "" {
		return d.reject(conversion.PeriodLocked, d.policy.labels().Event, "", "%s", fault)
	}
	change := &conversion.Change{ID: d.id, Conversion: after.ID, Verdict: verdict, At: d.policy.Now, Effective: effective, After: after.Standing, Rule: rule}
	if prior != nil {
		change.Seq, change.Before, change.Details = prior.Changes, prior.Standing, after.Since(prior.Details)
	}
	after.Changes++
	d.outcome.Verdict, d.outcome.ConversionID, d.outcome.Rule = verdict, after.ID, rule
	d.outcome.Message = strings.TrimSpace(d.found.Match.Note + " " + d.note)
	d.outcome.PayoutBefore, d.outcome.PayoutAfter = change.Before.Payout, change.After.Payout
	return Decision{Outcome: d.outcome, Change: change, Conversion: after}
}

// effective is the day that a change counts from, or why it can't: a closed
// period takes no changes, and a conversion of one only such that say which open
// day they count for.
func (d *decider) effective(prior, after *conversion.Conversion) (day int, fault string) {
	account, effect := d.policy.Account, d.claim.Effect
	own := account.Day(after.OccurredAt)
	switch {
	case effect.On == conversion.OnCustom:
		day = effect.Custom
	case effect.On == conversion.OnConversion || prior == nil:
		day = own
	default:
		day = account.Day(d.policy.Now)
	}
	closed := account.LockBefore
	switch {
	case day < closed:
		return 0, fmt.Sprintf("This would count for %s, but the days before %s are closed. %s", conversion.DayName(day), conversion.DayName(closed), cureForLock)
	case prior != nil && own < closed && effect.On == "":
		return 0, fmt.Sprintf("Conversion %d is of %s, and the days before %s are closed. %s", prior.ID, conversion.DayName(own), conversion.DayName(closed), cureForLock)
	}
	return day, ""
}

const cureForLock = "Report it for an open day, or ask for the period to be opened (lock_before)."

// withCost adds what the row says of its call's cost to a decision that stands.
func (d *decider) withCost(decision Decision) Decision {
	call, cost := d.found.Match.Call, d.claim.CallCost
	if !cost.Given || call == nil || call.Cost == cost || d.repeats {
		return decision
	}
	switch decision.Outcome.Verdict {
	case conversion.Rejected, conversion.Waiting, conversion.Ignored: // which do nothing
		return decision
	}
	decision.Cost = &conversion.CallCost{ID: d.id, Call: call.ID, Before: call.Cost, After: cost}
	said := fmt.Sprintf("call cost %s → %s", inCurrency(call.Cost), inCurrency(cost))
	decision.Outcome.Rule = strings.TrimPrefix(decision.Outcome.Rule+"; "+said, "; ")
	if decision.Outcome.Verdict == conversion.Unchanged {
		decision.Outcome.Verdict = conversion.Updated
	}
	return decision
}

// byKey decides a claim by what is held under its key.
func (d *decider) byKey(call *conversion.Call) Decision {
	rules := d.policy.Rules(d.claim)
	if decision, incomplete := d.keyless(rules); incomplete {
		return decision
	}
	prior, its := d.found.Prior, cmp.Or(call, d.found.PriorCall)
	if d.found.Repeated != nil && Adds(d.claim, d.policy) {
		return d.again()
	}
	if prior == nil {
		return d.create(call)
	}
	switch rules.Mode {
	case conversion.ModeCreate, conversion.ModeCreateMarked:
		return d.create(call)
	case conversion.ModeIgnore:
		return d.ignore(prior, "Conversion %d is already held for this (line %d of upload %d), and repeats are ignored.")
	case conversion.ModeIgnoreSameEvent:
		return d.ignore(prior, "Conversion %d has this event id already (line %d of upload %d), and repeats are ignored by it.")
	case conversion.ModeIncrementPayout:
		return d.increment(prior, its)
	}
	return d.update(prior, its)
}

func (d *decider) again() Decision {
	d.repeats = true
	return d.leave(conversion.Unchanged, d.found.Repeated, "An earlier file had this very row, and it was applied then.")
}

func (d *decider) ignore(prior *conversion.Conversion, why string) Decision {
	return d.leave(conversion.Ignored, prior, fmt.Sprintf(why, prior.ID, conversion.LineOf(prior.ID), conversion.UploadOf(prior.ID)))
}

// keyless rejects a claim that lacks what conversions are told apart by.
func (d *decider) keyless(rules conversion.DuplicateRules) (Decision, bool) {
	switch key := rules.KeySet(); {
	case d.claim.ReferenceID == "" && key.Has(conversion.KeyReferenceID):
		name := d.policy.labels().Reference
		return d.reject(conversion.OptionMissing, name, "", "%s is blank, and the account tells conversions apart by it. Fill it in.", name), true
	case d.claim.EventID == "" && key.Has(conversion.KeyEventID) && (rules.Mode == conversion.ModeIgnoreSameEvent || !key.Has(conversion.KeyCall)):
		name := d.policy.labels().EventID
		if name == "" {
			return d.reject(conversion.EventIDMissing, "event_id", "", "The row has no event id, and the account tells repeats apart by it: its kind of file has no column for that. Have one of its columns mapped to event_id in the account's columns."), true
		}
		return d.reject(conversion.EventIDMissing, name, "", "The row has no event id: %s is blank, and the account tells repeats apart by it. Fill it in.", name), true
	}
	return Decision{}, false
}

// create makes a new conversion.
func (d *decider) create(call *conversion.Call) Decision {
	made := d.fresh(call)
	rule := d.earn(made, call)
	verdict := conversion.Created
	if d.policy.Rules(d.claim).Mode == conversion.ModeCreateMarked && !anonymousChild(d.claim) {
		if made.Repeat = cmp.Or(d.found.Mark, conversion.RepeatNew); d.found.Mark == "" && d.found.Prior != nil {
			made.Repeat = conversion.RepeatRepeated
		}
		if made.Repeat == conversion.RepeatRepeated {
			verdict = conversion.Repeated
		}
	}
	if d.found.Prior != nil {
		made.Nth = d.found.Prior.Nth + 1
	}
	return d.apply(verdict, nil, made, rule)
}

// fresh is the conversion that the claim alone would make.
func (d *decider) fresh(call *conversion.Call) *conversion.Conversion {
	claim := d.claim
	made := &conversion.Conversion{
		ID: d.id, Key: KeyOf(claim, call, d.policy), KeyedBy: d.policy.Rules(claim).KeySet(),
		OccurredAt: d.policy.received(), Standing: claim.Standing, Details: claim.Details,
	}
	if d.parent != nil {
		made.Key, made.Details = ChildKey(claim, d.parent, d.policy), childOf(claim, d.parent)
	}
	made.Note = claim.Effect.Note
	made.Status = cmp.Or(made.Status, d.policy.Account.DefaultStatus)
	if call != nil {
		made.Call, made.OccurredAt = call.ID, call.Start
		made.Campaign, made.Publisher = cmp.Or(made.Campaign, call.Campaign), cmp.Or(made.Publisher, call.Publisher)
	}
	switch {
	case claim.Event.Given():
		made.OccurredAt = claim.Event.First.From
	case claim.EventNow:
		made.OccurredAt = d.policy.received()
	case call == nil && claim.Start.Given():
		made.OccurredAt = claim.Start.First.From
	}
	return made
}

// earn has the rules say what a new conversion earns and pays, as far as its row
// doesn't, and says how the payout came about.
func (d *decider) earn(made *conversion.Conversion, call *conversion.Call) string {
	var rules []string
	if made.Received.Given {
		made.ReceivedBy = conversion.ByRow
	} else {
		if received, rule := earned(made, call, d.policy.Account.Received); received.Given {
			made.Received = received
			rules = append(rules, "received "+rule)
		}
	}
	if made.Payout.Given {
		made.PayoutBy = conversion.ByRow
		return strings.Join(append(rules, fmt.Sprintf("payout %s from the row", made.Payout)), "; ")
	}
	paid, rule := payout(made, call, d.policy.Account)
	made.Payout = paid
	if rule != "" {
		rules = append(rules, rule)
	}
	return strings.Join(rules, "; ")
}

// increment adds what the row pays to the payout that is held, and nothing else.
func (d *decider) increment(prior *conversion.Conversion, call *conversion.Call) Decision {
	if prior.Status == conversion.StatusReversed {
		return d.reversed(prior)
	}
	alone := d.fresh(call)
	rule := d.earn(alone, call)
	added, held := alone.Payout, prior.Payout
	switch status := d.claim.Status; {
	case !added.Given || added.Minor == 0:
		return d.leave(conversion.Unchanged, prior, "The row pays nothing, so there is nothing to add.")
	case status != conversion.StatusPending && !status.Pays():
		return d.leave(conversion.Unchanged, prior, fmt.Sprintf("The row is %s, so it adds nothing to the payout.", status))
	case held.Given && held.Currency != added.Currency && !d.claim.Payout.Given:
		return d.leave(conversion.Unchanged, prior, fmt.Sprintf("The payout is kept: %s can't be added to %s.", inCurrency(added), inCurrency(held)))
	case held.Given && held.Currency != added.Currency:
		return d.wrongCurrency(added.Currency, prior, held.Currency)
	}
	after := *prior
	both, ok := held.Plus(added)
	if !ok {
		return d.tooMuch(d.policy.labels().Payout, added, prior, held)
	}
	after.Payout, after.PayoutBy = both, conversion.ByRow
	trace := fmt.Sprintf("increment_payout: %s + %s = %s", conversion.Cents(held.Minor, added.Currency), added, after.Payout)
	if !d.claim.Payout.Given && rule != "" {
		trace += "; " + rule
	}
	return d.apply(conversion.Incremented, prior, &after, trace)
}

func (d *decider) wrongCurrency(given conversion.Currency, held *conversion.Conversion, its conversion.Currency) Decision {
	return d.reject(conversion.CurrencyMismatch, d.policy.labels().Currency, string(given),
		"Conversion %d is in %s and can't be changed to %s. Send the amount in %s.", held.ID, its, given, its)
}

func (d *decider) tooMuch(column string, added conversion.Amount, held *conversion.Conversion, its conversion.Amount) Decision {
	return d.reject(conversion.AmountInvalid, column, added.String(),
		"Conversion %d holds %s already, and %s more, which %s says, is more than can be held. Correct it.", held.ID, its, added, column)
}

func nothing(a conversion.Amount) string {
	if !a.Given {
		return "none"
	}
	return a.String()
}
