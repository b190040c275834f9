package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

var update = flag.Bool("update", false, "write what the program says now into samples/*/expected")

// samplesNow is when every sample's files come: their dates lie before it.
var samplesNow = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// TestSamples runs every case in samples/: its files come one after another, in
// the order of their names, and what is told of each must be as in expected/.
func TestSamples(t *testing.T) {
	cases, err := filepath.Glob("../../samples/*/calltally.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no samples found: %v", err)
	}
	for _, file := range cases {
		folder := filepath.Dir(file)
		t.Run(filepath.Base(folder), func(t *testing.T) { runSample(t, folder) })
	}
}

func runSample(t *testing.T, folder string) {
	store := filepath.Join(t.TempDir(), "calltally.db")
	app := openSample(t, filepath.Join(folder, "calltally.yaml"), store)
	files, err := filepath.Glob(filepath.Join(folder, "[0-9]*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the case has no files: %v", err)
	}
	produced := map[string][]byte{}
	for _, file := range files {
		if filepath.Ext(file) == ".yaml" { // the configuration from then on
			app = openSample(t, file, store)
			continue
		}
		deliverSample(t, app, file)
		keepTold(t, app, produced)
	}
	var conversions bytes.Buffer
	l := (&globals{stdout: &conversions, JSON: true}).list(app, listFlags{}, "")
	err = app.store.ListConversions(t.Context(), "", 0, func(c *conversion.Conversion, account, callID string) error {
		return l.add(conversionOf(c, account, callID))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	produced["conversions.json"] = conversions.Bytes()
	verified, err := app.store.Verify(t.Context())
	if err != nil || verified.Mismatches > 0 {
		t.Errorf("the ledger doesn't add up: %+v, %v", verified, err)
	}
	compare(t, filepath.Join(folder, "expected"), produced)
}

// openSample puts the program together for a case, with a store of its own and
// the samples' clock.
func openSample(t *testing.T, config, store string) *app {
	t.Helper()
	c, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c.Store = store
	app, err := assemble(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.close() })
	app.worker.Now = func() time.Time { return samplesNow }
	return app
}

// deliverSample has a file come, as it would into a watched folder.
func deliverSample(t *testing.T, app *app, file string) {
	t.Helper()
	name := filepath.Base(file)
	takes := conversion.TakesConversions
	if strings.Contains(name, "calls") {
		takes = conversion.TakesCalls
	}
	account := app.worker.Accounts[0].ID
	for _, a := range app.worker.Accounts {
		if strings.Contains(name, "account-"+a.ID) {
			account = a.ID
		}
	}
	delivery := commandLineDelivery(file, account, takes, "", false)
	delivery.Source = "samples"
	err := app.worker.Members(t.Context(), delivery, func(d *ingest.Delivery) error {
		upload, err := app.worker.Accept(t.Context(), d)
		if err == nil && upload.State != conversion.Refused {
			err = app.worker.Decide(t.Context(), upload)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// keepTold keeps the reports that are due by now: the one of the file that came,
// and what is told again of earlier files whose rows wait no longer. A call log
// has a report if any of its entries was rejected.
func keepTold(t *testing.T, app *app, produced map[string][]byte) {
	t.Helper()
	now := conversion.MillisOf(samplesNow)
	err := app.store.ReportsDue(t.Context(), now, func(due conversion.ReportDue) error {
		upload, err := app.store.Upload(t.Context(), due.Upload)
		if err != nil {
			return err
		}
		told, err := app.worker.Told(t.Context(), upload, due.Revision)
		if err != nil {
			return err
		}
		var again string
		if due.Revision > 1 {
			again = fmt.Sprintf(".report-%d", due.Revision)
		}
		var decided bytes.Buffer
		if err := printDecided(t.Context(), &decided, app.worker, told); err != nil {
			return err
		}
		name := strings.TrimSuffix(upload.Name, filepath.Ext(upload.Name)) + again
		produced[name+".json"] = decided.Bytes()
		var text, html bytes.Buffer
		if err := errors.Join(report.Text(&text, told.Report), report.HTML(&html, told.Report)); err != nil {
			return err
		}
		produced[name+".txt"], produced[name+".html"] = text.Bytes(), html.Bytes()
		for _, file := range told.Files {
			var b bytes.Buffer
			if err := file.Write(&b); err != nil {
				return err
			}
			stem := report.Stem(upload.Name)
			produced[stem+again+strings.TrimPrefix(file.Name, stem)] = b.Bytes()
		}
		return app.store.MarkReplied(t.Context(), due.Upload, due.Revision, now)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// compare compares what a case produced with its expected folder, or writes it
// there.
func compare(t *testing.T, folder string, produced map[string][]byte) {
	t.Helper()
	if *update {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, content := range produced {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	expected, err := os.ReadDir(folder)
	if err != nil {
		t.Fatalf("no expected results; look at what the program says and run with -update: %v", err)
	}
	for _, e := range expected {
		if _, ok := produced[e.Name()]; !ok {
			t.Errorf("%s was expected and is missing", e.Name())
		}
	}
	for name, got := range produced {
		want, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Errorf("%s is new: %v", name, err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s differs.\n--- want\n%s\n--- got\n%s", name, want, got)
		}
	}
}
