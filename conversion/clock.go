package conversion

import (
	"fmt"
	"strings"
	"time"
)

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

// date reads 2026-03-04, 2026/03/04, 03/04/2026, 03.04.2026, Mar 4, 2026 or, as
// mails write it, Wed, 4 Mar 2026.
func (s *scanner) date(c *clock) bool {
	s.weekday()
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
	if digits <= 2 && s.one(" ") {
		var n int
		c.day, c.month = first, s.monthName()
		if c.month == 0 || !s.skip(" ") {
			return false
		}
		c.year, n = s.number(4)
		return digits > 0 && n == 4
	}
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

// weekday passes over the name of a day and what follows it.
func (s *scanner) weekday() {
	name, _, found := strings.Cut(s.rest(), ",")
	if found && len(name) >= 3 && strings.Contains(" sun mon tue wed thu fri sat", " "+strings.ToLower(name[:3])) && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz") == "" {
		s.at += len(name) + 1
		s.skip(" ")
	}
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
