package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/folder"
	"calltally/ingest/sftp"
	"calltally/scripts/rig"
)

var noon = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

// place is a kind of place, and how tests make one in a folder on this machine.
type place struct {
	name string
	at   func(t *testing.T, path string) ingest.Place
	// far has answers come from afar.
	far bool
}

// places are where files are dropped in these tests.
var places = []place{
	{name: "folder", at: func(_ *testing.T, path string) ingest.Place { return folder.Folder(path) }},
	{name: "sftp", at: sftpDouble, far: true},
}

// eachPlace runs a test at each kind of place.
func eachPlace(t *testing.T, test func(t *testing.T, p place)) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// watched is a drop on a clock that the test sets.
type watched struct {
	*ingest.Drop
	t    *testing.T
	now  time.Time
	root string // its folder on this machine
}

func (p place) watch(t *testing.T, settle time.Duration) *watched {
	t.Helper()
	w := &watched{t: t, now: noon, root: t.TempDir()}
	w.Drop = &ingest.Drop{
		Label: "drop", Place: p.at(t, w.root), Account: "23", Takes: conversion.TakesConversions, Dialect: "invoca", Settle: settle, Now: func() time.Time { return w.now },
	}
	return w
}

// restarted is the drop as a new process sees it.
func (w *watched) restarted() *ingest.Drop {
	return &ingest.Drop{
		Label: w.Label, Place: w.Place, Account: w.Account, Takes: w.Takes, Dialect: w.Dialect, Settle: w.Settle, Done: w.Done, Leave: w.Leave, Now: w.Now,
	}
}

func (w *watched) path(parts ...string) string {
	return filepath.Join(append([]string{w.root}, parts...)...)
}

func (w *watched) put(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(content), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// look looks once and returns what it found; an error fails the test.
func (w *watched) look() []*ingest.Delivery {
	w.t.Helper()
	return w.lookBy(w.Drop)
}

func (w *watched) lookBy(f *ingest.Drop) []*ingest.Delivery {
	w.t.Helper()
	var found []*ingest.Delivery
	for d, err := range f.Deliveries(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		found = append(found, d)
	}
	return found
}

// take looks twice, which is when a file that doesn't change is complete.
func (w *watched) take() []*ingest.Delivery {
	w.t.Helper()
	w.look()
	w.now = w.now.Add(w.Settle)
	return w.look()
}

func names(found []*ingest.Delivery) []string {
	list := []string{}
	for _, d := range found {
		list = append(list, d.Name)
	}
	return list
}

func (w *watched) wantNames(found []*ingest.Delivery, want ...string) {
	w.t.Helper()
	if got := names(found); !slices.Equal(got, append([]string{}, want...)) {
		w.t.Errorf("delivered %q, want %q", got, want)
	}
}

func (w *watched) finish(d *ingest.Delivery, as ingest.Disposition) {
	w.t.Helper()
	if err := d.Ack(w.t.Context(), as); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) files(parts ...string) []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.path(parts...))
	if err != nil {
		w.t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		if !e.IsDir() {
			list = append(list, e.Name())
		}
	}
	return list
}

func (w *watched) wantFiles(want []string, parts ...string) {
	w.t.Helper()
	if got := w.files(parts...); !slices.Equal(got, want) {
		w.t.Errorf("%s holds %q, want %q", filepath.Join(parts...), got, want)
	}
}

