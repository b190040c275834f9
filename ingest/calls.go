package ingest

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"calltally/conversion"
)

// Calls reads a call log's entries.
type Calls struct {
	cells *cellReader
	parse rowParser
}

// Calls opens the table's entries. Close the reader when done.
func (t *Table) Calls(ctx context.Context) (*Calls, error) {
	cells, err := t.cells(ctx)
	if err != nil {
		return nil, err
	}
	return &Calls{cells: cells, parse: t.parser()}, nil
}

// Close ends the reading.
func (c *Calls) Close() error { return c.cells.rows.Close() }

// Next returns the next entry's call, or why it has none; isCall is false for
// entries of other kinds, such as signals. It returns io.EOF after the last.
func (c *Calls) Next() (call conversion.Call, isCall bool, rejection *conversion.Rejection, err error) {
	row, err := c.cells.read()
	if err != nil || row.broken != nil {
		return conversion.Call{}, false, row.broken, err
	}
	p := &c.parse
	p.begin(row)
	call, isCall = p.table.Dialect.call(p)
	if !isCall {
		return conversion.Call{}, false, nil, nil
	}
	call.Line = row.line
	rejection = p.rejectionOf(row)
	p.end()
	return call, rejection == nil, rejection, nil
}

// logColumns are what a call log calls what every log tells; "" for what it
// doesn't. A log without an id has one made by its dialect.
type logColumns struct{ id, caller, called, duration, campaign, publisher, status string }

// logged reads what every call log tells.
func (p *rowParser) logged(start conversion.Millis, log logColumns) conversion.Call {
	call := conversion.Call{
		Start: start, CallID: p.id(log.id), TransactionID: p.id("transaction_id"), ExternalID: p.id("external_id"), ClickID: p.id("click_id"),
		Caller: p.anyPhone(log.caller), Called: p.anyPhone(log.called),
		Campaign: p.id(log.campaign), Publisher: p.id(log.publisher), Status: p.text(log.status),
		Cost: p.amount("cost", p.account.Currency), Account: p.text("account"),
	}
	call.Duration = p.length(log.duration)
	if log.id != "" && call.CallID == "" && !p.faulted(log.id) {
		p.fault(conversion.OptionMissing, log.id, "", "The call has no id: %s is blank. Fill it in.", p.label(log.id))
	}
	return call
}

// length reads how long a call took: seconds, whose fractions don't count, or 1:02:03.
func (p *rowParser) length(column string) (seconds int) {
	seconds, _ = p.lengthGiven(column)
	return seconds
}

// lengthGiven reads the same, and says whether it is given.
func (p *rowParser) lengthGiven(column string) (seconds int, given bool) {
	text := p.text(column)
	if whole, part, cut := strings.Cut(text, "."); cut && isDigits(whole) && isDigits(part) && len(whole) < 7 {
		seconds, _ = strconv.Atoi(whole) // at most six digits
		return seconds, true
	}
	if !strings.Contains(text, ":") {
		return p.wholeNumber(column)
	}
	total := 0
	parts := strings.Split(text, ":")
	for _, part := range parts {
		if len(part) > 2 || !isDigits(part) || len(parts) > 3 {
			p.fault(conversion.QuantityInvalid, column, text, "%s is %q, which is no length of a call. Write it in seconds, or as 1:02:03.", p.label(column), text)
			return 0, false
		}
		n, _ := strconv.Atoi(part) // one or two digits
		total = total*60 + n
	}
	return total, true
}

// callStart reads the exact moment a call started, as the log's own reader does or,
// if that is nil, like any time. One that occurs twice is no exact moment.
func (p *rowParser) callStart(column string, reader *conversion.TimeReader) conversion.Millis {
	cell := p.text(column)
	if cell == "" {
		if !p.faulted(column) {
			p.fault(conversion.StartTimeMissing, column, "", "%s is blank. Fill in when the call started.", p.label(column))
		}
		return 0
	}
	var when conversion.When
	if reader != nil {
		when = p.timeBy(*reader, column, cell)
	} else {
		when = p.time(column, cell)
	}
	if when.Twice() {
		p.fault(conversion.StartTimeInvalid, column, cell, "%s is %q, a time that occurs twice because clocks were put back. Add its offset.", p.label(column), cell)
	}
	const skew = 24 * 60 * 60 * 1000 // milliseconds; clocks and zones differ
	if now := p.table.settings.ReceivedAt; now != 0 && when.First.From > now+skew {
		p.fault(conversion.CallInFuture, column, cell, "%s is %q, which has not come yet. Check the date and the time zone.", p.label(column), cell)
	}
	return when.First.From
}

// anyPhone reads a number of a call log. A number that can't be read is left
// out: the call took place all the same.
func (p *rowParser) anyPhone(column string) conversion.Phone {
	cell := p.text(column)
	phone, err := conversion.ParsePhone(cell, p.account.Region)
	if errors.Is(err, conversion.ErrPhoneDamaged) {
		p.fault(conversion.PhoneDamagedByExcel, column, cell, "%s is %q: a spreadsheet has turned the number into a rounded one. Export the call log again without opening it in one.", p.label(column), cell)
	}
	if err != nil {
		return 0
	}
	return phone
}
