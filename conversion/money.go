package conversion

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"
)

// Currency is an ISO 4217 code in capitals, or "" where none is known.
type Currency string

// ParseCurrency reads the ISO 4217 code of a currency that is legal tender, in
// any case.
func ParseCurrency(text string) (Currency, error) {
	code := Currency(strings.ToUpper(strings.TrimSpace(text)))
	if !tender()[code] {
		return "", fmt.Errorf("%q is not an ISO 4217 currency", text)
	}
	return code, nil
}

// tender are the currencies in use: those of the Unicode tables, and those that
// ISO 4217 has added since the tables were made.
var tender = sync.OnceValue(func() map[Currency]bool {
	all := map[Currency]bool{"MRU": true, "STN": true, "UYW": true, "VES": true, "VED": true, "SLE": true, "ZWG": true, "XCG": true}
	for known := currency.Query(); known.Next(); {
		all[Currency(known.Unit().String())] = true
	}
	return all
})

// Digits is the number of decimal places of the currency's minor unit by ISO
// 4217. (The Unicode tables count what people use: no cents for the rupiah.)
func (c Currency) Digits() int32 {
	switch c {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	}
	return 2
}

// Amount is a sum of money as a whole number of the currency's minor unit
// (cents), or the absence of one: a blank cell is not zero.
type Amount struct {
	Minor    int64
	Currency Currency
	Given    bool
}

// Cents returns a given amount of minor units.
func Cents(minor int64, currency Currency) Amount {
	return Amount{Minor: minor, Currency: currency, Given: true}
}

// String returns the amount as a plain decimal ("60.50"), or "" if not given.
func (a Amount) String() string {
	if !a.Given {
		return ""
	}
	return decimal.New(a.Minor, -a.Currency.Digits()).StringFixed(a.Currency.Digits())
}

// Legible writes an amount for sentences: 20,014.50 USD.
func (c Currency) Legible(value decimal.Decimal) string {
	return strings.TrimSpace(Thousands(value.StringFixed(max(c.Digits(), -value.Exponent()))) + " " + string(c))
}

// Thousands sets the thousands of a plain decimal apart: 20,014.50.
func Thousands(number string) string {
	whole, _, _ := strings.Cut(number, ".")
	for at := len(whole) - 3; at > 0 && number[at-1] != '-'; at -= 3 {
		number = number[:at] + "," + number[at:]
	}
	return number
}

// Percent returns rate per cent of the amount, rounded half-even at the minor
// unit.
func (a Amount) Percent(rate decimal.Decimal) Amount {
	exact := decimal.New(a.Minor, 0).Mul(rate).Shift(-2)
	return Cents(exact.RoundBank(0).IntPart(), a.Currency)
}

// mostMinor bounds an amount, so that sums of a few never overflow.
const mostMinor = math.MaxInt64 / 1000

// Plus adds an amount of the same currency; ok is false if that is more than an
// amount can be.
func (a Amount) Plus(b Amount) (sum Amount, ok bool) {
	minor := a.Minor + b.Minor
	return Cents(minor, cmp.Or(a.Currency, b.Currency)), max(minor, -minor) <= mostMinor
}

// Times multiplies an amount by a number that is not negative; ok is false if that is
// more than an amount can be.
func (a Amount) Times(n int) (product Amount, ok bool) {
	if n > 0 && max(a.Minor, -a.Minor) > mostMinor/int64(n) {
		return a, false
	}
	return Cents(a.Minor*int64(n), a.Currency), true
}

// AmountFromDecimal turns an exact decimal into minor units. More decimal
// places than the currency has are an error, never rounded.
func AmountFromDecimal(d decimal.Decimal, c Currency) (Amount, error) {
	minor := d.Shift(c.Digits())
	if !minor.IsInteger() {
		return Amount{}, fmt.Errorf("%w: %s has at most %d decimal places", ErrAmountInvalid, c, c.Digits())
	}
	if minor.Abs().GreaterThan(decimal.NewFromInt(mostMinor)) {
		return Amount{}, fmt.Errorf("%w: too large", ErrAmountInvalid)
	}
	return Cents(minor.IntPart(), c), nil
}

var (
	// ErrAmountInvalid says that the text is no sum of money.
	ErrAmountInvalid = errors.New("not an amount")
	// ErrAmountAmbiguous says that the text can be read as two different sums.
	ErrAmountAmbiguous = errors.New("two readings are possible")
	// ErrAmountDamaged says that a spreadsheet has rounded the sum.
	ErrAmountDamaged = errors.New("a spreadsheet has rounded it")
	// ErrAmountCurrency says that the text carries the mark of another currency.
	ErrAmountCurrency = errors.New("another currency")
)

