package web

import (
	"context"
	"sync"
)

// keys are the Idempotency-Keys of requests that are being answered. Of several requests
// under one key, each begins once the one before is answered.
type keys struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when the request is answered
}

// take waits for a key and takes it; call done when the request is answered.
func (k *keys) take(ctx context.Context, key string) (done func(), err error) {
	for {
		k.mu.Lock()
		before := k.busy[key]
		if before == nil {
			break
		}
		k.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer k.mu.Unlock()
	if k.busy == nil {
		k.busy = map[string]chan struct{}{}
	}
	answered := make(chan struct{})
	k.busy[key] = answered
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.busy, key)
		close(answered)
	}, nil
}
