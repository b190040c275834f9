package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"calltally/conversion"
)

// conformance is what every engine must pass. open opens an empty store.
func conformance(t *testing.T, open func(t *testing.T) *Store) {
	for _, suite := range []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) *Store)
	}{
		{"uploads", testUploads}, {"settling", testSettling}, {"what is held", testHeld}, {"calls", testCalls},
		{"corrected calls", testCorrectedCalls}, {"rehearsals", testRehearsals}, {"the proof of the ledger", testVerify},
		{"reports", testReports}, {"refusals", testRefusals}, {"polls and jobs", testPollsAndJobs}, {"searches for calls", testSearches}, {"what calls are found by", testCallsFound}, {"statements", testStatements}, {"what is done together", testTogether}, {"what is done together and fails in part", testFailedPart}, {"what is found in its transaction", testFoundInTransaction}, {"costs of calls", testCosts}, {"opening", testOpening}, {"many writers", testManyWriters}, {"checks", testChecks}, {"fences", testFences},
	} {
		t.Run(suite.name, func(t *testing.T) { suite.run(t, open) })
	}
}

func testUploads(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("the same delivery is known, another origin or other bytes are new", func(t *testing.T) {
		s := open(t)
		first := saved(t, s, "a.csv")
		for _, test := range []struct {
			name   string
			change func(*conversion.Upload)
			bytes  string
			known  bool
			sameAs int64
		}{
			{"same source, origin and bytes", func(*conversion.Upload) {}, "a.csv", true, 0},
			{"a new name for the same delivery", func(u *conversion.Upload) { u.Name = "b.csv" }, "a.csv", true, 0},
			{"another origin", func(u *conversion.Upload) { u.Origin = "b.csv" }, "a.csv", false, first.ID},
			{"another source", func(u *conversion.Upload) { u.Source, u.Origin = "mail", "a.csv" }, "a.csv", false, 0},
			{"other bytes", func(*conversion.Upload) {}, "other", false, 0},
		} {
			u := newUpload("a.csv")
			test.change(u)
			got, known, err := s.SaveUpload(t.Context(), u, content(test.bytes))
			must(t, err)
			if known != test.known || (got.ID == first.ID) != test.known {
				t.Errorf("%s: known %v as upload %d, want %v", test.name, known, got.ID, test.known)
			}
			if test.known && (got.Name != "sales.csv" || got.SameAs != 0) {
				t.Errorf("%s: not the upload that was saved: %+v", test.name, got)
			}
			if test.sameAs != 0 && got.SameAs != test.sameAs {
				t.Errorf("%s: same as %d, want %d", test.name, got.SameAs, test.sameAs)
			}
		}
	})
	t.Run("an upload is found by its delivery", func(t *testing.T) {
		s := open(t)
		first := saved(t, s, "a.csv")
		_, _, err := s.SaveUpload(t.Context(), newUpload("a.csv"), content("other bytes"))
		must(t, err)
		for _, test := range []struct {
			source, origin string
			want           bool
		}{{first.Source, "a.csv", true}, {first.Source, "b.csv", false}, {"mail", "a.csv", false}} {
			got, err := s.Delivered(t.Context(), test.source, test.origin)
			must(t, err)
			if (got != nil) != test.want || test.want && got.ID != first.ID {
				t.Errorf("%s of %s: %+v", test.origin, test.source, got)
			}
		}
	})
	t.Run("what came together is found together", func(t *testing.T) {
		s := open(t)
		for i, bundle := range []string{"mail 1", "", "mail 2", "mail 1"} {
			u := newUpload(fmt.Sprint(i))
			u.Bundle, u.Closes = bundle, i == 3
			_, _, err := s.SaveUpload(t.Context(), u, content(u.Origin))
			must(t, err)
		}
		got, err := s.Bundle(t.Context(), newUpload("").Source, "mail 1")
		must(t, err)
		if len(got) != 2 || got[0].Origin != "0" || got[0].Closes || got[1].Origin != "3" || !got[1].Closes {
			t.Errorf("found %+v", got)
		}
		if got, err := s.Bundle(t.Context(), newUpload("").Source, ""); err != nil || len(got) > 0 {
			t.Errorf("what came alone is a bundle of %d, %v", len(got), err)
		}
	})
	t.Run("an upload is read back as it was saved", func(t *testing.T) {
		s := open(t)
		u := newUpload("imap:1:2:3")
		u.Dialect, u.Again, u.Stem, u.Bundle, u.Closes = "invoca", true, "sales", "mail 1", true
		u.Mail = conversion.MailOrigin{ReplyTo: "ann@acme.example", Subject: "Zoë's \"file\"", MessageID: "m@acme.example", References: []string{"a@b", "c@d"}}
		want, _, err := s.SaveUpload(t.Context(), u, content("x"))
		must(t, err)
		got, err := s.Upload(t.Context(), want.ID)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back\n%+v\nwant\n%+v", got, want)
		}
	})
	t.Run("the bytes come back as they were", func(t *testing.T) {
		s := open(t)
		for _, size := range []int{0, 1, partSize - 1, partSize, partSize + 1, 3*partSize + 17} {
			text := strings.Repeat("0123456789abcde\xff", size/16+1)[:size]
			u, _, err := s.SaveUpload(t.Context(), newUpload(fmt.Sprint(size)), content(text))
			must(t, err)
			if u.Size != int64(size) {
				t.Errorf("%d bytes are saved as %d", size, u.Size)
			}
			for range 2 { // and can be read again
				if got := readAll(t, s, u.ID); got != text {
					t.Errorf("%d bytes came back as %d others", size, len(got))
				}
			}
		}
	})
	t.Run("bytes that change while they are read are not kept under the wrong digest", func(t *testing.T) {
		s := open(t)
		versions := []string{"first", "second"}
		u, _, err := s.SaveUpload(t.Context(), newUpload("growing.csv"), func() (io.ReadCloser, error) {
			text := versions[0]
			versions = versions[1:]
			return content(text)()
		})
		if err != nil {
			return // refusing them is right too
		}
		want, _, err := s.SaveUpload(t.Context(), newUpload("settled.csv"), content(readAll(t, s, u.ID)))
		must(t, err)
		if u.Digest != want.Digest {
			t.Errorf("%q is kept under the digest of other bytes", readAll(t, s, u.ID))
		}
	})
	t.Run("an upload whose bytes can't be read is not saved", func(t *testing.T) {
		s := open(t)
		broken := errors.New("broken")
		_, _, err := s.SaveUpload(t.Context(), newUpload("a.csv"), func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("half"), &failing{broken})), nil
		})
		if !errors.Is(err, broken) || len(listed(t, s, "", 0)) != 0 {
			t.Errorf("error %v, uploads %v", err, listed(t, s, "", 0))
		}
		opens := 0
		_, _, err = s.SaveUpload(t.Context(), newUpload("a.csv"), func() (io.ReadCloser, error) {
			if opens++; opens > 1 {
				return nil, broken
			}
			return content("all")()
		})
		if !errors.Is(err, broken) || len(listed(t, s, "", 0)) != 0 {
			t.Errorf("opened a second time: error %v, uploads %v", err, listed(t, s, "", 0))
		}
	})
	t.Run("the same bytes name the earlier upload of that account only", func(t *testing.T) {
		s := open(t)
		saved(t, s, "a.csv")
		save := func(origin string, change func(*conversion.Upload)) *conversion.Upload {
			u := newUpload(origin)
			change(u)
			u, _, err := s.SaveUpload(t.Context(), u, content("a.csv"))
			must(t, err)
			return u
		}
		for _, test := range []struct {
			name   string
			change func(*conversion.Upload)
			want   bool
		}{
			{"another account", func(u *conversion.Upload) { u.Account = "24" }, false},
			{"a call log", func(u *conversion.Upload) { u.Takes = conversion.TakesCalls }, false},
			{"asked for again", func(u *conversion.Upload) { u.Again = true }, false},
			{"the same account", func(*conversion.Upload) {}, true},
		} {
			u := save(test.name, test.change)
			if (u.SameAs != 0) != test.want {
				t.Errorf("%s: same as %d, want one: %v", test.name, u.SameAs, test.want)
			}
		}
	})
	t.Run("a refused upload is no earlier one", func(t *testing.T) {
		s := open(t)
		must(t, s.Refuse(t.Context(), saved(t, s, "a.csv").ID, conversion.Refusal{Code: conversion.NotATable, Sentence: "It is no table."}, 5))
		u, _, err := s.SaveUpload(t.Context(), newUpload("b.csv"), content("a.csv"))
		must(t, err)
		if u.SameAs != 0 {
			t.Errorf("same as %d", u.SameAs)
		}
	})
	t.Run("what is held stands still until it is approved, and goes on where it was", func(t *testing.T) {
		s := open(t)
		a, b := saved(t, s, "a"), begun(t, s, "b")
		hold := conversion.Hold{Code: conversion.AmountsOverLimit, Sentence: "Too much."}
		states := func() string {
			var said []string
			for _, id := range []int64{a.ID, b.ID} {
				u, err := s.Upload(t.Context(), id)
				must(t, err)
				said = append(said, fmt.Sprintf("%s %v", u.State, u.Approved))
			}
			return strings.Join(said, ", ")
		}
		toDecide := func(now conversion.Millis) (ids []int64) {
			must(t, s.UploadsToDecide(t.Context(), now, func(u *conversion.Upload) error { ids = append(ids, u.ID); return nil }))
			return ids
		}
		must(t, s.Hold(t.Context(), a.ID, hold, 5))
		must(t, s.Hold(t.Context(), b.ID, hold, 5))
		if got := states(); got != "held [], held []" || toDecide(9) != nil || len(due(t, s, 9)) != 2 {
			t.Errorf("held: %s; to decide %v; reports due %v", got, toDecide(9), due(t, s, 9))
		}
		if err := errors.Join(s.Hold(t.Context(), a.ID, hold, 6)); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("held twice: %v", err)
		}
		if err := s.BeginDeciding(t.Context(), a.ID, conversion.Reading{}); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("begun while it is held: %v", err)
		}
		if err := settle(t.Context(), s, settlement(b, 0, 2)); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("settled while it is held: %v", err)
		}
		must(t, s.Approve(t.Context(), a.ID))
		must(t, s.Approve(t.Context(), b.ID))
		if got := states(); got != "received [amounts_over_limit], deciding [amounts_over_limit]" || len(toDecide(9)) != 2 || len(due(t, s, 9)) != 0 {
			t.Errorf("approved: %s; to decide %v; reports due %v", got, toDecide(9), due(t, s, 9))
		}
		if err := s.Approve(t.Context(), a.ID); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("approved twice: %v", err)
		}
		must(t, s.NoteFailure(t.Context(), b.ID, "no memory", 20))
		if got := toDecide(19); len(got) != 1 || len(toDecide(20)) != 2 {
			t.Errorf("before the next try: %v, from then on %v", got, toDecide(20))
		}
		attempts := func() int {
			u, err := s.Upload(t.Context(), a.ID)
			must(t, err)
			return u.Attempts
		}
		must(t, s.NoteAttempts(t.Context(), []*conversion.Upload{a}))
		if attempts() != 1 {
			t.Errorf("%d attempts, want 1", attempts())
		}
		must(t, errors.Join(s.TakeBackAttempts(t.Context(), []*conversion.Upload{a}), s.TakeBackAttempts(t.Context(), []*conversion.Upload{a})))
		if attempts() != 0 {
			t.Errorf("%d attempts after they were taken back", attempts())
		}
	})
	t.Run("uploads are listed newest first, and those to decide oldest first", func(t *testing.T) {
		s := open(t)
		a, b, c := saved(t, s, "a"), begun(t, s, "b"), begun(t, s, "c")
		elsewhere := newUpload("d")
		elsewhere.Account = "24"
		d, _, err := s.SaveUpload(t.Context(), elsewhere, content("d"))
		must(t, err)
		done := settlement(c, 0, 2)
		done.Done = true
		must(t, settle(t.Context(), s, done))
		if got, want := listed(t, s, "", 0), []int64{d.ID, c.ID, b.ID, a.ID}; !slices.Equal(got, want) {
			t.Errorf("all: %v, want %v", got, want)
		}
		if got, want := listed(t, s, "23", 2), []int64{c.ID, b.ID}; !slices.Equal(got, want) {
			t.Errorf("two of the account: %v, want %v", got, want)
		}
		var todo []int64
		must(t, s.UploadsToDecide(t.Context(), 0, func(u *conversion.Upload) error { todo = append(todo, u.ID); return nil }))
		if want := []int64{a.ID, b.ID, d.ID}; !slices.Equal(todo, want) {
			t.Errorf("to decide: %v, want %v", todo, want)
		}
	})
	t.Run("an upload that isn't there is not found", func(t *testing.T) {
		if _, err := open(t).Upload(t.Context(), 99); !errors.Is(err, conversion.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func testSettling(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("all of a settlement is written together", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		w, createdToo := made(u, 3, func(c *conversion.Conversion) { c.Call, c.Sale, c.Payout = 0, conversion.Amount{}, conversion.Amount{} })
		c2, change := updated(c, u, 4, 1_000, func(c *conversion.Conversion) { c.Sale, c.Payout, c.ReasonCode = usd(0), usd(0), "R" })
		done := doing(doing(doing(settlement(u, 0, 2, 3, 4), w, createdToo), c2, created), c2, change)
		done.Conversions = []*conversion.Conversion{w, c2}
		done.Done, done.News, done.Diagnosis = true, true, "They are off by an hour."
		done.Fingerprints[conversion.Fingerprint{1}] = created.ID
		must(t, settle(t.Context(), s, done))

		got, err := s.Upload(t.Context(), u.ID)
		must(t, err)
		if got.State != conversion.Decided || got.Cursor != 4 || got.DecidedAt != 2_000 || got.Diagnosis != done.Diagnosis || got.Tally != done.Tally || got.Reading.Dialect != "invoca" {
			t.Errorf("upload %+v", got)
		}
		for _, want := range []*conversion.Conversion{c2, w} {
			got, account, _, err := s.Conversion(t.Context(), want.ID)
			must(t, err)
			if *got != *want || account != "23" {
				t.Errorf("conversion %+v of %s, want %+v", got, account, want)
			}
		}
		changes, err := s.Changes(t.Context(), c2)
		must(t, err)
		if want := []*conversion.Change{created, change}; !reflect.DeepEqual(changes, want) {
			t.Errorf("changes\n%+v %+v\nwant\n%+v %+v", changes[0], changes[1], want[0], want[1])
		}
		if all, _ := outcomes(t, s, u.ID, 0); !reflect.DeepEqual(all, done.Outcomes) {
			t.Errorf("outcomes %+v", all)
		}
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Fingerprints: []conversion.Fingerprint{{1}, {2}}})
		must(t, err)
		if got := held.Applied(conversion.Fingerprint{1}); got == nil || *got != *c2 {
			t.Errorf("applied %v, want %v", got, c2)
		}
		if got := held.Applied(conversion.Fingerprint{2}); got != nil {
			t.Errorf("a row that was never applied became %v", got)
		}
		wantVerified(t, s, 2, 3)
		wantDue(t, s, 2_000, fmt.Sprintf("%d/1/0", u.ID))
	})
	t.Run("an error in the decision writes nothing", func(t *testing.T) {
		s := open(t)
		u, broken := begun(t, s, "a"), errors.New("broken")
		err := s.Settle(t.Context(), conversion.HeldQuery{Account: "23"}, func(*conversion.Held) (*conversion.Settlement, error) { return nil, broken })
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		wantUntouched(t, s, u)
	})
	t.Run("an error in the last statement takes back all before it", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		bad := doing(settlement(u, 0, 2), c, created)
		bad.Fingerprints[conversion.Fingerprint{1}] = created.ID
		bad.Changes = append(bad.Changes, &conversion.Change{ID: 5, Conversion: 6, Verdict: conversion.Created}) // creates what it isn't
		if err := settle(t.Context(), s, bad); err == nil {
			t.Error("no error")
		}
		wantUntouched(t, s, u)
	})
	t.Run("a settlement that starts where the upload no longer stands is taken", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		again, createdAgain := made(u, 3)
		for _, after := range []int{0, 1, 3} {
			late := doing(settlement(u, after, 3), again, createdAgain)
			late.News = true
			if err := settle(t.Context(), s, late); !errors.Is(err, conversion.ErrTaken) {
				t.Errorf("after line %d: error %v, want conversion.ErrTaken", after, err)
			}
		}
		wantVerified(t, s, 1, 1)
		wantDue(t, s, 9_999)
		if all, _ := outcomes(t, s, u.ID, 0); len(all) != 1 {
			t.Errorf("outcomes %v", all)
		}
	})
	t.Run("an upload that isn't being decided is taken", func(t *testing.T) {
		s := open(t)
		u := saved(t, s, "a")
		if err := settle(t.Context(), s, settlement(u, 0, 2)); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("received: error %v, want conversion.ErrTaken", err)
		}
		must(t, s.Refuse(t.Context(), u.ID, conversion.Refusal{Code: conversion.Empty, Sentence: "Empty."}, 5))
		if err := settle(t.Context(), s, settlement(u, 0, 2)); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("refused: error %v, want conversion.ErrTaken", err)
		}
	})
	t.Run("a chunk that isn't the last leaves the upload to be decided", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		must(t, settle(t.Context(), s, settlement(u, 0, 2, 3)))
		got, err := s.Upload(t.Context(), u.ID)
		must(t, err)
		if got.State != conversion.Deciding || got.Cursor != 3 || got.DecidedAt != 0 || got.Tally.Rows != 2 {
			t.Errorf("upload %+v", got)
		}
	})
	t.Run("outcomes come back by chunks from a line on", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		full := conversion.Outcome{
			Line: 2, Verdict: conversion.Rejected, Code: conversion.CallNotFound, Message: "No call – “none”.", Column: "start_time", Value: "x\n\"y\"",
			CallID: "A", CallStart: 5, ConversionID: 6, PayoutBefore: usd(0), PayoutAfter: usd(-5), Rule: "r", Near: []conversion.NearMiss{{CallID: "B", Why: "w"}}, Shift: -3600,
		}
		first := settlement(u, 0, 2, 3)
		first.Outcomes[0] = full
		must(t, settle(t.Context(), s, first))
		must(t, settle(t.Context(), s, settlement(u, 3, 4, 7)))
		must(t, settle(t.Context(), s, settlement(u, 7, 9)))
		for _, test := range []struct {
			first, chunks int
			lines         []int
		}{
			{0, 3, []int{2, 3, 4, 7, 9}}, {2, 3, []int{2, 3, 4, 7, 9}}, {3, 3, []int{2, 3, 4, 7, 9}}, {4, 2, []int{4, 7, 9}},
			{5, 2, []int{4, 7, 9}}, {8, 1, []int{9}}, {9, 1, []int{9}}, {10, 0, nil},
		} {
			all, chunks := outcomes(t, s, u.ID, test.first)
			var lines []int
			for _, o := range all {
				lines = append(lines, o.Line)
			}
			if chunks != test.chunks || !slices.Equal(lines, test.lines) {
				t.Errorf("from line %d on: %d chunks with lines %v, want %d with %v", test.first, chunks, lines, test.chunks, test.lines)
			}
			if len(all) > 0 && all[0].Line == 2 && !reflect.DeepEqual(all[0], full) {
				t.Errorf("outcome %+v, want %+v", all[0], full)
			}
		}
		seen := 0
		must(t, s.Outcomes(t.Context(), u.ID, 0, func([]conversion.Outcome) (bool, error) { seen++; return false, nil }))
		if seen != 1 {
			t.Errorf("told to stop after the first chunk, it went on to %d", seen)
		}
	})
	t.Run("waiting rows are decided again in place", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		wait := settlement(u, 0, 2, 3)
		wait.Outcomes[1].Verdict, wait.Outcomes[1].Code = conversion.Waiting, conversion.CallNotFound
		wait.Tally = conversion.Tally{}
		wait.Tally.Add(wait.Outcomes...)
		wait.Done, wait.News = true, true
		must(t, settle(t.Context(), s, wait))
		if got := waiting(t, s, "23"); !slices.Equal(got, []int64{u.ID}) {
			t.Errorf("waiting: %v", got)
		}
		if got := waiting(t, s, "24"); got != nil {
			t.Errorf("waiting of another account: %v", got)
		}
		must(t, s.MarkReplied(t.Context(), u.ID, 1, 2_500))

		again := settlement(u, 0, 2, 3)
		again.From, again.Waiting = conversion.Decided, 1
		again.After, again.Cursor, again.Done, again.News, again.At = 3, 3, true, true, 3_000
		must(t, settle(t.Context(), s, again))
		if all, chunks := outcomes(t, s, u.ID, 0); chunks != 1 || !reflect.DeepEqual(all, again.Outcomes) {
			t.Errorf("%d chunks: %+v", chunks, all)
		}
		if got := waiting(t, s, ""); got != nil {
			t.Errorf("still waiting: %v", got)
		}
		wantDue(t, s, 3_000, fmt.Sprintf("%d/2/0", u.ID))
	})
	t.Run("many rows are all written", func(t *testing.T) {
		s := open(t)
		u, n := begun(t, s, "a"), 307
		big := settlement(u, 0)
		for line := 2; line < n+2; line++ {
			c, created := made(u, line)
			doing(big, c, created)
			big.Outcomes = append(big.Outcomes, conversion.Outcome{Line: line, Verdict: conversion.Created, ConversionID: c.ID})
			big.Fingerprints[conversion.Fingerprint(key(fmt.Sprint("f", line)).Rest)] = created.ID
		}
		big.Cursor, big.Done = n+1, true
		must(t, settle(t.Context(), s, big))
		wantVerified(t, s, n, n)
		var query conversion.HeldQuery
		query.Account = "23"
		for _, c := range big.Conversions {
			query.Keys, query.References = append(query.Keys, c.Key), append(query.References, c.ReferenceID)
		}
		for f := range big.Fingerprints {
			query.Fingerprints = append(query.Fingerprints, f)
		}
		held, err := heldBy(t.Context(), s, query)
		must(t, err)
		for i, c := range big.Conversions {
			if held.Latest(c.Key) == nil || held.Referenced(c.ReferenceID) == nil {
				t.Fatalf("conversion %d of %d is not held", i, n)
			}
		}
		for f := range big.Fingerprints {
			if held.Applied(f) == nil {
				t.Fatalf("fingerprint %x is not held", f)
			}
		}
	})
	t.Run("conversions are listed newest first, with their accounts and calls", func(t *testing.T) {
		s := open(t)
		_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{{CallID: "A", Start: 5, Caller: 1}})
		must(t, err)
		known, err := callsFound(t, s, "23", []conversion.CallSearch{{ID: "A"}})
		must(t, err)
		u := begun(t, s, "a")
		c, created := made(u, 2, func(c *conversion.Conversion) { c.Call = known[0][0].ID })
		w, createdToo := made(u, 3, func(c *conversion.Conversion) { c.Call = 0 })
		must(t, settle(t.Context(), s, doing(doing(settlement(u, 0, 2, 3), c, created), w, createdToo)))
		list := func(account string, limit int) (all []string) {
			must(t, s.ListConversions(t.Context(), account, limit, func(c *conversion.Conversion, account, call string) error {
				all = append(all, fmt.Sprintf("%d %s %s", conversion.LineOf(c.ID), account, call))
				return nil
			}))
			return all
		}
		if got, want := list("", 0), []string{"3 23 ", "2 23 A"}; !slices.Equal(got, want) {
			t.Errorf("all: %q, want %q", got, want)
		}
		if got, want := list("23", 1), []string{"3 23 "}; !slices.Equal(got, want) {
			t.Errorf("one: %q, want %q", got, want)
		}
		if got := list("24", 0); got != nil {
			t.Errorf("another account's: %q", got)
		}
		if _, _, _, err := s.Conversion(t.Context(), 99); !errors.Is(err, conversion.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

func waiting(t *testing.T, s *Store, account string) (ids []int64) {
	t.Helper()
	must(t, s.UploadsWaiting(t.Context(), account, func(u *conversion.Upload) error { ids = append(ids, u.ID); return nil }))
	return ids
}

// wantUntouched checks that an upload stands where its deciding began and that
// the ledger is empty.
func wantUntouched(t *testing.T, s *Store, u *conversion.Upload) {
	t.Helper()
	got, err := s.Upload(t.Context(), u.ID)
	must(t, err)
	if got.State != conversion.Deciding || got.Cursor != 0 || got.Tally.Rows != 0 {
		t.Errorf("upload %+v", got)
	}
	if all, _ := outcomes(t, s, u.ID, 0); len(all) != 0 {
		t.Errorf("outcomes %v", all)
	}
	held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Fingerprints: []conversion.Fingerprint{{1}}})
	must(t, err)
	if got := held.Applied(conversion.Fingerprint{1}); got != nil {
		t.Errorf("applied %v", got)
	}
	wantVerified(t, s, 0, 0)
	wantDue(t, s, 1<<60)
}

