package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"calltally/conversion"
	"calltally/report"
)

// mailbag are the reports that are to be mailed, by account and first recipient.
type mailbag []*round

type round struct {
	account, recipient string
	bundles            []*bundle
}

// add adds a report to those that go to a recipient.
func (all *mailbag) add(upload *conversion.Upload, recipient string, due conversion.ReportDue) {
	at := slices.IndexFunc(*all, func(r *round) bool { return r.account == upload.Account && r.recipient == recipient })
	if at < 0 {
		at = len(*all)
		*all = append(*all, &round{account: upload.Account, recipient: recipient})
	}
	r := (*all)[at]
	if upload.Bundle != "" {
		for _, b := range r.bundles {
			if b.source == upload.Source && b.name == upload.Bundle {
				b.due = append(b.due, due)
				return
			}
		}
	}
	r.bundles = append(r.bundles, &bundle{upload.Source, upload.Bundle, []conversion.ReportDue{due}})
}

// mailAll mails what is in a mailbag. Where a recipient would have more letters in an hour
// than they should, all there is goes by one.
func (w *Worker) mailAll(ctx context.Context, all mailbag) error {
	var failures []error
	for _, r := range all {
		failures = append(failures, w.mailRound(ctx, r))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// mostTogether is how many reports one letter tells at most.
const mostTogether = 200

func (w *Worker) mailRound(ctx context.Context, r *round) error {
	var failures []error
	var ended []*bundle
	for _, b := range r.bundles {
		all, err := w.ended(ctx, b)
		if all {
			ended = append(ended, b)
		}
		failures = append(failures, err)
	}
	room, err := w.room(ctx, r, len(ended))
	switch {
	case err != nil:
		return errors.Join(append(failures, err)...)
	case room >= len(ended):
		for _, b := range ended {
			failures = append(failures, w.replied(ctx, w.reply(ctx, b.due...), b.due...))
			if ctx.Err() != nil {
				break
			}
		}
		return errors.Join(failures...)
	}
	var together []conversion.ReportDue
	for _, b := range ended {
		together = append(together, b.due...)
	}
	if room > 0 {
		now := together[:min(mostTogether, len(together))]
		w.Log.Info("reports told together", "account", r.account, "reports", len(now))
		failures = append(failures, w.replied(ctx, w.reply(ctx, now...), now...))
		together = together[len(now):]
	}
	return errors.Join(append(failures, w.Store.PutOff(ctx, together, conversion.MillisOf(w.Now().Add(putOff))))...)
}

// putOff is how long reports wait before it is looked whether their recipient may have another
// letter.
const putOff = 10 * time.Minute

// room is how many letters a recipient may have by now, of those that are wanted.
func (w *Worker) room(ctx context.Context, r *round, wanted int) (int, error) {
	if w.LettersAnHour <= 0 || wanted == 0 {
		return wanted, nil
	}
	sent, err := w.Store.LettersTo(ctx, r.account, r.recipient, conversion.MillisOf(w.Now().Add(-time.Hour)))
	return w.LettersAnHour - sent, err
}

// post mails reports to those who don't have them yet, and notes who has them by then. One
// whom the relay puts off is tried again alone; reports that it takes for nobody are given up.
func (w *Worker) post(ctx context.Context, all []*Told, to []string, together []conversion.ReportDue) error {
	left, has, err := w.left(ctx, to, together[0])
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return orRefused(nil, has)
	}
	limits := w.Mail.orDefault()
	posted, err := w.mail(ctx, all, to, left, together[0].MadeAt, limits)
	if errors.Is(err, report.ErrTooLarge) {
		limits.Most = 0 // nothing is attached: the relay takes less than most do
		posted, err = w.mail(ctx, all, to, left, together[0].MadeAt, limits)
	}
	if err != nil {
		return err
	}
	failpoint("reply-after-send")
	letter, at := w.messageID(all), w.now()
	var putOff, refused []error
	var postings []conversion.Posting
	for _, p := range posted {
		said, why := "", fmt.Errorf("recipient %s: %w", p.To, p.Refusal)
		switch {
		case p.Later:
			putOff = append(putOff, why)
			continue
		case p.Refusal == nil:
			has = true
		default:
			said, refused = p.Refusal.Error(), append(refused, why)
		}
		for _, due := range together {
			postings = append(postings, conversion.Posting{Upload: due.Upload, Revision: due.Revision, Recipient: p.To, Refusal: said, Letter: letter, At: at})
		}
	}
	if err := w.Store.Post(ctx, postings); err != nil {
		return err
	}
	for _, due := range together {
		log := w.Log.With("upload", due.Upload, "account", all[0].Report.Upload.Account, "revision", due.Revision)
		if sent := len(posted) - len(putOff) - len(refused); sent > 0 {
			log.Info("report sent", "recipients", sent)
		}
		for _, why := range refused {
			log.Warn("report not sent to everyone", "error", why)
		}
	}
	if len(putOff) > 0 {
		return errors.Join(putOff...)
	}
	return orRefused(errors.Join(refused...), has)
}

// left are those who don't have a report and may get it yet; has says whether somebody has it.
func (w *Worker) left(ctx context.Context, to []string, due conversion.ReportDue) (left []string, has bool, err error) {
	noted, err := w.Store.Postings(ctx, due.Upload)
	left = slices.Clone(to)
	for _, p := range noted {
		if p.Revision == due.Revision {
			left = slices.DeleteFunc(left, func(address string) bool { return address == p.Recipient })
			has = has || p.Refusal == ""
		}
	}
	return left, has, err
}

// orRefused is no error if somebody has a report.
func orRefused(why error, has bool) error {
	if has {
		return nil
	}
	return fmt.Errorf("%w: %w", report.ErrRefused, cmp.Or(why, errors.New("it was refused for each recipient before")))
}
