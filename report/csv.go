package report

import (
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"calltally/conversion"
)

// resultsColumns are the columns that a results file adds to the sender's own.
var resultsColumns = []string{"result", "code", "message", "call_id", "call_start_time", "conversion_id", "payout_before", "payout_after"}

// Table is an upload as its sender wrote it.
type Table interface {
	// Columns are the header's names as sent, how many of them are the sender's
	// own, and the delimiter.
	Columns() (header []string, own int, comma rune)
	// EachRow calls each for every row, in order. The cells are valid until each
	// returns.
	EachRow(each func(conversion.Row) error) error
}

// Outcomes yields an upload's outcomes, in order.
type Outcomes = iter.Seq2[*conversion.Outcome, error]

// ResultsCSV writes every row as sent, with what became of it.
func ResultsCSV(w io.Writer, table Table, outcomes Outcomes) error {
	return writeCSV(w, table, outcomes, fit, resultsColumns, func(o *conversion.Outcome) []string {
		return []string{o.Verdict.String(), string(o.Code), message(o), o.CallID, o.CallStart.String(), conversion.FormatID(o.ConversionID), o.PayoutBefore.String(), o.PayoutAfter.String()}
	})
}

// FixCSV writes the rejected rows as sent, with what is wrong. Corrected, it can
// be sent straight back.
//
// preamble is a line before the header without which these rows would not be read
// as all of them were; "" for none.
func FixCSV(w io.Writer, table Table, preamble string, outcomes Outcomes) error {
	if preamble != "" {
		if _, err := io.WriteString(w, preamble+"\n"); err != nil {
			return err
		}
	}
	return writeCSV(w, table, outcomes, asSent, []string{"message"}, func(o *conversion.Outcome) []string {
		if o.Verdict != conversion.Rejected {
			return nil
		}
		return []string{message(o)}
	})
}

// message is an outcome's sentence, how its money came about, and its near misses, on
// one line.
func message(o *conversion.Outcome) string {
	text := strings.TrimSpace(o.Message + " " + o.Rule)
	for i, near := range o.Near {
		if i == 0 {
			text += " Near misses: "
		} else {
			text += "; "
		}
		text += strings.TrimPrefix(near.CallID+": "+near.Why, ": ")
	}
	return text
}

// writeCSV writes rows with added columns; a row for which add returns nil is
// left out. shape makes a row's own cells. The message that a fix file of ours
// brought back is written anew.
func writeCSV(w io.Writer, table Table, outcomes Outcomes, shape func(cells []string, width, own int, comma rune) []string, added []string, add func(*conversion.Outcome) []string) error {
	header, own, comma := table.Columns()
	out := csv.NewWriter(w)
	out.Comma = comma
	if err := out.Write(safe(append(slices.Clone(header[:own]), added...))); err != nil {
		return err
	}
	next, stop := iter.Pull2(outcomes)
	defer stop()
	err := table.EachRow(func(row conversion.Row) error {
		outcome, err, more := next()
		if !more {
			err = errTooFewOutcomes
		}
		if err != nil {
			return err
		}
		cells := add(outcome)
		if cells == nil {
			return nil
		}
		return out.Write(safe(append(shape(row.Cells, len(header), own, comma), cells...)))
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// fit returns a row's own cells, so that what is added stands under its header:
// a short row is filled up, what a long one has too many stays in its last cell.
func fit(cells []string, width, own int, comma rune) []string {
	fitted := make([]string, own, own+len(resultsColumns))
	copy(fitted, cells)
	if len(cells) > width {
		fitted[own-1] = strings.Join(cells[own-1:], string(comma))
	}
	return fitted
}

// asSent returns a row's own cells. One with more or fewer cells than the header
// keeps them all: filled up or cut, it would be read as if nothing were wrong.
func asSent(cells []string, width, own int, _ rune) []string {
	if len(cells) == width {
		cells = cells[:own]
	}
	return slices.Clone(cells)
}

var errTooFewOutcomes = errors.New("the upload has more rows than outcomes")

// safe makes cells harmless to spreadsheets: one that would be taken for a
// formula gets an apostrophe. Numbers and telephone numbers stay as they are.
func safe(cells []string) []string {
	for i, cell := range cells {
		if cell != "" && strings.IndexByte("=+-@\t\r", cell[0]) >= 0 && !plainNumber(cell) {
			cells[i] = "'" + cell
		}
	}
	return cells
}

// plainNumber reports whether a cell is a signed number or an E.164 number.
func plainNumber(cell string) bool {
	if cell[0] != '+' && cell[0] != '-' || len(cell) < 2 {
		return false
	}
	whole, fraction, point := strings.Cut(cell[1:], ".")
	return whole != "" && strings.Trim(whole, "0123456789") == "" && strings.Trim(fraction, "0123456789") == "" && (!point || fraction != "")
}
