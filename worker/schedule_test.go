package worker_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"calltally/conversion"
	"calltally/worker"
)

func TestScheduleOverClockChanges(t *testing.T) {
	const minute = "2006-01-02 15:04 MST"
	tests := []struct {
		name, spec, zone string
		from, to         string // dates
		want             []string
	}{
		{"an ordinary night", "0 2 * * *", "America/New_York", "2026-03-30", "2026-04-01", []string{"2026-03-30 02:00 EDT", "2026-03-31 02:00 EDT"}},
		{"a skipped hour", "30 2 * * *", "America/New_York", "2026-03-07", "2026-03-10", []string{"2026-03-07 02:30 EST", "2026-03-08 03:* EDT", "2026-03-09 02:30 EDT"}},
		{"a skipped full hour", "0 2 * * *", "America/New_York", "2026-03-07", "2026-03-10", []string{"2026-03-07 02:00 EST", "2026-03-08 03:* EDT", "2026-03-09 02:00 EDT"}},
		{"a skipped hour in Europe", "15 2 * * *", "Europe/Berlin", "2026-03-28", "2026-03-31", []string{"2026-03-28 02:15 CET", "2026-03-29 03:* CEST", "2026-03-30 02:15 CEST"}},
		{"a skipped midnight", "0 0 * * *", "Africa/Cairo", "2026-04-23", "2026-04-26", []string{"2026-04-23 00:00 EET", "2026-04-24 01:* EEST", "2026-04-25 00:00 EEST"}},
		{"a skipped midnight, @daily", "@daily", "Africa/Cairo", "2026-04-23", "2026-04-26", []string{"2026-04-23 00:00 EET", "2026-04-24 01:* EEST", "2026-04-25 00:00 EEST"}},
		{"a skipped half hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03", "2026-10-06", []string{"2026-10-03 02:15 +1030", "2026-10-04 02:* +11", "2026-10-05 02:15 +11"}},
		{"a run in and one after the gap", "30 2,3 * * *", "America/New_York", "2026-03-08", "2026-03-09", []string{"2026-03-08 03:30 EDT"}},
		{"a doubled hour", "30 1 * * *", "America/New_York", "2026-10-31", "2026-11-03", []string{"2026-10-31 01:30 EDT", "2026-11-01 01:30 EDT", "2026-11-02 01:30 EST"}},
		{"a doubled hour, twice in it", "0,30 1 * * *", "America/New_York", "2026-11-01", "2026-11-02", []string{"2026-11-01 01:00 EDT", "2026-11-01 01:30 EDT"}},
		{"a doubled half hour", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04", "2026-04-07", []string{"2026-04-04 01:45 +11", "2026-04-05 01:45 +11", "2026-04-06 01:45 +1030"}},
		{"a doubled midnight", "30 23 * * *", "Africa/Cairo", "2026-10-28", "2026-10-31", []string{"2026-10-28 23:30 EEST", "2026-10-29 23:30 EEST", "2026-10-30 23:30 EET"}},
		{"hourly through a doubled hour", "0 * * * *", "America/New_York", "2026-11-01", "2026-11-01 03:00", []string{"2026-11-01 00:00 EDT", "2026-11-01 01:00 EDT", "2026-11-01 01:00 EST", "2026-11-01 02:00 EST"}},
		{"hourly through a skipped hour", "0 * * * *", "America/New_York", "2026-03-08", "2026-03-08 05:00", []string{"2026-03-08 00:00 EST", "2026-03-08 01:00 EST", "2026-03-08 03:00 EDT", "2026-03-08 04:00 EDT"}},
		{"weekdays only", "0 2 * * 1-5", "America/New_York", "2026-03-06", "2026-03-10", []string{"2026-03-06 02:00 EST", "2026-03-09 02:00 EDT"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			zone, err := time.LoadLocation(test.zone)
			if err != nil {
				t.Fatal(err)
			}
			s, err := worker.ParseSchedule(test.spec, zone)
			if err != nil {
				t.Fatal(err)
			}
			at, end := day(t, test.from, zone).Add(-time.Second), day(t, test.to, zone)
			var got []string
			for {
				next := s.Next(at)
				if !next.After(at) {
					t.Fatalf("after %s comes %s", at, next)
				}
				if at = next; !at.Before(end) {
					break
				}
				got = append(got, at.In(zone).Format(minute))
			}
			if !slices.EqualFunc(got, test.want, sameMinute) {
				t.Errorf("it runs at %q, want %q", got, test.want)
			}
		})
	}
}

// A length of time is counted from the last run, whatever the clocks do.
func TestScheduleOfALengthOfTime(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	s, err := worker.ParseSchedule("@every 90m", zone)
	if err != nil {
		t.Fatal(err)
	}
	at := day(t, "2026-03-08 01:00", zone)
	if next := s.Next(at); next.Sub(at) != 90*time.Minute {
		t.Errorf("after %s comes %s, want 90 minutes later", at, next)
	}
}

func day(t *testing.T, text string, zone *time.Location) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04"[:len(text)], text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// sameMinute compares a time with one whose minutes may be any: 03:*.
func sameMinute(got, want string) bool {
	if before, after, any := strings.Cut(want, "*"); any {
		return strings.HasPrefix(got, before) && strings.HasSuffix(got, after)
	}
	return got == want
}

func TestSchedulesThatAreRefused(t *testing.T) {
	for _, spec := range []string{
		"", "2", "0 2 * *", "0 25 * * *", "60 2 * * *", "0 2 * * * *", "@sometimes", "@every", "@every soon",
		"TZ=UTC", "CRON_TZ=UTC", "TZ=Nowhere/Land 0 2 * * *",
		"0 0 30 2 *", "0 0 31 4,6,9,11 *",
		"@every -1h", "@every 0s",
	} {
		t.Run(spec, func(t *testing.T) {
			if s, err := worker.ParseSchedule(spec, time.UTC); err == nil {
				t.Errorf("%q was taken for a schedule, next due %s", spec, s.Next(noon))
			}
		})
	}
}

func TestAScheduleOnAnotherClockThanTheZone(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	// A zone in the expression is honoured or refused, not passed over.
	s, err := worker.ParseSchedule("TZ=UTC 0 2 * * *", zone)
	if err != nil {
		return
	}
	if next := s.Next(noon).UTC(); next.Hour() != 2 {
		t.Errorf("TZ=UTC 0 2 * * * is due at %s", next)
	}
}

// diary is a store that knows only when jobs ran.
type diary struct {
	worker.Store
	mu  sync.Mutex
	ran map[string]time.Time
}

func (d *diary) JobRan(_ context.Context, name string) (time.Time, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ran[name], nil
}

func (d *diary) MarkJobRan(_ context.Context, name string, at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ran[name] = at
	return nil
}

func (d *diary) UploadsToDecide(context.Context, conversion.Millis, func(*conversion.Upload) error) error {
	return nil
}

func (d *diary) ReportsDue(context.Context, conversion.Millis, func(conversion.ReportDue) error) error {
	return nil
}

// runJobs runs a worker that has nothing but jobs for a while, on a clock that
// jumps.
func runJobs(t *testing.T, d *diary, length time.Duration, jobs ...worker.Job) {
	t.Helper()
	if d.ran == nil {
		d.ran = map[string]time.Time{}
	}
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	w := &worker.Worker{Store: d, Jobs: jobs, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// counted is a job that notes when it ran.
type counted struct {
	mu   sync.Mutex
	runs []string
}

func (c *counted) job(t *testing.T, name, spec string, run func(n int)) worker.Job {
	t.Helper()
	s, err := worker.ParseSchedule(spec, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return worker.Job{Name: name, Schedule: s, Run: func(context.Context) error {
		c.mu.Lock()
		c.runs = append(c.runs, time.Now().UTC().Format("02 15:04"))
		n := len(c.runs)
		c.mu.Unlock()
		run(n)
		return nil
	}}
}

func nothing(int) {}

// The clock of these tests begins on 1 January 2000 at midnight.

func TestAJobRunsWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counted
		d := &diary{}
		runJobs(t, d, 49*time.Hour, c.job(t, "reconcile", "0 2 * * *", nothing))
		if want := []string{"01 02:00", "02 02:00"}; !slices.Equal(c.runs, want) {
			t.Errorf("it ran at %q, want %q", c.runs, want)
		}
		if ran := d.ran["reconcile"].UTC().Format("02 15:04"); ran != "02 02:00" {
			t.Errorf("its last run was noted at %s", ran)
		}
	})
}

func TestAMissedRunIsCaughtUpOnce(t *testing.T) {
	midnight := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		last time.Time // its last run
		want []string
	}{
		{"never ran", time.Time{}, []string{"01 02:00"}},
		{"missed none", midnight.Add(-22 * time.Hour), []string{"01 02:00"}},
		{"missed one", midnight.Add(-23 * time.Hour), []string{"01 00:00", "01 02:00"}},
		{"missed many", midnight.Add(-30 * 24 * time.Hour), []string{"01 00:00", "01 02:00"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c counted
				runJobs(t, &diary{ran: map[string]time.Time{"reconcile": test.last}}, 3*time.Hour, c.job(t, "reconcile", "0 2 * * *", nothing))
				if !slices.Equal(c.runs, test.want) {
					t.Errorf("it ran at %q, want %q", c.runs, test.want)
				}
			})
		})
	}
}

func TestAPanicInAJobStopsNoLaterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad, good counted
		runJobs(t, &diary{}, 10*time.Second+time.Millisecond,
			bad.job(t, "bad", "@every 1s", func(n int) {
				if n <= 3 {
					panic("a bug")
				}
			}),
			good.job(t, "good", "@every 2s", nothing))
		if len(bad.runs) < 9 || len(good.runs) < 4 {
			t.Errorf("the job that panics ran %d times in 10 s, the other %d times; want 10 and 5", len(bad.runs), len(good.runs))
		}
	})
}

func TestAJobThatTakesLongIsNotRunTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counted
		running, most := 0, 0
		runJobs(t, &diary{}, time.Minute, c.job(t, "slow", "@every 1s", func(int) {
			running++
			most = max(most, running)
			time.Sleep(10 * time.Second)
			running--
		}))
		if most != 1 || len(c.runs) < 4 {
			t.Errorf("it ran %d times in a minute, up to %d at once", len(c.runs), most)
		}
	})
}

func TestStoppingWaitsForARunningJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counted
		ended := false
		runJobs(t, &diary{}, 5*time.Second, c.job(t, "slow", "@every 4s", func(int) {
			time.Sleep(10 * time.Second)
			ended = true
		}))
		if !ended {
			t.Error("the worker stopped before its job had ended")
		}
	})
}
