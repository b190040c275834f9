package desk_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/desk"
)

func newDesk() *desk.Desk {
	return &desk.Desk{Label: "api", Account: "23", Takes: conversion.TakesConversions, Dialect: "invoca"}
}

func file(origin string) desk.File {
	return desk.File{Name: "orders.csv", Size: 4, Origin: origin, Bundle: "bundle " + origin, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("a,b\n")), nil }}
}

// handIn hands a file in and returns where its receipt will be.
func handIn(ctx context.Context, d *desk.Desk, f desk.File) <-chan error {
	receipt := make(chan error, 1)
	go func() { receipt <- d.Take(ctx, f) }()
	return receipt
}

// look looks until so many files were yielded.
func look(t *testing.T, d *desk.Desk, most int) (found []*ingest.Delivery) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(found) < most && time.Now().Before(end); {
		if err := d.Wake(t.Context()); err != nil {
			t.Fatal(err)
		}
		for delivery, err := range d.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, delivery)
		}
	}
	return found
}

func wantReceipt(t *testing.T, receipt <-chan error, want error) {
	t.Helper()
	select {
	case err := <-receipt:
		if !errors.Is(err, want) {
			t.Errorf("the receipt is %v, want %v", err, want)
		}
	case <-time.After(5 * time.Second):
		t.Error("no receipt")
	}
}

func TestAFileIsHandedIn(t *testing.T) {
	d := newDesk()
	receipt := handIn(t.Context(), d, file("key 1"))
	found := look(t, d, 1)
	got := found[0]
	if got.Source != "api" || got.Origin != "key 1" || got.Account != "23" || got.Dialect != "invoca" || got.Bundle != "bundle key 1" || !got.Closes || !got.AtHand {
		t.Errorf("delivered %+v", got)
	}
	select {
	case err := <-receipt:
		t.Fatalf("a receipt before it was acknowledged: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := got.Ack(t.Context(), ingest.Accepted); err != nil {
		t.Fatal(err)
	}
	wantReceipt(t, receipt, nil)
	if err := got.Ack(t.Context(), ingest.Accepted); err != nil { // again, as after a crash
		t.Fatal(err)
	}
}

// Whoever hands in what can't be stored is told so, and nobody waits for ever.
func TestWhatIsNotAcknowledged(t *testing.T) {
	d := newDesk()
	receipt := handIn(t.Context(), d, file("key 1"))
	look(t, d, 1)
	look(t, d, 0)
	if err := d.Wake(t.Context()); err != nil { // at once: somebody is to be told
		t.Fatal(err)
	}
	for range d.Deliveries(t.Context()) {
		t.Error("it is delivered again")
	}
	wantReceipt(t, receipt, desk.ErrNotStored)
	ctx, cancel := context.WithCancel(t.Context())
	receipt = handIn(ctx, d, file("key 2"))
	time.Sleep(10 * time.Millisecond)
	cancel()
	wantReceipt(t, receipt, context.Canceled)
	for range d.Deliveries(t.Context()) {
		t.Error("what was taken back is delivered")
	}
	receipt = handIn(t.Context(), d, file("key 3"))
	look(t, d, 1)
	d.Close()
	wantReceipt(t, receipt, desk.ErrNotStored)
	wantReceipt(t, handIn(t.Context(), d, file("key 4")), desk.ErrNotStored)
}

func TestWakeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := newDesk().Wake(ctx); err != nil {
		t.Error(err)
	}
}
