package report_test

import (
	"fmt"
	"io"
	"testing"

	"calltally/conversion"
	"calltally/report"
)

// BenchmarkResultsCSV writes the results file of 10,000 rows.
func BenchmarkResultsCSV(b *testing.B) {
	const rows = 10_000
	sent := table{header: []string{"start_time_t", "calling_phone_number", "reference_id", "sale_amount"}, comma: ','}
	var list []conversion.Outcome
	for i := range rows {
		sent.rows = append(sent.rows, []string{fmt.Sprint(1749180897 + i), fmt.Sprintf("+1212555%04d", i), fmt.Sprintf("R%09d", i), "362.25"})
		list = append(list, conversion.Outcome{Line: i + 2, Verdict: conversion.Created, CallID: "CBD7-00000000", CallStart: conversion.Millis(1_749_180_897_000 + i*1000), ConversionID: 20_000_000 + int64(i), PayoutAfter: usd(3622), Rule: "10% of 362.25 = 36.22"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := report.ResultsCSV(io.Discard, sent, outcomes(list...)); err != nil {
			b.Fatal(err)
		}
	}
}
