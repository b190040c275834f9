package matcher_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"calltally/conversion"
	"calltally/matcher"
)

const (
	alice   conversion.Phone = 12125550101
	bob     conversion.Phone = 12125550102
	hotline conversion.Phone = 18005550100
	other   conversion.Phone = 18005550199
)

// noon is the moment that most rows below speak of: 12:00:00 in New York.
const noon = "2026-03-10T16:00:00Z"

func millis(text string) conversion.Millis {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return conversion.MillisOf(at)
}

// span is the stretch of time that a time written to a precision stands for.
func span(text string, precision time.Duration) conversion.Span {
	from := millis(text)
	return conversion.Span{From: from, To: from + conversion.Millis(precision.Milliseconds()) - 1}
}

func toSecond(text string) conversion.When { return conversion.When{First: span(text, time.Second)} }
func toMinute(text string) conversion.When { return conversion.When{First: span(text, time.Minute)} }
func toMilli(text string) conversion.When {
	return conversion.When{First: span(text, time.Millisecond)}
}

// after is noon and so much more.
func after(d time.Duration) conversion.Millis {
	return millis(noon) + conversion.Millis(d.Milliseconds())
}

func newYork(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// policy is an account with the defaults, two hours after noon.
func policy(t testing.TB) matcher.Policy {
	t.Helper()
	return matcher.Policy{
		Now: after(2 * time.Hour),
		Account: &conversion.Account{
			ID: "23", Zone: newYork(t), Currency: "USD",
			Match: conversion.MatchRules{
				Window: 5 * time.Minute, WindowWithoutCaller: time.Minute,
				Margin: 10 * time.Second, Lookback: 90 * 24 * time.Hour,
			},
			Duplicates: conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeUpdate},
		},
	}
}

// call is a call of Alice's to the hotline that lasted a minute.
func call(id int64, start conversion.Millis, change ...func(*conversion.Call)) conversion.Call {
	c := conversion.Call{ID: id, CallID: string(rune('A' + id - 1)), Start: start, Duration: 60, Caller: alice, Called: hotline}
	for _, f := range change {
		f(&c)
	}
	return c
}

func lasting(seconds int) func(*conversion.Call) {
	return func(c *conversion.Call) { c.Duration = seconds }
}

func from(p conversion.Phone) func(*conversion.Call) {
	return func(c *conversion.Call) { c.Caller = p }
}
func to(p conversion.Phone) func(*conversion.Call) { return func(c *conversion.Call) { c.Called = p } }

