package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"calltally/conversion"
)

// EmptyUploads removes the files of uploads that came before a moment and are done with: they
// ended, no row waits and no report on them is due, and so it is with what takes them back or
// decides them again from the same file. It returns how many.
func (s *Store) EmptyUploads(ctx context.Context, before, at conversion.Millis) (emptied int, err error) {
	err = s.eachUpload(ctx, func(u *conversion.Upload) error {
		family, err := s.Family(ctx, u.ID)
		if err != nil || slices.ContainsFunc(family, func(u *conversion.Upload) bool { return !u.State.Ended() || u.ReceivedAt >= before }) {
			return err
		}
		done, err := s.emptyUpload(ctx, family, at)
		if done {
			emptied++
		}
		return err
	}, "emptied_ms = 0 AND received_ms < $1 AND undoes = 0 AND replays = 0 AND state IN ('decided', 'refused') ORDER BY id", int64(before))
	return emptied, err
}

func (s *Store) emptyUpload(ctx context.Context, family []*conversion.Upload, at conversion.Millis) (done bool, err error) {
	err = s.inTx(ctx, "remove file", func(tx *transaction) error {
		for _, u := range family {
			var left int // to be told, or to be decided from the file
			if err := tx.QueryRowContext(ctx, "SELECT waiting + (SELECT COUNT(*) FROM report WHERE upload = $1 AND state = 'due') FROM upload WHERE id = $1", u.ID).Scan(&left); err != nil || left > 0 {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM upload_part WHERE upload = $1", family[0].ID); err != nil {
			return err
		}
		for _, u := range family {
			if _, err := tx.ExecContext(ctx, "UPDATE upload SET emptied_ms = $2 WHERE id = $1", u.ID, int64(at)); err != nil {
				return err
			}
		}
		done = true
		return nil
	})
	return done, err
}

// ForgetCustomers removes what the rows of uploads that came before a moment say of customers:
// from conversions that no later row has changed since, from the ledger's entries of those, and
// from what was said of the rows. Figures, ids and verdicts stay. It returns of how many uploads.
func (s *Store) ForgetCustomers(ctx context.Context, before, at conversion.Millis) (forgotten int, err error) {
	err = s.eachUpload(ctx, func(u *conversion.Upload) error {
		err := s.inTx(ctx, "forget customers", func(tx *transaction) error { return forget(ctx, tx, u, before, at) })
		if err == nil {
			forgotten++
		}
		return err
	}, "forgot_ms = 0 AND received_ms < $1 AND waiting = 0 AND state IN ('decided', 'refused') ORDER BY id", int64(before))
	return forgotten, err
}

const customerDetail = "customer"

// forget forgets what one upload's rows say of customers. A conversion that has changed since
// keeps it until that is old, too: then it is the later upload's to be forgotten.
func forget(ctx context.Context, tx *transaction, u *conversion.Upload, before, at conversion.Millis) error {
	if err := tx.flush(ctx); err != nil {
		return err
	}
	touched, err := collect(ctx, tx, "find customers", func(rows *sql.Rows) (id int64, err error) { return id, rows.Scan(&id) },
		`SELECT DISTINCT h.conversion FROM change h JOIN conversion c ON c.id = h.conversion
			WHERE h.id BETWEEN $1 AND $2 AND c.details ->> 'customer' IS NOT NULL AND NOT EXISTS (SELECT 1 FROM change l WHERE l.conversion = h.conversion AND l.at_ms >= $3)`,
		conversion.MakeID(u.ID, 0), conversion.MakeID(u.ID+1, 0)-1, int64(before))
	if err != nil {
		return err
	}
	for _, id := range touched {
		if err := forgetConversion(ctx, tx, id); err != nil {
			return err
		}
	}
	if err := forgetOutcomes(ctx, tx, u.ID); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE upload SET forgot_ms = $2 WHERE id = $1", u.ID, int64(at))
	return err
}

// forgetConversion removes a conversion's customer from it and from its ledger.
func forgetConversion(ctx context.Context, tx *transaction, id int64) error {
	if _, err := tx.ExecContext(ctx, "UPDATE conversion SET details = json_remove(details, '$.customer') WHERE id = $1", id); err != nil {
		return err
	}
	type entry struct {
		id      int64
		details string
	}
	entries, err := collect(ctx, tx, "find customers", func(rows *sql.Rows) (e entry, err error) { return e, rows.Scan(&e.id, &e.details) },
		"SELECT id, details FROM change WHERE (id = $1 OR conversion = $1) AND details <> ''", id)
	if err != nil {
		return err
	}
	for _, e := range entries {
		all := detailsOf(e.details)
		kept := slices.DeleteFunc(slices.Clone(all), func(d conversion.DetailChange) bool { return d.Name == customerDetail })
		if len(kept) == len(all) {
			continue
		}
		text := ""
		if len(kept) > 0 {
			text = asJSON(kept)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE change SET details = $2 WHERE id = $1", e.id, text); err != nil {
			return err
		}
	}
	return nil
}

// forgetOutcomes removes from an upload's outcomes what quotes its rows.
func forgetOutcomes(ctx context.Context, tx *transaction, upload int64) error {
	return readOutcomes(ctx, tx, upload, 0, func(outcomes []conversion.Outcome) (bool, error) {
		first := outcomes[0].Line
		for i := range outcomes {
			o := &outcomes[i]
			o.Message, o.Value, o.Near = "", "", nil
		}
		packed, err := pack(outcomes)
		if err != nil {
			return false, err
		}
		_, err = tx.ExecContext(ctx, "UPDATE outcome_chunk SET outcomes = $3 WHERE upload = $1 AND first_line = $2", upload, first, packed)
		return true, err
	})
}

// Wiping has what is removed while f runs be written over, so that the file holds it no longer.
func (s *Store) Wiping(ctx context.Context, f func() error) error {
	if _, err := s.write.ExecContext(ctx, "PRAGMA secure_delete = 1"); err != nil {
		return fmt.Errorf("wipe what is removed: %w", err)
	}
	err := f()
	_, off := s.write.ExecContext(context.WithoutCancel(ctx), "PRAGMA secure_delete = 0")
	if err == nil {
		_, err = s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	return errors.Join(err, off)
}
