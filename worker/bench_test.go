package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/folder"
	"calltally/report"
	"calltally/report/reply"
	"calltally/store"
	"calltally/worker"
)

// noon is when every test begins. The calls lie in the hour before it.
var noon = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

// bench is a worker with a real store and a real drop folder, on a clock that
// only the test moves.
type bench struct {
	*worker.Worker
	t       *testing.T
	db      *store.Store
	file    string // of the store
	clock   *clock
	account *conversion.Account
	drop    *ingest.Drop
	path    string // of the drop folder
	dropped int
	post    *postbox
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// testAccount pays 10% of a sale and updates what it holds.
func testAccount() *conversion.Account {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	return &conversion.Account{
		ID: "23", Name: "Acme", Region: "US", Zone: zone, Currency: "USD", DecimalMark: '.', DateOrder: conversion.DateOrderAuto,
		ReportTo: []string{"ops@acme.example"},
		Match:    conversion.MatchRules{Window: 5 * time.Minute, WindowWithoutCaller: time.Minute, Margin: 10 * time.Second, Lookback: 90 * 24 * time.Hour},
		Duplicates: conversion.DuplicateRules{
			Key: conversion.DefaultKey, Mode: conversion.ModeUpdate,
		},
		Payouts: []conversion.PayoutRule{{Percent: decimal.NewFromInt(10), HasPercent: true}},
	}
}

// newBench makes a bench; change, if not nil, changes its account first.
func newBench(t *testing.T, change func(*conversion.Account)) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: noon}, account: testAccount(), post: &postbox{}, file: filepath.Join(t.TempDir(), "calltally.db")}
	if change != nil {
		change(b.account)
	}
	b.path = t.TempDir()
	b.drop = &ingest.Drop{Label: "drop", Place: folder.Folder(b.path), Account: b.account.ID, Takes: conversion.TakesConversions, Now: b.clock.Now}
	b.db = openStore(t, b.file)
	b.Worker = b.another(b.db)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// inMode puts an account into a mode. Where repeats are told by their event, the
// rows' references are the events' ids.
func inMode(mode conversion.Mode) func(*conversion.Account) {
	return func(a *conversion.Account) {
		a.Duplicates.Mode = mode
		if mode == conversion.ModeIgnoreSameEvent {
			a.Columns = map[string]string{"reference_id": "event_id"}
		}
	}
}

// A finding is something that once went wrong, in its smallest form.
type finding struct {
	what string
	mode func(*conversion.Account)
	test func(*bench)
}

// run tries a finding on calls 0 and 1, whose clicks are K0 and K1.
func (f finding) run(t *testing.T) {
	b := newBench(t, f.mode)
	calls := testCalls(0, 2)
	for i := range calls {
		calls[i].ClickID = fmt.Sprint("K", i)
	}
	if _, err := b.db.SaveCalls(t.Context(), b.account.ID, calls); err != nil {
		t.Fatal(err)
	}
	f.test(b)
	b.check()
}

// clicks is the header of the files of findings that go by their click.
const clicks = "clickid,type,status,sum,rdtk_event_id,cost\n"

func openStore(t *testing.T, file string) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// another makes a worker like the bench's own on a store.
func (b *bench) another(s worker.Store) *worker.Worker {
	return &worker.Worker{
		Store: s, Together: b.together(s), Accounts: []*conversion.Account{b.account}, Plans: []worker.Plan{{Source: b.drop, Every: time.Second}},
		Replier: b.post, MailDomain: "calltally.example", Now: b.clock.Now, Log: slog.New(slog.NewTextHandler(logWriter{b.t}, nil)),
	}
}

// together is how a worker on a store does things together. What a test has put
// around the store comes before each transaction, or around it.
func (b *bench) together(s worker.Store) func(context.Context, func(worker.Store) (bool, error)) error {
	if own, ok := s.(*store.Store); ok {
		return worker.TogetherIn(own)
	}
	return func(ctx context.Context, f func(worker.Store) (bool, error)) error {
		if hook, ok := s.(interface{ beforeTogether() error }); ok {
			if err := hook.beforeTogether(); err != nil {
				return err
			}
		}
		return b.db.Together(ctx, func(together *store.Store) (bool, error) {
			if around, ok := s.(interface {
				around(worker.Store) worker.Store
			}); ok {
				return f(around.around(together))
			}
			return f(together)
		})
	}
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	if bytes.Contains(p, []byte("212555")) {
		w.t.Errorf("the log tells a caller's number: %s", p)
	}
	return len(p), nil
}

// callStart is when call i began: one a minute, from eleven o'clock on.
func callStart(i int) time.Time { return noon.Add(-time.Hour + time.Duration(i)*time.Minute) }

func caller(i int) conversion.Phone { return conversion.Phone(12125550100 + int64(i)) }

