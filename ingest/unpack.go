package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"calltally/conversion"
)

// contents are a file's bytes, out of what they were packed in.
type contents struct {
	open     Opener
	notes    []string // of how they were packed
	shift    int      // how many lines the table has more than the file
	workbook bool     // it is a sheet of one
	// from1904 says that day serials count from 1904.
	from1904 bool
}

// unpack finds out what a file's bytes are packed in, and how to read what is inside: a
// gzip archive, a workbook, and a call log of JSON lines.
func unpack(open Opener, settings Settings) (*contents, *conversion.Refusal, error) {
	c := &contents{open: open}
	for _, step := range []func(Settings) (*conversion.Refusal, error){c.gunzip, c.openWorkbook, c.readObjects} {
		if refusal, err := step(settings); refusal != nil || err != nil {
			return nil, refusal, err
		}
	}
	return c, nil, nil
}

func (c *contents) note(sentence string) { c.notes = append(c.notes, sentence) }

// gunzip unpacks a gzip archive.
func (c *contents) gunzip(settings Settings) (*conversion.Refusal, error) {
	zipped, err := begins(c.open, "\x1F\x8B")
	if err != nil || !zipped {
		return nil, err
	}
	c.open = gunzipped(c.open, settings.Limits.Bytes)
	c.note("The file was unpacked from a gzip archive.")
	return nil, nil
}

// openWorkbook opens a workbook's sheet as a table.
func (c *contents) openWorkbook(settings Settings) (*conversion.Refusal, error) {
	zipped, err := begins(c.open, "PK\x03\x04")
	if err != nil {
		return damaged(err)
	}
	if !zipped {
		return nil, nil
	}
	book, refusal, err := readWorkbook(c.open, settings)
	if refusal != nil || err != nil {
		return refusal, err
	}
	c.open, c.workbook, c.from1904 = book.table, true, book.from1904
	c.note(book.note())
	return nil, nil
}

// readObjects reads a call log of JSON lines as a table.
func (c *contents) readObjects(settings Settings) (*conversion.Refusal, error) {
	if settings.Takes != conversion.TakesCalls {
		return nil, nil
	}
	lines, err := begins(c.open, "{")
	if err != nil || !lines {
		return nil, err
	}
	columns, refusal, err := jsonColumns(c.open, settings.Limits.Columns)
	if err != nil {
		return damaged(err)
	}
	if refusal != nil {
		return refusal, nil
	}
	c.open, c.shift = jsonTable(c.open, columns), 1
	c.note("The file is JSON lines: each line is one call.")
	return nil, nil
}

// begins reports whether a file's first bytes, blanks and a byte order mark
// apart, are these.
func begins(open Opener, with string) (bool, error) {
	in, err := open()
	if err != nil {
		return false, err
	}
	defer in.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(head[:n], []byte{0xEF, 0xBB, 0xBF}), " \t\r\n"), []byte(with)), nil
}

// What an archive may unpack to without question, in bytes; beyond that, to no more than so
// many times what is packed. Tables of a few repeated words come to about a hundred.
const (
	unpackedFreely = 32 << 20
	mostUnpacked   = 200
)

// expands reports whether so many bytes are too much for what is packed.
func expands(unpacked, packed uint64) bool {
	return unpacked > unpackedFreely && unpacked/mostUnpacked > packed
}

var (
	errExpands = errors.New("the archive expands to too much")
	errArchive = errors.New("the archive is damaged")
)

// damaged turns the errors of an archive into what its sender is told.
func damaged(err error) (*conversion.Refusal, error) {
	switch {
	case errors.Is(err, errExpands):
		return conversion.Refuse(conversion.ArchiveUnsafe, "The gzip archive unpacks to more than is read of a file, or to far more than it holds. Split the file, and send the parts unpacked."), nil
	case errors.Is(err, errArchive):
		return conversion.Refuse(conversion.NotATable, "The gzip archive is damaged or was cut short. Pack the file again, or send it as it is."), nil
	}
	return nil, err
}

