package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"

	"calltally/conversion"
)

// Difference is what deciding a row again changes.
type Difference struct {
	Was, Is conversion.Outcome
}

// Replay decides a stored upload again by the rules and calls of today, and returns
// what differs. If keep is set, the rows that differ are taken back and decided
// again; what stands in the way of that is among the outcomes. If nothing differs,
// nothing happens. show is told of the upload that the replay is recorded as (nil
// if nothing differs), while it can still be read.
func (w *Worker) Replay(ctx context.Context, of *conversion.Upload, keep bool, show func(*Worker, *conversion.Upload, []Difference) error) error {
	account, err := w.undoable(of)
	if err == nil && of.Undoes != 0 {
		err = fmt.Errorf("%w: upload %d is an undo; undo it instead", ErrCannotUndo, of.ID)
	}
	if err != nil {
		return err
	}
	var differing map[int]bool
	var found []Difference
	err = w.Together(ctx, func(s Store) (bool, error) {
		r := newReplay(w.On(s), of, account)
		if err := r.run(ctx, nil); err != nil {
			return false, err
		}
		differing, found, err = r.compare(ctx)
		return false, err
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return show(w, nil, nil)
	}
	return w.Together(ctx, func(s Store) (bool, error) {
		r := newReplay(w.On(s), of, account)
		if err := r.run(ctx, differing); err != nil {
			return false, err
		}
		return keep, show(r.Worker, r.again, found)
	})
}

// replay takes an upload's lines back and decides them again, in one transaction.
type replay struct {
	*Worker
	of      *conversion.Upload
	account *conversion.Account
	undo    *conversion.Upload // what took the lines back
	// undoneBefore are the upload's changes that had been undone already.
	undoneBefore map[int64]bool
	again        *conversion.Upload // what decided them again
}

// newReplay begins a replay. What is only tried leaves the caller's upload alone.
func newReplay(w *Worker, of *conversion.Upload, account *conversion.Account) *replay {
	was := *of
	return &replay{Worker: w, of: &was, account: account}
}

// run takes lines back and decides them again: some, or all if only is nil.
func (r *replay) run(ctx context.Context, only map[int]bool) (err error) {
	if r.undoneBefore, err = r.undone(ctx); err != nil {
		return err
	}
	if r.undo, err = r.derive(ctx, r.of, func(u *conversion.Upload) { u.Undoes = r.of.ID }); err != nil {
		return err
	}
	if only != nil { // what waits goes on waiting as part of the replay
		if err := r.stopWaiting(ctx, r.of, "The upload was decided again, and the row waits as part of that."); err != nil {
			return err
		}
	}
	kept, err := r.takeBack(ctx, r.undo, r.of, r.account, only)
	if err != nil {
		return err
	}
	if err := r.end(ctx, r.undo, false); err != nil {
		return err
	}
	if only != nil {
		if err := r.keepOthers(ctx, only, kept); err != nil {
			return err
		}
	}
	if r.again, err = r.derive(ctx, r.of, func(u *conversion.Upload) { u.Replays, u.ReceivedAt = r.of.ID, r.of.ReceivedAt }); err != nil {
		return err
	}
	table, refusal, err := r.survey(ctx, r.again, r.account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	policy := r.policy(r.of, r.account, table, r.now())
	return r.decideBy(ctx, r.again, policy, table, kept)
}

// undone are the changes of the upload that were taken back before.
func (r *replay) undone(ctx context.Context) (map[int64]bool, error) {
	all := map[int64]bool{}
	err := r.Store.Outcomes(ctx, r.of.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		_, undone, err := r.Store.ChangesBy(ctx, r.of.ID, outcomes[0].Line, outcomes[len(outcomes)-1].Line)
		maps.Copy(all, undone)
		return true, err
	})
	return all, err
}

// keepOthers adds the outcomes of the lines that are not decided again: they are as
// they were.
func (r *replay) keepOthers(ctx context.Context, only map[int]bool, kept map[int]conversion.Outcome) error {
	return r.Store.Outcomes(ctx, r.of.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			if only[o.Line] {
				continue
			}
			if o.Verdict.Applied() {
				o.Verdict, o.Message, o.PayoutBefore = conversion.Unchanged, "Decided as before.", o.PayoutAfter
			}
			kept[o.Line] = o
		}
		return true, nil
	})
}

