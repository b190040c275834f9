package mailbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
	"github.com/emersion/go-message/textproto"

	"calltally/conversion"
	"calltally/ingest"
)

// Bounds of what a mail may be made of. Deeper nesting costs time that grows
// with its square.
const (
	maxParts  = 200
	maxDepth  = 20
	maxHeader = 1 << 20 // bytes of one part's header
)

// letter is a mail taken apart.
type letter struct {
	mail  ingest.Mail
	files []file
	skip  string // why the mail is not read at all; "" if it is
}

// file is an attachment on this side.
type file struct {
	name    string
	path    string
	refusal *conversion.Refusal
}

func (f file) open() (io.ReadCloser, error) { return os.Open(f.path) }

// takeApart reads a mail from a file and writes its attachments beside it. What
// is wrong with the mail becomes a refusal; an error is the disk's.
func takeApart(path, spool string) (*letter, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	w := &walker{spool: spool}
	head, err := textproto.ReadHeader(bufio.NewReader(io.LimitReader(in, maxHeader)))
	m := &letter{mail: readMail(mail.Header{Header: headerOf(head)})}
	m.skip = skipped(headerOf(head))
	if m.skip != "" {
		return m, nil
	}
	if err == nil {
		if _, err = in.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		err = w.read(in, 0)
	}
	if w.disk != nil {
		return nil, w.disk
	}
	m.files = w.chosen()
	if len(m.files) == 0 {
		m.files = []file{{name: "mail.eml", path: path, refusal: noFile(err, w)}}
	}
	return m, nil
}

// headerOf turns a plain header into one that decodes its fields.
func headerOf(h textproto.Header) message.Header { return message.Header{Header: h} }

// noFile says why a mail has no file to read.
func noFile(err error, w *walker) *conversion.Refusal {
	switch {
	case w.encrypted:
		return conversion.Refuse(conversion.Encrypted, "The mail is encrypted, so its attachment can't be read. Send it unencrypted to this address.")
	case err != nil:
		return conversion.Refuse(conversion.NoAttachment, "The mail is damaged and no file could be found in it. Send the file again as an attachment.")
	}
	return conversion.Refuse(conversion.NoAttachment, "The mail has no attached file. Attach the CSV file; text in the mail itself and links are not read.")
}

// readMail reads who sent a mail to whom.
func readMail(h mail.Header) ingest.Mail {
	var m ingest.Mail
	if from, err := h.AddressList("From"); err == nil && len(from) == 1 && h.FieldsByKey("From").Len() == 1 {
		m.From = strings.ToLower(from[0].Address)
	}
	m.Subject = oneLine(decodeWords(h.Get("Subject")))
	m.MessageID, _ = h.MessageID()
	m.References, _ = h.MsgIDList("References")
	m.Automatic = automatic(h.Header)
	// What the server wrote comes before what the sender wrote.
	for _, field := range []string{"X-Original-To", "Delivered-To", "Envelope-To", "To", "Cc"} {
		for fields := h.FieldsByKey(field); fields.Next(); {
			for _, address := range addresses(fields.Value()) {
				if !slices.Contains(m.Recipients, address) {
					m.Recipients = append(m.Recipients, address)
				}
			}
		}
	}
	return m
}

func addresses(list string) []string {
	var found []string
	parsed, err := mail.ParseAddressList(list)
	if err != nil {
		if list = strings.Trim(strings.TrimSpace(list), "<>"); strings.Count(list, "@") == 1 && !strings.ContainsAny(list, " ,\"") {
			return []string{strings.ToLower(list)}
		}
	}
	for _, a := range parsed {
		found = append(found, strings.ToLower(a.Address))
	}
	return found
}

// skipped says why a mail must not be read: bounces, answers of programs, and
// our own reports.
func skipped(h message.Header) string {
	from := strings.ToLower(h.Get("From"))
	switch {
	case h.Has("X-Calltally-Report"):
		return "our own report"
	case strings.TrimSpace(h.Get("Return-Path")) == "<>", strings.Contains(from, "mailer-daemon@"), strings.Contains(from, "postmaster@"):
		return "a bounce"
	case strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted"))), "auto-replied"):
		return "an automatic reply"
	}
	return ""
}

// automatic reports whether a program or a list sent a mail: it is read, but not
// answered.
func automatic(h message.Header) bool {
	submitted := strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted")))
	precedence := strings.ToLower(strings.TrimSpace(h.Get("Precedence")))
	return submitted != "" && submitted != "no" || slices.Contains([]string{"bulk", "junk", "list"}, precedence) ||
		h.Has("List-Id") || h.Has("List-Unsubscribe") || h.Has("X-Auto-Response-Suppress")
}

// walker walks over a mail's parts.
type walker struct {
	spool     string
	parts     int
	encrypted bool
	tables    []file // attachments that look like tables
	others    []file // attachments of other kinds
	disk      error  // the disk's error, which is not the mail's
}

// chosen are the files to read: tables if there are any, else what was attached
// in their place.
func (w *walker) chosen() []file {
	if len(w.tables) > 0 {
		return w.tables
	}
	return w.others
}

var errTooComplex = errors.New("the mail is nested too deeply or has too many parts")

