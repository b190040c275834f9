package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

var errTaken = errors.New("the file is gone")

// atHand are three small files, of which one may be damaged.
func atHand(damaged int, acknowledged *[]string) []*ingest.Delivery {
	var all []*ingest.Delivery
	for i := range 3 {
		name := fmt.Sprintf("%c.csv", 'a'+i)
		d := delivery("23", name, table(line(i, "", "", "1.00")))
		d.AtHand = true
		d.Ack = func(_ context.Context, how ingest.Disposition) error {
			*acknowledged = append(*acknowledged, fmt.Sprint(name, " ", how == ingest.Accepted))
			return nil
		}
		if i == damaged {
			d.Open = func() (io.ReadCloser, error) { return nil, errTaken }
		}
		all = append(all, d)
	}
	return all
}

// What another process has taken and put away in the meantime is no failure.
func TestWhatAnotherProcessHasTakenIsLeftToIt(t *testing.T) {
	for _, size := range []int{1, 3} { // taken alone, and together
		b := newBench(t, nil)
		b.know(0, 3)
		var acknowledged []string
		deliveries := atHand(-1, &acknowledged)[:size]
		open, opened := deliveries[0].Open, 0
		deliveries[0].Open = func() (io.ReadCloser, error) {
			if opened++; opened > 1 { // it was looked at, and is gone by now
				return nil, fmt.Errorf("read: %w", ingest.ErrGone)
			}
			return open()
		}
		b.Plans = []worker.Plan{{Source: &pile{name: "test", deliveries: deliveries}, Every: time.Second}}
		if err := b.RunOnce(t.Context()); err != nil || len(b.uploads()) != size-1 || len(acknowledged) != size-1 {
			t.Errorf("of %d files, %d were taken, %v; acknowledged were %v", size, len(b.uploads()), err, acknowledged)
		}
	}
}

// Of a transaction that is taken back, nothing comes to the log: what was done is done again.
func TestWhatIsTakenBackIsNotLogged(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	var acknowledged []string
	b.Plans = []worker.Plan{{Source: &pile{name: "test", deliveries: atHand(-1, &acknowledged)}, Every: time.Second}}
	var log bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	together, fails := b.Together, 0
	b.Together = func(ctx context.Context, f func(worker.Store) (bool, error)) error {
		return together(ctx, func(s worker.Store) (bool, error) {
			keep, err := f(s)
			if fails++; err == nil && fails == 1 {
				return false, errTaken
			}
			return keep, err
		})
	}
	if err := b.RunOnce(t.Context()); err != nil {
		t.Error(err)
	}
	if received, decided := strings.Count(log.String(), "upload received"), strings.Count(log.String(), "upload decided"); fails < 2 || received != 3 || decided != 3 {
		t.Errorf("the log tells of %d uploads received and %d decided, want 3:\n%s", received, decided, log.String())
	}
}

func TestSmallFilesAreTakenTogether(t *testing.T) {
	for _, test := range []struct {
		name    string
		damaged int
		change  func([]*ingest.Delivery)
		want    []string
		states  string
	}{
		{"all of them", -1, func([]*ingest.Delivery) {}, []string{"a.csv true", "b.csv true", "c.csv true"}, "decided decided decided"},
		{"all but one that can't be read", 1, func([]*ingest.Delivery) {}, []string{"a.csv true", "c.csv true"}, "decided decided"},
		{"one that is refused among them", -1, func(d []*ingest.Delivery) {
			d[1].Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("%PDF")), nil }
		}, []string{"a.csv true", "b.csv false", "c.csv true"}, "decided refused decided"},
		{"one of an unknown account among them", -1, func(d []*ingest.Delivery) { d[2].Account = "99" }, []string{"a.csv true", "b.csv true", "c.csv false"}, "decided decided refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 3)
			var acknowledged []string
			deliveries := atHand(test.damaged, &acknowledged)
			test.change(deliveries)
			b.Plans = []worker.Plan{{Source: &pile{name: "test", deliveries: deliveries}, Every: time.Second}}
			err := b.RunOnce(t.Context())
			if errors.Is(err, errTaken) != (test.damaged >= 0) || err != nil && strings.Count(err.Error(), errTaken.Error()) != 1 {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(acknowledged, test.want) {
				t.Errorf("acknowledged %v, want %v", acknowledged, test.want)
			}
			var states []string
			for _, u := range b.uploads() {
				states = append(states, string(u.State))
			}
			if strings.Join(states, " ") != test.states {
				t.Errorf("uploads are %v, want %s", states, test.states)
			}
			b.check()
		})
	}
}

