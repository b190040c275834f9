package ingest

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"calltally/conversion"
)

// Kind is how a column's cells are written.
type Kind string

// The kinds of columns.
const (
	KindTime     Kind = "time" // when the call started; of several, the first that is filled counts
	KindEvent    Kind = "time of an event"
	KindPhone    Kind = "phone"
	KindAmount   Kind = "amount"
	KindPercent  Kind = "percentage"
	KindCurrency Kind = "currency"
	KindID       Kind = "id"
	KindNumber   Kind = "whole number"
	KindDuration Kind = "seconds, or 1:02:03"
	KindFlag     Kind = "0 or 1"
	KindList     Kind = "comma-separated list"
	KindOption   Kind = "one of a list"
	KindZone     Kind = "time zone"
	KindText     Kind = "text"
)

// Column is one column of a dialect.
type Column struct {
	// Name is our name for it; headers match it whatever their case, spaces,
	// hyphens and underscores. In the name of an array's columns, {i} stands for a
	// whole number: ItemSku{i} matches ItemSku1 and ItemSku[1].
	Name    string
	Aliases []string
	Kind    Kind
	Meaning string
}

// Dialect is a set of column names that people already send, and what they mean.
type Dialect struct {
	Name     string
	Takes    conversion.Takes
	Required []Requirement
	Columns  []Column
	// Key is what its conversions are told apart by, if the account doesn't say;
	// nil for conversion.DefaultKey. KeyNoID is that of rows without an event id, if
	// it is another one.
	Key, KeyNoID []conversion.KeyPart
	// Together are the columns that adjacent rows of one order share: its id, and those
	// that name the event type, of which the first that is filled counts. None if each
	// row stands for itself.
	Together []string
	// Custom keeps columns that the dialect doesn't know with the conversion.
	Custom bool

	// One of these reads its rows: a row into a claim, an order's rows into one
	// claim, a row into a call (false for entries that are no calls).
	claim func(*rowParser) conversion.Claim
	order func(*rowParser, []sentRow) conversion.Claim
	call  func(*rowParser) (conversion.Call, bool)
	// labels puts the dialect's own names of columns where they aren't ours; nil if
	// they are.
	labels func(*conversion.Labels)
}

// Requirement is something that a file must say.
type Requirement struct {
	What string   // "when the call started (start_time)"
	Any  []string // the columns of which it must have at least one
}

// Dialects lists every dialect. Adding one means adding it here: its table of
// columns and the function that reads them.
var Dialects = []*Dialect{
	invoca, invocaSignal, redtrack, cake, impact, impactModify, googleCalls,
	calltallyCalls, invocaTransactions, ringba, callrail, retreaver, twilio,
}

// MappedColumns are columns that any dialect for conversions, or for calls, reads
// if the account maps one of its own to them.
var MappedColumns = map[conversion.Takes][]Column{
	conversion.TakesConversions: {
		{"call_record_id", nil, KindID, "The call provider's id of the call."},
		{"external_call_unique_id", nil, KindID, "The id of the call in another system."},
		{"click_id", nil, KindID, "The click that led to the call."},
		{"event_id", nil, KindID, "The sender's id of the event."},
		{"event_time", nil, KindEvent, "When the event took place."},
		{"status", nil, KindOption, "How far the conversion counts: approved, pending, declined, other, rejected or returned."},
		{"payout", nil, KindAmount, "What the conversion pays, in place of what the account's rules give."},
	},
	conversion.TakesCalls: {
		{"account", nil, KindText, "The account that the call belongs to, by its id or name, where a log has several accounts' calls."},
		{"transaction_id", nil, KindID, "The id of the log's entry."},
		{"external_id", nil, KindID, "The id of the call in another system."},
		{"click_id", nil, KindID, "The click that led to the call."},
		{"cost", nil, KindAmount, "What the call cost."},
	},
}

// The columns our own reports add. On intake the first set is ignored, and a
// file that has them all is one of our results files.
var (
	fixColumns     = []string{"message"}
	resultsColumns = []string{"result", "code", "message", "call_id", "call_start_time", "conversion_id", "payout_before", "payout_after"}
)

