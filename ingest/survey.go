package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"calltally/conversion"
)

// evidence is what a survey gathers from the rows.
type evidence struct {
	table            *Table
	kinds            []Kind  // of the columns
	clocks           [][]int // the columns that tell a time, those that tell the same one together
	mdy, dmy, either int     // lines where a date was seen with only that reading; 0 for none
	zoneless         int     // the first line whose time needs a zone
	minutesOnly      int
	times            int
	orders           orderRuns
	longIDs          map[string]bool // column → a long number with all its digits was seen
	doubted          map[string]bool // column → an id of 16 digits that ends in a zero was seen
}

func (t *Table) newEvidence() *evidence {
	return &evidence{table: t, orders: newOrderRuns(), kinds: t.kinds(), clocks: t.clocks(), longIDs: map[string]bool{}, doubted: map[string]bool{}}
}

// surveyRows reads every row once: it counts them, decides the date order and
// finds what would make the file unsafe to decide.
func (t *Table) surveyRows(ctx context.Context) (*conversion.Refusal, error) {
	rows, err := t.rows(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := t.newEvidence()
	for {
		row, err := rows.read()
		if errors.Is(err, io.EOF) {
			break
		}
		var malformed *conversion.Rejection
		switch {
		case errors.Is(err, errRecordTooLong) && !rows.bound.quoted:
			return conversion.Refuse(conversion.NotATable, "The line after line %d is longer than %d KiB. Check that the file is a CSV.", rows.line, maxRecord>>10), nil
		case errors.Is(err, errRecordTooLong):
			return conversion.Refuse(conversion.NotATable, "A quote is opened on or after line %d and not closed within %d KiB. Close it, or double the quotes inside cells.", rows.line, maxRecord>>10), nil
		case errors.Is(err, errUnclosedQuote):
			return conversion.Refuse(conversion.NotATable, "The quote opened on line %d is never closed, so what follows it can't be told apart. Close it, or double the quotes inside cells.", rows.line), nil
		case errors.As(err, &malformed):
			seen.orders.end()
		case err != nil:
			return nil, err
		default:
			seen.look(row)
		}
		t.Reading.Rows++
		if t.Reading.Rows > t.settings.Limits.Rows {
			return conversion.Refuse(conversion.TooManyRows, "The file has more than %d rows. Split it and send the parts.", t.settings.Limits.Rows), nil
		}
		if rows.line > conversion.MaxLine {
			return conversion.Refuse(conversion.TooManyRows, "The file has more than %d lines. Split it and send the parts.", conversion.MaxLine), nil
		}
	}
	t.intactIDs, t.scattered = seen.longIDs, seen.orders.scattered(t)
	for _, column := range t.declaredWhole {
		t.intactIDs[column] = true
	}
	if rows.blank > 0 {
		t.Reading.Notes = append(t.Reading.Notes, fmt.Sprintf("Passed over: %s without any content.", conversion.Count(rows.blank, "row")))
	}
	return t.conclude(seen), nil
}

// kinds returns how each column's cells are written; "" if unknown.
func (t *Table) kinds() []Kind {
	kinds := make([]Kind, len(t.fields))
	for i, field := range t.fields {
		if c, _ := t.Dialect.mappable(field); c != nil {
			kinds[i] = c.Kind
		}
	}
	return kinds
}

// clocks are the indexes of the columns that tell times: those that tell when a
// call started, the one that counts most first, and each that tells an event.
func (t *Table) clocks() [][]int {
	var starts []int
	var clocks [][]int
	for _, columns := range [][]Column{t.Dialect.Columns, MappedColumns[t.Dialect.Takes]} {
		for _, c := range columns {
			at, ok := t.index[c.Name]
			switch {
			case ok && c.Kind == KindTime:
				starts = append(starts, at)
			case ok && c.Kind == KindEvent:
				clocks = append(clocks, []int{at})
			}
		}
	}
	return append(clocks, starts)
}

// look takes in one row. Of the columns that tell the same time, the first that
// is filled is the one that counts.
func (e *evidence) look(row conversion.Row) {
	for _, columns := range e.clocks {
		for _, i := range columns {
			if cell := strings.TrimSpace(unwrap(row.Cells[i])); cell != "" {
				e.lookAtTime(cell, row.Line)
				break
			}
		}
	}
	if len(e.table.Dialect.Together) > 0 {
		e.orders.add(e.table.orderOf(row.Cells))
	}
	for i, cell := range row.Cells {
		if e.kinds[i] != KindID || len(cell) <= excelDigits {
			continue
		}
		if cell = strings.TrimSpace(unwrap(cell)); len(cell) > excelDigits && isDigits(cell) {
			if !endsInZeros(cell) {
				e.longIDs[e.table.fields[i]] = true
			} else if len(cell) == excelDigits+1 {
				e.doubted[e.table.fields[i]] = true
			}
		}
	}
}

func (e *evidence) lookAtTime(cell string, line int) {
	e.times++
	seen := conversion.ReadEvidence(cell)
	switch seen.Order {
	case conversion.DateOrderMDY:
		e.mdy = cmp.Or(e.mdy, line)
	case conversion.DateOrderDMY:
		e.dmy = cmp.Or(e.dmy, line)
	case conversion.DateOrderAuto:
		e.either = cmp.Or(e.either, line)
	}
	if seen.MinutesOnly {
		e.minutesOnly++
	}
	if seen.Zoneless {
		e.zoneless = cmp.Or(e.zoneless, line)
	}
}

// conclude turns the evidence into decisions.
func (t *Table) conclude(seen *evidence) *conversion.Refusal {
	t.times.Order = t.settings.Account.DateOrder
	if t.times.Order == conversion.DateOrderAuto || t.times.Order == "" {
		switch {
		case seen.mdy > 0 && seen.dmy > 0:
			return conversion.Refuse(conversion.DateOrderUndecided, "Dates are written both ways: line %d can only be month/day/year, line %d only day/month/year. Write them all one way, best as 2026-03-31.", seen.mdy, seen.dmy)
		case seen.mdy > 0:
			t.times.Order = conversion.DateOrderMDY
		case seen.dmy > 0:
			t.times.Order = conversion.DateOrderDMY
		case seen.either > 0 && (t.declaredOrder == conversion.DateOrderMDY || t.declaredOrder == conversion.DateOrderDMY):
			t.times.Order = t.declaredOrder
		case seen.either > 0:
			return conversion.Refuse(conversion.DateOrderUndecided, "No date in the file tells month from day (see line %d). Write dates as 2026-03-31, or have date_order set to mdy or dmy for your account.", seen.either)
		}
	}
	if seen.mdy+seen.dmy+seen.either > 0 {
		t.Reading.DateOrder = t.times.Order
	}
	if seen.zoneless > 0 && t.times.Zone == nil && !slices.Contains(t.fields, "time_zone") {
		return conversion.Refuse(conversion.TimeZoneMissing, "Line %d gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.", seen.zoneless)
	}
	if t.times.Zone != nil {
		t.Reading.Zone = t.times.Zone.String()
	}
	if seen.minutesOnly > 0 {
		t.Reading.Notes = append(t.Reading.Notes, fmt.Sprintf("Times without seconds: %d of %d (spreadsheets drop them). Each stands for its whole minute.", seen.minutesOnly, seen.times))
	}
	if t.text.formulas {
		t.Reading.Notes = append(t.Reading.Notes, `Cells written as ="…" were read without the wrapping.`)
	}
	if t.text.encoding == encoding1252 {
		t.Reading.Notes = append(t.Reading.Notes, "The file is not UTF-8 and was read as Windows-1252.")
	}
	return nil
}

// Preamble is a line which, put before the header, has some of the rows read as
// the whole file was: what was decided from all of them may not show in a few.
// It is "" if those rows and the account's settings say it all. wanted is asked
// of every row, in order.
func (t *Table) Preamble(ctx context.Context, wanted func(line int) bool) (string, error) {
	var said []string
	if zone := t.times.Zone; zone != nil && zone != t.settings.Account.Zone {
		said = append(said, "TimeZone="+zone.String())
	}
	if t.times.From1904 {
		said = append(said, "Days=1904")
	}
	ordered := t.Reading.DateOrder != "" && t.settings.Account.DateOrder != t.Reading.DateOrder
	if ordered || len(t.intactIDs) > 0 {
		few, err := t.evidenceOf(ctx, wanted)
		if err != nil {
			return "", err
		}
		if ordered && few.either > 0 && few.mdy+few.dmy == 0 {
			said = append(said, "DateOrder="+string(t.Reading.DateOrder))
		}
		if whole := few.doubtful(t.intactIDs); len(whole) > 0 {
			said = append(said, "WholeIds="+strings.Join(whole, "+"))
		}
	}
	if len(said) == 0 {
		return "", nil
	}
	return "Parameters:" + strings.Join(said, ";"), nil
}

// evidenceOf gathers the evidence of some rows.
func (t *Table) evidenceOf(ctx context.Context, wanted func(line int) bool) (*evidence, error) {
	seen := t.newEvidence()
	err := t.Rows(ctx, func(row conversion.Row) error {
		if wanted(row.Line) && len(row.Cells) == len(t.Header) {
			seen.look(row)
		}
		return nil
	})
	return seen, err
}

// doubtful lists the id columns, among those known to be whole, whose numbers
// would be taken for damaged by these rows alone.
func (e *evidence) doubtful(whole map[string]bool) []string {
	columns := slices.Sorted(maps.Keys(e.doubted))
	return slices.DeleteFunc(columns, func(column string) bool { return e.longIDs[column] || !whole[column] })
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
