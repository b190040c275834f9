package ingest

import (
	"bytes"
	"cmp"
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
	switch {
	case best < 0:
		return conversion.Refuse(conversion.HeaderMissing, "The column names on line %d can't be told apart: a quote stands inside one of them or is not closed. Take the quotes out.", t.headerLine)
	case best < 2 && columns == 1 && looksLikeProse(head):
		return conversion.Refuse(conversion.NotATable, "The file doesn't look like a table: line %d is one long text without columns. Send a CSV whose first line names the columns.", t.headerLine)
	case best < 2:
		return conversion.Refuse(conversion.HeaderMissing, "Line %d should name the columns, but none of its names is one that we know (%s). Put a header such as start_time, calling_phone_number, sale_amount on the first line.", t.headerLine, quoteList(t.Header))
	case columns > t.settings.Limits.Columns:
		return conversion.Refuse(conversion.TooManyColumns, "The file has %d columns; at most %d are read. Delete the columns that you don't need.", columns, t.settings.Limits.Columns)
	}
	return nil
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

// candidates are the dialects that the file may be in.
func (t *Table) candidates() []*Dialect {
	for _, name := range []string{t.settings.Dialect, t.settings.Account.Dialect} {
		if d := DialectNamed(name); d != nil && d.Takes == t.settings.Takes {
			return []*Dialect{d}
		}
	}
	var fitting []*Dialect
	for _, d := range Dialects {
		if d.Takes == t.settings.Takes {
			fitting = append(fitting, d)
		}
	}
	return fitting
}

// understanding is how a header reads under a dialect.
type understanding struct {
	dialect *Dialect
	fields  []string
	amounts []int // the columns that are amounts
	known   int   // columns that it knows
	exact   int   // … under our own name for them
	refusal *conversion.Refusal
}

// better reports whether a header reads better than under another dialect: what
// has all that is required comes first, then what reads the most amounts, then what
// knows the most columns, then what knows the most by their very names.
func (u *understanding) better(than *understanding) bool {
	if than == nil || (u.refusal == nil) != (than.refusal == nil) {
		return than == nil || u.refusal == nil
	}
	if u.refusal != nil {
		return u.known > than.known
	}
	return cmp.Or(cmp.Compare(len(u.amounts), len(than.amounts)), cmp.Compare(u.known, than.known), cmp.Compare(u.exact, than.exact)) > 0
}

// understandHeader gives each column its meaning.
func (t *Table) understandHeader(context.Context) (*conversion.Refusal, error) {
	if t.isOwnResults() {
		return conversion.Refuse(conversion.NotATable, "This is one of our own results files, so nothing in it is new. To correct rows, change the .fix.csv file and send that."), nil
	}
	candidates := t.candidates()
	var best *understanding
	var all []*understanding
	for _, d := range candidates {
		u := t.under(d)
		if all = append(all, u); u.better(best) {
			best = u
		}
	}
	if best.refusal != nil {
		return best.refusal, nil
	}
	if refusal := t.undecided(best, all); refusal != nil {
		return refusal, nil
	}
	t.Dialect, t.fields = best.dialect, best.fields
	t.index = map[string]int{}
	for i, field := range t.fields {
		switch {
		case field == "":
			t.unknown = append(t.unknown, i)
			continue
		case slices.ContainsFunc(MappedColumns[t.settings.Takes], func(c Column) bool { return c.Name == field }) && !t.Dialect.has(field):
			t.extra = append(t.extra, field)
		}
		t.index[field] = i
	}
	t.Reading.Dialect = t.Dialect.Name
	if len(candidates) > 1 {
		t.Reading.Why = t.why(candidates)
	}
	if unknown := t.unknownColumns(); len(unknown) > 0 {
		what := "Not read, but kept in the results file"
		switch {
		case t.Dialect.Custom:
			what = "Kept as custom data"
		case t.Dialect.Takes == conversion.TakesCalls: // it has no results file
			what = "Not read"
		}
		t.Reading.Notes = append(t.Reading.Notes, fmt.Sprintf("%s: %s.", what, quoteList(unknown)))
	}
	return nil, nil
}

// why says by which of its columns the dialect was recognised: those that no
// other has, or else all that it knows.
func (t *Table) why(others []*Dialect) string {
	const most = 3
	var own, known []string
	for i, field := range t.fields {
		if field == "" {
			continue
		}
		header := strings.TrimSpace(t.Header[i])
		known = append(known, header)
		if !slices.ContainsFunc(others, func(d *Dialect) bool {
			c, _ := d.column(header)
			return d != t.Dialect && c != nil
		}) {
			own = append(own, header)
		}
	}
	if len(own) == 0 {
		own = known
	}
	return strings.Join(own[:min(len(own), most)], ", ")
}

// undecided refuses a header under which a dialect that fits as well would read an
// amount that the best one doesn't: which of them moves money is not for us to guess.
func (t *Table) undecided(best *understanding, all []*understanding) *conversion.Refusal {
	for _, other := range all {
		if other.refusal != nil {
			continue
		}
		for _, at := range other.amounts {
			if best.fields[at] == "" {
				return conversion.Refuse(conversion.HeaderMissing, "Line %d can be the header of two kinds of file: %q is a column of %s, %q one of %s. Take out the one that doesn't belong, or have the dialect set for your account.",
					t.headerLine, t.Header[at], other.dialect.Name, t.Header[best.exclusive(other)], best.dialect.Name)
			}
		}
	}
	return nil
}

// exclusive is the first column that a dialect reads as an amount and another doesn't
// read; it has one if the other has, because it reads as many.
func (u *understanding) exclusive(other *understanding) int {
	at := slices.IndexFunc(u.amounts, func(at int) bool { return other.fields[at] == "" })
	return u.amounts[max(at, 0)]
}

// under reads the header as a dialect's.
func (t *Table) under(d *Dialect) *understanding {
	u := &understanding{dialect: d}
	u.fields, u.exact, u.refusal = t.fieldsIn(d)
	for i, field := range u.fields {
		if field == "" {
			continue
		}
		u.known++
		if c, _ := d.mappable(field); c != nil && c.Kind == KindAmount {
			u.amounts = append(u.amounts, i)
		}
	}
	return u
}

// fieldsIn returns the meaning of each column under a dialect, and how many have
// our own name for it.
func (t *Table) fieldsIn(d *Dialect) (fields []string, exact int, refusal *conversion.Refusal) {
	fields = make([]string, len(t.Header))
	seen := map[string]string{} // our name → theirs
	for i, header := range t.Header {
		own, name := d.column(header)
		// A mapping to the header's own name is for dialects that don't know it.
		if column, mapped := d.mappable(t.mapped(header)); column != nil && (own == nil || FoldHeader(mapped) != FoldHeader(header)) {
			name = mapped
		}
		if name == "" {
			continue
		}
		if FoldHeader(name) == FoldHeader(header) {
			exact++
		}
		if other, ok := seen[name]; ok && refusal == nil {
			refusal = conversion.Refuse(conversion.HeaderDuplicated, "Line %d has two columns for %s: %q and %q. Rename or delete one.", t.headerLine, name, other, header)
		}
		seen[name], fields[i] = header, name
	}
	for _, need := range d.Required {
		if refusal == nil && !slices.ContainsFunc(need.Any, func(name string) bool { return seen[name] != "" }) {
			refusal = conversion.Refuse(conversion.RequiredColumnMissing, "Line %d has no column for %s. It has: %s. Add it, or have one of these mapped to it in the account's columns.%s",
				t.headerLine, need.What, quoteList(t.Header), t.splitTimeHint())
		}
	}
	return fields, exact, refusal
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
