package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Job is something done on a schedule.
type Job struct {
	Name     string
	Schedule Schedule
	Run      func(ctx context.Context) error
}

// Schedule is a cron expression on a time zone's clock.
type Schedule struct {
	spec  string
	zone  *time.Location
	times cron.Schedule
}

// ParseSchedule reads a cron expression with five fields, or one of the forms
// @daily and @every 1h. One that never comes due is an error.
func ParseSchedule(spec string, zone *time.Location) (s Schedule, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser panics on some malformed zones
			err = fmt.Errorf("%q is not a schedule such as \"0 2 * * *\"", spec)
		}
	}()
	times, err := cron.ParseStandard(spec)
	if err != nil {
		return Schedule{}, fmt.Errorf("%q is not a schedule such as \"0 2 * * *\": %w", spec, err)
	}
	switch fields := times.(type) {
	case *cron.SpecSchedule:
		if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
			zone = fields.Location
		}
		fields.Location = zone
	case cron.ConstantDelaySchedule:
		if every, err := time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(spec, "@every"))); err != nil || every < time.Second {
			return Schedule{}, fmt.Errorf("%q runs more often than once a second", spec)
		}
	}
	if times.Next(time.Now()).IsZero() {
		return Schedule{}, fmt.Errorf("%q never comes due; check day and month", spec)
	}
	return Schedule{spec: spec, zone: zone, times: times}, nil
}

// Zone is the time zone on whose clock the schedule runs.
func (s Schedule) Zone() *time.Location { return s.zone }

func (s Schedule) String() string { return fmt.Sprintf("%s (%s)", s.spec, s.zone) }

// Next is when the schedule comes due after a moment. Where clocks are put
// forward over a run, it moves with them: 02:30 becomes 03:30;
// where an hour occurs twice, the run takes place the first time.
func (s Schedule) Next(after time.Time) time.Time {
	next := s.times.Next(after)
	if skipped, ok := s.skippedBy(after, next); ok {
		return skipped
	}
	if s.repeats(next) {
		return s.Next(next)
	}
	return next
}

// skippedBy finds a run between two moments whose wall clock time never was: it
// asks for the runs of a clock that is never put forward.
func (s Schedule) skippedBy(after, next time.Time) (time.Time, bool) {
	fields, ok := s.times.(*cron.SpecSchedule)
	if !ok {
		return time.Time{}, false
	}
	_, before := after.In(s.zone).Zone()
	steady := *fields
	steady.Location = time.FixedZone("", before)
	due := steady.Next(after)
	_, offset := due.In(s.zone).Zone()
	// The steady clock's run falls behind a step forward, no later than the step.
	gap := time.Duration(offset-before) * time.Second
	if gap > 0 && due.Before(next) && stepBetween(s.zone, due.Add(-gap), due) {
		return due, true
	}
	return time.Time{}, false
}

// stepBetween reports whether a zone's offset changes between two moments.
func stepBetween(zone *time.Location, from, to time.Time) bool {
	_, a := from.In(zone).Zone()
	_, b := to.In(zone).Zone()
	return a != b
}

// repeats reports whether a run's wall clock time has come before: an hour that
// occurs twice, the second time. Runs more often than daily may repeat.
func (s Schedule) repeats(at time.Time) bool {
	if fields, ok := s.times.(*cron.SpecSchedule); !ok || fields.Hour&(1<<63) != 0 {
		return false
	}
	_, now := at.In(s.zone).Zone()
	_, before := at.Add(-3 * time.Hour).In(s.zone).Zone()
	if before <= now {
		return false
	}
	_, then := at.Add(-time.Duration(before-now) * time.Second).In(s.zone).Zone()
	return then == before
}

// startJobs puts the jobs on their schedules. A run that was missed while the
// program was down is caught up once.
func (w *Worker) startJobs(ctx context.Context, arrived chan<- struct{}) (stop func(), err error) {
	log := cronLog{w}
	c := cron.New(cron.WithChain(cron.SkipIfStillRunning(log), cron.Recover(log)))
	for _, job := range w.Jobs {
		run := cron.FuncJob(func() {
			w.RunJob(ctx, job)
			notify(arrived)
		})
		ran, err := w.Store.JobRan(ctx, job.Name)
		if err != nil {
			return nil, err
		}
		c.Schedule(&catchUp{Schedule: job.Schedule, missed: !ran.IsZero() && job.Schedule.Next(ran).Before(w.Now())}, run)
	}
	c.Start()
	return func() { <-c.Stop().Done() }, nil
}

// catchUp is a schedule whose first run is at once, if one was missed.
type catchUp struct {
	Schedule
	missed bool
}

func (c *catchUp) Next(after time.Time) time.Time {
	if c.missed {
		c.missed = false
		return after.Add(time.Second)
	}
	return c.Schedule.Next(after)
}

// RunJob runs a job now and notes that it ran.
func (w *Worker) RunJob(ctx context.Context, job Job) {
	w.Log.Info("job begins", "job", job.Name)
	if err := job.Run(ctx); err != nil {
		w.Log.Error("job failed", "job", job.Name, "error", err)
		return
	}
	if err := w.Store.MarkJobRan(ctx, job.Name, w.Now()); err != nil {
		w.Log.Error("job failed", "job", job.Name, "error", err)
	}
}

// cronLog passes what the scheduler says to our log.
type cronLog struct{ w *Worker }

func (l cronLog) Info(string, ...any) {}

func (l cronLog) Error(err error, msg string, keysAndValues ...any) {
	l.w.Log.Error("job failed", append([]any{"error", err, "what", msg}, keysAndValues...)...)
}
