package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
)

// newLog is the program's log: JSON, in which no telephone number can be read.
func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "account" { // the configuration's own id of it
			return a
		}
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

// fewestDigits are those of a telephone number as it is dialled within a town, and mostDigits
// those of one with its country code.
const fewestDigits, mostDigits = 7, 15

var (
	// digits are what holds digits and no telephone number (UUIDs, fingerprints, lengths of
	// time), or else a run: digits with at most three signs between them that numbers are
	// written with.
	digits = regexp.MustCompile(`[[:xdigit:]]{8}(?:-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}|[[:xdigit:]]{20,}|\d+\.\d+[mnµ]?s\b|` +
		`(\d(?:[ \t\x{A0}\x{202F}.()/_\x{2010}-\x{2015}-]{0,3}\d)*)`)
	// known are the parts of a run that are something else by their form: dates, with and
	// without anything between and a time behind; answers of mail servers (550 5.7.26); IP
	// addresses; longer ids.
	known = regexp.MustCompile(`(?:19|20)\d\d[-/._](?:0[1-9]|1[0-2])[-/._](?:0[1-9]|[12]\d|3[01])|` +
		`(?:0?[1-9]|[12]\d|3[01])[-/._](?:0?[1-9]|[12]\d|3[01])[-/._](?:19|20)\d\d|` +
		`20[0-4]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[-_]?(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?:\.?\d{3})?)?|` +
		`[245]\d\d[ -][245]\.\d{1,3}\.\d{1,3}|` +
		`\d+(?:\.\d+){3,}|` +
		fmt.Sprintf(`\d{%d,}`, mostDigits+1))
)

// masked hides all but the last two digits of what may be a telephone number in a text.
func masked(text string) string {
	var b strings.Builder
	end := 0
	for _, at := range digits.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(text[end:at[0]])
		if end = at[1]; at[2] < 0 {
			b.WriteString(text[at[0]:end])
		} else {
			maskRun(&b, text[at[0]:end])
		}
	}
	return b.String() + text[end:]
}

// maskRun masks what is not known of a run.
func maskRun(b *strings.Builder, run string) {
	end := 0
	for _, at := range known.FindAllStringIndex(run, -1) {
		if isKnown(run, at[0], at[1]) {
			star(b, run[end:at[0]])
			b.WriteString(run[at[0]:at[1]])
			end = at[1]
		}
	}
	star(b, run[end:])
}

// isKnown reports whether a part of a run that has a known form stands for itself, and is an
// address if it looks like one.
func isKnown(run string, from, to int) bool {
	if from > 0 && isDigit(run[from-1]) || to < len(run) && isDigit(run[to]) {
		return false
	}
	if part := run[from:to]; strings.Count(part, ".") >= 3 && !strings.ContainsAny(part, " -") {
		_, err := netip.ParseAddr(part)
		return err == nil
	}
	return true
}

// star hides all but the last two digits, if there are enough for a telephone number.
func star(b *strings.Builder, run string) {
	count := 0
	for i := range len(run) {
		if isDigit(run[i]) {
			count++
		}
	}
	left := count - 2
	for i := range len(run) {
		if isDigit(run[i]) {
			if left--; left >= 0 && count >= fewestDigits {
				b.WriteByte('*')
				continue
			}
		}
		b.WriteByte(run[i])
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
