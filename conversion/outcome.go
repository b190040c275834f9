package conversion

import (
	"fmt"
	"strings"
	"unicode"
)

// Verdict is what became of a row.
type Verdict uint8

// The verdicts, in the order reports list them.
const (
	Created Verdict = iota + 1
	Updated
	Incremented
	Repeated
	Unchanged
	Ignored
	Waiting
	Rejected
)

// Verdicts lists every verdict in the order reports list them.
var Verdicts = []Verdict{Created, Updated, Incremented, Repeated, Unchanged, Ignored, Waiting, Rejected}

var verdictNames = [...]string{"", "created", "updated", "incremented", "repeated", "unchanged", "ignored", "waiting", "rejected"}

func (v Verdict) String() string { return verdictNames[v] }

// MarshalText writes the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Applied reports whether the ledger holds what the row says: it need never be
// decided again.
func (v Verdict) Applied() bool { return v != Waiting && v != Rejected && v != Ignored }

// Outcome is what became of one row: one verdict, one code, one sentence.
type Outcome struct {
	Line    int
	Verdict Verdict
	// Code is set for rejected and waiting rows: the first thing wrong.
	Code    Code
	Message string
	// Column and Value name the cell that Code is about, if one is.
	Column, Value string

	CallID       string // the call provider's id
	CallStart    Millis
	ConversionID int64 // 0 for none

	PayoutBefore, PayoutAfter Amount
	// Rule says how the money came about: "10% of 60.50 = 6.05".
	Rule string

	Near []NearMiss
	// PartOf is the first line of the order that the row belongs to; 0 if it is no
	// further row of one. What became of the order's money stands there.
	PartOf int
	// DecidedBy is the upload that the row was decided as part of, if that is not the
	// one whose outcome this is: a replay leaves rows to it.
	DecidedBy int64
	// Waited says that the row waited for its call until its upload was taken back or
	// decided again; of an undo's, that it stopped or resumed that.
	Waited bool
	// Shift is set on an unmatched row whose caller has a call a whole number of
	// quarter hours away: seconds from the row's time to the call's.
	Shift int
}

// NearMiss is a call that was not chosen, and why.
type NearMiss struct {
	CallID string `json:"call_id"`
	Why    string `json:"why"`
}

// Tally counts outcomes by verdict. The counts always sum to Rows.
type Tally struct {
	Rows   int
	Counts [Rejected + 1]int
}

// Add counts outcomes.
func (t *Tally) Add(outcomes ...Outcome) {
	for i := range outcomes {
		t.Rows++
		t.Counts[outcomes[i].Verdict]++
	}
}

// Sum adds another tally.
func (t *Tally) Sum(other Tally) {
	t.Rows += other.Rows
	for i, n := range other.Counts {
		t.Counts[i] += n
	}
}

// Of returns how many rows met a verdict.
func (t Tally) Of(v Verdict) int { return t.Counts[v] }

// ByName returns the counts by the verdicts' names, and all rows as "rows".
func (t Tally) ByName() map[string]int {
	counts := map[string]int{"rows": t.Rows}
	for _, v := range Verdicts {
		counts[v.String()] = t.Of(v)
	}
	return counts
}

// TallyOf is the tally that ByName returns so.
func TallyOf(counts map[string]int) Tally {
	t := Tally{Rows: counts["rows"]}
	for _, v := range Verdicts {
		t.Counts[v] = counts[v.String()]
	}
	return t
}

// String returns the tally as a sentence: "3 rows: 2 created, 1 rejected".
func (t Tally) String() string {
	var parts []string
	for _, v := range Verdicts {
		if n := t.Of(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	rows := Count(t.Rows, "row")
	if len(parts) == 0 {
		return rows
	}
	return rows + ": " + strings.Join(parts, ", ")
}

// OneLine takes out of a text what would break out of its line or its place: line
// ends and other control characters, and the marks that turn the direction of
// writing.
func OneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r >= '\u2028' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "")))
}

// IsPrintableASCII reports whether a text may stand in the header of a mail or of a request as
// it is.
func IsPrintableASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// Clip shortens a text to at most n characters.
func Clip(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}

// SizeName writes a number of bytes as people do.
func SizeName(bytes int64) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return Count(int(bytes), "byte")
}

// Count writes a number with its noun: "1 row", "3 rows", "3 entries".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok {
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
