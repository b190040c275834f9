package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
	"calltally/worker"
)

func TestADroppedFileIsDecidedAndReported(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.put("orders.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(2, "R2", "S", "oops")))
	b.work()

	b.wantFiles([]string{})
	b.wantFiles([]string{}, "work")
	b.wantFiles([]string{"orders.csv"}, "processed", "2026-03-31")
	b.wantFiles([]string{"orders.fix.csv", "orders.results.csv"}, "results")
	b.wantVerdicts(b.only().ID, "created created rejected:amount_invalid")
	b.wantSales("C0=10.00", "C1=20.00")
	b.check()

	wantResults := "start_time,calling_phone_number,reference_id,reason_code,sale_amount,result,code,message,call_id,call_start_time,conversion_id,payout_before,payout_after\n" +
		"2026-03-31T11:00:00Z,+12125550100,R0,S,10.00,created,,10% of 10.00 = 1.00,C0,2026-03-31T11:00:00Z,10000002,,1.00\n" +
		"2026-03-31T11:01:00Z,+12125550101,R1,S,20.00,created,,10% of 20.00 = 2.00,C1,2026-03-31T11:01:00Z,10000003,,2.00\n"
	if got := b.read("results", "orders.results.csv"); !strings.HasPrefix(got, wantResults) {
		t.Errorf("the results file is\n%swant it to begin with\n%s", got, wantResults)
	}
	if got := b.read("results", "orders.fix.csv"); !strings.Contains(got, "oops") || strings.Contains(got, "R1") {
		t.Errorf("the fix file should hold the rejected row alone, but is\n%s", got)
	}
	if len(b.post.letters) != 1 || !slices.Equal(b.post.letters[0].To, []string{"ops@acme.example"}) {
		t.Errorf("the account's report_to should be told once, but %d letters were sent", len(b.post.letters))
	}
}

func TestARefusedFileEndsInRejectedAndSaysWhy(t *testing.T) {
	tests := []struct {
		name, content string
		limits        ingest.Limits
		code          conversion.Code
		sentence      string
	}{
		{"empty.csv", "", ingest.DefaultLimits, conversion.Empty, "empty"},
		{"letter.csv", "Dear Sirs please find our orders attached to the next mail.\n", ingest.DefaultLimits, conversion.NotATable, "doesn't look like a table"},
		{"columns.csv", "sale_amount,reason_code\n10.00,S\n", ingest.DefaultLimits, conversion.RequiredColumnMissing, "start_time"},
		{"twice.csv", "start_time,start_time,sale_amount\n", ingest.DefaultLimits, conversion.HeaderDuplicated, `"start_time"`},
		{"large.csv", table(strings.Repeat(line(0, "R", "S", "1.00"), 40_000)), ingest.Limits{Bytes: 1 << 20, Rows: 100_000, Columns: 20}, conversion.TooLarge, "The file is larger than 1 MiB, the most that is read."},
		{"long.csv", table(strings.Repeat(line(0, "R", "S", "1.00"), 11)), ingest.Limits{Bytes: 1 << 20, Rows: 10, Columns: 20}, conversion.TooManyRows, "more than 10 rows"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			b.Limits = test.limits
			b.put(test.name, test.content)
			b.work()

			upload := b.only()
			if upload.State != conversion.Refused || upload.Refusal.Code != test.code {
				t.Fatalf("the upload is %s (%v), want refused as %s", upload.State, upload.Refusal, test.code)
			}
			b.wantFiles([]string{test.name}, "rejected")
			b.wantFiles([]string{}, "work")
			if upload.Size > b.Limits.Bytes+1 {
				t.Errorf("%d bytes of the file are stored, where at most %d are read", upload.Size, b.Limits.Bytes)
			}
			if kept := b.read("results", report.Stem(test.name)+".refused.txt"); !strings.Contains(kept, string(test.code)) {
				t.Errorf("results/ should say why, but says\n%s", kept)
			}
			if text := strings.Join(strings.Fields(b.told(upload.ID)), " "); !strings.Contains(text, test.sentence) || !strings.Contains(text, string(test.code)) {
				t.Errorf("the report should say %q and %s, but is\n%s", test.sentence, test.code, text)
			}
			if len(b.post.letters) != 1 || !strings.Contains(b.post.letters[0].Text, string(test.code)) {
				t.Errorf("report_to should be told once why, but %d letters were sent", len(b.post.letters))
			}
			b.wantSales()
		})
	}
}

