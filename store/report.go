package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"calltally/conversion"
)

// reportDue makes an upload's next report due, unless one is due already. One
// that may have gone out keeps what it said: the next one takes its place.
func reportDue(ctx context.Context, tx *transaction, upload int64, at conversion.Millis) error {
	if _, err := replaceReport(ctx, tx, upload); err != nil {
		return err
	}
	return nextReport(ctx, tx, upload, at)
}

// renewReport makes the next report due in the place of one that may have gone
// out and would say other things by now.
func renewReport(ctx context.Context, tx *transaction, upload int64, at conversion.Millis) error {
	replaced, err := replaceReport(ctx, tx, upload)
	if err != nil || !replaced {
		return err
	}
	return nextReport(ctx, tx, upload, at)
}

func replaceReport(ctx context.Context, tx *transaction, upload int64) (replaced bool, err error) {
	result, err := tx.ExecContext(ctx, "UPDATE report SET state = 'replaced' WHERE upload = $1 AND state = 'due' AND attempts > 0", upload)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func nextReport(ctx context.Context, tx *transaction, upload int64, at conversion.Millis) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO report (upload, revision, state, made_ms, due_ms) SELECT $1, COALESCE(MAX(revision), 0) + 1, 'due', $2, $2 FROM report WHERE upload = $1 HAVING COUNT(CASE WHEN state = 'due' THEN 1 END) = 0", upload, int64(at))
	return err
}

