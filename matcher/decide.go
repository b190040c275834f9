package matcher

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"calltally/conversion"
)

// Candidates are what a claim is decided against.
type Candidates struct {
	// Match is the claim's call, as FindCall chose it.
	Match Match
	// Prior is the newest conversion held under the claim's key.
	Prior *conversion.Conversion
	// Referenced is the newest conversion with the claim's reference id, Parent
	// the one with its parent reference id; ParentCall is that one's call.
	Referenced, Parent *conversion.Conversion
	ParentCall         *conversion.Call
	// Repeated is the conversion that the same row in an earlier file became.
	Repeated *conversion.Conversion
}

// Decision is what a claim does to the ledger. Change and Conversion are nil if
// it does nothing.
type Decision struct {
	Outcome    conversion.Outcome
	Change     *conversion.Change
	Conversion *conversion.Conversion // as it is after the change
	// NewKey is set if the change moves the conversion to another key.
	NewKey conversion.Key
}

// Decide says what a claim does, given the call it means and what the ledger
// holds. upload is the upload the claim came in.
func Decide(claim *conversion.Claim, found Candidates, policy Policy, upload int64) Decision {
	d := decider{claim: claim, found: found, policy: policy, id: conversion.MakeID(upload, claim.Line)}
	d.outcome.Line = claim.Line
	switch {
	case claim.ParentReferenceID != "":
		return d.addressed()
	case claim.Web:
		return d.byKey(nil)
	case found.Match.Call == nil:
		return d.unmatched()
	}
	call := found.Match.Call
	d.meet(call)
	if r := found.Referenced; r != nil && r.Call != 0 && r.Call != call.ID {
		return d.reject(conversion.CluesConflict, "reference_id", claim.ReferenceID,
			"The start time means call %s, but reference_id %q was used before for conversion %d on another call. Correct one of them.",
			call.CallID, claim.ReferenceID, r.ID)
	}
	return d.byKey(call)
}

// meet notes the call that the row turned out to be about.
func (d *decider) meet(call *conversion.Call) {
	if call != nil {
		d.outcome.CallID, d.outcome.CallStart = call.CallID, call.Start
	}
}

// decider carries one claim through its decision.
type decider struct {
	claim   *conversion.Claim
	found   Candidates
	policy  Policy
	id      int64
	outcome conversion.Outcome
	newKey  conversion.Key
}

func (d *decider) reject(code conversion.Code, column, value, format string, args ...any) Decision {
	d.outcome.Verdict, d.outcome.Code = conversion.Rejected, code
	d.outcome.Column, d.outcome.Value = column, value
	d.outcome.Message = fmt.Sprintf(format, args...)
	return Decision{Outcome: d.outcome}
}

// unmatched rejects a claim without a call, or has it wait for a call that may
// still come.
func (d *decider) unmatched() Decision {
	match := d.found.Match
	d.outcome.Near = match.Tied
	wait := d.policy.Account.WaitForCalls
	decision := d.reject(match.Code, "start_time", "", "%s", match.Sentence)
	if match.Code == conversion.CallNotFound && wait > 0 && d.claim.Start.First.To > d.policy.Now-millis(wait) {
		decision.Outcome.Verdict = conversion.Waiting
		until := d.claim.Start.First.From + millis(wait)
		decision.Outcome.Message += fmt.Sprintf(" The row waits for the call until %s.", d.policy.clock(until))
	}
	return decision
}

// addressed updates the conversion that the claim names.
func (d *decider) addressed() Decision {
	parent := d.found.Parent
	if parent == nil {
		return d.reject(conversion.ConversionNotFound, "parent_reference_id", d.claim.ParentReferenceID,
			"No conversion has reference_id %q. Send that one first, or correct parent_reference_id.", d.claim.ParentReferenceID)
	}
	if call := d.found.Match.Call; call != nil && parent.Call != 0 && call.ID != parent.Call {
		d.meet(call)
		return d.reject(conversion.CluesConflict, "parent_reference_id", d.claim.ParentReferenceID,
			"The start time means call %s, but parent_reference_id %q names conversion %d on another call. Correct one of them.",
			call.CallID, d.claim.ParentReferenceID, parent.ID)
	}
	d.meet(d.found.ParentCall)
	return d.update(parent, d.found.ParentCall)
}

