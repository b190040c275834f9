//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"calltally/ingest"
	"calltally/ingest/folder"
	"calltally/store"
	"calltally/worker"
)

// What was said to be done is there, whole, after a power cut in the next moment.
func TestAPowerCutRightAfter(t *testing.T) {
	for _, test := range []struct {
		name, file string
		do         func(t *testing.T, path string) error
	}{
		{"a report", "results/orders.results.csv", func(t *testing.T, path string) error {
			drop := &ingest.Drop{Label: "drop", Place: folder.Folder(filepath.Dir(filepath.Dir(path))), Now: time.Now}
			return drop.PutReport(t.Context(), filepath.Base(path), func(to io.Writer) error {
				_, err := io.WriteString(to, "a,b\n")
				return err
			})
		}},
		{"a backup", "monday.db", func(t *testing.T, path string) error {
			_, err := newStore(t).Backup(t.Context(), path)
			return err
		}},
		{"a restored store", "calltally.db", func(t *testing.T, path string) error {
			backup := filepath.Join(t.TempDir(), "monday.db")
			if _, err := newStore(t).Backup(t.Context(), backup); err != nil {
				return err
			}
			_, err := store.Restore(t.Context(), backup, path, "1")
			return err
		}},
		{"a packed report", "left/orders-upload-1.results.csv.gz", func(t *testing.T, path string) error {
			relay := newRelayScript(t)
			app := startApp(t, configOf(t, fmt.Sprintf(mailedAccounts, "report_to: [ops@acme.example], ", newIMAPScript(t, imap.CapMove).source(demoPassword)+`replies: {smtp: "smtp://`+relay.address+`?tls=off", from: "Uploads <uploads@calltally.example>"}`)))
			importTestCalls(t, app, 1)
			app.worker.Mail, app.worker.ResultsFolder = worker.MailLimits{Gzip: 1, Most: 1}, filepath.Dir(path)
			return app.worker.RunOnce(t.Context())
		}},
		{"tokens", "rig.tokens", func(_ *testing.T, path string) error {
			g := &grant{name: "rig", file: path, now: time.Now}
			g.held.RefreshToken = "so far"
			return g.write()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDisk(t)
			path := filepath.Join(d.dir, test.file)
			err := test.do(t, path)
			want, failure := os.ReadFile(path)
			d.cut()
			if err = errors.Join(err, failure); err != nil {
				t.Fatal(err)
			}
			d.replug()
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("after the power cut there are %d bytes of %d, %v", len(got), len(want), err)
			}
		})
	}
}

// newStore is a store on a disk whose power isn't cut.
func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "calltally.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.EnsureAccounts(t.Context(), []string{"23"}); err != nil {
		t.Fatal(err)
	}
	return s
}
