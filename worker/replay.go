package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"calltally/conversion"
)

// Difference is what deciding a row again changes.
type Difference struct {
	Was, Is conversion.Outcome
}

// Comparison is what a replay found.
type Comparison struct {
	// Lines is how many differ; the first MostDifferences of them are listed.
	Lines       int
	Differences []Difference
	// Elsewhere are the uploads as part of which the other lines were decided, which
	// this replay leaves alone.
	Elsewhere []int64
}

// MostDifferences is how many differences of a replay are listed.
const MostDifferences = 1000

// Replay decides a stored upload again by the rules and calls of today, and tells
// what differs. First it finds out, without a trace, which lines come to other
// things if the ledger is as they found it then; those, and the lines that touch the
// same conversions, are taken back and decided again by the ledger as it is now. What
// stands in the way of that is among the outcomes. If nothing differs, nothing
// happens, and nothing does unless keep is set. show is told of the upload that the
// replay is recorded as (nil if nothing differs), while it can still be read.
func (w *Worker) Replay(ctx context.Context, of *conversion.Upload, keep bool, show func(*Worker, *conversion.Upload, Comparison) error) error {
	account, err := w.undoable(of)
	if err == nil && of.Undoes != 0 {
		err = fmt.Errorf("%w: upload %d is an undo; undo it instead", ErrCannotUndo, of.ID)
	}
	if err != nil {
		return err
	}
	was := *of // what is only tried leaves the caller's alone
	r := &replay{Worker: w, of: &was, account: account}
	differs := false
	err = w.Together(ctx, func(s Store) (_ bool, err error) {
		if err := r.on(s).rehearse(ctx); err != nil {
			return false, err
		}
		differs, err = r.findDiffering(ctx)
		return false, err
	})
	if err != nil {
		return err
	}
	if !differs {
		return show(w, nil, Comparison{Elsewhere: r.others()})
	}
	return w.Together(ctx, func(s Store) (bool, error) {
		if err := r.on(s).run(ctx); err != nil {
			return false, err
		}
		found, err := r.compare(ctx)
		if err != nil {
			return false, err
		}
		if found.Lines == 0 { // what came since has made the same of them
			return false, show(r.Worker, nil, found)
		}
		if _, err := r.stopWaiting(ctx, r.of, "The upload was decided again, and the row waits as part of that."); err != nil {
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
	again   *conversion.Upload // what decided them again

	family []*conversion.Upload // those that share its bytes by undo and replay
	owners []int64              // by line, see ownersOf
	only   lines                // those that are decided again
	undone lines                // those of which something was undone before
}

// on has the replay work on another store.
func (r *replay) on(s Store) *replay {
	r.Worker = r.On(s)
	return r
}

// rehearse decides all lines again that are still the upload's.
func (r *replay) rehearse(ctx context.Context) (err error) {
	if r.family, err = r.Store.Family(ctx, r.of.ID); err != nil {
		return err
	}
	if r.owners, err = r.ownersOf(ctx); err != nil {
		return err
	}
	kept, stop := r.keeper(ctx, r.elsewhere)
	defer stop()
	return r.decide(ctx, again{kept: kept, asOf: r.of.ID, touched: r.touched})
}

// run takes lines back and decides them again.
func (r *replay) run(ctx context.Context) (err error) {
	u, err := r.beginUndo(ctx, r.of, r.account)
	if err != nil {
		return err
	}
	blocked, err := u.takeBack(ctx, r.only.has)
	if err != nil {
		return err
	}
	if err := r.end(ctx, u.undo, false); err != nil {
		return err
	}
	taken := map[int64]bool{} // by others, since: that stays
	for _, o := range blocked {
		taken[o.ConversionID] = o.ConversionID != 0
	}
	kept, stop := r.keeper(ctx, func(o *conversion.Outcome) bool {
		if is, ok := blocked[o.Line]; ok {
			*o = is
			o.DecidedBy = r.of.ID
			return true
		}
		if r.elsewhere(o) {
			return true
		}
		leave := !r.only.has(o.Line) || taken[o.ConversionID]
		if leave {
			leaveTo(o, r.of.ID, "Decided as before.")
		}
		return leave
	})
	defer stop()
	return r.decide(ctx, again{kept: kept})
}

// decide decides lines again as another upload.
func (r *replay) decide(ctx context.Context, how again) (err error) {
	if r.again, err = r.derive(ctx, r.of, func(u *conversion.Upload) { u.Replays, u.ReceivedAt = r.of.ID, r.of.ReceivedAt }); err != nil {
		return err
	}
	table, refusal, err := r.survey(ctx, r.again, r.account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	for _, u := range r.family {
		how.noCopies = append(how.noCopies, u.ID)
	}
	return r.decideBy(ctx, r.again, r.policy(r.of, r.account, table, r.now()), table, how)
}

// ownersOf tells as part of which upload each line was decided last, of all that
// share the bytes: 0 if what it did was taken back. It is nil if they are all the
// replayed upload's.
func (r *replay) ownersOf(ctx context.Context) (owners []int64, err error) {
	if len(r.family) == 1 {
		return nil, nil
	}
	byID := map[int64]*conversion.Upload{}
	for _, u := range r.family {
		byID[u.ID] = u
		of, takes := u, false
		for of.Undoes != 0 {
			of, takes = byID[of.Undoes], !takes
		}
		for o, err := range r.outcomes(ctx, u) {
			if err != nil {
				return nil, err
			}
			for len(owners) <= o.Line {
				owners = append(owners, 0)
			}
			owner := &owners[o.Line]
			switch {
			case o.DecidedBy != 0 || u.Undoes != 0 && o.Verdict == conversion.Rejected: // left alone
			case u.Undoes == 0:
				*owner = u.ID
			case takes && *owner == of.ID:
				*owner = 0
			case !takes && *owner == 0:
				*owner = of.ID
			}
		}
	}
	return owners, nil
}

// elsewhere reports whether a line was decided last as part of another upload, and
// makes its outcome say so.
func (r *replay) elsewhere(o *conversion.Outcome) bool {
	owner := r.of.ID
	if r.owners != nil {
		owner = r.owners[o.Line]
	}
	if o.DecidedBy != 0 && owner == 0 {
		owner = o.DecidedBy
	}
	if owner == 0 || owner == r.of.ID {
		return false
	}
	leaveTo(o, owner, fmt.Sprintf("Decided as part of upload %d.", owner))
	return true
}

// leaveTo makes the outcome of a line that is left to the upload that has decided it.
func leaveTo(o *conversion.Outcome, upload int64, why string) {
	o.DecidedBy = upload
	if o.Verdict.Applied() {
		o.Verdict, o.Message, o.PayoutBefore, o.Rule = conversion.Unchanged, why, o.PayoutAfter, ""
	}
}

// keeper gives the outcomes of lines that are not decided again: those that leave
// says are left, as it makes them. Lines are asked for in their order.
func (r *replay) keeper(ctx context.Context, leave func(*conversion.Outcome) bool) (kept func(lines []int) ([]conversion.Outcome, error), stop func()) {
	next, stop := iter.Pull2(r.outcomes(ctx, r.of))
	return func(lines []int) ([]conversion.Outcome, error) {
		var kept []conversion.Outcome
		for _, line := range lines {
			o, err, more := next()
			if err != nil {
				return nil, err
			}
			if !more || o.Line != line {
				return nil, r.readOtherwise(line)
			}
			if leave(&o) {
				kept = append(kept, o)
			}
		}
		if len(kept) < len(lines) { // lines that belong together are decided together
			return nil, nil
		}
		return kept, nil
	}, stop
}

// outcomes yields what became of an upload's lines, in order.
func (r *replay) outcomes(ctx context.Context, u *conversion.Upload) iter.Seq2[conversion.Outcome, error] {
	return func(yield func(conversion.Outcome, error) bool) {
		err := r.Store.Outcomes(ctx, u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
			for _, o := range outcomes {
				if !yield(o, nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(conversion.Outcome{}, err)
		}
	}
}

// touched are the conversions that some lines of the replayed upload touched.
func (r *replay) touched(ctx context.Context, first, last int) (conversions []int64, err error) {
	err = r.Store.Outcomes(ctx, r.of.ID, first, func(outcomes []conversion.Outcome) (bool, error) {
		for _, o := range outcomes {
			if o.ConversionID != 0 && o.Line >= first && o.Line <= last {
				conversions = append(conversions, o.ConversionID)
			}
		}
		return outcomes[len(outcomes)-1].Line < last, nil
	})
	return conversions, err
}

// others are the uploads, but for the replayed one, as part of which lines were
// decided last.
func (r *replay) others() []int64 {
	others := slices.Sorted(slices.Values(r.owners))
	return slices.DeleteFunc(slices.Compact(others), func(id int64) bool { return id == 0 || id == r.of.ID })
}

// findDiffering compares what the upload's lines came to with what they come to by a
// rehearsal, and finds those to be decided again: those that differ, with all that
// touch a conversion of one of them, and those that wait.
func (r *replay) findDiffering(ctx context.Context) (bool, error) {
	var all []touching
	var waiting []int
	differs := false
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
		if r.differ(was, is) {
			r.only.add(line)
			differs = true
		}
		return nil
	})
	if differs {
		for _, line := range waiting {
			r.only.add(line)
		}
		spreadTo(all, &r.only)
	}
	return differs, err
}

// compare compares what the lines that were decided again came to with what they come
// to now.
func (r *replay) compare(ctx context.Context) (found Comparison, err error) {
	found.Elsewhere = r.others()
	err = r.pairs(ctx, func(was, is *effect) error {
		if line := was.outcome.Line; !r.only.has(line) || is.outcome.DecidedBy != 0 && is.outcome.Verdict != conversion.Rejected || !r.differ(was, is) {
			return nil
		}
		if found.Lines++; found.Lines <= MostDifferences {
			found.Differences = append(found.Differences, Difference{was.outcome, is.outcome})
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
	return was.change != nil && !reflect.DeepEqual(done(was.change), done(is.change))
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