func content(t *testing.T, d *ingest.Delivery) string {
	t.Helper()
	in, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFileIsClaimedReadAndPutAway(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		for _, test := range []struct {
			as ingest.Disposition
			in []string
		}{{ingest.Accepted, []string{"processed", "2026-03-31"}}, {ingest.Refused, []string{"rejected"}}} {
			t.Run(test.in[0], func(t *testing.T) {
				w := p.watch(t, 2*time.Second)
				w.put("orders.csv", "a,b\n")
				found := w.take()
				w.wantNames(found, "orders.csv")
				d := found[0]
				if d.Source != "drop" || d.Account != "23" || d.Takes != conversion.TakesConversions || d.Dialect != "invoca" || d.Mail != nil || d.Refusal != nil {
					t.Errorf("the delivery is %+v", d)
				}
				w.wantFiles([]string{})
				if len(w.files("work")) != 1 {
					t.Errorf("work/ holds %q, want the file", w.files("work"))
				}
				for range 2 { // it may be opened again
					if got := content(t, d); got != "a,b\n" {
						t.Errorf("it reads %q", got)
					}
				}
				for range 2 { // it may be acknowledged again
					w.finish(d, test.as)
				}
				w.wantFiles([]string{}, "work")
				w.wantFiles([]string{"orders.csv"}, test.in...)
				if text, err := os.ReadFile(w.path(append(test.in, "orders.csv")...)); err != nil || string(text) != "a,b\n" {
					t.Errorf("it was put away as %q, %v", text, err)
				}
				w.wantNames(w.take())
			})
		}
	})
}

func TestTwoSightings(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 30*time.Second)
		w.put("orders.csv", "a,b\n")
		w.wantNames(w.look())
		for range 3 {
			w.wantNames(w.look()) // no time has passed
		}
		w.now = w.now.Add(29 * time.Second)
		w.wantNames(w.look())
		w.now = w.now.Add(time.Second)
		w.wantNames(w.look(), "orders.csv")
	})
}

func TestAFileIsNeverTakenAtFirstSight(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		for _, settle := range []time.Duration{0, time.Second} {
			w := p.watch(t, settle)
			w.put("orders.csv", "a,b\n")
			old := noon.Add(-24 * time.Hour)
			if err := os.Chtimes(w.path("orders.csv"), old, old); err != nil {
				t.Fatal(err)
			}
			w.wantNames(w.look())
		}
	})
}

// The clock of the file system says nothing: a file may be dated 1970 or 2099.
func TestOddModificationTimes(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Second)
		for name, at := range map[string]time.Time{"old.csv": time.Unix(0, 0), "new.csv": time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
			w.put(name, "a,b\n")
			if err := os.Chtimes(w.path(name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		w.wantNames(w.take(), "old.csv", "new.csv")
	})
}

func TestAGrowingFileIsNotTaken(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		changes := map[string]func(t *testing.T, file string, n int){
			"grows": func(t *testing.T, file string, n int) {
				if err := os.WriteFile(file, []byte(strings.Repeat("row\n", n)), 0o666); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(file, noon, noon); err != nil { // only the size changes
					t.Fatal(err)
				}
			},
			"is touched": func(t *testing.T, file string, n int) {
				at := noon.Add(time.Duration(n) * time.Second)
				if err := errors.Join(os.WriteFile(file, []byte("row\n"), 0o666), os.Chtimes(file, at, at)); err != nil {
					t.Fatal(err)
				}
			},
			"shrinks": func(t *testing.T, file string, n int) {
				if err := errors.Join(os.WriteFile(file, []byte(strings.Repeat("row\n", 100-n)), 0o666), os.Chtimes(file, noon, noon)); err != nil {
					t.Fatal(err)
				}
			},
		}
		for name, change := range changes {
			t.Run(name, func(t *testing.T) {
				w := p.watch(t, 2*time.Second)
				for n := range 10 {
					change(t, w.path("orders.csv"), n)
					w.wantNames(w.look())
					w.now = w.now.Add(10 * time.Second)
				}
				w.wantNames(w.take(), "orders.csv")
			})
		}
	})
}

