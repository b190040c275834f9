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
		w.wantFiles([]string{"orders.csv", "orders.csv.done"}, "processed", "2026-03-31")
	})
}

// A declaration may come before its file, and a listing may be torn: it stays.
func TestADeclarationThatComesFirst(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Minute)
		w.Done = ".done"
		w.put("orders.csv.done", "")
		w.wantNames(w.take())
		if w.Settling() != 0 {
			t.Error("a declaration has us look again soon")
		}
		w.put("orders.csv", "a,b\n")
		w.wantNames(w.take(), "orders.csv")
	})
}

// One that a crash has left when its file was claimed has served all the same.
func TestADeclarationThatACrashLeft(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.Done = ".done"
		w.put("orders.csv", "a,b\n")
		w.put("orders.csv.done", "")
		w.put("sales.csv.done", "")
		w.wantNames(w.take(), "orders.csv")
		w.put("orders.csv.done", "") // as if it had not been put away
		restarted, taken := w.restarted(), 0
		for d, err := range restarted.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			w.finish(d, ingest.Accepted) // at once, as a large file is
			taken++
		}
		if taken != 1 {
			t.Errorf("%d files were taken", taken)
		}
		w.wantFiles([]string{"sales.csv.done"})
		w.wantFiles([]string{"orders.csv", "orders.csv-2.done", "orders.csv.done"}, "processed", "2026-03-31")
	})
}
