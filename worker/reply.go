package worker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
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

// ReplyAll sends every report that is due, unless another process sends reports just now: it will
// send these as well, or we do when it has ended. One report's failure delays no other.
func (w *Worker) ReplyAll(ctx context.Context) error {
	var mailed mailbag
	var small, large []conversion.ReportDue // nobody is mailed these
	err := w.Store.ReportsDue(ctx, w.now(), func(due conversion.ReportDue) error {
		upload, err := w.Store.Upload(ctx, due.Upload)
		switch {
		case err != nil:
			return err
		case w.mailed(upload):
			lack, err := w.lacking(ctx, w.recipients(upload), due)
			if err != nil {
				return err
			}
			mailed.add(upload, lack, due)
		case upload.Size > ingest.SmallFile:
			large = append(large, due)
		default:
			small = append(small, due)
		}
		return ctx.Err()
	})
	if err != nil || len(mailed)+len(small)+len(large) == 0 {
		return err
	}
	alone, err := w.Store.Alone("replies", func() error {
		reply := batches[conversion.ReportDue]{
			alone: func(due conversion.ReportDue) error { return w.replied(ctx, w.reply(ctx, envelope{}, due), due) },
			together: func(all []conversion.ReportDue) (done bool, err error) {
				err = w.shelveAll(ctx, all)
				return !errors.Is(err, conversion.ErrTaken), err // another process has sent one of them
			},
		}
		for _, due := range small {
			reply.add(due, false)
		}
		for _, due := range large {
			reply.add(due, true)
		}
		return errors.Join(reply.close(nil), w.mailAll(ctx, mailed))
	})
	if err == nil && !alone {
		w.Log.Info("reports wait: another process is sending some")
	}
	return err
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
			told[i] = sheltered(func() error { return w.tell(ctx, envelope{}, due) })
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
			failures = append(failures, w.replied(ctx, told[i], due))
		}
	}
	return errors.Join(append(failures, atOnce(ctx, w, sent, func(w *Worker, due conversion.ReportDue) error {
		return w.Store.MarkReplied(ctx, due.Upload, due.Revision, w.now())
	}))...)
}

// reportWriters is how many reports are written at a time: most of it is waiting for the
// disk.
const reportWriters = 4

// replied notes why reports could not be sent, if so.
func (w *Worker) replied(ctx context.Context, err error, together ...conversion.ReportDue) error {
	if err == nil || errors.Is(err, conversion.ErrTaken) || ctx.Err() != nil { // another process sends it, or there is newer news
		return ctx.Err()
	}
	failures := []error{fmt.Errorf("report on upload %d: %w", together[0].Upload, err)}
	for _, due := range together {
		next, givenUp := w.nextTry(due)
		if givenUp = givenUp || errors.Is(err, report.ErrRefused); givenUp {
			next = w.now()
		}
		failures = append(failures, w.Store.MarkReplyFailed(ctx, due.Upload, due.Revision, err.Error(), next, givenUp))
	}
	return errors.Join(failures...)
}

// How long a report is tried, and how often at the least: we may have been off for days.
const (
	triedFor    = 5 * 24 * time.Hour
	leastTries  = 10
	mostBetween = 6 * time.Hour
)

// nextTry is when a report is tried again, unless it is given up: with pauses that double from
// one minute on. They go by the time, since attempts that a crash has ended count, too.
func (w *Worker) nextTry(due conversion.ReportDue) (at conversion.Millis, givenUp bool) {
	now := w.Now()
	since := now.Sub(due.MadeAt.Time())
	return conversion.MillisOf(now.Add(min(max(since, 0)+time.Minute, mostBetween))), since >= triedFor && due.Attempts+1 >= leastTries
}

// reply sends reports that are told together: each to its source's shelf, and all by one
// mail.
func (w *Worker) reply(ctx context.Context, to envelope, together ...conversion.ReportDue) error {
	all := func(mark func(*Worker, conversion.ReportDue) error) error {
		if len(together) == 1 {
			return mark(w, together[0])
		}
		return atOnce(ctx, w, together, mark)
	}
	err := all(func(w *Worker, due conversion.ReportDue) error { return w.Store.MarkReplying(ctx, due) })
	if err != nil {
		return err
	}
	if err := sheltered(func() error { return w.tell(ctx, to, together...) }); err != nil {
		return err
	}
	if to.more {
		return w.putOff(ctx, together)
	}
	return all(func(w *Worker, due conversion.ReportDue) error {
		return w.Store.MarkReplied(ctx, due.Upload, due.Revision, w.now())
	})
}

// tell puts reports on their sources' shelves and mails them.
func (w *Worker) tell(ctx context.Context, to envelope, together ...conversion.ReportDue) error {
	var all []*Told
	for _, due := range together {
		upload, err := w.Store.Upload(ctx, due.Upload)
		if err != nil {
			return err
		}
		told, err := w.Told(ctx, upload, due.Revision)
		if err == nil {
			err = w.shelve(ctx, told)
		}
		if err != nil {
			return err
		}
		all = append(all, told)
	}
	failpoint("reply-before-send")
	if w.mailed(all[0].Report.Upload) {
		if err := w.post(ctx, all, to, together); err != nil {
			return err
		}
	}
	failpoint("reply-noted")
	return nil
}