// A file that was replaced between two looks has been seen once.
func TestAFileThatVanishesAndComesBackIsSeenAnew(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Second)
		w.put("orders.csv", "a,b\n")
		w.look()
		if err := os.Rename(w.path("orders.csv"), w.path("orders.csv.tmp")); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Minute)
		w.wantNames(w.look())
		if err := os.Rename(w.path("orders.csv.tmp"), w.path("orders.csv")); err != nil {
			t.Fatal(err)
		}
		w.wantNames(w.look())
		w.now = w.now.Add(time.Second)
		w.wantNames(w.look(), "orders.csv")
	})
}

func TestWhatIsIgnored(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		for _, name := range []string{
			".orders.csv", "orders.csv.tmp", "orders.csv.TMP", "orders.csv.part", "orders.csv.partial", "orders.csv.filepart", "orders.csv.crdownload", "orders.csv.swp", "orders.csv.lock",
			"~$orders.xlsx", "orders.csv~", ".orders.csv.swp",
		} {
			w.put(name, "a,b\n")
		}
		outside := filepath.Join(t.TempDir(), "secret.csv")
		if err := errors.Join(
			os.WriteFile(outside, []byte("secret\n"), 0o666),
			os.Symlink(outside, w.path("link.csv")),
			os.Symlink(w.path("nowhere"), w.path("broken.csv")),
			syscall.Mkfifo(w.path("pipe.csv"), 0o666),
			os.Mkdir(w.path("folder.csv"), 0o777),
			os.WriteFile(w.path("folder.csv", "inner.csv"), []byte("a,b\n"), 0o666),
			os.WriteFile(w.path("two names.csv"), []byte("a,b\n"), 0o666),
			os.Link(w.path("two names.csv"), filepath.Join(t.TempDir(), "other.csv")),
		); err != nil {
			t.Fatal(err)
		}
		if p.far { // a server doesn't tell of other names
			os.Remove(w.path("two names.csv")) //nolint:errcheck // the test would see it
		}
		w.put("orders.csv", "a,b\n")
		w.wantNames(w.take(), "orders.csv")
		w.wantNames(w.take(), "orders.csv") // it was not acknowledged, so it comes again
		if _, err := os.Lstat(w.path("link.csv")); err != nil {
			t.Error("the link was touched:", err)
		}
	})
}

// Whoever may write into work/ can't have us read or move what lies elsewhere.
func TestWorkHoldsNoLinks(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.look()
		outside := filepath.Join(t.TempDir(), "secret.csv")
		if err := errors.Join(
			os.WriteFile(outside, []byte("secret\n"), 0o666),
			os.Symlink(outside, w.path("work", "0123456789abcdef~link.csv")),
			syscall.Mkfifo(w.path("work", "0123456789abcdef~pipe.csv"), 0o666),
			os.Mkdir(w.path("work", "0123456789abcdef~folder.csv"), 0o777),
		); err != nil {
			t.Fatal(err)
		}
		w.wantNames(w.take())
	})
}

func TestAClaimedFileIsAdoptedAfterACrash(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Second)
		w.put("orders.csv", "a,b\n")
		first := w.take()[0]

		after := w.restarted()
		adopted := w.lookBy(after)
		w.wantNames(adopted, "orders.csv") // at first sight: it was complete before
		if adopted[0].Origin != first.Origin {
			t.Errorf("it came from %q, and now from %q", first.Origin, adopted[0].Origin)
		}
		if got := content(t, adopted[0]); got != "a,b\n" {
			t.Errorf("it reads %q", got)
		}
		w.finish(adopted[0], ingest.Accepted)
		w.wantFiles([]string{"orders.csv"}, "processed", "2026-03-31")
		w.wantNames(w.lookBy(after))
	})
}

func TestClaimedFilesAreAdoptedOldestFirst(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		var want []string
		for i := range 8 {
			name := fmt.Sprintf("%d.csv", i)
			w.put(name, "a,b\n")
			at := noon.Add(time.Duration(i) * time.Second)
			if err := os.Chtimes(w.path(name), at, at); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		}
		w.wantNames(w.take(), want...)
		w.wantNames(w.lookBy(w.restarted()), want...)
	})
}

