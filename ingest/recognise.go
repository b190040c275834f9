package ingest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"calltally/conversion"
)

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
	best, refusal := t.recognise()
	if refusal == nil {
		t.adopt(best)
	}
	return refusal, nil
}

// recognise finds the dialect under which the header reads best, or says why there is
// none.
func (t *Table) recognise() (best *understanding, refusal *conversion.Refusal) {
	var all []*understanding
	for _, d := range t.candidates() {
		u := t.under(d)
		if all = append(all, u); u.better(best) {
			best = u
		}
	}
	if refusal = t.misplaced(best); refusal == nil {
		refusal = best.refusal
	}
	if refusal == nil {
		refusal = t.undecided(best, all)
	}
	return best, refusal
}

// adopt has the table be in a dialect.
func (t *Table) adopt(best *understanding) {
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
	if candidates := t.candidates(); len(candidates) > 1 {
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

// misplaced refuses a call log among conversions, or conversions among call logs: a
// file that a dialect of the other kind reads better, and whose best dialect of its own
// kind doesn't fit or reads no amount.
func (t *Table) misplaced(best *understanding) *conversion.Refusal {
	if best != nil && best.refusal == nil && len(best.amounts) > 0 {
		return nil
	}
	for _, d := range Dialects {
		if d.Takes == t.settings.Takes {
			continue
		}
		u := t.under(d)
		if u.refusal != nil || best != nil && u.known <= best.known {
			continue
		}
		if d.Takes == conversion.TakesCalls {
			return conversion.Refuse(conversion.NotATable, "This is a call log (%s), not a file of conversions. Import it with calls import, or drop it into a folder that takes calls.", d.Name)
		}
		return conversion.Refuse(conversion.NotATable, "This is a file of conversions (%s), not a call log. Send it to where conversions go.", d.Name)
	}
	return nil
}

// undecided refuses a header under which another dialect would read an amount that the
// best one doesn't: which of them moves money is not for us to guess. One that fits
// might be meant as well; one that knows more columns and doesn't fit lacks something.
func (t *Table) undecided(best *understanding, all []*understanding) *conversion.Refusal {
	for _, other := range all {
		if other.refusal != nil && other.known <= best.known {
			continue
		}
		for _, at := range other.amounts {
			if best.fields[at] == "" && other.refusal != nil {
				return other.refusal
			}
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