// A delivery that comes again is known, also among new ones.
func TestSmallFilesThatComeAgain(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	var acknowledged []string
	deliveries := atHand(-1, &acknowledged)
	for _, some := range [][]*ingest.Delivery{deliveries[:2], deliveries} {
		b.Plans = []worker.Plan{{Source: &pile{name: "test", deliveries: slices.Clone(some)}, Every: time.Second}}
		if err := b.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.uploads()); n != 3 || len(acknowledged) != 5 {
		t.Errorf("%d uploads of three files; acknowledged %v", n, acknowledged)
	}
	b.wantSales("C0=1.00", "C1=1.00", "C2=1.00")
}

// Reports that nobody is mailed are written together; one that can't be written delays
// no other.
func TestReportsThatAreOnlyPutOnAShelf(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.ReportTo = nil })
	b.know(0, 3)
	obstacle := filepath.Join(b.path, "results", "b.results.csv")
	if err := os.MkdirAll(obstacle, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b.put(fmt.Sprintf("%c.csv", 'a'+i), table(line(i, "", "", "1.00")))
	}
	err := b.RunOnce(t.Context())
	if err == nil || strings.Count(err.Error(), "report on upload") != 1 {
		t.Errorf("error %v, want one of upload 2", err)
	}
	b.wantFiles([]string{"a.results.csv", "c.results.csv"}, "results")
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("reports %v are due at once", due)
	}
	for _, pause := range []time.Duration{time.Minute, 2 * time.Minute} { // longer after each attempt
		b.clock.advance(pause - time.Second)
		if due := b.dueReports(); len(due) > 0 {
			t.Errorf("reports %v are due too soon", due)
		}
		b.clock.advance(time.Second)
		if due := b.dueReports(); !slices.Equal(due, []string{"2.1"}) {
			t.Errorf("reports %v are due, want 2.1", due)
		}
		_ = b.ReplyAll(t.Context())
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Hour)
	if err := b.ReplyAll(t.Context()); err != nil {
		t.Error(err)
	}
	b.wantFiles([]string{"a.results.csv", "b.results.csv", "c.results.csv"}, "results")
}

// Another process has sent one of the reports meanwhile: that is left to it.
func TestAReportThatAnotherProcessHasSent(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.ReportTo = nil })
	b.know(0, 3)
	for i := range 3 {
		b.put(fmt.Sprintf("%c.csv", 'a'+i), table(line(i, "", "", "1.00")))
	}
	other := b.another(b.db)
	slow := b.another(forestalled{b.db, func(due conversion.ReportDue) {
		if due.Upload != 2 {
			return
		}
		if err := errors.Join(other.Store.MarkReplying(t.Context(), due), other.Store.MarkReplied(t.Context(), due.Upload, due.Revision, 7)); err != nil {
			t.Error(err)
		}
	}})
	if err := slow.RunOnce(t.Context()); err != nil {
		t.Error(err)
	}
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("reports %v are still due", due)
	}
	b.wantFiles([]string{"a.results.csv", "c.results.csv"}, "results")
}

// forestalled has something come between the list of reports due and their sending.
type forestalled struct {
	worker.Store
	between func(conversion.ReportDue)
}

func (f forestalled) ReportsDue(ctx context.Context, now conversion.Millis, each func(conversion.ReportDue) error) error {
	return f.Store.ReportsDue(ctx, now, func(due conversion.ReportDue) error {
		f.between(due)
		return each(due)
	})
}

// What comes of an upload while its report is put on the shelf is told by another report.
func TestNewsWhileAReportIsPutOnItsShelf(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { waits(a); a.ReportTo = nil })
	other := b.another(b.db)
	shelf := &slowShelf{Drop: b.drop}
	shelf.meanwhile = func() {
		b.know(0, 1)
		if err := other.Reconcile(t.Context(), ""); err != nil {
			t.Error(err)
		}
	}
	b.Plans = []worker.Plan{{Source: shelf, Every: time.Second}}
	b.put("a.csv", table(line(0, "", "", "1.00")))
	b.put("b.csv", table(line(0, "", "S", "2.00")))
	for range 2 {
		if err := b.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.wantSales("C0=1.00", "C0=2.00")
	for _, name := range []string{"a.results.csv", "b.results.csv"} {
		if content := b.read("results", name); !strings.Contains(content, ",created,") {
			t.Errorf("%s doesn't tell of the call that has come:\n%s", name, content)
		}
	}
	if due := b.dueReports(); len(due) > 0 {
		t.Errorf("reports %v are still due", due)
	}
}

// slowShelf has something happen once, when the first reports are written and not yet
// noted.
type slowShelf struct {
	*ingest.Drop
	once      sync.Once
	meanwhile func()
}

func (s *slowShelf) PutReport(ctx context.Context, name string, write func(io.Writer) error) error {
	err := s.Drop.PutReport(ctx, name, write)
	s.once.Do(s.meanwhile)
	return err
}
