package worker

import (
	"context"
	"errors"
	"log/slog"

	"calltally/ingest"
)

// batches has things done in their order: many together and, in between, some alone.
type batches[T any] struct {
	// together returns that it has done nothing if one of them stands in the way: then each
	// is done alone.
	together func([]T) (done bool, err error)
	alone    func(T) error
	waiting  []T
	failures []error
}

func (b *batches[T]) add(thing T, alone bool) {
	if alone {
		b.end()
		b.failures = append(b.failures, b.alone(thing))
		return
	}
	if b.waiting = append(b.waiting, thing); len(b.waiting) == ingest.Together {
		b.end()
	}
}

// end has what waits done.
func (b *batches[T]) end() {
	if len(b.waiting) == 0 {
		return
	}
	if done, err := b.together(b.waiting); done {
		b.failures = append(b.failures, err)
	} else {
		for _, thing := range b.waiting {
			b.failures = append(b.failures, b.alone(thing))
		}
	}
	b.waiting = b.waiting[:0]
}

// close has what waits done and tells what has failed, beside another failure.
func (b *batches[T]) close(failure error) error {
	b.end()
	return errors.Join(append(b.failures, failure)...)
}

// transact has f work in one transaction, which is kept if f says so. What f logs comes to the
// log when the transaction is kept: until then it isn't so.
func (w *Worker) transact(ctx context.Context, f func(*Worker) (keep bool, err error)) error {
	var said []func()
	kept := false
	err := w.Together(ctx, func(s Store) (keep bool, err error) {
		within := w.On(s)
		within.Log = slog.New(heldBack{w.Log.Handler(), &said})
		kept, err = f(within)
		return kept, err
	})
	if err == nil && kept {
		for _, say := range said {
			say()
		}
	}
	return err
}

// heldBack is the log of a transaction. One goroutine writes to it.
type heldBack struct {
	slog.Handler
	said *[]func()
}

// meanwhile is the log for what is so already in the middle of a transaction.
func (w *Worker) meanwhile() *slog.Logger {
	handler := w.Log.Handler()
	for {
		held, is := handler.(heldBack)
		if !is {
			return slog.New(handler)
		}
		handler = held.Handler
	}
}

func (h heldBack) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	*h.said = append(*h.said, func() { _ = h.Handler.Handle(ctx, r) })
	return nil
}

func (h heldBack) WithAttrs(attrs []slog.Attr) slog.Handler {
	return heldBack{h.Handler.WithAttrs(attrs), h.said}
}

func (h heldBack) WithGroup(name string) slog.Handler {
	return heldBack{h.Handler.WithGroup(name), h.said}
}

// atOnce does something with each of some things in one transaction. If it fails, it has
// done nothing.
func atOnce[T any](ctx context.Context, w *Worker, things []T, do func(*Worker, T) error) error {
	return w.transact(ctx, func(together *Worker) (bool, error) {
		for _, thing := range things {
			if err := do(together, thing); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}
