package mailbox

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message"
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
	// What is beyond these is read, and not taken before somebody has looked at it.
	usualDepth  = 10
	usualFields = 1000 // of the header
)

// letter is a mail taken apart.
type letter struct {
	head  message.Header
	mail  ingest.Mail
	files []file
	skip  string // why the mail is not read at all; "" if it is
	odd   string // what is suspicious about how it is built; "" if nothing is

	copies []*ingest.Spooled
}

// remove removes what was copied to the disk.
func (l *letter) remove() {
	for _, copy := range l.copies {
		copy.Remove()
	}
}

// file is an attachment on this side.
type file struct {
	name    string
	copy    *ingest.Spooled
	refusal *conversion.Refusal
}

// takeApart reads a mail and copies its attachments. What is wrong with the mail becomes a
// refusal; an error is the disk's. remove what it returns.
func takeApart(in io.ReadSeeker) (*letter, error) {
	w := &walker{}
	m, err := w.takeApart(in)
	if err != nil {
		(&letter{copies: w.copies}).remove()
		return nil, err
	}
	m.copies = w.copies
	return m, nil
}

func (w *walker) takeApart(in io.ReadSeeker) (*letter, error) {
	head, err := textproto.ReadHeader(bufio.NewReader(io.LimitReader(in, maxHeader)))
	m := &letter{head: headerOf(head), mail: readMail(headerOf(head))}
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
	switch {
	case head.Len() > usualFields:
		m.odd = fmt.Sprintf("its header has %d fields", head.Len())
	case w.deepest > usualDepth:
		m.odd = fmt.Sprintf("its parts are nested %d deep", w.deepest)
	}
	m.files, m.mail.Unread = w.chosen()
	switch {
	case len(m.files) == 0 || w.encrypted && len(w.tables) == 0:
		return m, w.refuse(m, in, noFile(err, w))
	case err != nil && !slices.ContainsFunc(m.files, func(f file) bool { return f.refusal != nil }):
		// What lies behind the damage is not lost without a word.
		files := m.files
		err = w.refuse(m, in, conversion.Refuse(conversion.NotATable, "The mail is damaged, and files behind the damage can't be read. Send again what is missing from this report."))
		m.files = append(files, m.files...)
		return m, err
	}
	return m, nil
}

// refuse has the whole mail be refused in place of a file.
func (w *walker) refuse(m *letter, in io.ReadSeeker, why *conversion.Refusal) error {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	copy, disk, err := ingest.Spool(in)
	w.copies = append(w.copies, copy)
	m.files = []file{{name: "mail.eml", copy: copy, refusal: why}}
	return errors.Join(disk, err)
}

// asItIs is a mail that is refused as it is; nothing is read of it, and so nobody is answered.
func asItIs(in io.ReadSeeker, why *conversion.Refusal) (*letter, error) {
	w, m := &walker{}, &letter{}
	err := w.refuse(m, in, why)
	m.copies = w.copies
	return m, err
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
	return conversion.Refuse(conversion.NoAttachment, "The mail has no attached file%s", w.hints.cure())
}

// walker walks over a mail's parts.
type walker struct {
	copies    []*ingest.Spooled
	parts     int
	deepest   int
	encrypted bool
	hints     hints
	tables    []file // attachments that look like tables
	reports   []file // those with the name of a results file of ours
	others    []file // attachments of other kinds
	disk      error  // the disk's error, which is not the mail's
}

// chosen are the files to read: tables if there are any, else what was attached
// in their place; and the names of those left out.
func (w *walker) chosen() (files []file, left []string) {
	for _, group := range [][]file{w.tables, w.reports, w.others} {
		if len(files) == 0 {
			files = group
			continue
		}
		for _, f := range group {
			left = append(left, f.name)
		}
	}
	return files, left
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
	return w.entity(entity, depth, err)
}

func (w *walker) entity(e *message.Entity, depth int, encoding error) error {
	if w.parts++; w.parts > maxParts || depth > maxDepth {
		return errTooComplex
	}
	w.deepest = max(w.deepest, depth)
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
	return w.leaf(e, kind, encoding)
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
		if err := w.entity(part, depth+1, err); err != nil {
			return err
		}
	}
}

// tableTypes are the declared types of tables; the type is a hint only.
var tableTypes = []string{"text/csv", "application/csv", "text/x-csv", "application/x-csv", "text/comma-separated-values", "text/tab-separated-values"}

