package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// acceptAll accepts what a source delivers, and calls accepted each time that something
// was; what is at hand, many in one transaction.
func (w *Worker) acceptAll(ctx context.Context, source ingest.Source, accepted func()) error {
	named := func(err error) error {
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ingest.ErrGone):
			w.Log.Info("file left to another process", "source", source.Name(), "why", err)
			return nil
		}
		return fmt.Errorf("source %s: %w", source.Name(), err)
	}
	accept := batches[*ingest.Delivery]{
		alone: func(d *ingest.Delivery) error {
			defer accepted()
			err := sheltered(func() error {
				_, err := w.Accept(ctx, d)
				return err
			})
			if errors.As(err, &panicked{}) {
				err = fmt.Errorf("accept %s: %w", d.Name, err)
			}
			return named(err)
		},
		together: func(deliveries []*ingest.Delivery) (done bool, err error) {
			uploads := make([]*conversion.Upload, 0, len(deliveries))
			err = sheltered(func() error {
				return atOnce(ctx, w, deliveries, func(together *Worker, d *ingest.Delivery) error {
					upload, err := together.take(ctx, d)
					uploads = append(uploads, upload)
					return err
				})
			})
			if err != nil {
				return ctx.Err() != nil, named(err)
			}
			defer accepted()
			var failures []error
			for i, d := range deliveries {
				failures = append(failures, named(w.acknowledge(ctx, d, uploads[i])))
			}
			return true, errors.Join(failures...)
		},
	}
	for delivery, err := range source.Deliveries(ctx) {
		if err == nil {
			err = w.Members(ctx, delivery, func(d *ingest.Delivery) error {
				accept.add(d, !d.AtHand)
				return nil
			})
		}
		if err != nil {
			accept.failures = append(accept.failures, named(err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	err := accept.close(nil)
	if finisher, ok := source.(ingest.Finisher); ok && ctx.Err() == nil {
		err = errors.Join(err, named(finisher.Finish(ctx)))
	}
	return err
}

// Members calls each for the files of an archive as deliveries of their own, and for any
// other delivery, as it is. An archive that a reader of archives panics on is refused like one
// that is damaged: it must not end the others, nor come again each time.
func (w *Worker) Members(ctx context.Context, d *ingest.Delivery, each func(*ingest.Delivery) error) error {
	if d.Known {
		upload, err := w.Store.Delivered(ctx, d.Source, d.Origin)
		if err != nil {
			return err
		}
		if upload != nil {
			return each(d)
		}
	}
	opening := true
	err := sheltered(func() error {
		return ingest.Members(ctx, d, w.limits(), func(member *ingest.Delivery) error {
			opening = false
			err := each(member)
			opening = true
			return err
		})
	})
	if !opening || !errors.As(err, &panicked{}) {
		return err
	}
	w.Log.Error("archive can't be opened", "source", d.Source, "name", d.Name, "error", err)
	refused := *d
	refused.Refusal = conversion.Refuse(conversion.NotATable, "The ZIP archive could not be opened. Pack the files anew, with another program if need be, or send them as they are.")
	return each(&refused)
}

// Accept makes a delivery ours: it finds the account, stores the bytes, reads
// the file once to see whether it can be decided, and only then tells the
// source. A delivery seen before is acknowledged again and changes nothing.
func (w *Worker) Accept(ctx context.Context, d *ingest.Delivery) (*conversion.Upload, error) {
	upload, err := w.take(ctx, d)
	if err != nil {
		return nil, err
	}
	return upload, w.acknowledge(ctx, d, upload)
}

// take stores a delivery and sees whether it can be decided.
func (w *Worker) take(ctx context.Context, d *ingest.Delivery) (*conversion.Upload, error) {
	account, dry, refusal := w.accountOf(d)
	var hold *conversion.Hold
	if d.Refusal != nil {
		refusal = d.Refusal
	} else if refusal == nil {
		hold = doubted(d.Mail)
	}
	name := cleanName(d.Name)
	upload := &conversion.Upload{
		Source: d.Source, Origin: d.Origin, Name: name, Stem: strings.ToLower(report.Stem(name)), Takes: d.Takes, Dialect: d.Dialect,
		ReceivedAt: w.now(), State: conversion.Received, Again: d.Again, DryRun: dry,
		Bundle: d.Bundle, Closes: d.Closes,
	}
	if plan := w.plan(d.Source); plan != nil && plan.DryRun {
		upload.DryRun = true
	}
	if account != nil {
		upload.Account = account.ID
		upload.Mail = mailOrigin(d.Mail, account)
	}
	if refusal != nil {
		upload.State, upload.Refusal, upload.DecidedAt = conversion.Refused, refusal, upload.ReceivedAt
	}
	if hold != nil {
		upload.State, upload.Hold = conversion.OnHold, hold
	}
	failpoint("accept-before-save")
	upload, known, err := w.save(ctx, d, upload)
	if err != nil {
		return nil, err
	}
	failpoint("accept-after-save")
	log := w.Log.With("upload", upload.ID, "account", upload.Account)
	if !known {
		log.Info("upload received", "source", d.Source, "name", upload.Name, "bytes", upload.Size)
		if hold != nil {
			log.Warn("upload held", "code", hold.Code, "why", hold.Sentence)
		}
	}
	if upload.State == conversion.Received && upload.Attempts == 0 { // else it is being decided, and may have been the end of us
		if err := sheltered(func() error { return w.screen(ctx, upload, account) }); err != nil {
			return nil, err
		}
	}
	return upload, nil
}

// save stores a delivery's upload, or returns the one that was saved before.
func (w *Worker) save(ctx context.Context, d *ingest.Delivery, upload *conversion.Upload) (saved *conversion.Upload, known bool, err error) {
	if d.Known {
		if saved, err = w.Store.Delivered(ctx, d.Source, d.Origin); saved != nil || err != nil {
			return saved, true, err
		}
	}
	return w.Store.SaveUpload(ctx, upload, w.bounded(d.Open))
}

// bounded opens no more of a file than tells that it is too large: what can't be
// read is not stored.
func (w *Worker) bounded(open ingest.Opener) ingest.Opener {
	return func() (io.ReadCloser, error) {
		in, err := open()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(in, w.limits().Bytes+1), in}, nil
	}
}

func (w *Worker) limits() ingest.Limits {
	if w.Limits == (ingest.Limits{}) {
		return ingest.DefaultLimits
	}
	return w.Limits
}

// screen reads a new upload once and refuses it if it can't be decided.
func (w *Worker) screen(ctx context.Context, upload *conversion.Upload, account *conversion.Account) error {
	_, refusal, err := w.survey(ctx, upload, account)
	if err != nil || refusal == nil {
		return err
	}
	err = w.refuse(ctx, upload, refusal)
	if errors.Is(err, conversion.ErrTaken) { // another process was faster
		now, err := w.Store.Upload(ctx, upload.ID)
		if err == nil {
			*upload = *now
		}
		return err
	}
	return err
}

// acknowledge tells the source that a delivery is ours.
func (w *Worker) acknowledge(ctx context.Context, d *ingest.Delivery, upload *conversion.Upload) error {
	if d.Ack == nil {
		return nil
	}
	disposition := ingest.Accepted
	if upload.State == conversion.Refused {
		disposition = ingest.Refused
	}
	failpoint("accept-before-ack")
	if err := d.Ack(ctx, disposition); err != nil {
		return fmt.Errorf("acknowledge %s: %w", upload.Name, err)
	}
	failpoint("accept-after-ack")
	return nil
}

func (w *Worker) refuse(ctx context.Context, upload *conversion.Upload, refusal *conversion.Refusal) error {
	if err := w.Store.Refuse(ctx, upload.ID, *refusal, w.now()); err != nil {
		return err
	}
	upload.State, upload.Refusal = conversion.Refused, refusal
	w.Log.Warn("upload refused", "upload", upload.ID, "account", upload.Account, "code", refusal.Code)
	return nil
}

// accountOf finds out whose file a delivery is, whether it came to an address for
// dry runs, and whether its sender may send it.
func (w *Worker) accountOf(d *ingest.Delivery) (account *conversion.Account, dry bool, refusal *conversion.Refusal) {
	account = w.Account(d.Account)
	if account == nil && d.Mail != nil {
		account, dry = w.accountByAddress(d.Mail)
	}
	switch {
	case account == nil && d.Mail != nil:
		return nil, false, conversion.Refuse(conversion.AccountUnknown, "No account has any of the addresses that the mail was sent to (%s). Send it to your own upload address.", strings.Join(d.Mail.Recipients, ", "))
	case account == nil:
		return nil, false, noAccount(d.Account)
	case d.Mail != nil && d.Mail.From != "" && !maySend(d.Mail, account):
		return account, dry, conversion.Refuse(conversion.SenderNotAllowed, "%s may not send files for this account. Have the address added to the account's senders, or send from one that is.", d.Mail.From)
	}
	return account, dry, nil
}

// doubted holds what nobody vouches for.
func doubted(mail *ingest.Mail) *conversion.Hold {
	if mail == nil || mail.Doubt == "" {
		return nil
	}
	return &conversion.Hold{Code: conversion.SenderNotAuthenticated, Sentence: fmt.Sprintf("The mail was not taken as one from %s: %s. Nothing in it was applied.", cmp.Or(mail.From, "who it says"), mail.Doubt)}
}

func noAccount(id string) *conversion.Refusal {
	return conversion.Refuse(conversion.AccountUnknown, "There is no account %q. Name one that the configuration has.", id)
}

// accountByAddress finds the account that the mail was sent to. What the server
// wrote of the recipients comes before what the sender wrote.
func (w *Worker) accountByAddress(mail *ingest.Mail) (account *conversion.Account, dry bool) {
	for _, recipient := range mail.Recipients {
		sentTo := func(address string) bool { return strings.EqualFold(address, recipient) }
		for _, a := range w.Accounts {
			if dry = slices.ContainsFunc(a.DryRunAddresses, sentTo); dry || slices.ContainsFunc(a.Addresses, sentTo) {
				return a, dry
			}
		}
	}
	return nil, false
}

// maySend reports whether a mail's sender may upload. An account without a list
// takes mail only where knowing its address is proof enough.
func maySend(mail *ingest.Mail, account *conversion.Account) bool {
	if len(account.Senders) == 0 {
		return mail.TrustRecipient
	}
	return account.AllowsSender(mail.From)
}

// mailOrigin keeps what a reply needs. The sender is answered only if they may
// send, no program sent the mail, and the mailbox vouches for them.
func mailOrigin(mail *ingest.Mail, account *conversion.Account) conversion.MailOrigin {
	if mail == nil {
		return conversion.MailOrigin{}
	}
	origin := conversion.MailOrigin{From: mail.From, Subject: mail.Subject, MessageID: mail.MessageID, References: mail.References, Unread: mail.Unread}
	if mail.Doubt == "" && !mail.Automatic && maySend(mail, account) {
		origin.ReplyTo = mail.From
	}
	return origin
}

// cleanName makes a file's name safe to show: one line, no folders, no control
// characters, at most 120 characters.
func cleanName(name string) string {
	if at := strings.LastIndexAny(name, `/\`); at >= 0 {
		name = name[at+1:]
	}
	name = strings.ReplaceAll(conversion.OneLine(name), "\uFFFD", "")
	if runes := []rune(name); len(runes) > 120 {
		name = string(runes[:116]) + ".csv"
	}
	if strings.Trim(name, ". ") == "" {
		return "upload.csv"
	}
	return name
}