func testHeld(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("by key the highest is held, by reference the newest", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		shared := key("shared")
		sameReference := func(c *conversion.Conversion) { c.ReferenceID = "R" }
		done := settlement(u, 0, 2, 3, 4, 5)
		for line, change := range map[int]func(*conversion.Conversion){
			2: withKey(shared, 2), 3: withKey(shared, 0), 4: withKey(shared, 1), 5: withKey(key("alone"), 0),
		} {
			c, created := made(u, line, change, sameReference)
			doing(done, c, created)
		}
		must(t, settle(t.Context(), s, done))
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Keys: []conversion.Key{shared, key("alone"), key("unknown"), shared}, References: []string{"R", "", "R", "unknown"}})
		must(t, err)
		if conversion.LineOf(held.Latest(shared).ID) != 2 || conversion.LineOf(held.Latest(key("alone")).ID) != 5 || held.Latest(key("unknown")) != nil {
			t.Errorf("by key: %v, %v, %v", held.Latest(shared), held.Latest(key("alone")), held.Latest(key("unknown")))
		}
		if conversion.LineOf(held.Referenced("R").ID) != 5 || held.Referenced("unknown") != nil || held.Referenced("") != nil {
			t.Errorf("by reference: %v, %v, %v", held.Referenced("R"), held.Referenced("unknown"), held.Referenced(""))
		}
	})
	t.Run("a settlement sees what is held, and the changes that led there", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		err := s.Settle(t.Context(), conversion.HeldQuery{Account: "23", Keys: []conversion.Key{c.Key}}, func(held *conversion.Held) (*conversion.Settlement, error) {
			prior := held.Latest(c.Key)
			if prior == nil || *prior != *c {
				t.Fatalf("held %+v, want %+v", prior, c)
			}
			after, change := updated(prior, u, 3, 1_000, func(c *conversion.Conversion) { c.Sale = usd(9500) })
			return doing(settlement(u, 2, 3), after, change), nil
		})
		must(t, err)
		wantVerified(t, s, 1, 2)
		var earlier []*conversion.Change
		err = s.Settle(t.Context(), conversion.HeldQuery{Account: "23", Keys: []conversion.Key{c.Key}}, func(held *conversion.Held) (_ *conversion.Settlement, err error) {
			earlier, err = held.Ledger.Earlier(held.Latest(c.Key))
			return nil, err
		})
		if err != nil || len(earlier) != 1 || conversion.LineOf(earlier[0].ID) != 3 {
			t.Errorf("earlier %v, %v; want the change of line 3", earlier, err)
		}
	})
	t.Run("another account's reference is not ours", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		for account, want := range map[string]int{"23": 1, "24": 0, "unheard of": 0} {
			held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: account, References: []string{c.ReferenceID}})
			must(t, err)
			if got := held.Referenced(c.ReferenceID); (got != nil) != (want == 1) {
				t.Errorf("account %s holds %v", account, got)
			}
		}
	})
	t.Run("an update is found under its new reference only", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		after, change := updated(c, u, 3, 1_000, func(c *conversion.Conversion) { c.ReferenceID = "new" })
		must(t, settle(t.Context(), s, doing(settlement(u, 2, 3), after, change)))
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", References: []string{c.ReferenceID, "new"}})
		must(t, err)
		if held.Referenced("new") == nil || held.Referenced(c.ReferenceID) != nil {
			t.Errorf("held %v under the new, %v under the old", held.Referenced("new"), held.Referenced(c.ReferenceID))
		}
	})
	t.Run("the changes of a conversion come in the order they were made", func(t *testing.T) {
		s := open(t)
		c := chain(t, s, 1_000, 2_000, 2_000, 3_000)
		wantOrder(t, s, c)
	})
	t.Run("a change that was made later comes later, whatever the clock said", func(t *testing.T) {
		// A row that waited is decided by the clock of that moment, a file's by
		// when the file came: the later change can bear the earlier time.
		s := open(t)
		c := chain(t, s, 1_000, 5_000, 4_000)
		wantOrder(t, s, c)
		wantVerified(t, s, 1, 3)
	})
}

