package ingest

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"calltally/conversion"
)

// rowParser reads one row after another into claims or calls, and notes every
// fault of a row.
type rowParser struct {
	table   *Table
	account *conversion.Account
	faults  conversion.Rejection
	zones   map[string]*time.Location // those that rows have named so far
}

// begin starts a row.
func (p *rowParser) begin(line int) { p.faults = conversion.Rejection{Line: line} }

// rejection returns the row's faults, or nil if there are none.
func (p *rowParser) rejection() *conversion.Rejection {
	if len(p.faults.Faults) == 0 {
		return nil
	}
	faults := p.faults
	return &faults
}

// label names a column as its sender does, and as we do if that differs.
func (p *rowParser) label(column string) string {
	for i, field := range p.table.fields {
		header := strings.TrimSpace(p.table.Header[i])
		switch {
		case field != column:
		case fold(header) == fold(column):
			return header
		default:
			return header + " (" + column + ")"
		}
	}
	return column
}

// clean unwraps and trims a cell and notes if it is too long.
func (p *rowParser) clean(column, cell string) string {
	if cell == "" {
		return ""
	}
	cell = strings.TrimSpace(unwrap(strings.TrimSpace(cell)))
	if len(cell) > maxCell {
		p.faults.Add(conversion.CellTooLong, column, strings.ToValidUTF8(cell[:40], "")+"…", "%s is %d KiB long; at most %d KiB are read. Shorten it.", p.label(column), len(cell)>>10, maxCell>>10)
		return ""
	}
	return cell
}

// word reads a short text that we compare.
func (p *rowParser) word(column, cell string) string { return p.clean(column, cell) }

// eventType reads the kind of conversion; an account that lists its event types
// takes no others.
func (p *rowParser) eventType(cell string) string {
	name := p.word("event_type", cell)
	if _, known := p.account.RulesFor(name); !known {
		p.faults.Add(conversion.EventTypeUnknown, "event_type", name, "event_type is %q, which is none of the account's event types. Names are compared letter by letter.", name)
	}
	return name
}

// id reads an identifier and notes if a spreadsheet has damaged it.
func (p *rowParser) id(column, cell string) string {
	id := p.clean(column, cell)
	if len(id) < 4 {
		return id
	}
	switch {
	case conversion.IsScientific(id):
		p.faults.Add(conversion.IDDamagedByExcel, column, id, "%s is %q: a spreadsheet has turned the id into a rounded number. Format the column as text, enter the id again and re-export.", p.label(column), id)
	case len(id) > excelDigits && isDigits(id) && endsInZeros(id) && (len(id) > excelDigits+1 || !p.table.intactIDs[column]):
		p.faults.Add(conversion.IDDamagedByExcel, column, id, "%s is %q: a spreadsheet keeps 15 digits of a number and has turned the rest to zeros. Format the column as text, enter the id again and re-export.", p.label(column), id)
	}
	return id
}

func (p *rowParser) phone(column, cell string) conversion.Phone {
	text := p.clean(column, cell)
	if text == "" {
		return 0
	}
	phone, err := conversion.ParsePhone(text, p.account.Region)
	switch {
	case errors.Is(err, conversion.ErrPhoneDamaged):
		p.faults.Add(conversion.PhoneDamagedByExcel, column, text, "%s is %q: a spreadsheet has turned the number into a rounded one. Format the column as text, enter the number again and re-export.", p.label(column), text)
	case err != nil:
		p.faults.Add(conversion.PhoneInvalid, column, text, "%s is %q, which can't be a telephone number%s. Write it as +12125550123, or leave it blank if it is not known.", p.label(column), text, inRegion(p.account.Region))
	}
	return phone
}

func inRegion(region string) string {
	if region == "" {
		return " (without a country code, and no region is set for your account)"
	}
	return " (region " + region + ")"
}

