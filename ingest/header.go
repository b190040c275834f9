package ingest

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"

	"calltally/conversion"
)

var delimiters = []rune{',', ';', '\t', '|'}

var delimiterNames = map[rune]string{',': ",", ';': ";", '\t': "\t", '|': "|"}

// findHeader reads the lines before the header and the header itself. The
// header decides the delimiter.
func (t *Table) findHeader(context.Context) (*conversion.Refusal, error) {
	r, err := t.text.reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, headSize))
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	t.headerLine, t.times.Zone = 1, t.settings.Account.Zone
	t.Reading.Encoding = t.text.encoding
	var declared rune
	cut := len(head) == headSize
	for {
		line, rest, more := bytes.Cut(head, []byte("\n"))
		content := strings.TrimSpace(string(line))
		if bytes.HasPrefix(bytes.ToLower(line), []byte("sep=\t")) {
			content = "sep=\t"
		}
		bare := strings.TrimRight(strings.Trim(content, `"`), `,;|"`+"\t")
		switch {
		case bare == "" && more:
		case len(content) == 5 && strings.HasPrefix(strings.ToLower(content), "sep=") && more:
			declared = rune(content[4])
		case strings.HasPrefix(strings.ToLower(bare), "parameters:") && more:
			if refusal := t.readParameters(bare[len("parameters:"):]); refusal != nil {
				return refusal, nil
			}
		default:
			return t.chooseDelimiter(head, cut, declared), nil
		}
		head = rest
		t.headerLine++
	}
}

// readParameters reads Google's preamble, TimeZone=America/New_York;…, and what
// our own fix files add to it (see Preamble).
func (t *Table) readParameters(text string) *conversion.Refusal {
	for _, parameter := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ',' }) {
		name, value, _ := strings.Cut(parameter, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "timezone":
			zone, err := conversion.ParseZone(value)
			if err != nil {
				return conversion.Refuse(conversion.TimeZoneMissing, "Line %d names a time zone that we don't know: %v.", t.headerLine, err)
			}
			t.times.Zone = zone
		case "days":
			t.times.From1904 = value == "1904"
		case "dateorder":
			t.declaredOrder = conversion.DateOrder(strings.ToLower(value))
		case "wholeids":
			t.declaredWhole = strings.Split(value, "+")
		}
	}
	return nil
}

// Own is how many of the columns are the sender's own: all but the message that
// our fix file added.
func (t *Table) Own() int {
	last := len(t.Header) - 1
	for last > 0 && strings.TrimSpace(t.Header[last]) == "" {
		last--
	}
	if t.settings.Fix && last > 0 && slices.Contains(fixColumns, FoldHeader(t.Header[last])) {
		return last
	}
	return len(t.Header)
}

// chooseDelimiter takes the delimiter under which the header has the most
// columns that we know; of equals, the one with the most columns at all.
// cut says that the head is not all of the file.
func (t *Table) chooseDelimiter(head []byte, cut bool, declared rune) *conversion.Refusal {
	if cut && bytes.IndexByte(head, '\n') < 0 {
		return conversion.Refuse(conversion.NotATable, "Line %d is longer than %d KiB, so it can't be a header. Send a CSV whose first line names the columns.", t.headerLine, headSize>>10)
	}
	best, columns := -1, 0
	for _, comma := range delimiters {
		r := csv.NewReader(bytes.NewReader(head))
		r.Comma = comma
		header, err := r.Read()
		if err != nil {
			continue
		}
		known := 0
		for _, name := range header {
			if t.knows(name) {
				known += 2
			}
		}
		if comma == declared {
			known++
		}
		if known > best || known == best && len(header) > columns {
			best, columns = known, len(header)
			t.comma, t.Header = comma, header
		}
	}
	t.Reading.Delimiter = delimiterNames[t.comma]
	switch start := bytes.TrimSpace(head); {
	case best < 2 && (bytes.HasPrefix(start, []byte("[")) || bytes.HasPrefix(start, []byte("{"))):
		return conversion.Refuse(conversion.NotATable, "The file is JSON. Only call logs are read as that, with one object a line: {\"sid\": \"CA…\", …}. Send a CSV, or export the log as JSON lines.")
	case best < 0:
		return conversion.Refuse(conversion.HeaderMissing, "The column names on line %d can't be told apart: a quote stands inside one of them or is not closed. Take the quotes out.", t.headerLine)
	case best < 2 && columns == 1 && looksLikeProse(head):
		return conversion.Refuse(conversion.NotATable, "The file doesn't look like a table: line %d is one long text without columns. Send a CSV whose first line names the columns.", t.headerLine)
	case best < 2:
		if refusal := t.misplaced(nil); refusal != nil {
			return refusal
		}
		return conversion.Refuse(conversion.HeaderMissing, "Line %d should name the columns, but none of its names is one that we know (%s). Put a header such as %s on the first line.", t.headerLine, quoteList(t.Header), t.exampleHeader())
	case columns > t.settings.Limits.Columns:
		return conversion.Refuse(conversion.TooManyColumns, "The file has %d columns; at most %d are read. Delete the columns that you don't need.", columns, t.settings.Limits.Columns)
	}
	return nil
}

// exampleHeader is a header that the file might have: of its dialect, if that is set.
func (t *Table) exampleHeader() string {
	candidates := t.candidates()
	if len(candidates) > 1 || len(candidates[0].Required) == 0 {
		return map[conversion.Takes]string{
			conversion.TakesConversions: "start_time, calling_phone_number, sale_amount",
			conversion.TakesCalls:       "call_id, start_time, calling_phone_number",
		}[t.settings.Takes]
	}
	var names []string
	for _, need := range candidates[0].Required {
		names = append(names, need.Any[0])
	}
	return strings.Join(names, ", ")
}

func looksLikeProse(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return bytes.Count(line, []byte(" ")) >= 4
}

// knows reports whether a header names a column of any dialect that the file
// may be in, or one that the account has mapped.
func (t *Table) knows(header string) bool {
	if t.mapped(header) != "" {
		return true
	}
	return slices.ContainsFunc(t.candidates(), func(d *Dialect) bool {
		c, _ := d.column(header)
		return c != nil
	})
}

// mapped is our name for a header that the account has mapped itself.
func (t *Table) mapped(header string) string {
	for theirs, ours := range t.settings.Account.Columns {
		if FoldHeader(theirs) == FoldHeader(header) {
			return ours
		}
	}
	return ""
}

// splitTimeHint says what to do about a date and a time in two columns.
func (t *Table) splitTimeHint() string {
	has := func(name string) bool {
		return slices.ContainsFunc(t.Header, func(h string) bool { return FoldHeader(h) == name })
	}
	if has("date") && has("time") {
		return " If date and time stand in two columns, join them into one."
	}
	return ""
}

func (t *Table) isOwnResults() bool {
	tail := len(t.Header) - len(resultsColumns)
	return tail >= 0 && slices.EqualFunc(t.Header[tail:], resultsColumns, func(h, own string) bool { return FoldHeader(h) == FoldHeader(own) }) &&
		t.settings.Takes == conversion.TakesConversions
}

// unknownColumns are the headers that mean nothing to us, but for those that a fix
// file adds, even if it comes back under another name.
func (t *Table) unknownColumns() []string {
	var unknown []string
	for i, header := range t.Header {
		if t.fields[i] == "" && !slices.Contains(fixColumns, FoldHeader(header)) && strings.TrimSpace(header) != "" {
			unknown = append(unknown, header)
		}
	}
	return unknown
}

func quoteList(names []string) string {
	const most = 12
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", conversion.Clip(name, 40))
	}
	return b.String()
}
