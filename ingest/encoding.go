package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"calltally/conversion"
)

// Names of the encodings we read, as reported back.
const (
	encodingUTF8    = "utf-8"
	encodingUTF16LE = "utf-16le"
	encodingUTF16BE = "utf-16be"
	encoding1252    = "windows-1252"
)

// text is a file's bytes with all that is needed to read them as UTF-8 lines.
type text struct {
	open     Opener
	encoding string
	bom      bool
	// loneCR is set if lines end in CR alone, as old Macs wrote them.
	loneCR bool
	// formulas is set if cells are wrapped as ="0503", quotes unescaped.
	formulas bool
	// length is the number of bytes to read: all but a final Ctrl-Z.
	length int64
}

// magics are the first bytes of things people send instead of CSV, and the
// cure.
var magics = []struct {
	prefix string
	code   conversion.Code
	what   string
}{
	{"\xD0\xCF\x11\xE0", conversion.NotATable, "an old or password-protected Office document. Open it and save the sheet as “CSV UTF-8”"},
	{"\x1F\x8B", conversion.ArchiveUnsafe, "a gzip archive inside another one. Unpack it and send the CSV inside"},
	{"%PDF", conversion.NotATable, "a PDF document. Send the table it shows as CSV"},
	{"Rar!", conversion.ArchiveUnsafe, "a RAR archive. Unpack it and send the CSV inside"},
	{"7z\xBC\xAF", conversion.ArchiveUnsafe, "a 7-Zip archive. Unpack it and send the CSV inside"},
	{"-----BEGIN PGP", conversion.Encrypted, "encrypted with PGP. Send the CSV as it is"},
}

// inspect reads a file's bytes once to learn how they are encoded. The bytes
// decide, never a declared type.
func inspect(open Opener) (*text, *conversion.Refusal, error) {
	r, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if refusal := recogniseMagic(head); refusal != nil {
		return nil, refusal, nil
	}
	t := &text{open: open}
	switch {
	case bytes.HasPrefix(head, []byte{0xEF, 0xBB, 0xBF}):
		t.encoding, t.bom = encodingUTF8, true
	case bytes.HasPrefix(head, []byte{0xFF, 0xFE}):
		t.encoding, t.bom = encodingUTF16LE, true
	case bytes.HasPrefix(head, []byte{0xFE, 0xFF}):
		t.encoding, t.bom = encodingUTF16BE, true
	}
	refusal, err := t.scan(in)
	return t, refusal, err
}

func recogniseMagic(head []byte) *conversion.Refusal {
	for _, magic := range magics {
		if bytes.HasPrefix(head, []byte(magic.prefix)) {
			return conversion.Refuse(magic.code, "The file is %s.", magic.what)
		}
	}
	lower := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, []byte{0xEF, 0xBB, 0xBF})))
	if bytes.HasPrefix(lower, []byte("<!doctype html")) || bytes.HasPrefix(lower, []byte("<html")) {
		return conversion.Refuse(conversion.NotATable, "The file is a web page, perhaps a login page saved in place of the download. Export it again and send the CSV.")
	}
	if bytes.HasPrefix(lower, []byte("{\\rtf")) {
		return conversion.Refuse(conversion.NotATable, "The file is a rich text document. Save the table as CSV and send that.")
	}
	return nil
}