func TestTheSameNameAgain(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		origins := map[string]bool{}
		for i := range 3 {
			w.put("orders.csv", fmt.Sprint(i))
			d := w.take()[0]
			origins[d.Origin] = true
			w.finish(d, ingest.Accepted)
		}
		w.wantFiles([]string{"orders-2.csv", "orders-3.csv", "orders.csv"}, "processed", "2026-03-31")
		if len(origins) != 3 {
			t.Errorf("three files came from %d origins", len(origins))
		}
		for i, name := range []string{"orders.csv", "orders-2.csv", "orders-3.csv"} {
			if text, err := os.ReadFile(w.path("processed", "2026-03-31", name)); err != nil || string(text) != fmt.Sprint(i) {
				t.Errorf("%s holds %q, %v; want %d", name, text, err, i)
			}
		}
	})
}

func TestAFileThatComesWhileItsNamesakeIsInWork(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.put("orders.csv", "first")
		first := w.take()[0]
		w.put("orders.csv", "second")
		var second *ingest.Delivery
		for _, d := range w.take() {
			if d.Origin != first.Origin {
				second = d
			}
		}
		if second == nil || content(t, first) != "first" || content(t, second) != "second" {
			t.Fatal("the two files of one name were mixed up")
		}
		w.finish(second, ingest.Accepted)
		w.finish(first, ingest.Refused)
		w.wantFiles([]string{"orders.csv"}, "processed", "2026-03-31")
		w.wantFiles([]string{"orders.csv"}, "rejected")
	})
}

func TestOddNames(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		for what, name := range map[string]string{
			"a newline":                       "two\nlines.csv",
			"255 bytes":                       strings.Repeat("n", 251) + ".csv",
			"255 bytes of Japanese":           strings.Repeat("日", 83) + "ab.csv",
			"255 bytes without an extension":  strings.Repeat("n", 255),
			"255 bytes that are an extension": "a." + strings.Repeat("n", 253),
			"a tilde":                         "a~b~c.csv",
			"a leading dash":                  "-rf.csv",
			"spaces and quotes":               ` it's "final" (2).csv`,
			"a backslash":                     `a\..\evil.csv`,
			"bytes that are no UTF-8":         "caf\xe9.csv",
			"a percent sign":                  "100%20.csv",
			"the name of our folder":          "work.csv",
		} {
			t.Run(what, func(t *testing.T) {
				w := p.watch(t, 0)
				for _, n := range []string{"first", "second"} { // the second one needs another name to be put away under
					w.put(name, n)
					found := w.take()
					if len(found) != 1 {
						t.Fatalf("%d files were delivered, want 1", len(found))
					}
					if len(name) < 200 && found[0].Name != name {
						t.Errorf("its name is %q, want %q", found[0].Name, name)
					}
					if got := content(t, found[0]); got != n {
						t.Errorf("it reads %q, want %q", got, n)
					}
					w.finish(found[0], ingest.Accepted)
				}
				w.wantFiles([]string{}, "work")
				if got := w.files("processed", "2026-03-31"); len(got) != 2 {
					t.Errorf("processed/ holds %q, want two files", got)
				}
			})
		}
	})
}

func TestAThousandFilesComeOldestFirst(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		const files = 1000
		var want []string
		for i := range files {
			name := fmt.Sprintf("%03d.csv", (i*617)%files) // names in another order than times
			w.put(name, "a,b\n")
			at := noon.Add(time.Duration(i) * time.Second)
			if err := os.Chtimes(w.path(name), at, at); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		}
		w.look()
		found := w.look()
		w.wantNames(found, want...)
		w.wantFiles([]string{})
		if got := len(w.files("work")); got != files {
			t.Errorf("%d files are claimed, want %d", got, files)
		}
	})
}

