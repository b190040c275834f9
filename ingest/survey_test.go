package ingest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
)

// plain is a file without any oddity.
const plain = "start_time,calling_phone_number,sale_amount,name\n" +
	"2026-03-31 14:05:09,+12125550123,60.50,Zoë\n" +
	"2026-03-31 15:00:00,,,\n"

func TestTheSameRowsInEveryDress(t *testing.T) {
	const noAccent = "start_time,calling_phone_number,sale_amount,name\n2026-03-31 14:05:09,+12125550123,60.50,Zoe\n2026-03-31 15:00:00,,,\n"
	delimited := func(by string) string { return strings.ReplaceAll(plain, ",", by) }
	latin := strings.ReplaceAll(plain, "ë", "\xeb")
	for _, c := range []struct {
		name, content       string
		delimiter, encoding string
		first               int    // line of the first row; 0 is 2
		who                 string // blank is Zoë
	}{
		{name: "commas", content: plain, delimiter: ",", encoding: "utf-8"},
		{name: "semicolons", content: delimited(";"), delimiter: ";", encoding: "utf-8"},
		{name: "tabs", content: delimited("\t"), delimiter: "\t", encoding: "utf-8"},
		{name: "pipes", content: delimited("|"), delimiter: "|", encoding: "utf-8"},
		{name: "a first line sep=;", content: "sep=;\n" + delimited(";"), delimiter: ";", encoding: "utf-8", first: 3},
		{name: "a first line SEP=, with CRLF", content: "SEP=,\r\n" + strings.ReplaceAll(plain, "\n", "\r\n"), delimiter: ",", encoding: "utf-8", first: 3},
		{name: "a first line sep= and a tab", content: "sep=\t\n" + delimited("\t"), delimiter: "\t", encoding: "utf-8", first: 3},
		{name: "a first line sep=; that is not true", content: "sep=;\n" + plain, delimiter: ",", encoding: "utf-8", first: 3},
		{name: "a byte order mark", content: "\ufeff" + plain, delimiter: ",", encoding: "utf-8"},
		{name: "a byte order mark before sep=;", content: "\ufeffsep=;\r\n" + delimited(";"), delimiter: ";", encoding: "utf-8", first: 3},
		{name: "UTF-16, little end first", content: utf16Text(binary.LittleEndian, plain), delimiter: ",", encoding: "utf-16le"},
		{name: "UTF-16, big end first", content: utf16Text(binary.BigEndian, plain), delimiter: ",", encoding: "utf-16be"},
		{name: "UTF-16 with tabs and CRLF, as Excel's Unicode Text", content: utf16Text(binary.LittleEndian, strings.ReplaceAll(delimited("\t"), "\n", "\r\n")), delimiter: "\t", encoding: "utf-16le"},
		{name: "UTF-16 with CR alone", content: utf16Text(binary.LittleEndian, strings.ReplaceAll(plain, "\n", "\r")), delimiter: ",", encoding: "utf-16le"},
		{name: "Windows-1252", content: latin, delimiter: ",", encoding: "windows-1252"},
		{name: "CRLF", content: strings.ReplaceAll(plain, "\n", "\r\n"), delimiter: ",", encoding: "utf-8"},
		{name: "CR alone", content: strings.ReplaceAll(plain, "\n", "\r"), delimiter: ",", encoding: "utf-8"},
		{name: "CR alone in Windows-1252", content: strings.ReplaceAll(latin, "\n", "\r"), delimiter: ",", encoding: "windows-1252"},
		{name: "mixed line ends", content: strings.Replace(strings.Replace(plain, "\n", "\r\n", 1), "Zoë\n", "Zoë\r", 1), delimiter: ",", encoding: "utf-8"},
		{name: "no line end after the last row", content: strings.TrimSuffix(plain, "\n"), delimiter: ",", encoding: "utf-8"},
		{name: "CR alone and none after the last row", content: strings.TrimSuffix(strings.ReplaceAll(plain, "\n", "\r"), "\r"), delimiter: ",", encoding: "utf-8"},
		{name: "a final Ctrl-Z", content: plain + "\x1a", delimiter: ",", encoding: "utf-8"},
		{name: "a final Ctrl-Z after CR alone", content: strings.ReplaceAll(plain, "\n", "\r") + "\x1a", delimiter: ",", encoding: "utf-8"},
		{name: "ASCII is UTF-8", content: noAccent, delimiter: ",", encoding: "utf-8", who: "Zoe"},
		{name: "every cell quoted", content: `"` + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(plain, "\n"), ",", `","`), "\n", "\"\n\"") + "\"\n", delimiter: ",", encoding: "utf-8"},
		{name: "blank lines first", content: "\n \n" + plain, delimiter: ",", encoding: "utf-8", first: 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := survey(t, c.content)
			if table.Reading.Delimiter != c.delimiter || table.Reading.Encoding != c.encoding || table.Reading.Rows != 2 {
				t.Errorf("read as %+v", table.Reading)
			}
			if want := []string{"start_time", "calling_phone_number", "sale_amount", "name"}; !slices.Equal(table.Header, want) {
				t.Errorf("the header is %q", table.Header)
			}
			claims, rejections := readClaims(t, table)
			if rejections[0] != nil || rejections[1] != nil {
				t.Fatalf("rejected: %v, %v", rejections[0], rejections[1])
			}
			first, who := max(c.first, 2), c.who
			if who == "" {
				who = "Zoë"
			}
			want := []conversion.Claim{{
				Line: first, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Caller: 12125550123,
				Standing: conversion.Standing{Sale: conversion.Cents(6050, "USD")}, Details: conversion.Details{Customer: `{"name":"` + who + `"}`},
			}, {Line: first + 1, Start: toTheSecond(t, "2026-03-31T19:00:00Z")}}
			if !reflect.DeepEqual(claims, want) {
				t.Errorf("got %+v\nwant %+v", claims, want)
			}
		})
	}
}

