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
	spared    chan *chunk
}

// reading are rows that are being read, at most a few chunks ahead of those that are
// decided.
type reading struct {
	*chunkReader
	all     int // about how many rows there are
	chunks  chan *chunk
	failure error // once chunks is closed
	stop    context.CancelFunc
}

// read begins to read a table's rows and to find their calls. End what was begun.
func (w *Worker) read(ctx context.Context, upload *conversion.Upload, policy matcher.Policy, table *ingest.Table, how again) (*reading, error) {
	claims, err := table.Claims(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	r := &reading{
		chunkReader: &chunkReader{
			worker: w, upload: upload, claims: claims, after: upload.Cursor, policy: policy, again: how,
			identical: map[conversion.Fingerprint]int{}, spared: make(chan *chunk, 3),
		},
		all: table.Reading.Rows, chunks: make(chan *chunk), stop: stop,
	}
	go func() {
		defer close(r.chunks)
		r.failure = errors.Join(sheltered(func() error { return r.readAll(ctx, r.chunks) }), claims.Close())
	}()
	return r, nil
}

// end stops the reading, if it goes on, and tells what has gone wrong.
func (r *reading) end() error {
	r.stop()
	for range r.chunks { // what was read in vain
	}
	return r.failure
}

func (r *chunkReader) readAll(ctx context.Context, chunks chan<- *chunk) error {
	for {
		c, err := r.readChunk()
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

// spare takes back a chunk that is settled, so that its memory is used again.
func (r *chunkReader) spare(c *chunk) {
	c.rows = c.rows[:0]
	select {
	case r.spared <- c:
	default: // there are enough
	}
}

// empty is a chunk to read into.
func (r *chunkReader) empty() *chunk {
	select {
	case c := <-r.spared:
		return c
	default:
		return &chunk{}
	}
}

// readChunk reads the next rows that are not decided yet.
func (r *chunkReader) readChunk() (*chunk, error) {
	c := r.empty()
	begin := r.claims.Offset()
	for len(c.rows) < r.worker.readRows() && r.claims.Offset()-begin < chunkBytes {
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
	var others []*row
	timed := sought{}
	for i := range c.rows {
		row := &c.rows[i]
		if row.rejection != nil {
			continue
		}
		switch own := matcher.Searches(&row.claim, r.policy); {
		case len(own) == 0:
			r.mean(row, matcher.Match{})
		case len(own) == 1 && own[0].ID == "":
			timed.add(row, own...)
		default:
			others = append(others, row)
		}
	}
	if err := r.matchTimed(ctx, timed); err != nil {
		return err
	}
	for rows := range slices.Chunk(others, searchedAtOnce) {
		if err := r.matchSome(ctx, rows); err != nil {
			return err
		}
	}
	return r.explain(ctx, c)
}

// sought are searches for the calls of rows.
type sought struct {
	searches []conversion.CallSearch
	rows     []*row // whose each search is
}

func (s *sought) add(of *row, searches ...conversion.CallSearch) {
	for _, search := range searches {
		s.searches, s.rows = append(s.searches, search), append(s.rows, of)
	}
}

// matchTimed finds the calls of rows that have one search each: one after another, so
// that of the calls that come into question only those of one are in memory.
func (r *chunkReader) matchTimed(ctx context.Context, timed sought) error {
	answered := make([]bool, len(timed.rows))
	err := r.worker.Store.Calls(ctx, r.upload.Account, timed.searches, func(search int, calls []conversion.Call) {
		answered[search] = true
		r.choose(timed.rows[search], calls)
	})
	for i, row := range timed.rows {
		if !answered[i] {
			r.choose(row, nil)
		}
	}
	return err
}

// searchedAtOnce is how many rows' calls are in memory together, where rows have
// several searches each. Where calls lie close, each may find hundreds.
const searchedAtOnce = 512

// matchSome finds the calls of rows that have any number of searches.
func (r *chunkReader) matchSome(ctx context.Context, rows []*row) error {
	several := sought{}
	for _, row := range rows {
		several.add(row, matcher.Searches(&row.claim, r.policy)...)
	}
	found, err := r.gather(ctx, several)
	for _, row := range rows {
		r.choose(row, found[row])
	}
	return err
}

// gather finds all calls that come into question for some rows.
func (r *chunkReader) gather(ctx context.Context, sought sought) (map[*row][]conversion.Call, error) {
	found := map[*row][]conversion.Call{}
	err := r.worker.Store.Calls(ctx, r.upload.Account, sought.searches, func(search int, calls []conversion.Call) {
		of := sought.rows[search]
		found[of] = append(found[of], calls...)
	})
	return found, err
}

// choose chooses a row's call.
func (r *chunkReader) choose(row *row, calls []conversion.Call) {
	r.mean(row, matcher.FindCall(&row.claim, calls, r.policy))
}

// mean has a row mean a call, or none.
func (r *chunkReader) mean(row *row, match matcher.Match) {
	row.match, row.key = match, matcher.KeyOf(&row.claim, match.Call, r.policy)
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
	var near sought
	var own []conversion.CallSearch
	for _, row := range rows {
		near.add(row, matcher.NearSearches(&row.claim, r.policy, r.explained < matcher.Diagnosed)...)
		own = append(own, matcher.Searches(&row.claim, r.policy)[0]) // its id, or else its time
	}
	found, err := r.gather(ctx, near)
	if err != nil {
		return err
	}
	elsewhere, err := r.worker.Store.CallsElsewhere(ctx, r.upload.Account, own)
	if err != nil {
		return err
	}
	for i, row := range rows {
		row.near, row.shift = matcher.Explain(&row.claim, found[row], r.policy)
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