func TestTheSameFileAgainChangesNothing(t *testing.T) {
	for _, mode := range conversion.Modes {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, inMode(mode))
			b.know(0, 2)
			content := table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(1, "R2", "T", "30.00"))
			b.put("orders.csv", content)
			b.work()
			ledger := b.ledger()
			for _, name := range []string{"orders.csv", "orders copy.csv"} {
				b.put(name, content)
				b.work()
			}
			if got := b.ledger(); !slices.Equal(got, ledger) {
				t.Errorf("the ledger was\n%s\nand is now\n%s", strings.Join(ledger, "\n"), strings.Join(got, "\n"))
			}
			for _, again := range b.uploads()[1:] {
				b.wantVerdicts(again.ID, "unchanged unchanged unchanged")
				if again.SameAs != 1 {
					t.Errorf("upload %d names upload %d as the same file, want the first, 1", again.ID, again.SameAs)
				}
				if text := strings.Join(strings.Fields(b.told(again.ID)), " "); !strings.Contains(text, "The same file came before, as upload 1.") {
					t.Errorf("the report on upload %d doesn't name the first upload:\n%s", again.ID, text)
				}
			}
			b.wantFiles([]string{"orders copy.csv", "orders-2.csv", "orders.csv"}, "processed", "2026-03-31")
			b.check()
		})
	}
}

// The rows of a file that were not applied are decided again when it comes
// again; those that were stay, whatever has happened since.
func TestTheSameFileAgainDecidesWhatWasNotApplied(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.WaitForCalls = 0 })
	b.know(0, 1)
	content := table(line(0, "R0", "S", "10.00"), line(5, "R5", "S", "50.00"))
	first := b.deliver("orders.csv", content)
	b.wantVerdicts(first.ID, "created rejected:call_not_found")
	b.wantVerdicts(b.deliver("newer.csv", table(line(0, "R0", "S", "99.00"))).ID, "updated")
	b.know(5, 6)
	b.wantVerdicts(b.deliver("orders.csv", content).ID, "unchanged created")
	b.wantSales("C0=99.00", "C5=50.00")
	b.check()
}

func TestAgainDecidesEveryRowOfAFileThatCameBefore(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	content := table(line(0, "R0", "S", "10.00"))
	b.deliver("orders.csv", content)
	b.deliver("newer.csv", table(line(0, "R0", "S", "99.00")))
	d := delivery("23", "orders.csv", content)
	d.Again = true
	upload, err := b.Accept(t.Context(), d)
	if err == nil {
		err = b.Decide(t.Context(), upload)
	}
	if err != nil {
		t.Fatal(err)
	}
	if upload.SameAs != 0 {
		t.Errorf("a file that is to be decided again names upload %d as the same", upload.SameAs)
	}
	b.wantVerdicts(upload.ID, "updated")
	b.wantSales("C0=10.00")
	b.check()
}

func TestASourceThatFailsDelaysNoOther(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	unreadable := delivery("23", "gone.csv", "")
	unreadable.Open = func() (io.ReadCloser, error) { return nil, errors.New("input/output error") }
	b.Plans = []worker.Plan{
		{Source: &pile{name: "dead", err: errors.New("connection refused")}},
		{Source: &pile{name: "flaky", err: errors.New("one mail is broken"), deliveries: []*ingest.Delivery{unreadable, delivery("23", "a.csv", table(line(0, "", "", "10.00")))}}},
		{Source: &pile{name: "good", deliveries: []*ingest.Delivery{delivery("23", "b.csv", table(line(1, "", "", "20.00")))}}},
	}
	err := b.RunOnce(t.Context())
	for _, want := range []string{"dead: connection refused", "flaky: one mail is broken", "gone.csv: input/output error"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want it to say %q", err, want)
		}
	}
	b.wantSales("C0=10.00", "C1=20.00")
	if len(b.post.letters) != 2 {
		t.Errorf("%d reports were sent, want 2", len(b.post.letters))
	}
}

