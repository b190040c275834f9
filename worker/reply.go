package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// ReplyAll sends every report that is due. One report's failure delays no other.
func (w *Worker) ReplyAll(ctx context.Context) error {
	reply := batches[conversion.ReportDue]{do: func(due []conversion.ReportDue) error { return w.replyTogether(ctx, due) }}
	return reply.close(w.Store.ReportsDue(ctx, w.now(), func(due conversion.ReportDue) error {
		upload, err := w.Store.Upload(ctx, due.Upload)
		if err != nil {
			return err
		}
		reply.add(due, upload.Size > smallUpload || w.Replier != nil && len(w.recipients(upload)) > 0)
		return ctx.Err()
	}))
}

// replyTogether sends reports. Those that are only put on a shelf are put there first, a
// few at a time, and then marked in one transaction: put there again, they are the same.
func (w *Worker) replyTogether(ctx context.Context, all []conversion.ReportDue) error {
	if len(all) == 1 {
		return w.replied(ctx, all[0], w.reply(ctx, all[0]))
	}
	told := make([]error, len(all))
	var writers errgroup.Group
	writers.SetLimit(reportWriters)
	for i, due := range all {
		writers.Go(func() error {
			told[i] = w.tell(ctx, due)
			return nil
		})
	}
	_ = writers.Wait() // the failures are in told
	var failures []error
	var sent []conversion.ReportDue
	for i, due := range all {
		if told[i] == nil {
			sent = append(sent, due)
		} else {
			failures = append(failures, w.replied(ctx, due, cmp.Or(w.Store.MarkReplying(ctx, due), told[i])))
		}
	}
	mark := func(w *Worker, due conversion.ReportDue) error {
		if err := w.Store.MarkReplying(ctx, due); err != nil {
			return err
		}
		return w.Store.MarkReplied(ctx, due.Upload, due.Revision, w.now())
	}
	if atOnce(ctx, w, sent, mark) != nil { // one of them was sent by another process
		for _, due := range sent {
			failures = append(failures, w.replied(ctx, due, mark(w, due)))
		}
	}
	return errors.Join(failures...)
}

// reportWriters is how many reports are written at a time: most of it is waiting for the
// disk.
const reportWriters = 4

// replied notes why a report could not be sent, if so.
func (w *Worker) replied(ctx context.Context, due conversion.ReportDue, err error) error {
	if err == nil || errors.Is(err, conversion.ErrTaken) || ctx.Err() != nil { // another process sends it, or there is newer news
		return ctx.Err()
	}
	return errors.Join(fmt.Errorf("report on upload %d: %w", due.Upload, err), w.Store.MarkReplyFailed(ctx, due.Upload, due.Revision, err.Error(), w.nextTry(due.Attempts)))
}

// mostAttempts is how often a report is tried: with doubling pauses from one
// minute to six hours, over about five days.
const mostAttempts = 28

// nextTry is when a report is tried again; 0 if it no longer is.
func (w *Worker) nextTry(attempts int) conversion.Millis {
	if attempts+1 >= mostAttempts {
		return 0
	}
	pause := min(time.Minute<<min(attempts, 9), 6*time.Hour)
	return conversion.MillisOf(w.Now().Add(pause))
}

// reply sends one report: to the source's shelf, and by mail.
func (w *Worker) reply(ctx context.Context, due conversion.ReportDue) error {
	if err := w.Store.MarkReplying(ctx, due); err != nil {
		return err
	}
	if err := w.tell(ctx, due); err != nil {
		return err
	}
	return w.Store.MarkReplied(ctx, due.Upload, due.Revision, w.now())
}

// tell puts a report on its source's shelf and mails it.
func (w *Worker) tell(ctx context.Context, due conversion.ReportDue) error {
	upload, err := w.Store.Upload(ctx, due.Upload)
	if err != nil {
		return err
	}
	told, err := w.Told(ctx, upload, due.Revision)
	if err != nil {
		return err
	}
	if shelf := w.shelf(upload.Source); shelf != nil {
		if err := w.shelve(ctx, shelf, told); err != nil {
			return err
		}
	}
	failpoint("reply-before-send")
	if letter := w.letter(told, due.MadeAt); w.Replier != nil && len(letter.To) > 0 {
		if err := w.Replier.Send(ctx, letter); err != nil {
			return err
		}
		w.Log.Info("report sent", "upload", due.Upload, "account", upload.Account, "revision", due.Revision, "recipients", len(letter.To))
	}
	failpoint("reply-after-send")
	return nil
}

