package worker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// undo takes back an upload and returns what the undo is recorded as.
func (b *bench) undo(of int64, keep bool) (undo *conversion.Upload, verdicts string) {
	b.t.Helper()
	err := b.Undo(b.t.Context(), b.upload(of), keep, func(w *worker.Worker, u *conversion.Upload) error {
		undo = u
		told, err := w.Told(b.t.Context(), u, 1)
		if err == nil {
			verdicts = strings.Join(strings.Fields(textOf(b.t, told)), " ")
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return undo, verdicts
}

// replay decides an upload again and returns what differs.
func (b *bench) replay(of int64, keep bool) (again *conversion.Upload, differences []worker.Difference) {
	b.t.Helper()
	err := b.Replay(b.t.Context(), b.upload(of), keep, func(_ *worker.Worker, u *conversion.Upload, found worker.Comparison) error {
		again, differences = u, found.Differences
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return again, differences
}

func TestUndoTakesBackAllThatAnUploadDid(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 3)
	b.deliver("monday.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
	before := b.standings()
	b.deliver("tuesday.csv", table(line(0, "R0", "S", "15.00"), line(2, "R2", "S", "30.00"), line(0, "R0", "S", "16.00")))
	undo, _ := b.undo(2, true)
	if undo.Undoes != 2 || undo.Source != "test" {
		t.Errorf("the undo is %+v", undo)
	}
	b.wantVerdicts(undo.ID, "updated updated updated")
	if got := b.standings(); !slices.Equal(got, before) {
		t.Errorf("held are %v, before %v", got, before)
	}
	b.check()

	// Twice is once.
	again, _ := b.undo(2, true)
	b.wantVerdicts(again.ID, "unchanged unchanged unchanged")

	// The file is no longer one that came before: it counts again.
	third := b.deliver("tuesday.csv", table(line(0, "R0", "S", "15.00"), line(2, "R2", "S", "30.00"), line(0, "R0", "S", "16.00")))
	b.wantVerdicts(third.ID, "updated created updated")
	b.wantSales("C0=16.00", "C1=20.00", "C2=30.00")
	b.check()
}

func TestUndoOfAnUndoRestores(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeIncrementPayout })
	b.know(0, 2)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
	b.deliver("2.csv", table(line(0, "R0", "S", "5.00")))
	before := b.standings()
	first, _ := b.undo(2, true)
	second, _ := b.undo(1, true)
	if got := b.standings(); got != nil {
		t.Errorf("held are %v, want none", got)
	}
	// The first file comes back; what was added to its conversion comes after.
	b.undo(second.ID, true)
	b.undo(first.ID, true)
	if got := b.standings(); !slices.Equal(got, before) {
		t.Errorf("held are %v, before %v", got, before)
	}
	b.check()
}

func TestUndoKeepsLaterEdits(t *testing.T) {
	for _, test := range []struct {
		name, second, third string
		mode                conversion.Mode
		undo                string // verdicts of undoing the second
		want                []string
	}{
		{"of other parts", "R1,5.00,", "R1,,X", conversion.ModeUpdate, "updated", []string{"C0, sale 10.00, payout 1.00, reason X"}},
		{"of the same amount: a conflict", "R1,5.00,", "R1,7.00,", conversion.ModeUpdate, "rejected:undo_conflict", []string{"C0, sale 7.00, payout 0.70, reason S"}},
		{"that add as well", "R1,5.00,", "R1,7.00,", conversion.ModeIncrementPayout, "updated", []string{"C0, sale 10.00, payout 1.70, reason S"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) {
				a.Duplicates = conversion.DuplicateRules{Key: []conversion.KeyPart{conversion.KeyReferenceID}, Mode: test.mode}
			})
			b.know(0, 1)
			at := callStart(0).Format(time.RFC3339)
			const header = "start_time,reference_id,sale_amount,reason_code\n"
			b.deliver("1.csv", header+at+",R1,10.00,S\n")
			b.deliver("2.csv", header+at+","+test.second+"\n")
			b.deliver("3.csv", header+at+","+test.third+"\n")
			undo, text := b.undo(2, true)
			b.wantVerdicts(undo.ID, test.undo)
			if strings.HasPrefix(test.undo, "rejected") && !strings.Contains(text, "changed since by upload 3 (line 2)") {
				t.Errorf("what stands in the way isn't named:\n%s", text)
			}
			if got := b.standings(); !slices.Equal(got, test.want) {
				t.Errorf("held are %v, want %v", got, test.want)
			}
			b.check()
		})
	}
}

func TestUndoOfACreationThatOthersChangedIsAConflict(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
	b.deliver("2.csv", table(line(0, "R0", "S", "11.00")))
	undo, _ := b.undo(1, true)
	b.wantVerdicts(undo.ID, "rejected:undo_conflict updated")
	b.wantSales("C0=11.00")
	b.undo(2, true)
	undo, _ = b.undo(1, true)
	b.wantVerdicts(undo.ID, "updated unchanged")
	b.wantSales()
	b.check()
}

func TestUndoEndsWaiting(t *testing.T) {
	b := newBench(t, waits)
	upload := b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
	b.wantVerdicts(upload.ID, "waiting:call_not_found")
	taken := b.upload(upload.ID)
	for _, keep := range []bool{false, true} { // a preview first
		if err := b.Undo(t.Context(), taken, keep, func(*worker.Worker, *conversion.Upload) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	b.know(0, 1)
	if err := b.Reconcile(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(upload.ID, "ignored")
	b.wantSales()
	// The undo of the undo has it wait again, and its call is there by now.
	redo, _ := b.undo(b.uploads()[1].ID, true)
	b.wantVerdicts(redo.ID, "updated")
	b.wantVerdicts(upload.ID, "waiting:call_not_found")
	b.reconcile()
	b.wantVerdicts(upload.ID, "created")
	b.wantSales("C0=10.00")
	third, _ := b.undo(redo.ID, true)
	b.wantVerdicts(third.ID, "rejected:undo_conflict")
	fourth, _ := b.undo(upload.ID, true)
	b.wantVerdicts(fourth.ID, "updated")
	b.wantSales()
	// Sent again, it counts.
	again := b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
	b.wantVerdicts(again.ID, "created")
	b.check()
}

func TestAPreviewedUndoChangesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
	before, uploads := b.ledger(), len(b.uploads())
	if _, text := b.undo(1, false); !strings.Contains(text, "1 row of upload 1 taken back") {
		t.Errorf("the preview says\n%s", text)
	}
	if !slices.Equal(b.ledger(), before) || len(b.uploads()) != uploads {
		t.Error("the preview left a trace")
	}
}

func TestWhatCannotBeUndone(t *testing.T) {
	b := newBench(t, nil)
	refused := b.deliver("1.csv", "nothing\n")
	err := b.Undo(t.Context(), refused, true, nil)
	if !errors.Is(err, worker.ErrCannotUndo) || !strings.Contains(err.Error(), "was refused and changed nothing") {
		t.Errorf("a refused upload: %v", err)
	}
	log := delivery("23", "calls.csv", "call_id,start_time\nC1,2026-03-31T11:00:00Z\n")
	log.Takes = conversion.TakesCalls
	upload, err := b.Accept(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DecideAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Undo(t.Context(), b.upload(upload.ID), true, nil); !errors.Is(err, worker.ErrCannotUndo) {
		t.Errorf("a call log: %v", err)
	}
}

func TestReplayUnderTheSameRulesIsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), "oops\n"))
	before, uploads := b.ledger(), len(b.uploads())
	if again, differences := b.replay(1, true); again != nil || differences != nil {
		t.Errorf("the replay found %+v", differences)
	}
	if !slices.Equal(b.ledger(), before) || len(b.uploads()) != uploads {
		t.Error("the replay left a trace")
	}
}

