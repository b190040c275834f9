package worker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"calltally/conversion"
	"calltally/matcher"
)

// settling decides the rows of a chunk in order; each sees what the ones before
// it did.
type settling struct {
	upload       *conversion.Upload
	policy       matcher.Policy
	held         *conversion.Held
	outcomes     []conversion.Outcome
	touched      map[int64]*conversion.Conversion
	changes      []*conversion.Change
	costs        []conversion.CallCost
	rekeyed      []int64
	fingerprints map[conversion.Fingerprint]int64
	reapplied    map[int64]int64
	tally        conversion.Tally
	cursor       int
	limit        int    // rejected rows after which reading ends; 0 for none
	forgiven     int    // those that don't count for that
	diagnosis    string // of the file so far
}

// newSettling begins with what is held for about so many rows.
func newSettling(upload *conversion.Upload, policy matcher.Policy, held *conversion.Held, rows int) *settling {
	return &settling{
		upload: upload, policy: policy, held: held, tally: upload.Tally, cursor: upload.Cursor, limit: policy.Account.ErrorLimit,
		outcomes: make([]conversion.Outcome, 0, rows), changes: make([]*conversion.Change, 0, rows),
		touched: make(map[int64]*conversion.Conversion, rows), fingerprints: map[conversion.Fingerprint]int64{}, reapplied: map[int64]int64{},
	}
}

// add decides one row, or the rows of one order.
func (s *settling) add(r *row) error {
	outcomes, err := s.decideAll(r)
	s.note(outcomes...)
	return err
}

// note keeps outcomes.
func (s *settling) note(outcomes ...conversion.Outcome) {
	s.outcomes = append(s.outcomes, outcomes...)
	s.tally.Add(outcomes...)
	for _, o := range outcomes {
		s.cursor = max(s.cursor, o.Line)
	}
}

// decideAll decides a row, or the rows of one order: what becomes of it is the
// outcome of each, and its money stands on the first.
func (s *settling) decideAll(r *row) ([]conversion.Outcome, error) {
	if r.kept != nil {
		for _, o := range r.kept {
			if o.Code == conversion.UndoConflict { // the replay's, not the row's
				s.forgiven++
			}
		}
		return r.kept, nil
	}
	first, err := s.decide(r)
	outcomes := []conversion.Outcome{first}
	for _, line := range r.claim.Others {
		part := first
		part.Line, part.PartOf = line, first.Line
		part.PayoutBefore, part.PayoutAfter, part.Rule, part.Near, part.Shift = conversion.Amount{}, conversion.Amount{}, "", nil, 0
		part.Message = strings.TrimSpace(fmt.Sprintf("Part of the order that begins on line %d. %s", first.Line, first.Message))
		outcomes = append(outcomes, part)
	}
	return outcomes, err
}

func (s *settling) decide(r *row) (conversion.Outcome, error) {
	copied, applied := s.held.Copies[r.claim.Line]
	switch {
	case applied:
		return appliedBefore(copied), nil
	case s.limit > 0 && s.tally.Of(conversion.Rejected)-s.forgiven >= s.limit:
		return conversion.Outcome{Line: r.claim.Line, Verdict: conversion.Rejected, Code: conversion.NotReached,
			Message: fmt.Sprintf("Reading ended after %s, as the account's error_limit says. Correct those and send the file again.", conversion.Count(s.limit, "rejected row"))}, nil
	case r.rejection != nil:
		return r.rejection.Outcome(), nil
	}
	return s.apply(r)
}

// appliedBefore is the outcome of a row whose file came before and was applied
// then.
func appliedBefore(earlier conversion.AppliedLine) conversion.Outcome {
	return conversion.Outcome{
		Line: earlier.Line, Verdict: conversion.Unchanged, CallID: earlier.CallID, CallStart: earlier.CallStart, ConversionID: earlier.ConversionID,
		PayoutBefore: earlier.PayoutAfter, PayoutAfter: earlier.PayoutAfter,
		Message: fmt.Sprintf("The same file came before, as upload %d, and this row was applied then.", earlier.Upload),
	}
}