// ReportsDue calls each for the reports that are to be sent by now, oldest
// first.
func (s *Store) ReportsDue(ctx context.Context, now conversion.Millis, each func(conversion.ReportDue) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT upload, revision, attempts, made_ms FROM report WHERE state = 'due' AND due_ms NOT BETWEEN $1 AND $2 ORDER BY upload, revision", int64(now)+1, int64(now)+farthest)
	if err != nil {
		return fmt.Errorf("list reports due: %w", err)
	}
	var all []conversion.ReportDue
	err = scanAll(rows, func(rows *sql.Rows) error {
		var d conversion.ReportDue
		err := rows.Scan(&d.Upload, &d.Revision, &d.Attempts, &d.MadeAt)
		all = append(all, d)
		return err
	})
	if err != nil {
		return fmt.Errorf("list reports due: %w", err)
	}
	for _, d := range all {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

// MarkReplying notes, before a report is sent, that it may go out.
func (s *Store) MarkReplying(ctx context.Context, due conversion.ReportDue) error {
	return s.inTx(ctx, "mark report", func(tx *transaction) error {
		marked, err := tx.ExecContext(ctx, "UPDATE report SET attempts = attempts + 1 WHERE upload = $1 AND revision = $2 AND attempts = $3 AND state = 'due'", due.Upload, due.Revision, due.Attempts)
		return orTaken(marked, err, due.Upload)
	})
}

// PutOff has reports be due later.
func (s *Store) PutOff(ctx context.Context, reports []conversion.ReportDue, until conversion.Millis) error {
	if len(reports) == 0 {
		return nil
	}
	return s.inTx(ctx, "put reports off", func(tx *transaction) error {
		for _, due := range reports {
			if _, err := tx.ExecContext(ctx, "UPDATE report SET due_ms = $3 WHERE upload = $1 AND revision = $2 AND state = 'due'", due.Upload, due.Revision, int64(until)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Post notes what became of reports for some recipients.
func (s *Store) Post(ctx context.Context, postings []conversion.Posting) error {
	return s.inTx(ctx, "note recipients", func(tx *transaction) error {
		for _, p := range postings {
			state := "sent"
			if p.Refusal != "" {
				state = "refused"
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO posting (upload, revision, recipient, state, letter, at_ms, said) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upload, revision, recipient) DO NOTHING",
				p.Upload, p.Revision, p.Recipient, state, p.Letter, int64(p.At), p.Refusal)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Postings lists what became of an upload's reports.
func (s *Store) Postings(ctx context.Context, upload int64) ([]conversion.Posting, error) {
	return collect(ctx, s.read, "list recipients", func(rows *sql.Rows) (p conversion.Posting, err error) {
		err = rows.Scan(&p.Upload, &p.Revision, &p.Recipient, &p.Refusal, &p.Letter, &p.At)
		return p, err
	}, "SELECT upload, revision, recipient, said, letter, at_ms FROM posting WHERE upload = $1 ORDER BY revision, recipient", upload)
}

// LettersTo counts the letters on an account's reports that a recipient was sent after a
// moment, until another: what is noted of a later one, a clock that was ahead has noted.
func (s *Store) LettersTo(ctx context.Context, account, recipient string, after, until conversion.Millis) (letters int, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT COUNT(DISTINCT p.letter) FROM posting p JOIN upload u ON u.id = p.upload WHERE p.recipient = $1 AND p.at_ms > $2 AND p.at_ms <= $4 AND p.state = 'sent' AND u.account = $3", recipient, int64(after), account, int64(until)).Scan(&letters)
	if err != nil {
		return 0, fmt.Errorf("count letters: %w", err)
	}
	return letters, nil
}

// Undelivered lists the reports that could not be sent at all, since a moment.
func (s *Store) Undelivered(ctx context.Context, after conversion.Millis) ([]conversion.Undelivered, error) {
	return collect(ctx, s.read, "list failed reports", func(rows *sql.Rows) (u conversion.Undelivered, err error) {
		err = rows.Scan(&u.Upload, &u.Revision, &u.Account, &u.Why)
		return u, err
	}, `SELECT r.upload, r.revision, u.account, r.last_error FROM report r JOIN upload u ON u.id = r.upload WHERE r.state = 'failed' AND r.due_ms > $1
		UNION ALL SELECT p.upload, p.revision, u.account, p.recipient || ': ' || p.said FROM posting p JOIN upload u ON u.id = p.upload JOIN report r ON r.upload = p.upload AND r.revision = p.revision WHERE p.state = 'refused' AND r.state <> 'failed' AND p.at_ms > $1
		ORDER BY 1, 2`, int64(after))
}

// MarkReplied notes that a report was sent.
func (s *Store) MarkReplied(ctx context.Context, upload int64, revision int, at conversion.Millis) error {
	return s.inTx(ctx, "mark report sent", func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, "UPDATE report SET state = 'sent', sent_ms = $3, last_error = '' WHERE upload = $1 AND revision = $2", upload, revision, int64(at))
		return err
	})
}

// MarkReplyFailed notes why a report could not be sent; it is due again at next,
// or, if it is given up, never: then that was when.
func (s *Store) MarkReplyFailed(ctx context.Context, upload int64, revision int, why string, next conversion.Millis, givenUp bool) error {
	state := "due"
	if givenUp {
		state = "failed"
	}
	return s.inTx(ctx, "mark report failed", func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, "UPDATE report SET state = $3, due_ms = $4, last_error = $5 WHERE upload = $1 AND revision = $2 AND state = 'due'", upload, revision, state, int64(next), why)
		return err
	})
}

// MarkPolled notes when a source was looked at, and whether that worked.
func (s *Store) MarkPolled(ctx context.Context, source string, at conversion.Millis, failure error) error {
	good, why := at, ""
	if failure != nil {
		good, why = 0, failure.Error()
	}
	return s.inTx(ctx, "mark poll", func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO poll (source, at_ms, good_ms, error) VALUES ($1, $2, $3, $4)
			ON CONFLICT (source) DO UPDATE SET at_ms = excluded.at_ms, good_ms = CASE WHEN excluded.good_ms > 0 THEN excluded.good_ms ELSE poll.good_ms END, error = excluded.error`,
			source, int64(at), int64(good), why)
		return err
	})
}

// JobRan returns when a scheduled job last ran; the zero time if never.
func (s *Store) JobRan(ctx context.Context, name string) (time.Time, error) {
	var at conversion.Millis
	err := s.read.QueryRowContext(ctx, "SELECT ran_ms FROM job WHERE name = $1", name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read job %s: %w", name, err)
	}
	return at.Time(), nil
}

// MarkJobRan notes when a scheduled job ran.
func (s *Store) MarkJobRan(ctx context.Context, name string, at time.Time) error {
	return s.inTx(ctx, "mark job", func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO job (name, ran_ms) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET ran_ms = excluded.ran_ms", name, at.UnixMilli())
		return err
	})
}

func detailsOf(text string) []conversion.DetailChange {
	var details []conversion.DetailChange
	if text == "" || json.Unmarshal([]byte(text), &details) != nil {
		return nil
	}
	return details
}
