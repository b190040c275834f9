// Package matcher makes the decisions: which call a row means, what the row
// does to the ledger, and what it pays. It is pure: the same claim, candidates
// and policy give the same decision, whatever the order they came in.
package matcher

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"calltally/conversion"
)

// Policy is the rules that hold for an upload, and the moments they are applied
// at.
type Policy struct {
	Account *conversion.Account
	// Source are the duplicate rules of the place the upload came from, DialectKey
	// the key that its dialect tells conversions apart by, DialectKeyNoID that of rows
	// without an event id; zero where they leave it to others.
	Source                     conversion.DuplicateRules
	DialectKey, DialectKeyNoID []conversion.KeyPart
	// Received is when the upload came: rows are judged as of then. 0 means Now.
	Received conversion.Millis
	Now      conversion.Millis
	// Zone is whose clock messages go by; nil for the account's.
	Zone *time.Location
	// Labels are what the upload calls what its rows say; nil for our own names.
	Labels *conversion.Labels
}

func (p *Policy) labels() *conversion.Labels { return cmp.Or(p.Labels, &conversion.OurLabels) }

// Rules are the duplicate rules that hold for a claim: its event type's prevail over
// the source's, those over the account's, those over the dialect's.
func (p Policy) Rules(claim *conversion.Claim) conversion.DuplicateRules {
	key := p.DialectKey
	if claim.EventID == "" && len(p.DialectKeyNoID) > 0 {
		key = p.DialectKeyNoID
	}
	rules := p.Source.Over(p.Account.Duplicates.Over(conversion.DuplicateRules{Key: key, Mode: conversion.ModeUpdate, Repeats: conversion.RepeatsOnce}))
	if t := p.Account.EventType(claim.EventType); t != nil && claim.EventType != "" {
		rules = t.Duplicates.Over(rules)
	}
	if len(rules.Key) == 0 {
		rules.Key = conversion.DefaultKey
	}
	return rules
}

// received is when the upload came.
func (p Policy) received() conversion.Millis { return cmp.Or(p.Received, p.Now) }

// durationWeight is how many seconds of start time one second of duration
// counts for: Invoca's documented weight.
const durationWeight = 20

// Match is the call a row means, or why none can be named.
type Match struct {
	Call *conversion.Call
	// Code and Sentence say why there is no call.
	Code     conversion.Code
	Sentence string
	// Tied are the calls that can't be told apart, or contradict each other.
	Tied []conversion.NearMiss
	// Note says how the call was found, where that is worth telling.
	Note string
}

// Searches returns where to look for a claim's call. A claim that names its
// conversion directly, or has no call, needs none.
func Searches(claim *conversion.Claim, policy Policy) []conversion.CallSearch {
	if claim.Web {
		return nil
	}
	var searches []conversion.CallSearch
	for kind, id := range claim.CallIDs {
		if id != "" {
			searches = append(searches, conversion.CallSearch{Kind: conversion.CallIDKind(kind), ID: id})
		}
	}
	if byEventTime(claim, policy) {
		event := eventOf(claim, policy)
		return append(searches, conversion.CallSearch{Caller: claim.Caller, Called: claim.Called, From: event.From - millis(policy.Account.Match.Lookback), To: event.To, Latest: true})
	}
	window := windowFor(claim, policy)
	for _, reading := range claim.Start.Readings() {
		searches = append(searches, conversion.CallSearch{Caller: claim.Caller, From: reading.From - window, To: reading.To + window})
	}
	return searches
}

// byEventTime reports whether a claim's call can only be told by its caller and
// by when the event took place.
func byEventTime(claim *conversion.Claim, policy Policy) bool {
	return policy.Account.Match.ByEventTime && !claim.CallIDs.Given() && !claim.Start.Given() && claim.Caller != 0 && (claim.Event.Given() || claim.EventNow) && !claim.Event.Twice()
}

// eventOf is when a claim's event took place.
func eventOf(claim *conversion.Claim, policy Policy) conversion.Span {
	if claim.EventNow {
		return conversion.Span{From: policy.received(), To: policy.received()}
	}
	return claim.Event.First
}

func windowFor(claim *conversion.Claim, policy Policy) conversion.Millis {
	if claim.Caller != 0 {
		return millis(policy.Account.Match.Window)
	}
	return millis(policy.Account.Match.WindowWithoutCaller)
}

func millis(d time.Duration) conversion.Millis { return conversion.Millis(d.Milliseconds()) }

