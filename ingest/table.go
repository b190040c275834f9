package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"calltally/conversion"
)

// Limits bound what a file may cost.
type Limits struct {
	Bytes   int64
	Rows    int
	Columns int
}

// DefaultLimits are generous: far beyond what people send by hand.
var DefaultLimits = Limits{Bytes: 1 << 30, Rows: 5_000_000, Columns: 200}

const (
	maxRecord = 1 << 20  // bytes of one row, all its cells and line breaks
	maxCell   = 32 << 10 // bytes of one cell that we read
	headSize  = 64 << 10 // bytes in which a header must show itself
)

// Settings are what the account and the source say of a file before it is
// read.
type Settings struct {
	Account *conversion.Account
	Takes   conversion.Takes
	Dialect string // a dialect's name; "" or "auto" to recognise it
	Limits  Limits
}

// Table is a file understood: how it is encoded, where its header stands, what
// its columns mean. Making one reads the whole file once; no row is decided
// before that.
type Table struct {
	Reading conversion.Reading
	Header  []string // as sent
	Dialect *Dialect

	text       *text
	settings   Settings
	comma      rune
	headerLine int // physical line of the header
	fields     []string
	times      conversion.TimeReader
	intactIDs  map[string]bool // id columns whose long numbers still have all digits
}

// Survey reads a file once and says how it is to be read, or why it can't be.
func Survey(ctx context.Context, open Opener, settings Settings) (*Table, *conversion.Refusal, error) {
	t := &Table{settings: settings}
	for _, step := range []func(context.Context) (*conversion.Refusal, error){
		func(context.Context) (*conversion.Refusal, error) {
			text, refusal, err := inspect(open)
			t.text = text
			return refusal, err
		},
		t.findHeader, t.understandHeader, t.surveyRows,
	} {
		if refusal, err := step(ctx); refusal != nil || err != nil {
			return nil, refusal, err
		}
	}
	return t, nil, nil
}

var delimiters = []rune{',', ';', '\t', '|'}

var delimiterNames = map[rune]string{',': ",", ';': ";", '\t': "\t", '|': "|"}

// findHeader reads the lines before the header and the header itself. The
// header decides the delimiter.
func (t *Table) findHeader(context.Context) (*conversion.Refusal, error) {
	r, err := t.text.reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, headSize))
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	t.headerLine, t.times.Zone = 1, t.settings.Account.Zone
	t.Reading.Encoding = t.text.encoding
	var declared rune
	for {
		line, rest, more := bytes.Cut(head, []byte("\n"))
		content := strings.TrimSpace(string(line))
		bare := strings.TrimRight(strings.Trim(content, `"`), `,;|"`+"\t")
		switch {
		case content == "" && more:
		case len(content) == 5 && strings.HasPrefix(strings.ToLower(content), "sep=") && more:
			declared = rune(content[4])
		case strings.HasPrefix(strings.ToLower(bare), "parameters:") && more:
			if refusal := t.readParameters(bare[len("parameters:"):]); refusal != nil {
				return refusal, nil
			}
		default:
			return t.chooseDelimiter(head, declared), nil
		}
		head = rest
		t.headerLine++
	}
}

// readParameters reads Google's preamble: TimeZone=America/New_York;…
func (t *Table) readParameters(text string) *conversion.Refusal {
	for _, parameter := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ',' }) {
		name, value, _ := strings.Cut(parameter, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "TimeZone") {
			continue
		}
		zone, err := conversion.ParseZone(value)
		if err != nil {
			return conversion.Refuse(conversion.TimeZoneMissing, "Line %d names a time zone that we don't know: %v.", t.headerLine, err)
		}
		t.times.Zone = zone
	}
	return nil
}

