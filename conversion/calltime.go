package conversion

import (
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
