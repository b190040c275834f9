package report

import (
	"fmt"
	htmltemplate "html/template"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"calltally/conversion"
)

// Digest is what the nightly run tells those who look after the worker: what came
// since the last one, and what stands still.
type Digest struct {
	From, To    time.Time
	Zone        *time.Location
	Activity    []conversion.Activity
	Standstills []conversion.Standstill
	Held        []conversion.Standstill // files that wait for somebody's decision
	Undelivered []conversion.Undelivered
	Paid        []conversion.Paid
	Polls       []conversion.Poll
	Alarms      []string // sentences on what needs a hand soon
	// Names are the accounts' names by their ids.
	Names map[string]string
}

// Subject is the subject of a digest's mail.
func (d *Digest) Subject() string {
	files, rows := 0, 0
	for _, a := range d.Activity {
		files, rows = files+a.Files, rows+a.Rows
	}
	return fmt.Sprintf("Digest of %s: %s, %s", d.in(d.To).Format("2 January 2006"), conversion.Count(files, "file"), conversion.Count(rows, "row"))
}

// Text and HTML write the digest.
func (d *Digest) Text(w io.Writer) error { return digestText.Execute(w, digestView{d}) }

// HTML writes the digest as one page, laid out like the reports.
func (d *Digest) HTML(w io.Writer) error { return digestHTML.Execute(w, digestView{d}) }

func (d *Digest) in(at time.Time) time.Time {
	if d.Zone == nil {
		return at.UTC()
	}
	return at.In(d.Zone)
}

// digestView is a digest as the templates see it.
type digestView struct{ *Digest }

// Period says from when to when.
func (v digestView) Period() string {
	return v.in(v.From).Format("2 January 2006, 15:04") + " to " + v.in(v.To).Format("2 January 2006, 15:04 MST")
}

// Account is how an account is called.
func (v digestView) Account(id string) string {
	switch name := v.Names[id]; {
	case id == "":
		return "no account"
	case name == "" || name == id:
		return id
	default:
		return name + " (" + id + ")"
	}
}

// Rate is the share of rows that found their call.
func (v digestView) Rate(a conversion.Activity) string {
	if a.Sought == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(a.Matched)/float64(a.Sought))
}

// Refused counts the files that were not taken.
func (v digestView) Refused() int {
	n := 0
	for _, a := range v.Activity {
		n += a.Refused
	}
	return n
}

// Clock shows a moment; "never" for none.
func (v digestView) Clock(at conversion.Millis) string {
	if at == 0 {
		return "never"
	}
	return v.in(at.Time()).Format("2 Jan 15:04 MST")
}

// Money is an amount with its currency.
func (v digestView) Money(a conversion.Amount) string { return a.String() + " " + string(a.Currency) }

// Failing are the sources whose last look failed.
func (v digestView) Failing() []conversion.Poll {
	return slices.DeleteFunc(slices.Clone(v.Polls), func(p conversion.Poll) bool { return p.Error == "" })
}

// Headline says the most important in one line.
func (v digestView) Headline() string {
	var parts []string
	if n := len(v.Failing()); n > 0 {
		parts = append(parts, conversion.Count(n, "source")+" can't be read")
	}
	if n := v.Refused(); n > 0 {
		parts = append(parts, conversion.Count(n, "file")+" not taken")
	}
	held := 0
	for _, s := range v.Held {
		held += s.Count
	}
	if held > 0 {
		parts = append(parts, conversion.Count(held, "file")+" held")
	}
	if n := len(v.Undelivered); n > 0 {
		parts = append(parts, conversion.Count(n, "report")+" undelivered")
	}
	waiting := 0
	for _, s := range v.Standstills {
		waiting += s.Count
	}
	if waiting > 0 {
		parts = append(parts, fmt.Sprintf("%s waiting for calls", conversion.Count(waiting, "row")))
	}
	if len(parts) == 0 {
		return "All is well"
	}
	return strings.Join(parts, ", ")
}

// Columns are what an activity's line says, for both forms.
func (v digestView) Columns(a conversion.Activity) []string {
	t := a.Tally
	return []string{v.Account(a.Account), a.Source, fmt.Sprint(a.Files), fmt.Sprint(a.Rows), v.Rate(a), fmt.Sprint(t.Of(conversion.Waiting)), fmt.Sprint(t.Of(conversion.Rejected)), fmt.Sprint(a.Refused)}
}

// Header names the columns.
func (v digestView) Header() []string {
	return []string{"Account", "Source", "Files", "Rows", "Matched", "Waiting", "Rejected", "Not taken"}
}