// chain makes a conversion that one upload creates and others change, one after
// another, at the given times.
func chain(t *testing.T, s *Store, times ...conversion.Millis) *conversion.Conversion {
	t.Helper()
	u := begun(t, s, "chain 0")
	c, change := made(u, 2)
	change.At = times[0]
	must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, change)))
	for i, at := range times[1:] {
		u := begun(t, s, fmt.Sprint("chain ", i+1))
		c, change = updated(c, u, 2, at, func(c *conversion.Conversion) { c.Sale.Minor++ })
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, change)))
	}
	return c
}

func wantOrder(t *testing.T, s *Store, c *conversion.Conversion) {
	t.Helper()
	changes, err := s.Changes(t.Context(), c)
	must(t, err)
	for i := 1; i < len(changes); i++ {
		if changes[i].Before.Sale != changes[i-1].After.Sale {
			t.Errorf("change %d begins at %s, the one before it ended at %s", i, changes[i].Before.Sale, changes[i-1].After.Sale)
		}
	}
	if last := changes[len(changes)-1]; last.After.Sale != c.Sale {
		t.Errorf("the last change ends at %s, the conversion is at %s", last.After.Sale, c.Sale)
	}
}

func testCalls(t *testing.T, open func(t *testing.T) *Store) {
	log := []conversion.Call{
		{CallID: "A", TransactionID: "T1", ClickID: "K", Start: 10_000, Duration: 60, Caller: 111, Called: 800, Campaign: "C", Publisher: "P", Status: "answered"},
		{CallID: "B", Start: 20_000, Caller: 111},
		{CallID: "C", Start: 20_000, Caller: 222},
		{CallID: "D", Start: 30_000},
	}
	save := func(t *testing.T, s *Store, account string, calls ...conversion.Call) conversion.CallsTally {
		t.Helper()
		tally, err := s.SaveCalls(t.Context(), account, calls)
		must(t, err)
		return tally
	}
	t.Run("a call log that comes again changes nothing", func(t *testing.T) {
		s := open(t)
		if got := save(t, s, "23", log...); got.Created != 4 || got.Updated+got.Unchanged != 0 {
			t.Errorf("first: %+v", got)
		}
		before := calls(t, s, "23")
		if got := save(t, s, "23", log...); got.Unchanged != 4 || got.Created+got.Updated != 0 {
			t.Errorf("again: %+v", got)
		}
		if got := calls(t, s, "23"); !reflect.DeepEqual(got, before) || got["A"] != log[0] {
			t.Errorf("calls %+v, want %+v", got, before)
		}
	})
	t.Run("what has changed of a call is taken over, and it stays the same call", func(t *testing.T) {
		s := open(t)
		save(t, s, "23", log...)
		id := ids(t, s, "23")["A"]
		longer := log[0]
		longer.Duration, longer.Status = 90, "completed"
		if got := save(t, s, "23", longer, log[1]); got.Updated != 1 || got.Unchanged != 1 || got.Created != 0 {
			t.Errorf("tally %+v", got)
		}
		if got := calls(t, s, "23")["A"]; got != longer || ids(t, s, "23")["A"] != id {
			t.Errorf("call %+v", got)
		}
	})
	t.Run("two entries of one call in one log are one call", func(t *testing.T) {
		s := open(t)
		longer := log[0]
		longer.Duration = 90
		if got := save(t, s, "23", log[0], longer); got.Created != 1 || got.Updated != 1 {
			t.Errorf("tally %+v", got)
		}
		if got := calls(t, s, "23"); len(got) != 1 || got["A"].Duration != 90 {
			t.Errorf("calls %+v", got)
		}
	})
	t.Run("two accounts may each have a call of that id", func(t *testing.T) {
		s := open(t)
		save(t, s, "23", log[0])
		theirs := log[0]
		theirs.Duration = 5
		if got := save(t, s, "24", theirs); got.Created != 1 {
			t.Errorf("tally %+v", got)
		}
		if calls(t, s, "23")["A"] != log[0] || calls(t, s, "24")["A"] != theirs {
			t.Errorf("calls %+v and %+v", calls(t, s, "23"), calls(t, s, "24"))
		}
	})
	t.Run("a log of more calls than one statement holds", func(t *testing.T) {
		s := open(t)
		var many []conversion.Call
		for i := range 307 {
			many = append(many, conversion.Call{CallID: fmt.Sprint(i), Start: conversion.Millis(i), Caller: conversion.Phone(i % 3)})
		}
		if got := save(t, s, "23", many...); got.Created != len(many) {
			t.Errorf("tally %+v", got)
		}
		if got := save(t, s, "23", many...); got.Unchanged != len(many) {
			t.Errorf("again: %+v", got)
		}
		searches := make([]conversion.CallSearch, 0, len(many))
		for i := range many {
			searches = append(searches, conversion.CallSearch{Caller: conversion.Phone(i%3) * conversion.Phone(i%2), From: conversion.Millis(i), To: conversion.Millis(i)})
		}
		found, err := callsFound(t, s, "23", searches)
		must(t, err)
		for i, list := range found {
			if len(list) != 1 || list[0].CallID != fmt.Sprint(i) {
				t.Errorf("search %d found %v", i, list)
			}
		}
	})
	t.Run("calls are found where a correction has moved them to, across midnight and far back", func(t *testing.T) {
		s := open(t)
		const day = 24 * 60 * 60 * 1000
		save(t, s, "23", conversion.Call{CallID: "E", Start: day - 1000, Caller: 111}, conversion.Call{CallID: "F", Start: day + 1000, Caller: 111},
			conversion.Call{CallID: "G", Start: -5, Caller: 111}, conversion.Call{CallID: "H", Start: 1 << 60, Caller: 111})
		find := func(want ...string) {
			t.Helper()
			wantFound(t, s, []conversion.CallSearch{
				{Caller: 111, From: day - 2000, To: day - 1}, {Caller: 111, From: day - 2000, To: day + 2000}, {Caller: 111, From: -day, To: 9 * day},
				{Caller: 111, From: -9, To: 0}, {Caller: 111, From: 1<<60 - 1, To: 1<<60 + 1}, {Caller: 222, From: 5*day - 1, To: 5*day + 1}, {Caller: 222, From: 5 * day, To: 5*day + 1},
			}, want...)
		}
		find("E", "E F", "E F G", "G", "H", "", "")
		save(t, s, "23", conversion.Call{CallID: "E", Start: 5 * day, Caller: 222}) // the log says otherwise now
		find("", "F", "F G", "G", "H", "E", "E")
		save(t, s, "23", conversion.Call{CallID: "E", Start: day - 1000, Caller: 111})
		find("E", "E F", "E F G", "G", "H", "", "")
	})
	t.Run("calls are found by caller and by time", func(t *testing.T) {
		s := open(t)
		save(t, s, "23", log...)
		save(t, s, "24", conversion.Call{CallID: "X", Start: 20_000, Caller: 111})
		searches := []conversion.CallSearch{
			{Caller: 111, From: 10_000, To: 20_000}, {Caller: 111, From: 10_001, To: 19_999}, {From: 20_000, To: 30_000}, {From: 0, To: 9_999},
			{Caller: 111, From: 10_000, To: 10_000}, {Caller: 333, From: 0, To: 99_999}, {Caller: 222, From: 20_000, To: 20_000},
			{From: 0, To: 59_999, Nearest: true}, {From: 20_001, To: 59_999, Nearest: true}, {From: 0, To: 9_999, Nearest: true},
		}
		want := []string{"A B", "", "B C D", "", "A", "", "C", "A B C D", "D", ""}
		for i := range 9 { // of which only those nearest to the middle are among the nearest
			save(t, s, "23", conversion.Call{CallID: fmt.Sprint("N", i), Start: 90_000 + conversion.Millis(i), Caller: 444})
		}
		searches = append(searches, conversion.CallSearch{From: 90_000, To: 90_008, Nearest: true}, conversion.CallSearch{From: 89_000, To: 90_000, Nearest: true})
		want = append(want, "N2 N3 N4 N5 N6 N7", "N0")
		found := wantFound(t, s, searches, want...)
		if full := found[4][0]; full.ID == 0 || !full.SameAs(log[0]) {
			t.Errorf("call %+v, want %+v", full, log[0])
		}
		if none, err := callsFound(t, s, "unheard of", searches); err != nil || len(slices.Concat(none...)) > 0 {
			t.Errorf("of an unknown account: %v, %v", none, err)
		}
	})
	t.Run("a call of another account is only hinted at, to those who name its caller", func(t *testing.T) {
		s := open(t)
		save(t, s, "23", log...)
		save(t, s, "24", conversion.Call{CallID: "X", Start: 50_000, Caller: 111})
		for _, test := range []struct {
			account string
			search  conversion.CallSearch
			want    bool
		}{
			{"23", conversion.CallSearch{Caller: 111, From: 49_000, To: 51_000}, true},
			{"23", conversion.CallSearch{Caller: 111, From: 10_000, To: 20_000}, false},
			{"23", conversion.CallSearch{Caller: 222, From: 49_000, To: 51_000}, false},
			{"23", conversion.CallSearch{From: 49_000, To: 51_000}, false},
			{"24", conversion.CallSearch{Caller: 111, From: 49_000, To: 51_000}, false},
			{"24", conversion.CallSearch{Caller: 111, From: 10_000, To: 10_000}, true},
			{"unheard of", conversion.CallSearch{Caller: 111, From: 10_000, To: 10_000}, true},
		} {
			got, err := s.CallsElsewhere(t.Context(), test.account, []conversion.CallSearch{{Caller: 999, From: 0, To: 1}, test.search})
			must(t, err)
			if want := []bool{false, test.want}; !slices.Equal(got, want) {
				t.Errorf("%s, %+v: %v, want %v", test.account, test.search, got, want)
			}
		}
	})
	t.Run("calls are listed newest first", func(t *testing.T) {
		s := open(t)
		save(t, s, "23", log...)
		var got []string
		must(t, s.ListCalls(t.Context(), "23", 2, func(c conversion.Call, _ string) error { got = append(got, c.CallID); return nil }))
		if !slices.Equal(got, []string{"D", "B"}) {
			t.Errorf("listed %v", got)
		}
	})
}