// mail mails reports to some of those whom they are for.
func (w *Worker) mail(ctx context.Context, all []*Told, envelope []string, madeAt conversion.Millis, limits MailLimits) (posted []report.Posted, err error) {
	names := report.Names{}
	for _, told := range all {
		told.TellApart(names)
	}
	var parcels []*parcel
	defer func() {
		for _, p := range parcels {
			err = errors.Join(err, p.Close())
		}
	}()
	left := limits.Most
	for _, told := range all {
		p, err := w.parcel(ctx, told, limits.Gzip, &left)
		if err != nil {
			return nil, err
		}
		parcels = append(parcels, p)
	}
	letter, err := w.letter(all, w.recipients(all[0].Report.Upload), madeAt, parcels)
	if err != nil {
		return nil, err
	}
	letter.Envelope = envelope
	return w.Replier.Send(ctx, letter)
}

// shelve puts a report's files beside their source, if that has a shelf; of an upload
// without any, the report itself.
func (w *Worker) shelve(ctx context.Context, told *Told) (err error) {
	upload := told.Report.Upload
	shelf := w.shelf(upload.Source)
	if shelf == nil {
		return nil
	}
	if told.shelved, err = w.shelfStem(ctx, upload); err != nil {
		return err
	}
	for _, file := range told.Files {
		err := shelf.PutReport(ctx, told.shelvedName(file), file.Write)
		if errors.Is(err, ingest.ErrNoShelf) {
			told.shelved = ""
			return nil
		}
		if err != nil {
			return err
		}
	}
	ending := report.RefusedEnding
	switch {
	case len(told.Files) > 0:
		return nil
	case upload.Hold != nil:
		ending = report.HeldEnding
	case upload.Refusal == nil:
		ending = report.CallsEnding
	}
	err = shelf.PutReport(ctx, told.shelved+ending, func(to io.Writer) error { return report.Text(to, told.Report) })
	if errors.Is(err, ingest.ErrNoShelf) {
		return nil
	}
	return err
}

func (t *Told) shelvedName(file report.Attachment) string {
	return t.shelved + strings.TrimPrefix(file.Name, report.Stem(t.Report.Upload.Name))
}

// onShelf is where a file is on the shelf; "" if it is on none.
func (t *Told) onShelf(file report.Attachment) string {
	if t.shelved == "" {
		return ""
	}
	return "results/" + t.shelvedName(file)
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
	return report.NumberedStem(upload.Name, upload.ID), nil
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

// letter makes a mail of reports: in the thread of the mail that brought their files, with
// a Message-ID that is the same however often it is sent.
func (w *Worker) letter(all []*Told, to []string, madeAt conversion.Millis, parcels []*parcel) (*report.Letter, error) {
	var attached []report.Attachment
	var reports []*report.Report
	for i, told := range all {
		r := *told.Report
		r.Files, r.Left = nil, parcels[i].left
		for _, file := range parcels[i].attached {
			r.Files = append(r.Files, file.Name)
		}
		reports, attached = append(reports, &r), append(attached, parcels[i].attached...)
	}
	var text, html bytes.Buffer
	if err := errors.Join(report.Text(&text, reports...), report.HTML(&html, reports...)); err != nil {
		return nil, fmt.Errorf("render report: %w", err)
	}
	lead := reports[0]
	upload := lead.Upload
	l := &report.Letter{
		To: to, Subject: report.Subject(reports...), Text: text.String(), HTML: html.String(), Attachments: attached,
		Date: madeAt.Time(), Upload: upload.ID, Revision: lead.Revision,
		MessageID: w.messageID(all),
	}
	oneMail := !slices.ContainsFunc(reports, func(r *report.Report) bool { return r.Upload.Mail.MessageID != upload.Mail.MessageID })
	if origin := upload.Mail; origin.MessageID != "" && oneMail {
		if origin.Subject != "" {
			l.Subject = "Re: " + strings.TrimSpace(strings.TrimPrefix(origin.Subject, "Re:"))
		}
		l.InReplyTo = origin.MessageID
		l.References = append(slices.Clone(origin.References), origin.MessageID)
	}
	if len(all) > 1 { // what follow-ups on one of them refer to
		l.References = append(l.References, w.messageIDOf(upload, lead.Revision, upload.Digest))
	}
	if lead.Revision > 1 {
		l.References = append(l.References, w.messageIDOf(upload, lead.Revision-1, upload.Digest))
	}
	return l, nil
}

// messageID is of a mail of reports: another one if any of them is another one, since servers
// throw away what they take for the same mail.
func (w *Worker) messageID(all []*Told) string {
	lead := all[0].Report
	digest := lead.Upload.Digest
	if len(all) > 1 {
		sum := sha256.New()
		for _, told := range all {
			fmt.Fprintf(sum, "%d.%d.%x\n", told.Report.Upload.ID, told.Report.Revision, told.Report.Upload.Digest)
		}
		sum.Sum(digest[:0])
	}
	return w.messageIDOf(lead.Upload, lead.Revision, digest)
}

func (w *Worker) messageIDOf(upload *conversion.Upload, revision int, digest [sha256.Size]byte) string {
	return fmt.Sprintf("upload-%d.%d.%x@%s", upload.ID, revision, digest[:8], cmp.Or(w.MailDomain, "calltally.localhost"))
}

// mailed reports whether there is somebody to whom the reports on an upload are mailed.
func (w *Worker) mailed(upload *conversion.Upload) bool {
	return w.Replier != nil && len(w.recipients(upload)) > 0
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