// shelve puts a report's files beside their source; of an upload without any, the
// report itself.
func (w *Worker) shelve(ctx context.Context, shelf ingest.Shelf, told *Told) error {
	upload := told.Report.Upload
	stem, err := w.shelfStem(ctx, upload)
	if err != nil {
		return err
	}
	for _, file := range told.Files {
		if err := shelf.PutReport(ctx, stem+strings.TrimPrefix(file.Name, report.Stem(upload.Name)), file.Write); err != nil {
			return err
		}
	}
	ending := report.RefusedEnding
	switch {
	case len(told.Files) > 0:
		return nil
	case upload.Refusal == nil:
		ending = report.CallsEnding
	}
	return shelf.PutReport(ctx, stem+ending, func(to io.Writer) error {
		_, err := io.WriteString(to, told.Text)
		return err
	})
}

// shelfStem names a report's files. From the second upload of a stem on, they
// are named orders-upload-12.results.csv, so that the first one's stay.
func (w *Worker) shelfStem(ctx context.Context, upload *conversion.Upload) (string, error) {
	stem := report.Stem(upload.Name)
	taken := numbered.MatchString(stem)
	if !taken {
		var err error
		if taken, err = w.Store.EarlierOfStem(ctx, upload); err != nil {
			return "", err
		}
	}
	if !taken {
		return stem, nil
	}
	return fmt.Sprintf("%s-upload-%d", stem, upload.ID), nil
}

// numbered is a stem that looks like one that we have numbered.
var numbered = regexp.MustCompile(`(?i)-upload-\d+$`)

func (w *Worker) shelf(source string) ingest.Shelf {
	plan := w.plan(source)
	if plan == nil {
		return nil
	}
	shelf, _ := plan.Source.(ingest.Shelf)
	return shelf
}

// Told is all that is told of an upload: the report and its files.
type Told struct {
	Report     *report.Report
	Text, HTML string
	Files      []report.Attachment
}

// Told builds an upload's report from what is stored. Built again, it is the
// same.
func (w *Worker) Told(ctx context.Context, upload *conversion.Upload, revision int) (*Told, error) {
	told := &Told{Report: &report.Report{Upload: upload, Account: upload.Account, Revision: revision, DryRun: upload.DryRun}}
	account := w.Account(upload.Account)
	if account != nil {
		told.Report.Account, told.Report.Zone = cmp.Or(account.Name, account.ID), account.Zone
	}
	if upload.State == conversion.Decided && upload.Takes == conversion.TakesConversions && account != nil {
		if err := w.attach(ctx, told, account); err != nil {
			return nil, err
		}
	}
	var text, html bytes.Buffer
	if err := errors.Join(report.Text(&text, told.Report), report.HTML(&html, told.Report)); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	told.Text, told.HTML = text.String(), html.String()
	return told, nil
}

