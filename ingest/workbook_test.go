package ingest_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"calltally/conversion"
	"calltally/ingest"
)

// workbook writes a workbook with one sheet of these rows, and lets more be done to it.
func workbook(t *testing.T, rows [][]any, more ...func(*excelize.File) error) string {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, row := range rows {
		if err := book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range more {
		if err := do(book); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := book.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// repacked packs a workbook anew, with one of its parts changed.
func repacked(t *testing.T, book, part string, change func(string) string) string {
	t.Helper()
	in, err := zip.NewReader(strings.NewReader(book), int64(len(book)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for _, file := range in.File {
		from, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name == part {
			content = []byte(change(string(content)))
		}
		to, err := out.Create(file.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var orders = [][]any{
	{"start_time", "calling_phone_number", "reference_id", "sale_amount"},
	{time.Date(2026, 3, 31, 14, 5, 9, 0, time.UTC), 12125550123, "0815", 19.99},
	{},
	{"2026-03-31 14:07:00", "+12125550124", "two\nlines", 1234.5},
}

// Cells are read as they are stored: days as serials to the second, numbers with all of
// their digits, texts with their zeros. Rows keep the numbers that they have in the sheet.
func TestWorkbooks(t *testing.T) {
	table := survey(t, workbook(t, orders))
	if notes := strings.Join(table.Reading.Notes, " "); notes != "The sheet “Sheet1” of the workbook was read. Passed over: 1 row without any content." {
		t.Errorf("notes %q", notes)
	}
	claims, rejections := readClaims(t, table)
	if len(claims) != 2 || rejections[0] != nil || rejections[1] != nil {
		t.Fatalf("claims %+v, rejections %v", claims, rejections)
	}
	for i, want := range []conversion.Claim{
		{Line: 2, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Caller: 12125550123, Standing: conversion.Standing{Sale: conversion.Cents(1999, "USD")}, Details: conversion.Details{ReferenceID: "0815"}},
		{Line: 4, Start: toTheSecond(t, "2026-03-31T18:07:00Z"), Caller: 12125550124, Standing: conversion.Standing{Sale: conversion.Cents(123450, "USD")}, Details: conversion.Details{ReferenceID: "two lines"}},
	} {
		got := claims[i]
		if got.Line != want.Line || got.Start != want.Start || got.Caller != want.Caller || got.Sale != want.Sale || got.ReferenceID != want.ReferenceID {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

func TestWorkbooksThatBeganOnAMac(t *testing.T) {
	from1904 := true
	book := workbook(t, orders, func(f *excelize.File) error {
		return f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &from1904})
	}, func(f *excelize.File) error { return f.SetCellValue("Sheet1", "A2", 44650.5869097222) })
	preamble, err := survey(t, book).Preamble(t.Context(), func(int) bool { return true })
	if err != nil || preamble != "Parameters:Days=1904" {
		t.Errorf("the fix file would begin with %q, %v", preamble, err)
	}
	fix := goodClaims(t, preamble+"\nstart_time,sale_amount\n44650.5869097222,5\n")
	claims := append(fix, goodClaims(t, book)...)
	if claims[1].Start != claims[0].Start {
		t.Errorf("the fix file's call started %v, the workbook's %v", claims[0].Start, claims[1].Start)
	}
	if want := toTheSecond(t, "2026-03-31T18:05:09Z"); claims[0].Start != want {
		t.Errorf("the call started %v, want %v", claims[0].Start, want)
	}
}

func TestSheets(t *testing.T) {
	two := workbook(t, [][]any{{"Notes"}, {"Nothing to see"}}, func(f *excelize.File) error {
		_, err := f.NewSheet("Orders")
		return err
	}, func(f *excelize.File) error {
		for i, row := range orders {
			if err := f.SetSheetRow("Orders", fmt.Sprintf("A%d", i+1), &row); err != nil {
				return err
			}
		}
		return nil
	})
	hidden := func(f *excelize.File) error {
		f.SetActiveSheet(1)
		return f.SetSheetVisible("Sheet1", false)
	}
	named := func(name string) change { return func(s *ingest.Settings) { s.Account.Sheet = name } }
	for _, c := range []struct {
		name, book, want string // of the note, or the refusal
		change           change
	}{
		{"the one that is named", two, "The sheet “Orders” of the workbook was read, and no other. Passed over: 1 row without any content.", named("orders")},
		{"the first that is shown", reopened(t, two, hidden), "The sheet “Orders” of the workbook was read, and no other. Passed over: 1 row without any content.", func(*ingest.Settings) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := survey(t, c.book, c.change)
			if notes := strings.Join(table.Reading.Notes, " "); notes != c.want || table.Reading.Rows != 2 {
				t.Errorf("%d rows, notes %q", table.Reading.Rows, notes)
			}
		})
	}
	if refusal, want := refusalOf(t, two, named("Sales")), "not_a_table: The workbook has no sheet “Sales”, which is the one that is read for your account. It has: Sheet1, Orders."; refusal.Error() != want {
		t.Errorf("got %s\nwant %s", refusal.Error(), want)
	}
}

func reopened(t *testing.T, book string, do func(*excelize.File) error) string {
	t.Helper()
	f, err := excelize.OpenReader(strings.NewReader(book))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := do(f); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Of a number with a fraction, 15 digits count.
func TestNumbersOfWorkbooks(t *testing.T) {
	for stored, want := range map[string]string{
		"19.989999999999998": "19.99", "0.1": "0.1", "1234.5": "1234.5", "-19.989999999999998": "-19.99",
		"12125550123": "12125550123", "1E+20": "1E+20", "0.30000000000000004": "0.3", "123456789012345678": "123456789012345678",
	} {
		book := repacked(t, workbook(t, [][]any{{"start_time", "sale_amount", "x"}, {"2026-03-31 14:05:09", 5, 7}}), "xl/worksheets/sheet1.xml", func(sheet string) string {
			return strings.Replace(sheet, "<v>7</v>", "<v>"+stored+"</v>", 1)
		})
		rows := rowsOf(t, survey(t, book))
		if len(rows) != 1 || rows[0].Cells[2] != want {
			t.Errorf("%s is read as %+v, want %s", stored, rows, want)
		}
	}
}

// What would cost too much, or isn't whole, is refused.
func TestWorkbooksThatAreRefused(t *testing.T) {
	book := workbook(t, orders)
	sheet := "xl/worksheets/sheet1.xml"
	for _, c := range []struct{ name, book, want string }{
		{"cut short", book[:len(book)/2], "not_a_table: The file is damaged or was cut short. Send it again."},
		{"a sheet that breaks off", repacked(t, book, sheet, func(s string) string { return s[:len(s)/2] }), "not_a_table: The workbook is damaged in xl/worksheets/sheet1.xml (it breaks off). Open it and save it again."},
		{"a row without an end", repacked(t, book, sheet, func(s string) string {
			return strings.Replace(s, "<row ", "<row r=\"1\">"+strings.Repeat("<c/>", 20_000)+"</row><row ", 1)
		}), "too_many_columns: A row of the workbook has more than 16384 cells. Save the sheet as “CSV UTF-8” and send that."},
		{"a document", zipOf(t, "[Content_Types].xml", "<Types/>", "word/document.xml", "<a/>"), "not_a_table: The file is a document of Word or PowerPoint. Save the table as “CSV UTF-8” or as an Excel workbook (.xlsx)."},
		{"a binary workbook", zipOf(t, "[Content_Types].xml", "<Types/>", "xl/workbook.bin", "x"), "not_a_table: The file is a binary Excel workbook (.xlsb). Save the table as “CSV UTF-8” or as an Excel workbook (.xlsx)."},
		{"an OpenDocument file", zipOf(t, "mimetype", "x", "content.xml", "<a/>"), "not_a_table: The file is an OpenDocument file. Save the table as “CSV UTF-8” or as an Excel workbook (.xlsx)."},
		{"Numbers", zipOf(t, "Index/Document.iwa", "x"), "not_a_table: The file is a document of Numbers or Pages. Save the table as “CSV UTF-8” or as an Excel workbook (.xlsx)."},
		{"an archive in an archive", zipOf(t, "a.csv", "a,b\n"), "archive_unsafe: The file is a ZIP archive inside another one. Unpack it and send the CSV inside."},
		{"no workbook inside", zipOf(t, "[Content_Types].xml", "<Types/>", "xl/workbook.xml", "<workbook/>"), "not_a_table: The workbook is damaged (EOF). Open it, save it again, or save the sheet as “CSV UTF-8”."},
	} {
		t.Run(c.name, func(t *testing.T) {
			refusal := refusalOf(t, c.book)
			if refusal.Error() != c.want {
				t.Errorf("got %s\nwant %s", refusal.Error(), c.want)
			}
		})
	}
	t.Run("a row of any number", func(t *testing.T) {
		far := repacked(t, book, sheet, func(s string) string { return strings.Replace(s, `<row r="4"`, `<row r="9000000000000000000"`, 1) })
		refusal := refusalOf(t, far)
		if !strings.Contains(refusal.Error(), "more than 1048576 rows") {
			t.Errorf("got %s", refusal.Error())
		}
	})
	t.Run("sizes that add up to nothing", func(t *testing.T) {
		refusal := refusalOf(t, claiming(t, zipOf(t, "[Content_Types].xml", "<Types/>", "xl/workbook.xml", "<workbook/>", "xl/x.bin", "y"), "xl/x.bin"))
		if refusal.Code != conversion.ArchiveUnsafe {
			t.Errorf("got %s", refusal.Error())
		}
	})
	t.Run("a large part that is no sheet", func(t *testing.T) {
		refusal := refusalOf(t, repacked(t, book, "xl/styles.xml", func(string) string { return "<styleSheet>" + strings.Repeat(" ", 5<<20) + "</styleSheet>" }))
		if refusal.Code != conversion.ArchiveUnsafe {
			t.Errorf("got %s", refusal.Error())
		}
	})
	t.Run("a bomb", func(t *testing.T) {
		bomb := repacked(t, book, "xl/sharedStrings.xml", func(string) string { return strings.Repeat(" ", 513<<20) })
		if refusal, want := refusalOf(t, bomb), "archive_unsafe: The workbook unpacks to more than 512 MiB. Save the sheet as “CSV UTF-8” and send that."; refusal.Error() != want {
			t.Errorf("got %s\nwant %s", refusal.Error(), want)
		}
	})
}

// zipOf packs files: names and contents in turn.
func zipOf(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		out, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// claiming has a packed file claim in the directory that it unpacks to nearly 2^64 bytes.
func claiming(t *testing.T, packed, name string) string {
	return claimingPacked(t, packed, name, "")
}

// claimingPacked also has it claim to be packed into so many bytes, eight of them unless "".
func claimingPacked(t *testing.T, packed, name, size string) string {
	t.Helper()
	at := strings.LastIndex(packed, name) - 46 // its entry in the directory
	end := at + 46 + len(name)
	extra := "\x01\x00" + string(rune(8+len(size))) + "\x00" + "\xf0\xff\xff\xff\xff\xff\xff\xff" + size // ZIP64: the unpacked size
	entry := []byte(packed[at:end])
	copy(entry[24:28], "\xff\xff\xff\xff")
	if size != "" {
		copy(entry[20:24], "\xff\xff\xff\xff")
	}
	entry[30], entry[31] = byte(len(extra)), 0
	b := []byte(packed[:at] + string(entry) + extra + packed[end:])
	record := bytes.LastIndex(b, []byte("PK\x05\x06"))
	directory := uint32(b[record+12]) | uint32(b[record+13])<<8
	directory += uint32(len(extra))
	b[record+12], b[record+13] = byte(directory), byte(directory>>8)
	return string(b)
}