// gunzipped opens what is inside a gzip archive, at most limit bytes of it.
func gunzipped(open Opener, limit int64) Opener {
	return func() (io.ReadCloser, error) {
		raw, err := open()
		if err != nil {
			return nil, err
		}
		packed := &counting{in: raw}
		unzip, err := gzip.NewReader(bufio.NewReaderSize(packed, 64<<10))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errArchive, err), raw.Close())
		}
		return struct {
			io.Reader
			io.Closer
		}{&unzipping{in: unzip, left: limit, packed: packed}, raw}, nil
	}
}

// counting counts the bytes that are read.
type counting struct {
	in   io.Reader
	read uint64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.read += uint64(n)
	return n, err
}

type unzipping struct {
	in       io.Reader
	left     int64
	unpacked uint64
	packed   *counting // what has been read of the archive so far; nil if that is checked already
}

func (u *unzipping) Read(p []byte) (int, error) {
	n, err := u.in.Read(p)
	u.left -= int64(n)
	u.unpacked += uint64(n)
	switch {
	case u.left < 0 || u.packed != nil && expands(u.unpacked, u.packed.read):
		return 0, errExpands
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: %w", errArchive, err)
	}
	return n, err
}

// eachObject calls each for the objects of JSON lines; a blank line is none, and ok is
// false for one that holds something else.
func eachObject(in io.Reader, each func(object map[string]any, ok bool) error) (*conversion.Refusal, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxRecord)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte{0xEF, 0xBB, 0xBF}))
		var object map[string]any
		ok := true
		if len(text) > 0 {
			decoder := json.NewDecoder(bytes.NewReader(text))
			decoder.UseNumber()
			ok = decoder.Decode(&object) == nil && object != nil && !decoder.More()
		}
		if err := each(object, ok); err != nil {
			return nil, err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return conversion.Refuse(conversion.NotATable, "Line %d is longer than %d KiB. Check that the file is a call log.", n+1, maxRecord>>10), nil
	}
	return nil, lines.Err()
}

// errColumns says that objects have more names than a table may have columns.
var errColumns = errors.New("too many columns")

// jsonColumns lists what any of the objects has, if that is no more than most.
func jsonColumns(open Opener, most int) ([]string, *conversion.Refusal, error) {
	in, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	seen := map[string]bool{}
	refusal, err := eachObject(in, func(object map[string]any, _ bool) error {
		for name := range object {
			seen[name] = true
		}
		if len(seen) > most {
			return errColumns
		}
		return nil
	})
	if errors.Is(err, errColumns) {
		return nil, conversion.Refuse(conversion.TooManyColumns, "The objects have more than %d names; at most %d are read. Export only the columns that you need.", most, most), nil
	}
	return slices.Sorted(maps.Keys(seen)), refusal, err
}

// jsonTable opens JSON lines as a CSV: a header, then a line for each. What is no
// text or number is left out; a line that is no object has a cell too many, so that it
// is rejected.
func jsonTable(open Opener, columns []string) Opener {
	return func() (io.ReadCloser, error) {
		raw, err := open()
		if err != nil {
			return nil, err
		}
		from, to := io.Pipe()
		go func() {
			defer raw.Close()
			out := csv.NewWriter(to)
			err := out.Write(columns)
			cells := make([]string, len(columns))
			if err == nil {
				_, err = eachObject(raw, func(object map[string]any, ok bool) error {
					if !ok {
						return out.Write(make([]string, len(columns)+1))
					}
					for i, name := range columns {
						cells[i] = cellOf(object[name])
					}
					return out.Write(cells)
				})
			}
			out.Flush()
			to.CloseWithError(errors.Join(err, out.Error()))
		}()
		return from, nil
	}
}

// cellOf writes a value as a cell of one line.
func cellOf(value any) string {
	switch v := value.(type) {
	case string:
		return strings.Join(strings.Fields(v), " ")
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}