// A large file is claimed only when it is asked for: what comes after it stays where
// another process can have it.
func TestLargeFilesAreClaimedOneByOne(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		for i := range 5 {
			w.put(fmt.Sprintf("%d.csv", i), strings.Repeat("a,b\n", ingest.SmallFile))
		}
		w.look()
		for d, err := range w.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Name == "1.csv" {
				break
			}
		}
		if got := len(w.files()); got != 3 {
			t.Errorf("%d files are left, want 3", got)
		}
	})
}

// Small files are claimed ingest.Together, up to a large one.
func TestSmallFilesAreClaimedTogether(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		for i := range ingest.Together + 5 {
			w.put(fmt.Sprintf("%03d.csv", i), "a,b\n")
		}
		w.put("large.csv", strings.Repeat("a,b\n", ingest.SmallFile))
		w.look()
		delivered := 0
		for d, err := range w.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if delivered++; d.AtHand != (d.Name != "large.csv") {
				t.Errorf("%s is at hand: %t", d.Name, d.AtHand)
			}
			want := max(ingest.Together, delivered)
			if delivered > ingest.Together && d.AtHand {
				want = ingest.Together + 5
			}
			if got := len(w.files("work")); got != want {
				t.Errorf("%d files are claimed after %d, want %d", got, delivered, want)
			}
		}
		if delivered != ingest.Together+6 {
			t.Errorf("%d files were delivered", delivered)
		}
	})
}

func TestAFileThatIsTakenAwayIsNoError(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.put("a.csv", strings.Repeat("a,b\n", ingest.SmallFile))
		w.put("b.csv", "a,b\n")
		w.look()
		for d, err := range w.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Name == "a.csv" {
				if err := os.Remove(w.path("b.csv")); err != nil {
					t.Fatal(err)
				}
			} else {
				t.Errorf("%s was delivered", d.Name)
			}
		}
	})
}

func TestAFolderThatIsNotThere(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		if err := os.RemoveAll(w.root); err != nil {
			t.Fatal(err)
		}
		failures := 0
		for d, err := range w.Deliveries(t.Context()) {
			if d != nil || err == nil {
				t.Errorf("delivered %v, %v", d, err)
			}
			failures++
		}
		if failures != 1 {
			t.Errorf("%d errors, want 1", failures)
		}
		if _, err := os.Stat(w.root); err == nil {
			t.Error("the folder was made: a share that isn't mounted must not be hidden")
		}
	})
}

// A place that was lost is looked at when it is due, not as soon as files there may be
// complete.
func TestAPlaceThatIsLost(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Minute)
		w.put("orders.csv", "a,b\n")
		w.look()
		away := w.root + "-away"
		if err := os.Rename(w.root, away); err != nil {
			t.Fatal(err)
		}
		for _, err := range w.Deliveries(t.Context()) {
			if err == nil {
				t.Error("something was delivered")
			}
		}
		if w.Settling() != 0 {
			t.Error("files that can't be seen have us look again soon")
		}
		if err := os.Rename(away, w.root); err != nil {
			t.Fatal(err)
		}
		w.wantNames(w.take(), "orders.csv")
	})
}

