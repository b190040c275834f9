package matcher_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/matcher"
)

func TestExplainNamesNearMisses(t *testing.T) {
	byAlice := conversion.Claim{Start: toSecond(noon), Caller: alice}
	toHotline := conversion.Claim{Start: toSecond(noon), Caller: alice, Called: hotline}
	byAnyone := conversion.Claim{Start: toSecond(noon)}
	for _, test := range []struct {
		name  string
		claim conversion.Claim
		near  []conversion.Call
		want  []string
		shift int
	}{
		{
			name: "another caller in the same second", claim: byAlice, near: []conversion.Call{call(1, after(0), from(bob))},
			want: []string{"A: started 2026-03-10 12:00:00 EDT, at the same second, but from +12125550102"},
		},
		{
			name: "another caller a little later", claim: byAlice, near: []conversion.Call{call(1, after(12*time.Second), from(bob))},
			want: []string{"A: started 2026-03-10 12:00:12 EDT, 12 s away, but from +12125550102"},
		},
		{
			name: "a withheld caller at the same time", claim: byAlice, near: []conversion.Call{call(1, after(0), from(0))},
			want: []string{"A: started 2026-03-10 12:00:00 EDT, at the same second, but from a withheld number"},
		},
		{
			name: "another caller more than a minute away is no near miss", claim: byAlice, near: []conversion.Call{call(1, after(62*time.Second), from(bob))},
		},
		{
			name: "another dialled number", claim: toHotline, near: []conversion.Call{call(1, after(5*time.Second), to(other))},
			want: []string{"A: started 2026-03-10 12:00:05 EDT, 5 s away, but +18005550199 was dialled"},
		},
		{
			name: "the same caller exactly an hour later", claim: byAlice, near: []conversion.Call{call(1, after(time.Hour))},
			want: []string{"A: same caller, started 2026-03-10 13:00:00 EDT, 3,600 s later; check the time zone"}, shift: 3600,
		},
		{
			name: "the same caller exactly five hours earlier", claim: byAlice, near: []conversion.Call{call(1, after(-5*time.Hour))},
			want: []string{"A: same caller, started 2026-03-10 07:00:00 EDT, 18,000 s earlier; check the time zone"}, shift: -18_000,
		},
		{
			name: "the same caller as far as India's half hour", claim: byAlice, near: []conversion.Call{call(1, after(5*time.Hour+30*time.Minute))},
			want: []string{"A: same caller, started 2026-03-10 17:30:00 EDT, 19,800 s later; check the time zone"}, shift: 19_800,
		},
		{
			name: "a time without seconds and a call an hour later in that minute", claim: conversion.Claim{Start: toMinute(noon), Caller: alice}, near: []conversion.Call{call(1, after(time.Hour+42*time.Second))},
			want: []string{"A: same caller, started 2026-03-10 13:00:42 EDT, 3,600 s later; check the time zone"}, shift: 3600,
		},
		{
			name: "the same caller at no zone's distance", claim: byAlice, near: []conversion.Call{call(1, after(time.Hour+61*time.Second))},
			want: []string{"A: same caller, started 2026-03-10 13:01:01 EDT, 3,661 s away; the window is 300 s"},
		},
		{
			name: "the same caller just outside the window", claim: byAlice, near: []conversion.Call{call(1, after(6*time.Minute))},
			want: []string{"A: same caller, started 2026-03-10 12:06:00 EDT, 360 s away; the window is 300 s"},
		},
		{
			name: "without a caller, a call just outside the window", claim: byAnyone, near: []conversion.Call{call(1, after(90*time.Second))},
			want: []string{"A: started 2026-03-10 12:01:30 EDT, 90 s away; the window is 60 s"},
		},
		{
			name: "without a caller, a call exactly hours away", claim: byAnyone, near: []conversion.Call{call(1, after(-3*time.Hour))},
			want: []string{"A: started 2026-03-10 09:00:00 EDT, 10,800 s earlier; check the time zone"}, shift: -10_800,
		},
		{
			name: "without a caller, a call roughly hours away is chance", claim: byAnyone, near: []conversion.Call{call(1, after(-3*time.Hour+3*time.Second))},
		},
		{
			name: "without a caller, a call far outside the window is chance", claim: byAnyone, near: []conversion.Call{call(1, after(20*time.Minute))},
		},
		{
			name: "another caller at the same time comes first, then exact hours, then the window", claim: byAlice,
			near: []conversion.Call{call(1, after(6*time.Minute)), call(2, after(time.Hour)), call(3, after(4*time.Second), from(bob))},
			want: []string{
				"C: started 2026-03-10 12:00:04 EDT, 4 s away, but from +12125550102",
				"B: same caller, started 2026-03-10 13:00:00 EDT, 3,600 s later; check the time zone",
				"A: same caller, started 2026-03-10 12:06:00 EDT, 360 s away; the window is 300 s",
			}, shift: 3600,
		},
		{
			name: "of one kind the nearest comes first, and three are enough", claim: byAlice,
			near: []conversion.Call{call(4, after(-9*time.Minute)), call(1, after(8*time.Minute)), call(3, after(6*time.Minute)), call(2, after(-7*time.Minute)), call(3, after(6*time.Minute))},
			want: []string{
				"C: same caller, started 2026-03-10 12:06:00 EDT, 360 s away; the window is 300 s",
				"B: same caller, started 2026-03-10 11:53:00 EDT, 420 s away; the window is 300 s",
				"A: same caller, started 2026-03-10 12:08:00 EDT, 480 s away; the window is 300 s",
			},
		},
		{
			name: "a dialled number that the row doesn't name explains nothing", claim: byAlice, near: []conversion.Call{call(1, after(5*time.Second))},
		},
		{name: "no calls near", claim: byAlice},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			p.Now = after(24 * time.Hour)
			misses, shift := matcher.Explain(&test.claim, test.near, p)
			var got []string
			for _, m := range misses {
				got = append(got, m.CallID+": "+m.Why)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("near misses\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if shift != test.shift {
				t.Errorf("shift %d, want %d", shift, test.shift)
			}
			if len(test.want) > 0 {
				looksFor(t, &test.claim, test.near, p)
			}
		})
	}
}

