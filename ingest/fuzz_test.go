package ingest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
)

func FuzzRows(f *testing.F) {
	const row = "2026-03-31 14:05:09,+12125550123,60.50,a\n"
	for _, content := range []string{
		"", plain, strings.ReplaceAll(plain, ",", ";"), strings.ReplaceAll(plain, "\n", "\r"), "\ufeff" + plain, "sep=;\n" + strings.ReplaceAll(plain, ",", ";"),
		utf16Text(binary.LittleEndian, plain), utf16Text(binary.BigEndian, plain), strings.ReplaceAll(plain, "ë", "\xeb"), plain + "\x1a",
		"Parameters:TimeZone=America/New_York;\n" + plain, plain + row + "\n\n" + row, plain + "2026-03-31 14:05:09,\"a\nb\",5,\n" + row,
		plain + "short\n" + row + "too,many,cells,in,here\n", plain + "a \"stray\" quote,,,\n" + row, plain + "\"unclosed,,,\n" + row,
		"start_time,reference_id\n2026-03-31 14:05:09,=\"0503\"\n2026-03-31 14:05:09,'0503\n", "start_time\n03/04/2026 14:05\n31/03/2026 14:05\n",
		"start_time_t,sku_list,quantity_list,sale_amount,sale_currency\n1774980309,\"a,b\",\"1,2\",\"1,234.50\",EUR\n4.5E+11,a,\"1,0\",NaN,dollars\n",
		"call_id,start_time,duration\nc1,2026-03-31 14:05:09,93\n,soon,long\n",
		"transaction_id,transaction_type,start_time_utc,calling_phone_number\nT-1,Call,1774980309123,866-555-1234\nT-2,Signal,,\n",
		"clickid,type,status,sum,rdtk_event_id,cost\nK,Sale,approved,10,E,1\n,sale,paid,x,,\n",
		"conversion_id,transaction_id,payout,add_to_existing_payout,received,received_option,effective_date_option,custom_date\n1,R,5,TRUE,5,total_revenue,custom,03/04/2026 00:00:00\n0,,5,,5,all,soon,\n",
		"CampaignId,EventTypeId,EventDate,OrderId,MediaId,OrderDiscount,ItemSku1,ItemQuantity1,ItemPrice1,ItemText1_2\n1,2,NOW,3,4,5,A,1,10,x\n1,2,NOW,3,4,5,B,2,\"3,50\",\n\"broken\"x\n1,2,NOW,4,4,,,,,\n1,2,NOW,3,4,,C,1,1,\n",
		"ActionId,OrderId,ActionTrackerId,Amount,Reason,Sku1,Amount1,Quantity2\n1,,,0,X,,,\n,3,2,,X,A,5,\n,,,1,,,,7\n",
		"Parameters:TimeZone=+0100\nCaller’s Phone Number,Call Start Time,Conversion Name,Conversion Time,Conversion Value\n+12125550123,2026-03-31 14:05:09,Sale,\"Tue, 31 Mar 2026 15:00:00 +0000\",0\n",
		"transaction_id,name,occurred_at_time,revenue,value,Shoe size\nT,SALE,,5,maybe,44\n",
		"{\"sid\":\"CA1\",\"start_time\":\"2026-03-31T18:05:09Z\",\"duration\":93}\n{\"sid\":\"\"}\n", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
		"PK\x03\x04", "%PDF-1.7", "<html>", "start_time\r\n\r\n2026-03-31 14:05:09\r",
	} {
		f.Add([]byte(content), uint8(0))
		f.Add([]byte(content), uint8(3))
	}
	f.Fuzz(func(t *testing.T, content []byte, how uint8) {
		var changes []change
		if how&1 != 0 {
			changes = append(changes, takesCalls)
		}
		if how&2 != 0 {
			changes = append(changes, dateOrder(conversion.DateOrderDMY))
		}
		if how&4 != 0 {
			changes = append(changes, noZone)
		}
		table, refusal, err := ingest.Survey(context.Background(), opener(string(content)), settings(changes...))
		if err != nil {
			t.Fatalf("neither read nor refused: %v", err)
		}
		if refusal != nil {
			if table != nil || refusal.Code == "" || refusal.Sentence == "" {
				t.Fatalf("refused with %+v and a table %v", refusal, table)
			}
			return
		}
		var sent []int
		for _, row := range rowsOf(t, table) {
			sent = append(sent, row.Line)
		}
		read := linesRead(t, table, sent, how&1 != 0)
		if len(read) != table.Reading.Rows {
			t.Fatalf("%d rows surveyed, %d read", table.Reading.Rows, len(read))
		}
		if !slices.Equal(read, sent) {
			t.Fatalf("rows are on the lines %v, but were read on %v", sent, read)
		}
		for i := 1; i < len(read); i++ {
			if read[i] <= read[i-1] {
				t.Fatalf("line %d comes after line %d", read[i], read[i-1])
			}
		}
	})
}

// linesRead reads a table's rows and returns their lines; of rows that can't
// be read, every fault must have a code and a sentence.
func linesRead(t *testing.T, table *ingest.Table, sent []int, calls bool) (lines []int) {
	check := func(rejection *conversion.Rejection) {
		if rejection != nil && len(rejection.Faults) == 0 {
			t.Fatalf("line %d is rejected without a fault", rejection.Line)
		}
		if rejection == nil {
			return
		}
		for _, fault := range rejection.Faults {
			if fault.Code == "" || fault.Sentence == "" {
				t.Fatalf("line %d: %+v", rejection.Line, fault)
			}
		}
	}
	if !calls {
		claims, rejections := readClaims(t, table)
		for i, claim := range claims {
			check(rejections[i])
			if rejections[i] != nil && rejections[i].Line != claim.Line {
				t.Fatalf("line %d is rejected as line %d", claim.Line, rejections[i].Line)
			}
			if rejections[i] == nil && !claim.Start.Given() && !claim.Web && !claim.Names.Given() && !claim.CallIDs.Given() {
				t.Fatalf("line %d is taken, but names neither a call nor a conversion", claim.Line)
			}
		}
		return linesOf(claims)
	}
	reader, err := table.Calls(context.Background())
	if err != nil {
		t.Fatalf("Calls: %v", err)
	}
	defer reader.Close()
	last := 0
	for {
		call, isCall, rejection, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		check(rejection)
		switch {
		case rejection != nil:
			last = rejection.Line
		case isCall:
			last = call.Line
			if call.CallID == "" || call.Start == 0 {
				t.Fatalf("line %d is taken as %+v", last, call)
			}
		default: // an entry that is no call doesn't say its line
			if len(lines) >= len(sent) {
				t.Fatalf("more entries were read than the %d sent", len(sent))
			}
			last = sent[len(lines)]
		}
		lines = append(lines, last)
	}
}
