package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"calltally/conversion"
	"calltally/matcher"
)

// Reconcile decides again the rows of an account ("" = all) that wait for their
// call. An upload with news gets a follow-up report.
func (w *Worker) Reconcile(ctx context.Context, account string) error {
	var failures []error
	err := w.Store.UploadsWaiting(ctx, account, func(u *conversion.Upload) error {
		err := sheltered(func() error { return w.reconcileUpload(ctx, u) })
		if err != nil && !errors.Is(err, conversion.ErrTaken) && ctx.Err() == nil {
			failures = append(failures, fmt.Errorf("reconcile upload %d: %w", u.ID, err))
		}
		return ctx.Err()
	})
	return errors.Join(append(failures, err)...)
}

// reconcileUpload decides an upload's waiting rows by what is known now.
func (w *Worker) reconcileUpload(ctx context.Context, upload *conversion.Upload) error {
	account := w.Account(upload.Account)
	if account == nil {
		return nil // the account was taken out of the configuration
	}
	table, refusal, err := w.survey(ctx, upload, account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	claims, err := table.Claims(ctx)
	if err != nil {
		return err
	}
	defer claims.Close()
	reader := &chunkReader{
		worker: w, upload: upload, claims: claims,
		policy:    w.policy(upload, account, table, w.now()),
		identical: map[conversion.Fingerprint]int{},
	}
	var diagnosis matcher.Diagnosis
	err = w.Store.Outcomes(ctx, upload.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		err := reader.redecide(ctx, outcomes)
		diagnosis.AddAll(outcomes)
		return true, err
	})
	if sentence := diagnosis.Sentence(); err == nil && sentence != upload.Diagnosis {
		err = w.Store.Diagnose(ctx, upload.ID, sentence, w.now())
	}
	return err
}

func asError(refusal *conversion.Refusal) error {
	if refusal == nil {
		return nil
	}
	return refusal
}

// redecide decides the waiting rows among a chunk's outcomes. If any waits no
// longer, a follow-up report is due.
func (r *chunkReader) redecide(ctx context.Context, outcomes []conversion.Outcome) error {
	at := map[int]int{} // line → where its outcome stands
	for i, o := range outcomes {
		if o.Verdict == conversion.Waiting {
			at[o.Line] = i
		}
	}
	c, err := r.readLines(at)
	if err != nil || len(c.rows) == 0 {
		return err
	}
	if err := r.match(ctx, c); err != nil {
		return err
	}
	c.last = true
	var settled *conversion.Settlement
	err = r.worker.Store.Settle(ctx, heldQuery(r.upload, c), func(held *conversion.Held) (*conversion.Settlement, error) {
		s := newSettling(r.upload, r.policy, held, len(c.rows))
		s.outcomes, s.limit, s.diagnosis = outcomes, 0, r.upload.Diagnosis // reading came this far
		news, changed := false, false
		for i := range c.rows {
			decided, err := s.decideAll(&c.rows[i])
			if err != nil {
				return nil, err
			}
			for _, next := range decided {
				news = news || next.Verdict != conversion.Waiting
				changed = changed || !reflect.DeepEqual(next, s.outcomes[at[next.Line]])
				s.tally.Counts[conversion.Waiting]--
				s.tally.Counts[next.Verdict]++
				s.outcomes[at[next.Line]] = next
			}
		}
		if !changed {
			return nil, nil
		}
		settled = s.settlement(c, r.policy.Now)
		settled.News = news
		return settled, nil
	})
	if err == nil && settled != nil {
		r.upload.Tally = settled.Tally
	}
	return err
}

// readLines reads on to the given lines and returns their rows.
func (r *chunkReader) readLines(wanted map[int]int) (*chunk, error) {
	c := &chunk{}
	for found := 0; found < len(wanted); {
		claim, rejection, err := r.claims.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		next := row{claim: claim, rejection: rejection}
		if rejection == nil {
			next.fingerprint = r.fingerprint(&next.claim)
		}
		if _, ok := wanted[claim.Line]; ok {
			c.rows = append(c.rows, next)
			found += 1 + len(claim.Others)
		}
	}
	return c, nil
}
