package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"calltally/conversion"
	"calltally/ingest"
)

const defaultAttempts = 5

// mostAttempts is how often deciding an upload is tried before it waits for somebody.
func (w *Worker) mostAttempts() int { return cmp.Or(max(w.Attempts, 0), defaultAttempts) }

// pauseAfter is how long an upload waits after its nth attempt has failed. One that ended with
// us, and perhaps by something else, is tried again at once: others must not overtake it, since
// what came later is to prevail.
func pauseAfter(attempt int) time.Duration {
	switch attempt = max(attempt, 1); {
	case attempt < atOnceTries:
		return 0
	case attempt == atOnceTries:
		return time.Minute
	}
	return 30 * time.Minute
}

// atOnceTries is how often an upload is tried before it waits for the first time.
const atOnceTries = 3

// Retry approves what an upload is held for, and decides it. What came later is to prevail: if it
// would change what later uploads have changed by now, that is ErrNewer, unless the caller
// knows.
func (w *Worker) Retry(ctx context.Context, upload int64, knowing bool) error {
	if !knowing {
		if err := w.checkNewer(ctx, upload); err != nil {
			return err
		}
	}
	if err := w.Store.Approve(ctx, upload); err != nil {
		return err
	}
	w.Log.Info("upload approved", "upload", upload)
	approved, err := w.Store.Upload(ctx, upload)
	if err != nil {
		return err
	}
	pass := attempts{w, map[int64]bool{}}
	return pass.alone(ctx)(approved)
}

// ErrNewer says that an upload's values would take the place of newer ones.
var ErrNewer = errors.New("its values would take the place of newer ones; discard it and have a new file sent, or decide it all the same with “calltally quarantine retry --yes”")

// checkNewer decides an upload, whether held or not, in a transaction that is taken back, to see
// what that would change.
func (w *Worker) checkNewer(ctx context.Context, id int64) error {
	var newer []conversion.Newer
	err := w.transact(ctx, func(w *Worker) (keep bool, err error) {
		upload, err := w.Store.Upload(ctx, id)
		if err == nil && upload.Hold != nil {
			if err = w.Store.Approve(ctx, id); err == nil {
				upload, err = w.Store.Upload(ctx, id)
			}
		}
		if err != nil || upload.Takes == conversion.TakesCalls || upload.DryRun {
			return false, err
		}
		if failure := sheltered(func() error { return w.Decide(ctx, upload) }); failure != nil {
			return false, ctx.Err() // it comes to the same, and is told, when it is decided
		}
		newer, err = w.Store.NewerChanged(ctx, id)
		return false, err
	})
	if err != nil || len(newer) == 0 {
		return err
	}
	var said []string
	for _, n := range newer[:min(3, len(newer))] {
		said = append(said, fmt.Sprintf("of %s by upload %d, %s", conversion.Count(n.Conversions, "conversion"), n.Upload, n.Name))
	}
	if more := len(newer) - len(said); more > 0 {
		said = append(said, "by "+conversion.Count(more, "more upload"))
	}
	return fmt.Errorf("upload %d: %w. Newer are those %s", id, ErrNewer, strings.Join(said, "; "))
}

// ErrPartlyDecided says that rows of an upload were decided, so that it can't be refused.
var ErrPartlyDecided = errors.New("its first rows were decided already; let it go on with “calltally quarantine retry”, then take it back with “calltally uploads undo”")

// Discard refuses an upload that is held.
func (w *Worker) Discard(ctx context.Context, upload *conversion.Upload, reason string) error {
	if upload.Cursor > 0 {
		return fmt.Errorf("upload %d: %w", upload.ID, ErrPartlyDecided)
	}
	sentence := "The file was held, and then it was decided not to take it."
	if reason = conversion.OneLine(strings.Join(strings.Fields(reason), " ")); reason != "" {
		sentence += " Why: " + reason
	}
	return w.refuse(ctx, upload, &conversion.Refusal{Code: conversion.Discarded, Sentence: sentence})
}

// attempts are the uploads of one pass. That one is tried is on the disk before it is: if that
// is the end of us, it is known which they were.
type attempts struct {
	*Worker
	noted map[int64]bool
}

// DecideAll decides every upload that is ours and not decided yet, in the order
// they came. One upload's failure delays no other: it is tried again later and, after a few
// attempts, waits for somebody.
func (w *Worker) DecideAll(ctx context.Context) error {
	pass := attempts{w, map[int64]bool{}}
	decide := batches[*conversion.Upload]{alone: pass.alone(ctx), together: pass.together(ctx)}
	return decide.close(w.Store.UploadsToDecide(ctx, w.now(), func(u *conversion.Upload) error {
		decide.add(u, u.Attempts > 0 || u.Takes != conversion.TakesConversions || u.DryRun || u.Size > ingest.SmallFile)
		return ctx.Err()
	}))
}

