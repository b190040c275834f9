package worker

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"

	"calltally/conversion"
)

// Difference is what deciding a row again changes.
type Difference struct {
	Was, Is conversion.Outcome
	// Parts are what it does otherwise to a conversion: sale, payout, publisher …
	Parts []string
	// Undone says that what it did was taken back since.
	Undone bool
}

// Comparison is what a replay found.
type Comparison struct {
	// Lines is how many differ; the first MostDifferences of them are listed.
	Lines       int
	Differences []Difference
	// Closed is how many lines would come to other things, but count for days that are
	// closed (lock_before): they are left.
	Closed int
	// Elsewhere are the uploads as part of which the other lines were decided, which
	// this replay leaves alone.
	Elsewhere []int64
}

// MostDifferences is how many differences of a replay are listed.
const MostDifferences = 1000

// findDiffering compares what the upload's lines came to with what they come to by a
// rehearsal, and finds those to be decided again: those that differ, with all that
// touch a conversion of one of them, and those that wait.
func (r *replay) findDiffering(ctx context.Context) (bool, error) {
	var all []touching
	var waiting []int
	var closed lines
	err := r.pairs(ctx, func(was, is *effect) error {
		if r.elsewhere(&was.outcome) {
			return nil
		}
		line := was.outcome.Line
		all = append(all, touching{line, was.outcome.ConversionID, r.asBefore(is.outcome.ConversionID), was.outcome.PartOf, is.outcome.PartOf})
		if was.outcome.Verdict == conversion.Waiting {
			waiting = append(waiting, line)
		}
		if was.undone {
			r.undone.add(line)
		}
		switch markOf(is) {
		case conversion.RepeatNew:
			r.new.add(line)
		case conversion.RepeatRepeated:
			r.repeated.add(line)
		}
		locked := r.closed(was, is)
		if locked {
			closed.add(line)
		}
		switch differs := r.differ(was, is); {
		case differs && locked:
			r.left++
		case differs:
			r.only.add(line)
		}
		return nil
	})
	if len(r.only) == 0 || err != nil {
		return false, err
	}
	for _, line := range waiting {
		r.only.add(line)
	}
	spreadTo(all, &r.only)
	spreadTo(all, &closed) // what touches the same is left as well
	differs := false
	for _, t := range all {
		if closed.has(t.line) {
			r.only.remove(t.line)
		}
		differs = differs || r.only.has(t.line)
	}
	return differs, nil
}

// markOf is what a conversion that a line has made is marked as.
func markOf(is *effect) string {
	if is.change == nil || is.change.Seq != 0 {
		return ""
	}
	for _, d := range is.change.Details {
		if d.Name == "repeat" {
			return d.After
		}
	}
	return ""
}

// mark is what a conversion that a line makes anew is marked as.
func (r *replay) mark(line int) string {
	switch {
	case r.new.has(line):
		return conversion.RepeatNew
	case r.repeated.has(line):
		return conversion.RepeatRepeated
	}
	return ""
}

// closed reports whether a line has done something that counts for a closed day, or
// would, so that nothing may be changed about it.
func (r *replay) closed(was, is *effect) bool {
	return was.change != nil && (was.change.Effective < r.account.LockBefore || is.outcome.Code == conversion.PeriodLocked)
}

// compare compares what the lines that were decided again came to with what they come
// to now.
func (r *replay) compare(ctx context.Context) (found Comparison, err error) {
	found.Elsewhere, found.Closed = r.others(), r.left
	err = r.pairs(ctx, func(was, is *effect) error {
		if line := was.outcome.Line; !r.only.has(line) || is.outcome.DecidedBy != 0 && is.outcome.Verdict != conversion.Rejected || !r.differ(was, is) {
			return nil
		}
		if found.Lines++; found.Lines <= MostDifferences {
			found.Differences = append(found.Differences, Difference{was.outcome, is.outcome, r.differingParts(was, is), r.undone.has(was.outcome.Line)})
		}
		return nil
	})
	return found, err
}

// touching is what ties a line to others: the conversions that it touches, then and
// now, and the order that it is part of.
type touching struct {
	line         int
	was, is      int64
	wasOf, nowOf int
}

