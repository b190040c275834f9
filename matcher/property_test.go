package matcher_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/matcher"
)

const cases = 4000

// worlds calls each for many random claims with the calls around them. A case
// can be run again by its number.
func worlds(t *testing.T, each func(t *testing.T, r *rand.Rand, claim conversion.Claim, calls []conversion.Call)) {
	t.Helper()
	for n := range uint64(cases) {
		r := rand.New(rand.NewPCG(n, 20260310))
		claim, calls := randomClaim(r), randomCalls(r, r.IntN(12))
		each(t, r, claim, calls)
		if t.Failed() {
			t.Fatalf("case %d: claim %+v\ncalls %+v", n, claim, calls)
		}
	}
}

// randomClaim is a row of about noon that names some of its call's marks. Few
// values are possible, so that ties and near ties are frequent.
func randomClaim(r *rand.Rand) conversion.Claim {
	precision := []time.Duration{time.Millisecond, time.Second, time.Minute}[r.IntN(3)]
	at := after(time.Duration(r.IntN(6)) * time.Second)
	claim := conversion.Claim{Line: 2 + r.IntN(50), Start: conversion.When{First: conversion.Span{From: at, To: at + conversion.Millis(precision.Milliseconds()) - 1}}}
	claim.Caller = []conversion.Phone{0, alice, alice, bob}[r.IntN(4)]
	claim.Called = []conversion.Phone{0, 0, hotline}[r.IntN(3)]
	if r.IntN(2) == 0 {
		claim.HasDuration, claim.Duration = true, 58+r.IntN(4)
	}
	if r.IntN(5) == 0 {
		claim.Start.Second = conversion.Span{From: claim.Start.First.From + 3_600_000, To: claim.Start.First.To + 3_600_000}
	}
	claim.ReferenceID = []string{"", "R1", "R2"}[r.IntN(3)]
	claim.EventID = []string{"", "E1", "E2", "E3"}[r.IntN(4)]
	claim.Names = parent([]string{"", "", "", "R1"}[r.IntN(4)])
	claim.ReasonCode = []string{"", "S", "R"}[r.IntN(3)]
	claim.Web = r.IntN(8) == 0
	if r.IntN(3) > 0 {
		claim.Sale = conversion.Cents(r.Int64N(10_000), []conversion.Currency{"USD", "USD", "EUR"}[r.IntN(3)])
	}
	return claim
}

func randomCalls(r *rand.Rand, n int) []conversion.Call {
	calls := make([]conversion.Call, n)
	for i := range calls {
		calls[i] = randomCall(r, int64(i+1))
	}
	return calls
}

func randomCall(r *rand.Rand, id int64) conversion.Call {
	off := time.Duration(r.IntN(15)-5) * time.Second
	if r.IntN(3) == 0 {
		off = time.Duration(r.IntN(800)-400) * time.Second
	}
	if r.IntN(6) == 0 {
		off += time.Hour
	}
	if r.IntN(4) == 0 {
		off += time.Duration(r.IntN(1000)) * time.Millisecond
	}
	return conversion.Call{
		ID: id, CallID: fmt.Sprintf("call-%02d", id), Start: after(off), Duration: []int{58, 59, 59, 60, 60, 60, 61, 75}[r.IntN(8)],
		Caller: []conversion.Phone{alice, alice, bob, 0}[r.IntN(4)], Called: []conversion.Phone{hotline, other, 0}[r.IntN(3)],
	}
}

// told is a match without the address of its call.
type told struct {
	Call     conversion.Call
	Code     conversion.Code
	Sentence string
	Tied     []conversion.NearMiss
}

func find(claim conversion.Claim, calls []conversion.Call, p matcher.Policy) told {
	match := matcher.FindCall(&claim, calls, p)
	result := told{Code: match.Code, Sentence: match.Sentence, Tied: match.Tied}
	if match.Call != nil {
		result.Call = *match.Call
	}
	return result
}