func TestReplayAppliesTodaysRulesAndCalls(t *testing.T) {
	b := newBench(t, nil) // a row without a call is rejected at once
	b.know(0, 2)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "L", "20.00"), line(2, "R2", "S", "30.00")))
	b.wantVerdicts(1, "created created rejected:call_not_found")
	b.know(2, 3)
	b.account.Payouts = append([]conversion.PayoutRule{{ReasonCodes: []string{"L"}, Fixed: conversion.Cents(500, "USD")}}, b.account.Payouts...)

	_, differences := b.replay(1, false)
	var lines []int
	for _, d := range differences {
		lines = append(lines, d.Was.Line)
	}
	if !slices.Equal(lines, []int{3, 4}) {
		t.Errorf("lines %v differ, want 3 and 4", lines)
	}
	b.wantSales("C0=10.00", "C1=20.00")

	again, _ := b.replay(1, true)
	b.wantVerdicts(again.ID, "unchanged created created")
	if got, want := b.standings(), []string{"C0, sale 10.00, payout 1.00, reason S", "C1, sale 20.00, payout 5.00, reason L", "C2, sale 30.00, payout 3.00, reason S"}; !slices.Equal(got, want) {
		t.Errorf("held are %v, want %v", got, want)
	}
	b.check()
	if _, differences := b.replay(again.ID, true); differences != nil {
		t.Errorf("replayed once more, it differs: %+v", differences)
	}
}