// chooseDelimiter takes the delimiter under which the header has the most
// columns that we know; of equals, the one with the most columns at all.
func (t *Table) chooseDelimiter(head []byte, declared rune) *conversion.Refusal {
	best, columns := -1, 0
	for _, comma := range delimiters {
		r := csv.NewReader(bytes.NewReader(head))
		r.Comma, r.LazyQuotes = comma, true
		header, err := r.Read()
		if err != nil {
			continue
		}
		known := 0
		for _, name := range header {
			if t.knows(name) {
				known += 2
			}
		}
		if comma == declared {
			known++
		}
		if known > best || known == best && len(header) > columns {
			best, columns = known, len(header)
			t.comma, t.Header = comma, header
		}
	}
	t.Reading.Delimiter = delimiterNames[t.comma]
	switch {
	case best < 2 && columns == 1 && looksLikeProse(head):
		return conversion.Refuse(conversion.NotATable, "The file doesn't look like a table: line %d is one long text without columns. Send a CSV whose first line names the columns.", t.headerLine)
	case best < 2:
		return conversion.Refuse(conversion.HeaderMissing, "Line %d should name the columns, but none of its names is one that we know (%s). Put a header such as start_time, calling_phone_number, sale_amount on the first line.", t.headerLine, quoteList(t.Header))
	case columns > t.settings.Limits.Columns:
		return conversion.Refuse(conversion.TooManyColumns, "The file has %d columns; at most %d are read. Delete the columns that you don't need.", columns, t.settings.Limits.Columns)
	}
	return nil
}

func looksLikeProse(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return bytes.Count(line, []byte(" ")) >= 4
}

// knows reports whether a header names a column of any dialect that the file
// may be in, or one that the account has mapped.
func (t *Table) knows(header string) bool {
	if t.mapped(header) != "" {
		return true
	}
	return slices.ContainsFunc(t.candidates(), func(d *Dialect) bool { return d.column(header) != nil })
}

// mapped is our name for a header that the account has mapped itself.
func (t *Table) mapped(header string) string {
	for theirs, ours := range t.settings.Account.Columns {
		if fold(theirs) == fold(header) {
			return ours
		}
	}
	return ""
}

// candidates are the dialects that the file may be in.
func (t *Table) candidates() []*Dialect {
	for _, name := range []string{t.settings.Dialect, t.settings.Account.Dialect} {
		if d := DialectNamed(name); d != nil && d.Takes == t.settings.Takes {
			return []*Dialect{d}
		}
	}
	var fitting []*Dialect
	for _, d := range Dialects {
		if d.Takes == t.settings.Takes {
			fitting = append(fitting, d)
		}
	}
	return fitting
}

// understandHeader gives each column its meaning.
func (t *Table) understandHeader(context.Context) (*conversion.Refusal, error) {
	var missing *conversion.Refusal
	best := -1
	for _, d := range t.candidates() {
		fields, refusal := t.fieldsIn(d)
		known := 0
		for _, f := range fields {
			if f != "" {
				known++
			}
		}
		if refusal != nil && refusal.Code == conversion.RequiredColumnMissing {
			if missing == nil || known > best && t.Dialect == nil {
				missing = refusal
				best = max(best, known)
			}
			continue
		}
		if refusal != nil {
			return refusal, nil
		}
		if t.Dialect == nil || known > best {
			best, t.Dialect, t.fields = known, d, fields
		}
	}
	if t.Dialect == nil {
		return missing, nil
	}
	if t.isOwnResults() {
		return conversion.Refuse(conversion.NotATable, "This is one of our own results files, so nothing in it is new. To correct rows, change the .fix.csv file and send that."), nil
	}
	t.Reading.Dialect = t.Dialect.Name
	if unknown := t.unknownColumns(); len(unknown) > 0 {
		t.Reading.Notes = append(t.Reading.Notes, fmt.Sprintf("Not read, but kept in the results file: %s.", quoteList(unknown)))
	}
	return nil, nil
}

