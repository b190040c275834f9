package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"calltally/conversion"
	"calltally/worker"
)

// list prints things either as a table or as a JSON array of flat objects, as
// they come.
type list struct {
	out   io.Writer
	json  bool
	table *tabwriter.Writer
	limit int // things at most; 0 for all
	rows  int
	none  string // printed in place of an empty table
	left  int    // the column that is left out; -1 for none
}

// listFlags are what every list takes.
type listFlags struct {
	Account string `help:"Only this account's." placeholder:"ID"`
	Limit   int    `default:"-1" help:"How many at most; 0 for all. If not given, 50 in a table and all as JSON." placeholder:"N"`
}

const tableRows = 50

// list begins a list. A table of one account has no column that names it.
func (g *globals) list(app *app, flags listFlags, none string, header ...string) *list {
	l := &list{out: g.stdout, json: g.JSON, limit: flags.Limit, none: none, left: -1}
	if l.limit < 0 {
		l.limit = tableRows
		if l.json {
			l.limit = 0
		}
	}
	if l.json {
		fmt.Fprint(l.out, "[")
		return l
	}
	if flags.Account != "" || len(app.worker.Accounts) == 1 {
		l.left = slices.Index(header, "account")
	}
	l.table = tabwriter.NewWriter(g.stdout, 0, 0, 2, ' ', 0)
	l.line(header)
	return l
}

// line prints a line of the table, its first one in capitals.
func (l *list) line(cells []string) {
	line := strings.Join(slices.Concat(cells[:max(l.left, 0)], cells[l.left+1:]), "\t")
	if l.rows == 0 {
		line = strings.ToUpper(line)
	}
	fmt.Fprintln(l.table, line)
}

// add prints one thing: object in JSON, cells in a table.
func (l *list) add(object any, cells ...any) error {
	l.rows++
	if !l.json {
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = fmt.Sprint(cell)
		}
		l.line(texts)
		return nil
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
	err := l.table.Flush()
	if err == nil && l.rows == l.limit {
		_, err = fmt.Fprintf(l.out, "These are the newest %d; --limit 0 lists all.\n", l.limit)
	}
	return err
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
	b := &bar{out: g.stderr}
	if file, ok := g.stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		w.Progress = b.draw
	}
	return b
}

func (b *bar) draw(_ *conversion.Upload, pace worker.Pace) {
	now := time.Now()
	if pace.Rows < barWorthwhile || now.Sub(b.drawn) < barPause {
		return
	}
	b.drawn, b.shown = now, true
	full := barWidth * pace.Done / pace.Rows
	fmt.Fprintf(b.out, "\r%s%s %3d%%  %d of %d rows  %.0f/s  %s left  ",
		strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*pace.Done/pace.Rows, pace.Done, pace.Rows, pace.PerSecond, pace.Left.Round(time.Second))
}

// finish takes the bar away, if it is there.
func (b *bar) finish() {
	if b.shown {
		b.shown = false
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", 79))
	}
}
