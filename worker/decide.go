package worker

import (
	"context"
	"fmt"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/matcher"
)

// decideOn decides uploads on another worker, one after another: each is read while the
// one before it is decided. The uploads themselves stay as they are, for all may be taken
// back.
func (w *Worker) decideOn(ctx context.Context, on *Worker, uploads []*conversion.Upload) error {
	attempts := make([]conversion.Upload, len(uploads))
	for i, u := range uploads {
		attempts[i] = *u
	}
	next, err := w.begin(ctx, &attempts[0])
	for i := range attempts {
		this := next
		next = nil
		if err == nil && i+1 < len(attempts) {
			next, err = w.begin(ctx, &attempts[i+1])
		}
		if err == nil {
			err = on.finish(ctx, this)
		}
		if err != nil {
			this.end()
			next.end()
			return err
		}
	}
	return nil
}

// Decide decides an upload's rows, from where an earlier try may have ended.
func (w *Worker) Decide(ctx context.Context, upload *conversion.Upload) error {
	begun, err := w.begin(ctx, upload)
	if err != nil {
		return err
	}
	return w.finish(ctx, begun)
}

// begun is an upload that is about to be decided.
type begun struct {
	upload  *conversion.Upload
	account *conversion.Account
	table   *ingest.Table
	refusal *conversion.Refusal // why it can't be decided
	hold    *conversion.Hold    // why it isn't before somebody approves it
	reading *reading            // its rows, if they are what is to be decided
}

// begin begins to read an upload.
func (w *Worker) begin(ctx context.Context, upload *conversion.Upload) (*begun, error) {
	b := &begun{upload: upload, account: w.Account(upload.Account), refusal: noAccount(upload.Account)}
	var err error
	if b.account != nil {
		b.table, b.refusal, err = w.survey(ctx, upload, b.account)
	}
	if err != nil || b.refusal != nil || upload.Takes == conversion.TakesCalls || upload.DryRun {
		return b, err
	}
	if b.hold, err = overLimit(ctx, upload, b.account, b.table); err != nil || b.hold != nil {
		return b, err
	}
	b.reading, err = w.read(ctx, upload, w.policy(upload, b.account, b.table, upload.ReceivedAt), b.table, again{})
	return b, err
}

// end has an upload not be read on.
func (b *begun) end() {
	if b != nil && b.reading != nil {
		_ = b.reading.end() // why it isn't is known
	}
}

// finish decides an upload.
func (w *Worker) finish(ctx context.Context, b *begun) error {
	upload := b.upload
	switch {
	case b.refusal != nil && upload.Cursor > 0:
		return fmt.Errorf("its first rows were decided and the others can't be read any more; set the configuration back: %s", b.refusal.Sentence)
	case b.refusal != nil:
		return w.refuse(ctx, upload, b.refusal)
	case b.hold != nil:
		return w.hold(ctx, upload, b.hold)
	case upload.Takes == conversion.TakesCalls:
		_, err := w.takeCalls(ctx, upload, b.table)
		return err
	}
	upload.Reading, upload.State = b.table.Reading, conversion.Deciding
	if err := w.Store.BeginDeciding(ctx, upload.ID, upload.Reading); err != nil {
		b.end()
		return err
	}
	failpoint("decide-begun")
	if upload.DryRun {
		return w.rehearse(ctx, upload, b.account, b.table)
	}
	return w.decideRead(ctx, upload, b.reading)
}

// again says what there is to know of rows that are decided again.
type again struct {
	// kept gives the outcomes of lines that are not to be decided, none if they are.
	kept func(lines []int) ([]conversion.Outcome, error)
	// asOf, if set, has the ledger be as that upload found it, who may have touched the
	// conversions of touched.
	asOf    int64
	touched func(ctx context.Context, first, last int) ([]int64, error)
	// mark is what a conversion is marked as that a line makes in another's place; ""
	// where that is to be decided.
	mark func(line int) string
	// forgiven counts the rejected rows among those that are kept: they count for no
	// error limit.
	forgiven int
	// noCopies are uploads of the same bytes that are decided again by this one.
	noCopies []int64
}

// decideBy decides a table's rows by a policy: one goroutine reads and matches, the other
// decides and writes. At most a few chunks are in flight.
func (w *Worker) decideBy(ctx context.Context, upload *conversion.Upload, policy matcher.Policy, table *ingest.Table, how again) error {
	reading, err := w.read(ctx, upload, policy, table, how)
	if err != nil {
		return err
	}
	return w.decideRead(ctx, upload, reading)
}

// decideRead decides rows that are being read.
func (w *Worker) decideRead(ctx context.Context, upload *conversion.Upload, rows *reading) error {
	var diagnosis matcher.Diagnosis
	err := w.recallDiagnosis(ctx, upload, &diagnosis)
	if err == nil {
		progress := w.progressOf(upload, "deciding", rows.all, upload.Tally.Rows)
		err = w.settleAll(ctx, rows.chunks, func(w *Worker, c *chunk) error {
			if err := w.settle(ctx, upload, rows.policy, c, &diagnosis, &rows.again); err != nil {
				return err
			}
			rows.spare(c)
			progress.reached(upload.Tally.Rows)
			return nil
		})
	}
	if failure := rows.end(); err == nil {
		err = failure
	}
	if err == nil {
		w.logDecided(upload)
	}
	return err
}