// read reads a message or an attached message.
func (w *walker) read(in io.Reader, depth int) error {
	if depth > maxDepth {
		return errTooComplex
	}
	entity, err := message.ReadWithOptions(in, &message.ReadOptions{MaxHeaderBytes: maxHeader})
	if entity == nil {
		return err
	}
	return w.entity(entity, depth)
}

func (w *walker) entity(e *message.Entity, depth int) error {
	if w.parts++; w.parts > maxParts || depth > maxDepth {
		return errTooComplex
	}
	kind, _, _ := e.Header.ContentType()
	kind = strings.ToLower(kind)
	if kind == "multipart/encrypted" || strings.Contains(kind, "pkcs7-mime") {
		w.encrypted = true
	}
	if parts := e.MultipartReader(); parts != nil {
		return w.multipart(parts, depth)
	}
	if kind == "message/rfc822" {
		return w.read(e.Body, depth+1)
	}
	return w.leaf(e, kind)
}

func (w *walker) multipart(parts message.MultipartReader, depth int) error {
	defer parts.Close()
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if part == nil {
			return err
		}
		if err := w.entity(part, depth+1); err != nil {
			return err
		}
	}
}

// tableTypes are the declared types of tables; the type is a hint only.
var tableTypes = []string{"text/csv", "application/csv", "text/x-csv", "application/x-csv", "text/comma-separated-values", "text/tab-separated-values"}

// documentTypes are attachments that people send in place of a CSV file: they
// are answered, where pictures, signatures and calendars are not.
var documentTypes = []string{"application/pdf", "application/zip", "application/gzip", "application/x-gzip", "application/ms-tnef", "application/vnd.ms-tnef"}

// leaf copies an attachment that may be a file to read.
func (w *walker) leaf(e *message.Entity, kind string) error {
	name := fileName(e.Header)
	disposition, _, _ := e.Header.ContentDisposition()
	attached := name != "" || strings.EqualFold(disposition, "attachment")
	extension := strings.ToLower(filepath.Ext(name))
	table := slices.Contains(tableTypes, kind) || slices.Contains([]string{".csv", ".txt", ".tsv"}, extension) ||
		attached && (kind == "text/plain" || kind == "application/octet-stream" && extension == "")
	document := attached && (slices.Contains(documentTypes, kind) || strings.HasPrefix(kind, "application/vnd.") || kind == "application/octet-stream" || kind == "text/html" || kind == "application/msword")
	if !table && !document || isOwnResults(name) {
		return nil
	}
	f, err := w.copy(e.Body, name)
	if err != nil {
		return err
	}
	if table {
		w.tables = append(w.tables, f)
	} else {
		w.others = append(w.others, f)
	}
	return nil
}

// isOwnResults reports whether a file has the name of a results file of ours.
func isOwnResults(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), ".results.csv")
}

// copy writes an attachment to the spool folder. One that can't be decoded to
// its end is refused, never taken in part.
func (w *walker) copy(body io.Reader, name string) (file, error) {
	f := file{name: name, path: filepath.Join(w.spool, fmt.Sprintf("part-%d", w.parts))}
	if f.name == "" {
		f.name = "upload.csv"
	}
	out, err := os.Create(f.path)
	if err != nil {
		w.disk = err
		return f, err
	}
	defer out.Close()
	copied := &diskWriter{w: out}
	if _, err := io.Copy(copied, body); err != nil {
		if copied.err != nil {
			w.disk = copied.err
			return f, copied.err
		}
		f.refusal = conversion.Refuse(conversion.NotATable, "The attachment %s arrived damaged: its encoding breaks off or holds foreign text. Send it again.", f.name)
	}
	return f, nil
}

// diskWriter tells the disk's errors from the mail's.
type diskWriter struct {
	w   io.Writer
	err error
}

func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.err = err
	return n, err
}

var bareName = regexp.MustCompile(`(?i)(?:file)?name\*?\s*=\s*(?:"([^"]*)"|([^;\r\n]+))`)

// fileName is the name a part gives its file, however badly it is written.
func fileName(h message.Header) string {
	for _, field := range []struct {
		header, parameter string
	}{{"Content-Disposition", "filename"}, {"Content-Type", "name"}} {
		value := h.Get(field.header)
		_, parameters, err := mime.ParseMediaType(value)
		name := parameters[field.parameter]
		if err != nil && name == "" {
			if m := bareName.FindStringSubmatch(value); m != nil {
				name = strings.TrimSpace(m[1] + m[2])
			}
		}
		if name = oneLine(decodeWords(name)); name != "" {
			return name
		}
	}
	return ""
}

// decodeWords decodes =?utf-8?q?…?= wherever it stands; what can't be decoded
// stays.
func decodeWords(text string) string {
	decoder := mime.WordDecoder{CharsetReader: func(string, io.Reader) (io.Reader, error) { return nil, errors.New("unknown charset") }}
	if decoded, err := decoder.DecodeHeader(text); err == nil {
		return decoded
	}
	return text
}

// oneLine removes what would let a text break out of its header line.
func oneLine(text string) string {
	text = strings.ToValidUTF8(text, "")
	return strings.TrimSpace(string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, []byte(text))))
}