// scan looks at every byte of the file once.
func (t *text) scan(in io.Reader) (*conversion.Refusal, error) {
	if t.encoding == encodingUTF16LE || t.encoding == encodingUTF16BE {
		return t.scanDecoded(in)
	}
	valid, blank, undefined, firstNUL, nuls := true, true, int64(-1), int64(-1), int64(0)
	tail := []byte{'\n'} // the bytes before the chunk
	var pending []byte   // an UTF-8 sequence cut by the buffer's end, or a final CR
	var last byte
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		chunk := buf[:n]
		if n > 0 {
			if blank && len(bytes.Trim(chunk, " \t\r\n\x00\x1a\xef\xbb\xbf")) > 0 {
				blank = false
			}
			if at := bytes.IndexByte(chunk, 0); at >= 0 {
				if firstNUL < 0 {
					firstNUL = t.length + int64(at)
				}
				nuls += int64(bytes.Count(chunk, []byte{0}))
			}
			if last == '\r' && chunk[0] != '\n' {
				t.loneCR = true
			}
			t.loneCR = t.loneCR || hasLoneCR(chunk)
			t.formulas = t.formulas || hasFormulas(append(tail, bytes.TrimPrefix(chunk, []byte{0xEF, 0xBB, 0xBF})...))
			tail = append([]byte(nil), chunk[max(0, n-2):]...)
			if valid {
				whole := append(pending, chunk...)
				keep := incompleteSuffix(whole)
				valid = utf8.Valid(whole[:len(whole)-keep])
				pending = append([]byte(nil), whole[len(whole)-keep:]...)
			}
			if undefined < 0 {
				undefined = firstUndefined1252(chunk, t.length)
			}
			last = chunk[n-1]
			t.length += int64(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if last == '\r' {
		t.loneCR = true
	}
	if last == 0x1A {
		t.length--
	}
	valid = valid && len(pending) == 0
	switch {
	case t.length == 0 || blank && nuls == 0:
		return conversion.Refuse(conversion.Empty, "The file is empty. Send it again with a header line and at least one row."), nil
	case nuls > 0 && nuls*3 >= t.length && nuls*3 <= t.length*2:
		return conversion.Refuse(conversion.EncodingUnknown, "The file looks like UTF-16 without its byte order mark. Save it as “CSV UTF-8” and send it again."), nil
	case nuls > 0:
		return conversion.Refuse(conversion.NotATable, "The file holds NUL bytes (the first at byte %d), so it is damaged or no text. Export it again.", firstNUL+1), nil
	case t.encoding == encodingUTF8 && !valid:
		return conversion.Refuse(conversion.EncodingUnknown, "The file says it is UTF-8, but holds bytes that are not. Save it as “CSV UTF-8” and send it again."), nil
	case valid:
		t.encoding = encodingUTF8
	case undefined >= 0:
		return conversion.Refuse(conversion.EncodingUnknown, "The file is neither UTF-8 nor Windows-1252 (see byte %d). Save it as “CSV UTF-8” and send it again.", undefined+1), nil
	default:
		t.encoding = encoding1252
	}
	return nil, nil
}

// scanDecoded looks at a UTF-16 file's characters once.
func (t *text) scanDecoded(in io.Reader) (*conversion.Refusal, error) {
	counted := &countingReader{r: in}
	decoded := transform.NewReader(counted, t.decoder())
	buf, blank, last, tail := make([]byte, 64<<10), true, byte(0), []byte{'\n'}
	for {
		n, err := decoded.Read(buf)
		if n > 0 {
			chunk := buf[:n]
			blank = blank && len(bytes.TrimSpace(chunk)) == 0
			t.loneCR = t.loneCR || hasLoneCR(chunk) || last == '\r' && chunk[0] != '\n'
			t.formulas = t.formulas || hasFormulas(append(tail, chunk...))
			tail = append([]byte(nil), chunk[max(0, n-2):]...)
			last = chunk[n-1]
			if bytes.ContainsRune(chunk, utf8.RuneError) || bytes.IndexByte(chunk, 0) >= 0 {
				return conversion.Refuse(conversion.EncodingUnknown, "The file says it is UTF-16, but holds characters that are not. Save it as “CSV UTF-8” and send it again."), nil
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	t.length = counted.n
	if blank {
		return conversion.Refuse(conversion.Empty, "The file is empty. Send it again with a header line and at least one row."), nil
	}
	return nil, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// hasLoneCR reports whether a chunk holds a CR that no LF follows. A CR at the
// chunk's end is the caller's to judge.
func hasLoneCR(chunk []byte) bool {
	for {
		at := bytes.IndexByte(chunk, '\r')
		if at < 0 || at == len(chunk)-1 {
			return false
		}
		if chunk[at+1] != '\n' {
			return true
		}
		chunk = chunk[at+1:]
	}
}

// incompleteSuffix is the number of bytes at the end that may be the beginning
// of a longer UTF-8 sequence.
func incompleteSuffix(b []byte) int {
	for keep := 1; keep < utf8.UTFMax && keep <= len(b); keep++ {
		if c := b[len(b)-keep]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-keep:]) {
				return keep
			}
			return 0
		}
	}
	return 0
}

// firstUndefined1252 finds a byte that Windows-1252 gives no meaning.
func firstUndefined1252(chunk []byte, offset int64) int64 {
	for i, c := range chunk {
		switch c {
		case 0x81, 0x8D, 0x8F, 0x90, 0x9D:
			return offset + int64(i)
		}
	}
	return -1
}

func (t *text) decoder() *encoding.Decoder {
	switch t.encoding {
	case encodingUTF16LE:
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()
	case encodingUTF16BE:
		return unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM).NewDecoder()
	case encoding1252:
		return charmap.Windows1252.NewDecoder()
	}
	return unicode.UTF8BOM.NewDecoder()
}

// reader opens the file as UTF-8 without a byte order mark, its lines ended by
// LF or CRLF.
func (t *text) reader() (io.ReadCloser, error) {
	raw, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	var r io.Reader = io.LimitReader(raw, t.length)
	if t.encoding != encodingUTF8 || t.bom {
		r = transform.NewReader(r, t.decoder())
	}
	if t.loneCR {
		r = &lineEnder{in: bufio.NewReaderSize(r, 64<<10)}
	}
	if t.formulas {
		r = &formulaQuoter{in: bufio.NewReaderSize(r, 64<<10)}
	}
	// The last line gets an end, so that only an unclosed quote reads beyond it.
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(r, strings.NewReader("\n")), raw}, nil
}

// lineEnder turns a CR that no LF follows into an LF.
type lineEnder struct{ in *bufio.Reader }

func (l *lineEnder) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	for i := range p[:n] {
		if p[i] != '\r' {
			continue
		}
		next := byte(0)
		if i+1 < n {
			next = p[i+1]
		} else if ahead, _ := l.in.Peek(1); len(ahead) == 1 {
			next = ahead[0]
		}
		if next != '\n' {
			p[i] = '\n'
		}
	}
	return n, err
}