func TestFindCallChoosesACall(t *testing.T) {
	byAlice := conversion.Claim{Start: toSecond(noon), Caller: alice}
	byAnyone := conversion.Claim{Start: toSecond(noon)}
	lasted := func(seconds int) conversion.Claim {
		return conversion.Claim{Start: toSecond(noon), Caller: alice, Duration: seconds, HasDuration: true}
	}
	for _, test := range []struct {
		name  string
		claim conversion.Claim
		calls []conversion.Call
		want  string // the call's id; "" for none
	}{
		{"a call in that very second is the one", byAlice, []conversion.Call{call(1, after(999*time.Millisecond))}, "A"},
		{"with a caller the window reaches five minutes before", byAlice, []conversion.Call{call(1, after(-5*time.Minute))}, "A"},
		{"with a caller a call a moment before the window is none", byAlice, []conversion.Call{call(1, after(-5*time.Minute-time.Millisecond))}, ""},
		{"with a caller the window reaches five minutes after the written second's end", byAlice, []conversion.Call{call(1, after(5*time.Minute+999*time.Millisecond))}, "A"},
		{"with a caller a call a moment after the window is none", byAlice, []conversion.Call{call(1, after(5*time.Minute+time.Second))}, ""},
		{"without a caller the window is a minute", byAnyone, []conversion.Call{call(1, after(-time.Minute))}, "A"},
		{"without a caller a call a moment before the minute is none", byAnyone, []conversion.Call{call(1, after(-time.Minute-time.Millisecond))}, ""},
		{"without a caller a call after the minute is none", byAnyone, []conversion.Call{call(1, after(62*time.Second))}, ""},
		{"a time without seconds stands for its whole minute", conversion.Claim{Start: toMinute(noon)}, []conversion.Call{call(1, after(119*time.Second))}, "A"},
		{"the window is measured from the minute's end", conversion.Claim{Start: toMinute(noon)}, []conversion.Call{call(1, after(2*time.Minute))}, ""},
		{"the window is measured from the minute's beginning", conversion.Claim{Start: toMinute(noon)}, []conversion.Call{call(1, after(-61*time.Second))}, ""},

		{"another caller's call is none", byAlice, []conversion.Call{call(1, after(0), from(bob))}, ""},
		{"a withheld caller is not the one named", byAlice, []conversion.Call{call(1, after(0), from(0))}, ""},
		{"another caller doesn't stand in the way", byAlice, []conversion.Call{call(1, after(0), from(bob)), call(2, after(time.Minute))}, "B"},
		{"a call to another number is none", conversion.Claim{Start: toSecond(noon), Caller: alice, Called: hotline}, []conversion.Call{call(1, after(0), to(other))}, ""},
		{"a call to another number doesn't stand in the way", conversion.Claim{Start: toSecond(noon), Caller: alice, Called: hotline}, []conversion.Call{call(1, after(0), to(other)), call(2, after(time.Minute))}, "B"},
		{"a log without dialled numbers contradicts none", conversion.Claim{Start: toSecond(noon), Caller: alice, Called: hotline}, []conversion.Call{call(1, after(0), to(0))}, "A"},

		{"the nearest call wins by more than the margin", byAlice, []conversion.Call{call(1, after(3*time.Minute)), call(2, after(20*time.Second))}, "B"},
		{"the margin itself is enough", conversion.Claim{Start: toMilli(noon), Caller: alice}, []conversion.Call{call(1, after(5*time.Second)), call(2, after(-15*time.Second))}, "A"},
		{"a millisecond less than the margin is not", conversion.Claim{Start: toMilli(noon), Caller: alice}, []conversion.Call{call(1, after(5*time.Second)), call(2, after(-14999*time.Millisecond))}, ""},
		{"the call that alone agrees to the second needs no margin", byAlice, []conversion.Call{call(1, after(500*time.Millisecond)), call(2, after(2*time.Second))}, "A"},
		{"of two calls in one second none is taken", byAlice, []conversion.Call{call(1, after(0)), call(2, after(500*time.Millisecond))}, ""},
		{"a time without seconds agrees with no call to the second", conversion.Claim{Start: toMinute(noon), Caller: alice}, []conversion.Call{call(1, after(30*time.Second)), call(2, after(65*time.Second))}, ""},

		{"one second of duration weighs twenty of start time", lasted(60), []conversion.Call{call(1, after(200*time.Second)), call(2, after(0), lasting(71))}, "A"},
		{"a start much nearer outweighs a duration", lasted(60), []conversion.Call{call(1, after(240*time.Second)), call(2, after(0), lasting(71))}, "B"},
		{"a shorter call is as far as a longer one", lasted(60), []conversion.Call{call(1, after(200*time.Second)), call(2, after(0), lasting(49))}, "A"},
		{"duration settles what starts can't", lasted(60), []conversion.Call{call(1, after(3*time.Second)), call(2, after(4*time.Second), lasting(65))}, "A"},
		{"a duration never rules a call out", lasted(7200), []conversion.Call{call(1, after(0))}, "A"},
		{"a duration of none said decides nothing", conversion.Claim{Start: toSecond(noon), Caller: alice, Duration: 60}, []conversion.Call{call(1, after(200*time.Second)), call(2, after(0), lasting(71))}, "B"},
		{"the same call found twice is one call", byAlice, []conversion.Call{call(1, after(20*time.Second)), call(1, after(20*time.Second))}, "A"},
		{"no calls at all means none", byAlice, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			match := matcher.FindCall(&test.claim, test.calls, policy(t))
			got := ""
			if match.Call != nil {
				got = match.Call.CallID
			}
			if got != test.want {
				t.Errorf("call %q, want %q (%s: %s)", got, test.want, match.Code, match.Sentence)
			}
			if (match.Call == nil) != (match.Code != "" && match.Sentence != "") {
				t.Errorf("a call or a reason, not %+v", match)
			}
		})
	}
}

