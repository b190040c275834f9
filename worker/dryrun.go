package worker

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"

	"calltally/conversion"
	"calltally/ingest"
)

// rehearse decides an upload that is to change nothing: all of it is done in a
// transaction that is taken back, and only what was said of the rows is kept.
func (w *Worker) rehearse(ctx context.Context, upload *conversion.Upload, account *conversion.Account, table *ingest.Table) error {
	said, err := newSpool()
	if err != nil {
		return err
	}
	defer said.Close()
	rehearsed := *upload
	err = w.transact(ctx, func(w *Worker) (bool, error) {
		policy := w.policy(upload, account, table, upload.ReceivedAt)
		if err := w.decideBy(ctx, &rehearsed, policy, table, again{}); err != nil {
			return false, err
		}
		return false, w.Store.Outcomes(ctx, upload.ID, 0, func(outcomes []conversion.Outcome) (bool, error) { return true, said.add(outcomes) })
	})
	if err != nil {
		return err
	}
	return w.transact(ctx, func(w *Worker) (bool, error) {
		err := w.keepSaid(ctx, upload, &rehearsed, said)
		if err == nil {
			w.logDecided(upload)
		}
		return true, err
	})
}

// keepSaid keeps what a rehearsal said of an upload's rows.
func (w *Worker) keepSaid(ctx context.Context, upload, rehearsed *conversion.Upload, said *spool) error {
	return said.each(func(outcomes []conversion.Outcome, last bool) error {
		settled := &conversion.Settlement{
			Upload: upload.ID, From: upload.State, After: upload.Cursor, Waiting: upload.Tally.Of(conversion.Waiting), Cursor: upload.Cursor,
			Outcomes: outcomes, Tally: upload.Tally, Diagnosis: rehearsed.Diagnosis, Done: last, News: last, At: w.now(),
		}
		settled.Tally.Add(outcomes...)
		if n := len(outcomes); n > 0 {
			settled.Cursor = outcomes[n-1].Line
		}
		err := w.Store.Settle(ctx, conversion.HeldQuery{Account: upload.Account}, func(*conversion.Held) (*conversion.Settlement, error) { return settled, nil })
		upload.Cursor, upload.Tally, upload.Diagnosis = settled.Cursor, settled.Tally, settled.Diagnosis
		if last {
			upload.State, upload.DecidedAt = conversion.Decided, settled.At
		}
		return err
	})
}

// rehearseCalls reads a call log that is to change nothing.
func (w *Worker) rehearseCalls(ctx context.Context, upload *conversion.Upload, table *ingest.Table) (total conversion.CallsTally, err error) {
	rehearsed := *upload
	err = w.transact(ctx, func(w *Worker) (bool, error) {
		total, err = w.importCalls(ctx, &rehearsed, table)
		return false, err
	})
	if err != nil {
		return total, err
	}
	return total, w.finishCalls(ctx, upload, table, total)
}

// spool holds outcomes on disk, chunk by chunk: a file may have millions.
type spool struct {
	file   *os.File
	out    *gob.Encoder
	chunks int
}

func newSpool() (*spool, error) {
	file, err := os.CreateTemp("", "calltally-dry-run-")
	if err != nil {
		return nil, fmt.Errorf("keep the outcomes of a dry run: %w", err)
	}
	return &spool{file: file, out: gob.NewEncoder(file)}, nil
}

func (s *spool) add(outcomes []conversion.Outcome) error {
	s.chunks++
	return s.out.Encode(outcomes)
}

// each hands back the chunks in order; last is true of the last, and there is at
// least one.
func (s *spool) each(f func(outcomes []conversion.Outcome, last bool) error) error {
	if s.chunks == 0 {
		return f(nil, true)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := gob.NewDecoder(s.file)
	for n := range s.chunks {
		var outcomes []conversion.Outcome
		if err := in.Decode(&outcomes); err != nil {
			return fmt.Errorf("read the outcomes of a dry run: %w", err)
		}
		if err := f(outcomes, n == s.chunks-1); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) Close() error { return errors.Join(s.file.Close(), os.Remove(s.file.Name())) }
