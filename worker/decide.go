package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/matcher"
)

// DecideAll decides every upload that is ours and not decided yet, in the order
// they came. One upload's failure delays no other.
func (w *Worker) DecideAll(ctx context.Context) error {
	var failures []error
	err := w.Store.UploadsToDecide(ctx, func(u *conversion.Upload) error {
		switch err := w.Decide(ctx, u); {
		case errors.Is(err, conversion.ErrTaken):
			w.Log.Info("upload left to another process", "upload", u.ID)
		case err != nil && ctx.Err() == nil:
			failures = append(failures, fmt.Errorf("decide upload %d: %w", u.ID, err))
		}
		return ctx.Err()
	})
	return errors.Join(append(failures, err)...)
}

// Decide decides an upload's rows, from where an earlier try may have ended.
func (w *Worker) Decide(ctx context.Context, upload *conversion.Upload) error {
	account := w.Account(upload.Account)
	var table *ingest.Table
	refusal := noAccount(upload.Account)
	if account != nil {
		var err error
		if table, refusal, err = w.survey(ctx, upload, account); err != nil {
			return err
		}
	}
	switch {
	case refusal != nil && upload.Cursor > 0:
		return fmt.Errorf("its first rows were decided and the others can't be read any more; set the configuration back: %s", refusal.Sentence)
	case refusal != nil:
		return w.refuse(ctx, upload, refusal)
	}
	if upload.Takes == conversion.TakesCalls {
		_, err := w.takeCalls(ctx, upload, table)
		return err
	}
	upload.Reading, upload.State = table.Reading, conversion.Deciding
	if err := w.Store.BeginDeciding(ctx, upload.ID, upload.Reading); err != nil {
		return err
	}
	failpoint("decide-begun")
	if upload.DryRun {
		return w.rehearse(ctx, upload, account, table)
	}
	return w.decideRows(ctx, upload, account, table)
}

// decideRows decides a table's rows by chunks: one goroutine reads and matches,
// the other decides and writes. At most a few chunks are in flight.
func (w *Worker) decideRows(ctx context.Context, upload *conversion.Upload, account *conversion.Account, table *ingest.Table) error {
	return w.decideBy(ctx, upload, w.policy(upload, account, table, upload.ReceivedAt), table, nil)
}