var digestText = template.Must(template.New("digest").Funcs(template.FuncMap{
	"line": func(cells []string) string {
		return strings.TrimRight(fmt.Sprintf("%-18s %-12s %5s %7s %7s %7s %8s %9s", conversion.Clip(cells[0], 18), conversion.Clip(cells[1], 12), cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]), " ")
	},
	"wrap": Wrap,
}).Parse(`{{wrap 78 0 .Headline}}

{{.Period}}
{{range .Alarms}}
{{wrap 78 0 .}}
{{end}}
{{- if .Activity}}
{{line .Header}}
{{- range .Activity}}
{{line ($.Columns .)}}
{{- end}}
{{- else}}
No files came.
{{- end}}
{{- if .Standstills}}

Waiting for calls
{{- range .Standstills}}
  {{$.Account .Account}}: {{.Count}} since {{$.Clock .Oldest}}
{{- end}}
{{- end}}
{{- if .Held}}

Files held (“calltally quarantine list” shows them)
{{- range .Held}}
  {{$.Account .Account}}: {{.Count}} since {{$.Clock .Oldest}}
{{- end}}
{{- end}}
{{- if .Undelivered}}

Reports that the relay took for nobody, or not for everybody
{{- range .Undelivered}}
  {{wrap 78 4 (printf "Upload %d of %s: %s" .Upload ($.Account .Account) .Why)}}
{{- end}}
{{- end}}
{{- if .Paid}}

Payouts changed by
{{- range .Paid}}
  {{$.Account .Account}}: {{$.Money .Paid}}{{if .Pending.Minor}}, and {{$.Money .Pending}} pending{{end}}
{{- end}}
{{- end}}
{{- if .Polls}}

Sources last read
{{- range .Polls}}
  {{.Source}}: {{$.Clock .Good}}{{if .Error}}
    {{wrap 78 4 .Error}}{{end}}
{{- end}}
{{- end}}
`))

var digestHTML = htmltemplate.Must(htmltemplate.New("digest").Parse(pageBegin + heading + `<div style="color:#5b6670;padding-top:6px;font-size:14px;">{{.Period}}</div>
</td></tr>
{{- range .Alarms}}
<tr><td style="padding:14px 28px 0 28px;"><div style="border-left:4px solid #c98a00;background:#fdf8ec;padding:8px 12px;">{{.}}</div></td></tr>
{{- end}}
<tr><td style="padding:14px 28px 4px 28px;">
{{- if .Activity}}
<table width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse;font-size:14px;">
<tr>{{range $i, $name := .Header}}<th align="{{if lt $i 2}}left{{else}}right{{end}}" style="padding:6px 8px 6px 0;border-bottom:1px solid #dfe3e8;color:#5b6670;font-weight:600;">{{$name}}</th>{{end}}</tr>
{{- range .Activity}}
<tr>{{range $i, $cell := $.Columns .}}<td align="{{if lt $i 2}}left{{else}}right{{end}}" style="padding:6px 8px 6px 0;border-bottom:1px solid #eef1f4;">{{$cell}}</td>{{end}}</tr>
{{- end}}
</table>
{{- else}}
<div>No files came.</div>
{{- end}}
</td></tr>
{{- if .Standstills}}
<tr><td style="padding:14px 28px 0 28px;"><div style="font-weight:600;">Waiting for calls</div>
{{- range .Standstills}}<div>{{$.Account .Account}}: {{.Count}} since {{$.Clock .Oldest}}</div>{{end}}</td></tr>
{{- end}}
{{- if .Held}}
<tr><td style="padding:14px 28px 0 28px;"><div style="font-weight:600;">Files held (“calltally quarantine list” shows them)</div>
{{- range .Held}}<div>{{$.Account .Account}}: {{.Count}} since {{$.Clock .Oldest}}</div>{{end}}</td></tr>
{{- end}}
{{- if .Undelivered}}
<tr><td style="padding:14px 28px 0 28px;"><div style="font-weight:600;">Reports that the relay took for nobody, or not for everybody</div>
{{- range .Undelivered}}<div style="border-left:4px solid #c0362c;background:#fdf3f2;padding:6px 12px;font-size:13px;">Upload {{.Upload}} of {{$.Account .Account}}: {{.Why}}</div>{{end}}</td></tr>
{{- end}}
{{- if .Paid}}
<tr><td style="padding:14px 28px 0 28px;"><div style="font-weight:600;">Payouts changed by</div>
{{- range .Paid}}<div>{{$.Account .Account}}: {{$.Money .Paid}}{{if .Pending.Minor}}, and {{$.Money .Pending}} pending{{end}}</div>{{end}}</td></tr>
{{- end}}
{{- if .Polls}}
<tr><td style="padding:14px 28px 24px 28px;"><div style="font-weight:600;">Sources last read</div>
{{- range .Polls}}<div>{{.Source}}: {{$.Clock .Good}}</div>{{if .Error}}<div style="border-left:4px solid #c0362c;background:#fdf3f2;padding:6px 12px;font-size:13px;">{{.Error}}</div>{{end}}{{end}}</td></tr>
{{- end}}
` + pageEnd))