// looksFor checks that the calls lie where near misses are looked for.
func looksFor(t *testing.T, claim *conversion.Claim, near []conversion.Call, p matcher.Policy) {
	t.Helper()
	searches := matcher.NearSearches(claim, p, true)
	for _, c := range near {
		if !slices.ContainsFunc(searches, func(s conversion.CallSearch) bool { return inSearch(s, c) }) {
			t.Errorf("call %s is no search's: %v", c.CallID, searches)
		}
	}
}

func inSearch(s conversion.CallSearch, c conversion.Call) bool {
	return (s.Caller == 0 || s.Caller == c.Caller) && s.From <= c.Start && c.Start <= s.To
}

func TestNearSearchesAreFewUnlessWide(t *testing.T) {
	p := policy(t)
	for _, test := range []struct {
		name  string
		claim conversion.Claim
		wide  bool
		want  int
	}{
		{"a row without a time has none", conversion.Claim{Caller: alice}, true, 0},
		{"a row with a caller has two", conversion.Claim{Start: toSecond(noon), Caller: alice}, true, 2},
		{"a row without a caller has one", conversion.Claim{Start: toSecond(noon)}, false, 1},
		{"and one for each hour of other zones if asked", conversion.Claim{Start: toSecond(noon)}, true, 1 + 28},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := matcher.NearSearches(&test.claim, p, test.wide); len(got) != test.want {
				t.Errorf("%d searches, want %d", len(got), test.want)
			}
		})
	}
}

func TestDiagnosis(t *testing.T) {
	const hour = 3600
	shifts := func(n, shift int) []conversion.Outcome {
		return slices.Repeat([]conversion.Outcome{{Code: conversion.CallNotFound, Shift: shift}}, n)
	}
	for _, test := range []struct {
		name  string
		rows  []conversion.Outcome
		parts []string // of the sentence; none for silence
	}{
		{"no rows", nil, nil},
		{"four rows that agree are too few", shifts(4, hour), nil},
		{"five rows that agree are enough", shifts(5, hour), []string{"All 5 rows without a call", " 1 hour later", "exactly 3,600 s", "Check the file's time zone."}},
		{"a file ahead of its calls", shifts(5, -5*hour), []string{" 5 hours earlier", "exactly 18,000 s"}},
		{"a shift of half hours", shifts(6, 19_800), []string{"All 6 rows", " 5 h 30 min later", "exactly 19,800 s"}},
		{"half of the rows are enough", slices.Concat(shifts(5, hour), shifts(5, 0)), []string{"5 of the 10 rows"}},
		{"less than half are not", slices.Concat(shifts(5, hour), shifts(6, 0)), nil},
		{"mixed shifts of which one has half", slices.Concat(shifts(6, 2*hour), shifts(5, hour)), []string{"6 of the 11 rows", " 2 hours later"}},
		{"mixed shifts of which none has half", slices.Concat(shifts(5, hour), shifts(5, -hour), shifts(5, 2*hour)), nil},
		{"of two that tie the smaller is told", slices.Concat(shifts(5, -2*hour), shifts(5, hour)), []string{" 1 hour later"}},
		{"of two that mirror each other always the same is told", slices.Concat(shifts(5, -hour), shifts(5, hour)), []string{" 1 hour later"}},
		{"times that seem to lie in the future count too", slices.Repeat([]conversion.Outcome{{Code: conversion.CallInFuture, Shift: -hour}}, 5), []string{"All 5 rows", " 1 hour earlier"}},
		{"waiting rows count too", slices.Repeat([]conversion.Outcome{{Verdict: conversion.Waiting, Code: conversion.CallNotFound, Shift: hour}}, 5), []string{"All 5 rows"}},
		{"rows with other faults don't count", slices.Concat(shifts(5, hour), slices.Repeat([]conversion.Outcome{{Code: conversion.AmountInvalid}, {Verdict: conversion.Created}}, 20)), []string{"All 5 rows"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, order := range []string{"as they come", "backwards"} {
				rows := slices.Clone(test.rows)
				if order == "backwards" {
					slices.Reverse(rows)
				}
				var d matcher.Diagnosis
				d.AddAll(rows)
				got := d.Sentence()
				if len(test.parts) == 0 && got != "" {
					t.Errorf("%s: %q, want silence", order, got)
				}
				for _, part := range test.parts {
					if !strings.Contains(got, part) {
						t.Errorf("%s: %q lacks %q", order, got, part)
					}
				}
			}
		})
	}
}

func TestDiagnosisIsFullAfterManyRows(t *testing.T) {
	var d matcher.Diagnosis
	if !d.AddAll(slices.Repeat([]conversion.Outcome{{Code: conversion.AmountInvalid}}, 10_000)) {
		t.Error("full of rows that don't count")
	}
	unmatched := slices.Repeat([]conversion.Outcome{{Code: conversion.CallNotFound, Shift: 3600}}, matcher.Diagnosed)
	if d.AddAll(unmatched) {
		t.Fatal("not full")
	}
	before := d.Sentence()
	d.AddAll(unmatched[:1])
	if after := d.Sentence(); after != before {
		t.Errorf("a full diagnosis went on from %q to %q", before, after)
	}
}