// MostDifferences is how many differences of a replay are listed.
const MostDifferences = 1000

// compare compares what an upload came to with what it comes to again. Lines that
// touch a conversion of one that differs are among those to be decided anew.
func (r *replay) compare(ctx context.Context) (differing map[int]bool, found []Difference, err error) {
	is, stop := iter.Pull2(r.effects(ctx, r.again))
	defer stop()
	var all []touching
	differing = map[int]bool{}
	var waiting []int
	for was, err := range r.effects(ctx, r.of) {
		if err != nil {
			return nil, nil, err
		}
		now, err, more := is()
		if err != nil {
			return nil, nil, err
		}
		line := was.outcome.Line
		if !more || now.outcome.Line != line {
			return nil, nil, fmt.Errorf("line %d of upload %d is read otherwise by now; set the configuration back", line, r.of.ID)
		}
		all = append(all, touching{line, was.conversion, r.asBefore(now.conversion), was.outcome.PartOf, now.outcome.PartOf})
		if was.outcome.Verdict == conversion.Waiting {
			waiting = append(waiting, line)
		}
		if r.differ(was, now) {
			differing[line] = true
			if len(found) < MostDifferences {
				found = append(found, Difference{was.outcome, now.outcome})
			}
		}
	}
	if len(differing) > 0 {
		for _, line := range waiting {
			differing[line] = true
		}
	}
	spreadTo(all, differing)
	return differing, found, nil
}

// touching is what ties a line to others: the conversions that it touches, then and
// now, and the order that it is part of.
type touching struct {
	line         int
	was, is      int64
	wasOf, nowOf int
}

// spreadTo adds the lines that are tied to lines which differ.
func spreadTo(all []touching, differing map[int]bool) {
	conversions, orders := map[int64]bool{0: false}, map[int]bool{0: false}
	for spreads := true; spreads; {
		spreads = false
		for _, t := range all {
			tied := conversions[t.was] || conversions[t.is] || orders[cmp.Or(t.wasOf, t.line)] || orders[cmp.Or(t.nowOf, t.line)]
			if !differing[t.line] && !tied {
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
			differing[t.line] = true
		}
	}
}

// effect is what became of a line, and what that did to a conversion.
type effect struct {
	outcome    conversion.Outcome
	conversion int64
	change     *conversion.Change // nil if it did nothing
}

// effects yields what became of an upload's lines, in order.
func (r *replay) effects(ctx context.Context, u *conversion.Upload) iter.Seq2[effect, error] {
	return func(yield func(effect, error) bool) {
		err := r.Store.Outcomes(ctx, u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
			changes, _, err := r.Store.ChangesBy(ctx, u.ID, outcomes[0].Line, outcomes[len(outcomes)-1].Line)
			if err != nil {
				return false, err
			}
			for _, o := range outcomes {
				if !yield(effect{outcome: o, conversion: o.ConversionID, change: changes[o.Line]}, nil) {
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
func (r *replay) differ(was, is effect) bool {
	a, b := was.outcome, is.outcome
	if a.Verdict != b.Verdict || a.Code != b.Code || a.CallID != b.CallID || was.conversion != r.asBefore(is.conversion) || (was.change == nil) != (is.change == nil) {
		return true
	}
	return was.change != nil && (r.undoneBefore[was.change.ID] || !reflect.DeepEqual(done(was.change), done(is.change)))
}

// done is what a change changed: each part with its values before and after. Of
// what was added only the sum counts.
func done(change *conversion.Change) map[string][2]any {
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
	note("sale", before.Sale, after.Sale)
	note("received", before.Received, after.Received)
	note("payout", before.Payout, after.Payout)
	note("status", before.Status, after.Status)
	for _, d := range change.Details {
		note(d.Name, d.Before, d.After)
	}
	return changed
}
