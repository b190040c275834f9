package worker

import (
	"time"

	"calltally/conversion"
	"calltally/report"
)

// Pace is how far the work on an upload has come.
type Pace struct {
	Done, Rows int
	// PerSecond is how many rows are done in a second, since it began; Left is how long
	// the others take at that rate.
	PerSecond float64
	Left      time.Duration
}

// logPace is how often long work says in the log how far it has come.
const logPace = 10 * time.Second

// progress tells how far the work on an upload has come.
type progress struct {
	worker        *Worker
	upload        *conversion.Upload
	doing         string
	rows, from    int // all of them, and those that were done before it began
	began, logged time.Time
}

// progressOf begins to tell of what is done with an upload's rows, of which some are done
// already.
func (w *Worker) progressOf(upload *conversion.Upload, doing string, rows, done int) *progress {
	now := w.Now()
	return &progress{worker: w, upload: upload, doing: doing, rows: rows, from: done, began: now, logged: now}
}

// telling tells how far the reading of an upload's outcomes has come.
func (w *Worker) telling(upload *conversion.Upload, outcomes report.Outcomes) report.Outcomes {
	return func(yield func(*conversion.Outcome, error) bool) {
		progress, done := w.progressOf(upload, "reporting", upload.Tally.Rows, 0), 0
		for o, err := range outcomes {
			if !yield(o, err) {
				return
			}
			if done++; done%w.readRows() == 0 {
				progress.reached(done)
			}
		}
	}
}

// reached tells those who want to know that so many rows are done.
func (p *progress) reached(done int) {
	now := p.worker.Now()
	pace := Pace{Done: done, Rows: p.rows}
	if passed := now.Sub(p.began).Seconds(); passed > 0 && done > p.from {
		pace.PerSecond = float64(done-p.from) / passed
		pace.Left = time.Duration(float64(max(p.rows-done, 0)) / pace.PerSecond * float64(time.Second))
	}
	if p.worker.Progress != nil {
		p.worker.Progress(p.upload, pace)
	}
	if now.Sub(p.logged) >= logPace {
		p.logged = now
		p.worker.meanwhile().Info("still at work", "doing", p.doing, "upload", p.upload.ID, "account", p.upload.Account, "rows", pace.Done, "of", pace.Rows, "per_second", int(pace.PerSecond), "left", pace.Left.Round(time.Second).String())
	}
}