func TestReplayLeavesWhatOthersChanged(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 2)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
	b.deliver("2.csv", table(line(0, "R0", "S", "12.00")))
	b.account.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(300, "USD")}}
	again, _ := b.replay(1, true)
	b.wantVerdicts(again.ID, "rejected:undo_conflict created")
	if got, want := b.standings(), []string{"C0, sale 12.00, payout 1.20, reason S", "C1, sale 20.00, payout 3.00, reason S"}; !slices.Equal(got, want) {
		t.Errorf("held are %v, want %v", got, want)
	}
	b.check()
}

func TestDryRunFoldersAndAddressesChangeNothing(t *testing.T) {
	content := table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(1, "R1", "S", "21.00"), "oops\n")
	dry := newBench(t, nil)
	dry.know(0, 2)
	dry.ChunkRows = 2
	dry.Plans[0].DryRun = true
	dry.put("orders.csv", content)
	dry.work()
	upload := dry.only()
	dry.wantVerdicts(upload.ID, "created created updated rejected:row_malformed")
	dry.wantSales()
	if len(dry.post.letters) != 1 || !strings.Contains(dry.post.letters[0].Text, "This was a dry run: nothing was changed.") || !strings.Contains(dry.post.letters[0].raw, "Dry run: 4 rows") {
		t.Errorf("%d letters, the first: %s", len(dry.post.letters), dry.post.letters[0].raw)
	}
	if got := dry.read("results", "orders.results.csv"); !strings.Contains(got, "created") {
		t.Errorf("the results file: %s", got)
	}
	// In earnest the same file is no repeat, and the same becomes of it.
	dry.Plans[0].DryRun = false
	dry.put("orders.csv", content)
	dry.work()
	dry.wantVerdicts(dry.uploads()[1].ID, "created created updated rejected:row_malformed")
	dry.wantSales("C0=10.00", "C1=21.00")
	dry.check()
	if err := dry.Undo(t.Context(), dry.upload(upload.ID), true, nil); !errors.Is(err, worker.ErrCannotUndo) {
		t.Errorf("undoing a dry run: %v", err)
	}

	b := newBench(t, func(a *conversion.Account) {
		a.Addresses, a.DryRunAddresses = []string{"uploads@acme.example"}, []string{"try@acme.example"}
	})
	b.know(0, 2)
	for address, want := range map[string][]string{"try@acme.example": nil, "uploads@acme.example": {"C0=10.00", "C1=21.00"}} {
		d := delivery("", "orders.csv", content)
		d.Mail = &ingest.Mail{From: "ann@acme.example", Recipients: []string{address}, TrustRecipient: true}
		upload, err := b.Accept(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.DecideAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if upload.DryRun != (want == nil) {
			t.Errorf("%s: dry run %v", address, upload.DryRun)
		}
		if want != nil {
			b.wantSales(want...)
		}
	}
	b.check()
}

