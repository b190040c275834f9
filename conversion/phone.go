package conversion

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// Phone is a telephone number in E.164: its digits without the plus, as one
// integer. E.164 has at most 15 digits and never starts with a zero, so every
// number fits and zero means "no number".
type Phone int64

// String returns the number as +12125550123, or "" for none.
func (p Phone) String() string {
	if p == 0 {
		return ""
	}
	return "+" + strconv.FormatInt(int64(p), 10)
}

// Masked returns the number with all but its last two digits hidden, for logs.
func (p Phone) Masked() string {
	if p == 0 {
		return ""
	}
	digits := strconv.FormatInt(int64(p), 10)
	return "+" + strings.Repeat("*", max(len(digits)-2, 0)) + digits[max(len(digits)-2, 0):]
}

var (
	// ErrPhoneDamaged says that a spreadsheet turned the number into
	// scientific notation and its last digits are gone.
	ErrPhoneDamaged = errors.New("a spreadsheet destroyed its digits")
	// ErrPhoneInvalid says that the text is no telephone number.
	ErrPhoneInvalid = errors.New("not a telephone number")
)

// withheld are the words that networks put in place of a caller who hid theirs,
// and the numbers that spell them (266696687 is ANONYMOUS, 7378742833
// RESTRICTED).
var withheld = map[string]bool{
	"anonymous": true, "anonymus": true, "blocked": true, "private": true, "restricted": true,
	"unavailable": true, "unknown": true, "withheld": true, "nocallerid": true,
	"notavailable": true, "na": true, "none": true, "null": true, "hidden": true,
	"266696687": true, "7378742833": true, "2562533": true, "8656696": true, "86282452253": true,
}

var unmarked = strings.NewReplacer(" ", "", "/", "", "-", "", ".", "", "+", "")

// ParsePhone reads a telephone number as people write it; region (ISO 3166,
// "US") is the country of numbers without a country code. A blank or withheld
// number is no number and no error.
func ParsePhone(text, region string) (Phone, error) {
	text = strings.TrimSpace(strings.Map(dropInvisible, text))
	if len(text) > 4 && strings.EqualFold(text[:4], "tel:") {
		text = strings.TrimSpace(text[4:])
	}
	if text == "" || text == "-" {
		return 0, nil
	}
	if p, ok := plainNANP(text, region); ok {
		return p, nil
	}
	if withheld[strings.ToLower(unmarked.Replace(text))] {
		return 0, nil
	}
	if IsScientific(text) {
		return 0, ErrPhoneDamaged
	}
	if extension := extension.FindStringIndex(text); extension != nil {
		text = text[:extension[0]]
	}
	if strings.ContainsFunc(text, unicode.IsLetter) {
		return 0, ErrPhoneInvalid
	}
	number, err := parsePossible(text, region)
	if len(text) >= 11 && text[0] != '0' && strings.Trim(text, "0123456789") == "" {
		number, err = withLostPlus(text, region, number, err)
	}
	if err != nil {
		return 0, err
	}
	return asE164(number)
}

// asE164 writes a number as E.164 and reads its digits.
func asE164(number *phonenumbers.PhoneNumber) (Phone, error) {
	digits := strings.TrimPrefix(phonenumbers.Format(number, phonenumbers.E164), "+")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) > maxE164 {
		return 0, ErrPhoneInvalid
	}
	// What doesn't read back as itself was no number to begin with.
	if again, err := phonenumbers.Parse("+"+digits, ""); err != nil || phonenumbers.Format(again, phonenumbers.E164) != "+"+digits ||
		phonenumbers.IsPossibleNumberWithReason(again) != phonenumbers.IS_POSSIBLE {
		return 0, ErrPhoneInvalid
	}
	return Phone(n), nil
}

const maxE164 = 15 // digits

var extension = regexp.MustCompile(`(?i)\s*(?:extension|ext\.?|x|#)\s*\d{1,7}$`)

// withLostPlus decides what digits mean whose plus a spreadsheet may have taken:
// a number of the region, or one that begins with its country's code. Where both
// are possible, the one that is in use wins, and else the region's.
func withLostPlus(digits, region string, national *phonenumbers.PhoneNumber, nationalErr error) (*phonenumbers.PhoneNumber, error) {
	international, err := parsePossible("+"+digits, region)
	home := strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))
	switch {
	case err != nil:
		return national, nationalErr
	case nationalErr != nil || strings.HasPrefix(digits, home):
		return international, nil
	case phonenumbers.IsValidNumber(international) && !phonenumbers.IsValidNumber(national):
		return international, nil
	}
	return national, nil
}

func parsePossible(text, region string) (*phonenumbers.PhoneNumber, error) {
	number, err := phonenumbers.Parse(text, region)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPhoneInvalid, err)
	}
	// A number that can only be dialled locally names no caller.
	if phonenumbers.IsPossibleNumberWithReason(number) != phonenumbers.IS_POSSIBLE || number.GetNationalNumber() == 0 {
		return nil, ErrPhoneInvalid
	}
	return number, nil
}

// plainNANP reads what most files hold without asking the phone library, which takes
// microseconds: a North American number with its country's code or, in a file of that
// country, without it, and with nothing but the usual marks between its digits.
func plainNANP(text, region string) (Phone, bool) {
	var n int64
	digits, international := 0, text[0] == '+'
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			if digits++; digits > 11 {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		case c == '-' || c == ' ' || c == '.' || c == '(' || c == ')':
		case c != '+' || i > 0:
			return 0, false
		}
	}
	const code, first = 1_000_000_0000, 200_000_0000 // +1, and the first area code
	const restricted = 737_874_2833                  // see withheld
	home := region == "US" || region == "CA"
	switch {
	case digits == 11 && n >= code+first && n < 2*code && (international || home):
		return Phone(n), true
	case digits == 10 && n >= first && n != restricted && home && !international:
		return Phone(code + n), true
	}
	return 0, false
}

// IsScientific reports whether a text is a number in scientific notation
// (4.47911E+11), the mark of a spreadsheet that has rounded a long number.
func IsScientific(text string) bool {
	mantissa, exponent, found := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), "E+")
	if !found || mantissa == "" || exponent == "" {
		return false
	}
	return strings.Trim(mantissa, "0123456789.,-") == "" && strings.Trim(exponent, "0123456789") == ""
}

// dropInvisible removes the marks that copying from web pages and address
// books leaves around numbers, and keeps everything else.
func dropInvisible(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}
