package ingest

import (
	"context"

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
	// Fix says that the file is a fix file of ours that came back.
	Fix bool
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

	// What the preamble says of the file that these rows were part of.
	declaredOrder conversion.DateOrder
	declaredWhole []string // id columns
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

// Mark is what a file that answers this one begins with: the byte order mark by
// which a spreadsheet knows UTF-8, if the sender's encoding says that they use
// one.
func (t *Table) Mark() string {
	if t.text.encoding == encodingUTF8 && !t.text.bom {
		return ""
	}
	return "\ufeff"
}

// Comma is the delimiter of the table's cells.
func (t *Table) Comma() rune { return t.comma }
