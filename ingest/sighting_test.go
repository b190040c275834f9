package ingest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"calltally/ingest"
)

// locked is a place whose files can't be renamed.
type locked struct{ ingest.Place }

func (l locked) Open(ctx context.Context) (ingest.Files, error) {
	files, err := l.Place.Open(ctx)
	return lockedFiles{files}, err
}

type lockedFiles struct{ ingest.Files }

func (lockedFiles) Move(string, string) error { return errors.New("access denied") }

// A file that can't be claimed is tried at every look, but keeps nobody awake.
func TestAFileThatCanNotBeClaimed(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Second)
		w.Place = locked{w.Place}
		w.put("orders.csv", "a,b\n")
		w.wantNames(w.look())
		if w.Settling() == 0 {
			t.Error("a new file should have us look again soon")
		}
		for range 3 {
			w.now = w.now.Add(time.Second)
			failures := 0
			for d, err := range w.Deliveries(t.Context()) {
				if d != nil || err == nil {
					t.Errorf("delivered %v, %v", d, err)
				}
				failures++
			}
			if failures != 1 {
				t.Errorf("%d failures, want one", failures)
			}
			if w.Settling() != 0 {
				t.Error("a file that could not be claimed has us look again soon")
			}
		}
		w.put("orders.csv", "a,b\n1,2\n")
		if w.look(); w.Settling() == 0 {
			t.Error("a file that changed since should have us look again soon")
		}
	})
}
