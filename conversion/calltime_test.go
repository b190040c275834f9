package conversion_test

import (
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"testing/quick"
	"time"

	"calltally/conversion"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// utc is the point in time of an RFC 3339 text.
func utc(t testing.TB, text string) conversion.Millis {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return conversion.MillisOf(at)
}

func TestTimeReader(t *testing.T) {
	const (
		ms, second, minute = 1, 1_000, 60_000
		mdy, dmy, ymd      = conversion.DateOrderMDY, conversion.DateOrderDMY, conversion.DateOrderYMD
	)
	newYork := zone(t, "America/New_York")
	for _, c := range []struct {
		name, text string
		order      conversion.DateOrder
		zone       *time.Location // nil is New York
		zoneless   bool
		want       []string // where the readings begin
		width      int64    // of each reading, in milliseconds
		err        error
	}{
		{name: "blank is no time", text: ""},
		{name: "only blanks are no time", text: " \t "},

		{name: "10 digits are seconds since 1970", text: "1774980309", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "10 digits need no zone", text: "1774980309", zoneless: true, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "10 digits and a fraction", text: "1774980309.250", want: []string{"2026-03-31T18:05:09.25Z"}, width: ms},
		{name: "13 digits are milliseconds since 1970", text: "1774980309123", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "17 digits are a date and a time in UTC", text: "20260331180509123", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "17 digits that are no date", text: "20260230180509123", err: conversion.ErrTimeInvalid},
		{name: "17 digits that are no time of day", text: "20260331250509123", err: conversion.ErrTimeInvalid},
		{name: "10 zeros are no time and not blank", text: "0000000000", err: conversion.ErrTimeInvalid},
		{name: "13 zeros are no time and not blank", text: "0000000000000", err: conversion.ErrTimeInvalid},
		{name: "17 digits of the year 1970", text: "19700101000000000", err: conversion.ErrTimeInvalid},
		{name: "10 zeros and a fraction", text: "0000000000.0", err: conversion.ErrTimeInvalid},
		{name: "17 digits of the year 0", text: "00000101000000000", err: conversion.ErrTimeInvalid},
		{name: "9 digits", text: "177498030", err: conversion.ErrTimeInvalid},
		{name: "11 digits", text: "17749803091", err: conversion.ErrTimeInvalid},
		{name: "14 digits", text: "20260331180509", err: conversion.ErrTimeInvalid},
		{name: "40 digits", text: "1774980309177498030917749803091774980309", err: conversion.ErrTimeInvalid},
		{name: "seconds below zero", text: "-1774980309", err: conversion.ErrTimeInvalid},

		{name: "ISO 8601 in UTC", text: "2026-03-31T18:05:09Z", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "ISO 8601 with an offset", text: "2026-03-31T14:05:09-04:00", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "ISO 8601 with milliseconds", text: "2026-03-31T18:05:09.123Z", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "ISO 8601 with a decimal comma", text: "2026-03-31T18:05:09,5Z", want: []string{"2026-03-31T18:05:09.5Z"}, width: ms},
		{name: "ISO 8601 with microseconds", text: "2026-03-31T18:05:09.123456Z", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "ISO 8601 without an offset is on the zone's clock", text: "2026-03-31T14:05:09", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "a blank in place of the T", text: "2026-03-31 14:05:09", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an offset without a colon", text: "2026-03-31 14:05:09 -0400", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an offset of hours alone", text: "2026-03-31 14:05:09-04", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an offset of half an hour", text: "2026-03-31 23:35:09 +05:30", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an offset needs no zone", text: "2026-03-31 14:05:09 -0400", zoneless: true, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an offset beats the zone", text: "2026-03-31 14:05:09 +0000", want: []string{"2026-03-31T14:05:09Z"}, width: second},
		{name: "UTC written out", text: "2026-03-31 18:05:09 UTC", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "GMT written out", text: "2026-03-31 18:05:09 GMT", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an IANA zone behind the time beats the zone", text: "2026-03-31 11:05:09 America/Los_Angeles", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an IANA zone needs no other", text: "2026-03-31 20:05:09 Europe/Berlin", zoneless: true, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "a zone that doesn't exist", text: "2026-03-31 14:05:09 America/Nowhere", err: conversion.ErrTimeInvalid},
		{name: "a zone that is a path", text: "2026-03-31 14:05:09 ../../etc/passwd", err: conversion.ErrTimeInvalid},
		{name: "an offset that nobody has", text: "2026-03-31 14:05:09 +25:00", err: conversion.ErrTimeInvalid},
		{name: "half an offset", text: "2026-03-31 14:05:09 -4", err: conversion.ErrTimeInvalid},

		{name: "slashes with the year first", text: "2026/03/31 14:05:09", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "slashes with the year first and milliseconds", text: "2026/03/31 14:05:09.123", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "PM", text: "2026/03/31 02:05:09 PM", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "PM after milliseconds", text: "2026/03/31 02:05:09.123 PM", want: []string{"2026-03-31T18:05:09.123Z"}, width: ms},
		{name: "pm in small letters and close", text: "2026/03/31 2:05:09pm", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "AM", text: "2026/03/31 02:05:09 AM", want: []string{"2026-03-31T06:05:09Z"}, width: second},
		{name: "12 AM is midnight", text: "2026/03/31 12:05:09 AM", want: []string{"2026-03-31T04:05:09Z"}, width: second},
		{name: "12 PM is noon", text: "2026/03/31 12:05:09 PM", want: []string{"2026-03-31T16:05:09Z"}, width: second},
		{name: "24-hour hours with PM", text: "2026/03/31 14:05:09 PM", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "24-hour hours with AM contradict themselves", text: "2026/03/31 14:05:09 AM", err: conversion.ErrTimeInvalid},
		{name: "PM and an offset", text: "2026/03/31 02:05:09 PM -0400", zoneless: true, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "a month in letters", text: "Mar 31, 2026 2:05:09 PM", want: []string{"2026-03-31T18:05:09Z"}, width: second},

		{name: "month first", text: "03/04/2026 14:05:09", order: mdy, want: []string{"2026-03-04T19:05:09Z"}, width: second},
		{name: "day first", text: "03/04/2026 14:05:09", order: dmy, want: []string{"2026-04-03T18:05:09Z"}, width: second},
		{name: "month first without leading zeros", text: "3/4/2026 2:05 PM", order: mdy, want: []string{"2026-03-04T19:05:00Z"}, width: minute},
		{name: "day first with dots", text: "31.03.2026 14:05:09", order: dmy, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "day first with hyphens", text: "31-03-2026 14:05:09", order: dmy, want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an undecided order", text: "03/04/2026 14:05:09", order: conversion.DateOrderAuto, err: conversion.ErrDateOrder},
		{name: "an order that doesn't fit the form", text: "03/04/2026 14:05:09", order: ymd, err: conversion.ErrDateOrder},
		{name: "a month of 31 under month first", text: "31/03/2026 14:05:09", order: mdy, err: conversion.ErrTimeInvalid},
		{name: "the order doesn't touch dates with the year first", text: "2026-03-04 14:05:09", order: dmy, want: []string{"2026-03-04T19:05:09Z"}, width: second},
		{name: "a year of two digits", text: "03/04/26 14:05:09", order: mdy, err: conversion.ErrTimeInvalid},
		{name: "two kinds of marks", text: "03/04-2026 14:05:09", order: mdy, err: conversion.ErrTimeInvalid},

		{name: "minutes alone stand for the whole minute", text: "2026-03-31 14:05", want: []string{"2026-03-31T18:05:00Z"}, width: minute},
		{name: "minutes alone with PM", text: "2026-03-31 2:05 PM", want: []string{"2026-03-31T18:05:00Z"}, width: minute},
		{name: "minutes alone with an offset", text: "2026-03-31T14:05-04:00", want: []string{"2026-03-31T18:05:00Z"}, width: minute},

		{name: "a time that never was", text: "2026-03-08 02:30:00", err: conversion.ErrTimeInGap},
		{name: "the first second that never was", text: "2026-03-08 02:00:00", err: conversion.ErrTimeInGap},
		{name: "the last second that never was", text: "2026-03-08 02:59:59", err: conversion.ErrTimeInGap},
		{name: "the second before the gap", text: "2026-03-08 01:59:59", want: []string{"2026-03-08T06:59:59Z"}, width: second},
		{name: "the second after the gap", text: "2026-03-08 03:00:00", want: []string{"2026-03-08T07:00:00Z"}, width: second},
		{name: "a time that never was, with its offset", text: "2026-03-08 02:30:00 -0500", want: []string{"2026-03-08T07:30:00Z"}, width: second},
		{name: "a time that never was in New York, in Los Angeles", text: "2026-03-08 02:30:00 America/Los_Angeles", err: conversion.ErrTimeInGap},
		{name: "a time that never was in New York is one in Berlin", text: "2026-03-08 02:30:00", zone: zone(t, "Europe/Berlin"), want: []string{"2026-03-08T01:30:00Z"}, width: second},

		{name: "a time that occurs twice", text: "2026-11-01 01:30:00", want: []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}, width: second},
		{name: "the first second that occurs twice", text: "2026-11-01 01:00:00", want: []string{"2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"}, width: second},
		{name: "the last second that occurs twice", text: "2026-11-01 01:59:59", want: []string{"2026-11-01T05:59:59Z", "2026-11-01T06:59:59Z"}, width: second},
		{name: "the second before those that occur twice", text: "2026-11-01 00:59:59", want: []string{"2026-11-01T04:59:59Z"}, width: second},
		{name: "the second after those that occur twice", text: "2026-11-01 02:00:00", want: []string{"2026-11-01T07:00:00Z"}, width: second},
		{name: "a minute that occurs twice", text: "2026-11-01 01:30", want: []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}, width: minute},
		{name: "a time that occurs twice, with its offset", text: "2026-11-01 01:30:00 -0500", want: []string{"2026-11-01T06:30:00Z"}, width: second},
		{name: "half an hour that occurs twice", text: "2026-04-05 01:45:00", zone: zone(t, "Australia/Lord_Howe"), want: []string{"2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"}, width: second},
		{name: "a day that never was", text: "2011-12-30 12:00:00", zone: zone(t, "Pacific/Apia"), err: conversion.ErrTimeInGap},

		{name: "an Excel serial is on the zone's clock", text: "45292.5", want: []string{"2024-01-01T17:00:00Z"}, width: second},
		{name: "an Excel serial with a decimal comma", text: "45292,5", want: []string{"2024-01-01T17:00:00Z"}, width: second},
		{name: "an Excel serial with seconds", text: "46112.58690972222", want: []string{"2026-03-31T18:05:09Z"}, width: second},
		{name: "an Excel serial without a zone", text: "45292.5", zoneless: true, err: conversion.ErrTimeZoneless},
		{name: "an Excel serial of a time that never was", text: "46089.104166666664", err: conversion.ErrTimeInGap},
		{name: "an Excel serial of a time that occurs twice", text: "46327.0625", want: []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}, width: second},
		{name: "an Excel serial of a date alone", text: "45292", err: conversion.ErrTimeInvalid},
		{name: "an Excel serial of a date alone with a zero", text: "45292.0", err: conversion.ErrTimeInvalid},
		{name: "a number that is no serial", text: "12.5", err: conversion.ErrTimeInvalid},

		{name: "without a zone", text: "2026-03-31 14:05:09", zoneless: true, err: conversion.ErrTimeZoneless},
		{name: "rounded by a spreadsheet", text: "1.77498E+12", err: conversion.ErrTimeDamaged},
		{name: "a stamp rounded by a spreadsheet", text: "2.02603E+16", err: conversion.ErrTimeDamaged},
		{name: "30 February", text: "2026-02-30 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "29 February of a common year", text: "2026-02-29 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "29 February of a leap year", text: "2028-02-29 14:05:09", want: []string{"2028-02-29T19:05:09Z"}, width: second},
		{name: "30 February with slashes", text: "02/30/2026 14:05:09", order: mdy, err: conversion.ErrTimeInvalid},
		{name: "30 February with an offset", text: "2026-02-30T14:05:09Z", err: conversion.ErrTimeInvalid},
		{name: "month 13", text: "2026-13-01 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "month 0", text: "2026-00-01 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "day 0", text: "2026-03-00 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "hour 24", text: "2026-03-31 24:00:00", err: conversion.ErrTimeInvalid},
		{name: "minute 60", text: "2026-03-31 14:60:00", err: conversion.ErrTimeInvalid},
		{name: "second 60", text: "2026-03-31 14:05:60", err: conversion.ErrTimeInvalid},
		{name: "the year 1899", text: "1899-12-30 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "the year 0", text: "0000-03-31 14:05:09", err: conversion.ErrTimeInvalid},
		{name: "a date without a time", text: "2026-03-31", err: conversion.ErrTimeInvalid},
		{name: "a date with slashes without a time", text: "03/31/2026", order: mdy, err: conversion.ErrTimeInvalid},
		{name: "a time without a date", text: "14:05:09", err: conversion.ErrTimeInvalid},
		{name: "a date and an hour", text: "2026-03-31 14", err: conversion.ErrTimeInvalid},
		{name: "one digit of a minute", text: "2026-03-31 14:5", err: conversion.ErrTimeInvalid},
		{name: "something behind it", text: "2026-03-31 14:05:09 or so", err: conversion.ErrTimeInvalid},
		{name: "words", text: "yesterday", err: conversion.ErrTimeInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			reader := conversion.TimeReader{Zone: newYork, Order: c.order}
			if c.zone != nil {
				reader.Zone = c.zone
			}
			if c.zoneless {
				reader.Zone = nil
			}
			got, err := reader.Read(c.text)
			if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Fatalf("Read(%q) = %+v, error %v, want error %v", c.text, got, err, c.err)
			}
			var want []conversion.Span
			for _, from := range c.want {
				want = append(want, conversion.Span{From: utc(t, from), To: utc(t, from) + conversion.Millis(c.width) - 1})
			}
			if fmt.Sprint(got.Readings()) != fmt.Sprint(want) {
				t.Errorf("Read(%q) = %v, want %v", c.text, got.Readings(), want)
			}
			if got.Given() != (len(want) > 0) || got.Twice() != (len(want) == 2) {
				t.Errorf("Given = %v, Twice = %v", got.Given(), got.Twice())
			}
		})
	}
}