// ids are our ids of an account's calls.
func ids(t *testing.T, s *Store, account string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	must(t, s.ListCalls(t.Context(), account, 0, func(c conversion.Call, _ string) error { all[c.CallID] = c.ID; return nil }))
	return all
}

// permutations are all orders of a list.
func permutations[E any](list []E) [][]E {
	if len(list) <= 1 {
		return [][]E{list}
	}
	var all [][]E
	for i := range list {
		rest := append(slices.Clone(list[:i]), list[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]E{list[i]}, p...))
		}
	}
	return all
}

// A corrected entry replaces the one it names, in whatever order and however
// often the two are imported.
func testCorrectedCalls(t *testing.T, open func(t *testing.T) *Store) {
	entry := func(call, transaction, corrects string, duration int) conversion.Call {
		return conversion.Call{CallID: call, TransactionID: transaction, Corrects: corrects, Start: 10_000, Duration: duration, Caller: 111}
	}
	for _, test := range []struct {
		name    string
		entries []conversion.Call
	}{
		{"a correction under the call's id", []conversion.Call{entry("A", "T1", "", 10), entry("A", "T2", "T1", 20)}},
		{"a correction under an id of its own", []conversion.Call{entry("A", "T1", "", 10), entry("B", "T2", "T1", 20)}},
		{"a correction of a correction", []conversion.Call{entry("A", "T1", "", 10), entry("A", "T2", "T1", 20), entry("A", "T3", "T2", 30)}},
		{"a correction beside another call", []conversion.Call{entry("X", "T9", "", 99), entry("A", "T1", "", 10), entry("A", "T2", "T1", 20)}},
	} {
		last := test.entries[len(test.entries)-1]
		want := map[string]conversion.Call{last.CallID: last}
		if test.entries[0].CallID == "X" {
			want["X"] = test.entries[0]
		}
		for id, c := range want {
			c.Corrects = ""
			want[id] = c
		}
		for _, order := range permutations(test.entries) {
			var names []string
			for _, e := range order {
				names = append(names, e.TransactionID)
			}
			name := test.name + ", in the order " + strings.Join(names, " ")
			check := func(t *testing.T, s *Store, when string) {
				t.Helper()
				got := calls(t, s, "23")
				for id, c := range got {
					c.Corrected = false // how it came about
					got[id] = c
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: calls %+v, want %+v", when, got, want)
				}
			}
			t.Run(name+", in one log", func(t *testing.T) {
				s := open(t)
				_, err := s.SaveCalls(t.Context(), "23", order)
				must(t, err)
				check(t, s, "once")
				tally, err := s.SaveCalls(t.Context(), "23", order)
				must(t, err)
				check(t, s, "again")
				if tally.Created+tally.Updated != 0 {
					t.Errorf("again: %+v", tally)
				}
			})
			t.Run(name+", in a log each", func(t *testing.T) {
				s := open(t)
				for _, e := range order {
					_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{e})
					must(t, err)
				}
				check(t, s, "once")
				for _, e := range order {
					_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{e})
					must(t, err)
				}
				check(t, s, "again")
			})
		}
	}
	t.Run("the corrected call keeps our id, so that its conversions keep their call", func(t *testing.T) {
		s := open(t)
		_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{entry("A", "T1", "", 10)})
		must(t, err)
		before := ids(t, s, "23")["A"]
		_, err = s.SaveCalls(t.Context(), "23", []conversion.Call{entry("B", "T2", "T1", 20)})
		must(t, err)
		if got := ids(t, s, "23")["B"]; got != before {
			t.Errorf("id %d, want %d", got, before)
		}
	})
}

