package matcher

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"calltally/conversion"
)

const (
	// farthestZone is the most that two clocks on Earth differ by, rounded up.
	farthestZone = 14 * time.Hour
	// zoneStep is the finest step that zones differ by.
	zoneStep = 15 * time.Minute
	// zoneSlack is how far a call may lie from a whole step and still count as
	// shifted by it.
	zoneSlack = 60 * time.Second
	// nearMisses is how many near misses a row lists.
	nearMisses = conversion.NearestCalls
)

// NearSearches returns where to look for the calls that a claim may have missed:
// the caller's calls of the day before and after, and the calls of that moment.
// wide adds, for a claim without a caller, the same moment in other time zones;
// that costs many searches, so a worker asks it of some rows only.
func NearSearches(claim *conversion.Claim, policy Policy, wide bool) []conversion.CallSearch {
	if !claim.Start.Given() {
		return nil
	}
	start, window := claim.Start.First, windowFor(claim, policy)
	if claim.Caller != 0 {
		zone := millis(farthestZone + zoneSlack)
		return []conversion.CallSearch{
			{Caller: claim.Caller, From: start.From - zone, To: start.To + zone},
			{From: start.From - millis(zoneSlack), To: start.To + millis(zoneSlack), Nearest: true},
		}
	}
	searches := []conversion.CallSearch{{From: start.From - 5*window, To: start.To + 5*window}}
	for hours := -14; wide && hours <= 14; hours++ {
		if off := conversion.Millis(hours) * 3_600_000; hours != 0 {
			searches = append(searches, conversion.CallSearch{From: start.From + off - 1000, To: start.To + off + 1000})
		}
	}
	return searches
}

// Explain lists the calls that a claim missed, the most telling first, and
// returns the shift (seconds) under which one would have matched, if there is
// one. The near calls may hold some that are no near misses.
func Explain(claim *conversion.Claim, near []conversion.Call, policy Policy) (misses []conversion.NearMiss, shift int) {
	var found []missed
	for i := range near {
		if m, ok := missedBy(claim, &near[i], policy); ok {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b missed) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.off, b.off), cmp.Compare(a.call.CallID, b.call.CallID))
	})
	found = slices.CompactFunc(found, func(a, b missed) bool { return a.call.CallID == b.call.CallID })
	for _, m := range found {
		if len(misses) < nearMisses {
			misses = append(misses, conversion.NearMiss{CallID: m.call.CallID, Why: m.why})
		}
		if shift == 0 {
			shift = m.shift
		}
	}
	return misses, shift
}

// missed is a call that was nearly the one.
type missed struct {
	call  *conversion.Call
	rank  int   // what kind of miss: the lower the more telling
	off   int64 // milliseconds away
	why   string
	shift int // seconds; set if a zone explains the miss
}

func missedBy(claim *conversion.Claim, call *conversion.Call, policy Policy) (missed, bool) {
	start, window := claim.Start.First, int64(windowFor(claim, policy))
	off := start.Distance(call.Start)
	signed := int64(call.Start - start.From)
	m, far := missed{call: call, off: off}, howFar(start, call.Start)
	sameCaller := claim.Caller == 0 || call.Caller == claim.Caller
	shift, shifted := zoneShift(signed, claim.Caller != 0)
	shifted = shifted && agreesOnNumbers(claim, call)
	switch {
	case claim.CallIDs.Given() && sameCaller && off <= window && agreesOnNumbers(claim, call):
		m.rank = 1
		m.why = fmt.Sprintf("started %s, %s, but has another id", policy.clock(call.Start), far)
		return m, true
	case sameCaller && off <= window:
		m.rank = 1
		m.why = fmt.Sprintf("started %s, %s, but %s was dialled", policy.clock(call.Start), far, call.Called)
		return m, claim.Called != 0 && call.Called != 0 && call.Called != claim.Called
	case sameCaller && shifted:
		m.rank, m.shift = 2, shift
		m.why = fmt.Sprintf("started %s, %s %s; check the time zone", policy.clock(call.Start), whole(shift), direction(shift))
		if claim.Caller != 0 {
			m.why = "same caller, " + m.why
		}
		return m, true
	case sameCaller && claim.Caller != 0:
		m.rank = 3
		m.why = fmt.Sprintf("same caller, started %s, %s; the window is %s", policy.clock(call.Start), far, seconds(window))
		return m, true
	case sameCaller:
		m.rank = 3
		m.why = fmt.Sprintf("started %s, %s; the window is %s", policy.clock(call.Start), far, seconds(window))
		return m, off <= 5*window
	case off <= zoneSlack.Milliseconds():
		m.rank = 1
		m.why = fmt.Sprintf("started %s, %s, but from %s", policy.clock(call.Start), far, callerName(call.Caller))
		return m, true
	}
	return m, false
}

