package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/ingest"
)

// badDropped is what happens in a folder, and all that becomes of it.
type badDropped struct {
	name    string // begins with its number
	arrange func(drop string) error
	// meanwhile is done when the program has looked at what is there, for the first and the
	// second time, before it acts on what it saw.
	meanwhile func(drop string, look int) error
	// failing says with which error something fails that is done to a file.
	failing func(do, name string) error
	want    string
}

func TestBadInputDrop(t *testing.T) { runBadDropped(t, badDrops()) }

func runBadDropped(t *testing.T, all []badDropped) {
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			if got := b.walk(t); got != b.want {
				t.Errorf("got\n%s\nwant\n%s", got, b.want)
			}
		})
	}
}

// walk has the program look at the folder once, as cron has it do. It returns what became of
// the files, and what the folder holds then.
func (b *badDropped) walk(t *testing.T) string {
	t.Helper()
	var told strings.Builder
	dir, err := b.look(t)
	if err != nil {
		fmt.Fprintln(&told, "failed:", tokens.ReplaceAllString(err.Error(), "TOKEN~"))
	}
	tellUploads(t, &told, dir, 0)
	tellHeld(t, &told, dir)
	tellFolder(t, &told, filepath.Join(dir, "drop"))
	return strings.TrimSuffix(told.String(), "\n")
}