func (w *Worker) logDecided(upload *conversion.Upload) {
	w.Log.Info("upload decided", "upload", upload.ID, "account", upload.Account, "tally", upload.Tally.String())
}

// settleAll settles chunks as they come, a few in one transaction: the more rows it
// has, the less often the same pages are written.
func (w *Worker) settleAll(ctx context.Context, chunks <-chan *chunk, settle func(*Worker, *chunk) error) error {
	for first := range chunks {
		err := w.transact(ctx, func(together *Worker) (bool, error) {
			rows := 0
			for c := first; c != nil; c = <-chunks {
				rows += len(c.rows)
				if err := settle(together, c); err != nil || rows >= w.chunkRows() {
					return true, err
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		failpoint("settle-after")
	}
	return nil
}

// policy is what an upload's rows are decided by, at a moment.
func (w *Worker) policy(upload *conversion.Upload, account *conversion.Account, table *ingest.Table, now conversion.Millis) matcher.Policy {
	policy := matcher.Policy{Account: account, DialectKey: table.Dialect.Key, DialectKeyNoID: table.Dialect.KeyNoID, Received: upload.ReceivedAt, Now: now, Zone: table.Zone(), Labels: table.Labels()}
	if plan := w.plan(upload.Source); plan != nil {
		policy.Source = plan.Duplicates
	}
	return policy
}

// recallDiagnosis looks again at what was decided before an interruption.
func (w *Worker) recallDiagnosis(ctx context.Context, upload *conversion.Upload, diagnosis *matcher.Diagnosis) error {
	if upload.Cursor == 0 {
		return nil
	}
	return w.Store.Outcomes(ctx, upload.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		return diagnosis.AddAll(outcomes), nil
	})
}

// settle decides a chunk's rows one after another against what the ledger holds,
// and saves what they come to.
func (w *Worker) settle(ctx context.Context, upload *conversion.Upload, policy matcher.Policy, c *chunk, diagnosis *matcher.Diagnosis, how *again) error {
	failpoint("settle-before")
	query := heldQuery(upload, c)
	if err := how.refine(ctx, &query, c); err != nil {
		return err
	}
	var settled *conversion.Settlement
	var forgiven int
	err := w.Store.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
		s := newSettling(upload, policy, held, len(c.rows))
		s.forgiven = how.forgiven
		for i := range c.rows {
			if err := s.add(&c.rows[i]); err != nil {
				return nil, err
			}
		}
		diagnosis.AddAll(s.outcomes)
		s.diagnosis = diagnosis.Sentence()
		failpoint("settle-inside", upload.Name)
		settled, forgiven = s.settlement(c, w.now()), s.forgiven
		return settled, nil
	})
	if err != nil {
		return err
	}
	upload.Cursor, upload.Tally, upload.Diagnosis = settled.Cursor, settled.Tally, settled.Diagnosis
	how.forgiven = forgiven
	if c.last {
		upload.State, upload.DecidedAt = conversion.Decided, settled.At
	}
	return nil
}

// refine asks for what rows that are decided again are decided against.
func (a *again) refine(ctx context.Context, query *conversion.HeldQuery, c *chunk) (err error) {
	query.NoCopies = a.noCopies
	if query.AsOf = a.asOf; a.asOf != 0 && len(c.rows) > 0 {
		for i := range c.rows { // what was moved to another key since is found by its call
			if call := c.rows[i].match.Call; call != nil {
				query.Calls = append(query.Calls, call.ID)
			}
		}
		query.Conversions, err = a.touched(ctx, c.rows[0].claim.Line, c.rows[len(c.rows)-1].claim.LastLine())
	}
	return err
}

func heldQuery(upload *conversion.Upload, c *chunk) conversion.HeldQuery {
	query := conversion.HeldQuery{Account: upload.Account, By: upload.ID}
	if !upload.Again && len(c.rows) > 0 {
		query.Upload, query.First, query.Last = upload.ID, c.rows[0].claim.Line, c.rows[len(c.rows)-1].claim.LastLine()
	}
	for i := range c.rows {
		r := &c.rows[i]
		if r.rejection != nil {
			continue
		}
		if r.claim.Web || r.claim.Names.Given() {
			query.TheirCalls = true
		}
		if r.match.Call != nil || r.claim.Web {
			query.Keys = append(query.Keys, r.key)
		}
		if r.claim.ReferenceID != "" {
			query.References = append(query.References, r.claim.ReferenceID)
		}
		if r.claim.Names.Given() {
			query.Names = append(query.Names, r.claim.Names)
		}
		if call := r.match.Call; call != nil && r.claim.Names.ByCall {
			query.Calls = append(query.Calls, call.ID)
		}
		if call := r.match.Call; call != nil && r.claim.CallCost.Given {
			query.Costs = append(query.Costs, call.ID)
		}
		if r.fingerprint != (conversion.Fingerprint{}) {
			query.Fingerprints = append(query.Fingerprints, r.fingerprint)
		}
	}
	return query
}
