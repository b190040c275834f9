package report_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"calltally/conversion"
	"calltally/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func usd(cents int64) conversion.Amount { return conversion.Cents(cents, "USD") }

// table is an upload as a test writes it.
type table struct {
	header []string
	added  int // columns that an earlier fix file added
	comma  rune
	rows   [][]string
}

func (t table) Columns() ([]string, int, rune) {
	return t.header, len(t.header) - t.added, t.comma
}

// fixCSV writes a fix file without a preamble.
func fixCSV(w io.Writer, table report.Table, outcomes report.Outcomes) error {
	return report.FixCSV(w, table, "", outcomes)
}

func (t table) EachRow(each func(conversion.Row) error) error {
	for i, cells := range t.rows {
		if err := each(conversion.Row{Line: i + 2, Cells: cells}); err != nil {
			return err
		}
	}
	return nil
}

func outcomes(list ...conversion.Outcome) report.Outcomes {
	return func(yield func(*conversion.Outcome, error) bool) {
		for i := range list {
			if !yield(&list[i], nil) {
				return
			}
		}
	}
}

// rejectedRows are outcomes that reject every row.
func rejectedRows(n int) report.Outcomes {
	return outcomes(slices.Repeat([]conversion.Outcome{{Verdict: conversion.Rejected, Message: "wrong"}}, n)...)
}

func written(t *testing.T, write func(io.Writer, report.Table, report.Outcomes) error, table report.Table, outcomes report.Outcomes) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, table, outcomes); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantLines(t *testing.T, got string, want ...string) {
	t.Helper()
	if got != strings.Join(want, "\n")+"\n" {
		t.Errorf("got\n%swant\n%s\n", got, strings.Join(want, "\n"))
	}
}

