package ingest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
)

// members are what becomes of a delivery with these bytes.
func members(t *testing.T, content string, limit int64, each func(*ingest.Delivery) error) (acks []ingest.Disposition) {
	t.Helper()
	d := &ingest.Delivery{Origin: "mail 1 part 1", Name: "orders.zip", Open: opener(content), AtHand: true, Known: true, Bundle: "mail 1", Closes: true}
	d.Ack = func(_ context.Context, as ingest.Disposition) error {
		acks = append(acks, as)
		return nil
	}
	limits := ingest.DefaultLimits
	limits.Bytes = limit
	if err := ingest.Members(t.Context(), d, limits, each); err != nil {
		t.Fatal(err)
	}
	return acks
}

// The files of an archive are deliveries of their own, by name; what packing programs add
// is none. The archive is acknowledged once, when all of them are.
func TestMembersOfAnArchive(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	large := strings.Repeat("0123456789abcdef\n", 10_000)
	content := zipOf(t, "south/b.csv", large, "a.csv", "a,b\n", "__MACOSX/._a.csv", "x", ".DS_Store", "x", "north/", "", "c.csv.gz", zipped(t, "a,b\n1,2\n"))
	var got []string
	acks := members(t, content, 1<<20, func(d *ingest.Delivery) error {
		bytes, err := contentOf(d)
		if err != nil {
			t.Error(err)
		}
		if d.AtHand || d.Known || d.Refusal != nil || d.Bundle != "mail 1" || d.Closes != (d.Name == "b.csv") {
			t.Errorf("%s is %+v", d.Name, d)
		}
		got = append(got, fmt.Sprintf("%s: %s, %d bytes", d.Origin, d.Name, len(bytes)))
		as := ingest.Refused
		if d.Name == "b.csv" {
			as = ingest.Accepted
		}
		return d.Ack(t.Context(), as)
	})
	want := "mail 1 part 1 member 1: a.csv, 4 bytes|mail 1 part 1 member 2: c.csv.gz, 32 bytes|mail 1 part 1 member 3: b.csv, 170000 bytes"
	if strings.Join(got, "|") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, "|"), want)
	}
	if len(acks) != 1 || acks[0] != ingest.Accepted {
		t.Errorf("acknowledged %v", acks)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "calltally-file-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// An archive with a file that nobody acknowledged comes again.
func TestAnArchiveIsAcknowledgedWhole(t *testing.T) {
	acks := members(t, zipOf(t, "a.csv", "a", "b.csv", "b"), 1<<20, func(d *ingest.Delivery) error {
		if d.Name == "a.csv" {
			return d.Ack(t.Context(), ingest.Accepted)
		}
		return nil
	})
	if len(acks) > 0 {
		t.Errorf("acknowledged %v", acks)
	}
	acks = members(t, zipOf(t, "a.csv", "a", "b.csv", "b"), 1<<20, func(d *ingest.Delivery) error { return d.Ack(t.Context(), ingest.Refused) })
	if len(acks) != 1 || acks[0] != ingest.Refused {
		t.Errorf("acknowledged %v", acks)
	}
}

// Anything else is handed on as it is.
func TestWhatIsNoArchive(t *testing.T) {
	for name, content := range map[string]string{"a CSV file": "a,b\n", "a workbook": workbook(t, orders), "an OpenDocument file": zipOf(t, "mimetype", "x", "content.xml", "<a/>"), "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			n := 0
			members(t, content, 1<<20, func(d *ingest.Delivery) error {
				if n++; d.Name != "orders.zip" || d.Refusal != nil || !d.AtHand {
					t.Errorf("handed on as %+v", d)
				}
				return nil
			})
			if n != 1 {
				t.Errorf("%d deliveries", n)
			}
		})
	}
	failure := errors.New("disk")
	err := ingest.Members(t.Context(), &ingest.Delivery{Open: opener("a")}, ingest.DefaultLimits, func(*ingest.Delivery) error { return failure })
	if !errors.Is(err, failure) {
		t.Error(err)
	}
}

