package ingest

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

// eventType reads the kind of conversion by its name or a code; an account that
// lists its event types takes no others.
func (p *rowParser) eventType(column string) string {
	name := p.text(column)
	if t := p.account.EventType(name); t != nil {
		return t.Name
	}
	if name != "" && len(p.account.EventTypes) > 0 {
		p.unknownType(column, name)
	}
	return name
}

func (p *rowParser) unknownType(column, name string) {
	known := "it has none"
	var codes []string
	if types := p.account.EventTypes; len(types) > 0 {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = t.Name
			codes = append(codes, t.Codes...)
		}
		if known = "it has " + quoteList(names); len(codes) > 0 {
			known += ", with the codes " + quoteList(codes)
		}
	}
	p.fault(conversion.EventTypeUnknown, column, name, "%s is %q, which is none of the account's event types (%s). Write it letter by letter as it is there, or have it added.", p.label(column), name, known)
}

// eventTypeOf reads an event type from the first of two columns that is filled.
func (p *rowParser) eventTypeOf(columns ...string) string {
	column, cell := p.first(columns...)
	if cell == "" {
		p.fault(conversion.EventTypeUnknown, column, "", "The row doesn't say what happened: %s is blank. Fill it in.", p.label(column))
		return ""
	}
	return p.eventType(column)
}

// eventTypeFolded reads an event type whatever its case.
func (p *rowParser) eventTypeFolded(column string) string {
	name := p.text(column)
	if exact := p.account.EventType(name); exact != nil {
		return exact.Name
	}
	for _, t := range p.account.EventTypes {
		if strings.EqualFold(t.Name, name) {
			return t.Name
		}
	}
	if len(p.account.EventTypes) > 0 {
		return p.eventType(column)
	}
	return strings.ToLower(name)
}

// hidden are characters that no one sees: of no width, or that change a text's direction.
var hidden = regexp.MustCompile(`[\x{00AD}\x{180E}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{2069}\x{FEFF}]`)

// id reads an identifier and notes if a spreadsheet has damaged it.
func (p *rowParser) id(column string) string {
	id := p.text(column)
	if hidden.MatchString(id) {
		p.fault(conversion.RowMalformed, column, id, "%s has characters that can't be seen, and would fit no other writing of the id. Enter %q anew.", p.label(column), hidden.ReplaceAllString(id, ""))
	}
	if len(id) < 4 {
		return id
	}
	switch {
	case conversion.IsScientific(id):
		p.fault(conversion.IDDamagedByExcel, column, id, "%s is %q: a spreadsheet has turned the id into a rounded number. Format the column as text, enter the id again and re-export.", p.label(column), id)
	case len(id) > excelDigits && isDigits(id) && endsInZeros(id) && (len(id) > excelDigits+1 || !p.table.intactIDs[column]):
		p.fault(conversion.IDDamagedByExcel, column, id, "%s is %q: a spreadsheet keeps 15 digits of a number and has turned the rest to zeros. Format the column as text, enter the id again and re-export.", p.label(column), id)
	}
	return id
}

func (p *rowParser) phone(column string) conversion.Phone {
	text := p.text(column)
	if text == "" {
		return 0
	}
	phone, err := conversion.ParsePhone(text, p.account.Region)
	switch {
	case errors.Is(err, conversion.ErrPhoneDamaged):
		p.fault(conversion.PhoneDamagedByExcel, column, text, "%s is %q: a spreadsheet has turned the number into a rounded one. Format the column as text, enter the number again and re-export.", p.label(column), text)
	case err != nil:
		p.fault(conversion.PhoneInvalid, column, text, "%s is %q, which can't be a telephone number%s. Write it as +12125550123, or leave it blank if it is not known.", p.label(column), text, inRegion(p.account.Region))
	}
	return phone
}

func inRegion(region string) string {
	if region == "" {
		return " (without a country code, and no region is set for your account)"
	}
	return " (region " + region + ")"
}

func (p *rowParser) wholeNumber(column string) (int, bool) {
	text := p.text(column)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, ".0"))
	if err != nil || n < 0 || n > 1_000_000 {
		p.fault(conversion.QuantityInvalid, column, text, "%s is %q, which is not a whole number from 0 to 1000000. Correct it or leave it blank.", p.label(column), text)
		return 0, false
	}
	return n, true
}

// count reads how many of something there are: at least 1.
func (p *rowParser) count(column string) (int, bool) {
	text := p.text(column)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, ".0"))
	if err != nil || n < 1 || n > 1_000_000 {
		p.fault(conversion.QuantityInvalid, column, text, "%s is %q, which is not a whole number from 1 to 1000000. Correct it.", p.label(column), text)
		return 0, false
	}
	return n, true
}

// flag reads a yes or no; ok is false if it is neither.
func (p *rowParser) flag(column string) (set, ok bool) {
	text := p.text(column)
	if set, ok = flagOf(text); !ok {
		p.fault(conversion.OptionInvalid, column, text, "%s is %q. Write 1 for yes, 0 for no.", p.label(column), text)
	}
	return set, ok
}