// byKey decides a claim by what is held under its key.
func (d *decider) byKey(call *conversion.Call) Decision {
	rules, _ := d.policy.Account.RulesFor(d.claim.EventType)
	for _, part := range rules.Key {
		if part == conversion.KeyReferenceID && d.claim.ReferenceID == "" {
			return d.reject(conversion.OptionMissing, "reference_id", "", "reference_id is blank, and the account tells conversions apart by it. Fill it in.")
		}
	}
	prior := d.found.Prior
	switch {
	case !rules.Idempotent() && !rules.ApplyRepeats && d.found.Repeated != nil:
		return d.leave(conversion.Unchanged, d.found.Repeated, "An earlier file had this very row, and it was applied then.")
	case prior == nil || rules.Mode == conversion.ModeCreate:
		return d.create(call)
	case rules.Mode == conversion.ModeIgnore:
		return d.leave(conversion.Ignored, prior, fmt.Sprintf("Conversion %d is already held for this (line %d of upload %d), and repeats are ignored.",
			prior.ID, conversion.LineOf(prior.ID), conversion.UploadOf(prior.ID)))
	}
	return d.update(prior, call)
}

// leave is the decision to leave a conversion as it is.
func (d *decider) leave(verdict conversion.Verdict, held *conversion.Conversion, why string) Decision {
	d.outcome.Verdict, d.outcome.Message = verdict, why
	d.outcome.ConversionID, d.outcome.PayoutBefore, d.outcome.PayoutAfter = held.ID, held.Payout, held.Payout
	return Decision{Outcome: d.outcome}
}

// create makes a new conversion.
func (d *decider) create(call *conversion.Call) Decision {
	claim := d.claim
	made := &conversion.Conversion{
		ID: d.id, Key: KeyOf(claim, call, d.policy), Changes: 1, OccurredAt: d.policy.Now, Sale: claim.Sale,
		Details: conversion.Details{
			ReferenceID: claim.ReferenceID, EventType: claim.EventType, ReasonCode: claim.ReasonCode,
			SKUs: claim.SKUs, Quantities: claim.Quantities, Campaign: claim.Campaign, Publisher: claim.Publisher, Customer: claim.Customer,
		},
	}
	if d.found.Prior != nil {
		made.Nth = d.found.Prior.Nth + 1
	}
	switch {
	case call != nil:
		made.Call, made.OccurredAt = call.ID, call.Start
		made.Campaign, made.Publisher = cmp.Or(made.Campaign, call.Campaign), cmp.Or(made.Publisher, call.Publisher)
	case claim.Start.Given():
		made.OccurredAt = claim.Start.First.From
	}
	var rule string
	made.Payout, rule = payout(made, call, d.policy.Account)
	change := &conversion.Change{
		ID: d.id, Conversion: d.id, Verdict: conversion.Created, At: d.policy.Now, Effective: d.policy.Account.Day(made.OccurredAt),
		SaleAfter: made.Sale, PayoutAfter: made.Payout, Rule: rule,
	}
	return d.applied(conversion.Created, made, change)
}

// update replaces what the claim gives and leaves what it doesn't.
func (d *decider) update(prior *conversion.Conversion, call *conversion.Call) Decision {
	claim := d.claim
	if claim.Sale.Given && prior.Sale.Given && claim.Sale.Currency != prior.Sale.Currency {
		return d.reject(conversion.CurrencyMismatch, "sale_currency", string(claim.Sale.Currency),
			"Conversion %d is in %s and can't be changed to %s. Send the amount in %s.", prior.ID, prior.Sale.Currency, claim.Sale.Currency, prior.Sale.Currency)
	}
	after := *prior
	if claim.Sale.Given {
		after.Sale = claim.Sale
	}
	changes := replaceDetails(&after.Details, claim)
	var paid string
	if after.Sale != prior.Sale || len(changes) > 0 {
		paid = d.repay(prior, &after, call)
	}
	if after == *prior {
		return d.leave(conversion.Unchanged, prior, "")
	}
	rule := updateTrace(prior, &after, changes, paid)
	after.Changes++
	if before, now := keyOf(prior.Details, prior.Call, d.policy), keyOf(after.Details, after.Call, d.policy); before != now {
		d.newKey = now
	}
	change := &conversion.Change{
		ID: d.id, Conversion: prior.ID, Seq: prior.Changes, Verdict: conversion.Updated, At: d.policy.Now, Effective: d.policy.Account.Day(d.policy.Now),
		SaleBefore: prior.Sale, SaleAfter: after.Sale, PayoutBefore: prior.Payout, PayoutAfter: after.Payout,
		Details: changes, Rule: rule,
	}
	return d.applied(conversion.Updated, &after, change)
}

