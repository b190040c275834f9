package worker_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

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

// poisonMethod is how a file is packed on which its reader panics.
const poisonMethod = 0x7070

var knowPoison = sync.OnceFunc(func() {
	zip.RegisterDecompressor(poisonMethod, func(io.Reader) io.ReadCloser { panic("poison") })
})

// poisoned packs two files, of which the second can't be unpacked.
func poisoned(t *testing.T, name, content string) string {
	t.Helper()
	knowPoison()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	out, err := w.Create(name)
	if err == nil {
		_, err = out.Write([]byte(content))
	}
	if err == nil {
		_, err = w.CreateRaw(&zip.FileHeader{Name: "poison.csv", Method: poisonMethod, UncompressedSize64: 1, CompressedSize64: 1})
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What reading one file does to us costs no other one: neither those before it, which wait to be
// stored with it, nor those behind it, in this poll and the next.
func TestAFileThatPanicsCostsOnlyItself(t *testing.T) {
	panics := func() (io.ReadCloser, error) { panic("poison") }
	for _, c := range []struct {
		name   string
		poison func(*ingest.Delivery)
		// refused is what the sender is told; "" if the file comes again.
		refused string
		sales   []string
	}{
		{"at hand", func(d *ingest.Delivery) { d.Open, d.AtHand = panics, true }, "", []string{"C0=1.00", "C1=1.00", "C2=1.00"}},
		{"not at hand", func(d *ingest.Delivery) { d.Open = panics }, "", []string{"C0=1.00", "C1=1.00", "C2=1.00"}},
		{"refused already", func(d *ingest.Delivery) {
			d.Open, d.Refusal = panics, conversion.Refuse(conversion.NotATable, "It is damaged.")
		}, "", []string{"C0=1.00", "C1=1.00", "C2=1.00"}},
		{"an archive", func(d *ingest.Delivery) {
			d.Open = delivery("", "", poisoned(t, "d.csv", table(line(3, "", "", "1.00")))).Open
		},
			"The ZIP archive could not be opened.", []string{"C0=1.00", "C1=1.00", "C2=1.00", "C3=1.00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 4)
			var acknowledged []string
			poison := delivery("23", "poison.zip", "")
			c.poison(poison)
			fate := ingest.Disposition(-1)
			poison.Ack = acknowledge(&fate)
			good := atHand(-1, &acknowledged)
			b.Plans = []worker.Plan{{Source: &pile{name: "test", deliveries: []*ingest.Delivery{good[0], poison, good[1], good[2]}}, Every: time.Second}}
			err := b.RunOnce(t.Context())
			if failed := err != nil && strings.Contains(err.Error(), "source test: accept poison.zip: panic: poison"); failed != (c.refused == "") || err != nil && strings.Count(err.Error(), "panic") != 1 {
				t.Errorf("the poll ended with %v", err)
			}
			if len(acknowledged) != 3 {
				t.Errorf("acknowledged %v", acknowledged)
			}
			if (fate == ingest.Refused) != (c.refused != "") {
				t.Errorf("the file that panics was acknowledged as %v", fate)
			}
			var told string
			for _, u := range b.uploads() {
				if u.Refusal != nil {
					told += u.Refusal.Sentence
				}
			}
			if !strings.HasPrefix(told, c.refused) || (told == "") != (c.refused == "") {
				t.Errorf("the sender is told %q", told)
			}
			b.wantSales(c.sales...)
			b.check()
		})
	}
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