// apart is how far a call's start looks from the written time, in milliseconds:
// from its first moment if that was written to the second.
func apart(written conversion.Span, at conversion.Millis) int64 {
	if written.Fine() {
		return int64(max(at-written.From, written.From-at))
	}
	return written.Distance(at)
}

func callerName(p conversion.Phone) string {
	if p == 0 {
		return "a withheld number"
	}
	return p.String()
}

func whole(shift int) string { return seconds(int64(max(shift, -shift)) * 1000) }

func direction(shift int) string {
	if shift < 0 {
		return "earlier"
	}
	return "later"
}

// zoneShift reports whether a call lies a zone's difference away: exactly hours
// without a caller, quarter hours with one. It returns the shift in seconds.
func zoneShift(signed int64, hasCaller bool) (int, bool) {
	step, slack := zoneStep.Milliseconds(), zoneSlack.Milliseconds()
	if !hasCaller {
		step, slack = time.Hour.Milliseconds(), 2000
	}
	steps := (max(signed, -signed) + step/2) / step
	rounded := steps * step
	off := max(signed, -signed) - rounded
	if steps == 0 || rounded > farthestZone.Milliseconds() || max(off, -off) > slack {
		return 0, false
	}
	if signed < 0 {
		rounded = -rounded
	}
	return int(rounded / 1000), true
}

// Diagnosis finds out what a file's unmatched rows have in common. It looks at
// the first of them, in file order.
type Diagnosis struct {
	unmatched int
	shifts    map[int]int
}

// Diagnosed is how many unmatched rows a diagnosis looks at.
const Diagnosed = 2000

// AddAll looks at outcomes. It returns false once it has seen enough.
func (d *Diagnosis) AddAll(outcomes []conversion.Outcome) (more bool) {
	for i := range outcomes {
		d.add(&outcomes[i])
	}
	return d.unmatched < Diagnosed
}

func (d *Diagnosis) add(o *conversion.Outcome) {
	if o.Code != conversion.CallNotFound && o.Code != conversion.CallInFuture || d.unmatched >= Diagnosed {
		return
	}
	d.unmatched++
	if o.Shift != 0 {
		if d.shifts == nil {
			d.shifts = map[int]int{}
		}
		d.shifts[o.Shift]++
	}
}

// Sentence says what the rows have in common, or nothing: at least 5 rows and
// half of the unmatched must agree on one shift.
func (d *Diagnosis) Sentence() string {
	const fewest = 5
	best, rows := 0, 0
	for shift, n := range d.shifts {
		if n > rows || n == rows && max(shift, -shift) < max(best, -best) || n == rows && shift == -best && shift > 0 {
			best, rows = shift, n
		}
	}
	if rows < fewest || rows*2 < d.unmatched {
		return ""
	}
	share := fmt.Sprintf("%d of the %d", rows, d.unmatched)
	if rows == d.unmatched {
		share = fmt.Sprintf("All %d", rows)
	}
	return fmt.Sprintf("%s rows without a call would find one if their times were %s %s: they are off by exactly %s. Check the file's time zone.",
		share, hours(best), direction(best), whole(best))
}

func hours(shift int) string {
	d := time.Duration(max(shift, -shift)) * time.Second
	if d%time.Hour == 0 {
		return conversion.Count(int(d/time.Hour), "hour")
	}
	return fmt.Sprintf("%d h %02d min", int(d/time.Hour), int(d%time.Hour/time.Minute))
}