// A connection that is lost is one failure, however many files wait behind it.
func TestALostConnectionIsToldOnce(t *testing.T) {
	server := rig.NewSFTPServer(t)
	trusted, err := sftp.Fingerprints(server.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := rig.NewProxy(t, server.Address)
	w := places[1].watch(t, 0)
	place := &sftp.Folder{Address: proxy.Address, User: "acme", Login: sftp.Login{Password: rig.Password}, Trusts: trusted, Path: w.root}
	t.Cleanup(place.Close)
	w.Place = place
	w.put("first.csv", strings.Repeat("x", ingest.SmallFile+1)) // a large one is claimed alone
	at := noon.Add(-time.Hour)
	if err := os.Chtimes(w.path("first.csv"), at, at); err != nil {
		t.Fatal(err)
	}
	const files = 250
	for n := range files {
		w.put(fmt.Sprintf("%d.csv", n), "a,b\n")
	}
	w.look()
	var failures []error
	for d, err := range w.Deliveries(t.Context()) {
		switch {
		case err != nil:
			failures = append(failures, err)
		case d.Name == "first.csv":
			proxy.HangUpAll()
		default:
			t.Errorf("%s was delivered", d.Name)
		}
	}
	if len(failures) != 1 {
		t.Errorf("%d failures: %v", len(failures), failures)
	}
	if w.Settling() != 0 {
		t.Error("the files have us connect again at once")
	}
	if got := len(w.take()); got != 1+files {
		t.Errorf("%d files were delivered over a new connection, want %d", got, 1+files)
	}
}

func TestPutReport(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		write := func(text string) func(io.Writer) error {
			return func(to io.Writer) error {
				_, err := io.WriteString(to, text)
				return err
			}
		}
		for _, text := range []string{"first", "again"} { // again replaces it
			if err := w.PutReport(t.Context(), "orders.results.csv", write(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(w.path("results", "orders.results.csv")); err != nil || string(got) != text {
				t.Errorf("the report is %q, %v; want %q", got, err, text)
			}
		}
		// While it is written, and if that fails, the earlier one stays whole.
		failure := errors.New("the outcomes can't be read")
		err := w.PutReport(t.Context(), "orders.results.csv", func(to io.Writer) error {
			if _, err := io.WriteString(to, "half of it"); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(w.path("results", "orders.results.csv")); err != nil || string(got) != "again" {
				t.Errorf("while it is written, the report is %q, %v", got, err)
			}
			for _, name := range w.files("results") {
				if name != "orders.results.csv" && !strings.HasPrefix(name, ".") {
					t.Errorf("the half report %s is there for all to see", name)
				}
			}
			return failure
		})
		if !errors.Is(err, failure) {
			t.Errorf("the error is %v", err)
		}
		if got, err := os.ReadFile(w.path("results", "orders.results.csv")); err != nil || string(got) != "again" {
			t.Errorf("after the failure, the report is %q, %v", got, err)
		}
		w.wantFiles([]string{"orders.results.csv"}, "results")
		w.wantNames(w.take())
	})
}

// What a crash left half written doesn't stand in the way.
func TestPutReportAfterACrash(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.look()
		w.put(filepath.Join("results", ".orders.results.csv.tmp"), "half of it, and longer than the whole")
		if err := w.PutReport(t.Context(), "orders.results.csv", func(to io.Writer) error {
			_, err := io.WriteString(to, "whole")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		w.wantFiles([]string{"orders.results.csv"}, "results")
		if got, err := os.ReadFile(w.path("results", "orders.results.csv")); err != nil || string(got) != "whole" {
			t.Errorf("the report is %q, %v", got, err)
		}
	})
}

func TestAChangeWakes(t *testing.T) {
	w := places[0].watch(t, time.Millisecond) // no server tells of changes
	woken := make(chan error, 1)
	go func() { woken <- w.Wake(t.Context()) }()
	for n := 0; ; n++ { // the watch may begin after the first file
		w.put(fmt.Sprintf("%d.csv", n), "a,b\n")
		select {
		case err := <-woken:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if n > 500 {
			t.Fatal("no file woke us within 10 s")
		}
	}
}

func TestAFileThatMayBeCompleteSoonWakes(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 10*time.Millisecond)
		w.put("orders.csv", "a,b\n")
		w.look()
		if err := w.Wake(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWakeEndsWithItsContext(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Millisecond)
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		began := time.Now()
		if err := w.Wake(ctx); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestProbe(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.put("a.csv", "a,b\n")
		w.put("b.csv.part", "a,b\n")
		if got, err := w.Probe(t.Context()); err != nil || got != "1 file to take; results can be written" {
			t.Errorf("%q, %v", got, err)
		}
		w.wantFiles([]string{}, "results")
		w.wantFiles([]string{"a.csv", "b.csv.part"})
	})
}

// sftpDouble is a place on an SFTP server inside the test.
func sftpDouble(t *testing.T, path string) ingest.Place {
	t.Helper()
	server := rig.NewSFTPServer(t)
	trusted, err := sftp.Fingerprints(server.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	place := &sftp.Folder{Address: server.Address, User: "acme", Login: sftp.Login{Password: rig.Password}, Trusts: trusted, Path: path}
	t.Cleanup(place.Close)
	return place
}

// A file that changes after it was found complete, while others before it are taken, settles
// anew.
func TestAFileThatChangesBeforeItIsClaimed(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, time.Second)
		w.put("a.csv", strings.Repeat("x", 100_000)) // a large one is claimed alone
		w.put("b.csv", "half\n")
		at := noon.Add(-time.Hour)
		if err := os.Chtimes(w.path("a.csv"), at, at); err != nil {
			t.Fatal(err)
		}
		w.look()
		w.now = w.now.Add(w.Settle)
		var got []string
		for d, err := range w.Deliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, d.Name); d.Name == "a.csv" {
				w.put("b.csv", "half\nand the rest\n")
			}
		}
		if !slices.Equal(got, []string{"a.csv"}) {
			t.Errorf("delivered %q", got)
		}
		w.wantFiles([]string{"b.csv"})
		for _, d := range w.take() {
			if d.Name == "b.csv" && content(t, d) != "half\nand the rest\n" {
				t.Error("half of it was taken")
			}
		}
	})
}

