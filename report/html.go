package report

import (
	"html/template"
	"io"

	"calltally/conversion"
)

// HTML writes reports as one HTML page without scripts or remote content.
// Layout is by tables and inline styles, which every mail client understands.
func HTML(w io.Writer, reports ...*Report) error { return htmlTemplate.Execute(w, page{reports}) }

// tints are the colours of verdicts: text on background.
var tints = map[conversion.Verdict]template.CSS{
	conversion.Created:     "color:#0f5132;background:#d9f2e3",
	conversion.Updated:     "color:#0b4a8f;background:#dceafb",
	conversion.Incremented: "color:#0b4a8f;background:#dceafb",
	conversion.Repeated:    "color:#0b4a8f;background:#dceafb",
	conversion.Unchanged:   "color:#444c56;background:#eceff2",
	conversion.Ignored:     "color:#444c56;background:#eceff2",
	conversion.Waiting:     "color:#7a4b00;background:#fdf0d0",
	conversion.Rejected:    "color:#8c1d18;background:#fbe0de",
}

// pageBegin and pageEnd are what is before and after the content of any page: a
// column in the middle, which every mail client understands. What begins with a heading
// ends its cell and row.
const (
	pageBegin = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Headline}}</title>
</head>
<body style="margin:0;padding:0;background:#f4f6f8;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f4f6f8;"><tr><td align="center" style="padding:24px 12px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:680px;background:#ffffff;border:1px solid #dfe3e8;border-radius:8px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:15px;line-height:1.5;color:#1f2933;text-align:left;">
`
	heading = `<tr><td style="padding:24px 28px 4px 28px;">
<div style="font-size:20px;font-weight:600;line-height:1.3;">{{.Headline}}</div>
`
	pageEnd = `</table>
</td></tr></table>
</body>
</html>
`
)

var htmlTemplate = template.Must(template.New("html").Funcs(template.FuncMap{
	"tint": func(v conversion.Verdict) template.CSS { return tints[v] },
}).Parse(pageBegin + `{{range $i, $view := .Views}}{{if $i}}<tr><td style="padding:8px 28px 0 28px;"><div style="border-top:3px solid #dfe3e8;"></div></td></tr>
{{end}}{{template "report" $view}}{{end}}` + pageEnd + `{{define "report"}}` + heading + `<div style="color:#5b6670;padding-top:6px;font-size:14px;">{{.Upload.Name}} &middot; {{.Account}} &middot; {{.Received}}</div>
</td></tr>
{{- if .Upload.Refusal}}
<tr><td style="padding:16px 28px;">
<div style="border-left:4px solid #c0362c;background:#fdf3f2;padding:12px 16px;">{{.Upload.Refusal.Sentence}}</div>
<p style="margin:14px 0 0 0;">Nothing in the file was applied. <span style="color:#5b6670;">({{.Upload.Refusal.Code}})</span></p>
{{- if .Discarded}}
<p style="margin:14px 0 0 0;">This report takes the place of the one that said that the file is held.</p>
{{- end}}
</td></tr>
{{- else if .Upload.Hold}}
<tr><td style="padding:16px 28px;">
<div style="border-left:4px solid #d99000;background:#fff8e6;padding:12px 16px;">{{.Upload.Hold.Sentence}} <span style="color:#5b6670;">({{.Upload.Hold.Code}})</span></div>
</td></tr>
{{- else}}
{{- if .DryRun}}
<tr><td style="padding:12px 28px 0 28px;"><div style="border-left:4px solid #8a97a3;background:#f4f6f8;padding:10px 16px;">This was a dry run: nothing was changed.</div></td></tr>
{{- end}}
{{- if .Upload.Diagnosis}}
<tr><td style="padding:12px 28px 0 28px;"><div style="border-left:4px solid #d99000;background:#fff8e6;padding:10px 16px;">{{.Upload.Diagnosis}}</div></td></tr>
{{- end}}
{{- if .Counted}}
<tr><td style="padding:16px 28px 4px 28px;">
<table role="presentation" cellpadding="0" cellspacing="0" style="border-collapse:collapse;">
<tr><td align="right" style="padding:4px 12px 4px 0;font-size:18px;font-weight:600;">{{.Rows}}</td><td colspan="2" style="padding:4px 0;">{{if eq .Rows 1}}row{{else}}rows{{end}} read</td></tr>
{{- range .Verdicts}}
<tr><td align="right" style="padding:4px 12px 4px 0;font-size:18px;font-weight:600;">{{.Rows}}</td>
<td style="padding:4px 12px 4px 0;"><span style="{{tint .Verdict}};padding:2px 8px;border-radius:10px;font-size:13px;">{{.Verdict}}</span></td>
<td style="padding:4px 0;color:#5b6670;">{{.Meaning}}</td></tr>
{{- end}}
</table>
</td></tr>
{{- end}}
{{- if .Upload.SameAs}}
<tr><td style="padding:8px 28px 0 28px;">The same file came before, as upload {{.Upload.SameAs}}. Rows that were applied then were left as they are.</td></tr>
{{- end}}
{{- range .Notes}}
<tr><td style="padding:8px 28px 0 28px;color:#5b6670;font-size:14px;">{{.}}</td></tr>
{{- end}}
{{- if .Problems}}
<tr><td style="padding:18px 28px 4px 28px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse;">
{{- range .Problems}}
<tr><td style="border-top:1px solid #e4e8ec;padding:12px 0;">
<div><strong>Line {{.Line}}</strong> &nbsp;<span style="{{tint .Verdict}};padding:2px 8px;border-radius:10px;font-size:13px;">{{.Verdict}}</span>{{if .Code}} &nbsp;<span style="color:#5b6670;font-size:13px;">{{.Code}}</span>{{end}}</div>
<div style="padding-top:4px;">{{.Message}}</div>
{{- if .Sent}}
<div style="padding-top:4px;color:#5b6670;font-family:Menlo,Consolas,monospace;font-size:12px;word-break:break-word;">{{.Sent}}</div>
{{- end}}
{{- range .Near}}
<div style="padding-top:4px;font-size:14px;">&#8627; {{if .CallID}}<strong>{{.CallID}}</strong> {{end}}{{.Why}}</div>
{{- end}}
</td></tr>
{{- end}}
{{- if gt .More 0}}
<tr><td style="border-top:1px solid #e4e8ec;padding:12px 0;color:#5b6670;">… and {{.More}} more such rows{{.Elsewhere}}.</td></tr>
{{- end}}
</table>
</td></tr>
{{- end}}
{{- if .Upload.Reading.Dialect}}
<tr><td style="padding:8px 28px 0 28px;color:#5b6670;font-size:14px;">Read as: {{.Read}}.</td></tr>
{{- end}}
{{- end}}
{{- if .Files}}
<tr><td style="padding:8px 28px 0 28px;font-size:14px;">Attached:{{range $i, $name := .Files}}{{if $i}},{{end}} <strong>{{$name}}</strong>{{end}}</td></tr>
{{- end}}
{{- range .Left}}
<tr><td style="padding:8px 28px 0 28px;font-size:14px;">Too large to attach: <strong>{{.Name}}</strong> ({{.SizeName}}). It is kept as <span style="word-break:break-word;">{{.Where}}</span>.</td></tr>
{{- end}}
<tr><td style="padding:16px 28px 22px 28px;color:#8a97a3;font-size:12px;">{{.Identity}}</td></tr>
{{end}}`))
