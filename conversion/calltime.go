package conversion

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Millis is a point in time: milliseconds since 1970 in UTC. Zero means none.
type Millis int64

// MillisOf returns the point in time of t.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns the point in time in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// String returns the point in time in RFC 3339 with as many decimals as it
// needs, or "" for none.
func (m Millis) String() string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02T15:04:05.999Z07:00")
}

// Span is the stretch of time that a written time stands for: one millisecond,
// one second, or one minute where the seconds were not written. Both ends
// belong to it.
type Span struct{ From, To Millis }

// Distance is how far a point in time lies outside the span, in milliseconds.
func (s Span) Distance(at Millis) int64 {
	switch {
	case at < s.From:
		return int64(s.From - at)
	case at > s.To:
		return int64(at - s.To)
	}
	return 0
}

// Fine reports whether the time was written to the second or finer.
func (s Span) Fine() bool { return s.To-s.From < 1000 }

// When is a written time: no reading, one, or two where the clock went back
// and the hour occurs twice.
type When struct{ First, Second Span }

// Given reports whether a time was written at all.
func (w When) Given() bool { return w.First != Span{} }

// Twice reports whether the written time occurs twice.
func (w When) Twice() bool { return w.Second != Span{} }

// Readings returns the spans that the written time may stand for.
func (w When) Readings() []Span {
	switch {
	case !w.Given():
		return nil
	case w.Twice():
		return []Span{w.First, w.Second}
	}
	return []Span{w.First}
}

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
}

