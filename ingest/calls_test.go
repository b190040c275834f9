package ingest_test

import (
	"reflect"
	"testing"

	"calltally/conversion"
)

func TestTheMappedCallLog(t *testing.T) {
	calls, skipped := goodCalls(t, "call_id,start_time,duration_in_seconds,calling_phone_number,called_phone_number,campaign_id,publisher_id,click_id,status\n"+
		"c1,2026-03-31 14:05:09,93,+12125550123,866-555-1234,C-1,P-1,K-1,answered\n"+
		"c2,1774980309123,,Anonymous,not a number,,,,\n")
	want := []conversion.Call{
		{
			Line: 2, CallID: "c1", Start: utc(t, "2026-03-31T18:05:09Z"), Duration: 93, Caller: 12125550123, Called: 18665551234,
			Campaign: "C-1", Publisher: "P-1", ClickID: "K-1", Status: "answered",
		},
		{Line: 3, CallID: "c2", Start: utc(t, "2026-03-31T18:05:09.123Z")},
	}
	if !reflect.DeepEqual(calls, want) || skipped != 0 {
		t.Errorf("got %+v, %d skipped\nwant %+v", calls, skipped, want)
	}
}

func TestInvocasTransactions(t *testing.T) {
	const header = "transaction_id,corrects_transaction_id,transaction_type,complete_call_id,start_time_local,start_time_network_timezone,start_time_utc,start_time_xml," +
		"calling_phone_number,duration,connect_duration,original_order_id,advertiser_campaign_id,affiliate_id,call_result_description_detail,promo_number\n"
	calls, skipped := goodCalls(t, header+
		"T-1,,Call,R-1,2026-03-31 11:05:09 -0700,2026-03-31 14:05:09 -0400,1774980309123,2026-03-31T14:05:09-04:00,866-555-1234,93,80,,C-1,A-1,Connected,877-555-0100\n"+
		"T-2,,Signal,R-1,,,1774980309123,,866-555-1234,,,,,,,\n"+
		"T-3,,Sale,R-1,,,garbage,,866-555-1234,,,,,,,\n"+
		"T-4,T-1,call,R-1,,,1774980309123,,866-555-1234,95,82,,,,,\n"+
		"T-5,,,,,2026-03-31 14:05:09 -0400,,,+18665551234,1,,,,,,\n"+
		"T-6,,Call,R-6,,,,2026-03-31T14:05:09-04:00,,1,,,,,,\n"+
		"T-7,,Call,R-7,2026-03-31 11:05:09 -0700,,,,,1,,,,,,\n")
	at, to := utc(t, "2026-03-31T18:05:09.123Z"), utc(t, "2026-03-31T18:05:09Z")
	want := []conversion.Call{
		{
			Line: 2, CallID: "R-1", TransactionID: "T-1", Start: at, Duration: 93, Caller: 18665551234, Called: 18775550100,
			Campaign: "C-1", Publisher: "A-1", Status: "Connected",
		},
		{Line: 5, CallID: "R-1", TransactionID: "T-4", Corrects: "T-1", Start: at, Duration: 95, Caller: 18665551234},
		{Line: 6, CallID: "T-5", TransactionID: "T-5", Start: to, Duration: 1, Caller: 18665551234},
		{Line: 7, CallID: "R-6", TransactionID: "T-6", Start: to, Duration: 1},
		{Line: 8, CallID: "R-7", TransactionID: "T-7", Start: to, Duration: 1},
	}
	if !reflect.DeepEqual(calls, want) {
		t.Errorf("got %+v\nwant %+v", calls, want)
	}
	if skipped != 2 {
		t.Errorf("%d skipped, want 2", skipped)
	}
}

func TestAnUnusedTimeOfATransactionDecidesNothing(t *testing.T) {
	calls, _ := goodCalls(t, "transaction_id,start_time_utc,start_time_local\nT-1,1774980309123,03/04/2026 11:05:09\n", noZone)
	if len(calls) != 1 || calls[0].Start != utc(t, "2026-03-31T18:05:09.123Z") {
		t.Errorf("got %+v", calls)
	}
}