// FoldHeader makes header names comparable: those that fold alike are one. What an
// editor makes of an apostrophe is one.
func FoldHeader(header string) string {
	return strings.ToLower(folding.Replace(strings.TrimSpace(unwrap(header))))
}

var folding = strings.NewReplacer(" ", "", "-", "", "_", "", "\u00a0", "", "’", "'")

// foldName is FoldHeader for the names in dialects: they are few, and each header is compared
// with all of them.
func foldName(name string) string {
	if folded, known := foldedNames.Load(name); known {
		return folded.(string)
	}
	folded := FoldHeader(name)
	foldedNames.Store(name, folded)
	return folded
}

var foldedNames sync.Map // string → string

// column finds the column that a header names, and its name there: that of an
// array's column with its number.
func (d *Dialect) column(header string) (c *Column, name string) {
	folded := FoldHeader(header)
	if folded == "" {
		return nil, ""
	}
	stem, number := numbered(header)
	for i := range d.Columns {
		c := &d.Columns[i]
		if foldName(c.Name) == folded || slices.ContainsFunc(c.Aliases, func(a string) bool { return foldName(a) == folded }) {
			return c, c.Name
		}
		if !strings.Contains(c.Name, "{i}") {
			continue
		}
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			switch bare := strings.Replace(foldName(name), "{i}", "", 1); {
			case number != "" && bare == stem:
				return c, strings.Replace(c.Name, "{i}", number, 1)
			case bare == folded && c.Kind != KindText: // the only one
				return c, strings.Replace(c.Name, "{i}", "1", 1)
			}
		}
	}
	return nil, ""
}

// arrayed is the header of an array's column: itemsku1, item_sku_1, itemsku[1],
// and itemtext1_2, whose second number belongs to its name.
var arrayed = regexp.MustCompile(`^([a-z_]+?)_?\[?(\d{1,4})\]?(?:_(\d{1,2}))?$`)

var underscoring = strings.NewReplacer(" ", "_", "-", "_", "\u00a0", "_")

// numbered takes a header apart into its folded name without its number, and the
// number.
func numbered(header string) (stem, number string) {
	m := arrayed.FindStringSubmatch(strings.ToLower(underscoring.Replace(strings.TrimSpace(unwrap(header)))))
	if m == nil {
		return "", ""
	}
	return FoldHeader(m[1] + m[3]), strings.TrimLeft(m[2], "0")
}

// DialectNamed finds a dialect.
func DialectNamed(name string) *Dialect {
	for _, d := range Dialects {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// DialectNames lists the dialects for one kind of file, for messages.
func DialectNames(takes conversion.Takes) []string {
	var names []string
	for _, d := range Dialects {
		if d.Takes == takes {
			names = append(names, d.Name)
		}
	}
	return names
}

// ColumnNamed reports whether any dialect has a column of that name, for
// checking custom mappings.
func ColumnNamed(name string) bool {
	return slices.ContainsFunc(Dialects, func(d *Dialect) bool {
		column, _ := d.mappable(name)
		return column != nil
	})
}

// has reports whether the dialect has a column of that name of ours by itself.
func (d *Dialect) has(name string) bool {
	_, own := d.column(name)
	return own == name
}

// mappable is the dialect's column that a mapping to a name leads to, also one that
// only a mapping leads to, and the dialect's own name for it; nil if there is none.
func (d *Dialect) mappable(name string) (*Column, string) {
	for _, columns := range [][]Column{d.Columns, MappedColumns[d.Takes]} {
		for i := range columns {
			if columns[i].Name == name {
				return &columns[i], name
			}
		}
	}
	return d.column(name)
}

// unwrap takes off what people put around a cell to keep a spreadsheet from
// changing it: ="0503", and the apostrophe that our own reports put before =,
// +, -, @, tab and CR.
func unwrap(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' {
		cell = cell[1:]
	}
	if inner, ok := strings.CutPrefix(cell, `="`); ok && strings.HasSuffix(inner, `"`) {
		return strings.TrimSuffix(inner, `"`)
	}
	return cell
}