// Read reads a written time: 10-digit seconds and 13-digit milliseconds since
// 1970, the 17-digit YYYYMMDDHHMMSSsss in UTC, ISO 8601, YYYY/MM/DD or
// MM/DD/YYYY or DD/MM/YYYY with a 12- or 24-hour clock, and Excel's day
// serials (45292.5). A blank text is no time and no error.
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
	if whole, fraction, ok := strings.Cut(text, "."); ok && strings.Trim(whole+fraction, "0123456789") == "" {
		return r.readNumber(text, whole)
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

// readNumber reads seconds with a fraction, or an Excel serial.
func (r TimeReader) readNumber(text, whole string) (When, error) {
	n, err := strconv.ParseFloat(text, 64)
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
	at := time.Unix(int64((days-epoch)*second+0.5), 0).UTC()
	return r.place(clock{
		year: at.Year(), month: int(at.Month()), day: at.Day(),
		hour: at.Hour(), minute: at.Minute(), second: at.Second(), precision: time.Second,
	})
}

func exactly(from Millis, precision time.Duration) When {
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

// clock is a written time before it is known where the clock hangs.
type clock struct {
	year, month, day     int
	hour, minute, second int
	nanos                int
	precision            time.Duration
	slashed              bool // month and day stand in year-last order: 03/04/2026
	hasOffset            bool
	offset               int // seconds east of UTC
	zone                 *time.Location
}

// order settles which of the first two numbers of 03/04/2026 is the month.
func (c *clock) order(order DateOrder) error {
	switch {
	case c.month == c.day:
	case order == DateOrderMDY:
	case order == DateOrderDMY:
		c.month, c.day = c.day, c.month
	default:
		return ErrDateOrder
	}
	return nil
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
	if strings.Trim(text, "0123456789.") == "" {
		whole, _, _ := strings.Cut(text, ".")
		return Evidence{Zoneless: len(whole) == 5} // a spreadsheet's serial
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

// parseClock takes a written time apart: a date, a time of day, and then
// AM/PM, an offset or a zone.
func parseClock(text string) (clock, error) {
	s := scanner{text: text}
	c := clock{precision: time.Minute}
	if !s.date(&c) {
		return clock{}, ErrTimeInvalid
	}
	if !s.skip(" T,") {
		if s.rest() == "" {
			return clock{}, fmt.Errorf("%w: a date without a time of day", ErrTimeInvalid)
		}
		return clock{}, ErrTimeInvalid
	}
	if !s.timeOfDay(&c) || !s.meridiem(&c) || !s.zone(&c) || s.rest() != "" {
		return clock{}, ErrTimeInvalid
	}
	if c.hour > 23 || c.minute > 59 || c.second > 59 {
		return clock{}, fmt.Errorf("%w: there is no such time of day", ErrTimeInvalid)
	}
	return c, nil
}

// scanner walks over a written time.
type scanner struct {
	text string
	at   int
}

func (s *scanner) rest() string { return s.text[s.at:] }

// number reads up to most digits and says how many it read.
func (s *scanner) number(most int) (n, digits int) {
	for digits < most && s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		n = n*10 + int(s.text[s.at]-'0')
		s.at++
		digits++
	}
	return n, digits
}

// one reads one of the given bytes.
func (s *scanner) one(of string) bool {
	if s.at < len(s.text) && strings.IndexByte(of, s.text[s.at]) >= 0 {
		s.at++
		return true
	}
	return false
}

// skip reads any run of the given bytes, at least one.
func (s *scanner) skip(of string) bool {
	read := false
	for s.one(of) {
		read = true
	}
	return read
}

// date reads 2026-03-04, 2026/03/04, 03/04/2026, 03.04.2026 or Mar 4, 2026.
func (s *scanner) date(c *clock) bool {
	if month := s.monthName(); month > 0 {
		var day, year int
		s.skip(" ")
		c.month, day = month, 0
		if c.day, day = s.number(2); day == 0 || !s.skip(" ,") {
			return false
		}
		c.year, year = s.number(4)
		return year == 4
	}
	first, digits := s.number(4)
	mark := s.rest()
	if digits == 0 || mark == "" || !s.one("-/.") {
		return false
	}
	second, n := s.number(2)
	if n == 0 || !s.one(mark[:1]) {
		return false
	}
	if digits == 4 {
		c.year, c.month = first, second
		c.day, n = s.number(2)
		return n > 0
	}
	c.slashed, c.month, c.day = true, first, second
	c.year, n = s.number(4)
	return digits <= 2 && n == 4
}

func (s *scanner) monthName() int {
	if len(s.rest()) < 3 {
		return 0
	}
	name := strings.ToLower(s.rest()[:3])
	for month := time.January; month <= time.December; month++ {
		if strings.ToLower(month.String()[:3]) == name {
			s.at += 3
			return int(month)
		}
	}
	return 0
}

// timeOfDay reads 13:05, 13:05:09 or 13:05:09.123.
func (s *scanner) timeOfDay(c *clock) bool {
	var n int
	if c.hour, n = s.number(2); n == 0 || !s.one(":") {
		return false
	}
	if c.minute, n = s.number(2); n != 2 {
		return false
	}
	if !s.one(":") {
		return true
	}
	if c.second, n = s.number(2); n != 2 {
		return false
	}
	c.precision = time.Second
	if !s.one(".,") {
		return true
	}
	fraction, n := s.number(9)
	for i := n; i < 9; i++ {
		fraction *= 10
	}
	c.nanos, c.precision = fraction, time.Millisecond
	return n > 0
}

// meridiem reads AM or PM. Hours above 12 with PM are taken as they stand:
// Invoca's own examples write 13:00:00 PM.
func (s *scanner) meridiem(c *clock) bool {
	at := s.at
	s.skip(" ")
	half := strings.ToUpper(s.rest())
	if len(half) < 2 || half[1] != 'M' || half[0] != 'A' && half[0] != 'P' || len(half) > 2 && half[2] >= 'A' && half[2] <= 'Z' {
		s.at = at
		return true
	}
	s.at += 2
	switch {
	case c.hour > 12:
		return half[0] == 'P'
	case half[0] == 'A' && c.hour == 12:
		c.hour = 0
	case half[0] == 'P' && c.hour < 12:
		c.hour += 12
	}
	return true
}

// zone reads Z, UTC, +05:30, -0800 or an IANA name such as America/New_York.
func (s *scanner) zone(c *clock) bool {
	s.skip(" ")
	rest := s.rest()
	if rest == "" {
		return true
	}
	if upper := strings.ToUpper(rest); upper == "Z" || upper == "UTC" || upper == "GMT" {
		c.hasOffset, s.at = true, len(s.text)
		return true
	}
	if rest[0] == '+' || rest[0] == '-' {
		return s.offset(c)
	}
	if strings.Contains(rest, "/") {
		zone, err := time.LoadLocation(rest)
		c.zone, s.at = zone, len(s.text)
		return err == nil
	}
	return false
}

func (s *scanner) offset(c *clock) bool {
	sign := 1
	if s.text[s.at] == '-' {
		sign = -1
	}
	s.at++
	hours, n := s.number(2)
	if n != 2 {
		return false
	}
	s.one(":")
	minutes, n := s.number(2)
	if n == 1 || hours > 14 || minutes > 59 {
		return false
	}
	c.hasOffset, c.offset = true, sign*(hours*3600+minutes*60)
	return true
}

// ParseZone reads a time zone: an IANA name or an offset such as +0100.
func ParseZone(text string) (*time.Location, error) {
	text = strings.TrimSpace(text)
	if text != "" && (text[0] == '+' || text[0] == '-') {
		var c clock
		s := scanner{text: text}
		if !s.offset(&c) || s.rest() != "" {
			return nil, fmt.Errorf("%q is not an offset such as +0100", text)
		}
		return time.FixedZone(text, c.offset), nil
	}
	if text == "" || strings.EqualFold(text, "local") {
		return nil, fmt.Errorf("%q is not a time zone such as America/New_York", text)
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone such as America/New_York", text)
	}
	return zone, nil
}