func TestFindCallSaysWhyThereIsNone(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name     string
		claim    conversion.Claim
		calls    []conversion.Call
		change   func(*conversion.MatchRules)
		code     conversion.Code
		sentence string
		tied     []conversion.NearMiss
	}{
		{
			name: "no call, with all that was named", claim: conversion.Claim{Start: toSecond(noon), Caller: alice, Called: hotline},
			code: conversion.CallNotFound, sentence: "No call within 5 minutes of 2026-03-10 12:00:00 EDT from +12125550101 to +18005550100.",
		},
		{
			name: "no call, with the shorter window", claim: conversion.Claim{Start: toSecond(noon)},
			code: conversion.CallNotFound, sentence: "No call within 60 s of 2026-03-10 12:00:00 EDT.",
		},
		{
			name: "no call of a time without seconds", claim: conversion.Claim{Start: toMinute(noon)},
			code: conversion.CallNotFound, sentence: "No call within 60 s of 2026-03-10 12:00 EDT.",
		},
		{
			name: "no call, with a window that is no whole minutes", claim: conversion.Claim{Start: toSecond(noon), Caller: alice},
			change: func(r *conversion.MatchRules) { r.Window = 90 * time.Second },
			code:   conversion.CallNotFound, sentence: "No call within 90 s of 2026-03-10 12:00:00 EDT from +12125550101.",
		},
		{
			name: "no caller to tell two calls apart", claim: conversion.Claim{Start: toSecond(noon)},
			calls: []conversion.Call{call(1, after(-8*time.Second)), call(2, after(5*time.Second), from(bob))},
			code:  conversion.CallAmbiguous, sentence: "2 calls lie about equally near to 2026-03-10 12:00:00 EDT; the nearest must be 10 s nearer than the next. Add calling_phone_number.",
			tied: []conversion.NearMiss{{CallID: "B", Why: "started 2026-03-10 12:00:05 EDT, 5 s away"}, {CallID: "A", Why: "started 2026-03-10 11:59:52 EDT, 8 s away"}},
		},
		{
			name: "no seconds to tell two calls apart", claim: conversion.Claim{Start: toMinute(noon), Caller: alice},
			calls: []conversion.Call{call(1, after(10*time.Second)), call(2, after(50*time.Second))},
			code:  conversion.CallAmbiguous, sentence: "2 calls lie about equally near to 2026-03-10 12:00 EDT; the nearest must be 10 s nearer than the next. Give the start time with its seconds.",
			tied: []conversion.NearMiss{{CallID: "A", Why: "started 2026-03-10 12:00:10 EDT, in that minute"}, {CallID: "B", Why: "started 2026-03-10 12:00:50 EDT, in that minute"}},
		},
		{
			name: "no duration to tell two calls apart", claim: conversion.Claim{Start: toSecond(noon), Caller: alice},
			calls: []conversion.Call{call(1, after(-8*time.Second)), call(2, after(5*time.Second), lasting(90))},
			code:  conversion.CallAmbiguous, sentence: "2 calls lie about equally near to 2026-03-10 12:00:00 EDT; the nearest must be 10 s nearer than the next. Add duration_in_seconds.",
			tied: []conversion.NearMiss{{CallID: "B", Why: "started 2026-03-10 12:00:05 EDT, 5 s away"}, {CallID: "A", Why: "started 2026-03-10 11:59:52 EDT, 8 s away"}},
		},
		{
			name: "no called number to tell two calls apart", claim: conversion.Claim{Start: toSecond(noon), Caller: alice},
			calls: []conversion.Call{call(1, after(-8*time.Second)), call(2, after(0), to(other)), call(3, after(time.Millisecond))},
			code:  conversion.CallAmbiguous, sentence: "3 calls lie about equally near to 2026-03-10 12:00:00 EDT; the nearest must be 10 s nearer than the next. Add called_phone_number.",
			tied: []conversion.NearMiss{{CallID: "B", Why: "started 2026-03-10 12:00:00 EDT, at the same second"}, {CallID: "C", Why: "started 2026-03-10 12:00:00 EDT, at the same second"}, {CallID: "A", Why: "started 2026-03-10 11:59:52 EDT, 8 s away"}},
		},
		{
			name: "no clue that the row lacks would tell the calls apart", claim: conversion.Claim{Start: toSecond(noon)},
			calls: []conversion.Call{call(1, after(-8*time.Second)), call(2, after(5*time.Second))},
			code:  conversion.CallAmbiguous, sentence: "2 calls lie about equally near to 2026-03-10 12:00:00 EDT; the nearest must be 10 s nearer than the next. Correct the start time to the second.",
			tied: []conversion.NearMiss{{CallID: "B", Why: "started 2026-03-10 12:00:05 EDT, 5 s away"}, {CallID: "A", Why: "started 2026-03-10 11:59:52 EDT, 8 s away"}},
		},
		{
			name: "two calls that even the duration doesn't tell apart", claim: conversion.Claim{Start: toSecond(noon), Caller: alice, HasDuration: true, Duration: 60},
			calls: []conversion.Call{call(1, after(-8*time.Second)), call(2, after(5*time.Second))},
			code:  conversion.CallAmbiguous, sentence: "2 calls lie about equally near to 2026-03-10 12:00:00 EDT; the nearest must be 10 s nearer than the next. Correct the start time to the second.",
			tied: []conversion.NearMiss{{CallID: "B", Why: "started 2026-03-10 12:00:05 EDT, 5 s away, lasted 60 s"}, {CallID: "A", Why: "started 2026-03-10 11:59:52 EDT, 8 s away, lasted 60 s"}},
		},
		{
			name: "more calls than are worth listing", claim: conversion.Claim{Start: toMinute(noon), Caller: alice},
			calls: []conversion.Call{call(1, after(1*time.Second)), call(2, after(2*time.Second)), call(3, after(3*time.Second)), call(4, after(4*time.Second)), call(5, after(5*time.Second)), call(6, after(6*time.Second))},
			code:  conversion.CallAmbiguous, sentence: "6 calls lie about equally near to 2026-03-10 12:00 EDT; the nearest must be 10 s nearer than the next. Give the start time with its seconds.",
			tied: []conversion.NearMiss{
				{CallID: "A", Why: "started 2026-03-10 12:00:01 EDT, in that minute"}, {CallID: "B", Why: "started 2026-03-10 12:00:02 EDT, in that minute"},
				{CallID: "C", Why: "started 2026-03-10 12:00:03 EDT, in that minute"}, {CallID: "D", Why: "started 2026-03-10 12:00:04 EDT, in that minute"},
				{CallID: "E", Why: "started 2026-03-10 12:00:05 EDT, in that minute"},
			},
		},
		{
			name: "a time older than the lookback, even if there is a call", claim: conversion.Claim{Start: conversion.When{First: conversion.Span{From: after(2*time.Hour - 90*day - 2*time.Second), To: after(2*time.Hour-90*day-time.Second) - 1}}, Caller: alice},
			calls: []conversion.Call{call(1, after(2*time.Hour-90*day-2*time.Second))},
			code:  conversion.CallTooOld, sentence: "The call of 2025-12-10 12:59:58 EST is older than the 90 days that are looked back over. Ask for a longer lookback if it should count.",
		},
		{
			name: "a lookback that is no whole days", claim: conversion.Claim{Start: toSecond(noon)}, change: func(r *conversion.MatchRules) { r.Lookback = 90 * time.Minute },
			code: conversion.CallTooOld, sentence: "The call of 2026-03-10 12:00:00 EDT is older than the 1h30m0s that are looked back over. Ask for a longer lookback if it should count.",
		},
		{
			name: "a time that has not come, even if there is a call", claim: conversion.Claim{Start: conversion.When{First: conversion.Span{From: after(2*time.Hour+5*time.Minute) + 1, To: after(2*time.Hour+5*time.Minute) + 1}}, Caller: alice},
			calls: []conversion.Call{call(1, after(2*time.Hour+5*time.Minute))},
			code:  conversion.CallInFuture, sentence: "The call of 2026-03-10 14:05:00 EDT has not taken place yet. Check the date and the time zone.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			if test.change != nil {
				test.change(&p.Account.Match)
			}
			match := matcher.FindCall(&test.claim, test.calls, p)
			if match.Call != nil || match.Code != test.code {
				t.Errorf("call %v, code %q, want none and %q", match.Call, match.Code, test.code)
			}
			if match.Sentence != test.sentence {
				t.Errorf("sentence\n%s\nwant\n%s", match.Sentence, test.sentence)
			}
			if !slices.Equal(match.Tied, test.tied) {
				t.Errorf("tied\n%v\nwant\n%v", match.Tied, test.tied)
			}
		})
	}
}

