package conversion_test

import (
	"math/rand"
	"testing"

	"calltally/conversion"
)

func TestTheTallySumsToTheRows(t *testing.T) {
	random := rand.New(rand.NewSource(4))
	for range 200 {
		var tally conversion.Tally
		rows := 0
		for range random.Intn(20) {
			chunk := make([]conversion.Outcome, random.Intn(30))
			for i := range chunk {
				chunk[i].Verdict = conversion.Verdicts[random.Intn(len(conversion.Verdicts))]
			}
			tally.Add(chunk...)
			rows += len(chunk)
		}
		sum := 0
		for _, verdict := range conversion.Verdicts {
			sum += tally.Of(verdict)
		}
		if sum != rows || tally.Rows != rows {
			t.Fatalf("%d rows: the tally has %d and sums to %d", rows, tally.Rows, sum)
		}
	}
}

func TestTallyAsASentence(t *testing.T) {
	of := func(verdicts ...conversion.Verdict) (tally conversion.Tally) {
		for _, v := range verdicts {
			tally.Add(conversion.Outcome{Verdict: v})
		}
		return tally
	}
	for _, c := range []struct {
		name  string
		tally conversion.Tally
		want  string
	}{
		{"no rows", of(), "0 rows"},
		{"one row", of(conversion.Waiting), "1 row: 1 waiting"},
		{"verdicts stand in the order of reports", of(conversion.Rejected, conversion.Created, conversion.Created), "3 rows: 2 created, 1 rejected"},
		{"every verdict", of(conversion.Verdicts...), "8 rows: 1 created, 1 updated, 1 incremented, 1 repeated, 1 unchanged, 1 ignored, 1 waiting, 1 rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.tally.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestVerdictNames(t *testing.T) {
	for verdict, want := range map[conversion.Verdict]string{
		conversion.Created: "created", conversion.Updated: "updated", conversion.Incremented: "incremented",
		conversion.Repeated: "repeated", conversion.Unchanged: "unchanged", conversion.Ignored: "ignored",
		conversion.Waiting: "waiting", conversion.Rejected: "rejected",
	} {
		if text, err := verdict.MarshalText(); err != nil || string(text) != want || verdict.String() != want {
			t.Errorf("verdict %d is %q, %v, want %q", verdict, text, err, want)
		}
	}
}

func TestCountWritesANumberWithItsNoun(t *testing.T) {
	for _, c := range []struct {
		n    int
		noun string
		want string
	}{
		{0, "row", "0 rows"}, {1, "row", "1 row"}, {2, "cell", "2 cells"}, {1, "entry", "1 entry"}, {3, "entry", "3 entries"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if got := conversion.Count(c.n, c.noun); got != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestARejectionTellsEveryFault(t *testing.T) {
	rejection := conversion.Rejection{Line: 7}
	rejection.Add(conversion.PhoneInvalid, "caller", "x", "caller is %q.", "x")
	rejection.Add(conversion.AmountInvalid, "amount", "y", "amount is %q.", "y")
	want := conversion.Outcome{
		Line: 7, Verdict: conversion.Rejected, Code: conversion.PhoneInvalid,
		Message: `caller is "x". amount is "y".`, Column: "caller", Value: "x",
	}
	got := rejection.Outcome()
	if got.Line != want.Line || got.Verdict != want.Verdict || got.Code != want.Code || got.Message != want.Message || got.Column != want.Column || got.Value != want.Value {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := rejection.Error(), `line 7: caller is "x". amount is "y".`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMakeIDComesApartAgain(t *testing.T) {
	if got := conversion.MakeID(12, 345); got != 120000345 {
		t.Errorf("upload 12, line 345 is %d", got)
	}
	check := func(upload int64, line int) {
		t.Helper()
		id := conversion.MakeID(upload, line)
		if conversion.UploadOf(id) != upload || conversion.LineOf(id) != line {
			t.Fatalf("MakeID(%d, %d) = %d comes apart as %d, %d", upload, line, id, conversion.UploadOf(id), conversion.LineOf(id))
		}
	}
	check(1, 0)
	check(1, conversion.MaxLine)
	check(900_000_000_000, conversion.MaxLine)
	random := rand.New(rand.NewSource(5))
	for range 10_000 {
		check(random.Int63n(900_000_000_000), random.Intn(conversion.MaxLine+1))
	}
	if conversion.MakeID(1, conversion.MaxLine) >= conversion.MakeID(2, 0) {
		t.Error("the last line of an upload reaches into the next")
	}
}

func TestFormatID(t *testing.T) {
	if got := conversion.FormatID(0); got != "" {
		t.Errorf("no id is %q", got)
	}
	if got := conversion.FormatID(conversion.MakeID(12, 345)); got != "120000345" {
		t.Errorf("got %q", got)
	}
}
