// Package worker is the walk: it accepts what sources deliver, decides the
// rows, and sends the reports.
package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// Store is what the walk needs of the database.
type Store interface {
	EnsureAccounts(ctx context.Context, names []string) error

	SaveUpload(ctx context.Context, u *conversion.Upload, open func() (io.ReadCloser, error)) (saved *conversion.Upload, known bool, err error)
	Upload(ctx context.Context, id int64) (*conversion.Upload, error)
	Delivered(ctx context.Context, source, origin string) (*conversion.Upload, error)
	HasBytes(ctx context.Context, source string, open func() (io.ReadCloser, error)) (bool, error)
	Bundle(ctx context.Context, source, bundle string) ([]*conversion.Upload, error)
	EarlierOfStem(ctx context.Context, u *conversion.Upload) (bool, error)
	OpenUpload(ctx context.Context, id int64) func() (io.ReadCloser, error)
	Family(ctx context.Context, upload int64) ([]*conversion.Upload, error)
	SaveDerived(ctx context.Context, u *conversion.Upload) error
	ChangesBy(ctx context.Context, upload int64, first, last int) (changes map[int]*conversion.Change, undone map[int64]bool, err error)
	UploadsToDecide(ctx context.Context, now conversion.Millis, each func(*conversion.Upload) error) error
	NoteAttempts(ctx context.Context, uploads []*conversion.Upload) error
	TakeBackAttempts(ctx context.Context, uploads []*conversion.Upload) error
	NoteFailure(ctx context.Context, upload int64, why string, next conversion.Millis) error
	Hold(ctx context.Context, upload int64, hold conversion.Hold, at conversion.Millis) error
	UploadsWaiting(ctx context.Context, account string, each func(*conversion.Upload) error) error
	Refuse(ctx context.Context, upload int64, refusal conversion.Refusal, at conversion.Millis) error
	Approve(ctx context.Context, upload int64) error
	NewerChanged(ctx context.Context, upload int64) ([]conversion.Newer, error)

	SaveCalls(ctx context.Context, account string, calls []conversion.Call) (conversion.CallsTally, error)
	FinishCalls(ctx context.Context, upload *conversion.Upload, news bool) error
	Calls(ctx context.Context, account string, searches []conversion.CallSearch, found func(search int, calls []conversion.Call)) error
	CallsElsewhere(ctx context.Context, account string, searches []conversion.CallSearch) ([]bool, error)

	BeginDeciding(ctx context.Context, upload int64, reading conversion.Reading) error
	Diagnose(ctx context.Context, upload int64, sentence string, at conversion.Millis) error
	Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error
	Outcomes(ctx context.Context, upload int64, first int, each func([]conversion.Outcome) (more bool, err error)) error

	ReportsDue(ctx context.Context, now conversion.Millis, each func(conversion.ReportDue) error) error
	MarkReplying(ctx context.Context, due conversion.ReportDue) error
	MarkReplied(ctx context.Context, upload int64, revision int, at conversion.Millis) error
	MarkReplyFailed(ctx context.Context, upload int64, revision int, why string, next conversion.Millis, givenUp bool) error
	PutOff(ctx context.Context, reports []conversion.ReportDue, until conversion.Millis) error
	Post(ctx context.Context, postings []conversion.Posting) error
	Postings(ctx context.Context, upload int64) ([]conversion.Posting, error)
	LettersTo(ctx context.Context, account, recipient string, after, until conversion.Millis) (letters int, err error)
	Undelivered(ctx context.Context, after conversion.Millis) ([]conversion.Undelivered, error)

	EmptyUploads(ctx context.Context, before, at conversion.Millis) (emptied int, err error)
	ForgetCustomers(ctx context.Context, before, at conversion.Millis) (forgotten int, err error)
	Wiping(ctx context.Context, f func() error) error

	Activity(ctx context.Context, from, to conversion.Millis) ([]conversion.Activity, error)
	Standstills(ctx context.Context) ([]conversion.Standstill, error)
	Held(ctx context.Context) ([]conversion.Standstill, error)
	PaidBetween(ctx context.Context, from, to conversion.Millis) ([]conversion.Paid, error)
	Polls(ctx context.Context) ([]conversion.Poll, error)

	MarkPolled(ctx context.Context, source string, at conversion.Millis, failure error) error
	JobRan(ctx context.Context, name string) (time.Time, error)
	MarkJobRan(ctx context.Context, name string, at time.Time) error

	// Alone does something unless another process does it just now.
	Alone(what string, f func() error) (alone bool, err error)
	// Outage reports whether an error is the store's own trouble, whatever it was asked for.
	Outage(err error) bool
	// Unsynced reports whether an error says that what was written may not be on the disk.
	Unsynced(err error) bool
}

// Replier sends a report as a mail, and says what became of it for each recipient; an error,
// that nobody has it, or that it isn't known.
type Replier interface {
	Send(ctx context.Context, letter *report.Letter) ([]report.Posted, error)
}

