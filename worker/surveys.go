package worker

import (
	"bytes"
	"context"
	"io"
	"sync"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// survey reads an upload once, before any of its rows is decided.
func (w *Worker) survey(ctx context.Context, upload *conversion.Upload, account *conversion.Account) (*ingest.Table, *conversion.Refusal, error) {
	kept := w.kept(upload)
	if table := kept.of(upload); table != nil {
		return table, nil, nil
	}
	limits := w.limits()
	if upload.Size > limits.Bytes {
		return nil, conversion.Refuse(conversion.TooLarge, "The file is larger than %s, the most that is read. Split it and send the parts.", sizeName(limits.Bytes)), nil
	}
	open := w.Store.OpenUpload(ctx, upload.ID)
	if upload.Size <= smallUpload {
		var err error
		if open, err = inMemory(open); err != nil {
			return nil, nil, err
		}
	}
	table, refusal, err := ingest.Survey(ctx, open, ingest.Settings{Account: account, Takes: upload.Takes, Dialect: upload.Dialect, Limits: limits, ReceivedAt: upload.ReceivedAt, Fix: report.IsFix(upload.Name)})
	if table != nil {
		kept.keep(upload, table)
	}
	return table, refusal, err
}

// inMemory reads a file once for all.
func inMemory(open ingest.Opener) (ingest.Opener, error) {
	in, err := open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, err
}

// surveys are the tables of the uploads that were read last: accepting, deciding and
// reporting an upload read it once.
type surveys struct {
	mu   sync.Mutex
	last []surveyed
	next int // which of them the next one takes the place of
}

// newSurveys keeps so many.
func newSurveys(most int) *surveys { return &surveys{last: make([]surveyed, most)} }

// surveyed is an upload's table. An upload whose transaction was taken back may leave its
// number to another.
type surveyed struct {
	upload   int64
	digest   [32]byte
	received conversion.Millis
	table    *ingest.Table
}

func (s *surveyed) isOf(u *conversion.Upload) bool {
	return s.upload == u.ID && s.digest == u.Digest && s.received == u.ReceivedAt
}

// of returns an upload's table, or nil.
func (s *surveys) of(u *conversion.Upload) *ingest.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.last {
		if s.last[i].isOf(u) {
			return s.last[i].table
		}
	}
	return nil
}

// keep keeps an upload's table.
func (s *surveys) keep(u *conversion.Upload, table *ingest.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[s.next] = surveyed{u.ID, u.Digest, u.ReceivedAt, table}
	s.next = (s.next + 1) % len(s.last)
}

// kept are the surveys among which an upload's is. Small uploads are in memory, so that
// their tables belong to no store; large ones are read from it again, and a worker on
// another store reads them for itself.
func (w *Worker) kept(u *conversion.Upload) *surveys {
	w.surveying.Do(func() {
		if w.small == nil {
			w.small = newSurveys(2 * mostTogether)
		}
		w.large = newSurveys(1)
	})
	if u.Size <= smallUpload {
		return w.small
	}
	return w.large
}