// FindCall chooses the call that a claim means among those that the searches
// found. It never guesses: of two calls that are about as near, it takes none.
func FindCall(claim *conversion.Claim, calls []conversion.Call, policy Policy) Match {
	if claim.CallIDs.Given() {
		return byID(claim, calls, policy)
	}
	if match, decided := checkAge(claim, policy); decided {
		return match
	}
	if byEventTime(claim, policy) {
		return latestBefore(claim, calls, policy)
	}
	return byStart(claim, calls, policy)
}

// byStart chooses the call that started nearest to the row's time.
func byStart(claim *conversion.Claim, calls []conversion.Call, policy Policy) Match {
	var found Match
	for _, reading := range claim.Start.Readings() {
		match := nearest(claim, reading, calls, policy)
		switch {
		case match.Code == conversion.CallAmbiguous:
			return match
		case match.Call != nil && found.Call != nil && match.Call.ID != found.Call.ID:
			return twice(claim, found.Call, match.Call, policy)
		case match.Call != nil:
			found = match
		}
	}
	if found.Call != nil {
		call := *found.Call // so that the others need not stay in memory
		return Match{Call: &call}
	}
	return Match{Code: conversion.CallNotFound, Sentence: notFound(claim, policy)}
}

// checkAge refuses start times, or else events, that are too old or have not come yet.
func checkAge(claim *conversion.Claim, policy Policy) (Match, bool) {
	if claim.Start.Given() {
		return policy.checkAge(claim.Start.First, "call")
	}
	return policy.checkAge(claim.Event.First, "event")
}

func (p Policy) checkAge(at conversion.Span, what string) (Match, bool) {
	const skew = 5 * time.Minute // clocks differ
	lookback := p.Account.Match.Lookback
	switch {
	case at == conversion.Span{}:
	case lookback > 0 && at.To < p.received()-millis(lookback):
		return Match{Code: conversion.CallTooOld, Sentence: tooOld(what, at.From, p)}, true
	case at.From > p.received()+millis(skew):
		return Match{Code: conversion.CallInFuture, Sentence: fmt.Sprintf("The %s of %s has not taken place yet. Check the date and the time zone.", what, p.clock(at.From))}, true
	}
	return Match{}, false
}

func tooOld(what string, at conversion.Millis, policy Policy) string {
	return fmt.Sprintf("The %s of %s is older than the %s that are looked back over. Ask for a longer lookback if it should count.", what, policy.clock(at), days(policy.Account.Match.Lookback))
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return conversion.Count(int(d/(24*time.Hour)), "day")
	}
	return d.String()
}

// candidate is a call that may be the one, and how far it is off.
type candidate struct {
	call     *conversion.Call
	start    int64 // milliseconds between the starts
	distance int64 // start plus weighted duration, in milliseconds
}

// nearest chooses among the calls around one reading of the start time.
func nearest(claim *conversion.Claim, reading conversion.Span, calls []conversion.Call, policy Policy) Match {
	ranked := rank(claim, reading, calls, policy)
	if len(ranked) == 0 {
		return Match{}
	}
	best, margin := ranked[0], policy.Account.Match.Margin.Milliseconds()
	// Only what comes within the margin of the best is its rival.
	near := slices.IndexFunc(ranked[1:], func(c candidate) bool { return c.distance-best.distance >= margin })
	if near < 0 {
		near = len(ranked) - 1
	}
	rivals := ranked[1 : near+1]
	if len(rivals) == 0 {
		return Match{Call: best.call}
	}
	exactly := func(c candidate) bool { return c.start == 0 }
	toTheSecond := func(c candidate) bool { return c.call.Start/1000 == reading.From/1000 }
	for _, agrees := range []func(candidate) bool{exactly, toTheSecond} {
		if reading.Fine() && agrees(best) && !slices.ContainsFunc(rivals, agrees) {
			return Match{Call: best.call}
		}
	}
	return ambiguous(claim, reading, ranked[:near+1], margin, policy)
}

// rank returns the calls that may be meant, nearest first. Ties are broken by
// start and id, so that the order the calls came in never matters.
func rank(claim *conversion.Claim, reading conversion.Span, calls []conversion.Call, policy Policy) []candidate {
	window := int64(windowFor(claim, policy))
	var ranked []candidate
	for i := range calls {
		call := &calls[i]
		off := reading.Distance(call.Start)
		if off > window || !agreesOnNumbers(claim, call) {
			continue
		}
		c := candidate{call: call, start: off, distance: off}
		if claim.HasDuration {
			c.distance += int64(durationWeight*1000) * int64(max(claim.Duration-call.Duration, call.Duration-claim.Duration))
		}
		ranked = append(ranked, c)
	}
	slices.SortFunc(ranked, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.start, b.start),
			cmp.Compare(a.call.Start, b.call.Start), cmp.Compare(a.call.CallID, b.call.CallID))
	})
	return slices.CompactFunc(ranked, func(a, b candidate) bool { return a.call.ID == b.call.ID })
}

