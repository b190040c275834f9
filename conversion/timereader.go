package conversion

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DateOrder is the order of day, month and year in dates like 03/04/2026.
type DateOrder string

// The orders of a date. Auto means: decide from the file.
const (
	DateOrderAuto DateOrder = "auto"
	DateOrderMDY  DateOrder = "mdy"
	DateOrderDMY  DateOrder = "dmy"
	DateOrderYMD  DateOrder = "ymd"
)

var (
	// ErrTimeInvalid says that the text is no time of any known form.
	ErrTimeInvalid = errors.New("not a time")
	// ErrTimeInGap says that clocks were put forward over that time.
	ErrTimeInGap = errors.New("clocks were put forward over it")
	// ErrTimeZoneless says that the text needs a time zone and none is known.
	ErrTimeZoneless = errors.New("no time zone is known for it")
	// ErrDateOrder says that day and month can't be told apart.
	ErrDateOrder = errors.New("day and month can't be told apart")
	// ErrTimeDamaged says that a spreadsheet has rounded the time.
	ErrTimeDamaged = errors.New("a spreadsheet destroyed its digits")
)

// TimeReader reads written times.
type TimeReader struct {
	// Zone is where the clock of a time without an offset hangs; nil if unknown.
	Zone *time.Location
	// Order is how dates with slashes are written; auto refuses those.
	Order DateOrder
	// From1904 says that day serials count from 1904, as in workbooks that began on a Mac.
	From1904 bool
}

// Read reads a written time: 10-digit seconds and 13-digit milliseconds since
// 1970, the 17-digit YYYYMMDDHHMMSSsss in UTC, ISO 8601, YYYY/MM/DD or
// MM/DD/YYYY or DD/MM/YYYY with a 12- or 24-hour clock, Tue, 31 Mar 2026
// 14:05:09 +0000 as mails have it, and Excel's day serials (45292.5). A blank text is no time and no error.
func (r TimeReader) Read(text string) (When, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return When{}, nil
	}
	if IsScientific(text) {
		return When{}, ErrTimeDamaged
	}
	if strings.Trim(text, "0123456789") == "" {
		return r.readDigits(text)
	}
	if whole, fraction, ok := cutNumber(text); ok {
		return r.readNumber(whole, fraction)
	}
	clock, err := parseClock(text)
	if err != nil {
		return When{}, err
	}
	return r.place(clock)
}

// readDigits reads a time that is one run of digits; its length says which.
func (r TimeReader) readDigits(text string) (When, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return When{}, ErrTimeInvalid
	}
	switch len(text) {
	case 5:
		return r.readSerial(float64(n))
	case 10:
		return since1971(exactly(Millis(n*1000), time.Second))
	case 13:
		return since1971(exactly(Millis(n), time.Millisecond))
	case 17:
		at, err := time.Parse("20060102150405.000", text[:14]+"."+text[14:])
		if err != nil {
			return When{}, ErrTimeInvalid
		}
		return since1971(exactly(MillisOf(at), time.Millisecond))
	}
	return When{}, ErrTimeInvalid
}

// since1971 refuses times before 1971: zeros in place of a time.
func since1971(w When) (When, error) {
	if w.First.From < 365*24*3600*1000 {
		return When{}, ErrTimeInvalid
	}
	return w, nil
}

// cutNumber splits a number with a decimal point or comma.
func cutNumber(text string) (whole, fraction string, ok bool) {
	at := strings.IndexAny(text, ".,")
	if at < 0 || strings.Trim(text[:at]+text[at+1:], "0123456789") != "" {
		return "", "", false
	}
	return text[:at], text[at+1:], true
}

// readNumber reads seconds with a fraction, or an Excel serial.
func (r TimeReader) readNumber(whole, fraction string) (When, error) {
	n, err := strconv.ParseFloat(whole+"."+fraction, 64)
	if err != nil {
		return When{}, ErrTimeInvalid
	}
	switch len(whole) {
	case 5:
		return r.readSerial(n)
	case 10:
		return since1971(exactly(Millis(n*1000+0.5), time.Millisecond))
	}
	return When{}, ErrTimeInvalid
}

