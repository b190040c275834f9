package main

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// decimalMark returns the mark that a locale puts before decimals.
func decimalMark(locale string) (byte, bool) {
	tag, err := language.Parse(locale)
	if err != nil {
		return 0, false
	}
	if strings.Contains(message.NewPrinter(tag).Sprintf("%.1f", 0.5), ",") {
		return ',', true
	}
	return '.', true
}

// knownRegion reports whether telephone numbers of a country can be read.
func knownRegion(region string) bool { return phonenumbers.GetCountryCodeForRegion(region) != 0 }
