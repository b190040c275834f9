package conversion

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

// What is read without the libraries must be what they read.

func TestPlainNumbersAreReadAsTheLibraryReadsThem(t *testing.T) {
	d := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 20_000 {
		var text strings.Builder
		for range 9 + d.IntN(4) {
			if d.IntN(4) == 0 {
				text.WriteByte(" -.()"[d.IntN(5)])
			}
			text.WriteByte(byte('0' + d.IntN(10)))
		}
		written := strings.TrimSpace([]string{"", "", "+", "1", "+1"}[d.IntN(5)] + text.String())
		region := []string{"US", "CA", "GB"}[d.IntN(3)]
		plain, ok := plainNANP(written, region)
		if !ok {
			continue
		}
		read++
		number, err := parsePossible(written, region)
		if err != nil {
			t.Fatalf("%q in %s: %v, want %v", written, region, err, plain)
		}
		if want, err := asE164(number); err != nil || want != plain {
			t.Fatalf("%q in %s is %v, want %v (%v)", written, region, plain, want, err)
		}
	}
	if read < 2000 {
		t.Errorf("only %d were plain", read)
	}
}

func TestPlainAmountsAreReadAsDecimals(t *testing.T) {
	d := rand.New(rand.NewPCG(1, 2))
	read := 0
	for range 20_000 {
		var text strings.Builder
		for range d.IntN(17) {
			text.WriteByte("0123456789."[d.IntN(11)])
		}
		written := text.String()
		currency := []Currency{"USD", "JPY", "KWD", "CLF"}[d.IntN(4)]
		minor, ok := plainMinor(written, currency.Digits())
		if !ok {
			continue
		}
		read++
		exact, err := decimal.NewFromString(written)
		if err != nil {
			t.Fatalf("%q: %v", written, err)
		}
		if want, err := AmountFromDecimal(exact, currency); err != nil || want != Cents(minor, currency) {
			t.Fatalf("%q %s is %d, want %v (%v)", written, currency, minor, want, err)
		}
		for _, mark := range []byte{'.', ','} {
			if plain, err := settleSeparators(written, mark); err != nil || !decimal.RequireFromString(plain).Equal(exact) {
				t.Fatalf("%q with the mark %c is %q (%v)", written, mark, plain, err)
			}
		}
	}
	if read < 2000 {
		t.Errorf("only %d were plain", read)
	}
}
