package conversion_test

import (
	"errors"
	"math"
	"math/rand"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

func TestParseAmount(t *testing.T) {
	const point, comma = '.', ','
	for _, c := range []struct {
		name, text string
		currency   conversion.Currency // blank is USD
		mark       byte                // 0 is '.'
		want       string              // blank is not given
		err        error
	}{
		{name: "a plain decimal", text: "1234.5", want: "1234.50"},
		{name: "a plain decimal in a comma locale", text: "1234.5", mark: comma, want: "1234.50"},
		{name: "a decimal comma", text: "1234,5", mark: comma, want: "1234.50"},
		{name: "a decimal comma in a point locale has one reading", text: "12,5", mark: point, want: "12.50"},
		{name: "two decimals after a comma in a point locale", text: "60,50", mark: point, want: "60.50"},
		{name: "a whole number", text: "1234", want: "1234.00"},
		{name: "thousands with a comma", text: "1,234.50", want: "1234.50"},
		{name: "thousands with a comma in a comma locale", text: "1,234.50", mark: comma, want: "1234.50"},
		{name: "thousands with a point", text: "1.234,50", mark: comma, want: "1234.50"},
		{name: "thousands with a point in a point locale", text: "1.234,50", mark: point, want: "1234.50"},
		{name: "millions with commas", text: "1,234,567", want: "1234567.00"},
		{name: "millions with points", text: "1.234.567", mark: point, want: "1234567.00"},
		{name: "millions with points and cents", text: "1.234.567,89", mark: comma, want: "1234567.89"},
		{name: "thousands with a blank", text: "1 234,50", mark: comma, want: "1234.50"},
		{name: "thousands with a blank and no cents", text: "1 234", want: "1234.00"},
		{name: "thousands with a no-break space", text: "1\u00a0234,50", mark: comma, want: "1234.50"},
		{name: "thousands with a narrow no-break space", text: "1\u202f234,50", mark: comma, want: "1234.50"},
		{name: "thousands with an apostrophe", text: "1'234.50", want: "1234.50"},
		{name: "thousands with a typographic apostrophe", text: "1’234.50", want: "1234.50"},
		{name: "no whole part", text: ".5", want: "0.50"},
		{name: "no whole part after a comma", text: ",5", mark: comma, want: "0.50"},
		{name: "leading zeros", text: "0012.50", want: "12.50"},
		{name: "trailing zeros are no further decimals", text: "12.5000", want: "12.50"},
		{name: "zero is an amount", text: "0", want: "0.00"},
		{name: "zero with cents is an amount", text: "0.00", want: "0.00"},
		{name: "blanks around it", text: "  60.50\t", want: "60.50"},

		{name: "blank is not given", text: "", want: ""},
		{name: "only blanks are not given", text: " \t ", want: ""},

		{name: "a dollar sign", text: "$1,234.50", want: "1234.50"},
		{name: "a dollar sign and a blank", text: "$ 60.50", want: "60.50"},
		{name: "a dollar sign behind", text: "60.50$", want: "60.50"},
		{name: "a dollar sign for Canadian dollars", text: "$60.50", currency: "CAD", want: "60.50"},
		{name: "a dollar sign for pesos", text: "$60.50", currency: "MXN", want: "60.50"},
		{name: "a yen sign for yuan", text: "¥60.50", currency: "CNY", want: "60.50"},
		{name: "US$ for US dollars", text: "US$60.50", want: "60.50"},
		{name: "a euro sign", text: "€60.50", currency: "EUR", want: "60.50"},
		{name: "a euro sign behind", text: "1.234,50 €", currency: "EUR", mark: comma, want: "1234.50"},
		{name: "a pound sign", text: "£60.50", currency: "GBP", want: "60.50"},
		{name: "an ISO code behind", text: "60.50 USD", want: "60.50"},
		{name: "an ISO code in front", text: "EUR 60,50", currency: "EUR", mark: comma, want: "60.50"},
		{name: "an ISO code in small letters", text: "60.50 usd", want: "60.50"},
		{name: "a yen sign", text: "¥1500", currency: "JPY", want: "1500"},

		{name: "parentheses mean below zero", text: "(5.00)", want: "-5.00"},
		{name: "parentheses around a dollar sign", text: "($1,234.50)", want: "-1234.50"},
		{name: "a minus", text: "-5.00", want: "-5.00"},
		{name: "a minus before a dollar sign", text: "-$5.00", want: "-5.00"},
		{name: "a minus behind a dollar sign", text: "$-5.00", want: "-5.00"},
		{name: "a minus behind", text: "5.00-", want: "-5.00"},
		{name: "a typographic minus", text: "−5.00", want: "-5.00"},
		{name: "a plus", text: "+5.00", want: "5.00"},

		{name: "yen have no decimals", text: "1500", currency: "JPY", want: "1500"},
		{name: "yen with decimals of zero", text: "1500.00", currency: "JPY", want: "1500"},
		{name: "yen with decimals", text: "1500.50", currency: "JPY", err: conversion.ErrAmountInvalid},
		{name: "dinars have three decimals", text: "12.345", currency: "KWD", want: "12.345"},
		{name: "dinars are filled up", text: "12.5", currency: "KWD", want: "12.500"},
		{name: "dinars with four decimals", text: "12.3456", currency: "KWD", err: conversion.ErrAmountInvalid},
		{name: "dinars with a decimal comma", text: "12,345", currency: "KWD", mark: comma, want: "12.345"},

		{name: "a comma before three digits", text: "1,234", mark: point, err: conversion.ErrAmountAmbiguous},
		{name: "a point before three digits in a comma locale", text: "1.234", mark: comma, err: conversion.ErrAmountAmbiguous},
		{name: "a comma before three digits with a dollar sign", text: "$12,345", mark: point, err: conversion.ErrAmountAmbiguous},
		{name: "a comma before three zeros", text: "1,000", mark: point, err: conversion.ErrAmountAmbiguous},

		{name: "a third decimal is not rounded", text: "12.345", mark: point, err: conversion.ErrAmountInvalid},
		{name: "a third decimal after a comma is not rounded", text: "12,345", mark: comma, err: conversion.ErrAmountInvalid},
		{name: "a fourth decimal is not rounded", text: "12.3449", err: conversion.ErrAmountInvalid},
		{name: "an exponent", text: "1e5", err: conversion.ErrAmountInvalid},
		{name: "rounded by a spreadsheet", text: "1.2E+05", err: conversion.ErrAmountDamaged},
		{name: "a huge exponent", text: "1e1000000", err: conversion.ErrAmountInvalid},
		{name: "not a number", text: "NaN", err: conversion.ErrAmountInvalid},
		{name: "infinity", text: "Inf", err: conversion.ErrAmountInvalid},
		{name: "infinity below zero", text: "-Infinity", err: conversion.ErrAmountInvalid},
		{name: "hexadecimal", text: "0x10", err: conversion.ErrAmountInvalid},
		{name: "a hexadecimal exponent", text: "0x1p4", err: conversion.ErrAmountInvalid},
		{name: "an underscore", text: "1_000", err: conversion.ErrAmountInvalid},
		{name: "words", text: "twelve", err: conversion.ErrAmountInvalid},
		{name: "words behind", text: "12 apples", err: conversion.ErrAmountInvalid},
		{name: "a percentage", text: "12%", err: conversion.ErrAmountInvalid},
		{name: "a formula", text: "=1+1", err: conversion.ErrAmountInvalid},
		{name: "two amounts", text: "12.50 13.50", err: conversion.ErrAmountInvalid},
		{name: "two decimal points", text: "1.2.3", err: conversion.ErrAmountInvalid},
		{name: "groups of two", text: "12,34,567", err: conversion.ErrAmountInvalid},
		{name: "a group of four", text: "1,2345.00", err: conversion.ErrAmountInvalid},
		{name: "four digits before a group", text: "1234,567.00", err: conversion.ErrAmountInvalid},
		{name: "nothing before a group", text: ",234.00", err: conversion.ErrAmountInvalid},
		{name: "two kinds of groups", text: "1,234'567", err: conversion.ErrAmountInvalid},
		{name: "only a mark", text: ".", err: conversion.ErrAmountInvalid},
		{name: "only a currency sign", text: "$", err: conversion.ErrAmountInvalid},
		{name: "only a minus", text: "-", err: conversion.ErrAmountInvalid},
		{name: "two currency signs", text: "$$5", err: conversion.ErrAmountInvalid},
		{name: "a minus in parentheses", text: "(-5.00)", err: conversion.ErrAmountInvalid},
		{name: "two minuses", text: "--5.00", err: conversion.ErrAmountInvalid},
		{name: "a minus on both sides", text: "-5.00-", err: conversion.ErrAmountInvalid},
		{name: "half a parenthesis", text: "(5.00", err: conversion.ErrAmountInvalid},
		{name: "very long", text: strings.Repeat("9", 41), err: conversion.ErrAmountInvalid},
		{name: "very long and harmless", text: strings.Repeat("0", 5000) + "1", err: conversion.ErrAmountInvalid},
		{name: "more than fits", text: strings.Repeat("9", 30), err: conversion.ErrAmountInvalid},

		{name: "a euro sign on a dollar amount", text: "€5.00", err: conversion.ErrAmountCurrency},
		{name: "another ISO code", text: "5.00 EUR", err: conversion.ErrAmountCurrency},
		{name: "US$ on Canadian dollars", text: "US$5.00", currency: "CAD", err: conversion.ErrAmountCurrency},
		{name: "a dollar sign on euros", text: "$5.00", currency: "EUR", err: conversion.ErrAmountCurrency},
		{name: "a dollar sign on yen", text: "$500", currency: "JPY", err: conversion.ErrAmountCurrency},
		{name: "a yen sign on dollars", text: "¥500", currency: "USD", err: conversion.ErrAmountCurrency},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.currency == "" {
				c.currency = "USD"
			}
			if c.mark == 0 {
				c.mark = point
			}
			got, err := conversion.ParseAmount(c.text, c.currency, c.mark)
			if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Fatalf("ParseAmount(%.60q, %s, %q) = %q, error %v, want error %v", c.text, c.currency, c.mark, got, err, c.err)
			}
			if got.String() != c.want {
				t.Errorf("ParseAmount(%.60q, %s, %q) = %q, want %q", c.text, c.currency, c.mark, got, c.want)
			}
			if got.Given != (c.want != "") {
				t.Errorf("Given = %v", got.Given)
			}
			if got.Given && got.Currency != c.currency {
				t.Errorf("currency = %s, want %s", got.Currency, c.currency)
			}
		})
	}
}