// Small uploads that wait are decided in one transaction.
func TestSmallUploadsAreDecidedTogether(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 9)
	for i := range 3 {
		b.accept(fmt.Sprintf("%d.csv", i), table(line(i, "", "", "1.00"), line(i, "", "", "2.00")))
	}
	transactions := 0
	w := b.another(settleHook{b.db, func() { transactions++ }})
	if err := w.DecideAll(t.Context()); err != nil || transactions != 1 {
		t.Errorf("%d transactions, %v; want one", transactions, err)
	}
	for id := range int64(3) {
		b.wantVerdicts(id+1, "created updated")
	}
	b.check()
}

// A dry run among uploads that are decided together changes nothing.
func TestADryRunIsNotDecidedTogetherWithOthers(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 9)
	for i := range 3 {
		b.Plans[0].DryRun = i == 1
		b.put(fmt.Sprintf("%d.csv", i), table(line(i, "", "", "1.00")))
		for range 2 { // a file is taken when it was seen twice
			for delivery, err := range b.drop.Deliveries(t.Context()) {
				if err == nil {
					_, err = b.Accept(t.Context(), delivery)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var log bytes.Buffer
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := b.DecideAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if decided, told := strings.Count(log.String(), "upload decided"), strings.Count(log.String(), "tally=\"1 row: 1 created\""); decided != 3 || told != 3 {
		t.Errorf("3 uploads were decided %d times, with one created row each %d times:\n%s", decided, told, log.String())
	}
	b.wantSales("C0=1.00", "C2=1.00")
	b.check()
}

// failingStore fails to settle some chunks.
type failingStore struct {
	worker.Store
	poison func(conversion.HeldQuery) bool
}

func (s failingStore) around(other worker.Store) worker.Store { return failingStore{other, s.poison} }

func (s failingStore) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	if s.poison(query) {
		return errors.New("disk I/O error")
	}
	return s.Store.Settle(ctx, query, decide)
}

func TestAnUploadThatFailsDelaysNoOtherAndGoesOnLater(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 9)
	w := b.another(failingStore{b.db, func(q conversion.HeldQuery) bool { return q.By == 1 && q.First > 3 }})
	w.ChunkRows = 2
	b.put("a.csv", table(line(0, "", "", "1.00"), line(1, "", "", "2.00"), line(2, "", "", "3.00"), line(3, "", "", "4.00"), line(4, "", "", "5.00")))
	b.put("b.csv", table(line(7, "", "", "8.00")))
	if err := w.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "decide upload 1") {
		t.Errorf("the error is %v, want it to name upload 1", err)
	}
	b.wantVerdicts(2, "created")
	if u := b.upload(1); u.State != conversion.Deciding || u.Cursor != 3 || u.Tally.Rows != 2 {
		t.Errorf("upload 1 is %s at line %d with %d rows, want it deciding at line 3 with 2 rows", u.State, u.Cursor, u.Tally.Rows)
	}
	b.work()
	b.wantVerdicts(1, "created created created created created")
	b.wantSales("C0=1.00", "C1=2.00", "C2=3.00", "C3=4.00", "C4=5.00", "C7=8.00")
	b.check()
}

func TestADeliverySeenAgainIsOnlyAcknowledged(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	var acknowledged []ingest.Disposition
	d := delivery("23", "orders.csv", table(line(0, "", "", "10.00")))
	d.Ack = func(_ context.Context, disposition ingest.Disposition) error {
		acknowledged = append(acknowledged, disposition)
		if len(acknowledged) == 1 {
			return errors.New("the connection broke")
		}
		return nil
	}
	if _, err := b.Accept(t.Context(), d); err == nil {
		t.Fatal("a delivery that can't be acknowledged should be an error")
	}
	for range 2 {
		if _, err := b.Accept(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if err := b.DecideAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.wantVerdicts(b.only().ID, "created")
	if !slices.Equal(acknowledged, []ingest.Disposition{ingest.Accepted, ingest.Accepted, ingest.Accepted}) {
		t.Errorf("acknowledged as %v", acknowledged)
	}
}

func TestErrorLimit(t *testing.T) {
	tests := []struct {
		limit int
		want  string
	}{
		{0, "created rejected:amount_invalid created rejected:amount_invalid created"},
		{1, "created rejected:amount_invalid rejected:not_reached rejected:not_reached rejected:not_reached"},
		{2, "created rejected:amount_invalid created rejected:amount_invalid rejected:not_reached"},
		{3, "created rejected:amount_invalid created rejected:amount_invalid created"},
	}
	for _, test := range tests {
		for _, chunk := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("limit %d, chunks of %d", test.limit, chunk), func(t *testing.T) {
				b := newBench(t, func(a *conversion.Account) { a.ErrorLimit = test.limit })
				b.know(0, 5)
				b.ChunkRows = chunk
				upload := b.deliver("orders.csv", table(line(0, "", "", "1.00"), line(1, "", "", "x"), line(2, "", "", "3.00"), line(3, "", "", "x"), line(4, "", "", "5.00")))
				b.wantVerdicts(upload.ID, test.want)
				b.check()
			})
		}
	}
}

