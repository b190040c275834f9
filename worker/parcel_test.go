package worker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
	"calltally/worker"
)

// manyRows is a table of 400 rows, one of them rejected.
func manyRows() string {
	var lines []string
	for i := range 399 {
		lines = append(lines, line(0, fmt.Sprint("R", i), "", "1.00"))
	}
	return table(append(lines, line(0, "", "", "oops"))...)
}

func unzipped(t *testing.T, content []byte) string {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestLargeFilesArePackedOrLeft(t *testing.T) {
	const all = 1 << 30
	for _, test := range []struct {
		name   string
		limits worker.MailLimits
		most   int64 // what the relay takes; 0 = all
		names  []string
		left   []string
	}{
		{"small files", worker.MailLimits{}, 0, []string{"orders.results.csv", "orders.fix.csv"}, nil},
		{"a large results file", worker.MailLimits{Gzip: 10_000, Most: all}, 0, []string{"orders.results.csv.gz", "orders.fix.csv"}, nil},
		{"both large", worker.MailLimits{Gzip: 1, Most: all}, 0, []string{"orders.results.csv.gz", "orders.fix.csv.gz"}, nil},
		{"a results file too large", worker.MailLimits{Gzip: all, Most: 10_000}, 0, []string{"orders.fix.csv"}, []string{"orders-upload-1.results.csv.gz"}},
		{"a results file too large even if packed", worker.MailLimits{Gzip: 1000, Most: 1000}, 0, []string{"orders.fix.csv"}, []string{"orders-upload-1.results.csv.gz"}},
		{"both too large", worker.MailLimits{Gzip: 1, Most: 1}, 0, nil, []string{"orders-upload-1.fix.csv.gz", "orders-upload-1.results.csv.gz"}},
		{"more than the relay takes", worker.MailLimits{Gzip: 10_000, Most: all}, 2000, nil, []string{"orders-upload-1.fix.csv.gz", "orders-upload-1.results.csv.gz"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) {
				mailAccount(a)
				a.Duplicates.Key = []conversion.KeyPart{conversion.KeyCall, conversion.KeyReferenceID}
			})
			b.know(0, 1)
			b.Mail, b.ResultsFolder = test.limits, filepath.Join(t.TempDir(), "left")
			b.Replier = narrow{b.post, test.most}
			upload := b.mail(manyRows(), func(*ingest.Delivery) {})
			if len(b.post.letters) != 1 {
				t.Fatalf("%d letters", len(b.post.letters))
			}
			letter := b.post.letters[0]
			told, err := b.Told(t.Context(), upload, 1)
			if err != nil {
				t.Fatal(err)
			}
			wanted := map[string]string{}
			for _, file := range told.Files {
				wanted[file.Name] = written(t, file)
			}
			var names []string
			for i, file := range letter.Attachments {
				names = append(names, file.Name)
				content := letter.files[i]
				if name, zipped := strings.CutSuffix(file.Name, ".gz"); zipped {
					if unzipped(t, []byte(content)) != wanted[name] {
						t.Errorf("%s holds something else", file.Name)
					}
				} else if content != wanted[file.Name] {
					t.Errorf("%s holds something else", file.Name)
				}
				if !strings.Contains(letter.Text, "\n  "+file.Name+"\n") || !strings.Contains(letter.HTML, "<strong>"+file.Name+"</strong>") {
					t.Errorf("the report doesn't name %s", file.Name)
				}
			}
			if !slices.Equal(names, test.names) {
				t.Errorf("%v are attached, want %v", names, test.names)
			}
			var left []string
			entries, _ := os.ReadDir(b.ResultsFolder)
			for _, entry := range entries {
				left = append(left, entry.Name())
				content, err := os.ReadFile(filepath.Join(b.ResultsFolder, entry.Name()))
				if err != nil {
					t.Fatal(err)
				}
				name := strings.Replace(strings.TrimSuffix(entry.Name(), ".gz"), "-upload-1", "", 1)
				if unzipped(t, content) != wanted[name] {
					t.Errorf("%s holds something else", entry.Name())
				}
				said := strings.Join(strings.Fields(letter.Text), " ")
				if where := fmt.Sprintf("Too large to attach: %s (%s). It is kept as left/%s.", name, conversion.SizeName(int64(len(wanted[name]))), entry.Name()); !strings.Contains(said, where) || !strings.Contains(letter.HTML, "left/"+entry.Name()) {
					t.Errorf("the report doesn't say %q:\n%s", where, letter.Text)
				}
			}
			if !slices.Equal(left, test.left) {
				t.Errorf("%v are left, want %v", left, test.left)
			}
		})
	}
}

// Files of a source with a shelf of its own are on it.
func TestLargeFilesAreOnTheShelf(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.Mail, b.ResultsFolder = worker.MailLimits{Gzip: 1, Most: 1}, t.TempDir()
	b.put("orders.csv", table(line(0, "", "", "1.00")))
	b.work()
	if len(b.post.letters) != 1 || len(b.post.letters[0].Attachments) != 0 {
		t.Fatalf("letters %+v", b.post.letters)
	}
	if want := "It is kept as results/orders.results.csv."; !strings.Contains(strings.Join(strings.Fields(b.post.letters[0].Text), " "), want) {
		t.Errorf("the report doesn't say %q:\n%s", want, b.post.letters[0].Text)
	}
	b.wantFiles([]string{"orders.results.csv"}, "results")
	if entries, _ := os.ReadDir(b.ResultsFolder); len(entries) != 0 {
		t.Errorf("%v are left", entries)
	}
}

// What can't be packed is a failure of the report, tried again later.
func TestWhereNothingCanBeLeft(t *testing.T) {
	b := newBench(t, mailAccount)
	b.know(0, 1)
	b.Mail, b.ResultsFolder = worker.MailLimits{Gzip: 1}, filepath.Join(b.file, "in a file")
	upload, err := b.Accept(t.Context(), mailed(manyRows(), func(*ingest.Delivery) {}))
	if err == nil {
		err = b.DecideAll(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ReplyAll(t.Context()); err == nil || !strings.Contains(err.Error(), "pack orders.results.csv") {
		t.Errorf("error %v", err)
	}
	b.clock.advance(2 * 60 * 1e9)
	if due := b.dueReports(); !slices.Equal(due, []string{fmt.Sprint(upload.ID, ".1")}) {
		t.Errorf("reports %v are due", due)
	}
}

func written(t *testing.T, file report.Attachment) string {
	t.Helper()
	var content strings.Builder
	if err := file.Write(&content); err != nil {
		t.Fatal(err)
	}
	return content.String()
}

// narrow is a relay that takes mails of so many bytes.
type narrow struct {
	worker.Replier
	most int64
}

func (n narrow) Send(ctx context.Context, l *report.Letter) ([]report.Posted, error) {
	files := *l
	files.Text, files.HTML = "", ""
	if n.most > 0 && files.Size() > n.most {
		return nil, report.ErrTooLarge
	}
	return n.Replier.Send(ctx, l)
}