func flagOf(text string) (set, ok bool) {
	switch strings.ToLower(text) {
	case "", "0", "false", "no", "n":
		return false, true
	case "1", "true", "yes", "y":
		return true, true
	}
	return false, false
}

func (p *rowParser) currency(column string) conversion.Currency {
	text := p.text(column)
	if text == "" {
		return p.account.Currency
	}
	if text == string(p.account.Currency) {
		return p.account.Currency
	}
	c, err := conversion.ParseCurrency(text)
	if err != nil {
		p.fault(conversion.CurrencyInvalid, column, text, "%s is %q, which is not an ISO 4217 currency. Write it as USD.", p.label(column), text)
		return p.account.Currency
	}
	return c
}

func (p *rowParser) amount(column string, currency conversion.Currency) conversion.Amount {
	text := p.text(column)
	if text == "" {
		return conversion.Amount{}
	}
	amount, err := conversion.ParseAmount(text, currency, p.account.DecimalMark)
	switch {
	case errors.Is(err, conversion.ErrAmountAmbiguous):
		p.fault(conversion.AmountAmbiguous, column, text, "%s is %q: %v. Write it without a thousands mark.", p.label(column), text, err)
	case errors.Is(err, conversion.ErrAmountCurrency):
		p.fault(conversion.CurrencyMismatch, column, text, "%s is %q, but the row's currency is %s. Correct one of them.", p.label(column), text, currency)
	case errors.Is(err, conversion.ErrAmountDamaged):
		p.fault(conversion.AmountInvalid, column, text, "%s is %q: %v. Format the column as a plain number and re-export.", p.label(column), text, err)
	case err != nil:
		p.fault(conversion.AmountInvalid, column, text, "%s is %q, which is %v. Write it as 1234.50.", p.label(column), text, err)
	case amount.Minor < 0 && !p.account.NegativeAmounts:
		p.fault(conversion.AmountInvalid, column, text, "%s is %q, which is negative. Correct it, or have negative_amounts set for your account.", p.label(column), text)
		return conversion.Amount{}
	}
	return amount
}

// payout reads an amount that takes the place of what the account's rules pay.
func (p *rowParser) payout(column string, currency conversion.Currency) conversion.Amount {
	paid := p.amount(column, currency)
	if paid.Given && p.account.NoRowPayouts {
		p.fault(conversion.OptionInvalid, column, p.text(column), "%s is %s, but your account's payouts come from its rules alone. Leave it blank.", p.label(column), paid)
	}
	return paid
}

// percent reads a percentage from 0 to 100.
func (p *rowParser) percent(column string) (rate decimal.Decimal, given bool) {
	text := p.text(column)
	if text == "" {
		return rate, false
	}
	digits := strings.TrimSpace(strings.TrimSuffix(text, "%"))
	rate, err := decimal.NewFromString(digits)
	if err != nil || strings.Trim(digits, "0123456789.") != "" || rate.GreaterThan(decimal.NewFromInt(100)) {
		p.fault(conversion.AmountInvalid, column, text, "%s is %q, which is no percentage from 0 to 100. Write it as 12.5.", p.label(column), text)
		return decimal.Decimal{}, false
	}
	return rate, true
}

// items reads what was sold and how many of each.
func (p *rowParser) items() (skus, quantities string) {
	skus, quantities = p.list("sku_list"), p.list("quantity_list")
	if quantities == "" {
		return skus, ""
	}
	if n, m := strings.Count(skus, ",")+1, strings.Count(quantities, ",")+1; skus == "" || n != m {
		if skus == "" {
			n = 0
		}
		p.fault(conversion.ListLengthsDiffer, "quantity_list", quantities, "%s has %s, %s has %d. Give one quantity for each SKU, in the same order.", p.label("quantity_list"), conversion.Count(m, "entry"), p.label("sku_list"), n)
	}
	for quantity := range strings.SplitSeq(quantities, ",") {
		if n, err := strconv.Atoi(quantity); err != nil || n < 1 {
			p.fault(conversion.QuantityInvalid, "quantity_list", quantity, "%s holds %q. Every quantity must be a whole number, at least 1.", p.label("quantity_list"), quantity)
		}
	}
	return skus, quantities
}

// list reads a comma-separated cell, trimmed entry by entry.
func (p *rowParser) list(column string) string {
	text := p.text(column)
	if !strings.Contains(text, ",") {
		return text
	}
	entries := strings.Split(text, ",")
	for i := range entries {
		entries[i] = strings.TrimSpace(entries[i])
	}
	return strings.Join(entries, ",")
}

// kept gathers what the row says of the customer, or else brings that we keep, as
// a JSON object.
func (p *rowParser) kept(columns []string) string {
	var said map[string]string
	keep := func(name, text string) {
		if text == "" {
			return
		}
		if said == nil {
			said = map[string]string{}
		}
		said[name] = text
	}
	for _, column := range columns {
		keep(column, p.text(column))
	}
	if p.table.Dialect.Custom {
		for _, at := range p.table.unknown {
			header := strings.TrimSpace(p.table.Header[at])
			keep(header, p.clean(header, p.row.cells[at]))
		}
	}
	if said == nil {
		return ""
	}
	text, _ := json.Marshal(said) // a map of strings always marshals
	return string(text)
}
