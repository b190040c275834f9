package worker_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// zipOf packs files: names and contents in turn.
func zipOf(t *testing.T, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		out, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each file of a dropped archive is an upload of its own, and one that is refused costs the
// others nothing. The archive is put away once.
func TestADroppedArchive(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.put("shops.zip", zipOf(t, "north.csv", table(line(0, "R0", "S", "10.00")), "letter.txt", "Dear Sirs\n", "south.csv", table(line(1, "R1", "S", "20.00"))))
	b.work()
	b.wantFiles([]string{})
	b.wantFiles([]string{}, "work")
	b.wantFiles([]string{"shops.zip"}, "processed", "2026-03-31")
	b.wantFiles([]string{"letter.refused.txt", "north.results.csv", "south.results.csv"}, "results")
	b.wantSales("C0=10.00", "C1=20.00")
	b.check()
}

// fullAt is a store that can't take a file of one name.
type fullAt struct {
	worker.Store
	name    string
	failure error
}

func (s fullAt) SaveUpload(ctx context.Context, u *conversion.Upload, open func() (io.ReadCloser, error)) (*conversion.Upload, bool, error) {
	if u.Name == s.name {
		return nil, false, s.failure
	}
	return s.Store.SaveUpload(ctx, u, open)
}

// If one of an archive's files can't be stored, the archive comes again, and what was stored
// is known.
func TestAnArchiveThatIsTakenInPartComesAgain(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.put("shops.zip", zipOf(t, "a.csv", table(line(0, "R0", "S", "10.00")), "b.csv", table(line(1, "R1", "S", "20.00"))))
	full := errors.New("disk full")
	broken := b.another(b.db)
	broken.Store = fullAt{broken.Store, "b.csv", full}
	for range 2 {
		if err := broken.RunOnce(t.Context()); err != nil && !errors.Is(err, full) {
			t.Fatal(err)
		}
	}
	if n := len(b.files("work")); n != 1 {
		t.Fatalf("%d files in work, want the archive", n)
	}
	b.work()
	b.wantFiles([]string{"shops.zip"}, "processed", "2026-03-31")
	b.wantSales("C0=10.00", "C1=20.00")
	b.check()
}

// What is known under its origin is not read again.
func TestAKnownDeliveryIsNotRead(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	d := delivery(b.account.ID, "orders.csv", table(line(0, "R0", "S", "10.00")))
	d.Known = true
	first, err := b.Accept(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	d.Open = nil
	n := 0
	if err := b.Members(t.Context(), d, func(d *ingest.Delivery) error {
		n++
		again, err := b.Accept(t.Context(), d)
		if err == nil && again.ID != first.ID {
			t.Errorf("it became upload %d and then %d", first.ID, again.ID)
		}
		return err
	}); err != nil || n != 1 {
		t.Errorf("%d deliveries, %v", n, err)
	}
}

// Where nothing may be renamed or written, a file is decided once, however often the program
// is started anew, and its report is mailed alone.
func TestFilesThatAreLeft(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.drop.Leave = true
	b.put("orders.csv", table(line(0, "R0", "S", "10.00")))
	b.work()
	b.work()
	restarted := b.another(b.db)
	restarted.Plans[0].Source = &ingest.Drop{Label: b.drop.Label, Place: b.drop.Place, Account: b.drop.Account, Takes: b.drop.Takes, Leave: true, Now: b.drop.Now}
	for range 2 {
		if err := restarted.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.wantFiles([]string{"orders.csv"})
	b.only() // upload
	b.wantSales("C0=10.00")
	if len(b.post.letters) != 1 {
		t.Errorf("%d letters, want one", len(b.post.letters))
	}
	for _, folder := range []string{"work", "processed", "results"} {
		if files := b.files(folder); len(files) > 0 {
			t.Errorf("%s was written: %q", folder, files)
		}
	}
}