// alone decides one upload in transactions of its own.
func (a *attempts) alone(ctx context.Context) func(*conversion.Upload) error {
	return func(upload *conversion.Upload) error {
		if upload.Attempts >= a.mostAttempts() && !a.noted[upload.ID] {
			return a.exhausted(ctx, upload)
		}
		if err := a.note(ctx, upload); err != nil {
			return err
		}
		var err error
		if upload.Attempts > atOnceTries { // while it waited, newer ones were decided
			err = a.checkNewer(ctx, upload.ID)
		}
		if err == nil {
			err = sheltered(func() error { return a.Decide(ctx, upload) })
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrNewer):
			return a.hold(ctx, upload, &conversion.Hold{Code: conversion.AttemptsExhausted,
				Sentence: fmt.Sprintf("The file could not be decided at first, and its values would take the place of newer ones by now. %s It is looked into; nothing need be sent again.", appliedOf(upload))})
		case errors.Is(err, conversion.ErrTaken):
			a.Log.Info("upload left to another process", "upload", upload.ID)
			return a.takeBack(ctx, upload)
		case ctx.Err() != nil || a.Store.Outage(err):
			return errors.Join(outageOf(ctx, upload, err), a.takeBack(ctx, upload))
		}
		return errors.Join(fmt.Errorf("decide upload %d: %w", upload.ID, err), a.failed(ctx, upload, err))
	}
}

// outageOf is the error of an attempt that was none.
func outageOf(ctx context.Context, upload *conversion.Upload, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("decide upload %d: %w", upload.ID, err)
}

// together decides uploads in one transaction; if one of them stands in the way, none.
func (a *attempts) together(ctx context.Context) func([]*conversion.Upload) (done bool, err error) {
	return func(uploads []*conversion.Upload) (done bool, err error) {
		if err := a.note(ctx, uploads...); err != nil {
			return true, err
		}
		err = sheltered(func() error {
			return a.transact(ctx, func(w *Worker) (bool, error) { return true, a.decideOn(ctx, w, uploads) })
		})
		if err != nil && (ctx.Err() != nil || a.Store.Outage(err)) {
			return true, errors.Join(err, a.takeBack(ctx, uploads...))
		}
		return err == nil, err
	}
}

// note notes that uploads are about to be decided, once in a pass.
func (a *attempts) note(ctx context.Context, uploads ...*conversion.Upload) error {
	var some []*conversion.Upload
	for _, u := range uploads {
		if !a.noted[u.ID] {
			u.Attempts++
			some, a.noted[u.ID] = append(some, u), true
		}
	}
	if len(some) == 0 {
		return nil
	}
	return a.Store.NoteAttempts(ctx, some)
}

// takeBack has attempts not count: we are asked to stop, the store is in trouble, or another
// process was faster.
func (a *attempts) takeBack(ctx context.Context, uploads ...*conversion.Upload) error {
	return a.Store.TakeBackAttempts(context.WithoutCancel(ctx), uploads)
}

// failed notes what an attempt failed with. After the last one, the upload is held.
func (w *Worker) failed(ctx context.Context, upload *conversion.Upload, failure error) error {
	upload.LastError = conversion.Clip(conversion.OneLine(failure.Error()), 1000)
	if upload.Attempts >= w.mostAttempts() {
		return w.exhausted(ctx, upload)
	}
	return w.Store.NoteFailure(ctx, upload.ID, upload.LastError, conversion.MillisOf(w.Now().Add(pauseAfter(upload.Attempts))))
}

// exhausted holds an upload that was tried often enough.
func (w *Worker) exhausted(ctx context.Context, upload *conversion.Upload) error {
	return w.hold(ctx, upload, &conversion.Hold{Code: conversion.AttemptsExhausted,
		Sentence: fmt.Sprintf("The file could not be decided, though it was tried %s. %s It is looked into; nothing need be sent again.", conversion.Count(upload.Attempts, "time"), appliedOf(upload))})
}

// appliedOf says how far an upload has come.
func appliedOf(upload *conversion.Upload) string {
	if upload.Cursor == 0 {
		return "None of its rows was decided."
	}
	return fmt.Sprintf("Its rows up to line %d were decided.", upload.Cursor)
}

// hold has an upload wait for somebody's decision.
func (w *Worker) hold(ctx context.Context, upload *conversion.Upload, hold *conversion.Hold) error {
	if err := w.Store.Hold(ctx, upload.ID, *hold, w.now()); err != nil {
		return err
	}
	upload.State, upload.Hold = conversion.OnHold, hold
	w.Log.Warn("upload held", "upload", upload.ID, "account", upload.Account, "code", hold.Code, "error", upload.LastError)
	return nil
}

// sheltered does something and makes an error of its panic: what one upload does to us must
// not end the others.
func sheltered(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked{p, debug.Stack()}
		}
	}()
	return do()
}

// panicked is a panic as an error.
type panicked struct {
	what  any
	stack []byte
}

func (p panicked) Error() string { return fmt.Sprintf("panic: %v", p.what) }