func testCalls(from, to int) []conversion.Call {
	var calls []conversion.Call
	for i := from; i < to; i++ {
		calls = append(calls, conversion.Call{
			CallID: fmt.Sprintf("C%d", i), TransactionID: fmt.Sprintf("T%d", i), ExternalID: fmt.Sprintf("X%d", i), ClickID: fmt.Sprintf("K%d", i), Start: conversion.MillisOf(callStart(i)), Duration: 60, Caller: caller(i), Called: 18005550100, Campaign: "camp", Publisher: "pub",
		})
	}
	return calls
}

// know lets the account have calls from to to-1.
func (b *bench) know(from, to int) {
	b.t.Helper()
	if _, err := b.db.SaveCalls(b.t.Context(), b.account.ID, testCalls(from, to)); err != nil {
		b.t.Fatal(err)
	}
}

const header = "start_time,calling_phone_number,reference_id,reason_code,sale_amount\n"

// line is a row about call i.
func line(call int, reference, reason, sale string) string {
	return fmt.Sprintf("%s,+%d,%s,%s,%s\n", callStart(call).Format(time.RFC3339), int64(caller(call)), reference, reason, sale)
}

func table(lines ...string) string { return header + strings.Join(lines, "") }

// put drops a file, whole at once; files dropped later are younger.
func (b *bench) put(name, content string) {
	b.t.Helper()
	b.dropped++
	coming, at := b.path+".coming", noon.Add(time.Duration(b.dropped)*time.Second)
	if err := errors.Join(os.WriteFile(coming, []byte(content), 0o666), os.Chtimes(coming, at, at), os.Rename(coming, filepath.Join(b.path, name))); err != nil {
		b.t.Fatal(err)
	}
}