func TestCallFaults(t *testing.T) {
	for _, c := range []struct {
		name, content string
		changes       []change
		want          []conversion.Fault
	}{
		{
			name: "no id", content: "call_id,start_time\n,2026-03-31 14:05:09\n",
			want: []conversion.Fault{{Code: conversion.OptionMissing, Column: "call_id", Sentence: "The call has no id: call_id is blank. Fill it in."}},
		},
		{
			name: "no id in Invoca's log", content: "complete_call_id,transaction_id,start_time_utc\n,,1774980309123\n",
			want: []conversion.Fault{{Code: conversion.OptionMissing, Column: "complete_call_id", Sentence: "The call has no id: complete_call_id is blank. Fill it in."}},
		},
		{
			name: "no id in one of Invoca's logs with one column for it", content: "transaction_id,start_time_utc\n,1774980309123\n",
			want: []conversion.Fault{{Code: conversion.OptionMissing, Column: "transaction_id", Sentence: "The call has no id: transaction_id is blank. Fill it in."}},
		},
		{
			name: "no start", content: "call_id,start_time\nc1,\n",
			want: []conversion.Fault{{Code: conversion.StartTimeMissing, Column: "start_time", Sentence: "start_time is blank. Fill in when the call started."}},
		},
		{
			name: "no start in Invoca's log", content: "transaction_id,start_time_utc\nT-1,\n",
			want: []conversion.Fault{{Code: conversion.StartTimeMissing, Column: "start_time_utc", Sentence: "start_time_utc is blank. Fill in when the call started."}},
		},
		{
			name: "no time", content: "call_id,start_time\nc1,soon\n",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "soon", Sentence: `start_time is "soon", which is not a time. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "a time that occurs twice", content: "call_id,start_time\nc1,2026-11-01 01:30:00\n",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "2026-11-01 01:30:00", Sentence: `start_time is "2026-11-01 01:30:00", a time that occurs twice because clocks were put back. Add its offset.`}},
		},
		{
			name: "a time that never was", content: "call_id,start_time\nc1,2026-03-08 02:30:00\n",
			want: []conversion.Fault{{Code: conversion.StartTimeInDSTGap, Column: "start_time", Value: "2026-03-08 02:30:00", Sentence: `start_time is "2026-03-08 02:30:00", a time that never was in America/New_York: clocks were put forward over it. Correct it or add its offset.`}},
		},
		{
			name: "an unknown zone", content: "call_id,start_time,time_zone\nc1,2026-03-31 14:05:09,Mars/Olympus\n",
			want: []conversion.Fault{{Code: conversion.TimeZoneUnknown, Column: "time_zone", Value: "Mars/Olympus", Sentence: `time_zone is "Mars/Olympus", which is not a time zone. Write it as America/New_York or as -0400.`}},
		},
		{
			name: "a rounded number", content: "call_id,start_time,calling_phone_number\nc1,2026-03-31 14:05:09,4.47911E+11\n",
			want: []conversion.Fault{{Code: conversion.PhoneDamagedByExcel, Column: "calling_phone_number", Value: "4.47911E+11", Sentence: `calling_phone_number is "4.47911E+11": a spreadsheet has turned the number into a rounded one. Export the call log again without opening it in one.`}},
		},
		{
			name: "a rounded id", content: "call_id,start_time\n1.23457E+15,2026-03-31 14:05:09\n",
			want: []conversion.Fault{{Code: conversion.IDDamagedByExcel, Column: "call_id", Value: "1.23457E+15", Sentence: `call_id is "1.23457E+15": a spreadsheet has turned the id into a rounded number. Format the column as text, enter the id again and re-export.`}},
		},
		{
			name: "a duration in words", content: "call_id,start_time,duration\nc1,2026-03-31 14:05:09,long\n",
			want: []conversion.Fault{{Code: conversion.QuantityInvalid, Column: "duration_in_seconds", Value: "long", Sentence: `duration (duration_in_seconds) is "long", which is not a whole number from 0 to 1000000. Correct it or leave it blank.`}},
		},
		{
			name: "a cell missing", content: "call_id,start_time,status\nc1,2026-03-31 14:05:09\n",
			want: []conversion.Fault{{Code: conversion.RowMalformed, Sentence: "This line doesn't have 3 cells as the header does. Check for a missing or an unquoted delimiter."}},
		},
		{
			name: "several faults at once are all told", content: "call_id,start_time,duration\n,soon,long\n",
			want: []conversion.Fault{
				{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "soon", Sentence: `start_time is "soon", which is not a time. Write it as 2026-03-31 14:05:09.`},
				{Code: conversion.QuantityInvalid, Column: "duration_in_seconds", Value: "long", Sentence: `duration (duration_in_seconds) is "long", which is not a whole number from 0 to 1000000. Correct it or leave it blank.`},
				{Code: conversion.OptionMissing, Column: "call_id", Sentence: "The call has no id: call_id is blank. Fill it in."},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls, skipped, rejections := readCalls(t, c.content, c.changes...)
			if len(calls) != 0 || skipped != 0 || len(rejections) != 1 {
				t.Fatalf("got %+v, %d skipped, %+v", calls, skipped, rejections)
			}
			if rejections[0].Line != 2 {
				t.Errorf("the line is %d", rejections[0].Line)
			}
			if !reflect.DeepEqual(rejections[0].Faults, c.want) {
				t.Errorf("got  %+v\nwant %+v", rejections[0].Faults, c.want)
			}
		})
	}
}
