package report_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"calltally/conversion"
	"calltally/report"
)

// busy is a digest of a night with all that there can be to tell.
func busyNight() *report.Digest {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	at := func(hour int) conversion.Millis {
		return conversion.MillisOf(time.Date(2026, 3, 30, hour, 5, 0, 0, time.UTC))
	}
	tally := func(rows int, counts map[conversion.Verdict]int) conversion.Tally {
		t := conversion.Tally{Rows: rows}
		for v, n := range counts {
			t.Counts[v] = n
		}
		return t
	}
	return &report.Digest{
		From: time.Date(2026, 3, 30, 6, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 31, 6, 0, 0, 0, time.UTC), Zone: zone,
		Names: map[string]string{"23": "Acme & Söhne", "24": "Bolt Heating and Cooling of New England"},
		Activity: []conversion.Activity{
			{Source: "uploads", Files: 2, Refused: 2},
			{Account: "23", Source: "drop", Files: 3, Rows: 1_203, Sought: 1_200, Matched: 1_131, Tally: tally(1_203, map[conversion.Verdict]int{conversion.Created: 1_131, conversion.Waiting: 60, conversion.Rejected: 12})},
			{Account: "24", Source: "a source with a long name", Files: 1, Rows: 5, Tally: tally(5, map[conversion.Verdict]int{conversion.Created: 5})},
		},
		Alarms:      []string{"The grant office lapses on 12 April 2026: make a new client secret, and put it into client_secret_file and its day into secret_expires."},
		Standstills: []conversion.Standstill{{Account: "23", Count: 74, Oldest: at(9)}},
		Held:        []conversion.Standstill{{Account: "23", Count: 2, Oldest: at(11)}, {Account: "24", Count: 1, Oldest: at(12)}},
		Undelivered: []conversion.Undelivered{{Upload: 12, Revision: 1, Account: "23", Why: "ops@acme.example: SMTP error 550: 5.1.1 no such mailbox"}},
		Paid: []conversion.Paid{
			{Account: "23", Paid: conversion.Cents(1_234_567, "USD"), Pending: conversion.Cents(5_000, "USD")},
			{Account: "24", Paid: conversion.Cents(-900, "EUR"), Pending: conversion.Cents(0, "EUR")},
		},
		Polls: []conversion.Poll{
			{Source: "drop", At: at(23), Good: at(23)},
			{Source: "partner", At: at(23), Error: "source partner: dial tcp 192.0.2.1:993: connect: connection refused <again and again, until somebody looks>"},
		},
	}
}

var digests = map[string]func() *report.Digest{
	"digest": busyNight,
	"quiet": func() *report.Digest {
		return &report.Digest{From: time.Date(2026, 3, 30, 6, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 31, 6, 0, 0, 0, time.UTC)}
	},
}

// Run with -update to write the golden files anew.
func TestDigestsLookAsTheyDid(t *testing.T) {
	for name, build := range digests {
		for extension, write := range map[string]func(*report.Digest, io.Writer) error{"txt": (*report.Digest).Text, "html": (*report.Digest).HTML} {
			t.Run(name+" as "+extension, func(t *testing.T) {
				var b bytes.Buffer
				if err := write(build(), &b); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", name+"."+extension)
				if *update {
					if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if b.String() != string(want) {
					t.Errorf("%s differs; run with -update if that is right. Got\n%s", path, b.String())
				}
			})
		}
	}
}

func TestADigestsTextIsNarrow(t *testing.T) {
	var b bytes.Buffer
	if err := busyNight().Text(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > 80 {
			t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
		}
	}
}
