package conversion_test

import (
	"strings"
	"testing"
	"time"

	"calltally/conversion"
)

func FuzzReadTime(f *testing.F) {
	for _, text := range []string{
		"", "1774980309", "1774980309.5", "1774980309123", "20260331180509123", "2026-03-31T18:05:09.123Z", "2026-03-31 14:05",
		"2026/03/31 13:00:00 PM", "03/31/2026 2:05 PM", "31.03.2026 14:05:09", "Mar 31, 2026 2:05:09 PM", "2026-03-08 02:30:00",
		"2026-11-01 01:30:00", "2026-03-31 14:05:09 -0400", "2026-03-31 14:05:09 America/New_York", "45292.5", "45292",
		"1.77498E+12", "2026-02-30 00:00:00", "99999.99999999999", "9999-12-31 23:59:59", "2026-03-31T", "2026-03-31 14:05:09 +",
	} {
		f.Add(text, uint8(0))
		f.Add(text, uint8(7))
	}
	zones := []*time.Location{nil, time.UTC, zone(f, "America/New_York"), zone(f, "Australia/Lord_Howe")}
	orders := []conversion.DateOrder{conversion.DateOrderAuto, conversion.DateOrderMDY, conversion.DateOrderDMY, conversion.DateOrderYMD, ""}
	f.Fuzz(func(t *testing.T, text string, settings uint8) {
		reader := conversion.TimeReader{Zone: zones[settings%4], Order: orders[settings/4%5]}
		when, err := reader.Read(text)
		if err != nil && when != (conversion.When{}) {
			t.Fatalf("Read(%q) = %+v with the error %v", text, when, err)
		}
		if err == nil && when.Given() != (strings.TrimSpace(text) != "") {
			t.Fatalf("Read(%q): Given = %v", text, when.Given())
		}
		for _, reading := range when.Readings() {
			if width := reading.To - reading.From + 1; width != 1 && width != 1000 && width != 60_000 {
				t.Fatalf("Read(%q) spans %d ms", text, width)
			}
			if year := reading.From.Time().Year(); year < 1970 || year > 9999 {
				t.Fatalf("Read(%q) is in the year %d", text, year)
			}
			again, err := reader.Read(reading.From.String())
			if reading.From != 0 && reading.From.Time().Year() > 1970 && reading.From.Time().Year() < 9999 && (err != nil || again.First.From != reading.From) {
				t.Fatalf("Read(%q) begins at %s, which reads as %+v, %v", text, reading.From, again, err)
			}
		}
		if when.Twice() && when.First.From >= when.Second.From {
			t.Fatalf("Read(%q): the earlier moment doesn't come first", text)
		}
		switch conversion.ReadEvidence(text).Order {
		case "", conversion.DateOrderAuto, conversion.DateOrderMDY, conversion.DateOrderDMY:
		default:
			t.Fatalf("the evidence of %q is %q", text, conversion.ReadEvidence(text).Order)
		}
	})
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{
		"", "0", "1234.5", "1,234.50", "1.234,50", "$1,234.50", "(5.00)", "1 234,50", "1,234", "1.234", "12.345", "-5", "5-", "€5",
		"5 EUR", "1e5", "NaN", "0x10", "1_000", "1'234.50", "−5", "(-5)", "1\u00a0234", ".5", ",", "9223372036854775", "99999999999999999999",
	} {
		f.Add(text, uint8(0))
		f.Add(text, uint8(5))
	}
	currencies := []conversion.Currency{"USD", "EUR", "JPY", "KWD", ""}
	f.Fuzz(func(t *testing.T, text string, settings uint8) {
		currency, mark := currencies[settings/2%5], []byte{'.', ','}[settings%2]
		amount, err := conversion.ParseAmount(text, currency, mark)
		if err != nil {
			if amount != (conversion.Amount{}) {
				t.Fatalf("ParseAmount(%q) = %+v with the error %v", text, amount, err)
			}
			return
		}
		if amount.Given != (strings.TrimSpace(text) != "") {
			t.Fatalf("ParseAmount(%q): Given = %v", text, amount.Given)
		}
		if !amount.Given {
			return
		}
		if amount.Currency != currency {
			t.Fatalf("ParseAmount(%q, %q) is in %q", text, currency, amount.Currency)
		}
		if got, want := significant(amount.String()), significant(text); got != want {
			t.Fatalf("ParseAmount(%q) = %s: its digits are %q, not %q", text, amount, got, want)
		}
		if below := strings.ContainsAny(text, "(-−"); amount.Minor != 0 && below != (amount.Minor < 0) {
			t.Fatalf("ParseAmount(%q) = %s", text, amount)
		}
		// What we write has a decimal point.
		if again, err := conversion.ParseAmount(amount.String(), currency, '.'); err != nil || again != amount {
			t.Fatalf("ParseAmount(%q) = %s, which reads as %+v, %v", text, amount, again, err)
		}
	})
}

// significant are a text's digits without the zeros at both ends, which
// decimals may gain or lose.
func significant(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text), "0")
}

func FuzzParsePhone(f *testing.F) {
	for _, text := range []string{
		"", "-", "+12125550123", "(212) 555-0123", "866-555-1234", "212-555-0123 x42", "+12125550123\u202c", "12125550123",
		"447911123456", "030 901820", "020 7946 0018", "anonymous", "N/A", "266696687", "4.47911E+11", "12345", "+390612345678",
		"0044 20 7946 0018", "tel:+12125550123;ext=5", "1-800-FLOWERS", "+" + strings.Repeat("1", 20), "٢١٢٥٥٥٠١٢٣",
	} {
		f.Add(text, uint8(0))
		f.Add(text, uint8(2))
	}
	regions := []string{"US", "GB", "DE", "CA", ""}
	f.Fuzz(func(t *testing.T, text string, settings uint8) {
		phone, err := conversion.ParsePhone(text, regions[settings%5])
		if err != nil {
			if phone != 0 {
				t.Fatalf("ParsePhone(%q) = %s with the error %v", text, phone, err)
			}
			return
		}
		if phone == 0 {
			return
		}
		if digits := len(phone.String()) - 1; phone < 0 || digits < 4 || digits > 15 {
			t.Fatalf("ParsePhone(%q) = %s", text, phone)
		}
		for _, region := range regions {
			if again, err := conversion.ParsePhone(phone.String(), region); err != nil || again != phone {
				t.Fatalf("ParsePhone(%q) = %s, which in %q reads as %s, %v", text, phone, region, again, err)
			}
		}
	})
}