// marks are the currency signs people type into amount cells, and the
// currencies each may stand for.
var marks = map[string][]Currency{
	"$":   {"USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "TWD", "ARS", "CLP", "COP"},
	"US$": {"USD"}, "C$": {"CAD"}, "A$": {"AUD"}, "€": {"EUR"}, "£": {"GBP"}, "¥": {"JPY", "CNY"}, "₹": {"INR"},
}

const maxAmountLength = 40

// ParseAmount reads a sum of money as people write it: 1234.5, 1,234.50,
// 1.234,50, $1,234.50, (5.00), 1 234,50. decimalMark ('.' or ',') is the mark
// of the account's locale: where a single mark before three digits is the
// locale's decimal mark, it is read as that; where it may group thousands, two
// readings are possible and the amount is an error. A blank text is an amount
// that is not given.
func ParseAmount(text string, c Currency, decimalMark byte) (Amount, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Amount{}, nil
	}
	if len(text) > maxAmountLength {
		return Amount{}, fmt.Errorf("%w: longer than %d characters", ErrAmountInvalid, maxAmountLength)
	}
	if minor, ok := plainMinor(text, c.Digits()); ok {
		return Cents(minor, c), nil
	}
	if IsScientific(text) {
		return Amount{}, ErrAmountDamaged
	}
	digits, negative, err := stripMarks(text, c)
	if err != nil {
		return Amount{}, err
	}
	plain, err := settleSeparators(digits, decimalMark)
	if err != nil {
		return Amount{}, err
	}
	exact, err := decimal.NewFromString(plain)
	if err != nil {
		return Amount{}, ErrAmountInvalid
	}
	if negative {
		exact = exact.Neg()
	}
	return AmountFromDecimal(exact, c)
}

// plainMinor reads what most files hold without exact decimals: digits, and of which a
// point with one or two more can only set apart the decimals.
func plainMinor(text string, decimals int32) (minor int64, ok bool) {
	const most = 12
	whole, fraction, _ := strings.Cut(text, ".")
	if len(whole) == 0 || len(whole) > most || len(fraction) > min(2, int(decimals)) || len(text) == len(whole)+1 {
		return 0, false
	}
	for _, part := range []string{whole, fraction} {
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return 0, false
			}
			minor = minor*10 + int64(c-'0')
		}
	}
	for range int(decimals) - len(fraction) {
		minor *= 10
	}
	return minor, minor <= mostMinor
}

// stripMarks takes sign, parentheses and currency marks off an amount.
func stripMarks(text string, c Currency) (digits string, negative bool, err error) {
	if inner, ok := strings.CutPrefix(text, "("); ok && strings.HasSuffix(inner, ")") {
		text, negative = strings.TrimSpace(strings.TrimSuffix(inner, ")")), true
	}
	start := strings.IndexAny(text, "0123456789.,")
	end := strings.LastIndexAny(text, "0123456789") + 1
	if start < 0 || end <= start {
		return "", false, ErrAmountInvalid
	}
	for _, outside := range []string{text[:start], text[end:]} {
		if minuses := strings.Count(outside, "-") + strings.Count(outside, "−"); minuses > 0 {
			if negative || minuses > 1 {
				return "", false, ErrAmountInvalid
			}
			negative = true
			outside = withoutMinus.Replace(outside)
		}
		outside = strings.TrimSpace(strings.Trim(strings.TrimSpace(outside), "+"))
		if outside == "" {
			continue
		}
		marked, known := marks[outside]
		if !known {
			named, err := ParseCurrency(outside)
			if err != nil {
				return "", false, ErrAmountInvalid
			}
			marked = []Currency{named}
		}
		if !slices.Contains(marked, c) {
			return "", false, fmt.Errorf("%w: %s", ErrAmountCurrency, outside)
		}
	}
	return text[start:end], negative, nil
}

var (
	withoutMinus = strings.NewReplacer("-", "", "−", "")
	sameSpaces   = strings.NewReplacer(" ", "'", "\u00a0", "'", "\u202f", "'", "’", "'")
)

// settleSeparators turns grouped digits into a plain decimal, if there is one
// way to read them.
func settleSeparators(digits string, decimalMark byte) (string, error) {
	digits = sameSpaces.Replace(digits)
	asGrouped := func(groups string, mark byte) (string, bool) { return readGrouped(digits, groups, mark) }
	withPoint, point := asGrouped(",'", '.')
	withComma, comma := asGrouped(".'", ',')
	switch {
	case point && comma && withPoint == withComma:
		return withPoint, nil
	case point && comma:
		// A single mark before three digits: 1,234 or 1.234.
		locals := withPoint
		if decimalMark == ',' {
			locals = withComma
		}
		if strings.Contains(locals, ".") {
			return locals, nil
		}
		return "", fmt.Errorf("%w: %s or %s", ErrAmountAmbiguous, withPoint, withComma)
	case point:
		return withPoint, nil
	case comma:
		return withComma, nil
	}
	return "", ErrAmountInvalid
}

// readGrouped reads digits whose thousands are set apart by one of the marks
// in groups and whose decimals follow mark.
func readGrouped(digits, groups string, mark byte) (string, bool) {
	whole, fraction, hasFraction := strings.Cut(digits, string(mark))
	if strings.Trim(fraction, "0123456789") != "" || hasFraction && fraction == "" && whole == "" {
		return "", false
	}
	at := strings.IndexAny(whole, groups)
	if at >= 0 {
		parts := strings.Split(whole, whole[at:at+1])
		for i, part := range parts {
			if len(part) != 3 && (i > 0 || len(part) == 0 || len(part) > 3) {
				return "", false
			}
		}
		whole = strings.Join(parts, "")
	}
	if strings.Trim(whole, "0123456789") != "" {
		return "", false
	}
	if whole == "" {
		whole = "0"
	}
	if fraction == "" {
		return whole, true
	}
	return whole + "." + fraction, true
}
