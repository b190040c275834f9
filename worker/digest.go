package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"calltally/conversion"
	"calltally/report"
)

// digestJob is the name that the moment of the last digest is kept under.
const digestJob = "digest"

// Nightly decides again the rows that wait for their call, sends what is due, then a
// digest, and removes what need not be kept any longer. A digest that could not be sent is made up for by the next one.
func (w *Worker) Nightly(ctx context.Context) error {
	if w.Alarms != nil {
		for _, alarm := range w.Alarms() {
			w.Log.Warn(alarm)
		}
	}
	return errors.Join(w.Reconcile(ctx, ""), w.ReplyAll(ctx), w.SendDigest(ctx), w.Retain(ctx))
}

// SendDigest tells those whom the configuration names what came since the last
// digest, or in the last day.
func (w *Worker) SendDigest(ctx context.Context) error {
	if len(w.DigestTo) == 0 || w.Replier == nil {
		return nil
	}
	last, err := w.Store.JobRan(ctx, digestJob)
	if err != nil {
		return err
	}
	now := w.Now()
	if last.IsZero() {
		last = now.Add(-24 * time.Hour)
	}
	digest, err := w.digest(ctx, last, now)
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	letter, err := w.digestLetter(digest)
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	posted, err := w.Replier.Send(ctx, letter)
	var refused []error
	for _, p := range posted {
		if p.Refusal != nil {
			refused = append(refused, fmt.Errorf("recipient %s: %w", p.To, p.Refusal))
		}
	}
	if err = errors.Join(append(refused, err)...); err != nil && len(refused) == len(posted) {
		return fmt.Errorf("send digest: %w", err)
	}
	if err != nil {
		w.Log.Warn("digest not sent to everyone", "error", err)
	}
	w.Log.Info("digest sent", "recipients", len(posted)-len(refused))
	return w.Store.MarkJobRan(ctx, digestJob, now)
}

// digest gathers what came after from and not after to.
func (w *Worker) digest(ctx context.Context, from, to time.Time) (*report.Digest, error) {
	d := &report.Digest{From: from, To: to, Zone: w.Zone, Names: map[string]string{}}
	if w.Alarms != nil {
		d.Alarms = w.Alarms()
	}
	for _, a := range w.Accounts {
		d.Names[a.ID] = a.Name
	}
	since, until := conversion.MillisOf(from), conversion.MillisOf(to)
	var failed [6]error
	d.Activity, failed[0] = w.Store.Activity(ctx, since, until)
	d.Standstills, failed[1] = w.Store.Standstills(ctx)
	d.Paid, failed[2] = w.Store.PaidBetween(ctx, since, until)
	d.Polls, failed[3] = w.polls(ctx)
	d.Held, failed[4] = w.Store.Held(ctx)
	d.Undelivered, failed[5] = w.Store.Undelivered(ctx, since)
	return d, errors.Join(failed[:]...)
}

// polls tells how each source of the configuration was last read.
func (w *Worker) polls(ctx context.Context) ([]conversion.Poll, error) {
	known, err := w.Store.Polls(ctx)
	var polls []conversion.Poll
	for _, plan := range w.Plans {
		poll := conversion.Poll{Source: plan.Source.Name()}
		for _, k := range known {
			if k.Source == poll.Source {
				poll = k
			}
		}
		polls = append(polls, poll)
	}
	return polls, err
}

func (w *Worker) digestLetter(d *report.Digest) (*report.Letter, error) {
	var text, html bytes.Buffer
	if err := errors.Join(d.Text(&text), d.HTML(&html)); err != nil {
		return nil, err
	}
	return &report.Letter{
		To: w.DigestTo, Subject: d.Subject(), Text: text.String(), HTML: html.String(), Date: d.To,
		MessageID: fmt.Sprintf("digest-%d@%s", d.To.UnixMilli(), cmp.Or(w.MailDomain, "calltally.localhost")),
	}, nil
}