func shuffled[E any](r *rand.Rand, list []E) []E {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func TestTheOrderOfCallsNeverChangesAMatch(t *testing.T) {
	p, codes := policy(t), map[conversion.Code]int{}
	worlds(t, func(t *testing.T, r *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		want := find(claim, calls, p)
		codes[want.Code]++
		for range 4 {
			if got := find(claim, shuffled(r, calls), p); !reflect.DeepEqual(got, want) {
				t.Errorf("shuffled: %+v\nwant: %+v", got, want)
			}
		}
	})
	for _, code := range []conversion.Code{"", conversion.CallAmbiguous, conversion.CallNotFound} {
		if codes[code] < cases/20 {
			t.Errorf("only %d cases of %q: the random worlds are poor", codes[code], code)
		}
	}
}

func TestTheOrderOfCallsNeverChangesNearMisses(t *testing.T) {
	p := policy(t)
	worlds(t, func(t *testing.T, r *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		misses, shift := matcher.Explain(&claim, calls, p)
		gotMisses, gotShift := matcher.Explain(&claim, shuffled(r, calls), p)
		if !slices.Equal(gotMisses, misses) || gotShift != shift {
			t.Errorf("shuffled: %v, %d\nwant: %v, %d", gotMisses, gotShift, misses, shift)
		}
	})
}

func TestTheSearchesFindEveryCallThatMatters(t *testing.T) {
	p := policy(t)
	worlds(t, func(t *testing.T, _ *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		claim.Web = false
		searches := matcher.Searches(&claim, p)
		var found []conversion.Call
		for _, c := range calls {
			if slices.ContainsFunc(searches, func(s conversion.CallSearch) bool { return inSearch(s, c) }) {
				found = append(found, c)
			}
		}
		if got, want := find(claim, found, p), find(claim, calls, p); !reflect.DeepEqual(got, want) {
			t.Errorf("of the calls searched: %+v\nof all calls: %+v", got, want)
		}
	})
}

// distance is how far a call is from a row, as the contract has it.
func distance(claim conversion.Claim, c conversion.Call) int64 {
	d := claim.Start.First.Distance(c.Start)
	if claim.HasDuration {
		off := int64(claim.Duration - c.Duration)
		d += 20_000 * max(off, -off)
	}
	return d
}

func TestAWorseCallNeverChangesTheWinner(t *testing.T) {
	p, won := policy(t), 0
	margin := p.Account.Match.Margin.Milliseconds()
	worlds(t, func(t *testing.T, r *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		claim.Start.Second = conversion.Span{}
		winner := find(claim, calls, p)
		if winner.Code != "" {
			return
		}
		won++
		for n := range 8 {
			worse := randomCall(r, int64(len(calls)+1+n))
			if n%2 == 0 { // and some that are far
				worse.Start += conversion.Millis(r.Int64N(1_200_000) - 600_000)
			}
			window := p.Account.Match.Window
			if claim.Caller == 0 {
				window = p.Account.Match.WindowWithoutCaller
			}
			outside := claim.Start.First.Distance(worse.Start) > window.Milliseconds()
			if !outside && distance(claim, worse) <= distance(claim, winner.Call)+margin {
				continue
			}
			if got := find(claim, append(slices.Clone(calls), worse), p); !reflect.DeepEqual(got, winner) {
				t.Errorf("with %+v: %+v\nwithout: %+v", worse, got, winner)
			}
		}
	})
	if won < cases/5 {
		t.Errorf("only %d cases with a winner: the random worlds are poor", won)
	}
}

func TestTheWinnerIsNearest(t *testing.T) {
	p := policy(t)
	worlds(t, func(t *testing.T, _ *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		claim.Start.Second = conversion.Span{}
		winner := find(claim, calls, p)
		if winner.Code != "" {
			return
		}
		for _, c := range calls {
			alone := []conversion.Call{c}
			if find(claim, alone, p).Code == "" && distance(claim, c) < distance(claim, winner.Call) {
				t.Errorf("%+v is nearer than the winner %+v", c, winner.Call)
			}
		}
	})
}

// decided is a decision without the addresses of what it made.
type decided struct {
	Outcome    conversion.Outcome
	Change     conversion.Change
	Conversion conversion.Conversion
}

// TestDecideIsAFunction decides rows in many orders, beside each other and over
// again: what becomes of one depends on what it was given and on nothing else,
// and what it was given stays as it was.
func TestDecideIsAFunction(t *testing.T) {
	p := policy(t)
	p.Account.WaitForCalls = 3 * time.Hour
	p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
	type input struct {
		claim conversion.Claim
		calls []conversion.Call
		found matcher.Candidates
		mode  conversion.Mode
	}
	var inputs []input
	worlds(t, func(_ *testing.T, r *rand.Rand, claim conversion.Claim, calls []conversion.Call) {
		in := input{claim: claim, calls: calls, mode: conversion.Modes[r.IntN(len(conversion.Modes))]}
		in.found = matcher.Candidates{Prior: randomConversion(r), Referenced: randomConversion(r), Named: []*conversion.Conversion{randomConversion(r)}, Repeated: randomConversion(r)}
		inputs = append(inputs, in)
	})
	decide := func(in input) decided {
		p.Account.Duplicates.Mode = in.mode
		in.found.Match = matcher.FindCall(&in.claim, in.calls, p)
		d := matcher.Decide(&in.claim, in.found, p, 3)
		result := decided{Outcome: d.Outcome}
		if d.Change != nil {
			result.Change, result.Conversion = *d.Change, *d.Conversion
		}
		return result
	}
	want, verdicts := make([]decided, len(inputs)), map[conversion.Verdict]int{}
	for i, in := range inputs {
		prior, calls := clone(in.found.Prior), slices.Clone(in.calls)
		want[i] = decide(in)
		verdicts[want[i].Outcome.Verdict]++
		if !reflect.DeepEqual(in.found.Prior, prior) || !slices.Equal(in.calls, calls) {
			t.Fatalf("case %d: deciding wrote to what it was given", i)
		}
	}
	for _, v := range []conversion.Verdict{conversion.Created, conversion.Updated, conversion.Unchanged, conversion.Ignored, conversion.Waiting, conversion.Rejected} {
		if verdicts[v] < 20 {
			t.Errorf("only %d cases of %s: the random worlds are poor", verdicts[v], v)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, i := range r.Perm(len(inputs)) {
		if got := decide(inputs[i]); !reflect.DeepEqual(got, want[i]) {
			t.Fatalf("case %d, in another order: %+v\nwant: %+v", i, got, want[i])
		}
	}
}

func clone(c *conversion.Conversion) *conversion.Conversion {
	if c == nil {
		return nil
	}
	copied := *c
	return &copied
}

func randomConversion(r *rand.Rand) *conversion.Conversion {
	if r.IntN(2) == 0 {
		return nil
	}
	c := &conversion.Conversion{
		ID: conversion.MakeID(1, 2+r.IntN(9)), Key: conversion.Key{Call: int64(r.IntN(9))}, Nth: r.IntN(3), Call: r.Int64N(4), OccurredAt: after(0),
		Details: conversion.Details{ReferenceID: []string{"", "R1"}[r.IntN(2)], ReasonCode: []string{"", "S"}[r.IntN(2)]},
	}
	if r.IntN(2) == 0 {
		c.Sale, c.Payout = usd(r.Int64N(100)), usd(r.Int64N(10))
	}
	return c
}

// TestEveryChangeAddsUp decides random rows against a growing ledger: each
// change begins where the conversion stood and ends where it stands.
func TestEveryChangeAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, mode := range conversion.Modes {
		p := policy(t)
		p.Account.Duplicates.Mode = mode
		p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
		b, stands, ids := newBook(t, p), map[int64]conversion.Conversion{}, map[int64]bool{}
		calls := randomCalls(r, 12)
		for range cases / 2 {
			if r.IntN(50) == 0 {
				b.nextFile()
			}
			claim := randomClaim(r)
			c := &calls[r.IntN(len(calls))]
			if claim.Web {
				c = nil
			}
			d := b.decide(claim, c)
			if d.Change == nil {
				continue
			}
			before := stands[d.Conversion.ID]
			if d.Change.Before != before.Standing || d.Change.After != d.Conversion.Standing || !reflect.DeepEqual(d.Change.Details, d.Conversion.Since(before.Details)) && d.Change.Seq > 0 {
				t.Fatalf("%s: change %+v\nof %+v\nto %+v", mode, d.Change, before, d.Conversion)
			}
			if ids[d.Change.ID] {
				t.Fatalf("%s: change %d was made twice", mode, d.Change.ID)
			}
			ids[d.Change.ID], stands[d.Conversion.ID] = true, *d.Conversion
		}
		if len(stands) == 0 {
			t.Errorf("%s: nothing was decided", mode)
		}
	}
}
