package ingest_test

import (
	"testing"
	"time"

	"calltally/ingest"
)

// Senders who declare a file complete are waited for, however long it stays as it is.
func TestDeclaredFiles(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.Done = ".done"
		w.put("orders.csv", "a,b\n")
		w.put("sales.csv", "a,b\n")
		w.put("sales.csv.done", "")
		taken := w.take()
		w.wantNames(taken, "sales.csv")
		w.wantFiles([]string{"orders.csv"})
		for _, d := range taken {
			w.finish(d, ingest.Accepted)
		}
		w.put("orders.csv.done", "")
		w.wantNames(w.take(), "orders.csv")
		w.wantFiles([]string{})
	})
}

// A declaration is for one file: the next one of that name needs its own.
func TestADeclarationServesOnce(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.Done = ".done"
		w.put("orders.csv", "a,b\n")
		w.put("orders.csv.done", "")
		w.wantNames(w.take(), "orders.csv")
		w.put("orders.csv", "half a file")
		w.finish(w.look()[0], ingest.Accepted) // the one in work/
		w.wantNames(w.take())
		w.wantFiles([]string{"orders.csv"})
	})
}

// A declaration may come before its file, and a listing may be torn. One that nobody needs
// any more doesn't stay for ever.
func TestADeclarationWithoutItsFile(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Minute)
		w.Done = ".done"
		w.put("orders.csv.done", "")
		w.put("sales.csv.done", "")
		w.wantNames(w.take())
		if w.Settling() != 0 {
			t.Error("declarations have us look again soon")
		}
		w.put("orders.csv", "a,b\n")
		w.wantNames(w.take(), "orders.csv")
		w.wantFiles([]string{"sales.csv.done"})
		w.now = w.now.Add(time.Hour)
		w.look()
		w.wantFiles([]string{})
	})
}
