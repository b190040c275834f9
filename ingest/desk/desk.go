// Package desk is where files are handed in by those who wait for a receipt: requests of
// scripts, for example. They go the way of all deliveries.
package desk

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"calltally/conversion"
	"calltally/ingest"
)

// Desk is a source whose files are handed in.
type Desk struct {
	Label   string // the source's name
	Account string
	Takes   conversion.Takes
	Dialect string

	mu     sync.Mutex
	queue  []*handed
	asked  []*handed     // yielded, and not acknowledged yet
	waking chan struct{} // closed when there is something to do
	closed bool
}

// File is a file that is handed in. Its bytes are on this side.
type File struct {
	Name string
	Size int64
	Open ingest.Opener
	// Origin names it: handed in again under the same origin, the same bytes are known.
	// Bundle names what all files are found by that it holds.
	Origin, Bundle string
}

// handed is a file on its way, and whom to tell.
type handed struct {
	File
	receipt chan error
}

// ErrNotStored says that a file could not be stored. It may be handed in again.
var ErrNotStored = errors.New("the file could not be stored; try again in a while")

// Take hands a file in and returns when it is durably ours, or why it isn't.
func (d *Desk) Take(ctx context.Context, file File) error {
	h := &handed{file, make(chan error, 1)}
	d.mu.Lock()
	if d.queue = append(d.queue, h); d.closed {
		refuse(&d.queue)
	}
	d.wake()
	d.mu.Unlock()
	select {
	case err := <-h.receipt:
		return err
	case <-ctx.Done():
		if d.takeBack(h) {
			return ctx.Err()
		}
		return <-h.receipt // its bytes are being read
	}
}

// takeBack takes a file out of the queue, if it is still there.
func (d *Desk) takeBack(h *handed) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := len(d.queue)
	d.queue = slices.DeleteFunc(d.queue, func(other *handed) bool { return other == h })
	return len(d.queue) < before
}

// Close ends all waiting: nobody looks any more.
func (d *Desk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	refuse(&d.queue)
	refuse(&d.asked)
}

// refuse tells those who wait that their file could not be stored.
func refuse(waiting *[]*handed) {
	for _, h := range *waiting {
		h.receipt <- ErrNotStored
	}
	*waiting = nil
}

// wake tells whoever waits that there is something to do.
func (d *Desk) wake() {
	if d.waking != nil {
		close(d.waking)
		d.waking = nil
	}
}

// Name returns the source's name.
func (d *Desk) Name() string { return d.Label }

// Deliveries yields what was handed in, in order. What an earlier look has yielded and
// nobody has acknowledged could not be stored.
func (d *Desk) Deliveries(context.Context) iter.Seq2[*ingest.Delivery, error] {
	return func(yield func(*ingest.Delivery, error) bool) {
		d.mu.Lock()
		refuse(&d.asked)
		d.mu.Unlock()
		for {
			h := d.next()
			if h == nil || !yield(d.delivery(h), nil) {
				return
			}
		}
	}
}

func (d *Desk) next() *handed {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return nil
	}
	h := d.queue[0]
	d.queue = d.queue[1:]
	d.asked = append(d.asked, h)
	return h
}

func (d *Desk) delivery(h *handed) *ingest.Delivery {
	return &ingest.Delivery{
		Source: d.Label, Origin: h.Origin, Name: h.Name, Account: d.Account, Takes: d.Takes, Dialect: d.Dialect,
		AtHand: h.Size <= ingest.SmallFile, Bundle: h.Bundle, Closes: true, Open: h.Open,
		Ack: func(context.Context, ingest.Disposition) error {
			d.acknowledged(h)
			return nil
		},
	}
}

func (d *Desk) acknowledged(h *handed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := slices.Index(d.asked, h); at >= 0 {
		d.asked = slices.Delete(d.asked, at, at+1)
		h.receipt <- nil
	}
}

// Wake waits until something is handed in, or has to be told that it could not be stored.
func (d *Desk) Wake(ctx context.Context) error {
	d.mu.Lock()
	if len(d.queue)+len(d.asked) > 0 {
		d.mu.Unlock()
		return nil
	}
	if d.waking == nil {
		d.waking = make(chan struct{})
	}
	waking := d.waking
	d.mu.Unlock()
	select {
	case <-waking:
	case <-ctx.Done():
	}
	return nil
}