// repay computes the payout of a changed conversion and says how it came about;
// "" if it stays as it was. A payout keeps the currency it began with.
func (d *decider) repay(prior, after *conversion.Conversion, call *conversion.Call) string {
	paid, rule := payout(after, call, d.policy.Account)
	switch held := prior.Payout; {
	case held.Given && !paid.Given:
		paid = conversion.Cents(0, held.Currency)
	case held.Given && paid.Currency != held.Currency:
		return fmt.Sprintf("payout kept: %s %s can't take the place of %s %s", paid, paid.Currency, held, held.Currency)
	}
	if after.Payout = paid; paid == prior.Payout {
		return ""
	}
	return rule
}

// updateTrace says what an update changed, and then what it pays.
func updateTrace(prior, after *conversion.Conversion, changes []conversion.DetailChange, paid string) string {
	var parts []string
	if after.Sale != prior.Sale {
		parts = append(parts, fmt.Sprintf("sale %s → %s", nothing(prior.Sale), after.Sale))
	}
	for _, c := range changes {
		if c.Name == "customer" { // people's names and addresses stay out of traces
			parts = append(parts, "customer data")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s → %s", c.Name, cmp.Or(c.Before, "none"), cmp.Or(c.After, "none")))
	}
	trace := "update: " + strings.Join(parts, ", ")
	if paid != "" {
		trace += "; " + paid
	}
	return trace
}

func nothing(a conversion.Amount) string {
	if !a.Given {
		return "none"
	}
	return a.String()
}

// replaceDetails puts the details that a claim gives in place of those held and
// lists what changed. Quantities belong to their SKUs and go with them.
func replaceDetails(details *conversion.Details, claim *conversion.Claim) []conversion.DetailChange {
	var changes []conversion.DetailChange
	newItems := claim.SKUs != "" && claim.SKUs != details.SKUs
	reference := claim.ReferenceID
	if claim.ParentReferenceID != "" && details.ReferenceID != "" {
		reference = "" // the parent goes on being found under its own
	}
	for _, part := range []struct {
		name  string
		held  *string
		given string
	}{
		{"reference_id", &details.ReferenceID, reference},
		{"event_type", &details.EventType, claim.EventType},
		{"reason_code", &details.ReasonCode, claim.ReasonCode},
		{"sku_list", &details.SKUs, claim.SKUs},
		{"quantity_list", &details.Quantities, claim.Quantities},
		{"campaign", &details.Campaign, claim.Campaign},
		{"publisher", &details.Publisher, claim.Publisher},
		{"customer", &details.Customer, mergeCustomer(details.Customer, claim.Customer)},
	} {
		cleared := newItems && part.held == &details.Quantities
		if (part.given != "" || cleared) && part.given != *part.held {
			changes = append(changes, conversion.DetailChange{Name: part.name, Before: *part.held, After: part.given})
			*part.held = part.given
		}
	}
	return changes
}

// mergeCustomer puts what a claim says of a customer over what is held, field by
// field: a blank leaves a field alone. Both are JSON objects of texts, or "".
func mergeCustomer(held, given string) string {
	if held == "" || given == "" {
		return given
	}
	merged := map[string]string{}
	for _, text := range []string{held, given} {
		if json.Unmarshal([]byte(text), &merged) != nil {
			return given
		}
	}
	text, _ := json.Marshal(merged) // a map of strings always marshals
	return string(text)
}

func (d *decider) applied(verdict conversion.Verdict, after *conversion.Conversion, change *conversion.Change) Decision {
	d.outcome.Verdict, d.outcome.ConversionID = verdict, after.ID
	d.outcome.PayoutBefore, d.outcome.PayoutAfter = change.PayoutBefore, change.PayoutAfter
	d.outcome.Rule = change.Rule
	return Decision{Outcome: d.outcome, Change: change, Conversion: after, NewKey: d.newKey}
}

// Returns says if a change sets the sale back to what it was before another
// file changed it: an older file that was sent late looks like this.
func Returns(change *conversion.Change, earlier []*conversion.Change) string {
	for _, e := range earlier {
		sameFile := conversion.UploadOf(e.ID) == conversion.UploadOf(change.ID)
		if !sameFile && e.Verdict == conversion.Updated && e.SaleBefore == change.SaleAfter && e.SaleBefore != e.SaleAfter && change.SaleAfter.Given {
			return fmt.Sprintf("This sets the sale back to %s, which upload %d had changed to %s.", change.SaleAfter, conversion.UploadOf(e.ID), e.SaleAfter)
		}
	}
	return ""
}