func TestFindCallLooksAtAge(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name     string
		ago      time.Duration // before now
		lookback time.Duration
		want     conversion.Code
	}{
		{"a call as old as the lookback counts", 90 * day, 90 * day, ""},
		{"so does a call of the second that the lookback begins in", 90*day + 500*time.Millisecond, 90 * day, ""},
		{"a call a second older doesn't", 90*day + time.Second, 90 * day, conversion.CallTooOld},
		{"without a lookback any age counts", 4000 * day, 0, ""},
		{"a clock five minutes fast is forgiven", -5 * time.Minute, 90 * day, ""},
		{"more than that is the future", -5*time.Minute - time.Second, 90 * day, conversion.CallInFuture},
		{"the future is the future without a lookback too", -time.Hour, 0, conversion.CallInFuture},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			p.Account.Match.Lookback = test.lookback
			at := p.Now - conversion.Millis(test.ago.Milliseconds())
			claim := conversion.Claim{Start: conversion.When{First: conversion.Span{From: at, To: at + 999}}, Caller: alice}
			if got := matcher.FindCall(&claim, []conversion.Call{call(1, at)}, p).Code; got != test.want {
				t.Errorf("code %q, want %q", got, test.want)
			}
		})
	}
}

// In New York, 01:30 on 1 November 2026 occurs at 05:30 and at 06:30 UTC.
func TestFindCallTriesBothReadingsOfATimeThatOccursTwice(t *testing.T) {
	const first, second = "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"
	reader := conversion.TimeReader{Zone: newYork(t)}
	written, err := reader.Read("2026-11-01 01:30:00")
	if err != nil || !written.Twice() {
		t.Fatalf("read %+v, %v", written, err)
	}
	const overlap = "Clocks were put back over this time, so it occurs twice, and there is a call each time. Add the offset to the time."
	for _, test := range []struct {
		name     string
		calls    []conversion.Call
		want     string
		code     conversion.Code
		sentence string
		tied     []string
	}{
		{name: "a call at the first reading only is the one", calls: []conversion.Call{call(1, millis(first))}, want: "A"},
		{name: "a call at the second reading only is the one", calls: []conversion.Call{call(1, millis(second)+20_000)}, want: "A"},
		{
			name: "a call at each is ambiguous", calls: []conversion.Call{call(1, millis(first)), call(2, millis(second)+200_000)},
			code: conversion.CallAmbiguous, sentence: overlap, tied: []string{"A: started 2026-11-01 01:30:00 EDT", "B: started 2026-11-01 01:33:20 EST"},
		},
		{
			name: "two calls at the second reading are ambiguous", calls: []conversion.Call{call(1, millis(second)+1_000), call(2, millis(second)-2_000)},
			code: conversion.CallAmbiguous, tied: []string{"A: started 2026-11-01 01:30:01 EST, 1 s away", "B: started 2026-11-01 01:29:58 EST, 2 s away"},
		},
		{
			name: "one call at the first reading doesn't hide two at the second", calls: []conversion.Call{call(1, millis(first)), call(2, millis(second)+1_000), call(3, millis(second)-2_000)},
			code: conversion.CallAmbiguous, tied: []string{"B: started 2026-11-01 01:30:01 EST, 1 s away", "C: started 2026-11-01 01:29:58 EST, 2 s away"},
		},
		{name: "no call at either is none", calls: []conversion.Call{call(1, millis(first)+1_800_000)}, code: conversion.CallNotFound, sentence: "No call within 5 minutes of 2026-11-01 01:30:00 EDT or 2026-11-01 01:30:00 EST from +12125550101."},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			p.Now = millis("2026-11-02T00:00:00Z")
			match := matcher.FindCall(&conversion.Claim{Start: written, Caller: alice}, test.calls, p)
			got := ""
			if match.Call != nil {
				got = match.Call.CallID
			}
			if got != test.want || match.Code != test.code {
				t.Errorf("call %q, code %q, want %q and %q", got, match.Code, test.want, test.code)
			}
			if test.sentence != "" && match.Sentence != test.sentence {
				t.Errorf("sentence\n%s\nwant\n%s", match.Sentence, test.sentence)
			}
			var tied []string
			for _, n := range match.Tied {
				tied = append(tied, n.CallID+": "+n.Why)
			}
			if !slices.Equal(tied, test.tied) {
				t.Errorf("tied\n%s\nwant\n%s", strings.Join(tied, "\n"), strings.Join(test.tied, "\n"))
			}
		})
	}
}