// tableExtensions are the extensions of tables, of spreadsheets and of what they
// are packed in: none of these stays unanswered beside a CSV file.
var tableExtensions = []string{".csv", ".txt", ".tsv", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".zip", ".gz", ".7z", ".rar"}

// exchangeText is what Exchange calls the text that follows an attachment.
var exchangeText = regexp.MustCompile(`^ATT\d{5}\.txt$`)

// ornaments are the beginnings of types that come with mail as a matter of
// course. Any other attachment is answered, even if it can't be read.
var ornaments = []string{"image/", "audio/", "video/", "text/calendar", "text/x-vcard", "text/vcard", "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature", "application/ics", "application/applefile"}

// leaf copies an attachment that may be a file to read. encoding is the trouble
// with its transfer encoding, if there was any.
func (w *walker) leaf(e *message.Entity, kind string, encoding error) error {
	name := fileName(e.Header)
	disposition, _, _ := e.Header.ContentDisposition()
	attached := name != "" || strings.EqualFold(disposition, "attachment")
	extension := strings.ToLower(filepath.Ext(name))
	table := !exchangeText.MatchString(name) && (slices.Contains(tableTypes, kind) || slices.Contains(tableExtensions, extension) ||
		attached && kind == "text/plain" || (attached || !w.encrypted) && kind == "application/octet-stream" && extension == "") && kind != "application/applefile"
	ornament := slices.ContainsFunc(ornaments, func(start string) bool { return strings.HasPrefix(kind, start) }) || slices.Contains([]string{".vcf", ".ics", ".p7s", ".asc"}, extension) && !w.encrypted
	if !attached && strings.HasPrefix(kind, "text/") && !table {
		w.hints.look(e.Body)
		return nil
	}
	if !table && (!attached || ornament) {
		return nil
	}
	body, refusal := decoded(e, encoding)
	f, err := w.copy(body, name)
	if err != nil {
		return err
	}
	if refusal != nil {
		f.refusal = refusal
	}
	if isTNEF(kind, name) {
		f.refusal = conversion.Refuse(conversion.NotATable, "The mail came in Outlook's own format, which hides what is attached in %s. In Outlook, choose HTML or plain text as the mail's format, and send it again.", f.name)
	}
	switch {
	case isOwnResults(name):
		w.reports = append(w.reports, f)
	case table:
		w.tables = append(w.tables, f)
	default:
		w.others = append(w.others, f)
	}
	return nil
}

// isTNEF reports whether a part is what Outlook packs its attachments in for other Outlooks.
func isTNEF(kind, name string) bool {
	return kind == "application/ms-tnef" || kind == "application/vnd.ms-tnef" || strings.EqualFold(name, "winmail.dat")
}

// decoded returns a part's content where the mail library could not tell the
// transfer encoding: one with a comment is read without it.
func decoded(e *message.Entity, encoding error) (io.Reader, *conversion.Refusal) {
	if encoding == nil || !message.IsUnknownEncoding(encoding) {
		return e.Body, nil
	}
	name, _, _ := strings.Cut(strings.ToLower(e.Header.Get("Content-Transfer-Encoding")), "(")
	switch name = strings.TrimSpace(name); name {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, e.Body), nil
	case "quoted-printable":
		return quotedprintable.NewReader(e.Body), nil
	case "7bit", "8bit", "binary", "":
		return e.Body, nil
	}
	return e.Body, conversion.Refuse(conversion.NotATable, "The attachment is encoded as %q, which can't be read. Send it again as base64, as every mail program does.", conversion.Clip(name, 40))
}

// isOwnResults reports whether a file has the name of a results file of ours.
func isOwnResults(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), ".results.csv")
}

// copy copies an attachment. One that can't be decoded to its end is refused, never taken
// in part.
func (w *walker) copy(body io.Reader, name string) (file, error) {
	f := file{name: cmp.Or(name, "upload.csv")}
	var err error
	f.copy, w.disk, err = ingest.Spool(body)
	w.copies = append(w.copies, f.copy)
	if w.disk != nil {
		return f, w.disk
	}
	if err != nil {
		f.refusal = conversion.Refuse(conversion.NotATable, "The attachment %s arrived damaged: its encoding breaks off or holds foreign text. Send it again.", f.name)
	}
	return f, nil
}
