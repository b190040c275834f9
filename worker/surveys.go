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
		return nil, conversion.Refuse(conversion.TooLarge, "The file is larger than %s, the most that is read. Split it and send the parts.", conversion.SizeName(limits.Bytes)), nil
	}
	open := w.Store.OpenUpload(ctx, upload.ID)
	if upload.Size <= ingest.SmallFile {
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
	mu    sync.Mutex
	most  int64 // bytes that files and what was found out about them take; one may take more
	bytes int64
	order []surveyed
	table map[surveyed]*ingest.Table
}

func newSurveys(most int64) *surveys {
	return &surveys{most: most, table: map[surveyed]*ingest.Table{}}
}

// surveyed is an upload that was read. One whose transaction was taken back may leave its
// number to another.
type surveyed struct {
	upload   int64
	digest   [32]byte
	received conversion.Millis
	size     int64
}

func surveyedOf(u *conversion.Upload) surveyed {
	return surveyed{u.ID, u.Digest, u.ReceivedAt, u.Size}
}

// bytes is about what an upload takes in memory: its file and what its header means.
func (s *surveyed) bytes() int64 { return s.size + 8<<10 }

// of returns an upload's table, or nil.
func (s *surveys) of(u *conversion.Upload) *ingest.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table[surveyedOf(u)]
}

// keep keeps an upload's table, and forgets the oldest.
func (s *surveys) keep(u *conversion.Upload, table *ingest.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := surveyedOf(u)
	if s.table[of] != nil {
		return
	}
	s.order, s.table[of], s.bytes = append(s.order, of), table, s.bytes+of.bytes()
	for ; s.bytes > s.most && len(s.order) > 1; s.order = s.order[1:] {
		delete(s.table, s.order[0])
		s.bytes -= s.order[0].bytes()
	}
}

// smallBytes is how many bytes small files take in memory.
const smallBytes = 8 << 20

// kept are the surveys among which an upload's is.
func (w *Worker) kept(u *conversion.Upload) *surveys {
	small, large := w.surveys()
	if u.Size <= ingest.SmallFile {
		return small
	}
	return large
}

// surveys are those of small and of large uploads. Small uploads are in memory, so that
// their tables belong to no store; large ones are read from it again, and a worker on
// another store reads them for itself.
func (w *Worker) surveys() (small, large *surveys) {
	w.surveying.Do(func() {
		if w.small == nil {
			w.small = newSurveys(smallBytes)
		}
		w.large = newSurveys(0)
	})
	return w.small, w.large
}