// apply decides a row by the ledger.
func (s *settling) apply(r *row) (conversion.Outcome, error) {
	found := matcher.Candidates{Match: r.match, Prior: s.held.Latest(r.key), Referenced: s.held.Referenced(r.claim.ReferenceID), Repeated: s.held.Applied(r.fingerprint), Mark: r.mark}
	if r.claim.Names.Given() {
		if err := s.addName(&found, r); err != nil {
			return conversion.Outcome{}, err
		}
	}
	if found.Prior != nil {
		found.PriorCall = s.held.Calls[found.Prior.Call]
	}
	if call := r.match.Call; call != nil && r.claim.CallCost.Given && s.held.Calls[call.ID] != nil {
		found.Match.Call = s.held.Calls[call.ID] // as it is now
	}
	decision := matcher.Decide(&r.claim, found, s.policy, s.upload.ID)
	if cost := decision.Cost; cost != nil {
		s.costs = append(s.costs, *cost)
		costs := *found.Match.Call
		costs.Cost = cost.After
		s.held.Calls[cost.Call] = &costs
	}
	outcome := decision.Outcome
	if outcome.Code == conversion.CallNotFound || outcome.Code == conversion.CallInFuture {
		outcome.Near, outcome.Shift = r.near, r.shift
	}
	if decision.Change == nil {
		return outcome, nil
	}
	if decision.Change.Seq > 1 { // something can be set back that was changed before
		earlier, err := s.held.Ledger.Earlier(decision.Conversion)
		if err != nil {
			return outcome, err
		}
		outcome.Message = strings.TrimSpace(outcome.Message + " " + matcher.Returns(decision.Change, earlier))
	}
	if call := r.match.Call; call != nil && s.held.Calls[call.ID] == nil {
		s.held.Calls[call.ID] = call
	}
	if r.fingerprint != (conversion.Fingerprint{}) {
		if before := s.held.TakenBack(r.fingerprint); before != 0 {
			s.reapplied[before] = decision.Change.ID
		}
		s.fingerprints[r.fingerprint] = decision.Change.ID
	}
	return outcome, s.keep(decision)
}

// addName adds the conversions that a row names and the first one's call, and what is
// held under the key of one that it adds to that.
func (s *settling) addName(found *matcher.Candidates, r *row) (err error) {
	var call int64
	if r.match.Call != nil {
		call = r.match.Call.ID
	}
	found.Named = s.held.Named(r.claim.Names, call)
	if len(found.Named) == 0 || found.Named[0] == nil {
		return nil
	}
	named := found.Named[0]
	found.NamedCall = s.held.Calls[named.Call]
	if r.claim.Effect.Link {
		found.Prior, err = s.held.Newest(matcher.ChildKey(&r.claim, named, s.policy))
	}
	return err
}

// keep keeps what a decision does to a conversion.
func (s *settling) keep(decision matcher.Decision) error {
	if decision.NewKey == (conversion.Key{}) && s.held.Astray(decision.Conversion) {
		decision.NewKey = decision.Conversion.Key // which finds a free place
	}
	if decision.NewKey != (conversion.Key{}) {
		if err := s.held.Rekey(decision.Conversion, decision.NewKey); err != nil {
			return err
		}
		s.rekeyed = append(s.rekeyed, decision.Conversion.ID)
	}
	s.held.Put(decision.Conversion)
	s.touched[decision.Conversion.ID] = decision.Conversion
	s.changes = append(s.changes, decision.Change)
	return nil
}

// settlement is what the chunk came to.
func (s *settling) settlement(c *chunk, now conversion.Millis) *conversion.Settlement {
	return &conversion.Settlement{
		Upload: s.upload.ID, From: s.upload.State, After: s.upload.Cursor, Waiting: s.upload.Tally.Of(conversion.Waiting), Cursor: s.cursor,
		Outcomes: s.outcomes, Changes: s.changes, Costs: s.costs, Fingerprints: s.fingerprints, Reapplied: s.reapplied, Tally: s.tally,
		Rekeyed: s.rekeyed, Conversions: slices.SortedFunc(maps.Values(s.touched), byID),
		Done: c.last, News: c.last, At: now, Diagnosis: s.diagnosis,
	}
}

// byID is the order in which conversions are stored.
func byID(a, b *conversion.Conversion) int { return cmp.Compare(a.ID, b.ID) }