// Two files of the same name are two uploads, and what was said of the first
// must not be lost when the second comes.
func TestReportsOnFilesOfOneNameAreKeptApart(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.put("orders.csv", table(line(0, "first", "S", "oops")))
	b.work()
	b.put("orders.csv", table(line(1, "second", "S", "20.00")))
	b.work()
	b.put("orders.fix.csv", table(line(0, "third", "S", "30.00")))
	b.work()
	var all, fixes string
	for _, name := range b.files("results") {
		all += b.read("results", name)
		if strings.HasSuffix(name, ".fix.csv") {
			fixes += name + " "
		}
	}
	if !strings.Contains(all, "first,S,oops,rejected") || !strings.Contains(all, "second,S,20.00,created") || !strings.Contains(all, "third,S,30.00,created") {
		t.Errorf("results/ holds %q; one of the three uploads' results is lost:\n%s", b.files("results"), all)
	}
	if results := b.files("results"); slices.Contains(results, "orders.fix.csv") && !strings.Contains(b.read("results", "orders.results.csv"), "oops") {
		t.Errorf("results/ holds %q: the fix file is of the first upload, the results file beside it of the second", results)
	}
}

// A report in a folder is a file of its own, whatever the upload's name.
func TestALongNameCanBeReported(t *testing.T) {
	for _, name := range []string{strings.Repeat("n", 251) + ".csv", strings.Repeat("日", 76) + ".csv", strings.Repeat("日", 83) + ".csv", "two\nlines.csv"} {
		t.Run(fmt.Sprint(len(name), " bytes"), func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			b.put(name, table(line(0, "", "", "1.00")))
			b.work()
			if got := b.files("results"); len(got) != 1 || strings.ContainsAny(got[0], "\n") {
				t.Errorf("results/ holds %q, want one file with a plain name", got)
			}
			b.wantFiles([]string{}, "work")
		})
	}
}

// Nothing was applied is only said where nothing was.
func TestARefusalAfterSomeRowsWereAppliedDoesNotDenyThem(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 4)
	settles := 0
	w := b.another(failingStore{b.db, func(conversion.HeldQuery) bool { settles++; return settles > 1 }})
	w.ChunkRows = 2
	upload, err := w.Accept(t.Context(), delivery("23", "orders.csv", table(line(0, "", "", "1.00"), line(1, "", "", "2.00"), line(2, "", "", "3.00"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Decide(t.Context(), upload); err == nil {
		t.Fatal("the second chunk should have failed")
	}
	// The account is taken out of the configuration before the next start.
	restarted := b.another(b.db)
	restarted.Accounts = nil
	if err := restarted.DecideAll(t.Context()); err != nil {
		t.Log(err)
	}
	if held := len(b.sales()); held > 0 && strings.Contains(b.told(upload.ID), "Nothing in the file was applied") {
		t.Errorf("%d rows were applied, but the report says that nothing was", held)
	}
}

func TestRunTakesFilesUntilItIsStopped(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.Now, b.drop.Now, b.drop.Settle = time.Now, time.Now, time.Millisecond
	b.account.Match.Lookback, b.account.WaitForCalls = 0, 0
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	for i := range 3 {
		b.put(fmt.Sprintf("%d.csv", i), table(line(i, "", "", "1.00")))
		deadline := time.Now().Add(10 * time.Second)
		for !slices.Contains(b.files("results"), fmt.Sprintf("%d.results.csv", i)) {
			if time.Now().After(deadline) {
				t.Fatalf("no report on file %d within 10 s", i)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.check()
}
