package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	reply := batches[conversion.ReportDue]{
		alone: func(due conversion.ReportDue) error { return w.replied(ctx, due, w.reply(ctx, due)) },
		together: func(all []conversion.ReportDue) (done bool, err error) {
			err = w.shelveAll(ctx, all)
			return !errors.Is(err, conversion.ErrTaken), err // another process sends one of them
		},
	}
	return reply.close(w.Store.ReportsDue(ctx, w.now(), func(due conversion.ReportDue) error {
		upload, err := w.Store.Upload(ctx, due.Upload)
		if err != nil {
			return err
		}
		reply.add(due, upload.Size > ingest.SmallFile || w.Replier != nil && len(w.recipients(upload)) > 0)
		return ctx.Err()
	}))
}

// shelveAll puts reports that nobody is mailed on their shelves, a few at a time. They are
// marked in one transaction before that, so that what comes meanwhile is news, and in one
// after it.
func (w *Worker) shelveAll(ctx context.Context, all []conversion.ReportDue) error {
	err := atOnce(ctx, w, all, func(w *Worker, due conversion.ReportDue) error { return w.Store.MarkReplying(ctx, due) })
	if err != nil {
		return err
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
			failures = append(failures, w.replied(ctx, due, told[i]))
		}
	}
	return errors.Join(append(failures, atOnce(ctx, w, sent, func(w *Worker, due conversion.ReportDue) error {
		return w.Store.MarkReplied(ctx, due.Upload, due.Revision, w.now())
	}))...)
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
	shelf, stem := w.shelf(upload.Source), ""
	if shelf != nil {
		if stem, err = w.shelfStem(ctx, upload); err == nil {
			err = shelve(ctx, shelf, stem, told)
		}
		if err != nil {
			return err
		}
	}
	failpoint("reply-before-send")
	if to := w.recipients(upload); w.Replier != nil && len(to) > 0 {
		limits := w.Mail.orDefault()
		err := w.mail(ctx, told, to, due.MadeAt, stem, limits)
		if errors.Is(err, report.ErrTooLarge) {
			limits.Most = 0 // nothing is attached: the relay takes less than most do
			err = w.mail(ctx, told, to, due.MadeAt, stem, limits)
		}
		if err != nil {
			return err
		}
		w.Log.Info("report sent", "upload", due.Upload, "account", upload.Account, "revision", due.Revision, "recipients", len(to))
	}
	failpoint("reply-after-send")
	return nil
}

// mail mails a report. stem is what its files on its source's shelf are named by; "" if it
// has none.
func (w *Worker) mail(ctx context.Context, told *Told, to []string, madeAt conversion.Millis, stem string, limits MailLimits) error {
	shelved := func(file report.Attachment) string {
		if stem == "" {
			return ""
		}
		return "results/" + shelvedName(stem, told, file)
	}
	parcel, err := w.parcel(ctx, told, shelved, limits)
	if err != nil {
		return err
	}
	letter, err := w.letter(told, to, madeAt, parcel)
	if err == nil {
		err = w.Replier.Send(ctx, letter)
	}
	return errors.Join(err, parcel.Close())
}

// shelve puts a report's files beside their source; of an upload without any, the
// report itself.
func shelve(ctx context.Context, shelf ingest.Shelf, stem string, told *Told) error {
	upload := told.Report.Upload
	for _, file := range told.Files {
		if err := shelf.PutReport(ctx, shelvedName(stem, told, file), file.Write); err != nil {
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
	return shelf.PutReport(ctx, stem+ending, func(to io.Writer) error { return report.Text(to, told.Report) })
}

func shelvedName(stem string, told *Told, file report.Attachment) string {
	return stem + strings.TrimPrefix(file.Name, report.Stem(told.Report.Upload.Name))
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

// letter makes a mail of a report: in the thread of the mail that brought the
// file, with a Message-ID that is the same however often it is sent.
func (w *Worker) letter(told *Told, to []string, madeAt conversion.Millis, parcel *parcel) (*report.Letter, error) {
	r := *told.Report
	r.Files, r.Left = nil, parcel.left
	for _, file := range parcel.attached {
		r.Files = append(r.Files, file.Name)
	}
	var text, html bytes.Buffer
	if err := errors.Join(report.Text(&text, &r), report.HTML(&html, &r)); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	upload := r.Upload
	l := &report.Letter{
		To: to, Subject: r.Subject(), Text: text.String(), HTML: html.String(), Attachments: parcel.attached,
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
	return l, nil
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
