package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"calltally/conversion"
)

// Retention is how long is kept what is not the ledger; 0 = for ever.
type Retention struct {
	// Files are the uploads' bytes; Customers, what rows say of customers.
	Files, Customers time.Duration
}

// Retain removes what need not be kept any longer.
func (w *Worker) Retain(ctx context.Context) error {
	if w.Retention == (Retention{}) {
		return nil
	}
	return w.Store.Wiping(ctx, func() error {
		emptied, files := w.retained(w.Retention.Files, func(before conversion.Millis) (int, error) { return w.Store.EmptyUploads(ctx, before, w.now()) })
		forgotten, customers := w.retained(w.Retention.Customers, func(before conversion.Millis) (int, error) { return w.Store.ForgetCustomers(ctx, before, w.now()) })
		if emptied+forgotten > 0 {
			w.Log.Info("kept no longer", "files", emptied, "customers_of_uploads", forgotten)
		}
		if err := errors.Join(files, customers); err != nil {
			return fmt.Errorf("retain: %w", err)
		}
		return nil
	})
}

// retained removes what is older than it is kept.
func (w *Worker) retained(keep time.Duration, remove func(before conversion.Millis) (int, error)) (int, error) {
	if keep <= 0 {
		return 0, nil
	}
	return remove(conversion.MillisOf(w.Now().Add(-keep)))
}