func TestResultsCSV(t *testing.T) {
	created := conversion.Outcome{
		Line: 2, Verdict: conversion.Created, CallID: "A", CallStart: 1_773_158_400_000, ConversionID: 10_000_002, PayoutAfter: usd(605), Rule: "10% of 60.50 = 6.05",
	}
	updated := conversion.Outcome{
		Line: 3, Verdict: conversion.Updated, CallID: "A", CallStart: 1_773_158_400_500, ConversionID: 10_000_002, PayoutBefore: usd(605), PayoutAfter: usd(0), Rule: "update", Message: "A message goes before a rule.",
	}
	rejected := conversion.Outcome{
		Line: 4, Verdict: conversion.Rejected, Code: conversion.CallNotFound, Message: "No call.",
		Near: []conversion.NearMiss{{CallID: "B", Why: "an hour later"}, {Why: "another account's"}},
	}
	own := table{header: []string{"Start Time", "sale_amount", "Agent"}, comma: ',', rows: [][]string{{"t1", "60.50", "Ann, \"the\" best"}, {"t2", "0", "Bo\nb"}, {"t3", "", ""}}}
	t.Run("the sender's columns in their order, then what became of each row", func(t *testing.T) {
		wantLines(t, written(t, report.ResultsCSV, own, outcomes(created, updated, rejected)),
			`Start Time,sale_amount,Agent,result,code,message,call_id,call_start_time,conversion_id,payout_before,payout_after`,
			`t1,60.50,"Ann, ""the"" best",created,,10% of 60.50 = 6.05,A,2026-03-10T16:00:00Z,10000002,,6.05`,
			"t2,0,\"Bo\nb\",updated,,A message goes before a rule. update,A,2026-03-10T16:00:00.5Z,10000002,6.05,0.00",
			`t3,,,rejected,call_not_found,No call. Near misses: B: an hour later; another account's,,,,,`)
	})
	t.Run("a short row is filled up", func(t *testing.T) {
		short := table{header: []string{"a", "b", "c"}, comma: ',', rows: [][]string{{"1"}, {}}}
		wantLines(t, written(t, report.ResultsCSV, short, outcomes(rejected, conversion.Outcome{Verdict: conversion.Unchanged})),
			"a,b,c,result,code,message,call_id,call_start_time,conversion_id,payout_before,payout_after",
			"1,,,rejected,call_not_found,No call. Near misses: B: an hour later; another account's,,,,,",
			",,,unchanged,,,,,,,")
	})
	t.Run("the message that a fix file brought back is written anew, the sender's own columns stay", func(t *testing.T) {
		again := table{header: []string{"a", "Result", " code ", "b", "MESSAGE"}, added: 1, comma: ',', rows: [][]string{{"1", "rejected", "x", "2", "old"}}}
		wantLines(t, written(t, report.ResultsCSV, again, outcomes(conversion.Outcome{Verdict: conversion.Unchanged})),
			`a,Result," code ",b,result,code,message,call_id,call_start_time,conversion_id,payout_before,payout_after`,
			"1,rejected,x,2,unchanged,,,,,,,")
	})
	for name, comma := range map[string]rune{"semicolons": ';', "tabs": '\t', "pipes": '|'} {
		t.Run("a file with "+name+" stays one", func(t *testing.T) {
			mark := string(comma)
			own := table{header: []string{"a", "b"}, comma: comma, rows: [][]string{{"1,5", "x" + mark + "y"}}}
			wantLines(t, written(t, fixCSV, own, rejectedRows(1)), "a"+mark+"b"+mark+"message", "1,5"+mark+`"x`+mark+`y"`+mark+"wrong")
		})
	}
	t.Run("rows beyond the outcomes are an error, not a short file", func(t *testing.T) {
		if err := report.ResultsCSV(io.Discard, own, outcomes(created)); err == nil {
			t.Error("no error")
		}
	})
	t.Run("an outcome that can't be read is an error", func(t *testing.T) {
		broken := errors.New("broken")
		err := report.ResultsCSV(io.Discard, own, func(yield func(*conversion.Outcome, error) bool) { yield(nil, broken) })
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a full disk is an error", func(t *testing.T) {
		if err := report.ResultsCSV(full{}, own, outcomes(created, updated, rejected)); !errors.Is(err, errFull) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the file may be written twice", func(t *testing.T) {
		all := outcomes(created, updated, rejected)
		first, second := written(t, report.ResultsCSV, own, all), written(t, report.ResultsCSV, own, all)
		if first != second {
			t.Error("the second is another")
		}
		if own.rows[0][0] != "t1" || own.header[0] != "Start Time" {
			t.Error("the table was written to")
		}
	})
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestFixCSV(t *testing.T) {
	t.Run("only rejected rows, as sent, with what is wrong", func(t *testing.T) {
		own := table{header: []string{"start_time", "sale_amount"}, comma: ',', rows: [][]string{{"t1", "1"}, {"t2", "2"}, {"t3", "3"}, {"t4", "4"}}}
		got := written(t, fixCSV, own, outcomes(
			conversion.Outcome{Verdict: conversion.Created}, conversion.Outcome{Verdict: conversion.Rejected, Message: "Give a time."},
			conversion.Outcome{Verdict: conversion.Waiting, Message: "It waits."}, conversion.Outcome{Verdict: conversion.Rejected, Message: "No call.", Near: []conversion.NearMiss{{CallID: "B", Why: "w"}}}))
		wantLines(t, got, "start_time,sale_amount,message", "t2,2,Give a time.", "t4,4,No call. Near misses: B: w")
	})
	t.Run("the message of an earlier fix file is replaced", func(t *testing.T) {
		own := table{header: []string{"a", "b", "Message"}, added: 1, comma: ',', rows: [][]string{{"1", "2", "old"}}}
		wantLines(t, written(t, fixCSV, own, rejectedRows(1)), "a,b,message", "1,2,wrong")
	})
	t.Run("a message that is the sender's own stays", func(t *testing.T) {
		own := table{header: []string{"a", "Message"}, comma: ',', rows: [][]string{{"1", "call back"}}}
		wantLines(t, written(t, fixCSV, own, rejectedRows(1)), "a,Message,message", "1,call back,wrong")
	})
	t.Run("a row that doesn't fit its header goes on not fitting", func(t *testing.T) {
		own := table{header: []string{"a", "b", "message"}, added: 1, comma: ',', rows: [][]string{{"1", "2", "3", "old"}, {"1"}, {`5" pipe`}}}
		wantLines(t, written(t, fixCSV, own, rejectedRows(3)), "a,b,message", "1,2,3,old,wrong", "1,wrong", `"5"" pipe",wrong`)
	})
	t.Run("the preamble goes before the header", func(t *testing.T) {
		own := table{header: []string{"a"}, comma: ',', rows: [][]string{{"1"}}}
		var b bytes.Buffer
		if err := report.FixCSV(&b, own, "Parameters:TimeZone=America/Denver", rejectedRows(1)); err != nil {
			t.Fatal(err)
		}
		wantLines(t, b.String(), "Parameters:TimeZone=America/Denver", "a,message", "1,wrong")
	})
	t.Run("only the message is replaced, the sender's other columns stay", func(t *testing.T) {
		own := table{header: []string{"code", "call_id"}, comma: ',', rows: [][]string{{"1", "2"}}}
		wantLines(t, written(t, fixCSV, own, rejectedRows(1)), "code,call_id,message", "1,2,wrong")
	})
}

func TestCellsAreHarmlessToSpreadsheets(t *testing.T) {
	for _, test := range []struct{ name, cell, want string }{
		{"an E.164 number", "+12125550101", "+12125550101"},
		{"a negative number", "-5", "-5"},
		{"a negative amount", "-60.50", "-60.50"},
		{"a signed number", "+7.5", "+7.5"},
		{"a plain number", "60.50", "60.50"},
		{"a blank", "", ""},
		{"words", "Ann", "Ann"},
		{"a formula in the middle", "a=1+1", "a=1+1"},
		{"a formula", "=1+1", "'=1+1"},
		{"a command", `=cmd|'/c calc'!A0`, `'=cmd|'/c calc'!A0`},
		{"a wrapper", `="0503"`, `'="0503"`},
		{"a formula behind a plus", "+1+1", "'+1+1"},
		{"a formula behind a minus", "-1+cmd|'/c calc'!A0", "'-1+cmd|'/c calc'!A0"},
		{"a function call", "@SUM(A1)", "'@SUM(A1)"},
		{"a tab before a formula", "\t=1+1", "'\t=1+1"},
		{"a carriage return before a formula", "\r=1+1", "'\r=1+1"},
		{"a plus alone", "+", "'+"},
		{"a minus alone", "-", "'-"},
		{"a name after a plus", "+Ann", "'+Ann"},
		{"a number with a second point", "-1.2.3", "'-1.2.3"},
		{"a number with no end", "-1.", "'-1."},
		{"a number with two signs", "--5", "'--5"},
		{"a number with a line break", "+1\n=2", "'+1\n=2"},
		{"a telephone number with spaces", "+1 212 555 0101", "'+1 212 555 0101"},
		{"digits of another script", "+١٢", "'+١٢"},
		{"an apostrophe that is there already", "'=1+1", "'=1+1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := table{header: []string{test.cell + " "}, comma: '\x01', rows: [][]string{{test.cell}}}
			got := written(t, fixCSV, own, rejectedRows(1))
			rows := parse(t, got, '\x01')
			if rows[1][0] != test.want {
				t.Errorf("%q became %q, want %q", test.cell, rows[1][0], test.want)
			}
		})
	}
	t.Run("header names and our own words too", func(t *testing.T) {
		own := table{header: []string{"=a"}, comma: ',', rows: [][]string{{"1"}}}
		got := written(t, report.ResultsCSV, own, outcomes(conversion.Outcome{Verdict: conversion.Rejected, Message: "=b", CallID: "@c", PayoutAfter: usd(-500)}))
		rows := parse(t, got, ',')
		if rows[0][0] != "'=a" || rows[1][3] != "'=b" || rows[1][4] != "'@c" || rows[1][8] != "-5.00" {
			t.Errorf("%q", rows)
		}
	})
}

