package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"calltally/conversion"
)

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
	if err == nil && of.EmptiedAt != 0 {
		err = fmt.Errorf("%w: upload %d can't be decided again, because its file was removed on %s", ErrCannotUndo, of.ID, of.EmptiedAt.Time().Format("2 January 2006"))
	}
	if err != nil {
		return err
	}
	was := *of // what is only tried leaves the caller's alone
	r := &replay{Worker: w, of: &was, account: account}
	differs := false
	err = w.transact(ctx, func(w *Worker) (_ bool, err error) {
		if err := r.by(w).rehearse(ctx); err != nil {
			return false, err
		}
		differs, err = r.findDiffering(ctx)
		return false, err
	})
	if err != nil {
		return err
	}
	if !differs {
		return show(w, nil, Comparison{Elsewhere: r.others(), Closed: r.left})
	}
	return w.transact(ctx, func(w *Worker) (bool, error) {
		if err := r.by(w).run(ctx); err != nil {
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
	// new and repeated are those that make a conversion marked so, as the upload found it.
	new, repeated lines
	left          int // how many differ and count for closed days
}

// by has the replay work by another worker.
func (r *replay) by(w *Worker) *replay {
	r.Worker = w
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
	u.wholly = true
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
	return r.decide(ctx, again{kept: kept, mark: r.mark})
}

// decide decides lines again as another upload.
func (r *replay) decide(ctx context.Context, how again) (err error) {
	table, refusal, err := r.survey(ctx, r.of, r.account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	r.again, err = r.derive(ctx, r.of, func(u *conversion.Upload) {
		u.Replays, u.ReceivedAt, u.Again, u.Reading = r.of.ID, r.of.ReceivedAt, r.of.Again, table.Reading
	})
	if err != nil {
		return err
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
	others := map[int64]bool{}
	for _, id := range r.owners {
		others[id] = true
	}
	delete(others, 0)
	delete(others, r.of.ID)
	return slices.Sorted(maps.Keys(others))
}
