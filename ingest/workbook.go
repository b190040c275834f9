package ingest

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"calltally/conversion"
)

// Bounds of what a workbook may cost.
const (
	maxWorkbook     = 32 << 20  // bytes of the file
	maxSheets       = 512 << 20 // bytes of all that is inside
	maxSheetColumns = 16_384    // as many as a sheet can have
	maxSheetRows    = 1_048_576 // as many as a sheet can have
	maxTexts        = 2_000_000 // different texts in a workbook
	maxParts        = 2_000     // in a workbook
)

// maxKept is how many bytes a part may have that is neither a sheet nor the texts, by its
// name's ending: the library keeps it in memory. Pictures and the like only have the sum.
var maxKept = map[string]uint64{".xml": 4 << 20, ".rels": 256 << 10}

// workbook is a spreadsheet's file.
type workbook struct {
	open     Opener
	sheet    string // the one that is read
	width    int    // columns
	from1904 bool   // days count from 1904
	others   bool   // there are sheets that aren't read
}

// note says what was read.
func (w *workbook) note() string {
	if w.others {
		return fmt.Sprintf("The sheet “%s” of the workbook was read, and no other.", w.sheet)
	}
	return fmt.Sprintf("The sheet “%s” of the workbook was read.", w.sheet)
}

// readWorkbook looks at a workbook and finds the sheet to read: the one that the account
// names, else the first that is shown.
func readWorkbook(open Opener, settings Settings) (w *workbook, refusal *conversion.Refusal, err error) {
	defer func() {
		if p := recover(); p != nil { // the library's, over a file that is made to break it
			w, refusal, err = nil, conversion.Refuse(conversion.NotATable, "The workbook is damaged. Open it, save it again, or save the sheet as “CSV UTF-8”."), nil
		}
	}()
	raw, refusal, err := workbookBytes(open)
	if refusal != nil || err != nil {
		return nil, refusal, err
	}
	inside, err := openZip(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, conversion.Refuse(conversion.NotATable, "The file is damaged or was cut short. Send it again."), nil
	}
	if refusal := vetWorkbook(inside); refusal != nil {
		return nil, refusal, nil
	}
	book, err := excelize.OpenReader(bytes.NewReader(raw), workbookOptions)
	if err != nil {
		return nil, conversion.Refuse(conversion.NotATable, "The workbook is damaged (%v). Open it, save it again, or save the sheet as “CSV UTF-8”.", err), nil
	}
	defer book.Close()
	w = &workbook{open: open}
	if w.sheet, refusal = chosenSheet(book, settings.Account.Sheet); refusal != nil {
		return nil, refusal, nil
	}
	w.others = len(book.GetSheetList()) > 1
	if properties, err := book.GetWorkbookProps(); err == nil && properties.Date1904 != nil {
		w.from1904 = *properties.Date1904
	}
	err = eachSheetRow(book, w.sheet, func(cells []string) error {
		w.width = max(w.width, len(cells))
		return nil
	})
	if err != nil {
		return nil, conversion.Refuse(conversion.NotATable, "The sheet “%s” is damaged (%v). Open the workbook and save it again.", w.sheet, err), nil
	}
	return w, nil, nil
}

// workbookOptions have cells as they are stored, not as they are shown: shown dates lose
// their seconds. Sheets are kept on the disk while they are read.
var workbookOptions = excelize.Options{RawCellValue: true, UnzipSizeLimit: maxSheets, UnzipXMLSizeLimit: 1 << 20}

func workbookBytes(open Opener) ([]byte, *conversion.Refusal, error) {
	in, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxWorkbook+1))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxWorkbook {
		return nil, conversion.Refuse(conversion.TooLarge, "The workbook is larger than %d MiB. Save the sheet as “CSV UTF-8” and send that.", maxWorkbook>>20), nil
	}
	return raw, nil, nil
}