func testRehearsals(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("a rehearsal does all it is asked to and leaves no trace", func(t *testing.T) {
		s := open(t)
		kept := saved(t, s, "kept")
		must(t, s.Rehearse(t.Context(), func(r *Store) error {
			_, err := r.SaveCalls(t.Context(), "new account", []conversion.Call{{CallID: "A", Start: 5}})
			must(t, err)
			u := begun(t, r, "a")
			c, created := made(u, 2)
			done := doing(settlement(u, 0, 2), c, created)
			done.Done, done.News = true, true
			must(t, settle(t.Context(), r, done))
			must(t, r.BeginDeciding(t.Context(), kept.ID, conversion.Reading{}))

			wantVerified(t, r, 1, 1)
			wantDue(t, r, 9_999, fmt.Sprintf("%d/1/0", u.ID))
			if all, _ := outcomes(t, r, u.ID, 0); len(all) != 1 || readAll(t, r, u.ID) != "a" || len(calls(t, r, "new account")) != 1 {
				t.Error("the rehearsal doesn't see what it did")
			}
			return nil
		}))
		wantVerified(t, s, 0, 0)
		wantDue(t, s, 1<<60)
		if got := listed(t, s, "", 0); !slices.Equal(got, []int64{kept.ID}) {
			t.Errorf("uploads %v", got)
		}
		if u, err := s.Upload(t.Context(), kept.ID); err != nil || u.State != conversion.Received {
			t.Errorf("upload %+v, %v", u, err)
		}
		if got := calls(t, s, "new account"); len(got) != 0 {
			t.Errorf("calls %v", got)
		}
		// What was rehearsed can be done in earnest, under the same numbers.
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		wantVerified(t, s, 1, 1)
		_, err := s.SaveCalls(t.Context(), "new account", []conversion.Call{{CallID: "A", Start: 5}})
		must(t, err)
		if got := calls(t, s, "new account"); len(got) != 1 {
			t.Errorf("calls in earnest %v", got)
		}
	})
	t.Run("an error ends a rehearsal and is handed on", func(t *testing.T) {
		s, broken := open(t), errors.New("broken")
		err := s.Rehearse(t.Context(), func(r *Store) error {
			saved(t, r, "a")
			return broken
		})
		if !errors.Is(err, broken) || len(listed(t, s, "", 0)) != 0 {
			t.Errorf("error %v, uploads %v", err, listed(t, s, "", 0))
		}
	})
}

func testVerify(t *testing.T, open func(t *testing.T) *Store) {
	// A conversion of 60.50 that became 95.00 and another reason; one without
	// money whose reason changed; one that never changed.
	ledger := func(t *testing.T) (s *Store, sale, plain, still int64, change int64) {
		s = open(t)
		u, v := begun(t, s, "a"), begun(t, s, "b")
		a, createdA := made(u, 2)
		b, createdB := made(u, 3, func(c *conversion.Conversion) { c.Sale, c.Payout = conversion.Amount{}, conversion.Amount{} })
		c, createdC := made(u, 4)
		must(t, settle(t.Context(), s, doing(doing(doing(settlement(u, 0, 2, 3, 4), a, createdA), b, createdB), c, createdC)))
		a2, changeA := updated(a, v, 2, 2_000, func(c *conversion.Conversion) { c.Sale, c.Payout, c.ReasonCode = usd(9500), usd(950), "R" })
		b2, changeB := updated(b, v, 3, 2_000, func(c *conversion.Conversion) { c.ReasonCode = "R" })
		must(t, settle(t.Context(), s, doing(doing(settlement(v, 0, 2, 3), a2, changeA), b2, changeB)))
		return s, a.ID, b.ID, c.ID, changeA.ID
	}
	t.Run("an empty ledger is proven", func(t *testing.T) { wantVerified(t, open(t), 0, 0) })
	t.Run("a ledger that nobody touched is proven", func(t *testing.T) {
		s, _, _, _, _ := ledger(t)
		wantVerified(t, s, 3, 5)
	})
	for _, test := range []struct {
		name   string
		damage func(sale, plain, still, change int64) string
		part   string // of the sentence
	}{
		{"a conversion's sale changed", func(sale, _, _, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET sale = 9501 WHERE id = %d", sale)
		}, "holds a sale of 9501 minor units, but its changes sum to 9500 minor units"},
		{"a conversion's payout changed", func(_, _, still, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET payout = 0 WHERE id = %d", still)
		}, "holds a payout of 0 minor units, but its changes sum to 605 minor units"},
		{"a conversion's sale blanked", func(_, _, still, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET sale = NULL WHERE id = %d", still)
		}, "holds a sale of nothing"},
		{"a sale given to a conversion without one", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET sale = 0, sale_currency = 'USD' WHERE id = %d", plain)
		}, "its changes sum to nothing"},
		{"the last change deleted", func(_, _, _, change int64) string { return fmt.Sprintf("DELETE FROM change WHERE id = %d", change) }, "holds a sale of 9500 minor units, but its changes sum to 6050"},
		{"the change that created it deleted", func(sale, _, _, _ int64) string { return fmt.Sprintf("DELETE FROM change WHERE id = %d", sale) }, "begins at a sale of 6050"},
		{"its only change deleted", func(_, _, still, _ int64) string { return fmt.Sprintf("DELETE FROM change WHERE id = %d", still) }, "has no change that created it"},
		{"the change that created a conversion without money deleted", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("DELETE FROM change WHERE id = %d", plain)
		}, "no change that created it"},
		{"a change's figure changed", func(_, _, _, change int64) string {
			return fmt.Sprintf("UPDATE change SET payout_after = 951 WHERE id = %d", change)
		}, "holds a payout of 950"},
		{"a change's beginning changed", func(_, _, _, change int64) string {
			return fmt.Sprintf("UPDATE change SET sale_before = NULL WHERE id = %d", change)
		}, "begins at a sale of nothing, but the one before it ended at 6050"},
		{"a change of no conversion", func(int64, int64, int64, int64) string {
			return "INSERT INTO change (id, conversion, seq, verdict, at_ms, effective) VALUES (77, 78, 1, 'updated', 1, 20260310)"
		}, "1 changes belong to no conversion"},
		{"a conversion deleted", func(_, _, still, _ int64) string { return fmt.Sprintf("DELETE FROM conversion WHERE id = %d", still) }, "1 changes belong to no conversion"},
		{"a conversion under another key", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("UPDATE conversion_key SET nth = 7 WHERE conversion = %d", plain)
		}, "can't be found by its key"},
		{"a key of no conversion", func(int64, int64, int64, int64) string {
			return "INSERT INTO conversion_key (call, key, nth, conversion) VALUES (0, x'77', 0, 77)"
		}, "1 keys lead to no conversion"},
		{"a conversion that its call doesn't lead to", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("DELETE FROM conversion_call WHERE conversion = %d", plain)
		}, "can't be found by its call"},
		{"a conversion that its reference id doesn't lead to", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("DELETE FROM conversion_reference WHERE conversion = %d", plain)
		}, "can't be found by its reference id"},
		{"a detail changed that a change had set", func(sale, _, _, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET details = json_set(details, '$.reason_code', 'X') WHERE id = %d", sale)
		}, "holds another reason_code than its changes end at"},
		{"a detail changed of a conversion without money", func(_, plain, _, _ int64) string {
			return fmt.Sprintf("UPDATE conversion SET details = json_set(details, '$.reason_code', 'S') WHERE id = %d", plain)
		}, "holds another reason_code"},
	} {
		t.Run("it finds "+test.name, func(t *testing.T) {
			s, sale, plain, still, change := ledger(t)
			must(t, tamper(t, s, test.damage(sale, plain, still, change)))
			v, err := s.Verify(t.Context())
			must(t, err)
			if v.Mismatches == 0 || !strings.Contains(strings.Join(v.Sentences, "\n"), test.part) {
				t.Errorf("%d mismatches: %q, want one that says %q", v.Mismatches, v.Sentences, test.part)
			}
		})
	}
	t.Run("it counts all mismatches and tells the first", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		big := settlement(u, 0)
		for line := 2; line < 52; line++ {
			c, created := made(u, line)
			doing(big, c, created)
		}
		must(t, settle(t.Context(), s, big))
		must(t, tamper(t, s, "UPDATE conversion SET sale = 1"))
		if v, err := s.Verify(t.Context()); err != nil || v.Mismatches != 50 || len(v.Sentences) != mostSentences {
			t.Errorf("%d mismatches in %d sentences, %v", v.Mismatches, len(v.Sentences), err)
		}
	})
}

