package conversion_test

import (
	"errors"
	"math/rand"
	"strings"
	"testing"

	"calltally/conversion"
)

func TestParsePhone(t *testing.T) {
	for _, c := range []struct {
		name, text, region string
		want               string
		err                error
	}{
		{name: "E.164 is taken as it is", text: "+12125550123", region: "US", want: "+12125550123"},
		{name: "E.164 needs no region", text: "+442079460018", region: "", want: "+442079460018"},
		{name: "E.164 of another country than the account's", text: "+4930901820", region: "US", want: "+4930901820"},
		{name: "E.164 with spaces", text: "+1 8053825533", region: "GB", want: "+18053825533"},
		{name: "00 in place of the plus", text: "0044 20 7946 0018", region: "DE", want: "+442079460018"},
		{name: "parentheses and a hyphen", text: "(212) 555-0123", region: "US", want: "+12125550123"},
		{name: "hyphens as Invoca writes them", text: "866-555-1234", region: "US", want: "+18665551234"},
		{name: "dots", text: "212.555.0123", region: "US", want: "+12125550123"},
		{name: "ten bare digits", text: "2125550123", region: "US", want: "+12125550123"},
		{name: "ten bare digits in Canada", text: "4165550123", region: "CA", want: "+14165550123"},
		{name: "the national form of Germany", text: "030 901820", region: "DE", want: "+4930901820"},
		{name: "the national form of a German mobile", text: "0151 12345678", region: "DE", want: "+4915112345678"},
		{name: "a German mobile whose zero a spreadsheet took", text: "15112345678", region: "DE", want: "+4915112345678"},
		{name: "the national form of Britain", text: "020 7946 0018", region: "GB", want: "+442079460018"},
		{name: "the national form of a British mobile", text: "07911 123456", region: "GB", want: "+447911123456"},
		{name: "a British mobile whose zero a spreadsheet took", text: "7911123456", region: "GB", want: "+447911123456"},
		{name: "an extension is left out", text: "212-555-0123 ext. 42", region: "US", want: "+12125550123"},
		{name: "an extension after x is left out", text: "+1 212 555 0123 x42", region: "US", want: "+12125550123"},
		{name: "a bidi mark behind it", text: "+12125550123\u202c", region: "US", want: "+12125550123"},
		{name: "bidi marks around it", text: "\u202a+442079460018\u202c", region: "US", want: "+442079460018"},
		{name: "a zero-width space inside it", text: "212\u200b5550123", region: "US", want: "+12125550123"},
		{name: "a no-break space inside it", text: "212\u00a0555\u00a00123", region: "US", want: "+12125550123"},
		{name: "a telephone link", text: "tel:+1-212-555-0123", region: "US", want: "+12125550123"},
		{name: "a telephone link of nothing", text: "tel: ", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "blanks around it", text: "  +12125550123\t", region: "US", want: "+12125550123"},
		{name: "a country code without its plus", text: "12125550123", region: "US", want: "+12125550123"},
		{name: "a foreign country code without its plus", text: "447911123456", region: "US", want: "+447911123456"},
		{name: "the home country code without its plus", text: "447911123456", region: "GB", want: "+447911123456"},

		{name: "blank is no number", text: "", region: "US"},
		{name: "only blanks are no number", text: " \t", region: "US"},
		{name: "only invisible marks are no number", text: "\u202c\u200b", region: "US"},
		{name: "a dash is no number", text: "-", region: "US"},
		{name: "anonymous", text: "anonymous", region: "US"},
		{name: "Anonymous in capitals", text: "ANONYMOUS", region: "US"},
		{name: "restricted", text: "Restricted", region: "US"},
		{name: "unavailable", text: "Unavailable", region: "GB"},
		{name: "private", text: "private", region: "DE"},
		{name: "blocked", text: "Blocked", region: "US"},
		{name: "unknown", text: "unknown", region: "US"},
		{name: "withheld", text: "Withheld", region: "GB"},
		{name: "no caller id in words", text: "No Caller ID", region: "US"},
		{name: "n/a", text: "N/A", region: "US"},
		{name: "not available", text: "Not available", region: "US"},
		{name: "anonymous spelled on a keypad", text: "266696687", region: "US"},
		{name: "anonymous spelled on a keypad with a plus", text: "+266696687", region: "US"},

		{name: "a number rounded by a spreadsheet", text: "4.47911E+11", region: "GB", err: conversion.ErrPhoneDamaged},
		{name: "a rounded number with a decimal comma", text: "4,47911E+11", region: "DE", err: conversion.ErrPhoneDamaged},
		{name: "a rounded number in small letters", text: "1.5551e+10", region: "US", err: conversion.ErrPhoneDamaged},
		{name: "words", text: "call me", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "the letter O in place of a zero", text: "212-555-O123", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "letters in place of digits", text: "1-800-FLOWERS", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "words before a number", text: "ask for Bob 2125550123", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "a date", text: "2026-03-31 14:05:09", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "an amount", text: "$1,234.50", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "too short", text: "12345", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "too short in E.164", text: "+1212555012", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "too long", text: "+12125550123456789", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "more than the 15 digits of E.164", text: "10000000000000", region: "DE", err: conversion.ErrPhoneInvalid},
		{name: "zeros behind a country code", text: "+49000000000000", region: "DE", err: conversion.ErrPhoneInvalid},
		{name: "zeros before a last digit", text: "000001", region: "DE", err: conversion.ErrPhoneInvalid},
		{name: "very long", text: strings.Repeat("1", 5000), region: "US", err: conversion.ErrPhoneInvalid},
		{name: "a national number without a region", text: "2125550123", region: "", err: conversion.ErrPhoneInvalid},
		{name: "an unknown country code", text: "+999123456789", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "only a plus", text: "+", region: "US", err: conversion.ErrPhoneInvalid},
		{name: "zeros", text: "0000000000", region: "US", err: conversion.ErrPhoneInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := conversion.ParsePhone(c.text, c.region)
			if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Fatalf("ParsePhone(%.60q, %q) = %q, error %v, want error %v", c.text, c.region, got, err, c.err)
			}
			if got.String() != c.want {
				t.Errorf("ParsePhone(%.60q, %q) = %q, want %q", c.text, c.region, got, c.want)
			}
		})
	}
}

func TestAPhoneReadsBack(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 2000 {
		area, rest := 200+random.Int63n(800), random.Int63n(10_000_000)
		want := conversion.Phone(10_000_000_000 + area*10_000_000 + rest)
		for _, region := range []string{"US", "GB", "DE", ""} {
			got, err := conversion.ParsePhone(want.String(), region)
			if err != nil || got != want {
				t.Fatalf("ParsePhone(%q, %q) = %v, %v", want, region, got, err)
			}
		}
	}
}

func TestPhoneMasked(t *testing.T) {
	for _, c := range []struct {
		name  string
		phone conversion.Phone
		want  string
	}{
		{"all but two digits are hidden", 12125550123, "+*********23"},
		{"two digits are all there is", 12, "+12"},
		{"one digit", 7, "+7"},
		{"none is blank", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.phone.Masked(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestIsScientific(t *testing.T) {
	for text, want := range map[string]bool{
		"4.47911E+11": true, "4,47911E+11": true, "1e+23": true, " 2.02603E+16 ": true, "-1.5E+10": true,
		"": false, "E+11": false, "4.4E+": false, "0503E000": false, "10e22": false, "4.47911E+1x": false,
		"ABE+12": false, "+12125550123": false,
	} {
		if got := conversion.IsScientific(text); got != want {
			t.Errorf("IsScientific(%q) = %v, want %v", text, got, want)
		}
	}
}