// vetWorkbook refuses what would cost too much, and sheets that are not whole: the library
// takes the end of what it understands for the end of the sheet.
func vetWorkbook(inside *zip.Reader) *conversion.Refusal {
	switch kind, what := kindOfZip(inside); kind {
	case zipDocument:
		return conversion.Refuse(conversion.NotATable, "The file is %s. Save the table as “CSV UTF-8” or as an Excel workbook (.xlsx).", what)
	case zipArchive:
		return conversion.Refuse(conversion.ArchiveUnsafe, "The file is a ZIP archive inside another one. Unpack it and send the CSV inside.")
	}
	if len(inside.File) > maxParts {
		return conversion.Refuse(conversion.ArchiveUnsafe, "The workbook has more than %d parts. Save the sheet as “CSV UTF-8” and send that.", maxParts)
	}
	var size uint64
	for _, part := range inside.File {
		name := strings.ToLower(part.Name)
		streamed := path.Dir(name) == "xl/worksheets" || name == "xl/sharedstrings.xml"
		// Each is compared alone too: a sum of what parts claim may begin anew at zero.
		if size += part.UncompressedSize64; part.UncompressedSize64 > maxSheets || size > maxSheets {
			return conversion.Refuse(conversion.ArchiveUnsafe, "The workbook unpacks to more than %d MiB. Save the sheet as “CSV UTF-8” and send that.", maxSheets>>20)
		}
		if most, kept := maxKept[path.Ext(name)]; kept && !streamed && part.UncompressedSize64 > most {
			return conversion.Refuse(conversion.ArchiveUnsafe, "The part %s of the workbook is too large. Save the sheet as “CSV UTF-8” and send that.", conversion.Clip(conversion.OneLine(part.Name), 60))
		}
		if path.Ext(name) == ".xml" && strings.HasPrefix(name, "xl/") {
			if refusal := vetPart(part); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

// vetPart looks at a sheet or at the workbook's texts without keeping any of it.
func vetPart(part *zip.File) *conversion.Refusal {
	damaged := func(what any) *conversion.Refusal {
		return conversion.Refuse(conversion.NotATable, "The workbook is damaged in %s (%v). Open it and save it again.", part.Name, what)
	}
	in, err := part.Open()
	if err != nil {
		return damaged(err)
	}
	defer in.Close()
	tags := bufio.NewScanner(io.LimitReader(in, maxSheets))
	tags.Buffer(make([]byte, 64<<10), maxRecord)
	tags.Split(splitAt('<'))
	cells, texts, elements, last := 0, 0, 0, ""
	for tags.Scan() {
		tag := tags.Bytes()
		switch name := tagName(tag); name {
		case "row":
			cells = 0
		case "c":
			cells++
		case "si":
			texts++
		}
		if cells > maxSheetColumns {
			return conversion.Refuse(conversion.TooManyColumns, "A row of the workbook has more than %d cells. Save the sheet as “CSV UTF-8” and send that.", maxSheetColumns)
		}
		if texts > maxTexts {
			return conversion.Refuse(conversion.TooLarge, "The workbook holds more than %d different texts. Save the sheet as “CSV UTF-8” and send that.", maxTexts)
		}
		if len(bytes.TrimSpace(tag)) > 0 {
			last = string(tag[:min(len(tag), 100)])
			if last[0] != '?' && last[0] != '!' {
				elements++
			}
		}
	}
	if err := tags.Err(); err != nil {
		return damaged(err)
	}
	if elements == 1 && strings.HasSuffix(strings.TrimSpace(last), "/>") {
		return nil // an element without content is all of it
	}
	if !strings.HasPrefix(last, "/") || !strings.HasSuffix(strings.TrimSpace(last), ">") {
		return damaged("it breaks off")
	}
	return nil
}

// splitAt splits where a character stands.
func splitAt(at byte) bufio.SplitFunc {
	return func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, at); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	}
}

// tagName is the name that a tag begins with, without its namespace.
func tagName(tag []byte) string {
	end := bytes.IndexAny(tag, " />\t\r\n")
	if end < 0 {
		end = len(tag)
	}
	if end > 32 {
		return ""
	}
	name := tag[:end]
	return string(name[bytes.IndexByte(name, ':')+1:])
}

// chosenSheet finds the sheet to read.
func chosenSheet(book *excelize.File, wanted string) (string, *conversion.Refusal) {
	names := book.GetSheetList()
	if wanted != "" {
		at := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, wanted) })
		if at < 0 {
			return "", conversion.Refuse(conversion.NotATable, "The workbook has no sheet “%s”, which is the one that is read for your account. It has: %s.", wanted, conversion.Clip(strings.Join(names, ", "), 200))
		}
		return names[at], nil
	}
	for _, name := range names {
		if shown, err := book.GetSheetVisible(name); err == nil && shown {
			return name, nil
		}
	}
	return "", conversion.Refuse(conversion.NotATable, "The workbook shows no sheet. Open it, show the sheet with the rows, and save it.")
}

