package main

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// newLog is the program's log: JSON, in which no telephone number can be read.
func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch value := a.Value.Resolve(); value.Kind() {
		case slog.KindString:
			a.Value = slog.StringValue(masked(value.String()))
		case slog.KindAny: // an error, or something else that says itself in words
			if _, level := value.Any().(slog.Level); !level {
				a.Value = slog.StringValue(masked(fmt.Sprint(value.Any())))
			}
		}
		return a
	}}))
}

// phones are telephone numbers in usual writings; what is too long for one, or goes on in
// letters, is something else.
var phones = regexp.MustCompile(`\+\d(?:[ .()-]{0,2}\d){6,14}|\(\d{3}\) ?\d{3}[ .-]?\d{4}|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b|\b\d{10,15}\b`)

// masked hides all but the last two digits of the telephone numbers in a text.
func masked(text string) string {
	return phones.ReplaceAllStringFunc(text, func(phone string) string {
		left := strings.Count(phone, "") - 1 - 2
		var b strings.Builder
		for i, c := range []byte(phone) {
			if i < left && c >= '0' && c <= '9' {
				c = '*'
			}
			b.WriteByte(c)
		}
		return b.String()
	})
}
