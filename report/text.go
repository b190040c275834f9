package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"calltally/conversion"
)

// Text writes reports as plain text, one after another, at most 78 characters wide but for
// what was sent.
func Text(w io.Writer, reports ...*Report) error { return textTemplate.Execute(w, page{reports}) }

// Rule stands between reports that are written one after another.
var Rule = strings.Repeat("-", 78)

// page is what is told at a time: mostly one report, or those of what came together.
type page struct{ Reports []*Report }

// Headline says how it went, or how many files there are.
func (p page) Headline() string {
	if len(p.Reports) == 1 {
		return p.Reports[0].headline()
	}
	return conversion.Count(len(p.Reports), "file")
}

// Views are the reports as the templates see them.
func (p page) Views() (views []view) {
	for _, r := range p.Reports {
		views = append(views, view{r})
	}
	return views
}

// view is a report as the templates see it.
type view struct{ *Report }

// Verdicts lists the verdicts that rows met, with their counts.
func (v view) Verdicts() []counted {
	var list []counted
	for _, verdict := range conversion.Verdicts {
		if n := v.Upload.Tally.Of(verdict); n > 0 {
			meaning := verdictMeanings[verdict]
			switch {
			case v.Upload.Takes == conversion.TakesCalls:
				meaning = callMeanings[verdict]
			case v.Upload.Undoes != 0:
				meaning = undoMeanings[verdict]
			}
			list = append(list, counted{verdict, n, meaning})
		}
	}
	return list
}

type counted struct {
	Verdict conversion.Verdict
	Rows    int
	Meaning string
}

var verdictMeanings = map[conversion.Verdict]string{
	conversion.Created:     "new conversions",
	conversion.Updated:     "changed what we held",
	conversion.Incremented: "added to a conversion's payout",
	conversion.Repeated:    "counted again, marked as repeated",
	conversion.Unchanged:   "already held just so",
	conversion.Ignored:     "repeats that your account ignores",
	conversion.Waiting:     "wait for their call",
	conversion.Rejected:    "could not be taken",
}

// callMeanings are what the verdicts mean of a call log's entries.
var callMeanings = map[conversion.Verdict]string{
	conversion.Created:   "new calls",
	conversion.Updated:   "changed a call that we held",
	conversion.Unchanged: "already held just so",
	conversion.Ignored:   "entries that are no calls",
	conversion.Rejected:  "could not be taken",
}

// undoMeanings are what the verdicts mean of rows that were to be taken back.
var undoMeanings = map[conversion.Verdict]string{
	conversion.Updated:   "taken back",
	conversion.Unchanged: "had changed nothing, or were taken back before",
	conversion.Rejected:  "could not be taken back",
}

// Headline says how it went.
func (v view) Headline() string { return v.headline() }

// Rows counts the rows read.
func (v view) Rows() int { return v.Upload.Tally.Rows }

// Counted reports whether it is known of any row what became of it, or that there is none.
func (v view) Counted() bool { return v.Rows() > 0 || v.Upload.State.AtRest() }

// Notes are sentences about the whole file, and the mail that it came in.
func (v view) Notes() []string {
	notes := v.Upload.Reading.Notes
	if v.Upload.Undoes != 0 {
		notes = nil
	}
	if !v.Upload.State.AtRest() {
		notes = append(slices.Clone(notes), "The next “calltally run” or “calltally once” goes on with it.")
	}
	for _, again := range v.ReplayedAs {
		notes = append(slices.Clone(notes), fmt.Sprintf("Rows of it were decided again since, as upload %d.", again))
	}
	if v.Upload.EmptiedAt != 0 {
		notes = append(slices.Clone(notes), "The file was removed on "+v.Upload.EmptiedAt.Time().Format("2 January 2006")+", because it is kept no longer; what it did stands.")
	}
	if unread := v.Upload.Mail.Unread; len(unread) > 0 {
		notes = append(slices.Clone(notes), "Also attached, but not read: "+strings.Join(unread, ", ")+".")
	}
	return notes
}

// Discarded reports whether the file was held before it was refused.
func (v view) Discarded() bool {
	return v.Upload.Refusal != nil && v.Upload.Refusal.Code == conversion.Discarded
}

// More says how many problem rows are not listed.
func (v view) More() int {
	if v.Upload.Takes == conversion.TakesCalls { // its notes list them
		return 0
	}
	if v.Upload.EmptiedAt != 0 { // a note says that the file is gone
		return 0
	}
	return v.problems() - len(v.Problems)
}

// Elsewhere says where the rows are that are not listed; "" for nowhere.
func (v view) Elsewhere() string {
	if len(v.Files)+len(v.Left) == 0 {
		return ""
	}
	return "; the results file has them all"
}