func TestWhatTheReadingSays(t *testing.T) {
	for _, c := range []struct {
		name, content string
		changes       []change
		want          conversion.Reading
	}{
		{
			name: "nothing odd", content: plain,
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 2},
		},
		{
			name: "a header and no rows", content: "start_time,sale_amount\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York"},
		},
		{
			name: "a header without a line end", content: "start_time,sale_amount",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York"},
		},
		{
			name: "columns that mean nothing to us", content: "start_time,Shoe size,sale_amount,Comment\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York",
				Notes: []string{`Not read, but kept in the results file: "Shoe size", "Comment".`},
			},
		},
		{
			name: "columns without a name are not worth a note", content: "start_time,,sale_amount,\n2026-03-31 14:05:09,,,\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 1},
		},
		{
			name: "times without seconds", content: "start_time\n2026-03-31 14:05\n2026-03-31 14:05:09\n2026-03-31 2:06 PM\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 3,
				Notes: []string{"Times without seconds: 2 of 3 (spreadsheets drop them). Each stands for its whole minute."},
			},
		},
		{
			name: "times without seconds, with offsets", content: "start_time\n2026-03-31 14:05-04:00\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 1,
				Notes: []string{"Times without seconds: 1 of 1 (spreadsheets drop them). Each stands for its whole minute."},
			},
		},
		{
			name: "wrapped cells", content: "start_time,reference_id\n2026-03-31 14:05:09,=\"0503\"\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 1,
				Notes: []string{`Cells written as ="…" were read without the wrapping.`},
			},
		},
		{
			name: "Windows-1252", content: "start_time,name\n2026-03-31 14:05:09,Zo\xeb\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "windows-1252", Zone: "America/New_York", Rows: 1,
				Notes: []string{"The file is not UTF-8 and was read as Windows-1252."},
			},
		},
		{
			name: "one column alone and sep=;", content: "sep=;\nstart_time\n2026-03-31 14:05:09\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ";", Encoding: "utf-8", Zone: "America/New_York", Rows: 1},
		},
		{
			name: "month first, told by one row", content: "start_time\n03/04/2026 14:05:09\n03/31/2026 14:05:09\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", DateOrder: conversion.DateOrderMDY, Rows: 2},
		},
		{
			name: "day first, told by one row", content: "start_time\n03/04/2026 14:05:09\n31/03/2026 14:05:09\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", DateOrder: conversion.DateOrderDMY, Rows: 2},
		},
		{
			name: "day first, set by the account", content: "start_time\n03/04/2026 14:05:09\n", changes: []change{dateOrder(conversion.DateOrderDMY)},
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", DateOrder: conversion.DateOrderDMY, Rows: 1},
		},
		{
			name: "a zone given by the file", content: "Parameters:TimeZone=Europe/Berlin\nstart_time\n2026-03-31 14:05:09\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "Europe/Berlin", Rows: 1},
		},
		{
			name: "malformed rows are rows", content: "start_time,sale_amount\n2026-03-31 14:05:09\n2026-03-31 14:05:09,1,2\n",
			want: conversion.Reading{Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 2},
		},
		{
			name: "rows of delimiters alone are no rows", content: "start_time,sale_amount,Note\n2026-03-31 14:05:09,5,\n,,\n,,\n2026-03-31 14:05:09,,x\n,,\n",
			want: conversion.Reading{
				Dialect: "invoca", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 2,
				Notes: []string{`Not read, but kept in the results file: "Note".`, "Passed over: 3 rows without any content."},
			},
		},
		{
			name: "a call log", content: "call_id,start_time\nc1,2026-03-31 14:05:09\n", changes: []change{takesCalls},
			want: conversion.Reading{Dialect: "calltally", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 1},
		},
		{
			name: "Invoca's call log", content: "transaction_id,start_time_utc\nt1,1774980309123\n", changes: []change{takesCalls},
			want: conversion.Reading{Dialect: "invoca-transactions", Delimiter: ",", Encoding: "utf-8", Zone: "America/New_York", Rows: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := survey(t, c.content, c.changes...).Reading
			got.Why = "" // TestDialectsAreRecognised has that
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestPhysicalLines(t *testing.T) {
	const row = "2026-03-31 14:05:09,"
	for _, c := range []struct {
		name, content string
		want          []int
	}{
		{"one row after another", "start_time,name\n" + row + "a\n" + row + "b\n", []int{2, 3}},
		{"a quoted cell over three lines", "start_time,name\n" + row + "\"a\nb\nc\"\n" + row + "d\n", []int{2, 5}},
		{"a quoted cell over three lines with CRLF", "start_time,name\r\n" + row + "\"a\r\nb\r\nc\"\r\n" + row + "d\r\n", []int{2, 5}},
		{"a quoted cell over three lines with CR alone", "start_time,name\r" + row + "\"a\rb\rc\"\r" + row + "d\r", []int{2, 5}},
		{"blank lines keep their numbers", "start_time,name\n\n" + row + "a\n\n\n" + row + "b\n\n", []int{3, 6}},
		{"blank lines with CRLF keep their numbers", "start_time,name\r\n\r\n" + row + "a\r\n\r\n" + row + "b\r\n", []int{3, 5}},
		{"blank lines with CR alone keep their numbers", "start_time,name\r\r" + row + "a\r\r" + row + "b\r", []int{3, 5}},
		{"mixed line ends", "start_time,name\r" + row + "a\r\n" + row + "b\n" + row + "c", []int{2, 3, 4}},
		{"a header over two lines", "start_time,\"the\nname\"\n" + row + "a\n", []int{3}},
		{"a preamble", "Parameters:TimeZone=UTC\n\nstart_time,name\n" + row + "a\n", []int{4}},
		{"sep=, and a preamble with CRLF", "sep=,\r\nParameters:TimeZone=UTC\r\nstart_time,name\r\n" + row + "a\r\n", []int{4}},
		{"rows of delimiters alone keep their numbers", "start_time,name\n,\n" + row + "a\n,\n" + row + "b\n,\n", []int{3, 5}},
		{"a row that says something in a strange column alone", "start_time,name,Note\n,,x\n" + row + "a,\n", []int{2, 3}},
		{"a malformed row between", "start_time,name\n" + row + "a\nshort\n" + row + "b,c,d\n" + row + "e\n", []int{2, 3, 4, 5}},
		{"a stray quote between", "start_time,name\n" + row + "a\n" + row + "say \"hi\"\n" + row + "b\n", []int{2, 3, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := survey(t, c.content)
			claims, _ := readClaims(t, table)
			if got := linesOf(claims); !slices.Equal(got, c.want) {
				t.Errorf("the claims are on lines %v, want %v", got, c.want)
			}
			var got []int
			for _, row := range rowsOf(t, table) {
				got = append(got, row.Line)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the rows are on lines %v, want %v", got, c.want)
			}
		})
	}
}

func TestRowsAreAsTheyWereSent(t *testing.T) {
	table := survey(t, "\ufeffStart Time;Note;Reference-ID\n"+
		"2026-03-31 14:05:09; two\nlines ;='0503\n"+ // malformed: the note is not quoted
		"2026-03-31 14:05:09;\" two\nlines \";'0503\n"+
		"2026-03-31 14:05:09;short\n"+
		"2026-03-31 14:05:09;;;long\n")
	got := rowsOf(t, table)
	want := []conversion.Row{
		{Line: 2, Cells: []string{"2026-03-31 14:05:09", " two"}},
		{Line: 3, Cells: []string{"lines ", "='0503"}},
		{Line: 4, Cells: []string{"2026-03-31 14:05:09", " two\nlines ", "'0503"}},
		{Line: 6, Cells: []string{"2026-03-31 14:05:09", "short"}},
		{Line: 7, Cells: []string{"2026-03-31 14:05:09", "", "", "long"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if table.Comma() != ';' {
		t.Errorf("the delimiter is %q", table.Comma())
	}
}

func TestRowsStopsWhenItIsTold(t *testing.T) {
	stop, seen := errors.New("stop"), 0
	err := survey(t, plain).Rows(context.Background(), func(conversion.Row) error { seen++; return stop })
	if !errors.Is(err, stop) || seen != 1 {
		t.Errorf("%v after %d rows", err, seen)
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	table := survey(t, plain)
	claims, err := table.Claims(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer claims.Close()
	cancel()
	if _, _, err := claims.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("Claims: %v", err)
	}
	if err := table.Rows(ctx, func(conversion.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Rows: %v", err)
	}
	if _, _, err := ingest.Survey(ctx, opener(plain), settings()); !errors.Is(err, context.Canceled) {
		t.Errorf("Survey: %v", err)
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, c := range []struct {
		name string
		open ingest.Opener
	}{
		{"when it is opened", func() (io.ReadCloser, error) { return nil, broken }},
		{"at its first byte", func() (io.ReadCloser, error) {
			return io.NopCloser(failing{strings.NewReader(""), broken}), nil
		}},
		{"in its middle", func() (io.ReadCloser, error) {
			return io.NopCloser(failing{strings.NewReader(plain), broken}), nil
		}},
		{"in the middle of UTF-16", func() (io.ReadCloser, error) {
			return io.NopCloser(failing{strings.NewReader(utf16Text(binary.LittleEndian, plain)), broken}), nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, refusal, err := ingest.Survey(context.Background(), c.open, settings()); !errors.Is(err, broken) || refusal != nil {
				t.Errorf("got %v, %v", refusal, err)
			}
		})
	}
}

// failing fails where its text ends.
type failing struct {
	r   io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestHeaderNamesFold(t *testing.T) {
	for _, header := range []string{
		"start_time", "Start Time", "START-TIME", "StartTime", " start_time ", "start__time", "Call Start Time", "call_start_time",
		"'start_time", "start\u00a0time", `"start_time"`,
	} {
		t.Run(header, func(t *testing.T) {
			claims := goodClaims(t, header+",sale_amount\n2026-03-31 14:05:09,5\n")
			if len(claims) != 1 || claims[0].Start != toTheSecond(t, "2026-03-31T18:05:09Z") {
				t.Errorf("got %+v", claims)
			}
		})
	}
	for name, content := range map[string]string{
		"every name wrapped":                         "=\"start_time\",=\"sale_amount\"\n2026-03-31 14:05:09,5\n",
		"the first name wrapped":                     "=\"start_time\",sale_amount\n2026-03-31 14:05:09,5\n",
		"the first name wrapped after sep=,":         "sep=,\n=\"start_time\",sale_amount\n2026-03-31 14:05:09,5\n",
		"the first name wrapped, a byte order mark":  "\ufeff=\"start_time\",sale_amount\n2026-03-31 14:05:09,5\n",
		"the first name wrapped in UTF-16":           utf16Text(binary.LittleEndian, "=\"start_time\",sale_amount\n2026-03-31 14:05:09,5\n"),
		"the first name wrapped, lines ended by CR":  "=\"start_time\",sale_amount\r2026-03-31 14:05:09,5\r",
		"the second name wrapped, lines ended by CR": "start_time,=\"sale_amount\"\r2026-03-31 14:05:09,5\r",
	} {
		t.Run(name, func(t *testing.T) {
			claims := goodClaims(t, content)
			if len(claims) != 1 || !claims[0].Start.Given() || !claims[0].Sale.Given {
				t.Errorf("got %+v", claims)
			}
		})
	}
}

func TestAliases(t *testing.T) {
	claims := goodClaims(t, "Call Start Time,Call Center Call ID,Currency,Sale Amount,advertiser_campaign_id_from_network\n2026-03-31 14:05:09,R-1,EUR,5,C-1\n")
	want := conversion.Claim{Line: 2, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Standing: conversion.Standing{Sale: conversion.Cents(500, "EUR")}, Details: conversion.Details{ReferenceID: "R-1", Campaign: "C-1"}}
	if len(claims) != 1 || !reflect.DeepEqual(claims[0], want) {
		t.Errorf("got %+v, want %+v", claims, want)
	}
}

func TestColumnsOfTheAccountsOwn(t *testing.T) {
	own := mapping(map[string]string{"Order #": "reference_id", "When": "start_time", "Umsatz": "sale_amount"})
	for _, c := range []struct{ name, content string }{
		{"as they are set", "When,Order #,Umsatz\n2026-03-31 14:05:09,R-1,60.50\n"},
		{"in other letters", "WHEN,order_#,umsatz\n2026-03-31 14:05:09,R-1,60.50\n"},
		{"they decide the delimiter", "When;Order #;Umsatz\n2026-03-31 14:05:09;R-1;60.50\n"},
		{"beside known names", "start_time,Order #,sale_amount\n2026-03-31 14:05:09,R-1,60.50\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := goodClaims(t, c.content, own)
			want := conversion.Claim{Line: 2, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Standing: conversion.Standing{Sale: conversion.Cents(6050, "USD")}, Details: conversion.Details{ReferenceID: "R-1"}}
			if len(claims) != 1 || !reflect.DeepEqual(claims[0], want) {
				t.Errorf("got %+v, want %+v", claims, want)
			}
		})
	}
	t.Run("a name of ours may get another meaning", func(t *testing.T) {
		claims := goodClaims(t, "start_time,name\n2026-03-31 14:05:09,R-1\n", mapping(map[string]string{"name": "reference_id"}))
		if len(claims) != 1 || claims[0].ReferenceID != "R-1" || claims[0].Customer != "" {
			t.Errorf("got %+v", claims)
		}
	})
}

func TestPreamble(t *testing.T) {
	for _, c := range []struct{ name, preamble string }{
		{"plain", "Parameters:TimeZone=America/Los_Angeles\n"},
		{"with a semicolon", "Parameters:TimeZone=America/Los_Angeles;\n"},
		{"with other parameters", "Parameters:EncryptionTimeZone=UTC;TimeZone=America/Los_Angeles;Other=1\n"},
		{"filled with delimiters", "Parameters:TimeZone=America/Los_Angeles,,,\n"},
		{"quoted", "\"Parameters:TimeZone=America/Los_Angeles\",,\n"},
		{"in small letters", "parameters:timezone=America/Los_Angeles\n"},
		{"as an offset", "Parameters:TimeZone=-0700\n"},
		{"after a blank line", "\r\nParameters:TimeZone=America/Los_Angeles\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, changes := range [][]change{nil, {noZone}} {
				claims := goodClaims(t, c.preamble+"start_time,sale_amount,name\n2026-03-31 11:05:09,5,x\n", changes...)
				if len(claims) != 1 || claims[0].Start != toTheSecond(t, "2026-03-31T18:05:09Z") {
					t.Errorf("got %+v", claims)
				}
			}
		})
	}
}

func TestWhichZoneCounts(t *testing.T) {
	const berlin = "Parameters:TimeZone=Europe/Berlin\n"
	for _, c := range []struct{ name, content, want string }{
		{"the account's", "start_time\n2026-03-31 14:05:09\n", "2026-03-31T18:05:09Z"},
		{"the file's over the account's", berlin + "start_time\n2026-03-31 14:05:09\n", "2026-03-31T12:05:09Z"},
		{"the row's over the file's", berlin + "start_time,time_zone\n2026-03-31 14:05:09,America/Los_Angeles\n", "2026-03-31T21:05:09Z"},
		{"the row's as an offset", berlin + "start_time,time_zone\n2026-03-31 14:05:09,-0700\n", "2026-03-31T21:05:09Z"},
		{"a blank one leaves it to the file", berlin + "start_time,time_zone\n2026-03-31 14:05:09,\n", "2026-03-31T12:05:09Z"},
		{"the cell's over the row's", berlin + "start_time,time_zone\n2026-03-31 14:05:09 -0100,America/Los_Angeles\n", "2026-03-31T15:05:09Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := goodClaims(t, c.content)
			if len(claims) != 1 || claims[0].Start != toTheSecond(t, c.want) {
				t.Errorf("got %v, want %s", claims, c.want)
			}
		})
	}
}

func TestDateOrderIsDecidedOnceForTheFile(t *testing.T) {
	for _, c := range []struct {
		name, content string
		changes       []change
		want          []string
	}{
		{"a later row tells month first", "start_time\n03/04/2026 14:05:09\n03/31/2026 14:05:09\n", nil, []string{"2026-03-04T19:05:09Z", "2026-03-31T18:05:09Z"}},
		{"a later row tells day first", "start_time\n03/04/2026 14:05:09\n31/03/2026 14:05:09\n", nil, []string{"2026-04-03T18:05:09Z", "2026-03-31T18:05:09Z"}},
		{"the account tells", "start_time\n03/04/2026 14:05:09\n", []change{dateOrder(conversion.DateOrderDMY)}, []string{"2026-04-03T18:05:09Z"}},
		{"dates with the year first need no telling", "start_time\n2026/03/04 14:05:09\n", nil, []string{"2026-03-04T19:05:09Z"}},
		{"a written time that the epoch overrules needs no telling", "start_time_t,start_time\n1774980309,03/04/2026 14:05:09\n", nil, []string{"2026-03-31T18:05:09Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := goodClaims(t, c.content, c.changes...)
			if len(claims) != len(c.want) {
				t.Fatalf("got %+v", claims)
			}
			for i, want := range c.want {
				if claims[i].Start != toTheSecond(t, want) {
					t.Errorf("row %d starts at %v, want %s", i, claims[i].Start.First.From, want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	wide := "start_time" + strings.Repeat(",x", 200)
	for i := range 200 {
		wide = strings.Replace(wide, ",x", fmt.Sprintf(",c%d", i), 1)
	}
	results := func(own string) string {
		return own + ",result,code,message,call_id,call_start_time,conversion_id,payout_before,payout_after\n"
	}
	for _, c := range []struct {
		name, content string
		changes       []change
		code          conversion.Code
		sentence      string
	}{
		{
			name: "nothing at all", content: "", code: conversion.Empty,
			sentence: "The file is empty. Send it again with a header line and at least one row.",
		},
		{
			name: "blank lines alone", content: " \r\n\t\n\n", code: conversion.Empty,
			sentence: "The file is empty. Send it again with a header line and at least one row.",
		},
		{
			name: "a byte order mark alone", content: "\ufeff", code: conversion.Empty,
			sentence: "The file is empty. Send it again with a header line and at least one row.",
		},
		{
			name: "a Ctrl-Z alone", content: "\x1a", code: conversion.Empty,
			sentence: "The file is empty. Send it again with a header line and at least one row.",
		},
		{
			name: "blank lines in UTF-16", content: utf16Text(binary.LittleEndian, "\r\n\r\n"), code: conversion.Empty,
			sentence: "The file is empty. Send it again with a header line and at least one row.",
		},

		{
			name: "the beginning of a workbook", content: "PK\x03\x04\x14\x00\x06\x00", code: conversion.NotATable,
			sentence: "The file is damaged or was cut short. Send it again.",
		},
		{
			name: "an old Excel workbook", content: "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", code: conversion.NotATable,
			sentence: "The file is an old or password-protected Office document. Open it and save the sheet as “CSV UTF-8”.",
		},
		{
			name: "a gzip archive", content: "\x1F\x8B\x08\x00", code: conversion.NotATable,
			sentence: "The gzip archive is damaged or was cut short. Pack the file again, or send it as it is.",
		},
		{
			name: "a PDF document", content: "%PDF-1.7\n", code: conversion.NotATable,
			sentence: "The file is a PDF document. Send the table it shows as CSV.",
		},
		{
			name: "a web page", content: "\r\n<!DOCTYPE html>\n<html><title>Log in</title>", code: conversion.NotATable,
			sentence: "The file is a web page, perhaps a login page saved in place of the download. Export it again and send the CSV.",
		},
		{
			name: "a web page without a doctype", content: "<HTML><body>", code: conversion.NotATable,
			sentence: "The file is a web page, perhaps a login page saved in place of the download. Export it again and send the CSV.",
		},
		{
			name: "a web page behind a byte order mark", content: "\ufeff<!doctype html>", code: conversion.NotATable,
			sentence: "The file is a web page, perhaps a login page saved in place of the download. Export it again and send the CSV.",
		},
		{
			name: "rich text", content: "{\\rtf1\\ansi start_time}", code: conversion.NotATable,
			sentence: "The file is a rich text document. Save the table as CSV and send that.",
		},
		{
			name: "a letter", content: "Dear colleagues please find attached the list\n", code: conversion.NotATable,
			sentence: "The file doesn't look like a table: line 1 is one long text without columns. Send a CSV whose first line names the columns.",
		},
		{
			name: "NULs on the disk's behalf", content: plain + strings.Repeat("\x00", 10), code: conversion.NotATable,
			sentence: fmt.Sprintf("The file holds NUL bytes (the first at byte %d), so it is damaged or no text. Export it again.", len(plain)+1),
		},
		{
			name: "NULs alone", content: strings.Repeat("\x00", 4096), code: conversion.NotATable,
			sentence: "The file holds NUL bytes (the first at byte 1), so it is damaged or no text. Export it again.",
		},
		{
			name: "a quote that is never closed", content: plain + "2026-03-31 16:00:00,\"+12125550123,,\n2026-03-31 17:00:00,,,\n", code: conversion.NotATable,
			sentence: "The quote opened on line 4 is never closed, so what follows it can't be told apart. Close it, or double the quotes inside cells.",
		},
		{
			name: "a quote that is never closed beside wrapped cells", content: "start_time,reference_id,name\n2026-03-31 14:05:09,=\"0503\",a\n2026-03-31 14:05:09,x,\"b\n2026-03-31 14:05:09,y,c\n",
			code:     conversion.NotATable,
			sentence: "The quote opened on line 3 is never closed, so what follows it can't be told apart. Close it, or double the quotes inside cells.",
		},
		{
			name: "a quote that swallows a megabyte", content: plain + "2026-03-31 16:00:00,\"+12125550123,,\n" + strings.Repeat("2026-03-31 17:00:00,,,\n", 50_000), code: conversion.NotATable,
			sentence: "A quote is opened on or after line 3 and not closed within 1024 KiB. Close it, or double the quotes inside cells.",
		},
		{
			name: "one of our results files", content: results("start_time_t,sale_amount"), code: conversion.NotATable,
			sentence: "This is one of our own results files, so nothing in it is new. To correct rows, change the .fix.csv file and send that.",
		},
		{
			name: "one of our results files of a file with start_time", content: results("start_time,sale_amount"), code: conversion.NotATable,
			sentence: "This is one of our own results files, so nothing in it is new. To correct rows, change the .fix.csv file and send that.",
		},
		{
			name: "one of our results files of a file with a message", content: results("start_time_t,message"), code: conversion.NotATable,
			sentence: "This is one of our own results files, so nothing in it is new. To correct rows, change the .fix.csv file and send that.",
		},

		{
			name: "a RAR archive", content: "Rar!\x1a\x07\x01\x00", code: conversion.ArchiveUnsafe,
			sentence: "The file is a RAR archive. Unpack it and send the CSV inside.",
		},
		{
			name: "a 7-Zip archive", content: "7z\xBC\xAF\x27\x1C", code: conversion.ArchiveUnsafe,
			sentence: "The file is a 7-Zip archive. Unpack it and send the CSV inside.",
		},
		{
			name: "encrypted", content: "-----BEGIN PGP MESSAGE-----\n", code: conversion.Encrypted,
			sentence: "The file is encrypted with PGP. Send the CSV as it is.",
		},

		{
			name: "UTF-16 without its mark", content: utf16Text(binary.LittleEndian, plain)[2:], code: conversion.EncodingUnknown,
			sentence: "The file looks like UTF-16 without its byte order mark. Save it as “CSV UTF-8” and send it again.",
		},
		{
			name: "UTF-16 cut in half", content: utf16Text(binary.LittleEndian, plain) + "\n", code: conversion.EncodingUnknown,
			sentence: "The file says it is UTF-16, but holds characters that are not. Save it as “CSV UTF-8” and send it again.",
		},
		{
			name: "a mark of UTF-8 before Windows-1252", content: "\ufeff" + strings.ReplaceAll(plain, "ë", "\xeb"), code: conversion.EncodingUnknown,
			sentence: "The file says it is UTF-8, but holds bytes that are not. Save it as “CSV UTF-8” and send it again.",
		},
		{
			name: "a byte that Windows-1252 doesn't have", content: "start_time,name\n2026-03-31 14:05:09,Zo\x81\n", code: conversion.EncodingUnknown,
			sentence: "The file is neither UTF-8 nor Windows-1252 (see byte 39). Save it as “CSV UTF-8” and send it again.",
		},
		{
			name: "a byte that Windows-1252 doesn't have, long before the first that is not UTF-8", code: conversion.EncodingUnknown,
			content:  "start_time,name\n2026-03-31 14:05:09,Á\n" + strings.Repeat("2026-03-31 14:05:09,a\n", 10_000) + "2026-03-31 14:05:09,Zo\xeb\n",
			sentence: "The file is neither UTF-8 nor Windows-1252 (see byte 38). Save it as “CSV UTF-8” and send it again.",
		},

		{
			name: "no header", content: "2026-03-31 14:05:09,+12125550123,60.50\n", code: conversion.HeaderMissing,
			sentence: `Line 1 should name the columns, but none of its names is one that we know ("2026-03-31 14:05:09", "+12125550123", "60.50"). Put a header such as start_time, calling_phone_number, sale_amount on the first line.`,
		},
		{
			name: "a header in another language", content: "\nUhrzeit;Anrufer\n", code: conversion.HeaderMissing,
			sentence: `Line 2 should name the columns, but none of its names is one that we know ("Uhrzeit", "Anrufer"). Put a header such as start_time, calling_phone_number, sale_amount on the first line.`,
		},
		{
			name: "a long header of strangers is cut", content: "a1,a2,a3,a4,a5,a6,a7,a8,a9,a10,a11,a12,a13," + strings.Repeat("x", 50) + "\n", code: conversion.HeaderMissing,
			sentence: `Line 1 should name the columns, but none of its names is one that we know ("a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a10", "a11", "a12" and 2 more). Put a header such as start_time, calling_phone_number, sale_amount on the first line.`,
		},
		{
			name: "a long name is cut", content: strings.Repeat("ä", 50) + ",b\n", code: conversion.HeaderMissing,
			sentence: `Line 1 should name the columns, but none of its names is one that we know ("` + strings.Repeat("ä", 39) + `…", "b"). Put a header such as start_time, calling_phone_number, sale_amount on the first line.`,
		},

		{
			name: "a column twice", content: "start_time,sale_amount,sale_amount\n", code: conversion.HeaderDuplicated,
			sentence: `Line 1 has two columns for sale_amount: "sale_amount" and "sale_amount". Rename or delete one.`,
		},
		{
			name: "a column twice in other letters", content: "\nstart_time,Start Time\n", code: conversion.HeaderDuplicated,
			sentence: `Line 2 has two columns for start_time: "start_time" and "Start Time". Rename or delete one.`,
		},
		{
			name: "two aliases of a column", content: "start_time,Reference ID,Call Center Call ID\n", code: conversion.HeaderDuplicated,
			sentence: `Line 1 has two columns for reference_id: "Reference ID" and "Call Center Call ID". Rename or delete one.`,
		},
		{
			name: "a column of the account's own beside ours", content: "start_time,Order #,reference_id\n", code: conversion.HeaderDuplicated,
			changes:  []change{mapping(map[string]string{"Order #": "reference_id"})},
			sentence: `Line 1 has two columns for reference_id: "Order #" and "reference_id". Rename or delete one.`,
		},

		{
			name: "no time of the call", content: "calling_phone_number,sale_amount\n", code: conversion.RequiredColumnMissing,
			sentence: `Line 1 has no column for when the call started (start_time or start_time_t; or parent_reference_id or web_conversion). It has: "calling_phone_number", "sale_amount". Add it, or have one of these mapped to it in the account's columns.`,
		},
		{
			name: "a date and a time in two columns", content: "Date,Time,sale_amount\n", code: conversion.RequiredColumnMissing,
			sentence: `Line 1 has no column for when the call started (start_time or start_time_t; or parent_reference_id or web_conversion). It has: "Date", "Time", "sale_amount". Add it, or have one of these mapped to it in the account's columns. If date and time stand in two columns, join them into one.`,
		},
		{
			name: "a call log without an id", content: "start_time,duration\n", changes: []change{takesCalls}, code: conversion.RequiredColumnMissing,
			sentence: `Line 1 has no column for the call's id (call_id). It has: "start_time", "duration". Add it, or have one of these mapped to it in the account's columns.`,
		},
		{
			name: "a call log without a start", content: "call_id,duration\n", changes: []change{takesCalls}, code: conversion.RequiredColumnMissing,
			sentence: `Line 1 has no column for when the call started (start_time). It has: "call_id", "duration". Add it, or have one of these mapped to it in the account's columns.`,
		},
		{
			name: "Invoca's call log without a start", content: "transaction_id,complete_call_id\n", changes: []change{takesCalls}, code: conversion.RequiredColumnMissing,
			sentence: `Line 1 has no column for when the call started (start_time_utc). It has: "transaction_id", "complete_call_id". Add it, or have one of these mapped to it in the account's columns.`,
		},

		{
			name: "too many columns", content: wide + "\n", code: conversion.TooManyColumns,
			sentence: "The file has 201 columns; at most 200 are read. Delete the columns that you don't need.",
		},
		{
			name: "too many rows", content: "start_time\n" + strings.Repeat("2026-03-31 14:05:09\n", 4), changes: []change{limits(3, 200)}, code: conversion.TooManyRows,
			sentence: "The file has more than 3 rows. Split it and send the parts.",
		},
		{
			name: "too many malformed rows", content: "start_time\n" + strings.Repeat("a,b\n", 4), changes: []change{limits(3, 200)}, code: conversion.TooManyRows,
			sentence: "The file has more than 3 rows. Split it and send the parts.",
		},
		{
			name: "too many lines", content: "start_time\n" + strings.Repeat(strings.Repeat("\n", 9_999)+"2026-03-31 14:05:09\n", 1000), code: conversion.TooManyRows,
			sentence: "The file has more than 9999999 lines. Split it and send the parts.",
		},

		{
			name: "dates both ways", content: "start_time\n03/04/2026 14:05:09\n03/31/2026 14:05:09\n31/03/2026 14:05:09\n", code: conversion.DateOrderUndecided,
			sentence: "Dates are written both ways: line 3 can only be month/day/year, line 4 only day/month/year. Write them all one way, best as 2026-03-31.",
		},
		{
			name: "no date tells month from day", content: "start_time\n2026-03-31 14:05:09\n03/04/2026 14:05:09\n", code: conversion.DateOrderUndecided,
			sentence: "No date in the file tells month from day (see line 3). Write dates as 2026-03-31, or have date_order set to mdy or dmy for your account.",
		},
		{
			name: "a call log whose dates don't tell", content: "call_id,start_time\nc1,03/04/2026 14:05:09\n", changes: []change{takesCalls}, code: conversion.DateOrderUndecided,
			sentence: "No date in the file tells month from day (see line 2). Write dates as 2026-03-31, or have date_order set to mdy or dmy for your account.",
		},

		{
			name: "no zone", content: "start_time\n1774980309\n2026-03-31 14:05:09\n", changes: []change{noZone}, code: conversion.TimeZoneMissing,
			sentence: "Line 3 gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.",
		},
		{
			name: "no zone and the month first", content: "start_time\n03/31/2026 14:05:09\n", changes: []change{noZone}, code: conversion.TimeZoneMissing,
			sentence: "Line 2 gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.",
		},
		{
			name: "no zone and the day first", content: "start_time\n31/03/2026 14:05:09\n", changes: []change{noZone}, code: conversion.TimeZoneMissing,
			sentence: "Line 2 gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.",
		},
		{
			name: "no zone for an Excel serial", content: "start_time\n46112.58690972222\n", changes: []change{noZone}, code: conversion.TimeZoneMissing,
			sentence: "Line 2 gives a time without a zone, and none is known for your account. Add an offset such as 2026-03-31 14:05:00 -0400, or have time_zone set for your account.",
		},
		{
			name: "a zone in the file that we don't know", content: "\nParameters:TimeZone=Mars/Olympus\nstart_time\n2026-03-31 14:05:09\n", code: conversion.TimeZoneMissing,
			sentence: `Line 2 names a time zone that we don't know: "Mars/Olympus" is not a time zone such as America/New_York.`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := refusalOf(t, c.content, c.changes...)
			if got.Code != c.code || got.Sentence != c.sentence {
				t.Errorf("got  %s: %s\nwant %s: %s", got.Code, got.Sentence, c.code, c.sentence)
			}
		})
	}
}

// What a sender can write must be refused with a sentence; an error would have
// the file tried again and again.
func TestOddHeadersAreRefusedOrRead(t *testing.T) {
	for _, c := range []struct{ name, content string }{
		{"a quote inside a name", "start_time,the \"best\" name\n2026-03-31 14:05:09,x\n"},
		{"text after a closing quote", "\"start_time\"x,sale_amount\n2026-03-31 14:05:09,5\n"},
		{"a quote in a name that is never closed", "start_time,\"sale_amount\n2026-03-31 14:05:09,5\n"},
		{"a line of two megabytes", "start_time," + strings.Repeat("x", 2<<20) + "\n2026-03-31 14:05:09,5\n"},
		{"a line of 70 KiB", "start_time," + strings.Repeat("x", 70<<10) + ",sale_amount\n2026-03-31 14:05:09,5,6\n"},
		{"a line of 70 KiB after a preamble", "sep=,\nstart_time," + strings.Repeat("x", 70<<10) + ",sale_amount\n2026-03-31 14:05:09,5,6\n"},
		{"a quoted name of 70 KiB over many lines", "start_time,\"" + strings.Repeat("x\n", 35<<10) + "\",sale_amount\n2026-03-31 14:05:09,5,6\n"},
		{"a wrapped name", "=\"start_time\",sale_amount\n2026-03-31 14:05:09,5\n"},
		{"70 KiB of blank lines first", strings.Repeat("\n", 70<<10) + "start_time\n2026-03-31 14:05:09\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, refusal, err := ingest.Survey(context.Background(), opener(c.content), settings())
			if err != nil {
				t.Fatalf("neither read nor refused: %.200v", err)
			}
			if refusal == nil {
				if _, rejections := readClaims(t, table); len(rejections) != 1 || rejections[0] != nil {
					t.Errorf("read as %v", rejections)
				}
			}
		})
	}
}

func TestOnlyWhatIsUnclosedRefusesTheFile(t *testing.T) {
	for _, c := range []struct{ name, content string }{
		{"text after a closing quote on the last line", "start_time,name\n2026-03-31 14:05:09,\"a\" b\n"},
		{"text after a closing quote on the last line, which has no end", "start_time,name\n2026-03-31 14:05:09,\"a\" b"},
		{"a stray quote on the last line, which has no end", "start_time,name\n2026-03-31 14:05:09,a \"b\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, rejections := readClaims(t, survey(t, c.content))
			if len(rejections) != 1 || rejections[0] == nil || rejections[0].Faults[0].Code != conversion.RowMalformed {
				t.Errorf("got %v", rejections)
			}
		})
	}
}

func TestBlankLinesAreSkippedHoweverMany(t *testing.T) {
	claims := goodClaims(t, "start_time\n"+strings.Repeat("\n", 2<<20)+"2026-03-31 14:05:09\n")
	if got := linesOf(claims); !slices.Equal(got, []int{2<<20 + 2}) {
		t.Errorf("the rows are on lines %v", got)
	}
}

// A line too long to be one is refused by its own name, not as an open quote.
func TestALineOfMegabytes(t *testing.T) {
	got := refusalOf(t, plain+"2026-03-31 16:00:00,,,"+strings.Repeat("x", 2<<20)+"\n")
	if got.Code != conversion.NotATable {
		t.Errorf("the code is %s", got.Code)
	}
	if strings.HasPrefix(got.Sentence, "A quote is opened") {
		t.Errorf("there is no quote in the file, but: %s", got.Sentence)
	}
}

func TestDialectOfTheAccountOrTheSource(t *testing.T) {
	const both = "call_id,complete_call_id,start_time,start_time_utc\nc1,c2,2026-03-31 14:05:09,1774980309000\n"
	for _, c := range []struct {
		name string
		set  change
		want string
	}{
		{"the source's", func(s *ingest.Settings) { s.Dialect = "invoca-transactions" }, "invoca-transactions"},
		{"the account's", func(s *ingest.Settings) { s.Account.Dialect = "invoca-transactions" }, "invoca-transactions"},
		{"the source's over the account's", func(s *ingest.Settings) { s.Dialect, s.Account.Dialect = "calltally", "invoca-transactions" }, "calltally"},
		{"one for the other kind of files doesn't count", func(s *ingest.Settings) { s.Account.Dialect = "invoca" }, "calltally"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := survey(t, both, takesCalls, c.set).Reading.Dialect; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDialectTables(t *testing.T) {
	for _, d := range ingest.Dialects {
		t.Run(d.Name, func(t *testing.T) {
			if ingest.DialectNamed(d.Name) != d || !slices.Contains(ingest.DialectNames(d.Takes), d.Name) {
				t.Error("the dialect can't be found by its name")
			}
			seen := map[string]bool{}
			for _, column := range d.Columns {
				for _, name := range append([]string{column.Name}, column.Aliases...) {
					if seen[name] {
						t.Errorf("%s stands there twice", name)
					}
					seen[name] = true
				}
				if column.Kind == "" || column.Meaning == "" || !ingest.ColumnNamed(column.Name) {
					t.Errorf("%+v", column)
				}
			}
			for _, need := range d.Required {
				if need.What == "" {
					t.Error("a requirement without words")
				}
				for _, name := range need.Any {
					if !seen[name] && !slices.ContainsFunc(ingest.MappedColumns[d.Takes], func(c ingest.Column) bool { return c.Name == name }) {
						t.Errorf("the required %s is no column", name)
					}
				}
			}
		})
	}
	if ingest.DialectNamed("no such") != nil || ingest.ColumnNamed("no such") {
		t.Error("there is something that should not be")
	}
}
