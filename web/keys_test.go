package web

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Of those who take one key, one has it at a time, and who has one keeps no other from anybody.
func TestKeys(t *testing.T) {
	var k keys
	var at, most atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			done, err := k.take(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), at.Add(1)))
			for range 100 {
				other, err := k.take(t.Context(), "b")
				if err != nil {
					t.Error(err)
					break
				}
				other()
			}
			at.Add(-1)
			done()
		})
	}
	all.Wait()
	if most.Load() != 1 || len(k.busy) != 0 {
		t.Errorf("up to %d had the key at a time; %d keys are busy in the end", most.Load(), len(k.busy))
	}
	done, err := k.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := k.take(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a key that is busy, and nobody waits: %v", err)
	}
}