// Read says how the file was read, in one line.
func (v view) Read() string {
	reading := v.Upload.Reading
	dialect := reading.Dialect
	if reading.Why != "" {
		dialect += " (told by " + reading.Why + ")"
	}
	parts := []string{dialect, delimiterName(reading.Delimiter), reading.Encoding}
	if reading.Encoding == conversion.Workbook {
		parts = []string{dialect, "a workbook"}
	}
	if reading.Zone != "" {
		parts = append(parts, "times in "+reading.Zone)
	}
	if reading.DateOrder != "" {
		parts = append(parts, "dates as "+dateOrderNames[reading.DateOrder])
	}
	return strings.Join(parts, ", ")
}

var dateOrderNames = map[conversion.DateOrder]string{
	conversion.DateOrderMDY: "month/day/year", conversion.DateOrderDMY: "day/month/year", conversion.DateOrderYMD: "year/month/day",
}

func delimiterName(delimiter string) string {
	switch delimiter {
	case ";":
		return "semicolons"
	case "\t":
		return "tabs"
	case "|":
		return "pipes"
	}
	return "commas"
}

// Received is when the upload came, on the account's clock.
func (v view) Received() string {
	at := v.Upload.ReceivedAt.Time()
	if v.Zone != nil {
		at = at.In(v.Zone)
	}
	return at.Format("2 January 2006, 15:04 MST")
}

// Identity names the upload for whoever looks into it later.
func (v view) Identity() string {
	if v.DryRun { // it has no number
		return fmt.Sprintf("SHA-256 %x", v.Upload.Digest[:8])
	}
	return fmt.Sprintf("Upload %d, report %d, SHA-256 %x", v.Upload.ID, v.Revision, v.Upload.Digest[:8])
}

// Wrap breaks a text into lines of at most width characters, each but the first
// indented.
func Wrap(width, indent int, text string) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		size := len([]rune(word))
		switch {
		case i == 0:
		case column+1+size > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}

var textTemplate = template.Must(template.New("text").Funcs(template.FuncMap{
	"wrap": Wrap,
	"pad":  func(width int, v any) string { return fmt.Sprintf("%*v", width, v) },
	"left": func(width int, v any) string { return fmt.Sprintf("%-*v", width, v) },
	"rule": func() string { return Rule },
}).Parse(`{{if gt (len .Reports) 1}}{{.Headline}}

{{end}}{{range $i, $view := .Views}}{{if $i}}
{{rule}}

{{end}}{{template "report" $view}}{{end}}
{{- define "report"}}{{wrap 78 0 .Headline}}

File:     {{.Upload.Name}}
Account:  {{.Account}}
Received: {{.Received}}
{{- if .Upload.Refusal}}

{{wrap 78 0 .Upload.Refusal.Sentence}}

Nothing in the file was applied. ({{.Upload.Refusal.Code}})
{{- if .Discarded}}

This report takes the place of the one that said that the file is held.
{{- end}}
{{- else if .Upload.Hold}}

{{wrap 78 0 (printf "%s (%s)" .Upload.Hold.Sentence .Upload.Hold.Code)}}
{{- else}}
{{- if .Upload.Reading.Dialect}}
Read as:  {{wrap 78 10 .Read}}
{{- end}}
{{- if .DryRun}}

This was a dry run: nothing was changed.
{{- end}}
{{- if .Upload.Diagnosis}}

{{wrap 78 0 .Upload.Diagnosis}}
{{- end}}
{{- if .Counted}}

{{pad 8 .Rows}} {{if eq .Rows 1}}row{{else}}rows{{end}}
{{- range .Verdicts}}
{{pad 8 .Rows}} {{left 12 .Verdict}} {{.Meaning}}
{{- end}}
{{- end}}
{{- if .Upload.SameAs}}

{{wrap 78 0 (printf "The same file came before, as upload %d. Rows that were applied then were left as they are." .Upload.SameAs)}}
{{- end}}
{{- range .Notes}}

{{wrap 78 0 .}}
{{- end}}
{{- range .Problems}}

Line {{.Line}}: {{.Verdict}}{{if .Code}} ({{.Code}}){{end}}
  {{wrap 78 2 .Message}}
{{- if .Sent}}
  Sent: {{wrap 78 8 .Sent}}
{{- end}}
{{- range .Near}}
  Near: {{wrap 78 8 (printf "%s%s%s" .CallID (and .CallID ", ") .Why)}}
{{- end}}
{{- end}}
{{- if gt .More 0}}

{{wrap 78 0 (printf "… and %d more such rows%s." .More .Elsewhere)}}
{{- end}}
{{- end}}
{{- if .Files}}

{{if .FilesIn}}Written to {{.FilesIn}}:{{else}}Attached:{{end}}
{{- range .Files}}
  {{.}}
{{- end}}
{{- end}}
{{- range .Left}}

{{wrap 78 0 (printf "Too large to attach: %s (%s). It is kept as %s." .Name .SizeName .Where)}}
{{- end}}

{{.Identity}}
{{end}}`))