// Plan is a source and how often to look at it.
type Plan struct {
	Source ingest.Source
	Every  time.Duration
	// Duplicates are rules of the source's own; zero where it leaves them to the
	// account.
	Duplicates conversion.DuplicateRules
	// DryRun has its files change nothing: the report says what would happen.
	DryRun bool
}

// Worker carries uploads from their sources to their reports.
type Worker struct {
	Store Store
	// Together runs f on a store that does all in one transaction, kept if f says so.
	Together func(ctx context.Context, f func(Store) (keep bool, err error)) error
	Accounts []*conversion.Account
	Plans    []Plan
	Jobs     []Job
	// Replier sends reports by mail; nil if no relay is configured.
	Replier Replier
	// MailDomain is the right-hand side of the Message-IDs of reports.
	MailDomain string
	// Mail says what of a report's files is mailed; ResultsFolder is where those are packed
	// and the others left.
	Mail MailLimits
	// LettersAnHour is how many letters on an account's reports one recipient is sent in an
	// hour: what is beyond that is told in one letter; 0 = as many as there are.
	LettersAnHour int
	ResultsFolder string
	// DigestTo are told every night what came; Zone is whose clock they go by.
	DigestTo []string
	Zone     *time.Location
	// Alarms are sentences on what needs a hand soon; nil if nothing ever does.
	Alarms func() []string
	Limits ingest.Limits
	// Attempts is how often deciding an upload is tried before it is held; 0 = 5.
	Attempts int
	// Retention is how long is kept what is not the ledger.
	Retention Retention
	// ChunkRows is how many rows are decided in one transaction; 0 = 131,072.
	ChunkRows int
	// ReadRows is how many rows are read, matched and settled at a time; 0 = 8,192.
	ReadRows int
	Now      func() time.Time
	Log      *slog.Logger
	// Progress, if set, is told how far an upload has come.
	Progress func(*conversion.Upload, Pace)

	surveying    sync.Once
	small, large *surveys // ask surveys for them
}

// On returns a worker like w that works on another store.
func (w *Worker) On(store Store) *Worker {
	small, _ := w.surveys()
	return &Worker{
		Store: store, Together: within(store), Accounts: w.Accounts, Plans: w.Plans, Jobs: w.Jobs, Replier: w.Replier, MailDomain: w.MailDomain, Mail: w.Mail, LettersAnHour: w.LettersAnHour, ResultsFolder: w.ResultsFolder, DigestTo: w.DigestTo, Zone: w.Zone,
		Limits: w.Limits, Attempts: w.Attempts, ChunkRows: w.ChunkRows, ReadRows: w.ReadRows, Now: w.Now, Log: w.Log, Progress: w.Progress, small: small,
	}
}

// TogetherIn is how a worker does things together in a store.
func TogetherIn[S Store](s interface {
	Together(ctx context.Context, f func(S) (keep bool, err error)) error
}) func(context.Context, func(Store) (bool, error)) error {
	return func(ctx context.Context, f func(Store) (bool, error)) error {
		return s.Together(ctx, func(together S) (bool, error) { return f(together) })
	}
}

// within is how a worker whose store is one transaction already does things
// together. What is not kept there stays until that transaction is taken back, which whoever
// began it must do.
func within(store Store) func(context.Context, func(Store) (bool, error)) error {
	return func(_ context.Context, f func(Store) (bool, error)) error {
		_, err := f(store)
		return err
	}
}

// plan returns the plan of a source, or nil.
func (w *Worker) plan(source string) *Plan {
	for i := range w.Plans {
		if w.Plans[i].Source.Name() == source {
			return &w.Plans[i]
		}
	}
	return nil
}

const defaultChunkRows = 128 << 10

const defaultReadRows = 8 << 10

func (w *Worker) chunkRows() int { return cmp.Or(max(w.ChunkRows, 0), defaultChunkRows) }

func (w *Worker) readRows() int {
	return min(cmp.Or(max(w.ReadRows, 0), defaultReadRows), w.chunkRows())
}

func (w *Worker) now() conversion.Millis { return conversion.MillisOf(w.Now()) }