// agreesOnNumbers reports whether a call has the caller and the dialled number
// that the claim names. A log that doesn't tell the dialled number contradicts
// nothing.
func agreesOnNumbers(claim *conversion.Claim, call *conversion.Call) bool {
	if claim.Caller != 0 && call.Caller != claim.Caller {
		return false
	}
	return claim.Called == 0 || call.Called == 0 || call.Called == claim.Called
}

// mostTied is how many calls that can't be told apart are listed.
const mostTied = 5

func ambiguous(claim *conversion.Claim, reading conversion.Span, ranked []candidate, margin int64, policy Policy) Match {
	match := Match{Code: conversion.CallAmbiguous, Sentence: fmt.Sprintf("%s lie about equally near to %s; the nearest must be %s nearer than the next. %s",
		capital(conversion.Count(len(ranked), "call")), policy.written(reading), seconds(margin), cureForTie(claim, reading, ranked))}
	for _, c := range ranked[:min(len(ranked), mostTied)] {
		match.Tied = append(match.Tied, conversion.NearMiss{CallID: c.call.CallID, Why: fmt.Sprintf("started %s, %s%s", policy.clock(c.call.Start), howFar(reading, c.call.Start), durationOf(claim, c.call))})
	}
	return match
}

func durationOf(claim *conversion.Claim, call *conversion.Call) string {
	if !claim.HasDuration {
		return ""
	}
	return fmt.Sprintf(", lasted %d s", call.Duration)
}

// cureForTie names a clue that the row lacks and that tells the calls apart.
func cureForTie(claim *conversion.Claim, reading conversion.Span, ranked []candidate) string {
	a, b := ranked[0].call, ranked[1].call
	switch {
	case claim.Caller == 0 && a.Caller != b.Caller:
		return "Add calling_phone_number."
	case claim.Called == 0 && a.Called != b.Called && a.Called != 0 && b.Called != 0:
		return "Add called_phone_number."
	case !reading.Fine():
		return "Give the start time with its seconds."
	case !claim.HasDuration && a.Duration != b.Duration:
		return "Add duration_in_seconds."
	}
	return "Correct the start time to the second."
}

// howFar says how far a call's start lies from the written time.
func howFar(written conversion.Span, at conversion.Millis) string {
	switch off := apart(written, at); {
	case !written.Fine() && off == 0:
		return "in that minute"
	case off < 1000:
		return "at the same second"
	default:
		return seconds(off) + " away"
	}
}

// twice is the match of a time that occurs twice with a call each time.
func twice(claim *conversion.Claim, a, b *conversion.Call, policy Policy) Match {
	return Match{Code: conversion.CallAmbiguous, Sentence: "Clocks were put back over this time, so it occurs twice, and there is a call each time. Add the offset to the time.",
		Tied: listed([]*conversion.Call{a, b}, policy)}
}

func notFound(claim *conversion.Claim, policy Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "No call within %s of %s", windowName(windowFor(claim, policy)), policy.written(claim.Start.First))
	if claim.Start.Twice() {
		fmt.Fprintf(&b, " or %s", policy.written(claim.Start.Second))
	}
	if claim.Caller != 0 {
		fmt.Fprintf(&b, " from %s", claim.Caller)
	}
	if claim.Called != 0 {
		fmt.Fprintf(&b, " to %s", claim.Called)
	}
	b.WriteString(".")
	return b.String()
}

func windowName(window conversion.Millis) string {
	if window%60_000 == 0 && window > 60_000 {
		return conversion.Count(int(window/60_000), "minute")
	}
	return seconds(int64(window))
}

// seconds writes milliseconds as seconds with marked thousands: 3,600 s.
func seconds(ms int64) string {
	return conversion.Thousands(strconv.FormatInt((ms+500)/1000, 10)) + " s"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// clock writes a moment as the account's clocks show it.
func (p Policy) clock(at conversion.Millis) string { return p.clockAs("2006-01-02 15:04:05 MST", at) }

func (p Policy) clockAs(layout string, at conversion.Millis) string {
	zone := cmp.Or(p.Zone, p.Account.Zone, time.UTC)
	return at.Time().In(zone).Format(layout)
}

// written shows a time as it was written: to the minute if it had no seconds.
func (p Policy) written(s conversion.Span) string {
	if s.Fine() {
		return p.clock(s.From)
	}
	return p.clockAs("2006-01-02 15:04 MST", s.From)
}