// start reads when the call started. The epoch column wins over the written
// one.
func (p *rowParser) start(row *cells, required bool) conversion.When {
	column, cell := p.first([]named{{"start_time_t", row.StartTimeT}, {"start_time", row.StartTime}})
	if cell == "" {
		if required && !p.faulted(column) {
			p.faults.Add(conversion.StartTimeMissing, column, "", "The row names no call: %s is blank. Fill in when the call started.", p.label(column))
		}
		return conversion.When{}
	}
	return p.time(column, cell, row.TimeZone)
}

// named is a cell and the name of its column.
type named struct{ column, cell string }

// first returns the first cell that is filled; if none is, the first column that
// the table has.
func (p *rowParser) first(all []named) (column, cell string) {
	for _, n := range all {
		if cell := p.clean(n.column, n.cell); cell != "" || p.faulted(n.column) {
			return n.column, cell
		}
	}
	for _, n := range all {
		if slices.Contains(p.table.fields, n.column) {
			return n.column, ""
		}
	}
	return all[len(all)-1].column, ""
}

// faulted reports whether something is wrong with a column's cell already.
func (p *rowParser) faulted(column string) bool {
	return slices.ContainsFunc(p.faults.Faults, func(f conversion.Fault) bool { return f.Column == column })
}

func (p *rowParser) time(column, cell, zoneName string) conversion.When {
	reader := p.table.times
	if zoneName = p.clean("time_zone", zoneName); zoneName != "" {
		zone, err := p.zone(zoneName)
		if err != nil && conversion.ReadEvidence(cell).Zoneless {
			p.faults.Add(conversion.TimeZoneUnknown, "time_zone", zoneName, "time_zone is %q, which is not a time zone. Write it as America/New_York or as -0400.", zoneName)
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
		p.faults.Add(conversion.StartTimeInDSTGap, column, cell, "%s is %q, a time that never was in %s: clocks were put forward over it. Correct it or add its offset.", p.label(column), cell, reader.Zone)
	case errors.Is(err, conversion.ErrTimeZoneless):
		p.faults.Add(conversion.TimeZoneUnknown, column, cell, "%s is %q, and no time zone is known for it. Add an offset or fill in time_zone.", p.label(column), cell)
	case errors.Is(err, conversion.ErrTimeDamaged):
		p.faults.Add(conversion.StartTimeInvalid, column, cell, "%s is %q: a spreadsheet has rounded the time. Format the column as text, enter the time again and re-export.", p.label(column), cell)
	case errors.Is(err, conversion.ErrDateOrder):
		p.faults.Add(conversion.StartTimeInvalid, column, cell, "%s is %q: %v. Write it as 2026-03-31 14:05:09.", p.label(column), cell, err)
	default:
		p.faults.Add(conversion.StartTimeInvalid, column, cell, "%s is %q, which is %v. Write it as 2026-03-31 14:05:09.", p.label(column), cell, err)
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

func (p *rowParser) wholeNumber(column, cell string) (int, bool) {
	text := p.clean(column, cell)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, ".0"))
	if err != nil || n < 0 || n > 1_000_000 {
		p.faults.Add(conversion.QuantityInvalid, column, text, "%s is %q, which is not a whole number from 0 to 1000000. Correct it or leave it blank.", p.label(column), text)
		return 0, false
	}
	return n, true
}

// flag reads a yes or no; ok is false if it is neither.
func (p *rowParser) flag(column, cell string) (set, ok bool) {
	switch text := strings.ToLower(p.clean(column, cell)); text {
	case "", "0", "false", "no", "n":
		return false, true
	case "1", "true", "yes", "y":
		return true, true
	default:
		p.faults.Add(conversion.OptionInvalid, column, text, "%s is %q. Write 1 for yes, 0 or nothing for no.", p.label(column), text)
		return false, false
	}
}

func (p *rowParser) currency(column, cell string) conversion.Currency {
	text := p.clean(column, cell)
	if text == "" {
		return p.account.Currency
	}
	if text == string(p.account.Currency) {
		return p.account.Currency
	}
	c, err := conversion.ParseCurrency(text)
	if err != nil {
		p.faults.Add(conversion.CurrencyInvalid, column, text, "%s is %q, which is not an ISO 4217 currency. Write it as USD.", p.label(column), text)
		return p.account.Currency
	}
	return c
}

func (p *rowParser) amount(column, cell string, currency conversion.Currency) conversion.Amount {
	text := p.clean(column, cell)
	if text == "" {
		return conversion.Amount{}
	}
	amount, err := conversion.ParseAmount(text, currency, p.account.DecimalMark)
	switch {
	case errors.Is(err, conversion.ErrAmountAmbiguous):
		p.faults.Add(conversion.AmountAmbiguous, column, text, "%s is %q: %v. Write it without a thousands mark.", p.label(column), text, err)
	case errors.Is(err, conversion.ErrAmountCurrency):
		p.faults.Add(conversion.CurrencyMismatch, column, text, "%s is %q, but the row's currency is %s. Correct one of them.", p.label(column), text, currency)
	case errors.Is(err, conversion.ErrAmountDamaged):
		p.faults.Add(conversion.AmountInvalid, column, text, "%s is %q: %v. Format the column as a plain number and re-export.", p.label(column), text, err)
	case err != nil:
		p.faults.Add(conversion.AmountInvalid, column, text, "%s is %q, which is %v. Write it as 1234.50.", p.label(column), text, err)
	case amount.Minor < 0 && !p.account.NegativeAmounts:
		p.faults.Add(conversion.AmountInvalid, column, text, "%s is %q, which is negative. Correct it, or have negative_amounts set for your account.", p.label(column), text)
		return conversion.Amount{}
	}
	return amount
}

// items reads what was sold and how many of each.
func (p *rowParser) items(row *cells) (skus, quantities string) {
	skus, quantities = p.list("sku_list", row.SKUs), p.list("quantity_list", row.Quantities)
	if quantities == "" {
		return skus, ""
	}
	if n, m := strings.Count(skus, ",")+1, strings.Count(quantities, ",")+1; skus == "" || n != m {
		if skus == "" {
			n = 0
		}
		p.faults.Add(conversion.ListLengthsDiffer, "quantity_list", quantities, "%s has %s, %s has %d. Give one quantity for each SKU, in the same order.", p.label("quantity_list"), conversion.Count(m, "entry"), p.label("sku_list"), n)
	}
	for quantity := range strings.SplitSeq(quantities, ",") {
		if n, err := strconv.Atoi(quantity); err != nil || n < 1 {
			p.faults.Add(conversion.QuantityInvalid, "quantity_list", quantity, "%s holds %q. Every quantity must be a whole number, at least 1.", p.label("quantity_list"), quantity)
		}
	}
	return skus, quantities
}

// list reads a comma-separated cell, trimmed entry by entry.
func (p *rowParser) list(column, cell string) string {
	text := p.clean(column, cell)
	if !strings.Contains(text, ",") {
		return text
	}
	entries := strings.Split(text, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return strings.Join(entries, ",")
}

// customer gathers what the row says of the customer, as a JSON object.
func (p *rowParser) customer(row *cells) string {
	var said map[string]string
	for _, part := range [...]struct{ column, cell string }{
		{"email_address", row.Email}, {"name", row.Name}, {"address1", row.Address1}, {"address2", row.Address2},
		{"order_city", row.City}, {"state_or_province", row.State}, {"country", row.Country}, {"zip_code", row.Zip},
		{"home_phone_number", row.Home}, {"cell_phone_number", row.Cell}, {"opt_in_sms", row.OptIn},
	} {
		text := p.clean(part.column, part.cell)
		if text == "" {
			continue
		}
		if said == nil {
			said = map[string]string{}
		}
		said[part.column] = text
	}
	if said == nil {
		return ""
	}
	text, _ := json.Marshal(said) // a map of strings always marshals
	return string(text)
}
