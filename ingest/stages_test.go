package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

const benchRows = 10_000

// benchTable is a file as most are: times in seconds since 1970, numbers in E.164 or
// with dashes, amounts with a point.
func benchTable() string {
	var b strings.Builder
	b.WriteString("start_time_t,calling_phone_number,duration_in_seconds,reference_id,reason_code,sku_list,sale_amount,sale_currency\n")
	for i := range benchRows {
		caller := fmt.Sprintf("+1212555%04d", i)
		if i%10 == 0 {
			caller = fmt.Sprintf("212-555-%04d", i)
		}
		fmt.Fprintf(&b, "%d,%s,%d,R%09d,S,SKU-%05d,%d.%02d,USD\n", 1749180897+i*60, caller, i%900, i, i%100, i%500, i%100)
	}
	return b.String()
}

// BenchmarkSurvey finds out how a file of 10,000 rows is to be read.
func BenchmarkSurvey(b *testing.B) {
	content := benchTable()
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		survey(b, content)
	}
}

// BenchmarkClaims reads 10,000 rows and understands them.
func BenchmarkClaims(b *testing.B) {
	content := benchTable()
	table := survey(b, content)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		claims, err := table.Claims(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		rows := 0
		for ; ; rows++ {
			_, rejection, err := claims.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || rejection != nil {
				b.Fatal(err, rejection)
			}
		}
		claims.Close()
		if rows != benchRows {
			b.Fatalf("%d rows", rows)
		}
	}
}
