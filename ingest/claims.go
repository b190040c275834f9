package ingest

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gocarina/gocsv"

	"calltally/conversion"
)

// cellReader reads a table's rows into their known cells.
type cellReader struct {
	rows *rowReader
	into *gocsv.Unmarshaller
}

func (t *Table) cells(ctx context.Context) (*cellReader, error) {
	rows, err := t.openAtHeader(ctx)
	if err != nil {
		return nil, err
	}
	into, err := gocsv.NewUnmarshaller(rows.csv, &cells{})
	if err == nil {
		err = into.RenormalizeHeaders(func([]string) []string { return t.cellNames() })
	}
	if err != nil {
		rows.Close()
		return nil, fmt.Errorf("read header: %w", err)
	}
	rows.csv.FieldsPerRecord = rows.width
	return &cellReader{rows: rows, into: into}, nil
}

// cellNames are the columns' names in cells.
func (t *Table) cellNames() []string {
	names := slices.Clone(t.fields)
	for i, name := range names {
		if name == "" {
			names[i] = "unread"
		}
	}
	return names
}

// read returns the next row's known cells. A row that can't be taken apart is
// a *conversion.Rejection; the next one reads on.
func (r *cellReader) read() (*cells, error) {
	for {
		if err := r.rows.begin(); err != nil {
			return nil, err
		}
		read, err := r.into.Read()
		if err != nil {
			return nil, r.explain(err)
		}
		line, _ := r.rows.csv.FieldPos(0)
		r.rows.line = line + r.rows.offset
		if row := read.(*cells); *row != (cells{}) {
			return row, nil
		}
	}
}

func (r *cellReader) explain(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) || !errors.Is(err, csv.ErrFieldCount) {
		return r.rows.explain(err)
	}
	r.rows.line = parse.StartLine + r.rows.offset
	rejection := &conversion.Rejection{Line: r.rows.line}
	rejection.Add(conversion.RowMalformed, "", "", "This line doesn't have %s as the header does. Check for a missing or an unquoted delimiter.", conversion.Count(r.rows.width, "cell"))
	return rejection
}

// Claims reads a table's rows as claims.
type Claims struct {
	cells *cellReader
	parse rowParser
}

// Claims opens the table's rows. Close the reader when done.
func (t *Table) Claims(ctx context.Context) (*Claims, error) {
	cells, err := t.cells(ctx)
	if err != nil {
		return nil, err
	}
	return &Claims{cells: cells, parse: rowParser{table: t, account: t.settings.Account}}, nil
}

// Close ends the reading.
func (c *Claims) Close() error { return c.cells.rows.Close() }

// Offset is how many bytes of the table were read so far.
func (c *Claims) Offset() int64 { return c.cells.rows.position() }

// Next returns the next row's claim, or why it has none; io.EOF after the last.
func (c *Claims) Next() (conversion.Claim, *conversion.Rejection, error) {
	row, err := c.cells.read()
	var malformed *conversion.Rejection
	if errors.As(err, &malformed) {
		return conversion.Claim{Line: malformed.Line}, malformed, nil
	}
	if err != nil {
		return conversion.Claim{}, nil, err
	}
	claim, rejection := c.parse.claim(c.cells.rows.line, row)
	return claim, rejection, nil
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

// claim reads a conversion row.
func (p *rowParser) claim(line int, row *cells) (conversion.Claim, *conversion.Rejection) {
	p.begin(line)
	web, said := p.flag("web_conversion", row.WebConversion)
	parent := p.id("parent_reference_id", row.ParentReferenceID)
	c := conversion.Claim{
		Line:              line,
		Web:               web,
		Start:             p.start(row, said && !web && parent == ""),
		ReferenceID:       p.id("reference_id", row.ReferenceID),
		ParentReferenceID: parent,
		Caller:            p.phone("calling_phone_number", row.Caller),
		Called:            p.phone("called_phone_number", row.Called),
		EventType:         p.eventType(row.EventType),
		ReasonCode:        p.word("reason_code", row.ReasonCode),
		Campaign:          p.id("advertiser_campaign_id", row.AdvertiserCampaign),
		Publisher:         p.id("affiliate_id_from_network", row.NetworkAffiliate),
		Customer:          p.customer(row),
	}
	c.Duration, c.HasDuration = p.wholeNumber("duration_in_seconds", row.Duration)
	c.SKUs, c.Quantities = p.items(row)
	c.Sale = p.amount("sale_amount", row.SaleAmount, p.currency("sale_currency", row.SaleCurrency))
	if c.Web && c.ParentReferenceID == "" {
		p.requireForWeb(c)
	}
	return c, p.rejection()
}

// requireForWeb notes what a web conversion lacks.
func (p *rowParser) requireForWeb(c conversion.Claim) {
	var missing []string
	for _, need := range []struct{ column, value string }{
		{"reference_id", c.ReferenceID},
		{"advertiser_campaign_id", c.Campaign},
		{"affiliate_id_from_network", c.Publisher},
	} {
		if need.value == "" {
			missing = append(missing, need.column)
		}
	}
	if len(missing) > 0 {
		p.faults.Add(conversion.OptionMissing, missing[0], "", "A web conversion has no call to tell it by, so it needs %s as well. Fill it in.", strings.Join(missing, " and "))
	}
}