func TestParseAmountNamesBothReadings(t *testing.T) {
	for _, c := range []struct {
		name, text string
		mark       byte
		want       string
	}{
		{"in a point locale", "1,234", '.', "two readings are possible: 1234 or 1.234"},
		{"in a comma locale", "1.234", ',', "two readings are possible: 1.234 or 1234"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := conversion.ParseAmount(c.text, "USD", c.mark); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// An amount is never more than the code that adds amounts up can bear.
func TestTheLargestAmount(t *testing.T) {
	largest := conversion.Cents(math.MaxInt64/1000, "USD")
	if got, err := conversion.ParseAmount(largest.String(), "USD", '.'); err != nil || got != largest {
		t.Errorf("ParseAmount(%s) = %v, %v", largest, got, err)
	}
	beyond := conversion.Cents(math.MaxInt64/1000+1, "USD")
	if got, err := conversion.ParseAmount(beyond.String(), "USD", '.'); !errors.Is(err, conversion.ErrAmountInvalid) {
		t.Errorf("ParseAmount(%s) = %v, %v, want an error", beyond, got, err)
	}
}

func TestAnAmountReadsBack(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	for range 5000 {
		for _, currency := range []conversion.Currency{"USD", "JPY", "EUR"} {
			want := conversion.Cents(random.Int63n(math.MaxInt64/1000)-math.MaxInt64/2000, currency)
			if random.Intn(2) == 0 {
				want.Minor %= 100_000
			}
			for _, mark := range []byte{'.', ','} {
				got, err := conversion.ParseAmount(want.String(), currency, mark)
				if err != nil || got != want {
					t.Fatalf("ParseAmount(%q, %s, %q) = %v, %v", want, currency, mark, got, err)
				}
			}
		}
		want := conversion.Cents(random.Int63n(1_000_000_000), "KWD")
		if got, err := conversion.ParseAmount(want.String(), "KWD", '.'); err != nil || got != want {
			t.Fatalf("ParseAmount(%q, KWD) = %v, %v", want, got, err)
		}
	}
}

func TestAnAmountWithThousandsReadsBack(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	for range 5000 {
		want := conversion.Cents(random.Int63n(1_000_000_000_00), "USD")
		whole, cents, _ := strings.Cut(want.String(), ".")
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + "T" + whole[i:]
		}
		for _, style := range []struct{ thousands, mark string }{{",", "."}, {".", ","}, {" ", ","}, {"'", "."}} {
			text := strings.ReplaceAll(whole, "T", style.thousands) + style.mark + cents
			for _, mark := range []byte{'.', ','} {
				if got, err := conversion.ParseAmount(text, "USD", mark); err != nil || got != want {
					t.Fatalf("ParseAmount(%q, USD, %q) = %v, %v, want %v", text, mark, got, err, want)
				}
			}
		}
	}
}

func TestPercentRoundsHalfToEven(t *testing.T) {
	for _, c := range []struct {
		name, amount, rate, want string
		currency                 conversion.Currency
	}{
		{"exact", "60.50", "10", "6.05", "USD"},
		{"half above an even cent falls", "0.25", "10", "0.02", "USD"},
		{"half above an odd cent rises", "0.35", "10", "0.04", "USD"},
		{"half of a cent is none", "0.05", "10", "0.00", "USD"},
		{"one and a half cents are two", "0.15", "10", "0.02", "USD"},
		{"just above half rises", "0.25", "10.01", "0.03", "USD"},
		{"just below half falls", "0.35", "9.99", "0.03", "USD"},
		{"half below zero goes to the even cent", "-0.25", "10", "-0.02", "USD"},
		{"half below an odd cent goes to the even cent", "-0.35", "10", "-0.04", "USD"},
		{"a fraction of a per cent", "1000.00", "0.125", "1.25", "USD"},
		{"more than all", "10.00", "150", "15.00", "USD"},
		{"none", "10.00", "0", "0.00", "USD"},
		{"yen have no cents", "25", "10", "2", "JPY"},
		{"three decimals", "0.025", "10", "0.002", "KWD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			amount, err := conversion.ParseAmount(c.amount, c.currency, '.')
			if err != nil {
				t.Fatal(err)
			}
			got := amount.Percent(decimal.RequireFromString(c.rate))
			if got.String() != c.want || got.Currency != c.currency || !got.Given {
				t.Errorf("%s%% of %s = %+v, want %s", c.rate, c.amount, got, c.want)
			}
		})
	}
}

func TestCurrencyDigitsAreThoseOfISO4217(t *testing.T) {
	for currency, want := range map[conversion.Currency]int32{
		"USD": 2, "EUR": 2, "GBP": 2, "CAD": 2, "AUD": 2, "CHF": 2, "INR": 2, "MXN": 2, "BRL": 2, "PLN": 2, "SEK": 2, "ZAR": 2,
		"HUF": 2, "CZK": 2, "TWD": 2, "IDR": 2, "COP": 2, "PKR": 2, "RSD": 2, "LBP": 2, "ALL": 2,
		"JPY": 0, "KRW": 0, "CLP": 0, "VND": 0, "ISK": 0,
		"KWD": 3, "BHD": 3, "JOD": 3, "OMR": 3, "TND": 3, "IQD": 3,
	} {
		t.Run(string(currency), func(t *testing.T) {
			if got := currency.Digits(); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}

func TestParseCurrency(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       conversion.Currency
		wrong      bool
	}{
		{name: "capitals", text: "USD", want: "USD"},
		{name: "small letters", text: "eur", want: "EUR"},
		{name: "blanks around it", text: " GBP ", want: "GBP"},
		{name: "one that ISO 4217 has added lately", text: "XCG", want: "XCG"},
		{name: "one that is no more", text: "DEM", wrong: true},
		{name: "gold", text: "XAU", wrong: true},
		{name: "a sign is no code", text: "$", wrong: true},
		{name: "a word is no code", text: "dollars", wrong: true},
		{name: "no such code", text: "ZZZ", wrong: true},
		{name: "the code for no currency", text: "XXX", wrong: true},
		{name: "blank", text: "", wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := conversion.ParseCurrency(c.text)
			if got != c.want || (err != nil) != c.wrong {
				t.Errorf("ParseCurrency(%q) = %q, %v", c.text, got, err)
			}
		})
	}
}

func TestAmountsAreLegible(t *testing.T) {
	for want, amount := range map[string]struct {
		value    string
		currency conversion.Currency
	}{
		"20,014.50 USD": {"20014.5", "USD"}, "1,000.00 USD": {"1000", "USD"}, "999.00 USD": {"999", "USD"}, "-1,234,567.89 EUR": {"-1234567.89", "EUR"}, "-700.00 USD": {"-700", "USD"},
		"12,345 JPY": {"12345", "JPY"}, "0.125 USD": {"0.125", "USD"}, "5.00": {"5", ""},
	} {
		if got := amount.currency.Legible(decimal.RequireFromString(amount.value)); got != want {
			t.Errorf("%s %s is written %q, want %q", amount.value, amount.currency, got, want)
		}
	}
}
