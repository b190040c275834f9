package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"calltally/conversion"
)

// rowParser reads one row after another into claims or calls, and notes every
// fault of a row.
type rowParser struct {
	table   *Table
	account *conversion.Account
	row     sentRow // the one at work
	// faults are those of the rows that are read together.
	faults []rowFault
	zones  map[string]*time.Location // those that rows have named so far
}

type rowFault struct {
	line int
	conversion.Fault
}

func (t *Table) parser() rowParser { return rowParser{table: t, account: t.settings.Account} }

// begin turns to a row; end ends the reading of rows that belong together.
func (p *rowParser) begin(row sentRow) { p.row = row }

func (p *rowParser) end() { p.faults = p.faults[:0] }

// fault notes what is wrong with the row at work.
func (p *rowParser) fault(code conversion.Code, column, value, format string, args ...any) {
	p.faults = append(p.faults, rowFault{p.row.line, conversion.Fault{Code: code, Column: column, Value: value, Sentence: fmt.Sprintf(format, args...)}})
}

// rejectionOf returns a row's faults, or nil if there are none.
func (p *rowParser) rejectionOf(row sentRow) *conversion.Rejection {
	var rejection *conversion.Rejection
	for _, fault := range p.faults {
		if fault.line != row.line {
			continue
		}
		if rejection == nil {
			rejection = &conversion.Rejection{Line: row.line}
		}
		rejection.Faults = append(rejection.Faults, fault.Fault)
	}
	return rejection
}

// rejectionsOf returns the faults of an order's rows, or none if all of them can
// be taken. An order is taken whole or not at all: rows without a fault of their
// own are told whose it is.
func (p *rowParser) rejectionsOf(rows []sentRow) []*conversion.Rejection {
	if len(p.faults) == 0 {
		return nil
	}
	rejections := make([]*conversion.Rejection, len(rows))
	for i, row := range rows {
		if rejections[i] = p.rejectionOf(row); rejections[i] == nil {
			rejections[i] = &conversion.Rejection{Line: row.line}
			rejections[i].Add(conversion.ItemsIncomplete, p.table.Dialect.Together[0], "", "Line %d of the same order can't be taken, so none of it was. Correct that line and send the whole order again.", p.faults[0].line)
		}
	}
	return rejections
}

// read reads a row. One that our own reading panics on is rejected: it must not keep the others
// from being taken.
func (p *rowParser) read(row sentRow) (claim conversion.Claim, rejection *conversion.Rejection) {
	defer func() {
		if caught := recover(); caught != nil {
			claim, rejection = conversion.Claim{Line: row.line}, &conversion.Rejection{Line: row.line}
			rejection.Add(conversion.RowMalformed, "", "", "The row could not be read, by a fault of ours: tell whoever runs calltally of it. The other rows were taken.")
		}
	}()
	p.begin(row)
	claim = p.claim()
	claim.Line = row.line
	return claim, p.rejectionOf(row)
}

// claim reads the row at work as a conversion.
func (p *rowParser) claim() conversion.Claim {
	c := p.table.Dialect.claim(p)
	p.mapped(&c)
	return c
}

// orderClaim reads the rows of one order as a conversion.
func (p *rowParser) orderClaim(rows []sentRow) conversion.Claim {
	c := p.table.Dialect.order(p, rows)
	p.begin(rows[0]) // which says for all what they share
	p.mapped(&c)
	return c
}

// mapped adds what columns say that any dialect reads if they are mapped.
func (p *rowParser) mapped(c *conversion.Claim) {
	for _, column := range p.table.extra {
		if p.text(column) == "" { // says nothing against what the dialect reads
			continue
		}
		switch column {
		case "call_record_id":
			c.CallIDs[conversion.CallRecord] = p.id(column)
		case "external_call_unique_id":
			c.CallIDs[conversion.CallExternal] = p.id(column)
		case "click_id":
			c.CallIDs[conversion.CallClick] = p.id(column)
		case "event_id":
			c.EventID = p.id(column)
		case "event_time":
			c.Event = p.event(column)
		case "status":
			c.Status = p.status(column, conversion.StatusApproved, conversion.StatusPending, conversion.StatusDeclined, conversion.StatusOther, conversion.StatusRejected, conversion.StatusReturned)
		case "payout":
			c.Payout = p.payout(column, cmp.Or(c.Sale.Currency, p.rowCurrency()))
		}
	}
}

// rowCurrency is the currency that the row names for its amounts, or else the
// account's.
func (p *rowParser) rowCurrency() conversion.Currency {
	for _, c := range p.table.Dialect.Columns {
		if c.Kind == KindCurrency && p.text(c.Name) != "" && !p.faulted(c.Name) {
			return p.currency(c.Name)
		}
	}
	return p.account.Currency
}

// callNamed reports whether a row tells its call otherwise than by when it
// started.
func (p *rowParser) callNamed() bool {
	named := p.text("call_record_id") != "" || p.text("external_call_unique_id") != "" || p.text("click_id") != ""
	return named || p.account.Match.ByEventTime && p.text("event_time") != ""
}

// text returns a cell of the row at work, unwrapped and trimmed; "" if the table
// has no such column.
func (p *rowParser) text(column string) string {
	at, ok := p.table.index[column]
	if !ok {
		return ""
	}
	return p.clean(column, p.row.cells[at])
}