// look has the program look at the folder once.
func (b *badDropped) look(t *testing.T) (dir string, failure error) {
	t.Helper()
	dir = newBadHouse(t, badAccounts+"sources: [{name: drop, kind: folder, path: drop, account: \"23\", settle: 1ms}]\n")
	drop := filepath.Join(dir, "drop")
	if err := errors.Join(os.Mkdir(drop, 0o777), b.arrange(drop)); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(filepath.Join(dir, "calltally.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	app := startApp(t, c)
	source := app.worker.Plans[0].Source.(*ingest.Drop)
	if b.meanwhile != nil {
		look := 0
		source.Now = func() time.Time {
			look++
			if err := b.meanwhile(drop, look); err != nil {
				t.Error(err)
			}
			return time.Now()
		}
	}
	if b.failing != nil {
		source.Place = failingPlace{source.Place, b.failing}
	}
	failure = app.worker.RunOnce(t.Context())
	if err := app.store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, failure
}

var (
	tokens = regexp.MustCompile(`[0-9a-f]{16}~`)
	days   = regexp.MustCompile(`processed/[0-9-]{10}/`)
)

// tellFolder lists what lies in a folder.
func tellFolder(t *testing.T, told *strings.Builder, drop string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(drop, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(drop, path)
		name = days.ReplaceAllString(tokens.ReplaceAllString(name, "TOKEN~"), "processed/DAY/")
		names = append(names, fmt.Sprintf("%q", name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	fmt.Fprintln(told, strings.Join(names, " "))
}

// failingPlace is a place where some things can't be done.
type failingPlace struct {
	ingest.Place
	failing func(do, name string) error
}

func (p failingPlace) Open(ctx context.Context) (ingest.Files, error) {
	files, err := p.Place.Open(ctx)
	return failingFiles{files, p.failing}, err
}

type failingFiles struct {
	ingest.Files
	failing func(do, name string) error
}

func (f failingFiles) Open(name string) (io.ReadCloser, error) {
	if err := f.failing("open", name); err != nil {
		return nil, err
	}
	return f.Files.Open(name)
}

func (f failingFiles) Move(from, to string) error {
	if err := f.failing("move", from); err != nil {
		return err
	}
	return f.Files.Move(from, to)
}

// dropped drops files, given by name and content.
func dropped(files ...string) func(drop string) error {
	return func(drop string) error {
		for i := 0; i < len(files); i += 2 {
			if err := os.WriteFile(filepath.Join(drop, files[i]), []byte(files[i+1]), 0o600); err != nil {
				return err
			}
		}
		return nil
	}
}

const badSecond = badHead + "2025-03-04 11:00:00,212-555-0102,R2,20.00\n"

func badDrops() []badDropped {
	return []badDropped{
		{name: "107_unfinished_by_its_name", arrange: dropped("orders.csv.filepart", badHead+badRow),
			want: `"orders.csv.filepart"`},
		{name: "108_still_growing", arrange: dropped("orders.csv", badHead+badRow), meanwhile: func(drop string, look int) error {
			return os.WriteFile(filepath.Join(drop, "orders.csv"), []byte(badHead+strings.Repeat(badRow, 1+look)), 0o600)
		}, want: `"orders.csv"`},
		{name: "109_symbolic_link", arrange: func(drop string) error {
			outside := filepath.Join(drop, "..", "orders.csv")
			return errors.Join(os.WriteFile(outside, []byte(badHead+badRow), 0o600), os.Symlink(outside, filepath.Join(drop, "orders.csv")))
		}, want: `"orders.csv"`},
		{name: "111_pipe", arrange: func(drop string) error { return syscall.Mkfifo(filepath.Join(drop, "orders.csv"), 0o600) },
			want: `"orders.csv"`},
		{name: "112_folder_named_like_a_file", arrange: func(drop string) error {
			inside := filepath.Join(drop, "orders.csv")
			return errors.Join(os.Mkdir(inside, 0o777), dropped("more.csv", badHead+badRow)(inside))
		}, want: `"orders.csv/more.csv"`},
		{name: "113_line_break_in_a_name", arrange: dropped("or\nders.csv", badHead+badRow),
			want: `orders.csv: 2 created
holds R1: sale 50.00 USD, payout 5.00, call C1
"processed/DAY/or\nders.csv" "results/orders.results.csv"`},
		{name: "113_name_of_255_bytes", arrange: dropped(strings.Repeat("n", 251)+".csv", badHead+badRow),
			want: strings.Repeat("n", 116) + ".csv: " + badTaken + "\n\"processed/DAY/" + strings.Repeat("n", 196) + ".csv\" \"results/" + strings.Repeat("n", 116) + ".results.csv\""},
		{name: "114_names_that_differ_in_case", arrange: dropped("ORDERS.csv", badHead+badRow, "orders.csv", badSecond),
			want: `ORDERS.csv: 2 created
orders.csv: 2 created
holds R1: sale 50.00 USD, payout 5.00, call C1
holds R2: sale 20.00 USD, payout 2.00, call C2
"processed/DAY/ORDERS.csv" "processed/DAY/orders.csv" "results/ORDERS.results.csv" "results/orders-upload-5.results.csv"`},
		{name: "116_times_of_another_age", arrange: func(drop string) error {
			return errors.Join(dropped("a.csv", badHead+badRow, "b.csv", badSecond)(drop),
				os.Chtimes(filepath.Join(drop, "a.csv"), time.Time{}, time.Unix(0, 0)), os.Chtimes(filepath.Join(drop, "b.csv"), time.Time{}, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)))
		}, want: `a.csv: 2 created
b.csv: 2 created
holds R1: sale 50.00 USD, payout 5.00, call C1
holds R2: sale 20.00 USD, payout 2.00, call C2
"processed/DAY/a.csv" "processed/DAY/b.csv" "results/a.results.csv" "results/b.results.csv"`},
		{name: "117_unreadable", arrange: dropped("a.csv", badHead+badRow, "b.csv", badSecond), failing: func(do, name string) error {
			if do != "open" || !strings.HasSuffix(name, "a.csv") {
				return nil
			}
			return &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
		},
			want: `failed: source drop: read a.csv: open work/TOKEN~a.csv: permission denied
b.csv: 2 created
holds R2: sale 20.00 USD, payout 2.00, call C2
"processed/DAY/b.csv" "results/b.results.csv" "work/TOKEN~a.csv"`},
		{name: "118_vanished_when_seen", arrange: dropped("a.csv", badHead+badRow, "b.csv", badSecond), meanwhile: func(drop string, look int) error {
			if look < 2 {
				return nil
			}
			return os.RemoveAll(filepath.Join(drop, "a.csv"))
		}, want: `b.csv: 2 created
holds R2: sale 20.00 USD, payout 2.00, call C2
"processed/DAY/b.csv" "results/b.results.csv"`},
		{name: "119_replaced_when_seen", arrange: dropped("a.csv", badHead+badRow, "b.csv", badSecond), meanwhile: func(drop string, look int) error {
			if look != 2 {
				return nil
			}
			return replaceAlike(filepath.Join(drop, "a.csv"), badHead+strings.Replace(badRow, "50.00", "70.00", 1))
		}, want: `a.csv: 2 created
b.csv: 2 created
holds R1: sale 70.00 USD, payout 7.00, call C1
holds R2: sale 20.00 USD, payout 2.00, call C2
"processed/DAY/a.csv" "processed/DAY/b.csv" "results/a.results.csv" "results/b.results.csv"`},
		// It is told at every look, and nothing is lost.
		{name: "125_work_folder_on_another_disk", arrange: dropped("a.csv", badHead+badRow), failing: func(do, name string) error {
			if do != "move" {
				return nil
			}
			return &os.LinkError{Op: "rename", Old: name, New: "work", Err: syscall.EXDEV}
		}, want: `failed: source drop: claim file: rename a.csv work: invalid cross-device link
"a.csv"`},
		{name: "125_work_folder_elsewhere_by_a_link", arrange: func(drop string) error {
			outside := filepath.Join(drop, "..", "elsewhere")
			return errors.Join(os.Mkdir(outside, 0o777), os.Symlink(outside, filepath.Join(drop, "work")), dropped("a.csv", badHead+badRow)(drop))
		}, want: `failed: source drop: make folder work: statat work: path escapes from parent
"a.csv" "work"`},
	}
}

// replaceAlike replaces a file by one that has its size and time.
func replaceAlike(file, content string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	other := file + ".tmp"
	return errors.Join(os.WriteFile(other, []byte(content), 0o600), os.Chtimes(other, time.Time{}, info.ModTime()), os.Rename(other, file))
}

const badMany = "115_many_files"

// Of many files the oldest come first, whatever their names, a hundred in one transaction.
func TestBadInputManyFiles(t *testing.T) {
	t.Run(badMany, func(t *testing.T) {
		const files = 120
		began := time.Now().Add(-time.Hour)
		b := badDropped{arrange: func(drop string) error {
			for i := range files {
				name := filepath.Join(drop, fmt.Sprintf("%03d.csv", files-1-i))
				if err := errors.Join(os.WriteFile(name, []byte(badHead+strings.Repeat("\n", i)), 0o600), os.Chtimes(name, time.Time{}, began.Add(time.Duration(i)*time.Second))); err != nil {
					return err
				}
			}
			return nil
		}}
		dir, err := b.look(t)
		if err != nil {
			t.Error(err)
		}
		_, stdout, _ := runBad(t, dir, "uploads", "list", "--json")
		var uploads []uploadJSON
		if err := json.Unmarshal([]byte(stdout), &uploads); err != nil || len(uploads) < files {
			t.Fatalf("%v: %s", err, stdout)
		}
		for i, u := range uploads[:files] { // the newest first
			if name := fmt.Sprintf("%03d.csv", i); u.File != name || u.State != "decided" {
				t.Errorf("upload %d is %s, %s; want %s", u.Upload, u.File, u.State, name)
			}
		}
		var told strings.Builder
		if tellFolder(t, &told, filepath.Join(dir, "drop")); strings.Count(told.String(), "processed/DAY/") != files {
			t.Errorf("the folder holds %s", &told)
		}
	})
}

// A link gives a file of somebody else's another name: nothing of it counts, whether it is
// passed over or held.
func TestBadInputDropHeld(t *testing.T) {
	for _, b := range badDropsHeld() {
		t.Run(b.name, func(t *testing.T) {
			if got := b.walk(t); strings.Contains(got, "holds ") {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

func badDropsHeld() []badDropped {
	return []badDropped{
		{name: "110_hard_link", arrange: func(drop string) error {
			outside := filepath.Join(drop, "..", "orders.csv")
			return errors.Join(os.WriteFile(outside, []byte(badHead+badRow), 0o600), os.Link(outside, filepath.Join(drop, "orders.csv")))
		}},
	}
}