// No more is copied from a server than tells that a file is too large.
func TestAFileFromAfarThatIsTooLarge(t *testing.T) {
	w := places[1].watch(t, 0)
	w.MaxBytes = 100_000
	w.put("orders.csv", strings.Repeat("x", 300_000))
	w.look()
	for d, err := range w.Deliveries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got := len(content(t, d)); got != 100_001 {
			t.Errorf("%d bytes were copied", got)
		}
	}
}

// Where nothing may be renamed, files stay; what is ours is not delivered again as long as
// it stays as it is, and has the same origin for a new process.
func TestFilesThatAreLeftWhereTheyAre(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		w := p.watch(t, 0)
		w.Leave = true
		w.put("orders.csv", "a,b\n1,2\n")
		found := w.take()
		w.wantNames(found, "orders.csv")
		if len(found) != 1 || !found[0].Known || content(t, found[0]) != "a,b\n1,2\n" {
			t.Fatalf("found %+v", found)
		}
		w.wantNames(w.look(), "orders.csv") // nobody has it yet
		if w.Settling() != 0 {
			t.Error("a file that nobody could take has us look again at once")
		}
		w.finish(found[0], ingest.Accepted)
		w.wantNames(w.take())
		if w.Settling() != 0 {
			t.Error("files that are ours have us look again soon")
		}
		if err := w.PutReport(t.Context(), "orders.results.csv", func(io.Writer) error { return errors.New("written") }); !errors.Is(err, ingest.ErrNoShelf) {
			t.Errorf("a report was written: %v", err)
		}
		if entries, err := os.ReadDir(w.root); err != nil || len(entries) != 1 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
		restarted := w.restarted()
		restarted.Now = w.Now
		w.lookBy(restarted)
		again := w.lookBy(restarted)
		w.wantNames(again, "orders.csv")
		if len(again) == 1 && again[0].Origin != found[0].Origin {
			t.Errorf("a new process knows it as %q, not %q", again[0].Origin, found[0].Origin)
		}
		w.put("orders.csv", "a,b\n1,2\n3,4\n")
		changed := w.take()
		w.wantNames(changed, "orders.csv")
		if len(changed) == 1 && changed[0].Origin == found[0].Origin {
			t.Error("another file of that name has the same origin")
		}
		if got, err := w.Probe(t.Context()); err != nil || got != "1 file to take; files stay where they are" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