// readSerial reads Excel's count of days since 30 December 1899 on the file's
// clock. A whole number is a date without a time of day.
func (r TimeReader) readSerial(days float64) (When, error) {
	const epoch, second = 25569, 86400 // 1 January 1970; seconds a day
	if days == float64(int64(days)) {
		return When{}, fmt.Errorf("%w: a date without a time of day", ErrTimeInvalid)
	}
	if r.From1904 {
		days += 1462
	}
	at := time.Unix(int64((days-epoch)*second+0.5), 0).UTC()
	return r.place(clock{
		year: at.Year(), month: int(at.Month()), day: at.Day(),
		hour: at.Hour(), minute: at.Minute(), second: at.Second(), precision: time.Second,
	})
}

// exactly is a time that was written to a precision. Milliseconds that are zero
// were most likely never known.
func exactly(from Millis, precision time.Duration) When {
	if precision == time.Millisecond && from%1000 == 0 {
		precision = time.Second
	}
	return When{First: Span{from, from + Millis(precision/time.Millisecond) - 1}}
}

// place puts a clock reading on the time line.
func (r TimeReader) place(c clock) (When, error) {
	if c.slashed && (c.month <= 12 || c.day <= 12) {
		if err := c.order(r.Order); err != nil {
			return When{}, err
		}
	}
	wall := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, c.nanos, time.UTC)
	if c.month < 1 || c.month > 12 || wall.Day() != c.day || c.year < 1971 || c.year > 9998 {
		return When{}, fmt.Errorf("%w: there is no such day", ErrTimeInvalid)
	}
	span := func(offset int) Span {
		return exactly(MillisOf(wall)-Millis(offset)*1000, c.precision).First
	}
	zone := r.Zone
	switch {
	case c.hasOffset:
		return When{First: span(c.offset)}, nil
	case c.zone != nil:
		zone = c.zone
	case zone == nil:
		return When{}, ErrTimeZoneless
	}
	offsets := offsetsAt(zone, wall)
	switch len(offsets) {
	case 0:
		return When{}, ErrTimeInGap
	case 1:
		return When{First: span(offsets[0])}, nil
	}
	return When{First: span(offsets[0]), Second: span(offsets[1])}, nil
}

// offsetsAt returns the offsets (seconds east of UTC) under which the zone's
// clocks show a wall time: none in a gap, two where an hour occurs twice, the
// earlier moment first.
func offsetsAt(zone *time.Location, wall time.Time) []int {
	offsetOf := func(at time.Time) int { _, offset := at.In(zone).Zone(); return offset }
	before, after := offsetOf(wall.Add(-26*time.Hour)), offsetOf(wall.Add(26*time.Hour))
	shows := func(offset int) bool {
		return offsetOf(wall.Add(-time.Duration(offset)*time.Second)) == offset
	}
	if before == after {
		return []int{before}
	}
	var offsets []int
	for _, offset := range []int{before, after} {
		if shows(offset) {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// Evidence is what a written time says of its file.
type Evidence struct {
	// Order is mdy or dmy if only that reading is possible, auto if either is, ""
	// if the form needs no decision.
	Order DateOrder
	// MinutesOnly is set if the time has no seconds, Zoneless if it needs a zone.
	MinutesOnly, Zoneless bool
}

// ReadEvidence looks at a written time without knowing its zone or date order.
func ReadEvidence(text string) Evidence {
	text = strings.TrimSpace(text)
	whole, _, ok := cutNumber(text)
	if ok || strings.Trim(text, "0123456789") == "" {
		return Evidence{Zoneless: ok && len(whole) == 5} // a spreadsheet's serial
	}
	c, err := parseClock(text)
	if err != nil {
		return Evidence{}
	}
	e := Evidence{MinutesOnly: c.precision == time.Minute, Zoneless: !c.hasOffset && c.zone == nil}
	switch {
	case !c.slashed || c.month == c.day || c.month > 12 && c.day > 12:
	case c.month > 12:
		e.Order = DateOrderDMY
	case c.day > 12:
		e.Order = DateOrderMDY
	default:
		e.Order = DateOrderAuto
	}
	return e
}
