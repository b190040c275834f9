package ingest_test

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"calltally/ingest"
)

// noting is a place that notes what moves, what is written, and what is synced, in order.
type noting struct {
	ingest.Place
	steps []string
}

func (n *noting) Open(ctx context.Context) (ingest.Files, error) {
	files, err := n.Place.Open(ctx)
	return notingFiles{files, n}, err
}

type notingFiles struct {
	ingest.Files
	in *noting
}

func (f notingFiles) Move(from, to string) error {
	f.in.steps = append(f.in.steps, "move from "+path.Dir(from)+" to "+path.Dir(to))
	return f.Files.Move(from, to)
}

func (f notingFiles) Write(name string, write func(io.Writer) error) error {
	f.in.steps = append(f.in.steps, "write in "+path.Dir(name))
	return f.Files.Write(name, write)
}

func (f notingFiles) Sync(folders ...string) error {
	f.in.steps = append(f.in.steps, "sync "+strings.Join(folders, " "))
	return f.Files.Sync(folders...)
}

// What was said to be done survives a power cut: names are synced before anything rests on them.
func TestWhatIsSyncedWhen(t *testing.T) {
	w := places[0].watch(t, 0)
	n := &noting{Place: w.Place}
	w.Place = n
	want := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(n.steps, want) {
			t.Errorf("%s: %q, want %q", what, n.steps, want)
		}
		n.steps = nil
	}
	w.put("a.csv", "a,b\n")
	w.put("b.csv", "a,b\n")
	w.look()
	for d, err := range w.Deliveries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n.steps = append(n.steps, "deliver "+d.Name)
		if d.Name == "b.csv" {
			want("a claim", "move from . to work", "move from . to work", "sync . work", "deliver a.csv", "deliver b.csv")
			w.finish(d, ingest.Refused)
			n.steps = nil
		}
	}
	if err := w.PutReport(t.Context(), "a.results.csv", func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	want("a report", "write in results", "sync results")
	for kept, err := range w.PutAway(t.Context(), noon) {
		if err == nil {
			err = kept.Return(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want("a file that is given back", "move from rejected to .", "sync . rejected")
}
