package matcher

import (
	"fmt"

	"calltally/conversion"
)

// unmatched rejects a claim without a call, or has it wait for a call that may
// still come.
func (d *decider) unmatched() Decision {
	match := d.found.Match
	if match.Code == "" { // there was nothing to look for
		return d.reject(conversion.StartTimeMissing, "", "", "The row doesn't say which call it is about. Fill in when the call started, or an id of the call%s.", d.orEvent())
	}
	d.outcome.Near = match.Tied
	column := d.policy.labels().Start
	if !d.claim.Start.Given() {
		column = ""
	}
	decision := d.reject(match.Code, column, "", "%s", match.Sentence)
	if until := d.waitsUntil(); match.Code == conversion.CallNotFound && until > d.policy.Now {
		decision.Outcome.Verdict = conversion.Waiting
		decision.Outcome.Message += fmt.Sprintf(" The row waits for the call until %s.", d.policy.clock(until))
	} else if match.Code == conversion.CallNotFound {
		decision.Outcome.Message += fmt.Sprintf(" Correct %s, or send the row again once its call is known.", d.toldBy())
	}
	return decision
}

// toldBy is what the row tells its call by.
func (d *decider) toldBy() string {
	switch {
	case d.claim.CallIDs.Given():
		return "the id"
	case !d.claim.Start.Given():
		return "the caller or when the event took place"
	case d.claim.Caller != 0:
		return "the time or the caller"
	}
	return "the time"
}

// orEvent is what else may tell a call, where the account allows it.
func (d *decider) orEvent() string {
	if d.policy.Account.Match.ByEventTime {
		return ", or its caller and when the event took place"
	}
	return ""
}

// waitsUntil is how long a call is waited for: from when the row says that it
// started, else from when the row came.
func (d *decider) waitsUntil() conversion.Millis {
	wait := millis(d.policy.Account.WaitForCalls)
	switch {
	case wait == 0:
		return 0
	case d.claim.Start.Given():
		return d.claim.Start.First.To + wait
	}
	return d.policy.received() + wait
}

// misdated says what is wrong with when a row's event took place, or its web
// conversion, and in which column: that has not come yet, or is older than what is
// looked back over. The zero Match is that nothing is.
func (d *decider) misdated() (wrong Match, column string) {
	when, what, column := d.claim.Event, "event", d.policy.labels().Event
	if d.claim.Web && !when.Given() {
		when, what, column = d.claim.Start, "conversion", d.policy.labels().Start
	}
	wrong, _ = d.policy.checkAge(when.First, what)
	return wrong, column
}