// decideBy decides a table's rows by a policy; those that kept has an outcome for
// have that.
func (w *Worker) decideBy(ctx context.Context, upload *conversion.Upload, policy matcher.Policy, table *ingest.Table, kept map[int]conversion.Outcome) error {
	claims, err := table.Claims(ctx)
	if err != nil {
		return err
	}
	defer claims.Close()
	reader := &chunkReader{
		worker: w, upload: upload, claims: claims, after: upload.Cursor, policy: policy, kept: kept,
		identical: map[conversion.Fingerprint]int{},
	}
	var diagnosis matcher.Diagnosis
	if err := w.recallDiagnosis(ctx, upload, &diagnosis); err != nil {
		return err
	}
	chunks := make(chan *chunk, 1)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		defer close(chunks)
		return reader.readAll(ctx, chunks)
	})
	both.Go(func() error {
		for c := range chunks {
			if err := w.settle(ctx, upload, reader.policy, c, &diagnosis); err != nil {
				return err
			}
			if w.Progress != nil {
				w.Progress(upload, upload.Tally.Rows, table.Reading.Rows)
			}
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return err
	}
	w.Log.Info("upload decided", "upload", upload.ID, "account", upload.Account, "tally", upload.Tally.String())
	return nil
}

// policy is what an upload's rows are decided by, at a moment.
func (w *Worker) policy(upload *conversion.Upload, account *conversion.Account, table *ingest.Table, now conversion.Millis) matcher.Policy {
	policy := matcher.Policy{Account: account, DialectKey: table.Dialect.Key, Received: upload.ReceivedAt, Now: now, Zone: table.Zone()}
	if plan := w.plan(upload.Source); plan != nil {
		policy.Source = plan.Duplicates
	}
	return policy
}

// chunk is a run of rows that are decided and saved together.
type chunk struct {
	rows []row
	last bool
}

// row is one row on its way to a decision.
type row struct {
	claim       conversion.Claim
	rejection   *conversion.Rejection
	match       matcher.Match
	key         conversion.Key
	fingerprint conversion.Fingerprint // zero if repeating the row does no harm
	near        []conversion.NearMiss
	shift       int
	kept        []conversion.Outcome // set if the row is not to be decided
}

// chunkReader reads rows and finds their calls.
type chunkReader struct {
	worker    *Worker
	upload    *conversion.Upload
	claims    *ingest.Claims
	policy    matcher.Policy
	after     int // lines up to this one are decided already
	kept      map[int]conversion.Outcome
	identical map[conversion.Fingerprint]int
	explained int // rows whose near misses were looked for
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

func (r *chunkReader) readAll(ctx context.Context, chunks chan<- *chunk) error {
	for {
		c, err := r.read()
		if err == nil {
			err = r.match(ctx, c)
		}
		if err != nil {
			return err
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.last {
			return nil
		}
	}
}

// chunkBytes ends a chunk of long rows early: a claim keeps its row's text in
// memory.
const chunkBytes = 2 << 20

// read reads the next rows that are not decided yet.
func (r *chunkReader) read() (*chunk, error) {
	c := &chunk{}
	begin := r.claims.Offset()
	for len(c.rows) < r.worker.chunkRows() && r.claims.Offset()-begin < chunkBytes {
		claim, rejection, err := r.claims.Next()
		if errors.Is(err, io.EOF) {
			c.last = true
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read upload %d: %w", r.upload.ID, err)
		}
		next := row{claim: claim, rejection: rejection}
		if rejection == nil {
			next.fingerprint = r.fingerprint(&next.claim)
		}
		if claim.Line > r.after {
			c.rows = append(c.rows, next)
			c.rows[len(c.rows)-1].kept = r.keptOf(&claim)
		} else {
			begin = r.claims.Offset()
		}
	}
	return c, nil
}

// keptOf are the outcomes of a claim's lines, if it is not to be decided.
func (r *chunkReader) keptOf(claim *conversion.Claim) []conversion.Outcome {
	if r.kept == nil {
		return nil
	}
	var kept []conversion.Outcome
	for _, line := range append([]int{claim.Line}, claim.Others...) {
		if outcome, ok := r.kept[line]; ok {
			kept = append(kept, outcome)
		}
	}
	return kept
}

// fingerprint tells a row from the identical ones before it in the file, where
// applying it twice would move money twice.
func (r *chunkReader) fingerprint(claim *conversion.Claim) conversion.Fingerprint {
	if !matcher.Adds(claim, r.policy) {
		return conversion.Fingerprint{}
	}
	content := matcher.Fingerprint(claim, r.policy.Account.ID, 0)
	r.identical[content]++
	if n := r.identical[content]; n > 1 {
		return matcher.Fingerprint(claim, r.policy.Account.ID, n-1)
	}
	return content
}

// match finds the chunk's calls in bulk, and for rows without one the calls they
// nearly meant.
func (r *chunkReader) match(ctx context.Context, c *chunk) error {
	for rows := range slices.Chunk(c.rows, searchedAtOnce) {
		if err := r.matchSome(ctx, rows); err != nil {
			return err
		}
	}
	return r.explain(ctx, c)
}

// searchedAtOnce is how many rows' calls are in memory together. Where calls lie
// close, a row without a caller may have hundreds.
const searchedAtOnce = 512

func (r *chunkReader) matchSome(ctx context.Context, rows []row) error {
	var searches []conversion.CallSearch
	spans := make([]int, len(rows)+1) // row i's searches are spans[i] to spans[i+1]
	for i := range rows {
		if rows[i].rejection == nil {
			searches = append(searches, matcher.Searches(&rows[i].claim, r.policy)...)
		}
		spans[i+1] = len(searches)
	}
	found, err := r.worker.Store.Calls(ctx, r.upload.Account, searches)
	if err != nil {
		return err
	}
	for i := range rows {
		next := &rows[i]
		if next.rejection != nil {
			continue
		}
		if spans[i+1] > spans[i] {
			next.match = matcher.FindCall(&next.claim, flatten(found[spans[i]:spans[i+1]]), r.policy)
		}
		next.key = matcher.KeyOf(&next.claim, next.match.Call, r.policy)
	}
	return nil
}

func flatten(lists [][]conversion.Call) []conversion.Call {
	if len(lists) == 1 {
		return lists[0]
	}
	var all []conversion.Call
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// explain finds near misses for the rows without a call.
func (r *chunkReader) explain(ctx context.Context, c *chunk) error {
	var unmatched []*row
	for i := range c.rows {
		if code := c.rows[i].match.Code; code == conversion.CallNotFound || code == conversion.CallInFuture {
			unmatched = append(unmatched, &c.rows[i])
		}
	}
	for rows := range slices.Chunk(unmatched, searchedAtOnce) {
		if err := r.explainSome(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

func (r *chunkReader) explainSome(ctx context.Context, rows []*row) error {
	var searches, own []conversion.CallSearch
	spans := make([]int, len(rows)+1)
	for i, row := range rows {
		searches = append(searches, matcher.NearSearches(&row.claim, r.policy, r.explained < matcher.Diagnosed)...)
		spans[i+1] = len(searches)
		own = append(own, matcher.Searches(&row.claim, r.policy)[0]) // its id, or else its time
	}
	found, err := r.worker.Store.Calls(ctx, r.upload.Account, searches)
	if err != nil {
		return err
	}
	elsewhere, err := r.worker.Store.CallsElsewhere(ctx, r.upload.Account, own)
	if err != nil {
		return err
	}
	for i, row := range rows {
		row.near, row.shift = matcher.Explain(&row.claim, flatten(found[spans[i]:spans[i+1]]), r.policy)
		if elsewhere[i] {
			row.near = append(row.near, conversion.NearMiss{Why: "a call of that caller and time belongs to another account"})
		}
	}
	r.explained += len(rows)
	return nil
}

// settle decides a chunk's rows one after another against what the ledger holds,
// and saves what they come to.
func (w *Worker) settle(ctx context.Context, upload *conversion.Upload, policy matcher.Policy, c *chunk, diagnosis *matcher.Diagnosis) error {
	failpoint("settle-before")
	var settled *conversion.Settlement
	err := w.Store.Settle(ctx, heldQuery(upload, c), func(held *conversion.Held) (*conversion.Settlement, error) {
		s := newSettling(upload, policy, held)
		for i := range c.rows {
			if err := s.add(&c.rows[i]); err != nil {
				return nil, err
			}
		}
		diagnosis.AddAll(s.outcomes)
		s.diagnosis = diagnosis.Sentence()
		failpoint("settle-inside")
		settled = s.settlement(c, w.now())
		return settled, nil
	})
	if err != nil {
		return err
	}
	failpoint("settle-after")
	upload.Cursor, upload.Tally, upload.Diagnosis = settled.Cursor, settled.Tally, settled.Diagnosis
	if c.last {
		upload.State, upload.DecidedAt = conversion.Decided, settled.At
	}
	return nil
}

func heldQuery(upload *conversion.Upload, c *chunk) conversion.HeldQuery {
	query := conversion.HeldQuery{Account: upload.Account}
	if !upload.Again && len(c.rows) > 0 {
		query.Upload, query.First, query.Last = upload.ID, c.rows[0].claim.Line, c.rows[len(c.rows)-1].claim.LastLine()
	}
	for i := range c.rows {
		r := &c.rows[i]
		if r.rejection != nil {
			continue
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
