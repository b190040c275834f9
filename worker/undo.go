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
	was := *of
	return w.Together(ctx, func(s Store) (bool, error) {
		of, within := &was, w.On(s) // what is only tried leaves the caller's alone
		undo, err := within.derive(ctx, of, func(u *conversion.Upload) { u.Undoes = of.ID })
		if err != nil {
			return false, err
		}
		if err := within.stopWaiting(ctx, of); err != nil {
			return false, err
		}
		if _, err := within.takeBack(ctx, undo, of, account, nil); err != nil {
			return false, err
		}
		if err := within.end(ctx, undo, true); err != nil {
			return false, err
		}
		return keep, show(within, undo)
	})
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
		Takes: of.Takes, Dialect: of.Dialect, ReceivedAt: w.now(), State: conversion.Received, Reading: of.Reading, Mail: of.Mail, Again: true,
	}
	as(u)
	if err := w.Store.SaveDerived(ctx, u); err != nil {
		return nil, err
	}
	u.State = conversion.Deciding
	return u, w.Store.BeginDeciding(ctx, u.ID, u.Reading)
}

// stopWaiting has no row of an upload wait for its call any longer.
func (w *Worker) stopWaiting(ctx context.Context, of *conversion.Upload) error {
	if of.Tally.Of(conversion.Waiting) == 0 {
		return nil
	}
	return w.Store.Outcomes(ctx, of.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		settled := &conversion.Settlement{
			Upload: of.ID, From: of.State, After: of.Cursor, Cursor: of.Cursor, Waiting: of.Tally.Of(conversion.Waiting),
			Outcomes: outcomes, Tally: of.Tally, Done: true, At: w.now(), Diagnosis: of.Diagnosis,
		}
		for i := range outcomes {
			if o := &outcomes[i]; o.Verdict == conversion.Waiting {
				o.Verdict, o.Code, o.Message = conversion.Ignored, "", "The upload was undone before the row's call came."
				settled.Tally.Counts[conversion.Waiting]--
				settled.Tally.Counts[conversion.Ignored]++
			}
		}
		err := w.Store.Settle(ctx, conversion.HeldQuery{Account: of.Account}, func(*conversion.Held) (*conversion.Settlement, error) { return settled, nil })
		of.Tally = settled.Tally
		return true, err
	})
}

// takeBack takes back what some of an upload's lines did (all, if only is nil), and
// returns the lines where something stands in the way.
func (w *Worker) takeBack(ctx context.Context, undo, of *conversion.Upload, account *conversion.Account, only map[int]bool) (blocked map[int]conversion.Outcome, err error) {
	blocked = map[int]conversion.Outcome{}
	policy := matcher.Policy{Account: account, Now: w.now()}
	err = w.Store.Outcomes(ctx, of.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		query := conversion.HeldQuery{Account: of.Account, Undoes: of.ID, First: outcomes[0].Line, Last: outcomes[len(outcomes)-1].Line}
		return true, w.Store.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
			taking := &takingBack{settling: newSettling(undo, policy, held), of: of.ID, done: map[int64]conversion.Outcome{}}
			for _, o := range outcomes {
				if only != nil && !only[o.Line] {
					taking.note(conversion.Outcome{Line: o.Line, PartOf: o.PartOf, Verdict: conversion.Unchanged, ConversionID: o.ConversionID, Message: "Left as it was."})
					continue
				}
				outcome, err := taking.line(o)
				if err != nil {
					return nil, err
				}
				taking.note(outcome)
				if outcome.Verdict == conversion.Rejected {
					blocked[outcome.Line] = outcome
				}
			}
			settled := taking.settlement(&chunk{}, policy.Now)
			undo.Cursor, undo.Tally = settled.Cursor, settled.Tally
			return settled, nil
		})
	})
	return blocked, err
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

// takingBack decides how lines are taken back. The changes of one conversion are
// taken back together, the newest first.
type takingBack struct {
	*settling
	of   int64                        // the upload that is taken back
	done map[int64]conversion.Outcome // by the change that was to be taken back
}

// line takes back what a line did.
func (t *takingBack) line(was conversion.Outcome) (conversion.Outcome, error) {
	outcome := conversion.Outcome{Line: was.Line, Verdict: conversion.Unchanged, CallID: was.CallID, CallStart: was.CallStart, ConversionID: was.ConversionID, PartOf: was.PartOf}
	change := t.held.Done[was.Line]
	switch {
	case was.PartOf != 0:
		outcome.Message = fmt.Sprintf("Part of the order that begins on line %d.", was.PartOf)
	case change == nil:
		outcome.Message = "This row had changed no conversion."
	default:
		decided, err := t.change(change)
		if err != nil {
			return outcome, err
		}
		decided.Line, decided.CallID, decided.CallStart = was.Line, was.CallID, was.CallStart
		outcome = decided
	}
	t.cost(&outcome)
	return outcome, nil
}

// change takes back a change, and before it all later ones of the same upload.
func (t *takingBack) change(change *conversion.Change) (conversion.Outcome, error) {
	id := change.Conversion
	for _, other := range slices.Backward(t.held.Ledgers[id]) {
		if conversion.UploadOf(other.ID) != t.of {
			continue
		}
		if _, decided := t.done[other.ID]; decided {
			continue
		}
		if by := t.takenBackBy(other); by != nil { // while a line before was at work
			t.done[other.ID] = conversion.Outcome{Verdict: conversion.Updated, ConversionID: id, PayoutBefore: by.Before.Payout, PayoutAfter: by.After.Payout, Rule: by.Rule}
			continue
		}
		decision, err := t.undo(other)
		if err != nil {
			return conversion.Outcome{}, err
		}
		t.done[other.ID] = decision.Outcome
		if decision.Change == nil {
			continue
		}
		t.held.Ledgers[id] = append(t.held.Ledgers[id], decision.Change)
		if err := t.keep(decision); err != nil {
			return conversion.Outcome{}, err
		}
	}
	return t.done[change.ID], nil
}

// takenBackBy is the change of this undo that has taken another back; nil if none
// has.
func (t *takingBack) takenBackBy(change *conversion.Change) *conversion.Change {
	for _, other := range t.held.Ledgers[change.Conversion] {
		if other.Undoes == change.ID && conversion.UploadOf(other.ID) == t.upload.ID {
			return other
		}
	}
	return nil
}

func (t *takingBack) undo(change *conversion.Change) (matcher.Decision, error) {
	c := t.held.Conversion(change.Conversion)
	taking := matcher.Taking{Change: change, Conversion: c, Ledger: t.held.Ledgers[c.ID]}
	if key := matcher.ReturnsTo(change, c, t.policy); key != (conversion.Key{}) {
		holder, err := t.held.Ledger.Newest(key, c.ID)
		if err != nil {
			return matcher.Decision{}, err
		}
		taking.Holder = holder
	}
	return matcher.Undo(taking, t.policy, conversion.MakeID(t.upload.ID, conversion.LineOf(change.ID))), nil
}

// cost takes back what a line said of its call's cost.
func (t *takingBack) cost(outcome *conversion.Outcome) {
	said, ok := t.held.Costs[outcome.Line]
	if !ok || outcome.Verdict == conversion.Rejected {
		return
	}
	call := t.held.Calls[said.Call]
	cost, why := matcher.UndoCost(said, call.Cost, conversion.MakeID(t.upload.ID, outcome.Line))
	if cost == nil {
		outcome.Message = why
		return
	}
	t.costs = append(t.costs, *cost)
	call.Cost = cost.After
	outcome.Verdict = conversion.Updated
}