func TestADateAloneSaysWhatItLacks(t *testing.T) {
	for _, text := range []string{"2026-03-31", "03/31/2026", "45292"} {
		t.Run(text, func(t *testing.T) {
			_, err := conversion.TimeReader{Zone: time.UTC, Order: conversion.DateOrderMDY}.Read(text)
			if want := "not a time: a date without a time of day"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// instant is a moment from 1971 to 2099, for testing/quick.
func instant(seed uint32) time.Time {
	first := time.Date(1971, 1, 2, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	return time.Unix(first+int64(seed)%(last-first), 0).UTC()
}

func fixedSeed(n int64, count int) *quick.Config {
	return &quick.Config{MaxCount: count, Rand: rand.New(rand.NewSource(n))}
}

func TestAWrittenMomentReadsBack(t *testing.T) {
	newYork := zone(t, "America/New_York")
	forms := []struct {
		name      string
		precision time.Duration
		write     func(time.Time) string
	}{
		{"10 digits", time.Second, func(at time.Time) string { return fmt.Sprintf("%010d", at.Unix()) }},
		{"13 digits", time.Millisecond, func(at time.Time) string { return fmt.Sprintf("%013d", at.UnixMilli()) }},
		{"17 digits", time.Millisecond, func(at time.Time) string {
			return at.Format("20060102150405") + fmt.Sprintf("%03d", at.Nanosecond()/1_000_000)
		}},
		{"RFC 3339", time.Second, func(at time.Time) string { return at.In(newYork).Format(time.RFC3339) }},
		{"ISO 8601 with milliseconds", time.Millisecond, func(at time.Time) string { return at.Format("2006-01-02T15:04:05.000Z07:00") }},
		{"slashes, year first, an offset", time.Second, func(at time.Time) string { return at.In(newYork).Format("2006/01/02 15:04:05 -0700") }},
		{"slashes, month first, a 12-hour clock", time.Second, func(at time.Time) string { return at.In(newYork).Format("01/02/2006 03:04:05 PM -0700") }},
		{"our own writing", time.Millisecond, func(at time.Time) string { return conversion.MillisOf(at).String() }},
	}
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			property := func(seed uint32, fraction uint16) bool {
				at := instant(seed).Add(time.Duration(fraction%1000) * time.Millisecond).Truncate(form.precision)
				got, err := conversion.TimeReader{Order: conversion.DateOrderMDY}.Read(form.write(at))
				if err != nil || got.Twice() || got.First.From != conversion.MillisOf(at) || got.First.To < got.First.From || !got.First.Fine() {
					t.Logf("%s reads as %+v, %v", form.write(at), got, err)
					return false
				}
				return true
			}
			if err := quick.Check(property, fixedSeed(6, 2000)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A clock reading has as many readings as there are moments at which the
// zone's clocks show it, and each of them is such a moment.
func TestEveryReadingIsWhatTheClocksShow(t *testing.T) {
	const layout = "2006-01-02 15:04:05"
	for _, name := range []string{
		"America/New_York", "America/St_Johns", "Europe/London", "Europe/Berlin", "Australia/Lord_Howe",
		"Africa/Casablanca", "Antarctica/Troll", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham", "UTC",
	} {
		t.Run(name, func(t *testing.T) {
			z := zone(t, name)
			reader := conversion.TimeReader{Zone: z}
			check := func(wall time.Time) bool {
				text := wall.Format(layout)
				moments := map[conversion.Millis]bool{}
				for quarter := -16 * 4; quarter <= 16*4; quarter++ {
					at := wall.Add(time.Duration(quarter) * 15 * time.Minute)
					if at.In(z).Format(layout) == text {
						moments[conversion.MillisOf(at)] = true
					}
				}
				got, err := reader.Read(text)
				if len(moments) == 0 {
					return errors.Is(err, conversion.ErrTimeInGap)
				}
				for _, reading := range got.Readings() {
					if !moments[reading.From] {
						t.Logf("%s is read as %v", text, reading.From)
						return false
					}
				}
				if err != nil || len(got.Readings()) != len(moments) {
					t.Logf("%s: %d readings, %v; the clocks show it %d times", text, len(got.Readings()), err, len(moments))
					return false
				}
				return !got.Twice() || got.First.From < got.Second.From
			}
			property := func(seed uint32) bool {
				at := instant(seed % (1 << 30)) // in this century the offsets are whole quarters of an hour
				return check(at.AddDate(30, 0, 0))
			}
			if err := quick.Check(property, fixedSeed(7, 300)); err != nil {
				t.Error(err)
			}
			for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == 2026; at = at.Add(15 * time.Minute) {
				_, before := at.Add(-4 * time.Hour).In(z).Zone()
				_, after := at.Add(4 * time.Hour).In(z).Zone()
				if before == after {
					continue
				}
				if wall := at.Add(time.Duration(before) * time.Second); !check(wall) || !check(wall.Add(7*time.Minute+13*time.Second)) {
					t.Errorf("%s is read wrongly", wall.Format(layout))
				}
			}
		})
	}
}

func TestSpanDistance(t *testing.T) {
	span := conversion.Span{From: 60_000, To: 119_999}
	for _, c := range []struct {
		name string
		at   conversion.Millis
		want int64
	}{
		{"at its beginning", 60_000, 0}, {"inside", 90_000, 0}, {"at its end", 119_999, 0},
		{"just before", 59_999, 1}, {"just after", 120_000, 1}, {"long before", 0, 60_000}, {"long after", 179_999, 60_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := span.Distance(c.at); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
	if span.Fine() || !(conversion.Span{From: 1000, To: 1999}).Fine() || !(conversion.Span{From: 1000, To: 1000}).Fine() {
		t.Error("only times written to the second or finer are fine")
	}
}

func TestMillisAsText(t *testing.T) {
	for _, c := range []struct {
		name string
		at   conversion.Millis
		want string
	}{
		{"none is blank", 0, ""},
		{"whole seconds have no decimals", 1774980309000, "2026-03-31T18:05:09Z"},
		{"as many decimals as it needs", 1774980309120, "2026-03-31T18:05:09.12Z"},
		{"milliseconds", 1774980309123, "2026-03-31T18:05:09.123Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.at.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEvidenceOfTheDateOrder(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       conversion.DateOrder
	}{
		{"a second number above 12", "03/31/2026 14:05", conversion.DateOrderMDY},
		{"a first number above 12", "31/03/2026 14:05", conversion.DateOrderDMY},
		{"dots", "31.03.2026 14:05:09", conversion.DateOrderDMY},
		{"hyphens", "31-03-2026 14:05:09", conversion.DateOrderDMY},
		{"either way", "03/04/2026 14:05", conversion.DateOrderAuto},
		{"the same day either way", "12/12/2026 14:05", ""},
		{"with an offset", "03/31/2026 14:05 -0400", conversion.DateOrderMDY},
		{"with blanks around it", "  31/03/2026 14:05 ", conversion.DateOrderDMY},
		{"neither way is no evidence", "13/14/2026 14:05", ""},
		{"the year first", "2026/03/04 14:05", ""},
		{"ISO 8601", "2026-03-04T14:05:09Z", ""},
		{"a month in letters", "Mar 4, 2026 14:05", ""},
		{"digits", "1774980309", ""},
		{"an Excel serial", "45292.5", ""},
		{"a date without a time", "03/31/2026", ""},
		{"no time", "n/a", ""},
		{"blank", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := conversion.ReadEvidence(c.text).Order; got != c.want {
				t.Errorf("the evidence of %q is %q, want %q", c.text, got, c.want)
			}
		})
	}
}

func TestEvidenceOfZoneAndPrecision(t *testing.T) {
	for _, c := range []struct {
		name, text            string
		minutesOnly, zoneless bool
	}{
		{"a time to the second", "2026-03-31 14:05:09", false, true},
		{"a time to the minute", "2026-03-31 14:05", true, true},
		{"a time to the minute with an offset", "2026-03-31 14:05-04:00", true, false},
		{"a time to the second with an offset", "2026-03-31 14:05:09 -0400", false, false},
		{"a time in UTC", "2026-03-31T14:05:09Z", false, false},
		{"a time with a zone's name", "2026-03-31 14:05 America/New_York", true, false},
		{"the day first", "31/03/2026 14:05", true, true},
		{"blanks around it", " 31/03/2026 14:05:09 ", false, true},
		{"seconds since 1970", "1774980309", false, false},
		{"milliseconds since 1970", "1774980309123", false, false},
		{"seconds and a fraction", "1774980309.5", false, false},
		{"17 digits", "20260331180509123", false, false},
		{"an Excel serial", "45292.5", false, true},
		{"no time", "a:b", false, false},
		{"blank", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := conversion.ReadEvidence(c.text)
			if got.MinutesOnly != c.minutesOnly || got.Zoneless != c.zoneless {
				t.Errorf("the evidence of %q is %+v", c.text, got)
			}
		})
	}
}

func TestParseZone(t *testing.T) {
	summer := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, text string
		offset     int // seconds east of UTC in summer
		wrong      bool
	}{
		{name: "an IANA name", text: "America/New_York", offset: -4 * 3600},
		{name: "an IANA name with blanks around it", text: " Europe/Berlin ", offset: 2 * 3600},
		{name: "UTC", text: "UTC"},
		{name: "an offset east", text: "+0100", offset: 3600},
		{name: "an offset west with a colon", text: "-03:30", offset: -3*3600 - 1800},
		{name: "an offset of hours alone", text: "+05", offset: 5 * 3600},
		{name: "blank", text: "", wrong: true},
		{name: "this machine's own", text: "Local", wrong: true},
		{name: "this machine's own in small letters", text: "local", wrong: true},
		{name: "no such place", text: "Mars/Olympus", wrong: true},
		{name: "a path", text: "../UTC", wrong: true},
		{name: "an offset that nobody has", text: "+2500", wrong: true},
		{name: "half an offset", text: "+1", wrong: true},
		{name: "an offset with minutes that don't exist", text: "+0160", wrong: true},
		{name: "something behind an offset", text: "+0100x", wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := conversion.ParseZone(c.text)
			if (err != nil) != c.wrong {
				t.Fatalf("ParseZone(%q) = %v, %v", c.text, got, err)
			}
			if err != nil {
				return
			}
			if _, offset := summer.In(got).Zone(); offset != c.offset {
				t.Errorf("the offset is %d, want %d", offset, c.offset)
			}
		})
	}
}