// label names a column as its sender does, and as we do if that differs.
func (p *rowParser) label(column string) string { return p.table.label(column) }

func (t *Table) label(column string) string {
	at, ok := t.index[column]
	if !ok {
		return column
	}
	header := strings.TrimSpace(t.Header[at])
	if FoldHeader(header) == FoldHeader(column) {
		return header
	}
	return header + " (" + column + ")"
}

// clean unwraps and trims a cell and notes if it is too long.
func (p *rowParser) clean(column, cell string) string {
	if cell == "" {
		return ""
	}
	cell = strings.TrimSpace(unwrap(strings.TrimSpace(cell)))
	if len(cell) > maxCell {
		p.fault(conversion.CellTooLong, column, strings.ToValidUTF8(cell[:40], "")+"…", "%s is %d KiB long; at most %d KiB are read. Shorten it.", p.label(column), len(cell)>>10, maxCell>>10)
		return ""
	}
	return cell
}

// start reads when the call started from the first of some columns that is
// filled.
func (p *rowParser) start(required bool, columns ...string) conversion.When {
	column, cell := p.first(columns...)
	if cell == "" {
		if required && !p.faulted(column) {
			p.fault(conversion.StartTimeMissing, column, "", "The row names no call: %s is blank. Fill in when the call started.", p.label(column))
		}
		return conversion.When{}
	}
	return p.time(column, cell)
}

// event reads when an event took place.
func (p *rowParser) event(column string) conversion.When {
	cell := p.text(column)
	if cell == "" {
		return conversion.When{}
	}
	return p.time(column, cell)
}

// eventOrNow reads when an event took place, or NOW for when the row comes.
func (p *rowParser) eventOrNow(column string) (when conversion.When, now bool) {
	switch text := p.text(column); {
	case text == "" && !p.faulted(column):
		p.fault(conversion.StartTimeMissing, column, "", "%s is blank. Fill in when it happened.", p.label(column))
	case strings.EqualFold(text, "now"):
		return conversion.When{}, true
	}
	return p.event(column), false
}

// first returns the first column whose cell is filled; if none is, the first that
// the table has.
func (p *rowParser) first(columns ...string) (column, cell string) {
	for _, column := range columns {
		if cell := p.text(column); cell != "" || p.faulted(column) {
			return column, cell
		}
	}
	for _, column := range columns {
		if _, ok := p.table.index[column]; ok {
			return column, ""
		}
	}
	return columns[len(columns)-1], ""
}

// faulted reports whether something is wrong with a column's cell already.
func (p *rowParser) faulted(column string) bool {
	return slices.ContainsFunc(p.faults, func(f rowFault) bool { return f.line == p.row.line && f.Column == column })
}

// time reads a written time, in the row's own zone if it names one.
func (p *rowParser) time(column, cell string) conversion.When {
	reader := p.table.times
	if zoneName := p.text("time_zone"); zoneName != "" {
		zone, err := p.zone(zoneName)
		if err != nil && conversion.ReadEvidence(cell).Zoneless {
			p.fault(conversion.TimeZoneUnknown, "time_zone", zoneName, "time_zone is %q, which is not a time zone. Write it as America/New_York or as -0400.", zoneName)
			return conversion.When{}
		}
		reader.Zone = zone
	}
	return p.timeBy(reader, column, cell)
}

// timeBy reads a time with a reader of its own zone.
func (p *rowParser) timeBy(reader conversion.TimeReader, column, cell string) conversion.When {
	when, err := reader.Read(cell)
	switch {
	case err == nil:
	case errors.Is(err, conversion.ErrTimeInGap):
		p.fault(conversion.StartTimeInDSTGap, column, cell, "%s is %q, a time that never was in %s: clocks were put forward over it. Correct it or add its offset.", p.label(column), cell, reader.Zone)
	case errors.Is(err, conversion.ErrTimeZoneless):
		p.fault(conversion.TimeZoneUnknown, column, cell, "%s is %q, and no time zone is known for it. Add an offset or fill in time_zone.", p.label(column), cell)
	case errors.Is(err, conversion.ErrTimeDamaged):
		p.fault(conversion.StartTimeInvalid, column, cell, "%s is %q: a spreadsheet has rounded the time. Format the column as text, enter the time again and re-export.", p.label(column), cell)
	case errors.Is(err, conversion.ErrDateOrder):
		p.fault(conversion.StartTimeInvalid, column, cell, "%s is %q: %v. Write it as 2026-03-31 14:05:09.", p.label(column), cell, err)
	default:
		p.fault(conversion.StartTimeInvalid, column, cell, "%s is %q, which is %v. Write it as 2026-03-31 14:05:09.", p.label(column), cell, err)
	}
	return when
}

// zone reads a row's own time zone.
func (p *rowParser) zone(name string) (*time.Location, error) {
	if zone, known := p.zones[name]; known {
		return zone, nil
	}
	zone, err := conversion.ParseZone(name)
	if err == nil {
		if p.zones == nil {
			p.zones = map[string]*time.Location{}
		}
		p.zones[name] = zone
	}
	return zone, err
}
