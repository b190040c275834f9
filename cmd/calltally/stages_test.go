package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// Files that wait in a folder at a time, rows of each, and calls that they are about. No
// call is meant twice in five turns.
const smallFiles, smallRows, smallCalls = 1000, 50, 300_000

// smallBench is a store of calls, and a folder.
type smallBench struct {
	*testing.B
	dir, config string
	files       int
}

func newSmallBench(b *testing.B) *smallBench {
	dir := b.TempDir()
	s := &smallBench{B: b, dir: dir, config: filepath.Join(dir, "calltally.yaml")}
	if err := os.Mkdir(filepath.Join(dir, "drop"), 0o777); err != nil {
		b.Fatal(err)
	}
	s.write("calltally.yaml", fmt.Sprintf("store: %s/calltally.db\ntime_zone: UTC\naccounts:\n  - {id: bench, region: US, currency: USD, locale: en-US, dialect: invoca, match: {lookback: 0s}, wait_for_calls: 0s}\n"+
		"sources:\n  - {name: drop, kind: folder, path: %s/drop, account: bench, settle: 1ms}\n", dir, dir))
	var calls strings.Builder
	calls.WriteString("call_id,start_time,duration_in_seconds,calling_phone_number,called_phone_number\n")
	for i := range smallCalls {
		fmt.Fprintf(&calls, "C%d,%d,60,+1212%07d,+18005550100\n", i, smallStart(i), 5_000_000+i)
	}
	s.write("calls.csv", calls.String())
	s.run("calls", "import", filepath.Join(dir, "calls.csv"))
	return s
}

func (s *smallBench) write(name, content string) {
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o666); err != nil {
		s.Fatal(err)
	}
}

func (s *smallBench) run(args ...string) {
	if code := run(context.Background(), append(args, "-c", s.config), strings.NewReader(""), io.Discard, io.Discard); code != exitDone {
		s.Fatalf("%v ended with %d", args, code)
	}
}

// drop drops a file about calls that no file was about.
func (s *smallBench) drop() {
	var rows strings.Builder
	rows.WriteString("start_time_t,calling_phone_number,reference_id,sale_amount\n")
	for r := range smallRows {
		n := s.files*smallRows + r
		i := n * 7919 % smallCalls
		fmt.Fprintf(&rows, "%d,+1212%07d,R%d,%d.50\n", smallStart(i), 5_000_000+i, n, r)
	}
	s.write(fmt.Sprintf("drop/sales-%d.csv", s.files), rows.String())
	s.files++
}

func (s *smallBench) wantReports() {
	reports, err := filepath.Glob(filepath.Join(s.dir, "drop", "results", "*.results.csv"))
	if err != nil || len(reports) != s.files {
		s.Fatalf("%d reports of %d files (%v)", len(reports), s.files, err)
	}
}

func smallStart(i int) int { return 1749180897 + i*20 }

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// BenchmarkSmallFiles has “once” take 1,000 files of 50 rows from a folder, up to the
// results files on disk. It reports files a second, in the median turn.
func BenchmarkSmallFiles(b *testing.B) {
	s := newSmallBench(b)
	var turns []time.Duration
	for b.Loop() {
		b.StopTimer()
		for range smallFiles {
			s.drop()
		}
		b.StartTimer()
		began := time.Now()
		s.run("once")
		turns = append(turns, time.Since(began))
	}
	b.StopTimer()
	s.wantReports()
	b.ReportMetric(smallFiles/middle(turns).Seconds(), "files/s")
}

// BenchmarkOneFile takes one file of 50 rows after another from a folder: claimed, decided,
// committed, its results file on disk. It reports the median time.
func BenchmarkOneFile(b *testing.B) {
	const files = 100
	s := newSmallBench(b)
	g := &globals{ctx: b.Context(), Config: s.config, log: slog.New(slog.DiscardHandler)}
	app, err := g.open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer app.close()
	var times []time.Duration
	for b.Loop() {
		for range files {
			b.StopTimer()
			s.drop()
			for range app.worker.Plans[0].Source.Deliveries(b.Context()) { // it is seen
			}
			time.Sleep(2 * time.Millisecond)
			b.StartTimer()
			began := time.Now()
			for delivery, err := range app.worker.Plans[0].Source.Deliveries(b.Context()) {
				if err == nil {
					_, err = app.worker.Accept(b.Context(), delivery)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if err := app.worker.DecideAll(b.Context()); err != nil {
				b.Fatal(err)
			}
			if err := app.worker.ReplyAll(b.Context()); err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Since(began))
		}
	}
	b.StopTimer()
	s.wantReports()
	b.ReportMetric(middle(times).Seconds()*1000, "ms/file")
}

// BenchmarkBareRows is what the others are measured against: 50 rows inserted one by one
// and committed, as durably, by database/sql alone.
func BenchmarkBareRows(b *testing.B) {
	const commits = 200
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE conversion (id INTEGER PRIMARY KEY, call INTEGER NOT NULL, reference TEXT NOT NULL, sale INTEGER, currency TEXT NOT NULL, UNIQUE (call, reference))"); err != nil {
		b.Fatal(err)
	}
	var times []time.Duration
	for b.Loop() {
		for range commits {
			began := time.Now()
			tx, err := db.Begin()
			if err != nil {
				b.Fatal(err)
			}
			for r := range smallRows {
				if _, err := tx.Exec("INSERT INTO conversion (call, reference, sale, currency) VALUES (?, ?, ?, 'USD')", r*7919%smallCalls, fmt.Sprintf("R%d-%d", len(times), r), r*100); err != nil {
					b.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Since(began))
		}
	}
	b.ReportMetric(middle(times).Seconds()*1000, "ms/file")
	b.ReportMetric(1/middle(times).Seconds(), "files/s")
}
