// Package report turns outcomes into what people read: text, HTML and CSV. It
// is pure: the same outcomes give the same bytes.
package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"calltally/conversion"
)

// MostProblems is how many rows a report lists; the results file has them all.
const MostProblems = 20

// Report is what is told of one upload.
type Report struct {
	Upload   *conversion.Upload
	Account  string         // the account's name
	Zone     *time.Location // in which times are shown
	Revision int            // 1 for the first report of an upload; more for follow-ups
	Problems []Problem      // the first rejected and waiting rows, in file order
	// DryRun says that nothing was changed.
	DryRun bool
	// UndoneBy is the upload that has taken this one back since, and ReplayedAs are those as
	// which it was decided again; none in what is sent, which stays as it was.
	UndoneBy   *conversion.Upload
	ReplayedAs []int64
	// Files are the names of the files that go with it: attached, or written to
	// FilesIn.
	Files   []string
	FilesIn string
	// Left are the files that are too large to attach.
	Left []Left
}

// Left is a file that was left on disk.
type Left struct {
	Name  string
	Size  int64  // bytes
	Where string // its name there, with the folder's
}

// SizeName is the file's size as people write it.
func (l Left) SizeName() string { return conversion.SizeName(l.Size) }

// Problem is a row that was rejected or waits, with what was sent.
type Problem struct {
	conversion.Outcome
	Sent string
}

// Letter is a report as a mail.
type Letter struct {
	To []string
	// Envelope are those whom it is sent to; nil for all of To.
	Envelope    []string
	Subject     string
	MessageID   string // without angle brackets
	InReplyTo   string
	References  []string
	Date        time.Time
	Text, HTML  string
	Attachments []Attachment
	Upload      int64 // 0 for a digest
	Revision    int
}

// Size is about how many bytes the letter has as a mail, its small files left out.
func (l *Letter) Size() int64 {
	size := int64(len(l.Text)+len(l.HTML)) * 3 / 2
	for i := range l.Attachments {
		size += l.Attachments[i].MailSize() * 78 / 76 // lines of 76 characters
	}
	return size
}

// Attachment is a file of a letter.
type Attachment struct {
	Name  string
	Size  int64 // bytes; 0 if it is small
	Write func(io.Writer) error
}

// MailSize is how many bytes the file has in a mail: four for every three.
func (a *Attachment) MailSize() int64 { return a.Size / 3 * 4 }

// Posted is what became of a letter for one of its recipients.
type Posted struct {
	To string
	// Refusal is what the relay said against the recipient; nil if it took the letter. Later
	// says that it may take it later.
	Refusal error
	Later   bool
}

// ErrRefused says that a relay takes a letter for nobody, however often it is sent.
var ErrRefused = errors.New("the relay refuses the mail")

// ErrTooLarge says that a relay doesn't take as large a mail.
var ErrTooLarge = errors.New("the mail is larger than the relay takes")

// Subject is the subject of a mail with reports.
func Subject(reports ...*Report) string {
	names := make([]string, len(reports))
	for i, r := range reports {
		names[i] = r.Upload.Name
	}
	return page{reports}.Headline() + " – " + conversion.Clip(strings.Join(names, ", "), 60)
}

// headline says in a few words how it went, and what has become of that.
func (r *Report) headline() string {
	switch {
	case r.UndoneBy == nil:
		return r.outcome()
	case r.UndoneBy.Tally.Of(conversion.Rejected) > 0:
		return fmt.Sprintf("%s; undone in part by upload %d", r.outcome(), r.UndoneBy.ID)
	}
	return fmt.Sprintf("%s; undone by upload %d", r.outcome(), r.UndoneBy.ID)
}

func (r *Report) outcome() string {
	u := r.Upload
	switch {
	case u.Refusal != nil:
		return "File not taken"
	case u.Hold != nil:
		return "File held"
	case u.State == conversion.Received || u.State == conversion.Deciding && u.Tally.Rows == 0:
		return "Not decided yet"
	case u.State == conversion.Deciding:
		return "Decided so far: " + u.Tally.String()
	case u.Undoes != 0:
		return r.undone()
	case r.DryRun:
		return "Dry run: " + u.Tally.String()
	case u.Replays != 0:
		return "Decided again: " + u.Tally.String()
	case r.Revision > 1:
		return "Update: " + u.Tally.String()
	case u.Tally.Rows == 0:
		return "No rows"
	}
	return u.Tally.String()
}

// undone says in a few words what was taken back.
func (r *Report) undone() string {
	text := fmt.Sprintf("%s of upload %d taken back", conversion.Count(r.Upload.Tally.Of(conversion.Updated), "row"), r.Upload.Undoes)
	if n := r.Upload.Tally.Of(conversion.Rejected); n > 0 {
		text += fmt.Sprintf(", %d not", n)
	}
	if r.DryRun {
		return "Dry run: " + text
	}
	return "Undone: " + text
}

// problems is how many rows were rejected or wait.
func (r *Report) problems() int {
	return r.Upload.Tally.Of(conversion.Rejected) + r.Upload.Tally.Of(conversion.Waiting)
}

// Sent shows a row as it was sent: its filled cells with their columns.
func Sent(header, cells []string) string {
	const most = 240
	var b strings.Builder
	for i, cell := range cells {
		cell = conversion.OneLine(strings.Join(strings.Fields(cell), " "))
		if cell == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		if i < len(header) && header[i] != "" {
			b.WriteString(strings.TrimSpace(header[i]) + "=")
		}
		b.WriteString(cell)
		if b.Len() > 4*most {
			break
		}
	}
	return conversion.Clip(b.String(), most)
}

// The endings of an upload's report files; its stem comes before them.
const (
	ResultsEnding = ".results.csv"
	FixEnding     = ".fix.csv"
	RefusedEnding = ".refused.txt"
	HeldEnding    = ".held.txt"
	// CallsEnding is of what is told of a call log, which has no results file.
	CallsEnding = ".report.txt"
)

// IsFix reports whether a file has the name of a fix file.
func IsFix(upload string) bool {
	lower := strings.ToLower(upload)
	for _, extension := range []string{".csv", ".txt", ".tsv"} {
		lower = strings.TrimSuffix(lower, extension)
	}
	return strings.HasSuffix(lower, ".fix")
}

// Stem is what an upload's report files are named by: its name without what says
// that it is a table, or that it answers an earlier report.
func Stem(upload string) string {
	for _, extension := range []string{".gz", ".csv", ".txt", ".tsv", ".xlsx", ".xlsm", ".json", ".jsonl", ".fix"} {
		if len(upload) > len(extension) && strings.EqualFold(upload[len(upload)-len(extension):], extension) {
			upload = upload[:len(upload)-len(extension)]
		}
	}
	return upload
}

// NumberedStem is what an upload's report files are named by where others have the names that
// they would have.
func NumberedStem(upload string, id int64) string {
	return fmt.Sprintf("%s-upload-%d", Stem(upload), id)
}

// Names are the names of report files that lie in one place.
type Names map[string]bool

// Take returns what to name a file that tells of an upload: as it is named, or by the upload's
// number if another one has that name.
func (n Names) Take(name, upload string, id int64) string {
	if n[strings.ToLower(name)] {
		name = NumberedStem(upload, id) + strings.TrimPrefix(name, Stem(upload))
	}
	n[strings.ToLower(name)] = true
	return name
}