func testReports(t *testing.T, open func(t *testing.T) *Store) {
	news := func(t *testing.T, s *Store, origin string, at conversion.Millis) *conversion.Upload {
		t.Helper()
		u := begun(t, s, origin)
		done := settlement(u, 0, 2)
		done.Done, done.News, done.At = true, true, at
		must(t, settle(t.Context(), s, done))
		return u
	}
	t.Run("a report is due from the moment of the decision until it was sent", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		wantDue(t, s, 1_999)
		wantDue(t, s, 2_000, fmt.Sprintf("%d/1/0", u.ID))
		must(t, s.MarkReplied(t.Context(), u.ID, 1, 2_100))
		wantDue(t, s, 1<<60)
	})
	t.Run("a report that failed is due again at its time, and counts its attempts", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		must(t, s.MarkReplying(t.Context(), conversion.ReportDue{Upload: u.ID, Revision: 1}))
		must(t, s.MarkReplyFailed(t.Context(), u.ID, 1, "no relay", 62_000, false))
		wantDue(t, s, 61_999)
		wantDue(t, s, 62_000, fmt.Sprintf("%d/1/1", u.ID))
		if err := s.MarkReplying(t.Context(), conversion.ReportDue{Upload: u.ID, Revision: 1}); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("a try that another process has begun may be begun again: %v", err)
		}
		must(t, s.MarkReplying(t.Context(), conversion.ReportDue{Upload: u.ID, Revision: 1, Attempts: 1}))
		must(t, s.MarkReplyFailed(t.Context(), u.ID, 1, "no relay", 180_000, false))
		wantDue(t, s, 180_000, fmt.Sprintf("%d/1/2", u.ID))
		must(t, s.MarkReplied(t.Context(), u.ID, 1, 180_100))
		wantDue(t, s, 1<<60)
	})
	t.Run("a report that failed for good is due no more", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		must(t, s.MarkReplyFailed(t.Context(), u.ID, 1, "no relay", 5_000, true))
		wantDue(t, s, 1<<60)
	})
	t.Run("news while a report is due makes no second one", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		again := settlement(u, 2, 2)
		again.From, again.Done, again.News, again.At = conversion.Decided, true, true, 3_000
		must(t, settle(t.Context(), s, again))
		wantDue(t, s, 1<<60, fmt.Sprintf("%d/1/0", u.ID))
	})
	t.Run("news after a report was sent makes the next one", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		must(t, s.MarkReplied(t.Context(), u.ID, 1, 2_100))
		again := settlement(u, 2, 2)
		again.From, again.Done, again.News, again.At = conversion.Decided, true, true, 3_000
		must(t, settle(t.Context(), s, again))
		wantDue(t, s, 2_999)
		wantDue(t, s, 3_000, fmt.Sprintf("%d/2/0", u.ID))
	})
	t.Run("news after a report may have gone out makes the next one in its place", func(t *testing.T) {
		s := open(t)
		u := news(t, s, "a", 2_000)
		must(t, s.MarkReplying(t.Context(), conversion.ReportDue{Upload: u.ID, Revision: 1}))
		again := settlement(u, 2, 2)
		again.From, again.Done, again.News, again.At = conversion.Decided, true, true, 3_000
		must(t, settle(t.Context(), s, again))
		wantDue(t, s, 3_000, fmt.Sprintf("%d/2/0", u.ID))
		must(t, s.MarkReplyFailed(t.Context(), u.ID, 1, "no relay", 2_500, false))
		wantDue(t, s, 3_000, fmt.Sprintf("%d/2/0", u.ID))
	})
	t.Run("reports come in the order of their uploads, and each may be sent meanwhile", func(t *testing.T) {
		s := open(t)
		a, b := news(t, s, "a", 3_000), news(t, s, "b", 2_000)
		wantDue(t, s, 3_000, fmt.Sprintf("%d/1/0", a.ID), fmt.Sprintf("%d/1/0", b.ID))
		must(t, s.ReportsDue(t.Context(), 3_000, func(r conversion.ReportDue) error {
			return s.MarkReplied(t.Context(), r.Upload, r.Revision, 3_000)
		}))
		wantDue(t, s, 1<<60)
	})
	t.Run("an upload without news has no report", func(t *testing.T) {
		s := open(t)
		must(t, settle(t.Context(), s, settlement(begun(t, s, "a"), 0, 2)))
		wantDue(t, s, 1<<60)
	})
}

func testRefusals(t *testing.T, open func(t *testing.T) *Store) {
	refusal := conversion.Refusal{Code: conversion.HeaderMissing, Sentence: "The first line is no header."}
	t.Run("a refused upload is told and decided no more", func(t *testing.T) {
		s := open(t)
		u := saved(t, s, "a")
		must(t, s.Refuse(t.Context(), u.ID, refusal, 5_000))
		got, err := s.Upload(t.Context(), u.ID)
		must(t, err)
		if got.State != conversion.Refused || got.Refusal == nil || *got.Refusal != refusal || got.DecidedAt != 5_000 {
			t.Errorf("upload %+v", got)
		}
		wantDue(t, s, 5_000, fmt.Sprintf("%d/1/0", u.ID))
		if err := s.BeginDeciding(t.Context(), u.ID, conversion.Reading{}); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("beginning to decide it says %v, want conversion.ErrTaken", err)
		}
		must(t, s.UploadsToDecide(t.Context(), 0, func(u *conversion.Upload) error { return fmt.Errorf("upload %d is to be decided", u.ID) }))
		if readAll(t, s, u.ID) != "a" {
			t.Error("its bytes are gone")
		}
	})
	t.Run("an upload that arrives refused is kept as such", func(t *testing.T) {
		s := open(t)
		u := newUpload("a")
		u.Account, u.State, u.Refusal, u.DecidedAt = "", conversion.Refused, &refusal, 1_000
		u, _, err := s.SaveUpload(t.Context(), u, content("a"))
		must(t, err)
		got, err := s.Upload(t.Context(), u.ID)
		must(t, err)
		if got.State != conversion.Refused || *got.Refusal != refusal || got.Account != "" {
			t.Errorf("upload %+v", got)
		}
	})
	t.Run("an upload that was decided can't be refused any more", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		done := settlement(u, 0, 2)
		done.Done = true
		must(t, settle(t.Context(), s, done))
		if err := s.Refuse(t.Context(), u.ID, refusal, 5_000); err != nil {
			t.Logf("refused to: %v", err) // saying so is right too
		}
		if got, err := s.Upload(t.Context(), u.ID); err != nil || got.State != conversion.Decided || got.Refusal != nil {
			t.Errorf("upload %+v, %v", got, err)
		}
		wantDue(t, s, 1<<60)
	})
	t.Run("a call log ends without a report", func(t *testing.T) {
		s := open(t)
		u := saved(t, s, "a")
		u.Reading, u.DecidedAt = conversion.Reading{Dialect: "ringba"}, 5_000
		must(t, s.FinishCalls(t.Context(), u, false))
		if got, err := s.Upload(t.Context(), u.ID); err != nil || got.State != conversion.Decided || got.Reading.Dialect != "ringba" || got.DecidedAt != 5_000 {
			t.Errorf("upload %+v, %v", got, err)
		}
		wantDue(t, s, 1<<60)
	})
}

func testPollsAndJobs(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("a job that never ran has no time, and one that ran has its last", func(t *testing.T) {
		s := open(t)
		if at, err := s.JobRan(t.Context(), "reconcile"); err != nil || !at.IsZero() {
			t.Errorf("%v, %v", at, err)
		}
		for _, ms := range []conversion.Millis{5_000, 9_000} {
			must(t, s.MarkJobRan(t.Context(), "reconcile", ms.Time()))
			if at, err := s.JobRan(t.Context(), "reconcile"); err != nil || !at.Equal(ms.Time()) {
				t.Errorf("%v, %v, want %v", at, err, ms.Time())
			}
		}
	})
	t.Run("a poll that fails keeps the time of the last that worked", func(t *testing.T) {
		s := open(t)
		must(t, s.MarkPolled(t.Context(), "drop", 1_000, nil))
		must(t, s.MarkPolled(t.Context(), "drop", 2_000, errors.New("no such folder")))
		var at, good int64
		var why string
		must(t, s.read.QueryRowContext(t.Context(), "SELECT at_ms, good_ms, error FROM poll WHERE source = 'drop'").Scan(&at, &good, &why))
		if at != 2_000 || good != 1_000 || why != "no such folder" {
			t.Errorf("polled at %d, well at %d, %q", at, good, why)
		}
	})
}

