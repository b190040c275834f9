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

	"calltally/conversion"
)

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
	lines  bool   // the rows are lines of JSON
	offset int    // physical lines before the first that csv counts
	passed int64  // bytes before the first that csv counts
	line   int    // of the row read last
	raw    string // of a row that can't be taken apart
	blank  int    // rows without any content that were passed over
}

// recordBound ends a record that grows beyond maxRecord: a quote that is never
// closed would swallow the rest of the file into memory. Blank lines between
// records count for little.
type recordBound struct {
	r      io.Reader
	left   int  // bytes of content
	lines  int  // line breaks
	quoted bool // a quote was seen lately
	recent bool // the bytes read last held a quote
	ended  bool
	held   []byte // what was read since the record began
	from   int64  // where the record began
}

const maxRecordLines = 64 << 20

// begin begins a record at an offset.
func (b *recordBound) begin(at int64) {
	b.left, b.lines, b.quoted = maxRecord, maxRecordLines, b.recent
	b.held, b.from = b.held[at-b.from:], at
}

func (b *recordBound) Read(p []byte) (int, error) {
	if b.left <= 0 || b.lines <= 0 {
		return 0, errRecordTooLong
	}
	n, err := b.r.Read(p)
	b.held = append(b.held, p[:n]...)
	breaks := bytes.Count(p[:n], []byte{'\n'})
	b.left -= n - breaks - bytes.Count(p[:n], []byte{'\r'})
	b.lines -= breaks
	b.recent = bytes.IndexByte(p[:n], '"') >= 0
	b.quoted = b.quoted || b.recent
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
	r := &rowReader{ctx: ctx, closer: in, width: len(t.Header), lines: t.shift > 0, offset: t.headerLine - 1 - t.shift, line: t.headerLine}
	r.bound = &recordBound{r: buffered}
	r.bound.begin(0)
	r.csv = csv.NewReader(r.bound)
	r.csv.Comma, r.csv.FieldsPerRecord = t.comma, -1
	return r, nil
}

func (r *rowReader) Close() error { return r.closer.Close() }

// read returns the next row. A row that can't be taken apart is a
// *conversion.Rejection; the next one reads on.
func (r *rowReader) read() (conversion.Row, error) {
	for {
		if err := r.begin(); err != nil {
			return conversion.Row{}, err
		}
		record, err := r.csv.Read()
		if err != nil {
			err = r.explain(err)
			return conversion.Row{Line: r.line, Cells: []string{r.raw}}, err
		}
		start, _ := r.csv.FieldPos(0)
		r.line = start + r.offset
		row := conversion.Row{Line: r.line, Cells: record}
		if len(record) != r.width {
			return row, r.misfit("This line has %s where the header has %d. Check for a missing or an unquoted delimiter.", conversion.Count(len(record), "cell"), r.width)
		}
		if slices.ContainsFunc(record, func(cell string) bool { return cell != "" }) {
			return row, nil
		}
		r.blank++ // a spreadsheet's cleared row: nothing but delimiters
	}
}

// begin makes ready for the next record.
func (r *rowReader) begin() error {
	r.bound.begin(r.csv.InputOffset())
	return r.ctx.Err()
}

// position is how far was read, in bytes from the header on.
func (r *rowReader) position() int64 { return r.passed + r.csv.InputOffset() }

// misfit rejects a line that hasn't as many cells as the header. One of JSON lines is
// given a cell too many if it is no object.
func (r *rowReader) misfit(format string, args ...any) *conversion.Rejection {
	rejection := &conversion.Rejection{Line: r.line}
	if r.lines {
		format, args = "This line is no JSON object such as {\"sid\": \"CA…\", …}. Export the call log again.", nil
	}
	rejection.Add(conversion.RowMalformed, "", "", format, args...)
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
	r.resume(parse)
	rejection := &conversion.Rejection{Line: r.line}
	if parse.Line == parse.StartLine {
		rejection.Add(conversion.RowMalformed, "", "", "A quote stands inside a cell at character %d of the line. Put the cell in quotes and double the quotes inside it.", parse.Column)
	} else {
		rejection.Add(conversion.RowMalformed, "", "", "A cell of this line opens with a quote that is not closed. Close it, or double the quotes inside the cell.")
	}
	return rejection
}

// resume goes on at the line after the one that a record with a stray quote
// began on: a quote that opens by mistake swallows lines that are none of its
// own.
func (r *rowReader) resume(parse *csv.ParseError) {
	record := r.bound.held[:r.csv.InputOffset()-r.bound.from]
	first := bytes.IndexByte(record, '\n') + 1
	r.raw = strings.TrimRight(string(record[:first]), "\r\n")
	if first == len(record) {
		return
	}
	left := bytes.Clone(r.bound.held[first:])
	r.offset += parse.StartLine
	r.passed += r.bound.from + int64(first)
	*r.bound = recordBound{r: io.MultiReader(bytes.NewReader(left), r.bound.r)}
	r.bound.begin(0)
	again := csv.NewReader(r.bound)
	again.Comma, again.FieldsPerRecord = r.csv.Comma, r.csv.FieldsPerRecord
	*r.csv = *again // in place: others read from it too
}
