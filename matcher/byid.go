package matcher

import (
	"cmp"
	"fmt"
	"slices"

	"calltally/conversion"
)

// byID chooses the call that a claim names by its ids. All that are known must
// name the same one, and a start time must not name another: then the claim
// contradicts itself.
func byID(claim *conversion.Claim, calls []conversion.Call, policy Policy) Match {
	var named *conversion.Call
	var kind conversion.CallIDKind
	for k, id := range claim.CallIDs {
		k := conversion.CallIDKind(k)
		found := knownBy(claim, calls, k, id, policy)
		switch {
		case found.Code != "" && found.Code != conversion.CallNotFound:
			return found
		case found.Call == nil:
		case named != nil && named.ID != found.Call.ID:
			return contradiction(fmt.Sprintf("The row's %s means call %s, but its %s means call %s. Correct one of them.", kind, named.CallID, k, found.Call.CallID), policy, named, found.Call)
		default:
			named, kind = found.Call, k
		}
	}
	if named == nil {
		return Match{Code: conversion.CallNotFound, Sentence: unknownID(claim.CallIDs)}
	}
	if other, conflict := contradictsStart(claim, named, calls, policy); conflict {
		sentence := fmt.Sprintf("The row's %s means call %s of %s, which is more than %s from %s. Correct the id or the start time.",
			kind, named.CallID, policy.clock(named.Start), windowName(windowFor(claim, policy)), policy.written(claim.Start.First))
		if other != nil {
			sentence = fmt.Sprintf("The row's %s means call %s, but its start time means call %s. Correct one of them.", kind, named.CallID, other.CallID)
		}
		return contradiction(sentence, policy, named, other)
	}
	if claim.Caller != 0 && named.Caller != 0 && claim.Caller != named.Caller {
		return contradiction(fmt.Sprintf("The row's %s means call %s, which came from %s, but its %s is %s. Correct one of them.",
			kind, named.CallID, named.Caller, policy.labels().Caller, claim.Caller), policy, named)
	}
	if lookback := policy.Account.Match.Lookback; lookback > 0 && !claim.Names.Given() && named.Start < policy.received()-millis(lookback) {
		return Match{Code: conversion.CallTooOld, Sentence: tooOld("call", named.Start, policy)}
	}
	call := *named // so that the others need not stay in memory
	return Match{Call: &call}
}

// knownBy finds the call known by one id. Several calls may share a click: then the
// caller or the start time must tell which.
func knownBy(claim *conversion.Claim, calls []conversion.Call, kind conversion.CallIDKind, id string, policy Policy) Match {
	var found []*conversion.Call
	for i := range calls {
		if calls[i].Named(kind, id) && !slices.ContainsFunc(found, func(c *conversion.Call) bool { return c.ID == calls[i].ID }) {
			found = append(found, &calls[i])
		}
	}
	switch len(found) {
	case 0:
		return Match{}
	case 1:
		return Match{Call: found[0]}
	}
	slices.SortFunc(found, func(a, b *conversion.Call) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.CallID, b.CallID))
	})
	if claim.Start.Given() || claim.Caller != 0 {
		those := make([]conversion.Call, len(found))
		for i, c := range found {
			those[i] = *c
		}
		if match := among(claim, those, policy); match.Call != nil {
			return match
		}
	}
	return Match{Code: conversion.CallAmbiguous, Tied: listed(found, policy),
		Sentence: fmt.Sprintf("%s have the %s %q. Add the call's start time or its caller.", capital(conversion.Count(len(found), "call")), kind, id)}
}

// among chooses among calls of one click by what else the row says.
func among(claim *conversion.Claim, calls []conversion.Call, policy Policy) Match {
	if claim.Start.Given() {
		return byStart(claim, calls, policy)
	}
	fitting := slices.DeleteFunc(calls, func(c conversion.Call) bool { return !agreesOnNumbers(claim, &c) })
	if len(fitting) == 1 {
		return Match{Call: &fitting[0]}
	}
	return Match{}
}

// contradictsStart reports whether a claim's start time speaks against the call
// that it names, and for which other call it speaks, if for any.
func contradictsStart(claim *conversion.Claim, named *conversion.Call, calls []conversion.Call, policy Policy) (other *conversion.Call, conflict bool) {
	if !claim.Start.Given() {
		return nil, false
	}
	if match := byStart(claim, calls, policy); match.Call != nil && match.Call.ID != named.ID {
		return match.Call, true
	}
	window := int64(windowFor(claim, policy))
	return nil, !slices.ContainsFunc(claim.Start.Readings(), func(s conversion.Span) bool { return s.Distance(named.Start) <= window })
}

func contradiction(sentence string, policy Policy, calls ...*conversion.Call) Match {
	return Match{Code: conversion.CluesConflict, Sentence: sentence, Tied: listed(calls, policy)}
}

// listed lists calls that can't be told apart or contradict each other.
func listed(calls []*conversion.Call, policy Policy) []conversion.NearMiss {
	var list []conversion.NearMiss
	for _, c := range calls {
		if c != nil && len(list) < mostTied {
			list = append(list, conversion.NearMiss{CallID: c.CallID, Why: "started " + policy.clock(c.Start)})
		}
	}
	return list
}

func unknownID(ids conversion.CallIDs) string {
	sentence := ""
	for kind, id := range ids {
		if id == "" {
			continue
		}
		if sentence == "" {
			sentence = "No call has "
		} else {
			sentence += " or "
		}
		sentence += fmt.Sprintf("the %s %q", conversion.CallIDKind(kind), id)
	}
	return sentence + "."
}

// latestBefore chooses the caller's latest call before the event.
func latestBefore(claim *conversion.Claim, calls []conversion.Call, policy Policy) Match {
	event := eventOf(claim, policy)
	var latest []*conversion.Call
	for i := range calls {
		c := &calls[i]
		switch {
		case c.Start > event.To || !agreesOnNumbers(claim, c):
		case len(latest) == 0 || c.Start > latest[0].Start:
			latest = []*conversion.Call{c}
		case c.Start == latest[0].Start && c.ID != latest[0].ID:
			latest = append(latest, c)
		}
	}
	slices.SortFunc(latest, func(a, b *conversion.Call) int { return cmp.Compare(a.CallID, b.CallID) })
	switch len(latest) {
	case 0:
		return Match{Code: conversion.CallNotFound, Sentence: fmt.Sprintf("No call from %s in the %s before %s.", claim.Caller, days(policy.Account.Match.Lookback), policy.written(event))}
	case 1:
		call := *latest[0]
		return Match{Call: &call, Note: fmt.Sprintf("Its call is the latest from %s before the event, %s.", claim.Caller, policy.clock(latest[0].Start))}
	}
	return Match{Code: conversion.CallAmbiguous, Tied: listed(latest, policy),
		Sentence: fmt.Sprintf("%s from that caller began at the same moment. Add the number that was dialled, or the start time.", capital(conversion.Count(len(latest), "call")))}
}
