package worker

import (
	"fmt"
	"maps"
	"slices"

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
	rekeyed      []int64
	fingerprints map[conversion.Fingerprint]int64
	tally        conversion.Tally
	cursor       int
	limit        int    // rejected rows after which reading ends; 0 for none
	diagnosis    string // of the file so far
}

func newSettling(upload *conversion.Upload, policy matcher.Policy, held *conversion.Held) *settling {
	return &settling{
		upload: upload, policy: policy, held: held, tally: upload.Tally, cursor: upload.Cursor, limit: policy.Account.ErrorLimit,
		touched: map[int64]*conversion.Conversion{}, fingerprints: map[conversion.Fingerprint]int64{},
	}
}

// add decides one row.
func (s *settling) add(r *row) error {
	outcome, err := s.decide(r)
	if err != nil {
		return err
	}
	s.outcomes = append(s.outcomes, outcome)
	s.tally.Add(outcome)
	s.cursor = max(s.cursor, outcome.Line)
	return nil
}

func (s *settling) decide(r *row) (conversion.Outcome, error) {
	copied, applied := s.held.Copies[r.claim.Line]
	switch {
	case applied:
		return appliedBefore(copied), nil
	case s.limit > 0 && s.tally.Of(conversion.Rejected) >= s.limit:
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
	parent := s.held.Referenced(r.claim.ParentReferenceID)
	var parentCall *conversion.Call
	if parent != nil {
		parentCall = s.held.Calls[parent.Call]
	}
	decision := matcher.Decide(&r.claim, matcher.Candidates{
		Match:      r.match,
		ParentCall: parentCall,
		Prior:      s.held.Latest(r.key),
		Referenced: s.held.Referenced(r.claim.ReferenceID),
		Parent:     parent,
		Repeated:   s.held.Applied(r.fingerprint),
	}, s.policy, s.upload.ID)
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
		outcome.Message = matcher.Returns(decision.Change, earlier)
	}
	if decision.NewKey != (conversion.Key{}) {
		if err := s.held.Rekey(decision.Conversion, decision.NewKey); err != nil {
			return outcome, err
		}
		s.rekeyed = append(s.rekeyed, decision.Conversion.ID)
	}
	s.held.Put(decision.Conversion)
	if r.match.Call != nil {
		s.held.Calls[r.match.Call.ID] = r.match.Call
	}
	s.touched[decision.Conversion.ID] = decision.Conversion
	s.changes = append(s.changes, decision.Change)
	if r.fingerprint != (conversion.Fingerprint{}) {
		s.fingerprints[r.fingerprint] = decision.Change.ID
	}
	return outcome, nil
}

// settlement is what the chunk came to.
func (s *settling) settlement(c *chunk, now conversion.Millis) *conversion.Settlement {
	return &conversion.Settlement{
		Upload: s.upload.ID, From: s.upload.State, After: s.upload.Cursor, Waiting: s.upload.Tally.Of(conversion.Waiting), Cursor: s.cursor,
		Outcomes: s.outcomes, Changes: s.changes, Fingerprints: s.fingerprints, Tally: s.tally,
		Rekeyed: s.rekeyed, Conversions: slices.SortedFunc(maps.Values(s.touched), byKey),
		Done: c.last, News: c.last, At: now, Diagnosis: s.diagnosis,
	}
}

// byKey is the order of the conversions' busiest index, in which they are
// written fastest.
func byKey(a, b *conversion.Conversion) int { return slices.Compare(a.Key[:], b.Key[:]) }
