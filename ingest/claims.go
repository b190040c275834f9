package ingest

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/gocarina/gocsv"

	"calltally/conversion"
)

// cellReader reads a table's rows cell by cell.
type cellReader struct {
	rows *rowReader
	into *gocsv.Unmarshaller
}

// sentRow is one row: its cells, or why it can't be taken apart.
type sentRow struct {
	line   int
	cells  []string
	broken *conversion.Rejection
}

// record takes every column's cell: what they mean is ours to read.
type record struct {
	Cells sentCells `csv:"cell"`
}

type sentCells []string

// UnmarshalCSV takes the next column's cell.
func (c *sentCells) UnmarshalCSV(cell string) error {
	if *c == nil {
		*c = make(sentCells, 0, 16)
	}
	*c = append(*c, cell)
	return nil
}

func (t *Table) cells(ctx context.Context) (*cellReader, error) {
	rows, err := t.openAtHeader(ctx)
	if err != nil {
		return nil, err
	}
	into, err := gocsv.NewUnmarshaller(rows.csv, &record{})
	if err == nil {
		err = into.RenormalizeHeaders(func(header []string) []string { return slices.Repeat([]string{"cell"}, len(header)) })
	}
	if err != nil {
		rows.Close()
		return nil, fmt.Errorf("read header: %w", err)
	}
	rows.csv.FieldsPerRecord = rows.width
	return &cellReader{rows: rows, into: into}, nil
}

// read returns the next row that has any content. One that can't be taken apart
// is broken; the next one reads on.
func (r *cellReader) read() (sentRow, error) {
	for {
		if err := r.rows.begin(); err != nil {
			return sentRow{}, err
		}
		read, err := r.into.Read()
		if err != nil {
			return r.broken(r.explain(err))
		}
		line, _ := r.rows.csv.FieldPos(0)
		r.rows.line = line + r.rows.offset
		row := sentRow{line: r.rows.line, cells: read.(*record).Cells}
		if slices.ContainsFunc(row.cells, func(cell string) bool { return cell != "" }) {
			return row, nil
		}
	}
}

// broken makes a broken row of a rejection.
func (r *cellReader) broken(err error) (sentRow, error) {
	var malformed *conversion.Rejection
	if errors.As(err, &malformed) {
		return sentRow{line: malformed.Line, broken: malformed}, nil
	}
	return sentRow{}, err
}

func (r *cellReader) explain(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) || !errors.Is(err, csv.ErrFieldCount) {
		return r.rows.explain(err)
	}
	r.rows.line = parse.StartLine + r.rows.offset
	return r.rows.misfit("This line doesn't have %s as the header does. Check for a missing or an unquoted delimiter.", conversion.Count(r.rows.width, "cell"))
}

// Claims reads a table's rows as claims.
type Claims struct {
	cells *cellReader
	parse rowParser
	ahead []sentRow // read already: at most the row after an order
	left  []*conversion.Rejection
	// broken is the line of the row before, if that can't be taken apart; 0 if it can.
	broken int
	long   order // the one that had more rows than one may have
}

// Claims opens the table's rows. Close the reader when done.
func (t *Table) Claims(ctx context.Context) (*Claims, error) {
	cells, err := t.cells(ctx)
	if err != nil {
		return nil, err
	}
	return &Claims{cells: cells, parse: t.parser()}, nil
}

// Close ends the reading.
func (c *Claims) Close() error { return c.cells.rows.Close() }

// Offset is how many bytes of the table were read so far.
func (c *Claims) Offset() int64 { return c.cells.rows.position() }

// Next returns the next row's claim, or why it has none; io.EOF after the last.
// The rows of an order make one claim; if any of them can't be taken, each has a
// rejection of its own.
func (c *Claims) Next() (conversion.Claim, *conversion.Rejection, error) {
	if len(c.left) == 0 {
		row, err := c.next()
		if err != nil {
			return conversion.Claim{}, nil, err
		}
		if row.broken != nil {
			c.broken = row.line
			return conversion.Claim{Line: row.line}, row.broken, nil
		}
		p := &c.parse
		defer p.end()
		if p.table.Dialect.order == nil {
			claim, rejection := p.read(row)
			return claim, rejection, nil
		}
		claim, err := c.order(row)
		if err != nil || len(c.left) == 0 {
			return claim, nil, err
		}
	}
	rejection := c.left[0]
	c.left = c.left[1:]
	return conversion.Claim{Line: rejection.Line}, rejection, nil
}

// next returns the next row.
func (c *Claims) next() (sentRow, error) {
	if len(c.ahead) > 0 {
		row := c.ahead[0]
		c.ahead = c.ahead[:0]
		return row, nil
	}
	return c.cells.read()
}

// Rows calls each for every row as it was sent, also for malformed ones, whose
// cells may be fewer or more than the header's. The cells are valid until each
// returns.
func (t *Table) Rows(ctx context.Context, each func(conversion.Row) error) error {
	rows, err := t.rows(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	rows.csv.ReuseRecord = true
	for {
		row, err := rows.read()
		var malformed *conversion.Rejection
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &malformed):
			row.Line = malformed.Line
		case err != nil:
			return err
		}
		if err := each(row); err != nil {
			return err
		}
	}
}