func TestADryRunOfACallLogKeepsNoCalls(t *testing.T) {
	b := newBench(t, waits)
	b.deliver("orders.csv", table(line(0, "R0", "S", "10.00")))
	b.Plans[0].DryRun = true
	log := delivery("23", "calls.csv", "call_id,start_time,calling_phone_number\nC0,2026-03-31T11:00:00Z,+12125550100\n")
	log.Source, log.Takes = "drop", conversion.TakesCalls
	if _, err := b.Accept(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if err := b.DecideAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantVerdicts(1, "waiting:call_not_found")
	if u := b.uploads()[1]; u.State != conversion.Decided || u.Tally.Of(conversion.Created) != 1 {
		t.Errorf("the log is %s with %s", u.State, u.Tally)
	}
}

func TestTheNightlyDigest(t *testing.T) {
	b := newBench(t, waits)
	b.know(0, 2)
	b.DigestTo, b.Zone = []string{"ops@calltally.example"}, b.account.Zone
	b.put("orders.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(2, "R2", "S", "30.00"), "oops\n"))
	b.work()
	b.put("login.csv", "<html>\n")
	b.work()
	b.post.letters = nil
	b.clock.advance(time.Hour)
	if err := b.Nightly(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.post.letters) != 1 {
		t.Fatalf("%d letters, want the digest", len(b.post.letters))
	}
	digest := b.post.letters[0]
	text := strings.Join(strings.Fields(digest.Text), " ")
	for _, part := range []string{
		"1 file not taken, 1 row waiting for calls", "Acme (23) drop 2 4 66.7% 1 1 1", "Waiting for calls Acme (23): 1 since 31 Mar 08:00 EDT",
		"Payouts changed by Acme (23): 3.00 USD", "Sources last read drop: 31 Mar 08:00 EDT",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, digest.Text)
		}
	}
	if digest.Subject != "Digest of 31 March 2026: 2 files, 4 rows" || !strings.Contains(digest.raw, "Auto-Submitted: auto-generated") || !strings.Contains(digest.raw, "X-Calltally-Report: digest") {
		t.Errorf("the mail is\n%s", digest.raw)
	}

	// One that can't be sent is made up for by the next.
	b.clock.advance(time.Hour)
	b.put("more.csv", table(line(0, "R0", "S", "11.00")))
	b.work()
	b.post.refuse = 1
	if err := b.SendDigest(t.Context()); !errors.Is(err, errRelay) {
		t.Errorf("the relay refused: %v", err)
	}
	b.clock.advance(24 * time.Hour)
	b.post.letters = nil
	if err := b.SendDigest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.post.letters[0].Subject; got != "Digest of 1 April 2026: 1 file, 1 row" {
		t.Errorf("the next digest is %q", got)
	}
}

func TestALogOfSeveralAccountsCalls(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) { a.Columns = map[string]string{"Company": "account"} })
	other := testAccount()
	other.ID, other.Name = "24", "Bolt"
	b.Accounts = append(b.Accounts, other)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := delivery("23", "calls.csv", "call_id,start_time,Company\nA,2026-03-31T11:00:00Z,acme\nB,2026-03-31T11:00:00Z,24\nC,2026-03-31T11:00:00Z,\nD,2026-03-31T11:00:00Z,Nobody\n")
	log.Takes = conversion.TakesCalls
	upload, err := b.Accept(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	tally, err := b.ImportCalls(t.Context(), upload)
	if err != nil || tally.Created != 3 || tally.Rejected != 1 {
		t.Fatalf("%+v, %v", tally, err)
	}
	if fault := tally.Faults[0]; fault.Line != 5 || fault.Faults[0].Code != conversion.AccountUnknown {
		t.Errorf("the fault is %+v", fault)
	}
	var calls []string
	err = b.db.ListCalls(t.Context(), "", 0, func(c conversion.Call, account string) error {
		calls = append(calls, fmt.Sprint(account, c.CallID))
		return nil
	})
	slices.Sort(calls)
	if err != nil || !slices.Equal(calls, []string{"23A", "23C", "24B"}) {
		t.Errorf("calls %v, %v", calls, err)
	}
}
