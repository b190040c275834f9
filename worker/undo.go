package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"calltally/conversion"
	"calltally/matcher"
)

// ErrCannotUndo says that an upload is not one that can be taken back or decided
// again.
var ErrCannotUndo = errors.New("the upload can't be undone or replayed")

// Undo takes back what an upload did, by changes of its own, and leaves what others
// have changed since; what that leaves in the way is listed. All of it happens at
// once or not at all, and not at all unless keep is set. show is told of the upload
// that the undo is recorded as, while it can still be read.
func (w *Worker) Undo(ctx context.Context, of *conversion.Upload, keep bool, show func(*Worker, *conversion.Upload) error) error {
	account, err := w.undoable(of)
	if err != nil {
		return err
	}
	was := *of // what is only tried leaves the caller's alone
	return w.transact(ctx, func(within *Worker) (bool, error) {
		u, err := within.beginUndo(ctx, &was, account)
		if err == nil {
			err = u.amendWaiting(ctx)
		}
		if err == nil {
			_, err = u.takeBack(ctx, func(int) bool { return true })
		}
		if err == nil {
			err = within.end(ctx, u.undo, true)
		}
		if err != nil {
			return false, err
		}
		return keep, show(within, u.undo)
	})
}

// undoing takes back what an upload did.
type undoing struct {
	*Worker
	undo, of *conversion.Upload
	account  *conversion.Account
	// base is the upload that is undone in the end, if of is an undo itself; restores
	// says that what it did is done again.
	base     *conversion.Upload
	restores bool
	amended  lines // those of base that wait no longer, or again
	// wholly leaves a conversion alone where something is in the way of taking back any
	// of what was done to it.
	wholly bool
}

func (w *Worker) beginUndo(ctx context.Context, of *conversion.Upload, account *conversion.Account) (u *undoing, err error) {
	u = &undoing{Worker: w, of: of, account: account, base: of}
	for u.base.Undoes != 0 {
		if u.base, err = w.Store.Upload(ctx, u.base.Undoes); err != nil {
			return nil, err
		}
		u.restores = !u.restores
	}
	u.undo, err = w.derive(ctx, of, func(undo *conversion.Upload) { undo.Undoes = of.ID })
	return u, err
}

// amendWaiting has rows wait no longer, or again.
func (u *undoing) amendWaiting(ctx context.Context) (err error) {
	if u.restores {
		u.amended, err = u.resumeWaiting(ctx, u.base)
	} else {
		u.amended, err = u.stopWaiting(ctx, u.base, "The upload was undone before the row's call came.")
	}
	return err
}

// undoable returns the account of an upload that can be taken back or decided
// again.
func (w *Worker) undoable(u *conversion.Upload) (*conversion.Account, error) {
	account := w.Account(u.Account)
	switch {
	case u.Takes != conversion.TakesConversions:
		return nil, fmt.Errorf("%w: upload %d is a call log; import a corrected one", ErrCannotUndo, u.ID)
	case u.DryRun:
		return nil, fmt.Errorf("%w: upload %d was a dry run and changed nothing", ErrCannotUndo, u.ID)
	case u.State == conversion.Refused:
		return nil, fmt.Errorf("%w: upload %d was refused and changed nothing", ErrCannotUndo, u.ID)
	case u.State == conversion.OnHold:
		return nil, fmt.Errorf("%w: upload %d is held; let it go on or discard it by “calltally quarantine”", ErrCannotUndo, u.ID)
	case u.State != conversion.Decided:
		return nil, fmt.Errorf("%w: upload %d is still being decided; wait until it is", ErrCannotUndo, u.ID)
	case account == nil:
		return nil, fmt.Errorf("%w: the configuration has no account %q any more", ErrCannotUndo, u.Account)
	}
	return account, nil
}

// derive notes an upload that shares the bytes of another, and goes by the rules of
// the same source.
func (w *Worker) derive(ctx context.Context, of *conversion.Upload, as func(*conversion.Upload)) (*conversion.Upload, error) {
	u := &conversion.Upload{
		Account: of.Account, Source: of.Source, Origin: rand.Text(), Name: of.Name, Stem: of.Stem, Digest: of.Digest, Size: of.Size,
		Takes: of.Takes, Dialect: of.Dialect, ReceivedAt: w.now(), State: conversion.Received, Reading: of.Reading, Mail: of.Mail, EmptiedAt: of.EmptiedAt,
	}
	as(u)
	if err := w.Store.SaveDerived(ctx, u); err != nil {
		return nil, err
	}
	u.State = conversion.Deciding
	return u, w.Store.BeginDeciding(ctx, u.ID, u.Reading)
}

// stopWaiting has no row of an upload wait for its call any longer, and says why.
func (w *Worker) stopWaiting(ctx context.Context, of *conversion.Upload, why string) (stopped lines, err error) {
	if of.Tally.Of(conversion.Waiting) == 0 {
		return nil, nil
	}
	return w.amend(ctx, of, func(o *conversion.Outcome) bool {
		waits := o.Verdict == conversion.Waiting
		if waits {
			o.Verdict, o.Code, o.Message, o.Waited = conversion.Ignored, "", why, true
		}
		return waits
	})
}

