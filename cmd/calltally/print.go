package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"calltally/conversion"
	"calltally/report"
	"calltally/worker"
)

// errRefused says that a file was not taken. It has been told already.
var errRefused = errors.New("the file was not taken")

func printReport(out io.Writer, r *report.Report) error { return report.Text(out, r) }

// list prints things either as a table or as a JSON array of flat objects, as
// they come.
type list struct {
	out   io.Writer
	json  bool
	table *tabwriter.Writer
	rows  int
	none  string // printed in place of an empty table
}

func (g *globals) list(none string, header ...string) *list {
	l := &list{out: g.stdout, json: g.JSON, none: none}
	if l.json {
		fmt.Fprint(l.out, "[")
		return l
	}
	l.table = tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	l.header(header)
	return l
}

func (l *list) header(names []string) {
	fmt.Fprintln(l.table, strings.ToUpper(strings.Join(names, "\t")))
}

// add prints one thing: object in JSON, cells in a table.
func (l *list) add(object any, cells ...any) error {
	l.rows++
	if !l.json {
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = fmt.Sprint(cell)
		}
		_, err := fmt.Fprintln(l.table, strings.Join(texts, "\t"))
		return err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	if l.rows > 1 {
		fmt.Fprint(l.out, ",\n")
	}
	_, err = l.out.Write(text)
	return err
}

func (l *list) end() error {
	if l.json {
		_, err := fmt.Fprintln(l.out, "]")
		return err
	}
	if l.rows == 0 {
		_, err := fmt.Fprintln(l.out, l.none)
		return err
	}
	return l.table.Flush()
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// shortTime shows a moment for tables: in UTC, to the second.
func shortTime(at conversion.Millis) string {
	if at == 0 {
		return "-"
	}
	return at.Time().Format("2006-01-02 15:04:05")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// bar is a progress bar for long files at a terminal.
type bar struct {
	out   io.Writer
	began time.Time
	drawn time.Time
	shown bool
}

const (
	barWorthwhile = 20_000 // rows: shorter files are done before a bar is read
	barPause      = 100 * time.Millisecond
	barWidth      = 20
)

// progress shows a bar while a worker works, if standard error is a terminal.
func (g *globals) progress(w *worker.Worker) *bar {
	b := &bar{out: g.stderr, began: time.Now()}
	if file, ok := g.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		w.Progress = b.draw
	}
	return b
}

func (b *bar) draw(_ *conversion.Upload, done, rows int) {
	now := time.Now()
	if rows < barWorthwhile || now.Sub(b.drawn) < barPause {
		return
	}
	b.drawn, b.shown = now, true
	rate := float64(done) / max(now.Sub(b.began).Seconds(), 0.001)
	left := time.Duration(float64(rows-done)/max(rate, 1)) * time.Second
	full := barWidth * done / rows
	fmt.Fprintf(b.out, "\r%s%s %3d%%  %d of %d rows  %.0f/s  %s left  ",
		strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*done/rows, done, rows, rate, left.Round(time.Second))
}

// finish takes the bar away.
func (b *bar) finish() {
	if b.shown {
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", 79))
	}
}
