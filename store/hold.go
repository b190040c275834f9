package store

import (
	"context"

	"calltally/conversion"
)

// UploadsHeld calls each for the uploads that wait for somebody's decision, oldest first.
func (s *Store) UploadsHeld(ctx context.Context, account string, each func(*conversion.Upload) error) error {
	return s.eachUpload(ctx, each, "hold_code <> '' AND ($1 = '' OR account = $1) ORDER BY id", account)
}

// Hold has an upload wait for somebody's decision, and makes a report due that says why.
func (s *Store) Hold(ctx context.Context, upload int64, hold conversion.Hold, at conversion.Millis) error {
	return s.inTx(ctx, "hold upload", func(tx *transaction) error {
		held, err := tx.ExecContext(ctx, "UPDATE upload SET hold_code = $2, hold = $3 WHERE id = $1 AND hold_code = '' AND state IN ('received', 'deciding')", upload, string(hold.Code), hold.Sentence)
		if err := orTaken(held, err, upload); err != nil {
			return err
		}
		return reportDue(ctx, tx, upload, at)
	})
}

// Approve has an upload that is held go on, and never be held for the same again. A report
// on the hold that was not sent yet is none any more.
func (s *Store) Approve(ctx context.Context, upload int64) error {
	return s.inTx(ctx, "approve upload", func(tx *transaction) error {
		approved, err := tx.ExecContext(ctx, `UPDATE upload SET approved = json_insert(approved, '$[#]', hold_code), hold_code = '', hold = '', attempts = 0, next_ms = 0, last_error = ''
			WHERE id = $1 AND hold_code <> ''`, upload)
		if err := orTaken(approved, err, upload); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE report SET state = 'replaced' WHERE upload = $1 AND state = 'due'", upload)
		return err
	})
}

// NoteAttempts notes that uploads are about to be decided.
func (s *Store) NoteAttempts(ctx context.Context, uploads []*conversion.Upload) error {
	return s.inTx(ctx, "note attempts", func(tx *transaction) error {
		for _, u := range uploads {
			if _, err := tx.ExecContext(ctx, "UPDATE upload SET attempts = attempts + 1 WHERE id = $1 AND state IN ('received', 'deciding')", u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// TakeBackAttempts has attempts not count that were none: they were broken off.
func (s *Store) TakeBackAttempts(ctx context.Context, uploads []*conversion.Upload) error {
	return s.inTx(ctx, "take back attempts", func(tx *transaction) error {
		for _, u := range uploads {
			if _, err := tx.ExecContext(ctx, "UPDATE upload SET attempts = attempts - 1 WHERE id = $1 AND attempts > 0 AND state IN ('received', 'deciding')", u.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// NoteFailure notes what an attempt failed with, and when the next one may be.
func (s *Store) NoteFailure(ctx context.Context, upload int64, why string, next conversion.Millis) error {
	return s.inTx(ctx, "note failure", func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, "UPDATE upload SET last_error = $2, next_ms = $3 WHERE id = $1 AND state IN ('received', 'deciding')", upload, why, int64(next))
		return err
	})
}