// Account returns the account of an id, or nil.
func (w *Worker) Account(id string) *conversion.Account {
	for _, a := range w.Accounts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// Prepare makes the store ready for the configured accounts.
func (w *Worker) Prepare(ctx context.Context) error {
	names := make([]string, len(w.Accounts))
	for i, a := range w.Accounts {
		names[i] = a.ID
	}
	return w.Store.EnsureAccounts(ctx, names)
}

// RunOnce looks at every source once, decides what came and sends what is due, each
// while the one before goes on. One source's failure delays no other; all failures are
// returned.
func (w *Worker) RunOnce(ctx context.Context) error {
	arrived, decided := make(chan struct{}, 1), make(chan struct{}, 1)
	var polling, deciding, replying error
	var all sync.WaitGroup
	all.Go(func() {
		defer close(arrived)
		polling = w.pollAll(ctx, arrived)
	})
	all.Go(func() {
		defer close(decided)
		afterEach(arrived, func() {
			deciding = errors.Join(deciding, w.DecideAll(ctx))
			notify(decided)
		})
	})
	all.Go(func() {
		afterEach(decided, func() { replying = errors.Join(replying, w.ReplyAll(ctx)) })
	})
	all.Wait()
	return errors.Join(polling, deciding, replying)
}

// afterEach does something after each notice, and once more after the last.
func afterEach(notices <-chan struct{}, do func()) {
	for range notices {
		do()
	}
	do()
}

// pollAll looks at every source once, and once more at those whose files may be complete
// by then.
func (w *Worker) pollAll(ctx context.Context, arrived chan<- struct{}) error {
	var failures []error
	var settle time.Duration
	for _, plan := range w.Plans {
		if err := w.poll(ctx, plan.Source, arrived); err != nil {
			failures = append(failures, err)
		}
		settle = max(settle, settleTime(plan.Source))
	}
	if settle > 0 {
		failures = append(failures, w.pollSettled(ctx, settle, arrived))
	}
	return errors.Join(failures...)
}

func settleTime(source ingest.Source) time.Duration {
	if s, ok := source.(ingest.Settler); ok {
		return s.Settling()
	}
	return 0
}

// pollSettled waits and looks once more where files may be complete by then.
func (w *Worker) pollSettled(ctx context.Context, wait time.Duration, arrived chan<- struct{}) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	var failures []error
	for _, plan := range w.Plans {
		if settleTime(plan.Source) > 0 {
			failures = append(failures, w.poll(ctx, plan.Source, arrived))
		}
	}
	return errors.Join(failures...)
}

// Run works until ctx ends: every source is looked at when it is due or wakes,
// jobs run when they are scheduled, and what came is decided and answered. It ends with an error
// if what it has written may not be on the disk.
func (w *Worker) Run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	doubt := func(err error) {
		if w.Store.Unsynced(err) || errors.Is(err, ingest.ErrUnsynced) {
			end(errUnsynced{err})
		}
	}
	arrived, decided := make(chan struct{}, 1), make(chan struct{}, 1)
	var all sync.WaitGroup
	for _, plan := range w.Plans {
		all.Go(func() { w.keepPolling(ctx, plan, arrived, doubt) })
	}
	all.Go(func() {
		w.keepWorking(ctx, arrived, func(ctx context.Context) error {
			defer notify(decided)
			return w.DecideAll(ctx)
		}, doubt)
	})
	all.Go(func() { w.keepWorking(ctx, decided, w.ReplyAll, doubt) })
	stopJobs, err := w.startJobs(ctx, arrived)
	if err != nil {
		return err
	}
	<-ctx.Done()
	stopJobs()
	all.Wait()
	if lost := (errUnsynced{}); errors.As(context.Cause(ctx), &lost) {
		return lost
	}
	return nil
}

// errUnsynced ends the work: what was written may not be on the disk.
type errUnsynced struct{ error }

func (e errUnsynced) Error() string {
	return "the disk didn't keep what was written; nothing that was acknowledged is lost, and the next start goes on from what is there. Look after the disk. " + e.error.Error()
}

func (e errUnsynced) Unwrap() error { return e.error }

const (
	idleTick  = 15 * time.Second // how often due replies and left work are looked for
	mostPause = 5 * time.Minute  // the longest pause after a source's failures
)

// keepPolling looks at one source again and again.
func (w *Worker) keepPolling(ctx context.Context, plan Plan, arrived chan<- struct{}, failed func(error)) {
	failures := 0
	for ctx.Err() == nil {
		pause := plan.Every
		if err := w.poll(ctx, plan.Source, arrived); err != nil && ctx.Err() == nil {
			failed(err)
			pause = min(time.Second<<min(failures, 20), mostPause)
			failures++
			w.Log.Error("poll failed", "source", plan.Source.Name(), "error", err, "again_in", pause.String())
		} else {
			failures = 0
		}
		w.await(ctx, plan.Source, pause)
	}
}

// await waits until a source is due or wakes.
func (w *Worker) await(ctx context.Context, source ingest.Source, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if waker, ok := source.(ingest.Waker); ok {
		if err := waker.Wake(ctx); err == nil || ctx.Err() != nil {
			return
		} else {
			w.Log.Warn("source can't wake us; polling goes on", "source", source.Name(), "error", err)
		}
	}
	<-ctx.Done()
}

func notify(arrived chan<- struct{}) {
	select {
	case arrived <- struct{}{}:
	default: // a notice is already waiting
	}
}

// keepWorking does its work at once, after each notice and every now and then.
func (w *Worker) keepWorking(ctx context.Context, notices <-chan struct{}, work func(context.Context) error, failed func(error)) {
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	for {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			failed(err)
			w.Log.Error("work failed; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-notices:
		case <-tick.C:
		}
	}
}

// poll looks at one source once and accepts what it delivers, with a notice each time
// that something has arrived.
func (w *Worker) poll(ctx context.Context, source ingest.Source, arrived chan<- struct{}) error {
	failure := sheltered(func() error { return w.acceptAll(ctx, source, func() { notify(arrived) }) })
	if ctx.Err() != nil {
		return failure
	}
	return errors.Join(failure, w.Store.MarkPolled(ctx, source.Name(), w.now(), failure))
}
