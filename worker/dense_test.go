package worker_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/worker"
)

// weighedStore weighs what is in memory while calls are searched.
type weighedStore struct {
	worker.Store
	found func(calls []conversion.Call)
}

func (s weighedStore) Calls(ctx context.Context, account string, searches []conversion.CallSearch, found func(int, []conversion.Call)) error {
	return s.Store.Calls(ctx, account, searches, func(search int, calls []conversion.Call) {
		found(search, calls)
		s.found(calls)
	})
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// Where calls lie close, a row without a caller has very many candidates, and a
// file has very many such rows.
func TestManyCandidatesDoNotFillTheMemory(t *testing.T) {
	b := newBench(t, nil)
	calls := testCalls(0, 1200)
	for i := range calls {
		calls[i].Start = conversion.MillisOf(callStart(0).Add(time.Duration(i) * 3 * time.Second))
	}
	if _, err := b.db.SaveCalls(t.Context(), "23", calls); err != nil {
		t.Fatal(err)
	}
	content := "start_time,reference_id,sale_amount\n"
	for i := range 2000 {
		content += fmt.Sprintf("%s,R%d,1.00\n", callStart(i%60).Format("2006-01-02 15:04Z07:00"), i)
	}
	upload := b.accept("dense.csv", content)

	before, most, candidates, searches := heap(), uint64(0), 0, 0
	w := b.another(weighedStore{b.db, func(calls []conversion.Call) {
		if candidates, searches = candidates+len(calls), searches+1; searches%100 == 0 {
			most = max(most, heap())
		}
	}})
	if err := w.Decide(t.Context(), b.upload(upload.ID)); err != nil {
		t.Fatal(err)
	}
	if candidates < 50*searches {
		t.Fatalf("%d searches found %d calls, too few to tell", searches, candidates)
	}
	const limit = 20 << 20
	t.Logf("%d searches found %d calls; the heap grew by %d KiB", searches, candidates, (most-before)>>10)
	if most > before+limit {
		t.Errorf("the heap grew by %d MiB, want at most %d", (most-before)>>20, limit>>20)
	}
	if tally := b.upload(upload.ID).Tally; tally.Of(conversion.Rejected) != 2000 {
		t.Errorf("the tally is %q, want all rows rejected as ambiguous", tally)
	}
}

// A matched row keeps its call in memory, not all that it was chosen from.
func TestMatchedRowsLetGoOfTheOtherCalls(t *testing.T) {
	b := newBench(t, nil)
	calls := testCalls(0, 3000)
	for i := range calls {
		calls[i].Start = conversion.MillisOf(callStart(0).Add(time.Duration(i) * 1200 * time.Millisecond))
	}
	if _, err := b.db.SaveCalls(t.Context(), "23", calls); err != nil {
		t.Fatal(err)
	}
	content := "start_time,reference_id,sale_amount\n"
	for i := range 2000 {
		content += fmt.Sprintf("%s,R%d,1.00\n", calls[i].Start.Time().Truncate(time.Second).Format(time.RFC3339), i)
	}
	upload := b.accept("dense.csv", content)
	before, most := heap(), uint64(0)
	w := b.another(settleHook{b.db, func() { most = max(most, heap()) }})
	if err := w.Decide(t.Context(), b.upload(upload.ID)); err != nil {
		t.Fatal(err)
	}
	t.Logf("the heap had grown by %d KiB before settling; %s", (most-before)>>10, b.upload(upload.ID).Tally)
	if most > before+20<<20 {
		t.Errorf("%d MiB", (most-before)>>20)
	}
	runtime.KeepAlive(calls)
}
