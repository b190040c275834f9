package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/matcher"
)

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
	mark        string               // what it makes is marked as; "" where that is to be decided
}

// chunkReader reads rows and finds their calls.
type chunkReader struct {
	worker    *Worker
	upload    *conversion.Upload
	claims    *ingest.Claims
	policy    matcher.Policy
	after     int // lines up to this one are decided already
	again     again
	identical map[conversion.Fingerprint]int
	explained int // rows whose near misses were looked for
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
			if r.again.mark != nil {
				next.mark = r.again.mark(claim.Line)
			}
			c.rows = append(c.rows, next)
			if c.rows[len(c.rows)-1].kept, err = r.keptOf(&claim); err != nil {
				return nil, err
			}
		} else {
			begin = r.claims.Offset()
		}
	}
	return c, nil
}

// keptOf are the outcomes of a claim's lines, if it is not to be decided.
func (r *chunkReader) keptOf(claim *conversion.Claim) ([]conversion.Outcome, error) {
	if r.again.kept == nil {
		return nil, nil
	}
	return r.again.kept(append([]int{claim.Line}, claim.Others...))
}

// fingerprint tells a row from the identical ones before it in the file, where
// applying it twice would move money twice.
func (r *chunkReader) fingerprint(claim *conversion.Claim) conversion.Fingerprint {
	if !matcher.Adds(claim, r.policy) {
		return conversion.Fingerprint{}
	}
	content := claim.Fingerprint(r.policy.Account.ID, 0)
	r.identical[content]++
	if n := r.identical[content]; n > 1 {
		return claim.Fingerprint(r.policy.Account.ID, n-1)
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
			what := "of that caller and time"
			if row.claim.CallIDs.Given() {
				what = "of that id"
			}
			row.near = append(row.near, conversion.NearMiss{Why: "a call " + what + " belongs to another account"})
		}
	}
	r.explained += len(rows)
	return nil
}
