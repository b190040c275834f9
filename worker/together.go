package worker

import (
	"context"
	"errors"

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

// atOnce does something with each of some things in one transaction. If it fails, it has
// done nothing.
func atOnce[T any](ctx context.Context, w *Worker, things []T, do func(*Worker, T) error) error {
	return w.Together(ctx, func(s Store) (bool, error) {
		together := w.On(s)
		for _, thing := range things {
			if err := do(together, thing); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}