// spreadTo adds the lines that are tied to lines which differ.
func spreadTo(all []touching, differing *lines) {
	conversions, orders := map[int64]bool{0: false}, map[int]bool{0: false}
	for spreads := true; spreads; {
		spreads = false
		for _, t := range all {
			tied := conversions[t.was] || conversions[t.is] || orders[cmp.Or(t.wasOf, t.line)] || orders[cmp.Or(t.nowOf, t.line)]
			if !differing.has(t.line) && !tied {
				continue
			}
			for _, id := range []int64{t.was, t.is} {
				spreads = spreads || id != 0 && !conversions[id]
				conversions[id] = id != 0
			}
			for _, order := range []int{cmp.Or(t.wasOf, t.line), cmp.Or(t.nowOf, t.line)} {
				spreads = spreads || !orders[order]
				orders[order] = true
			}
			differing.add(t.line)
		}
	}
}

// effect is what became of a line, and what that did.
type effect struct {
	outcome conversion.Outcome
	change  *conversion.Change // nil if it did nothing to a conversion
	undone  bool               // what it did was taken back
}

// pairs calls each for what became of the upload's lines, in order, and of the same
// ones decided again.
func (r *replay) pairs(ctx context.Context, each func(was, is *effect) error) error {
	next, stop := iter.Pull2(r.effects(ctx, r.again))
	defer stop()
	for was, err := range r.effects(ctx, r.of) {
		if err != nil {
			return err
		}
		is, err, more := next()
		if err != nil {
			return err
		}
		if !more || is.outcome.Line != was.outcome.Line {
			return r.readOtherwise(was.outcome.Line)
		}
		if err := each(&was, &is); err != nil {
			return err
		}
	}
	return nil
}

// readOtherwise says that the rows of a file are not those that they were.
func (r *replay) readOtherwise(line int) error {
	return fmt.Errorf("line %d of upload %d is read otherwise by now; set the configuration back", line, r.of.ID)
}

// effects yields what became of an upload's lines, in order.
func (r *replay) effects(ctx context.Context, u *conversion.Upload) iter.Seq2[effect, error] {
	return func(yield func(effect, error) bool) {
		err := r.Store.Outcomes(ctx, u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
			changes, undone, err := r.Store.ChangesBy(ctx, u.ID, outcomes[0].Line, outcomes[len(outcomes)-1].Line)
			if err != nil {
				return false, err
			}
			for _, o := range outcomes {
				if !yield(effect{o, changes[o.Line], undone[conversion.MakeID(u.ID, o.Line)]}, nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(effect{}, err)
		}
	}
}

// asBefore is the id that a conversion made by the replay had before.
func (r *replay) asBefore(id int64) int64 {
	if conversion.UploadOf(id) == r.again.ID {
		return conversion.MakeID(r.of.ID, conversion.LineOf(id))
	}
	return id
}

// differ reports whether a line comes to other things than it did. What was undone
// by then came to nothing: the replay's own undo doesn't count.
func (r *replay) differ(was, is *effect) bool {
	a, b := was.outcome, is.outcome
	switch {
	case a.Verdict != b.Verdict, a.Code != b.Code, a.CallID != b.CallID, a.ConversionID != r.asBefore(b.ConversionID), (was.change == nil) != (is.change == nil):
		return true
	case r.undone.has(a.Line):
		return true
	}
	return len(r.differingParts(was, is)) > 0
}

// differingParts are the parts of a conversion to which a line does other things than
// it did, in order.
func (r *replay) differingParts(was, is *effect) []string {
	if was.change == nil || is.change == nil {
		return nil
	}
	before, now := r.done(was.change), r.done(is.change)
	var parts []string
	for name := range merged(before, now) {
		if before[name] != now[name] {
			parts = append(parts, name)
		}
	}
	slices.Sort(parts)
	return parts
}

func merged(a, b map[string][2]any) map[string][2]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// done is what a change changed: each part with its values before and after. Of
// what was added only the sum counts.
func (r *replay) done(change *conversion.Change) map[string][2]any {
	changed := map[string][2]any{}
	note := func(name string, before, after any) {
		if before != after {
			changed[name] = [2]any{before, after}
		}
	}
	before, after := change.Before, change.After
	if change.Verdict == conversion.Incremented {
		after.Payout.Minor -= before.Payout.Minor
		before.Payout = conversion.Amount{}
	}
	if change.Seq == 0 {
		note("effective date", 0, change.Effective)
	}
	note("sale", before.Sale, after.Sale)
	note("received", before.Received, after.Received)
	note("payout", before.Payout, after.Payout)
	note("status", before.Status, after.Status)
	for _, d := range change.Details {
		if id, err := strconv.ParseInt(d.After, 10, 64); d.Name == "parent" && err == nil {
			d.After = conversion.FormatID(r.asBefore(id))
		}
		note(d.Name, d.Before, d.After)
	}
	return changed
}
