package worker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/worker"
)

func TestLongWorkSaysHowFarItHasCome(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	var log bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	var reached []string
	b.Progress = func(_ *conversion.Upload, pace worker.Pace) {
		reached = append(reached, fmt.Sprintf("%d/%d %.1f/s %s", pace.Done, pace.Rows, pace.PerSecond, pace.Left))
	}
	b.ChunkRows = 2
	now := b.clock.Now()
	b.Now = func() time.Time { // a second passes whenever somebody looks at the clock
		now = now.Add(time.Second)
		return now
	}
	upload := b.accept("orders.csv", table(strings.Repeat(line(0, "", "", "1.00"), 20)))
	if err := b.Decide(t.Context(), b.upload(upload.ID)); err != nil {
		t.Fatal(err)
	}
	if len(reached) < 10 || !strings.HasPrefix(reached[9], "20/20 ") || !strings.HasSuffix(reached[9], "/s 0s") {
		t.Errorf("reached %q", reached)
	}
	if got := strings.Count(log.String(), "still at work"); got < 1 || got > 4 {
		t.Errorf("the log says %d times how far it has come:\n%s", got, log.String())
	}
	if !strings.Contains(log.String(), "of=20 per_second=") {
		t.Errorf("the log is\n%s", log.String())
	}
	log.Reset()
	b.ReadRows = 1
	told, err := b.Told(t.Context(), b.upload(upload.ID), 1)
	if err != nil {
		t.Fatal(err)
	}
	written(t, told.Files[0])
	if got := strings.Count(log.String(), "doing=reporting"); got < 1 || got > 4 {
		t.Errorf("the log says %d times how far the results file has come:\n%s", got, log.String())
	}
}
