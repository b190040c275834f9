package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// smallFiles is how many files wait in the folder; each has 50 rows.
const smallFiles, smallRows = 300, 50

// BenchmarkSmallFiles has “once” take 300 files of 50 rows from a folder, against 100,000
// calls, up to the results files on disk. It reports files a second.
func BenchmarkSmallFiles(b *testing.B) {
	dir := b.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "drop"), 0o777); err != nil {
		b.Fatal(err)
	}
	config := filepath.Join(dir, "calltally.yaml")
	write("calltally.yaml", fmt.Sprintf("store: %s/calltally.db\ntime_zone: UTC\naccounts:\n  - {id: bench, region: US, currency: USD, locale: en-US, dialect: invoca, match: {lookback: 0s}, wait_for_calls: 0s}\n"+
		"sources:\n  - {name: drop, kind: folder, path: %s/drop, account: bench, settle: 1ms}\n", dir, dir))
	var calls strings.Builder
	calls.WriteString("call_id,start_time,duration_in_seconds,calling_phone_number,called_phone_number\n")
	for i := range 100_000 {
		fmt.Fprintf(&calls, "C%d,%d,60,+1212%07d,+18005550100\n", i, smallStart(i), 5_000_000+i)
	}
	write("calls.csv", calls.String())
	calltally := func(args ...string) {
		if code := run(context.Background(), append(args, "-c", config), strings.NewReader(""), io.Discard, io.Discard); code != exitDone {
			b.Fatalf("%v ended with %d", args, code)
		}
	}
	calltally("calls", "import", filepath.Join(dir, "calls.csv"))
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		for f := range smallFiles {
			var rows strings.Builder
			rows.WriteString("start_time_t,calling_phone_number,reference_id,sale_amount\n")
			for r := range smallRows {
				i := (n*smallFiles*smallRows + f*smallRows + r) * 7919 % 100_000
				fmt.Fprintf(&rows, "%d,+1212%07d,R%d-%d-%d,%d.50\n", smallStart(i), 5_000_000+i, n, f, r, r)
			}
			write(fmt.Sprintf("drop/sales-%d-%d.csv", n, f), rows.String())
		}
		b.StartTimer()
		calltally("once")
	}
	b.StopTimer()
	reports, err := filepath.Glob(filepath.Join(dir, "drop", "results", "*.results.csv"))
	if err != nil || len(reports) != b.N*smallFiles {
		b.Fatalf("%d reports of %d files (%v)", len(reports), b.N*smallFiles, err)
	}
	b.ReportMetric(float64(b.N*smallFiles)/b.Elapsed().Seconds(), "files/s")
}

func smallStart(i int) int { return 1749180897 + i*60 }

// BenchmarkBareRows is what BenchmarkSmallFiles is measured against: 50 rows inserted one
// by one and committed, as durably, by database/sql alone.
func BenchmarkBareRows(b *testing.B) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE conversion (id INTEGER PRIMARY KEY, call INTEGER NOT NULL, reference TEXT NOT NULL, sale INTEGER, currency TEXT NOT NULL, UNIQUE (call, reference))"); err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		for r := range smallRows {
			if _, err := tx.Exec("INSERT INTO conversion (call, reference, sale, currency) VALUES (?, ?, ?, 'USD')", r*7919%100_000, fmt.Sprintf("R%d-%d", n, r), r*100); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
