package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"calltally/ingest"
)

// Missing is what a source has put away and the store doesn't know.
type Missing struct {
	Source, Where string
	// Returned says that it was put back to where it is taken from.
	Returned bool
}

// Audit looks through what the sources have put away since a moment, and calls each for what
// the store doesn't know; rereceive has that be taken again. It returns how many things it has
// looked at. One source's failure delays no other.
func (w *Worker) Audit(ctx context.Context, since time.Time, rereceive bool, each func(Missing) error) (looked int, err error) {
	var failures []error
	for _, plan := range w.Plans {
		source, ok := plan.Source.(ingest.Archivist)
		if !ok {
			continue
		}
		for kept, err := range source.PutAway(ctx, since) {
			if err == nil {
				looked++
				err = w.auditOne(ctx, plan.Source.Name(), kept, rereceive, each)
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("source %s: %w", plan.Source.Name(), err))
			}
			if ctx.Err() != nil {
				return looked, errors.Join(append(failures, ctx.Err())...)
			}
		}
	}
	return looked, errors.Join(failures...)
}

func (w *Worker) auditOne(ctx context.Context, source string, kept *ingest.Kept, rereceive bool, each func(Missing) error) error {
	known, err := w.knows(ctx, kept)
	if err != nil || known {
		return err
	}
	missing := Missing{Source: source, Where: kept.Where}
	if rereceive {
		if err := kept.Return(ctx); err != nil {
			return fmt.Errorf("put back %s: %w", kept.Where, err)
		}
		missing.Returned = true
	}
	return each(missing)
}

// knows reports whether the store has all of what was put away.
func (w *Worker) knows(ctx context.Context, kept *ingest.Kept) (bool, error) {
	for _, d := range kept.Deliveries {
		known, err := w.knowsDelivery(ctx, d, kept.Exact)
		if err != nil || !known {
			return false, err
		}
	}
	return true, nil
}

func (w *Worker) knowsDelivery(ctx context.Context, d *ingest.Delivery, exact bool) (known bool, err error) {
	if exact {
		upload, err := w.Store.Delivered(ctx, d.Source, d.Origin)
		if upload == nil && err == nil { // it was an archive
			upload, err = w.Store.Delivered(ctx, d.Source, ingest.MemberOrigin(d.Origin, 1))
		}
		return upload != nil, err
	}
	known = true
	err = sheltered(func() error {
		return ingest.Members(ctx, d, w.limits(), func(member *ingest.Delivery) error {
			has, err := w.Store.HasBytes(ctx, d.Source, w.bounded(member.Open))
			known = known && has
			return err
		})
	})
	return known, err
}
