package matcher_test

import (
	"fmt"
	"testing"

	"calltally/conversion"
	"calltally/matcher"
)

// Senders write whole seconds, some as milliseconds that end in zeros; logs tell
// the millisecond. Both must find the call that began in that second.
func TestACallInTheWrittenSecondIsTheOne(t *testing.T) {
	const second = "2026-03-10T16:00:54Z"
	calls := func(starts ...string) (all []conversion.Call) {
		for i, start := range starts {
			all = append(all, call(int64(i+1), millis(start)))
		}
		return all
	}
	reader := conversion.TimeReader{Zone: newYork(t), Order: conversion.DateOrderMDY}
	for _, written := range []string{
		second, "2026-03-10T16:00:54.000Z", "2026-03-10 12:00:54", "2026-03-10 12:00:54.000",
		fmt.Sprint(int64(millis(second)) / 1000), fmt.Sprint(int64(millis(second))),
	} {
		when, err := reader.Read(written)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name  string
			calls []conversion.Call
			want  string // the call's id; "" for none
		}{
			{"another within the margin", calls("2026-03-10T16:00:54.400Z", "2026-03-10T16:00:59.000Z"), "A"},
			{"another just after the second", calls("2026-03-10T16:00:55.000Z", "2026-03-10T16:00:54.999Z"), "B"},
			{"two in the second", calls("2026-03-10T16:00:54.400Z", "2026-03-10T16:00:54.900Z"), ""},
			{"none in the second, two about as near", calls("2026-03-10T16:00:52.000Z", "2026-03-10T16:00:57.000Z"), ""},
		} {
			t.Run(written+", "+test.name, func(t *testing.T) {
				match := matcher.FindCall(&conversion.Claim{Start: when, Caller: alice}, test.calls, policy(t))
				got := ""
				if match.Call != nil {
					got = match.Call.CallID
				}
				if got != test.want {
					t.Errorf("call %q, want %q (%s: %s)", got, test.want, match.Code, match.Sentence)
				}
			})
		}
	}
}
