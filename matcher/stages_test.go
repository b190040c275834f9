package matcher_test

import (
	"fmt"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/matcher"
)

// BenchmarkFindCall chooses among three calls of one caller.
func BenchmarkFindCall(b *testing.B) {
	p := policy(b)
	calls := []conversion.Call{call(1, after(-time.Minute)), call(2, after(0)), call(3, after(3*time.Minute))}
	claim := conversion.Claim{Line: 2, Start: conversion.When{First: conversion.Span{From: after(0), To: after(0) + 999}}, Caller: calls[0].Caller}
	b.ReportAllocs()
	for b.Loop() {
		if match := matcher.FindCall(&claim, calls, p); match.Call == nil || match.Call.ID != 2 {
			b.Fatalf("%+v", match)
		}
	}
}

// BenchmarkDecide decides a row that is new, and one that changes what is held.
func BenchmarkDecide(b *testing.B) {
	p, of := policy(b), call(2, after(0))
	claim := conversion.Claim{Line: 2, Standing: conversion.Standing{Sale: usd(6050)}, Details: conversion.Details{ReferenceID: "R1", ReasonCode: "S", SKUs: "DVD"}}
	fresh := matcher.Candidates{Match: matcher.Match{Call: &of}}
	made := matcher.Decide(&claim, fresh, p, 1).Conversion
	changed := claim
	changed.Sale = usd(7000)
	for _, row := range []struct {
		verdict conversion.Verdict
		claim   *conversion.Claim
		found   matcher.Candidates
	}{
		{conversion.Created, &claim, fresh},
		{conversion.Updated, &changed, matcher.Candidates{Match: fresh.Match, Prior: made, Referenced: made}},
	} {
		b.Run(fmt.Sprint(row.verdict), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := matcher.Decide(row.claim, row.found, p, 2).Outcome; got.Verdict != row.verdict {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}
