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

// mailbag are the reports that are to be mailed, by account and those who lack them.
type mailbag []*round

type round struct {
	account string
	lacking
	bundles []*bundle
}

// lacking are those who don't have a report yet and may get it. (Who was refused it for good
// doesn't.)
type lacking struct {
	left []string
	has  bool // somebody has it
}

func (l lacking) equal(other lacking) bool {
	return l.has == other.has && slices.Equal(l.left, other.left)
}

// add adds a report to those that go to the same people.
func (all *mailbag) add(upload *conversion.Upload, lack lacking, due conversion.ReportDue) {
	at := slices.IndexFunc(*all, func(r *round) bool { return r.account == upload.Account && r.lacking.equal(lack) })
	if at < 0 {
		at = len(*all)
		*all = append(*all, &round{account: upload.Account, lacking: lack})
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

// mailAll mails what is in a mailbag.
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

// mailRound mails reports that the same people lack. Who would have more letters in an hour than
// they should gets all there is by one, or later.
func (w *Worker) mailRound(ctx context.Context, r *round) error {
	var failures []error
	var ended []*bundle
	var together []conversion.ReportDue
	for _, b := range r.bundles {
		all, err := w.ended(ctx, b)
		if all {
			ended, together = append(ended, b), append(together, b.due...)
		}
		failures = append(failures, err)
	}
	if len(ended) == 0 {
		return errors.Join(failures...)
	}
	each, one, err := w.room(ctx, r, len(ended))
	switch {
	case err != nil:
		return errors.Join(append(failures, err)...)
	case len(each) > 0 || len(r.left) == 0:
		for _, b := range ended {
			failures = append(failures, w.replied(ctx, w.reply(ctx, r.to(each), b.due...), b.due...))
			if ctx.Err() != nil {
				break
			}
		}
		return errors.Join(failures...)
	case len(one) > 0:
		now := together[:min(mostTogether, len(together))]
		w.Log.Info("reports told together", "account", r.account, "reports", len(now))
		failures = append(failures, w.replied(ctx, w.reply(ctx, r.to(one), now...), now...))
		together = together[len(now):]
	}
	return errors.Join(append(failures, w.putOff(ctx, together))...)
}

// putOff has reports wait until it is looked whether their recipients may have another letter.
func (w *Worker) putOff(ctx context.Context, reports []conversion.ReportDue) error {
	return w.Store.PutOff(ctx, reports, conversion.MillisOf(w.Now().Add(10*time.Minute)))
}

// room tells those who may have as many letters by now as are wanted from those who may have
// one at least.
func (w *Worker) room(ctx context.Context, r *round, wanted int) (each, one []string, err error) {
	if w.LettersAnHour <= 0 {
		return r.left, nil, nil
	}
	now := w.Now()
	for _, recipient := range r.left {
		sent, err := w.Store.LettersTo(ctx, r.account, recipient, conversion.MillisOf(now.Add(-time.Hour)), conversion.MillisOf(now))
		switch room := w.LettersAnHour - sent; {
		case err != nil:
			return nil, nil, err
		case room >= wanted:
			each = append(each, recipient)
		case room > 0:
			one = append(one, recipient)
		}
	}
	return each, one, nil
}

// envelope is to whom a letter goes.
type envelope struct {
	to   []string
	has  bool // somebody has its reports already
	more bool // others are to get them later
}

func (r *round) to(some []string) envelope { return envelope{some, r.has, len(some) < len(r.left)} }

// post mails reports, and notes who has them by then. One whom the relay puts off is tried again
// alone; reports that it takes for nobody are given up.
func (w *Worker) post(ctx context.Context, all []*Told, to envelope, together []conversion.ReportDue) error {
	if len(to.to) == 0 {
		return orRefused(nil, to.has)
	}
	limits := w.Mail.orDefault()
	posted, err := w.mail(ctx, all, to.to, together[0].MadeAt, limits)
	if errors.Is(err, report.ErrTooLarge) {
		limits.Most = 0 // nothing is attached: the relay takes less than most do
		posted, err = w.mail(ctx, all, to.to, together[0].MadeAt, limits)
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
			to.has = true
		default:
			said, refused = p.Refusal.Error(), append(refused, why)
		}
		for _, due := range together {
			postings = append(postings, conversion.Posting{Upload: due.Upload, Revision: due.Revision, Recipient: p.To, Refusal: said, Letter: letter, At: at})
		}
	}
	// They have it, and that is to be known, also if we are asked to stop.
	if err := w.Store.Post(context.WithoutCancel(ctx), postings); err != nil {
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
	return orRefused(errors.Join(refused...), to.has || to.more)
}

// lacking are those of a report's recipients who don't have it.
func (w *Worker) lacking(ctx context.Context, recipients []string, due conversion.ReportDue) (lack lacking, err error) {
	noted, err := w.Store.Postings(ctx, due.Upload)
	lack.left = slices.Clone(recipients)
	for _, p := range noted {
		if p.Revision == due.Revision {
			lack.left = slices.DeleteFunc(lack.left, func(address string) bool { return address == p.Recipient })
			lack.has = lack.has || p.Refusal == ""
		}
	}
	return lack, err
}

// orRefused is no error if somebody has a report, or may get it yet.
func orRefused(why error, some bool) error {
	if some {
		return nil
	}
	return fmt.Errorf("%w: %w", report.ErrRefused, cmp.Or(why, errors.New("it was refused for each recipient before")))
}
