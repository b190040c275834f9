package ingest

import (
	"context"
	"errors"
	"strings"
	"time"

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
	return &Calls{cells: cells, parse: rowParser{table: t, account: t.settings.Account}}, nil
}

// Close ends the reading.
func (c *Calls) Close() error { return c.cells.rows.Close() }

// Next returns the next entry's call, or why it has none; isCall is false for
// entries of other kinds, such as signals. It returns io.EOF after the last.
func (c *Calls) Next() (call conversion.Call, isCall bool, rejection *conversion.Rejection, err error) {
	row, err := c.cells.read()
	var malformed *conversion.Rejection
	if errors.As(err, &malformed) {
		return conversion.Call{}, false, malformed, nil
	}
	if err != nil {
		return conversion.Call{}, false, nil, err
	}
	line := c.cells.rows.line
	if kind := strings.TrimSpace(row.TransactionType); kind != "" && !strings.EqualFold(kind, "call") {
		return conversion.Call{}, false, nil, nil
	}
	if c.parse.table.Dialect == invocaTransactions {
		call, rejection = c.parse.transaction(line, row)
	} else {
		call, rejection = c.parse.call(line, row)
	}
	return call, rejection == nil, rejection, nil
}

// call reads an entry of the mapped call log.
func (p *rowParser) call(line int, row *cells) (conversion.Call, *conversion.Rejection) {
	p.begin(line)
	call := conversion.Call{
		Line:      line,
		CallID:    p.id("call_id", row.CallID),
		ClickID:   p.id("click_id", row.ClickID),
		Caller:    p.anyPhone("calling_phone_number", row.Caller),
		Called:    p.anyPhone("called_phone_number", row.Called),
		Campaign:  p.id("campaign_id", row.Campaign),
		Publisher: p.id("publisher_id", row.Publisher),
		Status:    p.word("status", row.Status),
	}
	call.Start = p.callStart("start_time", row.StartTime, func(cell string) conversion.When { return p.time("start_time", cell, row.TimeZone) })
	call.Duration, _ = p.wholeNumber("duration_in_seconds", row.Duration)
	p.requireID("call_id", call.CallID)
	return call, p.rejection()
}

// transaction reads an entry of Invoca's Transactions log.
func (p *rowParser) transaction(line int, row *cells) (conversion.Call, *conversion.Rejection) {
	p.begin(line)
	call := conversion.Call{
		Line:          line,
		CallID:        p.id("complete_call_id", row.CompleteCallID),
		TransactionID: p.id("transaction_id", row.TransactionID),
		Corrects:      p.id("corrects_transaction_id", row.Corrects),
		Caller:        p.anyPhone("calling_phone_number", row.Caller),
		Called:        p.anyPhone("called_phone_number", row.Called),
		Campaign:      p.id("advertiser_campaign_id", row.AdvertiserCampaign),
		Publisher:     p.id("affiliate_id", row.Affiliate),
		Status:        p.word("call_result_description_detail", row.CallResult),
	}
	if call.CallID == "" {
		call.CallID = call.TransactionID
	}
	column, cell := p.first([]named{
		{"start_time_utc", row.StartUTC}, {"start_time_network_timezone", row.StartNetwork},
		{"start_time_xml", row.StartXML}, {"start_time_local", row.StartLocal},
	})
	reader := p.table.times
	switch column {
	case "start_time_utc", "start_time_xml":
		reader.Zone = time.UTC
	case "start_time_local": // on the clock of a caller who may be anywhere
		reader.Zone = nil
	}
	call.Start = p.callStart(column, cell, func(cell string) conversion.When { return p.timeBy(reader, column, cell) })
	call.Duration, _ = p.wholeNumber("duration", row.TotalDuration)
	column, _ = p.first([]named{{"complete_call_id", row.CompleteCallID}, {"transaction_id", row.TransactionID}})
	p.requireID(column, call.CallID)
	return call, p.rejection()
}

func (p *rowParser) requireID(column, id string) {
	if id == "" && !p.faulted(column) {
		p.faults.Add(conversion.OptionMissing, column, "", "The call has no id: %s is blank. Fill it in.", p.label(column))
	}
}

// callStart reads the exact moment a call started. A time that occurs twice is
// no exact moment.
func (p *rowParser) callStart(column, cell string, read func(cell string) conversion.When) conversion.Millis {
	cell = p.clean(column, cell)
	if cell == "" {
		if p.faulted(column) {
			return 0
		}
		p.faults.Add(conversion.StartTimeMissing, column, "", "%s is blank. Fill in when the call started.", p.label(column))
		return 0
	}
	when := read(cell)
	if when.Twice() {
		p.faults.Add(conversion.StartTimeInvalid, column, cell, "%s is %q, a time that occurs twice because clocks were put back. Add its offset.", p.label(column), cell)
	}
	return when.First.From
}

// anyPhone reads a number of a call log. A number that can't be read is left
// out: the call took place all the same.
func (p *rowParser) anyPhone(column, cell string) conversion.Phone {
	phone, err := conversion.ParsePhone(p.clean(column, cell), p.account.Region)
	if errors.Is(err, conversion.ErrPhoneDamaged) {
		p.faults.Add(conversion.PhoneDamagedByExcel, column, cell, "%s is %q: a spreadsheet has turned the number into a rounded one. Export the call log again without opening it in one.", p.label(column), cell)
	}
	if err != nil {
		return 0
	}
	return phone
}