func testOpening(t *testing.T, open func(t *testing.T) *Store) {
	t.Run("a store that is opened again has what it had", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		must(t, s.Close())
		for range 2 {
			again := opened(t, s.String())
			wantVerified(t, again, 1, 1)
			if readAll(t, again, u.ID) != "a" {
				t.Error("the bytes are gone")
			}
		}
	})
	t.Run("its engine answers", func(t *testing.T) {
		if version, err := open(t).Check(t.Context()); err != nil || version == "" {
			t.Errorf("%q, %v", version, err)
		}
	})
}

// Two processes share the store; each decides uploads of its own.
func testManyWriters(t *testing.T, open func(t *testing.T) *Store) {
	s := open(t)
	must(t, s.EnsureAccounts(t.Context(), []string{"23"}))
	stores := []*Store{s, opened(t, s.String())}
	const goroutines, each = 4, 50
	errs := make([]error, goroutines)
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			mine := stores[g%len(stores)]
			for n := range each {
				if errs[g] = decideOne(t, mine, fmt.Sprintf("%d-%d", g, n)); errs[g] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	wantVerified(t, s, goroutines*each, goroutines*each)
	if got := due(t, s, 1<<60); len(got) != goroutines*each {
		t.Errorf("%d reports are due, want %d", len(got), goroutines*each)
	}
}

// decideOne walks one upload through the store.
func decideOne(t *testing.T, s *Store, origin string) error {
	u, known, err := s.SaveUpload(t.Context(), newUpload(origin), content(origin))
	if err != nil || known {
		return errors.Join(err, fmt.Errorf("upload %s: known is %v", origin, known))
	}
	if err := s.BeginDeciding(t.Context(), u.ID, conversion.Reading{}); err != nil {
		return err
	}
	c, created := made(u, 2)
	done := doing(settlement(u, 0, 2), c, created)
	done.Done, done.News = true, true
	return settle(t.Context(), s, done)
}

func testChecks(t *testing.T, open func(t *testing.T) *Store) {
	s := open(t)
	u := begun(t, s, "a")
	c, created := made(u, 2)
	must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
	_, err := s.SaveCalls(t.Context(), "23", []conversion.Call{{CallID: "A", Start: 5}})
	must(t, err)
	must(t, tamper(t, s,
		"INSERT INTO report (upload, revision, state, made_ms, due_ms) VALUES (1, 7, 'due', 1, 1)",
		"INSERT INTO posting (upload, revision, recipient, state, letter, at_ms) VALUES (1, 7, 'jo@acme.example', 'sent', 'l', 1)",
		"INSERT INTO superseded_transaction (account, transaction_id, call) SELECT 1, 'T', id FROM call",
		"INSERT INTO fingerprint (fingerprint, change) VALUES (x'01', 1)",
		"INSERT INTO call_caller (account, caller, start_ms, call) VALUES (1, 2, 3, 4)",
		"INSERT INTO conversion_call (call, conversion) VALUES (1, 1)"))
	const reporting, delivering = "INSERT INTO report (upload, revision, state, made_ms, due_ms) ", "INSERT INTO upload (account, source, origin, digest, size, name, stem, takes, dialect, received_ms, state) "
	const changing = "INSERT INTO change (id, conversion, seq, verdict, at_ms, effective) "
	must(t, tamper(t, s, delivering+"SELECT account, source, 'elsewhere', digest, size, name, stem, takes, dialect, received_ms, state FROM upload",
		reporting+"VALUES (1, 8, 'failed', 1, 1)", changing+"SELECT id + 7, id, 7, 'updated', 1, 1 FROM conversion")) // so that those below fail by what they break
	must(t, tamper(t, s, "DELETE FROM upload WHERE origin = 'elsewhere'", "DELETE FROM report WHERE revision = 8", "DELETE FROM change WHERE seq = 7"))
	for _, test := range []struct{ name, statement string }{
		{"an upload in an unknown state", "UPDATE upload SET state = 'lost'"},
		{"an upload that is refused without a code", "UPDATE upload SET state = 'refused', decided_ms = 5"},
		{"a refusal of an upload that isn't refused", "UPDATE upload SET refusal_code = 'empty'"},
		{"an upload that is decided at no time", "UPDATE upload SET state = 'decided', decided_ms = 0"},
		{"a hold of an upload that is decided", "UPDATE upload SET state = 'decided', decided_ms = 5, hold_code = 'amounts_over_limit'"},
		{"fewer than no attempts", "UPDATE upload SET attempts = -1"},
		{"an upload that takes something else", "UPDATE upload SET takes = 'pictures'"},
		{"fewer than no waiting rows", "UPDATE upload SET waiting = -1"},
		{"the same delivery twice", delivering + "SELECT account, source, origin, digest, size, name, stem, takes, dialect, received_ms, state FROM upload"},
		{"the same part of an upload twice", "INSERT INTO upload_part (upload, part, bytes) SELECT upload, part, x'00' FROM upload_part"},
		{"an upload that is decided again and again", "UPDATE upload SET again = 2"},
		{"an upload that is more than a dry run", "UPDATE upload SET dry_run = 2"},
		{"an upload that is more than the last", "UPDATE upload SET closes = 2"},
		{"two accounts of one name", "INSERT INTO account (name) SELECT name FROM account"},
		{"a call that is more than astray", "UPDATE call SET astray = 2"},
		{"a call that is more than corrected", "UPDATE call SET corrected = 2"},
		{"a call that is found by its caller twice", "INSERT INTO call_caller SELECT account, caller, start_ms, call FROM call_caller"},
		{"a transaction that is superseded twice", "INSERT INTO superseded_transaction SELECT account, transaction_id, call FROM superseded_transaction"},
		{"a call of negative duration", "UPDATE call SET duration = -1"},
		{"two calls of one id", "INSERT INTO call_name SELECT name, nth, call + 1 FROM call_name"},
		{"a change by an unknown verdict", "UPDATE change SET verdict = 'rejected'"},
		{"a change that creates another conversion", changing + "SELECT id + 1, id, 1, 'created', 1, 1 FROM conversion"},
		{"a change that repeats another conversion", changing + "SELECT id + 1, id, 1, 'repeated', 1, 1 FROM conversion"},
		{"a change that increments the conversion it created", "UPDATE change SET verdict = 'incremented'"},
		{"a change before the first", changing + "SELECT 99, 99, -1, verdict, 1, 1 FROM change"},
		{"two changes of one number", changing + "SELECT id + 1, id, 1, 'updated', 1, 1 FROM conversion UNION ALL SELECT id + 2, id, 1, 'updated', 1, 1 FROM conversion"},
		{"a row that is applied twice", "INSERT INTO fingerprint (fingerprint, change) VALUES (x'01', 2)"},
		{"a conversion without a change", "UPDATE conversion SET changes = 0"},
		{"a conversion that is more than regrouped", "UPDATE conversion SET regrouped = 2"},
		{"a change that updates the conversion it created", "UPDATE change SET verdict = 'updated'"},
		{"a sale without a currency", "UPDATE conversion SET sale_currency = ''"},
		{"a receipt without a currency", "UPDATE conversion SET received_currency = ''"},
		{"a payout without a currency", "UPDATE conversion SET payout_currency = ''"},
		{"a conversion before the first", "UPDATE conversion SET nth = -1"},
		{"two conversions of one key and number", "INSERT INTO conversion_key SELECT call, key, nth, conversion + 1 FROM conversion_key"},
		{"a key before the first", "UPDATE conversion_key SET nth = -1"},
		{"a conversion that is found by its reference twice", "INSERT INTO conversion_reference SELECT reference, conversion FROM conversion_reference"},
		{"a conversion that is found by its call twice", "INSERT INTO conversion_call SELECT call, conversion FROM conversion_call"},
		{"a conversion in an unknown status", "UPDATE conversion SET status = 'lost'"},
		{"an amount of one that was undone", "UPDATE conversion SET status = 'undone'"},
		{"outcomes that end before they begin", "UPDATE outcome_chunk SET last_line = 1"},
		{"the same outcomes twice", "INSERT INTO outcome_chunk (upload, first_line, last_line, outcomes) SELECT upload, first_line, last_line, outcomes FROM outcome_chunk"},
		{"a report in an unknown state", reporting + "VALUES (1, 1, 'lost', 1, 1)"},
		{"a report before the first", reporting + "VALUES (1, 0, 'due', 1, 1)"},
		{"a report that was sent at no time", reporting + "VALUES (1, 1, 'sent', 1, 1)"},
		{"the same report twice", reporting + "VALUES (1, 7, 'due', 1, 1)"},
		{"a posting in an unknown state", "UPDATE posting SET state = 'lost'"},
		{"the same posting twice", "INSERT INTO posting (upload, revision, recipient, state, letter, at_ms) SELECT upload, revision, recipient, state, letter, at_ms FROM posting"},
		{"a posting of no report", "PRAGMA foreign_keys = 1; UPDATE posting SET revision = 9"},
		{"words where a number belongs", "UPDATE conversion SET sale = 'a lot'"},
	} {
		t.Run("the schema refuses "+test.name, func(t *testing.T) {
			if err := tamper(t, s, test.statement); err == nil {
				t.Error("it was taken")
			}
		})
	}
	must(t, tamper(t, s, "DELETE FROM call_caller"))
	wantVerified(t, s, 1, 1)
	if !bytes.Equal([]byte(readAll(t, s, u.ID)), []byte("a")) {
		t.Error("the bytes are gone")
	}
}

// testFences has things happen twice, or after something else has.
func testFences(t *testing.T, open func(t *testing.T) *Store) {
	decided := func(t *testing.T, s *Store, origin string) *conversion.Upload {
		t.Helper()
		u := begun(t, s, origin)
		done := settlement(u, 0, 2)
		done.Done, done.News = true, true
		must(t, settle(t.Context(), s, done))
		return u
	}
	t.Run("rows that wait are settled once", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		wait := settlement(u, 0, 2)
		wait.Tally = conversion.Tally{}
		wait.Tally.Add(conversion.Outcome{Line: 2, Verdict: conversion.Waiting})
		wait.Done = true
		must(t, settle(t.Context(), s, wait))
		again := settlement(u, 2, 2)
		again.From, again.Waiting, again.Done = conversion.Decided, 1, true
		must(t, settle(t.Context(), s, again))
		if err := settle(t.Context(), s, again); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("the second time: %v", err)
		}
	})
	t.Run("what is decided in part is not refused", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		must(t, settle(t.Context(), s, settlement(u, 0, 2)))
		if err := s.Refuse(t.Context(), u.ID, conversion.Refusal{Code: conversion.Empty, Sentence: "Empty."}, 5); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("what is decided is not held", func(t *testing.T) {
		s := open(t)
		err := s.Hold(t.Context(), decided(t, s, "a").ID, conversion.Hold{Code: conversion.AmountsOverLimit, Sentence: "Too much."}, 5)
		if !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("what is held, decided or refused is finished as no call log", func(t *testing.T) {
		s := open(t)
		held, refused := saved(t, s, "held"), saved(t, s, "refused")
		must(t, s.Hold(t.Context(), held.ID, conversion.Hold{Code: conversion.AmountsOverLimit, Sentence: "Too much."}, 5))
		must(t, s.Refuse(t.Context(), refused.ID, conversion.Refusal{Code: conversion.Empty, Sentence: "Empty."}, 5))
		for _, u := range []*conversion.Upload{held, decided(t, s, "decided"), refused} {
			before, err := s.Upload(t.Context(), u.ID)
			must(t, err)
			u.DecidedAt = 9_000
			if err := s.FinishCalls(t.Context(), u, true); !errors.Is(err, conversion.ErrTaken) {
				t.Errorf("%s: error %v", u.Origin, err)
			}
			if after, err := s.Upload(t.Context(), u.ID); err != nil || after.State != before.State || after.DecidedAt != before.DecidedAt {
				t.Errorf("%s: it is %s now, %v", u.Origin, after.State, err)
			}
		}
	})
	t.Run("a report that was sent is not sent again", func(t *testing.T) {
		s := open(t)
		u := decided(t, s, "a")
		must(t, s.MarkReplied(t.Context(), u.ID, 1, 3_000))
		if err := s.MarkReplying(t.Context(), conversion.ReportDue{Upload: u.ID, Revision: 1}); !errors.Is(err, conversion.ErrTaken) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a report that was given up is not put off", func(t *testing.T) {
		s := open(t)
		u := decided(t, s, "a")
		must(t, s.MarkReplyFailed(t.Context(), u.ID, 1, "no relay", 5_000, true))
		must(t, s.PutOff(t.Context(), []conversion.ReportDue{{Upload: u.ID, Revision: 1}}, 9_000))
		failed, err := s.Undelivered(t.Context(), 6_000)
		if err != nil || len(failed) != 0 {
			t.Errorf("it was given up at 5000, and since 6000 there are %v, %v", failed, err)
		}
	})
	t.Run("what became of a report for a recipient is noted once", func(t *testing.T) {
		s := open(t)
		u := decided(t, s, "a")
		first := conversion.Posting{Upload: u.ID, Revision: 1, Recipient: "jo@acme.example", Letter: "l", At: 5}
		again := first
		again.Refusal, again.At = "not here", 6
		must(t, s.Post(t.Context(), []conversion.Posting{first}))
		must(t, s.Post(t.Context(), []conversion.Posting{again}))
		if noted, err := s.Postings(t.Context(), u.ID); err != nil || !slices.Equal(noted, []conversion.Posting{first}) {
			t.Errorf("noted %+v, %v", noted, err)
		}
	})
	t.Run("an account is made once", func(t *testing.T) {
		must(t, open(t).EnsureAccounts(t.Context(), []string{"23", "23"}))
	})
	t.Run("a row's fingerprint is that of its last change", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		print := conversion.Fingerprint{1}
		for _, after := range []int{0, 2} {
			c, created := made(u, after+2)
			settled := doing(settlement(u, after, after+2), c, created)
			settled.Fingerprints[print] = created.ID
			settled.Reapplied = map[int64]int64{7: created.ID}
			must(t, settle(t.Context(), s, settled))
		}
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Fingerprints: []conversion.Fingerprint{print}})
		must(t, err)
		if got, want := held.Applied(print), conversion.MakeID(u.ID, 4); got == nil || got.ID != want {
			t.Errorf("it was applied to %+v, want conversion %d", got, want)
		}
	})
	t.Run("a conversion that comes back to what it was is found", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2)
		must(t, settle(t.Context(), s, doing(settlement(u, 0, 2), c, created)))
		was := *c
		for i, to := range []*conversion.Conversion{{Key: key("elsewhere"), Details: conversion.Details{ReferenceID: "other"}}, &was} {
			moved, change := updated(c, u, i+3, 2_000, func(c *conversion.Conversion) { c.Key, c.ReferenceID = to.Key, to.ReferenceID })
			again := doing(settlement(u, i+2, i+3), moved, change)
			again.Rekeyed = []int64{c.ID}
			must(t, settle(t.Context(), s, again))
			c = moved
		}
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Keys: []conversion.Key{was.Key}, References: []string{was.ReferenceID}, Calls: []int64{was.Call}})
		must(t, err)
		if held.Conversion(c.ID) == nil {
			t.Error("it is not")
		}
		wantVerified(t, s, 1, 3)
	})
}