// resumeWaiting has the rows of an upload wait again that did until it was undone.
func (w *Worker) resumeWaiting(ctx context.Context, of *conversion.Upload) (resumed lines, err error) {
	if of.Tally.Of(conversion.Ignored) == 0 {
		return nil, nil
	}
	return w.amend(ctx, of, func(o *conversion.Outcome) bool {
		waited := o.Verdict == conversion.Ignored && o.Waited
		if waited {
			o.Verdict, o.Code, o.Message, o.Waited = conversion.Waiting, conversion.CallNotFound, "The row waits for its call.", false
		}
		return waited
	})
}

// amend changes the outcomes of a decided upload's rows: those that change says that
// it has changed.
func (w *Worker) amend(ctx context.Context, of *conversion.Upload, change func(*conversion.Outcome) bool) (amended lines, err error) {
	now := *of // the caller may only be looking what would happen
	of = &now
	err = w.Store.Outcomes(ctx, of.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		settled := &conversion.Settlement{
			Upload: of.ID, From: of.State, After: of.Cursor, Cursor: of.Cursor, Waiting: of.Tally.Of(conversion.Waiting),
			Outcomes: outcomes, Tally: of.Tally, Done: true, At: w.now(), Diagnosis: of.Diagnosis,
		}
		for i := range outcomes {
			was := outcomes[i].Verdict
			if change(&outcomes[i]) {
				amended.add(outcomes[i].Line)
				settled.Tally.Counts[was]--
				settled.Tally.Counts[outcomes[i].Verdict]++
			}
		}
		if settled.Tally == of.Tally {
			return true, nil
		}
		err := w.Store.Settle(ctx, conversion.HeldQuery{Account: of.Account}, func(*conversion.Held) (*conversion.Settlement, error) { return settled, nil })
		of.Tally = settled.Tally
		return true, err
	})
	return amended, err
}

// takeBack takes back what those of the upload's lines did that take says, in the
// opposite order, and returns the lines where something stands in the way.
func (u *undoing) takeBack(ctx context.Context, take func(line int) bool) (blocked map[int]conversion.Outcome, err error) {
	blocked = map[int]conversion.Outcome{}
	policy, progress := matcher.Policy{Account: u.account, Now: u.now()}, u.progressOf(u.undo, "undoing", u.of.Tally.Rows, u.undo.Tally.Rows)
	err = u.eachChunk(ctx, u.of.ID, u.restores, func(outcomes []conversion.Outcome) error {
		query := conversion.HeldQuery{Account: u.of.Account, Undoes: u.of.ID, First: outcomes[0].Line, Last: outcomes[len(outcomes)-1].Line}
		return u.Store.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
			taking := &takingBack{settling: newSettling(u.undo, policy, held, 0), undoing: u, done: map[int64]conversion.Outcome{}, histories: map[int64]*matcher.History{}}
			taken := make([]conversion.Outcome, len(outcomes))
			for n := range outcomes {
				i := len(outcomes) - 1 - n
				if u.restores {
					i = n
				}
				o := outcomes[i]
				taken[i] = conversion.Outcome{Line: o.Line, PartOf: o.PartOf, Verdict: conversion.Unchanged, ConversionID: o.ConversionID, Message: "Left as it was.", DecidedBy: u.of.ID}
				if take(o.Line) {
					if taken[i], err = taking.line(o); err != nil {
						return nil, err
					}
				}
			}
			shareBlocks(taken)
			for _, o := range taken {
				if o.Verdict == conversion.Rejected {
					blocked[o.Line] = o
				}
			}
			taking.note(taken...)
			settled := taking.settlement(&chunk{}, policy.Now)
			u.undo.Cursor, u.undo.Tally = settled.Cursor, settled.Tally
			progress.reached(u.undo.Tally.Rows)
			return settled, nil
		})
	})
	return blocked, err
}

// shareBlocks has what stands in the way of an order stand in the way of all its
// rows.
func shareBlocks(taken []conversion.Outcome) {
	first := map[int]*conversion.Outcome{}
	for i := range taken {
		o := &taken[i]
		first[o.Line] = o
		if head := first[o.PartOf]; o.PartOf != 0 && head != nil && head.Verdict == conversion.Rejected {
			o.Verdict, o.Code, o.Message = head.Verdict, head.Code, o.Message+" "+head.Message
		}
	}
}

// eachChunk calls each for the chunks of an upload's outcomes, the first or the last
// one first.
func (w *Worker) eachChunk(ctx context.Context, upload int64, forward bool, each func([]conversion.Outcome) error) error {
	var firsts []int
	err := w.Store.Outcomes(ctx, upload, 0, func(outcomes []conversion.Outcome) (bool, error) {
		firsts = append(firsts, outcomes[0].Line)
		return true, nil
	})
	if !forward {
		slices.Reverse(firsts)
	}
	for _, first := range firsts {
		if err != nil {
			break
		}
		err = w.Store.Outcomes(ctx, upload, first, func(outcomes []conversion.Outcome) (bool, error) { return false, each(outcomes) })
	}
	return err
}

// end ends a derived upload; news has its report sent.
func (w *Worker) end(ctx context.Context, u *conversion.Upload, news bool) error {
	u.DecidedAt = w.now()
	err := w.Store.Settle(ctx, conversion.HeldQuery{Account: u.Account}, func(*conversion.Held) (*conversion.Settlement, error) {
		return &conversion.Settlement{
			Upload: u.ID, From: u.State, After: u.Cursor, Cursor: u.Cursor, Waiting: u.Tally.Of(conversion.Waiting), Tally: u.Tally,
			Done: true, News: news, At: u.DecidedAt, Diagnosis: u.Diagnosis,
		}, nil
	})
	u.State = conversion.Decided
	return err
}