// attach adds the problem rows and the files to a report.
func (w *Worker) attach(ctx context.Context, told *Told, account *conversion.Account) error {
	upload := told.Report.Upload
	table, refusal, err := w.survey(ctx, upload, account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	outcomes := w.outcomes(ctx, upload.ID)
	if told.Report.Problems, err = problems(ctx, table, outcomes); err != nil {
		return err
	}
	rows := tableOf{ctx, table}
	stem := report.Stem(upload.Name)
	add := func(ending string, write func(io.Writer) error) {
		told.Files = append(told.Files, report.Attachment{Name: stem + ending, Write: func(to io.Writer) error {
			if _, err := io.WriteString(to, table.Mark()); err != nil {
				return err
			}
			return write(to)
		}})
	}
	add(report.ResultsEnding, func(to io.Writer) error { return report.ResultsCSV(to, rows, outcomes) })
	if upload.Tally.Of(conversion.Rejected) > 0 && upload.Undoes == 0 {
		preamble, err := preambleOf(ctx, table, outcomes)
		if err != nil {
			return err
		}
		add(report.FixEnding, func(to io.Writer) error { return report.FixCSV(to, rows, preamble, outcomes) })
	}
	for _, file := range told.Files {
		told.Report.Files = append(told.Report.Files, file.Name)
	}
	return nil
}

// preambleOf is what a file of the rejected rows must begin with.
func preambleOf(ctx context.Context, table *ingest.Table, outcomes report.Outcomes) (string, error) {
	next, stop := iter.Pull2(outcomes)
	defer stop()
	var failure error
	preamble, err := table.Preamble(ctx, func(int) bool {
		o, err, more := next()
		failure = errors.Join(failure, err)
		return more && err == nil && o.Verdict == conversion.Rejected
	})
	return preamble, errors.Join(err, failure)
}

// outcomes yields an upload's outcomes in order.
func (w *Worker) outcomes(ctx context.Context, upload int64) report.Outcomes {
	return func(yield func(*conversion.Outcome, error) bool) {
		err := w.Store.Outcomes(ctx, upload, 0, func(chunk []conversion.Outcome) (bool, error) {
			for i := range chunk {
				if !yield(&chunk[i], nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// tableOf is an upload as its sender wrote it.
type tableOf struct {
	ctx   context.Context
	table *ingest.Table
}

func (t tableOf) Columns() ([]string, int, rune) {
	return t.table.Header, t.table.Own(), t.table.Comma()
}

func (t tableOf) EachRow(each func(conversion.Row) error) error { return t.table.Rows(t.ctx, each) }

// problems returns the first rows that were rejected or wait, with what was
// sent.
func problems(ctx context.Context, table *ingest.Table, outcomes report.Outcomes) ([]report.Problem, error) {
	var found []report.Problem
	for o, err := range outcomes {
		if err != nil {
			return nil, err
		}
		if o.Verdict == conversion.Rejected || o.Verdict == conversion.Waiting {
			found = append(found, report.Problem{Outcome: *o})
		}
		if len(found) == report.MostProblems {
			break
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	enough := errors.New("enough")
	at := 0
	err := table.Rows(ctx, func(row conversion.Row) error {
		if row.Line == found[at].Line {
			found[at].Sent = report.Sent(table.Header, row.Cells)
			at++
		}
		if at == len(found) {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	return found, nil
}

// letter makes a mail of a report: in the thread of the mail that brought the
// file, with a Message-ID that is the same however often it is sent.
func (w *Worker) letter(told *Told, madeAt conversion.Millis) *report.Letter {
	r := told.Report
	upload := r.Upload
	l := &report.Letter{
		To: w.recipients(upload), Subject: r.Subject(), Text: told.Text, HTML: told.HTML, Attachments: told.Files,
		Date: madeAt.Time(), Upload: upload.ID, Revision: r.Revision,
		MessageID: w.messageID(upload, r.Revision),
	}
	if origin := upload.Mail; origin.MessageID != "" {
		if origin.Subject != "" {
			l.Subject = "Re: " + strings.TrimSpace(strings.TrimPrefix(origin.Subject, "Re:"))
		}
		l.InReplyTo = origin.MessageID
		l.References = append(slices.Clone(origin.References), origin.MessageID)
	}
	if r.Revision > 1 {
		l.References = append(l.References, w.messageID(upload, r.Revision-1))
	}
	return l
}

func (w *Worker) messageID(upload *conversion.Upload, revision int) string {
	return fmt.Sprintf("upload-%d.%d.%x@%s", upload.ID, revision, upload.Digest[:8], cmp.Or(w.MailDomain, "calltally.localhost"))
}

// recipients are the sender, if they may be answered, and whom the account
// wants told.
func (w *Worker) recipients(upload *conversion.Upload) []string {
	var to []string
	if upload.Mail.ReplyTo != "" {
		to = append(to, upload.Mail.ReplyTo)
	}
	account := w.Account(upload.Account)
	if account == nil || upload.Source == CommandLine {
		return to
	}
	for _, address := range account.ReportTo {
		if !slices.ContainsFunc(to, func(other string) bool { return strings.EqualFold(other, address) }) {
			to = append(to, address)
		}
	}
	return to
}

// CommandLine is the source of files named on the command line. Their report is
// printed, not sent.
const CommandLine = "command line"