// callsFound are the calls that each search finds.
func callsFound(t *testing.T, s *Store, account string, searches []conversion.CallSearch) ([][]conversion.Call, error) {
	t.Helper()
	found := make([][]conversion.Call, len(searches))
	err := s.Calls(t.Context(), account, searches, func(search int, calls []conversion.Call) {
		found[search] = append(found[search], calls...)
	})
	return found, err
}

// testFoundInTransaction looks for conversions in the transaction that has made them,
// where what they are found by is not written yet.
func testFoundInTransaction(t *testing.T, open func(t *testing.T) *Store) {
	for _, by := range []struct {
		name  string
		query func(c *conversion.Conversion) conversion.HeldQuery
	}{
		{"key", func(c *conversion.Conversion) conversion.HeldQuery {
			return conversion.HeldQuery{Keys: []conversion.Key{c.Key}}
		}},
		{"reference id", func(c *conversion.Conversion) conversion.HeldQuery {
			return conversion.HeldQuery{References: []string{c.ReferenceID}}
		}},
		{"the reference id of a name", func(c *conversion.Conversion) conversion.HeldQuery {
			return conversion.HeldQuery{Names: []conversion.Name{{Column: "order_id", Reference: c.ReferenceID}}}
		}},
		{"its own id", func(c *conversion.Conversion) conversion.HeldQuery {
			return conversion.HeldQuery{Conversions: []int64{c.ID}}
		}},
		{"call", func(c *conversion.Conversion) conversion.HeldQuery {
			return conversion.HeldQuery{Calls: []int64{c.Call}}
		}},
	} {
		for _, keyCall := range []int64{0, 7} {
			t.Run(fmt.Sprintf("a conversion is found by %s, the call of its key is %d", by.name, keyCall), func(t *testing.T) {
				s := open(t)
				u := begun(t, s, "a")
				c, created := made(u, 2, func(c *conversion.Conversion) { c.Key.Call = keyCall })
				query := by.query(c)
				query.Account = "23"
				must(t, s.Together(t.Context(), func(together *Store) (bool, error) {
					if err := settle(t.Context(), together, doing(settlement(u, 0, 2), c, created)); err != nil {
						return false, err
					}
					held, err := heldBy(t.Context(), together, query)
					if err == nil && held.Conversion(c.ID) == nil {
						t.Error("not found in its transaction")
					}
					return true, err
				}))
				held, err := heldBy(t.Context(), s, query)
				must(t, err)
				if held.Conversion(c.ID) == nil {
					t.Error("not found after its transaction")
				}
				wantVerified(t, s, 1, 1)
			})
		}
	}
	t.Run("one leaves its key in the transaction that has made it", func(t *testing.T) {
		s := open(t)
		u := begun(t, s, "a")
		c, created := made(u, 2, func(c *conversion.Conversion) { c.Key.Call = 7 })
		moved, change := updated(c, u, 3, 2_000, func(c *conversion.Conversion) { c.Key = key("elsewhere") })
		must(t, s.Together(t.Context(), func(together *Store) (bool, error) {
			if err := settle(t.Context(), together, doing(settlement(u, 0, 2), c, created)); err != nil {
				return false, err
			}
			again := doing(settlement(u, 2, 3), moved, change)
			again.Rekeyed = []int64{c.ID}
			return true, settle(t.Context(), together, again)
		}))
		held, err := heldBy(t.Context(), s, conversion.HeldQuery{Account: "23", Keys: []conversion.Key{c.Key}})
		must(t, err)
		if held.Latest(c.Key) != nil {
			t.Error("it is found by the key that it has left")
		}
		wantVerified(t, s, 1, 2)
	})
}

// wantFound looks at the ids of the calls of account 23 that each search finds.
func wantFound(t *testing.T, s *Store, searches []conversion.CallSearch, want ...string) [][]conversion.Call {
	t.Helper()
	found, err := callsFound(t, s, "23", searches)
	must(t, err)
	for i, list := range found {
		var got []string
		for _, c := range list {
			got = append(got, c.CallID)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want[i] {
			t.Errorf("search %+v found %v, want %v", searches[i], got, want[i])
		}
	}
	return found
}