func TestStem(t *testing.T) {
	for upload, want := range map[string]string{
		"sales.csv":                "sales",
		"SALES.CSV":                "SALES",
		"sales.txt":                "sales",
		"sales.tsv":                "sales",
		"sales":                    "sales",
		"sales.fix.csv":            "sales",
		"2026.03.10 sales (1).csv": "2026.03.10 sales (1)",
		"Verkäufe.csv":             "Verkäufe",
		".csv":                     ".csv",
	} {
		t.Run(upload, func(t *testing.T) {
			if got := report.Stem(upload); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

func TestSent(t *testing.T) {
	for _, test := range []struct {
		name          string
		header, cells []string
		want          string
	}{
		{"filled cells with their columns", []string{"a", "b ", "c"}, []string{"1", "", "3"}, "a=1, c=3"},
		{"line breaks are spaces", []string{"a"}, []string{"x\r\n  y"}, "a=x y"},
		{"cells beyond the header stand alone", []string{"a"}, []string{"1", "2"}, "a=1, 2"},
		{"a row of blanks", []string{"a", "b"}, []string{" ", "\t"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := report.Sent(test.header, test.cells); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	t.Run("long rows are cut, between characters", func(t *testing.T) {
		got := report.Sent([]string{"a"}, slices.Repeat([]string{strings.Repeat("é", 100)}, 50))
		if n := utf8.RuneCountInString(got); n != 240 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d characters: %q", n, got)
		}
	})
}

// newYork is a zone that needs no data.
var newYork = time.FixedZone("EDT", -4*3600)

// fine is a report of a file in which every row was taken.
func fine() *report.Report {
	return &report.Report{
		Account: "Acme", Zone: newYork, Revision: 1, Files: []string{"sales.results.csv"},
		Upload: &conversion.Upload{
			ID: 12, Name: "sales.csv", Digest: [32]byte{0xab, 0xcd}, ReceivedAt: 1_773_158_400_000, State: conversion.Decided,
			Reading: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", DateOrder: conversion.DateOrderYMD, Rows: 3},
			Tally:   tally(conversion.Created, conversion.Created, conversion.Updated),
		},
	}
}

func tally(verdicts ...conversion.Verdict) (t conversion.Tally) {
	for _, v := range verdicts {
		t.Add(conversion.Outcome{Verdict: v})
	}
	return t
}

// troubled is a report with all that a report can say.
func troubled() *report.Report {
	r := fine()
	u := r.Upload
	u.Name, u.SameAs = `Acme & Söhne <March> "sales".csv`, 9
	u.Reading.Delimiter, u.Reading.Encoding, u.Reading.DateOrder = ";", "windows-1252", conversion.DateOrderDMY
	u.Reading.Notes = []string{"These columns are not ours and were kept as they are: Agent, Team, Shift. They travel into the results file untouched."}
	u.Diagnosis = "5 of the 9 rows without a call would find one if their times were 1 hour later: they are off by exactly 3,600 s. Check the file's time zone."
	verdicts := []conversion.Verdict{conversion.Created, conversion.Unchanged, conversion.Ignored, conversion.Waiting}
	u.Tally = tally(append(verdicts, slices.Repeat([]conversion.Verdict{conversion.Rejected}, 24)...)...)
	r.Files = []string{"sales.fix.csv.gz"}
	r.Left = []report.Left{{Name: "sales.results.csv", Size: 212 << 20, Where: "calltally.results/sales-upload-12.results.csv.gz"}}
	r.Problems = []report.Problem{
		{Outcome: conversion.Outcome{
			Line: 3, Verdict: conversion.Waiting, Code: conversion.CallNotFound,
			Message: "No call within 5 minutes of 2026-03-10 12:00:00 EDT from +12125550101. The row waits for the call until 2026-03-17 12:00:00 EDT.",
			Near: []conversion.NearMiss{
				{CallID: "A", Why: "started 2026-03-10 12:00:00 EDT, at the same second, but from +12125550102"},
				{CallID: "B", Why: "same caller, started 2026-03-10 13:00:00 EDT, 3,600 s later; check the time zone"},
				{Why: "a call of that caller and time belongs to another account"},
			},
		}, Sent: "Start Time=10/03/2026 12:00, Caller=+12125550101, Agent=<script>alert('Ann')</script>"},
		{Outcome: conversion.Outcome{
			Line: 7, Verdict: conversion.Rejected, Code: conversion.AmountInvalid, Message: `sale_amount is "<b>free</b>", which is no amount. Write it as 1234.50.`,
		}, Sent: "Start Time=10/03/2026 12:01, sale_amount=<b>free</b>"},
	}
	return r
}

// refused is a report of a file that wasn't taken.
func refused() *report.Report {
	r := fine()
	r.Files, r.Upload.State, r.Upload.Tally = nil, conversion.Refused, conversion.Tally{}
	r.Upload.Refusal = &conversion.Refusal{
		Code:     conversion.RequiredColumnMissing,
		Sentence: `The file has no column for the call's start time: none of its headers "Order #", "Amount" is start_time or start_time_t. Name it so, or ask us to map your name to it.`,
	}
	return r
}

// held is a report of a file that waits for somebody.
func held() *report.Report {
	r := fine()
	r.Files, r.Upload.State, r.Upload.Tally = nil, conversion.OnHold, conversion.Tally{}
	r.Upload.Hold = &conversion.Hold{
		Code:     conversion.AmountsOverLimit,
		Sentence: "Line 3 has a sale_amount of 12,000.00 USD, and an amount over 1,000.00 USD must be approved. Nothing in the file was applied. It is applied once somebody has approved it; if the amount is wrong, have it discarded, and send a corrected file.",
	}
	return r
}

func rendered(t *testing.T, r *report.Report, write func(io.Writer, ...*report.Report) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var reports = map[string]func() *report.Report{"fine": fine, "problems": troubled, "refused": refused, "held": held}

// Reports of what came in one mail are sections of one.
func TestReportsTogether(t *testing.T) {
	for extension, write := range map[string]func(io.Writer, ...*report.Report) error{"txt": report.Text, "html": report.HTML} {
		var b strings.Builder
		if err := write(&b, fine(), refused(), troubled()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "together."+extension)
		if *update {
			if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s is not what it was, %v:\n%s", path, err, b.String())
		}
	}
	if got := report.Subject(fine(), refused()); !strings.HasPrefix(got, "2 files – ") {
		t.Errorf("the subject is %q", got)
	}
}

// Run with -update to write the golden files anew.
func TestReportsLookAsTheyDid(t *testing.T) {
	for name, build := range reports {
		for extension, write := range map[string]func(io.Writer, ...*report.Report) error{"txt": report.Text, "html": report.HTML} {
			t.Run(name+" as "+extension, func(t *testing.T) {
				got, path := rendered(t, build(), write), filepath.Join("testdata", name+"."+extension)
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s differs; run with -update if that is right. Got\n%s", path, got)
				}
				if again := rendered(t, build(), write); again != got {
					t.Error("the same report came out otherwise")
				}
			})
		}
	}
}

func TestTextIsNarrow(t *testing.T) {
	busy := troubled()
	busy.Upload.Tally = conversion.Tally{}
	for _, v := range conversion.Verdicts {
		busy.Upload.Tally.Counts[v] = 1_234_567
		busy.Upload.Tally.Rows += 1_234_567
	}
	follow := troubled()
	follow.Revision = 2
	builds := map[string]*report.Report{"every verdict and many rows": busy, "follow-up": follow}
	for name, build := range reports {
		builds[name] = build()
	}
	for name, r := range builds {
		t.Run(name, func(t *testing.T) {
			for line := range strings.Lines(rendered(t, r, report.Text)) {
				line = strings.TrimSuffix(line, "\n")
				if utf8.RuneCountInString(line) > 80 && !strings.HasPrefix(line, "File:") {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
				}
				if strings.TrimRight(line, " ") != line {
					t.Errorf("trailing blanks: %q", line)
				}
			}
		})
	}
}

func TestTextSaysTheTotalsFirst(t *testing.T) {
	text := rendered(t, troubled(), report.Text)
	at := -1
	for _, part := range []string{
		"28 rows: 1 created, 1 unchanged, 1 ignored, 1 waiting, 24 rejected", "Acme & Söhne <March> \"sales\".csv", "10 March 2026, 12:00 EDT", "semicolons", "times in America/New_York",
		"5 of the 9 rows without a call", "28 rows", "1 created", "24 rejected", "as upload 9", "These columns are not ours",
		"Line 3: waiting (call_not_found)", "Sent: Start Time", "Near: A, started", "Near: B, same caller", "Near: a call of that caller", "Line 7: rejected (amount_invalid)",
		"and 23 more such rows", "sales.fix.csv", "sales.results.csv", "Upload 12, report 1, SHA-256 abcd000000000000",
	} {
		next := strings.Index(text[at+1:], part)
		if next < 0 {
			t.Fatalf("%q is missing, or not after what goes before it, in\n%s", part, text)
		}
		at += 1 + next
	}
}

func TestTextSaysWhatIsSpecial(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*report.Report)
		has    []string
		hasNot []string
	}{
		{"a dry run", func(r *report.Report) { r.DryRun = true }, []string{"Dry run: 3 rows: 2 created, 1 updated", "This was a dry run: nothing was changed."}, nil},
		{"a follow-up", func(r *report.Report) { r.Revision = 2 }, []string{"Update: 3 rows", "report 2"}, []string{"dry run"}},
		{"a file without rows", func(r *report.Report) { r.Upload.Tally = conversion.Tally{} }, []string{"No rows"}, nil},
		{"a single row", func(r *report.Report) { r.Upload.Tally = tally(conversion.Created) }, []string{"1 row: 1 created", "       1 row\n"}, []string{"1 rows"}},
		{"a refused file", func(r *report.Report) { *r = *refused() }, []string{"File not taken", "Nothing in the file was applied. (required_column_missing)"}, []string{"Read as", "rows"}},
		{"nothing special", func(*report.Report) {}, nil, []string{"dry run", "more such rows", "The same file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := fine()
			test.change(r)
			text, page := rendered(t, r, report.Text), rendered(t, r, report.HTML)
			for _, part := range test.has {
				if !strings.Contains(text, part) {
					t.Errorf("%q is missing in\n%s", part, text)
				}
			}
			for _, part := range test.hasNot {
				if strings.Contains(text, part) || strings.Contains(page, part) {
					t.Errorf("%q is there in\n%s", part, text)
				}
			}
		})
	}
}

// loads are the ways in which a page fetches something or runs something.
var loads = []string{"<script", "<img", "<link", "<iframe", "<object", "<embed", "<form", "<base", "src=", "href=", "url(", "@import", "http:", "https:", "javascript:", "onclick", "onload", "onerror"}

func TestHTMLLoadsNothing(t *testing.T) {
	for name, build := range reports {
		t.Run(name, func(t *testing.T) {
			page := strings.ToLower(rendered(t, build(), report.HTML))
			for _, mark := range loads {
				if strings.Contains(page, mark) {
					t.Errorf("it has %s", mark)
				}
			}
		})
	}
}

func TestHTMLEscapesWhatOthersWrote(t *testing.T) {
	const bad = `<script src=//x>&"'</script><img onerror=x>`
	for name, put := range map[string]func(*report.Report){
		"the file's name":   func(r *report.Report) { r.Upload.Name = bad },
		"the account":       func(r *report.Report) { r.Account = bad },
		"what was sent":     func(r *report.Report) { r.Problems[0].Sent = bad },
		"a message":         func(r *report.Report) { r.Problems[0].Message = bad },
		"a call's id":       func(r *report.Report) { r.Problems[0].Near[0].CallID = bad },
		"a near miss":       func(r *report.Report) { r.Problems[0].Near[0].Why = bad },
		"a note":            func(r *report.Report) { r.Upload.Reading.Notes[0] = bad },
		"the diagnosis":     func(r *report.Report) { r.Upload.Diagnosis = bad },
		"an attached name":  func(r *report.Report) { r.Files[0] = bad },
		"the encoding":      func(r *report.Report) { r.Upload.Reading.Encoding = bad },
		"a refusal":         func(r *report.Report) { r.Upload.Refusal = &conversion.Refusal{Code: "x", Sentence: bad} },
		"the refusals code": func(r *report.Report) { r.Upload.Refusal = &conversion.Refusal{Code: bad, Sentence: "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := troubled()
			put(r)
			page := rendered(t, r, report.HTML)
			if strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Contains(page, bad) {
				t.Error("it got through")
			}
			if !strings.Contains(page, "&lt;script src=//x&gt;&amp;") {
				t.Error("it isn't shown at all")
			}
		})
	}
}

func TestSubject(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*report.Report)
		want   string
	}{
		{"all fine", func(*report.Report) {}, "3 rows: 2 created, 1 updated – sales.csv"},
		{"a follow-up", func(r *report.Report) { r.Revision = 2 }, "Update: 3 rows: 2 created, 1 updated – sales.csv"},
		{"a dry run", func(r *report.Report) { r.DryRun = true }, "Dry run: 3 rows: 2 created, 1 updated – sales.csv"},
		{"a refused file", func(r *report.Report) { *r = *refused() }, "File not taken – sales.csv"},
		{"no rows", func(r *report.Report) { r.Upload.Tally = conversion.Tally{} }, "No rows – sales.csv"},
		{"a long name", func(r *report.Report) { r.Upload.Name = strings.Repeat("é", 100) + ".csv" }, "3 rows: 2 created, 1 updated – " + strings.Repeat("é", 59) + "…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := fine()
			test.change(r)
			if got := report.Subject(r); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// parse reads a CSV text whose cells may hold anything but the comma.
func parse(t *testing.T, text string, comma rune) [][]string {
	t.Helper()
	rows, err := readCSV(text, comma)
	if err != nil {
		t.Fatal(fmt.Errorf("read %q: %w", text, err))
	}
	return rows
}

// What is shown of an upload later tells what has become of it.
func TestReportsTellWhatHasBecomeOfAnUpload(t *testing.T) {
	undone := func(verdicts ...conversion.Verdict) func(*report.Report) {
		return func(r *report.Report) { r.UndoneBy = &conversion.Upload{ID: 13, Tally: tally(verdicts...)} }
	}
	const goesOn, more = "The next “calltally run” or “calltally once” goes on with it.", "more such rows"
	for name, test := range map[string]struct {
		shown   func(*report.Report)
		says    []string
		saysNot []string
	}{
		"not begun": {func(r *report.Report) {
			r.Upload.State, r.Upload.Tally = conversion.Received, conversion.Tally{}
			r.Upload.Reading = conversion.Reading{}
		}, []string{"Not decided yet", goesOn}, []string{"No rows", "0 row", "rows read", "Read as"}},
		"begun":     {func(r *report.Report) { r.Upload.State, r.Upload.Tally = conversion.Deciding, conversion.Tally{} }, []string{"Not decided yet", goesOn, "Read as"}, []string{"No rows", "0 row", "rows read"}},
		"half done": {func(r *report.Report) { r.Upload.State = conversion.Deciding }, []string{"Decided so far: 3 rows: 2 created, 1 updated", goesOn}, nil},
		"done":      {func(*report.Report) {}, []string{"3 rows: 2 created, 1 updated"}, []string{goesOn, "undone"}},
		"undone":    {undone(conversion.Updated), []string{"3 rows: 2 created, 1 updated; undone by upload 13"}, nil},
		"in part":   {undone(conversion.Updated, conversion.Rejected), []string{"; undone in part by upload 13"}, nil},
		"replayed":  {func(r *report.Report) { r.ReplayedAs = []int64{14} }, []string{"Rows of it were decided again since, as upload 14."}, nil},
		"problems":  {func(r *report.Report) { *r = *troubled() }, []string{"23 " + more + "; the results file has them all."}, nil},
		"no files":  {func(r *report.Report) { *r = *troubled(); r.Files, r.Left = nil, nil }, []string{"23 " + more + "."}, []string{"has them all"}},
		"emptied": {func(r *report.Report) {
			*r = *troubled()
			r.Files, r.Left, r.Problems, r.Upload.EmptiedAt = nil, nil, nil, 1_773_158_400_000
		},
			[]string{"The file was removed on 10 March 2026"}, []string{more}},
	} {
		t.Run(name, func(t *testing.T) {
			r := fine()
			test.shown(r)
			for format, write := range map[string]func(io.Writer, ...*report.Report) error{"text": report.Text, "HTML": report.HTML} {
				said := rendered(t, r, write)
				for _, says := range test.says {
					if !strings.Contains(said, says) {
						t.Errorf("%s doesn't say %q:\n%s", format, says, said)
					}
				}
				for _, not := range test.saysNot {
					if strings.Contains(said, not) {
						t.Errorf("%s says %q:\n%s", format, not, said)
					}
				}
			}
		})
	}
}