// eachSheetRow calls each for a sheet's rows, those without any cell included.
func eachSheetRow(book *excelize.File, sheet string, each func(cells []string) error) error {
	rows, err := book.Rows(sheet)
	if err != nil {
		return err
	}
	defer rows.Close()
	for n := 0; rows.Next(); n++ {
		if n == maxSheetRows { // a row may claim any number, and those before it count
			return fmt.Errorf("it has more than %d rows", maxSheetRows)
		}
		cells, err := rows.Columns()
		if err == nil {
			err = each(cells)
		}
		if err != nil {
			return err
		}
	}
	return rows.Error()
}

// table opens the sheet as a CSV. Each of its rows is one line, with the number that it
// has in the sheet.
func (w *workbook) table() (io.ReadCloser, error) {
	raw, refusal, err := workbookBytes(w.open)
	if refusal != nil { // it was none when it was looked at
		err = refusal
	}
	if err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	go func() { to.CloseWithError(w.write(raw, to)) }()
	return from, nil
}

func (w *workbook) write(raw []byte, to io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil { // see readWorkbook, which has read the same before
			err = fmt.Errorf("read workbook: %v", p)
		}
	}()
	book, err := excelize.OpenReader(bytes.NewReader(raw), workbookOptions)
	if err != nil {
		return err
	}
	defer book.Close()
	out := csv.NewWriter(to)
	line := make([]string, w.width)
	err = eachSheetRow(book, w.sheet, func(cells []string) error {
		clear(line)
		for i, cell := range cells {
			line[i] = sheetCell(cell)
		}
		return out.Write(line)
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// sheetCell is a cell as it is read. Line breaks inside it would give the rows that follow
// other numbers than the sheet does. Of a number with a fraction, 15 digits count, as
// everywhere in a spreadsheet: 19.99 may be stored as 19.989999999999998.
func sheetCell(cell string) string {
	if strings.ContainsAny(cell, "\r\n") {
		cell = strings.Join(strings.Fields(cell), " ")
	}
	whole, fraction, ok := strings.Cut(cell, ".")
	if !ok || len(whole)+len(fraction) <= excelDigits || !isDigits(strings.TrimPrefix(whole, "-")) || !isDigits(fraction) {
		return cell
	}
	n, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return cell
	}
	digits := excelDigits - len(strings.TrimPrefix(whole, "-"))
	if digits < 0 {
		return cell
	}
	text := strconv.FormatFloat(n, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// What a file that begins as a ZIP archive is.
type zipKind int

const (
	zipArchive  zipKind = iota
	zipWorkbook         // of Excel
	zipDocument         // of another program
)

// kindOfZip tells them apart, and says what another program's document is.
func kindOfZip(inside *zip.Reader) (kind zipKind, document string) {
	has := func(begins string) bool {
		return slices.ContainsFunc(inside.File, func(f *zip.File) bool { return strings.HasPrefix(strings.ToLower(f.Name), begins) })
	}
	switch {
	case has("[content_types].xml") && has("xl/workbook.bin"):
		return zipDocument, "a binary Excel workbook (.xlsb)"
	case has("[content_types].xml") && has("xl/"):
		return zipWorkbook, ""
	case has("[content_types].xml"):
		return zipDocument, "a document of Word or PowerPoint"
	case has("mimetype") && has("content.xml"):
		return zipDocument, "an OpenDocument file"
	case has("index/document.iwa"), has("index.zip"):
		return zipDocument, "a document of Numbers or Pages"
	}
	return zipArchive, ""
}