// work looks at the sources until every dropped file was seen twice.
func (b *bench) work() {
	b.t.Helper()
	for range 2 {
		if err := b.RunOnce(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
}

// deliver has a file come at once, past the drop folder, and decides it.
func (b *bench) deliver(name, content string) *conversion.Upload {
	b.t.Helper()
	upload, err := b.Accept(b.t.Context(), delivery(b.account.ID, name, content))
	if err == nil && upload.State == conversion.Received {
		err = b.Decide(b.t.Context(), upload)
	}
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	return b.upload(upload.ID)
}

var deliveries int

func delivery(account, name, content string) *ingest.Delivery {
	deliveries++
	return &ingest.Delivery{
		Source: "test", Origin: fmt.Sprint("delivery ", deliveries), Name: name, Account: account, Takes: conversion.TakesConversions,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

func (b *bench) upload(id int64) *conversion.Upload {
	b.t.Helper()
	u, err := b.db.Upload(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// uploads lists all uploads, oldest first.
func (b *bench) uploads() []*conversion.Upload {
	b.t.Helper()
	var all []*conversion.Upload
	err := b.db.ListUploads(b.t.Context(), "", 0, func(u *conversion.Upload) error {
		all = append(all, u)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// only is the only upload there is.
func (b *bench) only() *conversion.Upload {
	b.t.Helper()
	all := b.uploads()
	if len(all) != 1 {
		b.t.Fatalf("%d uploads, want 1", len(all))
	}
	return all[0]
}

func (b *bench) outcomes(upload int64) []conversion.Outcome {
	b.t.Helper()
	var all []conversion.Outcome
	err := b.db.Outcomes(b.t.Context(), upload, 0, func(chunk []conversion.Outcome) (bool, error) {
		all = append(all, chunk...)
		return true, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// verdicts are an upload's verdicts, with their codes, in order.
func (b *bench) verdicts(upload int64) string {
	b.t.Helper()
	var all []string
	for _, o := range b.outcomes(upload) {
		text := o.Verdict.String()
		if o.Code != "" {
			text += ":" + string(o.Code)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (b *bench) wantVerdicts(upload int64, want string) {
	b.t.Helper()
	if got := b.verdicts(upload); got != want {
		b.t.Errorf("upload %d: verdicts are %q, want %q", upload, got, want)
	}
}

// ledger is all that the ledger holds, one line for every conversion and
// change.
func (b *bench) ledger() []string {
	b.t.Helper()
	var lines []string
	var held []*conversion.Conversion
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, account, callID string) error {
		held = append(held, c)
		lines = append(lines, fmt.Sprintf("conversion %d nth %d call %s sale %s payout %s %+v", c.ID, c.Nth, callID, c.Sale, c.Payout, c.Details))
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range held {
		changes, err := b.db.Changes(b.t.Context(), c)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, change := range changes {
			lines = append(lines, fmt.Sprintf("change %d of %d: %s sale %s to %s, payout %s to %s, %+v, %s",
				change.ID, change.Conversion, change.Verdict, change.Before.Sale, change.After.Sale, change.Before.Payout, change.After.Payout, change.Details, change.Rule))
		}
	}
	slices.Sort(lines)
	return lines
}

// sales are the sales of the conversions that are held, sorted.
func (b *bench) sales() []string {
	b.t.Helper()
	var sales []string
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, _, callID string) error {
		sales = append(sales, callID+"="+c.Sale.String())
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(sales)
	return sales
}

func (b *bench) wantSales(want ...string) {
	b.t.Helper()
	if got := b.sales(); !slices.Equal(got, want) {
		b.t.Errorf("the ledger holds %v, want %v", got, want)
	}
}

// check proves what must hold at any time: the ledger adds up, and every
// upload's tally sums to its rows.
func (b *bench) check() {
	b.t.Helper()
	verified, err := b.db.Verify(b.t.Context())
	if err != nil || verified.Mismatches > 0 {
		b.t.Errorf("the ledger doesn't add up: %+v, %v", verified, err)
	}
	for _, u := range b.uploads() {
		if u.State != conversion.Decided || u.Takes != conversion.TakesConversions {
			continue
		}
		counted, listed := 0, conversion.Tally{}
		for _, n := range u.Tally.Counts {
			counted += n
		}
		listed.Add(b.outcomes(u.ID)...)
		if counted != u.Tally.Rows || u.Tally.Rows != u.Reading.Rows || listed != u.Tally {
			b.t.Errorf("upload %d read %d rows; its tally has %d and sums to %d; its outcomes are %v", u.ID, u.Reading.Rows, u.Tally.Rows, counted, listed)
		}
	}
}

// told is the text of an upload's report.
func (b *bench) told(upload int64) string {
	b.t.Helper()
	told, err := b.Told(b.t.Context(), b.upload(upload), 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return textOf(b.t, told)
}

func textOf(t *testing.T, told *worker.Told) string {
	t.Helper()
	var text strings.Builder
	if err := report.Text(&text, told.Report); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// dueReports lists the reports that are due now, as upload.revision.
func (b *bench) dueReports() []string {
	b.t.Helper()
	var due []string
	err := b.db.ReportsDue(b.t.Context(), conversion.MillisOf(b.clock.Now()), func(r conversion.ReportDue) error {
		due = append(due, fmt.Sprintf("%d.%d", r.Upload, r.Revision))
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return due
}

// files lists a folder's files below the drop folder.
func (b *bench) files(parts ...string) []string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(append([]string{b.path}, parts...)...))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func (b *bench) wantFiles(want []string, parts ...string) {
	b.t.Helper()
	if got := b.files(parts...); !slices.Equal(got, want) {
		b.t.Errorf("%s holds %q, want %q", filepath.Join(parts...), got, want)
	}
}

func (b *bench) read(parts ...string) string {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{b.path}, parts...)...))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(content)
}

// postbox is a Replier that keeps the letters it is given. The first few it may
// refuse.
type postbox struct {
	mu      sync.Mutex
	says    map[string]error // against recipients; for good unless it begins with a 4
	refuse  int              // how many letters are still refused
	letters []letter
	sending func() // what happens while a letter is sent
}

// letter is a letter and the mail that it becomes.
type letter struct {
	*report.Letter
	raw      string
	files    []string // what its attachments hold
	accepted bool
}

// posted is what a relay says that takes a letter for all but some.
func (p *postbox) posted(l *report.Letter) (all []report.Posted) {
	to := l.Envelope
	if to == nil {
		to = l.To
	}
	for _, address := range to {
		one := report.Posted{To: address, Refusal: p.says[address]}
		one.Later = one.Refusal != nil && strings.HasPrefix(one.Refusal.Error(), "4")
		all = append(all, one)
	}
	return all
}

var errRelay = errors.New("451 the relay is busy")

func (p *postbox) Send(_ context.Context, l *report.Letter) ([]report.Posted, error) {
	if p.sending != nil {
		p.sending()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sender := reply.Sender{From: mail.Address{Address: "uploads@calltally.example"}}
	var raw bytes.Buffer
	if err := sender.Write(&raw, l); err != nil {
		return nil, err
	}
	var files []string
	for _, file := range l.Attachments {
		var content strings.Builder
		if err := file.Write(&content); err != nil {
			return nil, err
		}
		files = append(files, content.String())
	}
	p.refuse--
	p.letters = append(p.letters, letter{l, raw.String(), files, p.refuse < 0})
	if p.refuse >= 0 {
		return nil, errRelay
	}
	return p.posted(l), nil
}

// pile is a source that hands out what lies on it, or fails.
type pile struct {
	name       string
	deliveries []*ingest.Delivery
	err        error
}

func (p *pile) Name() string { return p.name }

func (p *pile) Deliveries(context.Context) iter.Seq2[*ingest.Delivery, error] {
	return func(yield func(*ingest.Delivery, error) bool) {
		if p.err != nil && !yield(nil, p.err) {
			return
		}
		for _, d := range p.deliveries {
			if !yield(d, nil) {
				return
			}
		}
		p.deliveries = nil
	}
}

// last is the last letter that the relay took.
func (p *postbox) last(t *testing.T) letter {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.letters) == 0 {
		t.Fatal("no letter was sent")
	}
	return p.letters[len(p.letters)-1]
}