// fieldsIn returns the meaning of each column under a dialect.
func (t *Table) fieldsIn(d *Dialect) ([]string, *conversion.Refusal) {
	fields := make([]string, len(t.Header))
	seen := map[string]string{} // our name → theirs
	for i, header := range t.Header {
		name := t.mapped(header)
		if name == "" {
			if c := d.column(header); c != nil {
				name = c.Name
			}
		}
		if name == "" {
			if other, ok := seen["?"+fold(header)]; ok && strings.TrimSpace(header) != "" {
				return fields, conversion.Refuse(conversion.HeaderDuplicated, "Line %d has the column %q twice (the other is %q). Rename or delete one.", t.headerLine, header, other)
			}
			seen["?"+fold(header)] = header
			continue
		}
		if other, ok := seen[name]; ok {
			return fields, conversion.Refuse(conversion.HeaderDuplicated, "Line %d has two columns for %s: %q and %q. Rename or delete one.", t.headerLine, name, other, header)
		}
		seen[name], fields[i] = header, name
	}
	for _, group := range d.Required {
		if !slices.ContainsFunc(group, func(name string) bool { return seen[name] != "" }) {
			return fields, conversion.Refuse(conversion.RequiredColumnMissing, "Line %d has no column %s. It has: %s. Add the column, or have the account's columns setting map one of these to it.",
				t.headerLine, strings.Join(group, " or "), quoteList(t.Header))
		}
	}
	return fields, nil
}

func (t *Table) isOwnResults() bool {
	tail := len(t.Header) - len(resultsColumns)
	return tail >= 0 && slices.EqualFunc(t.Header[tail:], resultsColumns, func(h, own string) bool { return fold(h) == fold(own) }) &&
		t.settings.Takes == conversion.TakesConversions
}

// unknownColumns are the headers that mean nothing to us, but for those that
// our own fix file adds.
func (t *Table) unknownColumns() []string {
	var unknown []string
	for i, header := range t.Header {
		if t.fields[i] == "" && !slices.Contains(fixColumns, fold(header)) && strings.TrimSpace(header) != "" {
			unknown = append(unknown, header)
		}
	}
	return unknown
}