func TestArchivesThatAreRefused(t *testing.T) {
	many := make([]string, 0, 402)
	for i := range 201 {
		many = append(many, fmt.Sprintf("%d.csv", i), "a")
	}
	for _, c := range []struct{ name, content, want string }{
		{"damaged", zipOf(t, "a.csv", "a,b\n")[:30], "not_a_table: The ZIP archive is damaged or was cut short. Pack the files again, or send them as they are."},
		{"a way out", zipOf(t, "../../etc/cron.d/x", "a"), "archive_unsafe: The archive holds “../../etc/cron.d/x”, which is no plain file below it. Pack the files anew, without links and without paths."},
		{"a way out with backslashes", zipOf(t, `..\x.csv`, "a"), `archive_unsafe: The archive holds “..\x.csv”, which is no plain file below it. Pack the files anew, without links and without paths.`},
		{"a link", linkedZip(t), "archive_unsafe: The archive holds “link.csv”, which is no plain file below it. Pack the files anew, without links and without paths."},
		{"a password", lockedZip(t), "encrypted: The archive needs a password. Pack the files without one."},
		{"a bomb", zipOf(t, "a.csv", strings.Repeat("a", 2<<20)), "archive_unsafe: The archive unpacks to more than 1 MiB, or to more than 200 times what it holds. Send its files one by one, unpacked."},
		{"sizes that add up to nothing", claiming(t, zipOf(t, "a.csv", "a,b\n", "z.csv", "x"), "z.csv"), "archive_unsafe: The archive unpacks to more than 1 MiB, or to more than 200 times what it holds. Send its files one by one, unpacked."},
		{"sizes that add up to nothing, within reason", claimingPacked(t, zipOf(t, "a.csv", strings.Repeat("a,b\n", 10), "z.csv", "x"), "z.csv", "\x00\x00\x00\x00\x00\x00\x00\x10"), "archive_unsafe: The archive unpacks to more than 1 MiB, or to more than 200 times what it holds. Send its files one by one, unpacked."},
		{"nothing inside", zipOf(t, "__MACOSX/._a", "x", "a/", ""), "empty: The archive holds no file. Pack the CSV into it, or send it as it is."},
		{"too many files", zipOf(t, many...), "archive_unsafe: The archive holds 201 files; at most 200 are read. Pack them into several archives."},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			members(t, c.content, 1<<20, func(d *ingest.Delivery) error {
				if n++; d.Refusal == nil || d.Refusal.Error() != c.want {
					t.Errorf("got %v\nwant %s", d.Refusal, c.want)
				}
				return nil
			})
			if n != 1 {
				t.Errorf("%d deliveries", n)
			}
		})
	}
}

// What unpacks to no more than is read may still be far more than what is packed.
func TestArchivesThatExpand(t *testing.T) {
	content := zipOf(t, "a.csv", strings.Repeat("a", 33<<20))
	members(t, content, 1<<30, func(d *ingest.Delivery) error {
		if d.Refusal == nil || d.Refusal.Code != conversion.ArchiveUnsafe {
			t.Errorf("%d bytes: %v", len(content), d.Refusal)
		}
		return nil
	})
}

// The list of what an archive holds is bounded before it is read: one of a few megabytes would
// cost a hundred times as much memory.
func TestAnArchiveOfManyFiles(t *testing.T) {
	var packed strings.Builder
	w := zip.NewWriter(&packed)
	for n := range 100_000 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	members(t, packed.String(), 1<<30, func(d *ingest.Delivery) error {
		if want := "archive_unsafe: The archive lists too many files; at most 200 are read. Pack them into several archives."; d.Refusal == nil || d.Refusal.Error() != want {
			t.Errorf("got %v, want %s", d.Refusal, want)
		}
		return nil
	})
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 12 {
		t.Errorf("%d MiB of memory for an archive of %d MiB", got, len(packed.String())>>20)
	}
}

func linkedZip(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	header := &zip.FileHeader{Name: "link.csv"}
	header.SetMode(os.ModeSymlink | 0o777)
	if _, err := w.CreateHeader(header); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func lockedZip(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.CreateHeader(&zip.FileHeader{Name: "a.csv", Flags: 1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A damaged file is refused, and costs the others nothing.
func TestADamagedMember(t *testing.T) {
	content := []byte(zipOf(t, "a.csv", strings.Repeat("a,b\n", 100), "b.csv", "a,b\n"))
	content[45] ^= 0xff // in the first file's bytes
	got := map[string]string{}
	acks := members(t, string(content), 1<<20, func(d *ingest.Delivery) error {
		_, err := contentOf(d)
		got[d.Name] = fmt.Sprint(d.Refusal != nil, err)
		return d.Ack(t.Context(), ingest.Accepted)
	})
	if got["a.csv"] != "true <nil>" || got["b.csv"] != "false <nil>" || len(acks) != 1 {
		t.Errorf("got %v, acknowledged %v", got, acks)
	}
}
