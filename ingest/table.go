package ingest

import (
	"context"
	"slices"
	"strconv"
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
	// ReceivedAt is when the file came.
	ReceivedAt conversion.Millis
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
	headerLine int            // line of the header
	shift      int            // how many lines the table has more than the file
	fields     []string       // our name for each column; "" if we have none
	index      map[string]int // and where it stands
	unknown    []int          // the columns without a name of ours
	extra      []string       // fields that only a mapping leads to
	times      conversion.TimeReader
	intactIDs  map[string]bool // id columns whose long numbers still have all digits

	// What the preamble says of the file that these rows were part of.
	declaredOrder conversion.DateOrder
	declaredWhole []string // id columns

	scattered scattered
}

// Survey reads a file once and says how it is to be read, or why it can't be.
func Survey(ctx context.Context, open Opener, settings Settings) (*Table, *conversion.Refusal, error) {
	t := &Table{settings: settings}
	for _, step := range []func(context.Context) (*conversion.Refusal, error){
		func(context.Context) (*conversion.Refusal, error) { return t.look(open) },
		t.findHeader, t.understandHeader, t.surveyRows,
	} {
		if refusal, err := step(ctx); refusal != nil || err != nil {
			return nil, refusal, err
		}
	}
	return t, nil, nil
}

// look finds out what the file's bytes are, before anything is read of them.
func (t *Table) look(open Opener) (*conversion.Refusal, error) {
	inside, refusal, err := unpack(open, t.settings)
	if err != nil {
		return damaged(err)
	}
	if refusal != nil {
		return refusal, nil
	}
	t.shift, t.Reading.Notes, t.times.From1904 = inside.shift, inside.notes, inside.from1904
	t.text, refusal, err = inspect(inside.open)
	if err != nil {
		return damaged(err)
	}
	if inside.workbook && refusal == nil {
		t.text.encoding = conversion.Workbook
	}
	return refusal, nil
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

// Zone is whose clock times without an offset go by; nil if none is known.
func (t *Table) Zone() *time.Location { return t.times.Zone }

// Comma is the delimiter of the table's cells.
func (t *Table) Comma() rune { return t.comma }

// Labels are what the table calls what its rows say.
func (t *Table) Labels() *conversion.Labels {
	labels := conversion.OurLabels
	if own := t.Dialect.labels; own != nil {
		own(&labels)
	}
	if _, mapped := t.index[labels.EventID]; !mapped && !t.Dialect.has(labels.EventID) {
		labels.EventID = "" // it can only come from a column that is mapped
	}
	labels.Each(func(label *string) { *label = t.label(*label) })
	return &labels
}

// named lists the table's columns of a name, in the order of the header: of an
// array's, all that it has.
func (t *Table) named(name string) []string {
	stem, tail, array := strings.Cut(name, "{i}")
	var columns []string
	for _, field := range t.fields {
		if field == name {
			columns = append(columns, field)
		} else if rest, ok := strings.CutPrefix(field, stem); array && ok && strings.HasSuffix(rest, tail) && isDigits(strings.TrimSuffix(rest, tail)) {
			columns = append(columns, field)
		}
	}
	return columns
}

// numbers lists the numbers that the table's columns of some arrays have, in
// order.
func (t *Table) numbers(arrays []string) []string {
	var found []int
	for _, array := range arrays {
		for _, field := range t.named(array + "{i}") {
			n, err := strconv.Atoi(strings.TrimPrefix(field, array))
			if err == nil && !slices.Contains(found, n) {
				found = append(found, n)
			}
		}
	}
	slices.Sort(found)
	numbers := make([]string, len(found))
	for i, n := range found {
		numbers[i] = strconv.Itoa(n)
	}
	return numbers
}