func quoteList(names []string) string {
	const most = 12
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if runes := []rune(name); len(runes) > 40 {
			name = string(runes[:39]) + "…"
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}

// evidence is what a survey gathers from the rows.
type evidence struct {
	mdy, dmy, either int // lines where a date was seen with only that reading; 0 for none
	zoneless         int // the first line whose time needs a zone
	minutesOnly      int
	times            int
	longIDs          map[string]bool // column → a long number with all its digits was seen
}

// surveyRows reads every row once: it counts them, decides the date order and
// finds what would make the file unsafe to decide.
func (t *Table) surveyRows(ctx context.Context) (*conversion.Refusal, error) {
	rows, err := t.rows(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := evidence{longIDs: map[string]bool{}}
	needsZone := t.times.Zone == nil && !slices.Contains(t.fields, "time_zone")
	kinds := t.kinds()
	for {
		row, err := rows.read()
		if errors.Is(err, io.EOF) {
			break
		}
		var malformed *conversion.Rejection
		switch {
		case errors.Is(err, errRecordTooLong):
			return conversion.Refuse(conversion.NotATable, "A quote is opened on or after line %d and not closed within %d KiB. Close it, or double the quotes inside cells.", rows.line, maxRecord>>10), nil
		case errors.Is(err, errUnclosedQuote):
			return conversion.Refuse(conversion.NotATable, "The quote opened on line %d is never closed, so what follows it can't be told apart. Close it, or double the quotes inside cells.", rows.line), nil
		case errors.As(err, &malformed):
		case err != nil:
			return nil, err
		default:
			for i, cell := range row.Cells {
				seen.look(kinds[i], t.fields[i], cell, row.Line, needsZone)
			}
		}
		t.Reading.Rows++
		if t.Reading.Rows > t.settings.Limits.Rows {
			return conversion.Refuse(conversion.TooManyRows, "The file has more than %d rows. Split it and send the parts.", t.settings.Limits.Rows), nil
		}
		if rows.line > conversion.MaxLine {
			return conversion.Refuse(conversion.TooManyRows, "The file has more than %d lines. Split it and send the parts.", conversion.MaxLine), nil
		}
	}
	t.intactIDs = seen.longIDs
	return t.conclude(seen), nil
}

// kinds returns how each column's cells are written; "" if unknown.
func (t *Table) kinds() []Kind {
	kinds := make([]Kind, len(t.fields))
	for i, field := range t.fields {
		for _, d := range Dialects {
			for _, c := range d.Columns {
				if c.Name == field && field != "" && (kinds[i] == "" || d == t.Dialect) {
					kinds[i] = c.Kind
				}
			}
		}
	}
	return kinds
}

func (e *evidence) look(kind Kind, field, cell string, line int, needsZone bool) {
	switch kind {
	case KindTime:
		e.lookAtTime(strings.TrimSpace(unwrap(cell)), line, needsZone)
	case KindID:
		if cell = strings.TrimSpace(unwrap(cell)); len(cell) > excelDigits && isDigits(cell) && !endsInZeros(cell) {
			e.longIDs[field] = true
		}
	}
}

func (e *evidence) lookAtTime(cell string, line int, needsZone bool) {
	if cell == "" {
		return
	}
	e.times++
	switch conversion.DateEvidence(cell) {
	case conversion.DateOrderMDY:
		e.mdy = cmpOr(e.mdy, line)
	case conversion.DateOrderDMY:
		e.dmy = cmpOr(e.dmy, line)
	case conversion.DateOrderAuto:
		e.either = cmpOr(e.either, line)
	}
	if strings.Count(cell, ":") == 1 && !strings.ContainsAny(cell, "+Z") {
		e.minutesOnly++
	}
	if needsZone && e.zoneless == 0 {
		if _, err := (conversion.TimeReader{Order: conversion.DateOrderMDY}).Read(cell); errors.Is(err, conversion.ErrTimeZoneless) {
			e.zoneless = line
		}
	}
}

func cmpOr(have, line int) int {
	if have != 0 {
		return have
	}
	return line
}

// conclude turns the evidence into decisions.
func (t *Table) conclude(seen evidence) *conversion.Refusal {
	t.times.Order = t.settings.Account.DateOrder
	if t.times.Order == conversion.DateOrderAuto || t.times.Order == "" {
		switch {
		case seen.mdy > 0 && seen.dmy > 0:
			return conversion.Refuse(conversion.DateOrderUndecided, "Dates are written both ways: line %d can only be month/day/year, line %d only day/month/year. Write them all one way, best as 2026-03-31.", seen.mdy, seen.dmy)
		case seen.mdy > 0:
			t.times.Order = conversion.DateOrderMDY
		case seen.dmy > 0:
			t.times.Order = conversion.DateOrderDMY
		case seen.either > 0:
			return conversion.Refuse(conversion.DateOrderUndecided, "No date in the file tells month from day (see line %d). Write dates as 2026-03-31, or have date_order set to mdy or dmy for your account.", seen.either)
		}
	}
	if seen.mdy+seen.dmy+seen.either > 0 {
		t.Reading.DateOrder = t.times.Order
	}
	if seen.zoneless > 0 {
		return conversion.Refuse(conversion.TimeZoneMissing, "Line %d gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.", seen.zoneless)
	}
	if t.times.Zone != nil {
		t.Reading.Zone = t.times.Zone.String()
	}
	if seen.minutesOnly > 0 {
		t.Reading.Notes = append(t.Reading.Notes, fmt.Sprintf("%d of %d times have no seconds (spreadsheets drop them); each was taken for its whole minute.", seen.minutesOnly, seen.times))
	}
	if t.text.barequotes {
		t.Reading.Notes = append(t.Reading.Notes, `Cells written as ="…" were read without the wrapping.`)
	}
	if t.text.encoding == encoding1252 {
		t.Reading.Notes = append(t.Reading.Notes, "The file is not UTF-8 and was read as Windows-1252.")
	}
	return nil
}

// excelDigits is how many digits a spreadsheet keeps of a number; the rest it
// turns to zeros.
const excelDigits = 15

// endsInZeros reports whether all digits that a spreadsheet can't keep are
// zeros.
func endsInZeros(digits string) bool {
	return strings.Trim(digits[excelDigits:], "0") == ""
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

var (
	errRecordTooLong = errors.New("record too long")
	errUnclosedQuote = errors.New("unclosed quote")
)

// rowReader reads a table's rows as they were sent, after the header.
type rowReader struct {
	ctx    context.Context
	csv    *csv.Reader
	closer io.Closer
	bound  *recordBound
	width  int
	offset int // physical lines before the header
	line   int // of the row read last
}

// recordBound ends a record that grows beyond maxRecord: a quote that is never
// closed would swallow the rest of the file into memory.
type recordBound struct {
	r     io.Reader
	left  int
	ended bool
}

func (b *recordBound) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRecordTooLong
	}
	n, err := b.r.Read(p)
	b.left -= n
	if n > 0 {
		return n, nil // an end comes alone, and only to a reader that wants more
	}
	b.ended = errors.Is(err, io.EOF)
	return n, err
}

// rows opens the table at its header.
func (t *Table) rows(ctx context.Context) (*rowReader, error) {
	r, err := t.openAtHeader(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := r.csv.Read(); err != nil {
		r.Close()
		return nil, fmt.Errorf("read header: %w", err)
	}
	return r, nil
}

func (t *Table) openAtHeader(ctx context.Context) (*rowReader, error) {
	in, err := t.text.reader()
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(in, 64<<10)
	for range t.headerLine - 1 {
		if _, err := buffered.ReadSlice('\n'); err != nil {
			in.Close()
			return nil, fmt.Errorf("read preamble: %w", err)
		}
	}
	r := &rowReader{ctx: ctx, closer: in, width: len(t.Header), offset: t.headerLine - 1, line: t.headerLine}
	r.bound = &recordBound{r: buffered, left: maxRecord}
	r.csv = csv.NewReader(r.bound)
	r.csv.Comma, r.csv.LazyQuotes, r.csv.FieldsPerRecord = t.comma, t.text.barequotes, -1
	return r, nil
}

func (r *rowReader) Close() error { return r.closer.Close() }

// read returns the next row. A row that can't be taken apart is a
// *conversion.Rejection; the next one reads on.
func (r *rowReader) read() (conversion.Row, error) {
	r.bound.left = maxRecord
	record, err := r.csv.Read()
	if err != nil {
		return conversion.Row{}, r.explain(err)
	}
	start, _ := r.csv.FieldPos(0)
	r.line = start + r.offset
	row := conversion.Row{Line: r.line, Cells: record}
	if len(record) != r.width {
		return row, r.misfit(len(record))
	}
	return row, nil
}

func (r *rowReader) misfit(cells int) *conversion.Rejection {
	rejection := &conversion.Rejection{Line: r.line}
	rejection.Add(conversion.RowMalformed, "", "", "This line has %s where the header has %d. Check for a missing or an unquoted delimiter.", conversion.Count(cells, "cell"), r.width)
	return rejection
}

// explain turns a reader's error into what it means for the file.
func (r *rowReader) explain(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	r.line = parse.StartLine + r.offset
	if errors.Is(err, csv.ErrQuote) && r.bound.ended {
		return errUnclosedQuote
	}
	rejection := &conversion.Rejection{Line: r.line}
	rejection.Add(conversion.RowMalformed, "", "", "A quote stands inside a cell at character %d of the line. Put the cell in quotes and double the quotes inside it.", parse.Column)
	return rejection
}

// zoneOf is the zone of a row that names its own.
func (t *Table) zoneOf(name string) (*time.Location, error) {
	if name == "" {
		return t.times.Zone, nil
	}
	return conversion.ParseZone(name)
}

// Comma is the delimiter of the table's cells.
func (t *Table) Comma() rune { return t.comma }