func TestSearches(t *testing.T) {
	twice := conversion.When{First: span("2026-11-01T05:30:00Z", time.Second), Second: span("2026-11-01T06:30:00Z", time.Second)}
	five, one := conversion.Millis(300_000), conversion.Millis(60_000)
	for _, test := range []struct {
		name  string
		claim conversion.Claim
		want  []conversion.CallSearch
	}{
		{"a row with a caller is looked for over five minutes", conversion.Claim{Start: toSecond(noon), Caller: alice}, []conversion.CallSearch{{Caller: alice, From: millis(noon) - five, To: millis(noon) + 999 + five}}},
		{"a row without one over a minute", conversion.Claim{Start: toMinute(noon)}, []conversion.CallSearch{{From: millis(noon) - one, To: millis(noon) + 59_999 + one}}},
		{"a time that occurs twice is looked for at both", conversion.Claim{Start: twice, Caller: alice}, []conversion.CallSearch{
			{Caller: alice, From: twice.First.From - five, To: twice.First.To + five}, {Caller: alice, From: twice.Second.From - five, To: twice.Second.To + five},
		}},
		{"a web conversion has no call", conversion.Claim{Start: toSecond(noon), Web: true}, nil},
		{"a row without a time can't be looked for", conversion.Claim{Caller: alice}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := matcher.Searches(&test.claim, policy(t)); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
