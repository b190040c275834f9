package ingest_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"calltally/conversion"
	"calltally/ingest"
)

func TestAFullClaim(t *testing.T) {
	claims := goodClaims(t, "start_time_t,start_time,time_zone,calling_phone_number,called_phone_number,duration_in_seconds,reference_id,parent_reference_id,web_conversion,"+
		"advertiser_campaign_id,affiliate_id_from_network,event_type,reason_code,sku_list,quantity_list,sale_amount,sale_currency,email_address,zip_code\n"+
		`1774980309,,,(212) 555-0123,866-555-1234,93,R-1,P-1,0,C-1,A-1,Sale,S,"SKU1, SKU2","1, 2","$1,234.50",usd,zoe@example.com,02134`+"\n")
	want := conversion.Claim{Line: 2, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Caller: 12125550123, Called: 18665551234, Duration: 93, HasDuration: true, Names: conversion.Name{Column: "parent_reference_id", Reference: "P-1"}, Standing: conversion.Standing{Sale: conversion.Cents(123450, "USD")}, Details: conversion.Details{ReferenceID: "R-1", EventType: "Sale", ReasonCode: "S", SKUs: "SKU1,SKU2", Quantities: "1,2", Campaign: "C-1", Publisher: "A-1", Customer: `{"email_address":"zoe@example.com","zip_code":"02134"}`}}
	if len(claims) != 1 || !reflect.DeepEqual(claims[0], want) {
		t.Errorf("got %+v\nwant %+v", claims, want)
	}
}

func TestBlankIsNotZero(t *testing.T) {
	claims := goodClaims(t, "start_time,sale_amount,duration_in_seconds\n2026-03-31 14:05:09,,\n2026-03-31 14:05:09,0,0\n2026-03-31 14:05:09, , \n2026-03-31 14:05:09,\"=\"\"\"\"\",\n")
	if len(claims) != 4 {
		t.Fatalf("got %+v", claims)
	}
	for i, given := range []bool{false, true, false, false} {
		if claims[i].Sale.Given != given || claims[i].HasDuration != given {
			t.Errorf("row %d: %+v", i, claims[i])
		}
	}
	if claims[1].Sale != conversion.Cents(0, "USD") {
		t.Errorf("zero is %+v", claims[1].Sale)
	}
}

func TestCells(t *testing.T) {
	field := func(get func(conversion.Claim) any) func(conversion.Claim) any { return get }
	var (
		reference = field(func(c conversion.Claim) any { return c.ReferenceID })
		start     = field(func(c conversion.Claim) any { return c.Start.First.From.String() })
		caller    = field(func(c conversion.Claim) any { return c.Caller.String() })
		sale      = field(func(c conversion.Claim) any { return c.Sale.String() })
		currency  = field(func(c conversion.Claim) any { return string(c.Sale.Currency) })
		duration  = field(func(c conversion.Claim) any { return fmt.Sprint(c.Duration, c.HasDuration) })
		skus      = field(func(c conversion.Claim) any { return c.SKUs + "|" + c.Quantities })
		web       = field(func(c conversion.Claim) any { return c.Web })
	)
	const at = "2026-03-31 14:05:09,"
	for _, c := range []struct {
		name, header, row string
		get               func(conversion.Claim) any
		want              any
		changes           []change
	}{
		{name: "a wrapped id keeps its zero", header: "start_time,reference_id", row: at + `="0503"`, get: reference, want: "0503"},
		{name: "a wrapped id in quotes keeps its zero", header: "start_time,reference_id", row: at + `"=""0503"""`, get: reference, want: "0503"},
		{name: "an id behind an apostrophe keeps its zero", header: "start_time,reference_id", row: at + "'0503", get: reference, want: "0503"},
		{name: "an id with an E in it is no rounded number", header: "start_time,reference_id", row: at + "0503E000", get: reference, want: "0503E000"},
		{name: "blanks around an id go", header: "start_time,reference_id", row: at + "  R-1\t", get: reference, want: "R-1"},
		{name: "a lone apostrophe is an id", header: "start_time,reference_id", row: at + "'", get: reference, want: "'"},
		{name: "15 digits that end in zeros are an id", header: "start_time,reference_id", row: at + "123456789012000", get: reference, want: "123456789012000"},
		{name: "16 digits are an id", header: "start_time,reference_id", row: at + "1234567890123456", get: reference, want: "1234567890123456"},
		{name: "16 digits that end in zero, beside an id with all its digits", header: "start_time,reference_id", row: at + "1234567890123450\n" + at + "1234567890123456", get: reference, want: "1234567890123450"},
		{name: "letters and zeros are an id", header: "start_time,reference_id", row: at + "A12345678901234500000", get: reference, want: "A12345678901234500000"},
		{name: "a wrapped time", header: "start_time,reference_id", row: `="2026-03-31 14:05:09",`, get: start, want: "2026-03-31T18:05:09Z"},
		{name: "an Excel serial", header: "start_time,reference_id", row: "46112.58690972222,", get: start, want: "2026-03-31T18:05:09Z"},
		{name: "the epoch column wins", header: "start_time,start_time_t", row: "2026-01-01 00:00:00,1774980309", get: start, want: "2026-03-31T18:05:09Z"},
		{name: "a blank epoch column leaves it to the other", header: "start_time,start_time_t", row: "2026-03-31 14:05:09,", get: start, want: "2026-03-31T18:05:09Z"},
		{name: "a phone behind an apostrophe", header: "start_time,calling_phone_number", row: at + "'+12125550123", get: caller, want: "+12125550123"},
		{name: "a withheld phone", header: "start_time,calling_phone_number", row: at + "Anonymous", get: caller, want: ""},
		{name: "a phone with an invisible mark", header: "start_time,calling_phone_number", row: at + "+12125550123\u202c", get: caller, want: "+12125550123"},
		{name: "a phone of the account's region", header: "start_time,calling_phone_number", row: at + "020 7946 0018", get: caller, want: "+442079460018", changes: []change{func(s *ingest.Settings) { s.Account.Region = "GB" }}},
		{name: "an amount behind an apostrophe", header: "start_time,sale_amount", row: at + "'-5.00", get: sale, want: "-5.00", changes: []change{negative}},
		{name: "an amount in parentheses", header: "start_time,sale_amount", row: at + "(5.00)", get: sale, want: "-5.00", changes: []change{negative}},
		{name: "an amount of the account's locale", header: "start_time;sale_amount", row: "2026-03-31 14:05:09;1.234,50", get: sale, want: "1234.50", changes: []change{func(s *ingest.Settings) { s.Account.DecimalMark = ',' }}},
		{name: "the account's currency", header: "start_time,sale_amount", row: at + "1500", get: currency, want: "JPY", changes: []change{func(s *ingest.Settings) { s.Account.Currency = "JPY" }}},
		{name: "the row's own currency", header: "start_time,sale_amount,currency", row: at + "12.345,kwd", get: sale, want: "12.345"},
		{name: "a duration", header: "start_time,duration_in_seconds", row: at + "93", get: duration, want: "93 true"},
		{name: "a duration with a zero decimal", header: "start_time,duration_in_seconds", row: at + "93.0", get: duration, want: "93 true"},
		{name: "no duration", header: "start_time,duration_in_seconds", row: at, get: duration, want: "0 false"},
		{name: "lists are trimmed", header: "start_time,sku_list,quantity_list", row: at + `" a , b","1 ,2 "`, get: skus, want: "a,b|1,2"},
		{name: "lists without quantities", header: "start_time,sku_list,quantity_list", row: at + `"a,b",`, get: skus, want: "a,b|"},
		{name: "web yes", header: "web_conversion,reference_id,advertiser_campaign_id,affiliate_id_from_network", row: "Yes,R-1,C-1,A-1", get: web, want: true},
		{name: "web true", header: "web_conversion,reference_id,advertiser_campaign_id,affiliate_id_from_network", row: "TRUE,R-1,C-1,A-1", get: web, want: true},
		{name: "web no", header: "web_conversion,start_time", row: "no,2026-03-31 14:05:09", get: web, want: false},
		{name: "an apostrophe before a wrapped id", header: "start_time,reference_id", row: at + `"'=""0503"""`, get: reference, want: "0503"},
		{name: "a web conversion about an earlier one needs nothing else", header: "web_conversion,parent_reference_id", row: "1,P-1", get: web, want: true},
		{name: "a row about an earlier conversion needs no time", header: "parent_reference_id,reference_id", row: "P-1,R-1", get: reference, want: "R-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := goodClaims(t, c.header+"\n"+c.row+"\n", c.changes...)
			if len(claims) == 0 || c.get(claims[0]) != c.want {
				t.Errorf("got %+v, want %v", claims, c.want)
			}
		})
	}
}

func negative(s *ingest.Settings) { s.Account.NegativeAmounts = true }

func TestATimeThatOccursTwiceHasTwoReadings(t *testing.T) {
	claims := goodClaims(t, "start_time\n2026-11-01 01:30:00\n")
	want := []conversion.Span{
		toTheSecond(t, "2026-11-01T05:30:00Z").First, toTheSecond(t, "2026-11-01T06:30:00Z").First,
	}
	if got := claims[0].Start.Readings(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRowFaults(t *testing.T) {
	const at = "2026-03-31 14:05:09,"
	long := strings.Repeat("x", 33<<10)
	events := func(s *ingest.Settings) {
		s.Account.EventTypes = []conversion.EventType{{Name: "Sale"}, {Name: "Lead"}}
	}
	for _, c := range []struct {
		name, header, row string
		changes           []change
		want              []conversion.Fault
	}{
		{
			name: "no start", header: "start_time,sale_amount", row: ",5",
			want: []conversion.Fault{{Code: conversion.StartTimeMissing, Column: "start_time", Sentence: "The row names no call: start_time is blank. Fill in when the call started."}},
		},
		{
			name: "no start in a file with the epoch column alone", header: "start_time_t,sale_amount", row: ",5",
			want: []conversion.Fault{{Code: conversion.StartTimeMissing, Column: "start_time_t", Sentence: "The row names no call: start_time_t is blank. Fill in when the call started."}},
		},
		{
			name: "no start and not a web conversion", header: "start_time,web_conversion", row: ",0",
			want: []conversion.Fault{{Code: conversion.StartTimeMissing, Column: "start_time", Sentence: "The row names no call: start_time is blank. Fill in when the call started."}},
		},

		{
			name: "no time", header: "start_time,sale_amount", row: "yesterday,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "yesterday", Sentence: `start_time is "yesterday", which is not a time. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "no time in the epoch column", header: "start_time_t,start_time", row: "soon,2026-03-31 14:05:09",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time_t", Value: "soon", Sentence: `start_time_t is "soon", which is not a time. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "30 February", header: "start_time,sale_amount", row: "2026-02-30 14:05:09,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "2026-02-30 14:05:09", Sentence: `start_time is "2026-02-30 14:05:09", which is not a time: there is no such day. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "neither number is a month", header: "start_time,sale_amount", row: "13/14/2026 14:05:09,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "13/14/2026 14:05:09", Sentence: `start_time is "13/14/2026 14:05:09", which is not a time: there is no such day. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "hour 25", header: "start_time,sale_amount", row: "2026-03-31 25:05:09,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "2026-03-31 25:05:09", Sentence: `start_time is "2026-03-31 25:05:09", which is not a time: there is no such time of day. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "a date alone", header: "start_time,sale_amount", row: "2026-03-31,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "2026-03-31", Sentence: `start_time is "2026-03-31", which is not a time: a date without a time of day. Write it as 2026-03-31 14:05:09.`}},
		},
		{
			name: "a time rounded by a spreadsheet", header: "start_time_t,sale_amount", row: "1.77498E+12,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time_t", Value: "1.77498E+12", Sentence: `start_time_t is "1.77498E+12": a spreadsheet has rounded the time. Format the column as text, enter the time again and re-export.`}},
		},
		{
			name: "another date order than the account's", header: "start_time,sale_amount", row: "03/04/2026 14:05:09,5", changes: []change{dateOrder(conversion.DateOrderYMD)},
			want: []conversion.Fault{{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "03/04/2026 14:05:09", Sentence: `start_time is "03/04/2026 14:05:09": day and month can't be told apart. Write it as 2026-03-31 14:05:09.`}},
		},

		{
			name: "a time that never was", header: "start_time,sale_amount", row: "2026-03-08 02:30:00,5",
			want: []conversion.Fault{{Code: conversion.StartTimeInDSTGap, Column: "start_time", Value: "2026-03-08 02:30:00", Sentence: `start_time is "2026-03-08 02:30:00", a time that never was in America/New_York: clocks were put forward over it. Correct it or add its offset.`}},
		},
		{
			name: "a time that never was in the row's own zone", header: "start_time,time_zone", row: "2026-03-29 02:30:00,Europe/Berlin",
			want: []conversion.Fault{{Code: conversion.StartTimeInDSTGap, Column: "start_time", Value: "2026-03-29 02:30:00", Sentence: `start_time is "2026-03-29 02:30:00", a time that never was in Europe/Berlin: clocks were put forward over it. Correct it or add its offset.`}},
		},

		{
			name: "a zone that doesn't exist", header: "start_time,time_zone", row: "2026-03-31 14:05:09,Mars/Olympus",
			want: []conversion.Fault{{Code: conversion.TimeZoneUnknown, Column: "time_zone", Value: "Mars/Olympus", Sentence: `time_zone is "Mars/Olympus", which is not a time zone. Write it as America/New_York or as -0400.`}},
		},
		{
			name: "no zone in a file with zones", header: "start_time,time_zone", row: "2026-03-31 14:05:09,", changes: []change{noZone},
			want: []conversion.Fault{{Code: conversion.TimeZoneUnknown, Column: "start_time", Value: "2026-03-31 14:05:09", Sentence: `start_time is "2026-03-31 14:05:09", and no time zone is known for it. Add an offset or fill in time_zone.`}},
		},

		{
			name: "no telephone number", header: "start_time,calling_phone_number", row: at + "call me",
			want: []conversion.Fault{{Code: conversion.PhoneInvalid, Column: "calling_phone_number", Value: "call me", Sentence: `calling_phone_number is "call me", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known.`}},
		},
		{
			name: "a short number dialled", header: "start_time,called_phone_number", row: at + "12345",
			want: []conversion.Fault{{Code: conversion.PhoneInvalid, Column: "called_phone_number", Value: "12345", Sentence: `called_phone_number is "12345", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known.`}},
		},
		{
			name: "no country code and no region", header: "start_time,calling_phone_number", row: at + "2125550123", changes: []change{func(s *ingest.Settings) { s.Account.Region = "" }},
			want: []conversion.Fault{{Code: conversion.PhoneInvalid, Column: "calling_phone_number", Value: "2125550123", Sentence: `calling_phone_number is "2125550123", which can't be a telephone number (without a country code, and no region is set for your account). Write it as +12125550123, or leave it blank if it is not known.`}},
		},
		{
			name: "a rounded telephone number", header: "start_time,calling_phone_number", row: at + "4.47911E+11",
			want: []conversion.Fault{{Code: conversion.PhoneDamagedByExcel, Column: "calling_phone_number", Value: "4.47911E+11", Sentence: `calling_phone_number is "4.47911E+11": a spreadsheet has turned the number into a rounded one. Format the column as text, enter the number again and re-export.`}},
		},

		{
			name: "a rounded id", header: "start_time,reference_id", row: at + "1.23457E+15",
			want: []conversion.Fault{{Code: conversion.IDDamagedByExcel, Column: "reference_id", Value: "1.23457E+15", Sentence: `reference_id is "1.23457E+15": a spreadsheet has turned the id into a rounded number. Format the column as text, enter the id again and re-export.`}},
		},
		{
			name: "16 digits that end in zero", header: "start_time,reference_id", row: at + "1234567890123450",
			want: []conversion.Fault{{Code: conversion.IDDamagedByExcel, Column: "reference_id", Value: "1234567890123450", Sentence: `reference_id is "1234567890123450": a spreadsheet keeps 15 digits of a number and has turned the rest to zeros. Format the column as text, enter the id again and re-export.`}},
		},
		{
			name: "18 digits that end in zeros", header: "start_time,parent_reference_id", row: at + "123456789012345000",
			want: []conversion.Fault{{Code: conversion.IDDamagedByExcel, Column: "parent_reference_id", Value: "123456789012345000", Sentence: `parent_reference_id is "123456789012345000": a spreadsheet keeps 15 digits of a number and has turned the rest to zeros. Format the column as text, enter the id again and re-export.`}},
		},

		{
			name: "no amount", header: "start_time,sale_amount", row: at + "a lot",
			want: []conversion.Fault{{Code: conversion.AmountInvalid, Column: "sale_amount", Value: "a lot", Sentence: `sale_amount is "a lot", which is not an amount. Write it as 1234.50.`}},
		},
		{
			name: "a third decimal", header: "start_time,sale_amount", row: at + "12.345",
			want: []conversion.Fault{{Code: conversion.AmountInvalid, Column: "sale_amount", Value: "12.345", Sentence: `sale_amount is "12.345", which is not an amount: USD has at most 2 decimal places. Write it as 1234.50.`}},
		},
		{
			name: "an amount of 41 digits", header: "start_time,sale_amount", row: at + strings.Repeat("9", 41),
			want: []conversion.Fault{{Code: conversion.AmountInvalid, Column: "sale_amount", Value: strings.Repeat("9", 41), Sentence: `sale_amount is "` + strings.Repeat("9", 41) + `", which is not an amount: longer than 40 characters. Write it as 1234.50.`}},
		},
		{
			name: "an amount rounded by a spreadsheet", header: "start_time,sale_amount", row: at + "1.2E+05",
			want: []conversion.Fault{{Code: conversion.AmountInvalid, Column: "sale_amount", Value: "1.2E+05", Sentence: `sale_amount is "1.2E+05": a spreadsheet has rounded it. Format the column as a plain number and re-export.`}},
		},
		{
			name: "below zero", header: "start_time,sale_amount", row: at + "(5.00)",
			want: []conversion.Fault{{Code: conversion.AmountInvalid, Column: "sale_amount", Value: "(5.00)", Sentence: `sale_amount is "(5.00)", which is negative. Correct it, or have negative_amounts set for your account.`}},
		},
		{
			name: "two readings", header: "start_time,sale_amount", row: at + `"1,234"`,
			want: []conversion.Fault{{Code: conversion.AmountAmbiguous, Column: "sale_amount", Value: "1,234", Sentence: `sale_amount is "1,234": two readings are possible: 1234 or 1.234. Write it without a thousands mark.`}},
		},
		{
			name: "no currency", header: "start_time,sale_amount,sale_currency", row: at + "5,dollars",
			want: []conversion.Fault{{Code: conversion.CurrencyInvalid, Column: "sale_currency", Value: "dollars", Sentence: `sale_currency is "dollars", which is not an ISO 4217 currency. Write it as USD.`}},
		},
		{
			name: "two currencies", header: "start_time,sale_amount,sale_currency", row: at + "€5.00,USD",
			want: []conversion.Fault{{Code: conversion.CurrencyMismatch, Column: "sale_amount", Value: "€5.00", Sentence: `sale_amount is "€5.00", but the row's currency is USD. Correct one of them.`}},
		},

		{
			name: "a duration in words", header: "start_time,duration_in_seconds", row: at + "long",
			want: []conversion.Fault{{Code: conversion.QuantityInvalid, Column: "duration_in_seconds", Value: "long", Sentence: `duration_in_seconds is "long", which is not a whole number from 0 to 1000000. Correct it or leave it blank.`}},
		},
		{
			name: "a duration below zero", header: "start_time,duration_in_seconds", row: at + "-1",
			want: []conversion.Fault{{Code: conversion.QuantityInvalid, Column: "duration_in_seconds", Value: "-1", Sentence: `duration_in_seconds is "-1", which is not a whole number from 0 to 1000000. Correct it or leave it blank.`}},
		},
		{
			name: "a quantity of none", header: "start_time,sku_list,quantity_list", row: at + `"a,b","1,0"`,
			want: []conversion.Fault{{Code: conversion.QuantityInvalid, Column: "quantity_list", Value: "0", Sentence: `quantity_list holds "0". Every quantity must be a whole number, at least 1.`}},
		},
		{
			name: "a quantity that is missing", header: "start_time,sku_list,quantity_list", row: at + `"a,b","1,"`,
			want: []conversion.Fault{{Code: conversion.QuantityInvalid, Column: "quantity_list", Value: "", Sentence: `quantity_list holds "". Every quantity must be a whole number, at least 1.`}},
		},
		{
			name: "more SKUs than quantities", header: "start_time,sku_list,quantity_list", row: at + `"a,b",1`,
			want: []conversion.Fault{{Code: conversion.ListLengthsDiffer, Column: "quantity_list", Value: "1", Sentence: "quantity_list has 1 entry, sku_list has 2. Give one quantity for each SKU, in the same order."}},
		},
		{
			name: "more quantities than SKUs", header: "start_time,sku_list,quantity_list", row: at + `a,"1,2,3"`,
			want: []conversion.Fault{{Code: conversion.ListLengthsDiffer, Column: "quantity_list", Value: "1,2,3", Sentence: "quantity_list has 3 entries, sku_list has 1. Give one quantity for each SKU, in the same order."}},
		},
		{
			name: "quantities without SKUs", header: "start_time,sku_list,quantity_list", row: at + ",1",
			want: []conversion.Fault{{Code: conversion.ListLengthsDiffer, Column: "quantity_list", Value: "1", Sentence: "quantity_list has 1 entry, sku_list has 0. Give one quantity for each SKU, in the same order."}},
		},

		{
			name: "an event type that the account doesn't have", header: "start_time,event_type", row: at + "sale", changes: []change{events},
			want: []conversion.Fault{{Code: conversion.EventTypeUnknown, Column: "event_type", Value: "sale", Sentence: `event_type is "sale", which is none of the account's event types (it has "Sale", "Lead"). Write it letter by letter as it is there, or have it added.`}},
		},
		{
			name: "a web conversion without all it needs", header: "web_conversion,reference_id,advertiser_campaign_id,affiliate_id_from_network", row: "1,,,",
			want: []conversion.Fault{{Code: conversion.OptionMissing, Column: "reference_id", Sentence: "A web conversion has no call to tell it by, so it needs reference_id and advertiser_campaign_id and affiliate_id_from_network as well. Fill it in."}},
		},
		{
			name: "neither yes nor no and no start", header: "web_conversion,reference_id,advertiser_campaign_id,affiliate_id_from_network", row: "perhaps,R-1,C-1,A-1",
			want: []conversion.Fault{{Code: conversion.OptionInvalid, Column: "web_conversion", Value: "perhaps", Sentence: `web_conversion is "perhaps". Write 1 for yes, 0 for no.`}},
		},
		{
			name: "neither yes nor no", header: "start_time,web_conversion", row: at + "perhaps",
			want: []conversion.Fault{{Code: conversion.OptionInvalid, Column: "web_conversion", Value: "perhaps", Sentence: `web_conversion is "perhaps". Write 1 for yes, 0 for no.`}},
		},

		{
			name: "a cell missing", header: "start_time,sale_amount,name", row: at + "5",
			want: []conversion.Fault{{Code: conversion.RowMalformed, Sentence: "This line doesn't have 3 cells as the header does. Check for a missing or an unquoted delimiter."}},
		},
		{
			name: "a cell too many", header: "start_time,sale_amount", row: at + "1,234.50",
			want: []conversion.Fault{{Code: conversion.RowMalformed, Sentence: "This line doesn't have 2 cells as the header does. Check for a missing or an unquoted delimiter."}},
		},
		{
			name: "a stray quote", header: "start_time,name", row: at + `say "hi"`,
			want: []conversion.Fault{{Code: conversion.RowMalformed, Sentence: "A quote stands inside a cell at character 25 of the line. Put the cell in quotes and double the quotes inside it."}},
		},
		{
			name: "text after a quoted cell", header: "start_time,name", row: at + `"say" hi`,
			want: []conversion.Fault{{Code: conversion.RowMalformed, Sentence: "A quote stands inside a cell at character 25 of the line. Put the cell in quotes and double the quotes inside it."}},
		},

		{
			name: "an id as long as a book", header: "start_time,reference_id", row: at + long,
			want: []conversion.Fault{{Code: conversion.CellTooLong, Column: "reference_id", Value: long[:40] + "…", Sentence: "reference_id is 33 KiB long; at most 32 KiB are read. Shorten it."}},
		},
		{
			name: "customer data as long as a book", header: "start_time,address1", row: at + long,
			want: []conversion.Fault{{Code: conversion.CellTooLong, Column: "address1", Value: long[:40] + "…", Sentence: "address1 is 33 KiB long; at most 32 KiB are read. Shorten it."}},
		},
		{
			name: "a time as long as a book", header: "start_time,reference_id", row: long + ",",
			want: []conversion.Fault{{Code: conversion.CellTooLong, Column: "start_time", Value: long[:40] + "…", Sentence: "start_time is 33 KiB long; at most 32 KiB are read. Shorten it."}},
		},

		{
			name:    "several faults at once are all told",
			header:  "start_time,calling_phone_number,event_type,sale_amount,sale_currency,sku_list,quantity_list,duration_in_seconds,reference_id",
			row:     `yesterday,call me,sale,"1,234",dollars,"a,b","1,0,1",-1,1.23457E+15`,
			changes: []change{events},
			want: []conversion.Fault{
				{Code: conversion.StartTimeInvalid, Column: "start_time", Value: "yesterday", Sentence: `start_time is "yesterday", which is not a time. Write it as 2026-03-31 14:05:09.`},
				{Code: conversion.IDDamagedByExcel, Column: "reference_id", Value: "1.23457E+15", Sentence: `reference_id is "1.23457E+15": a spreadsheet has turned the id into a rounded number. Format the column as text, enter the id again and re-export.`},
				{Code: conversion.PhoneInvalid, Column: "calling_phone_number", Value: "call me", Sentence: `calling_phone_number is "call me", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known.`},
				{Code: conversion.EventTypeUnknown, Column: "event_type", Value: "sale", Sentence: `event_type is "sale", which is none of the account's event types (it has "Sale", "Lead"). Write it letter by letter as it is there, or have it added.`},
				{Code: conversion.QuantityInvalid, Column: "duration_in_seconds", Value: "-1", Sentence: `duration_in_seconds is "-1", which is not a whole number from 0 to 1000000. Correct it or leave it blank.`},
				{Code: conversion.ListLengthsDiffer, Column: "quantity_list", Value: "1,0,1", Sentence: "quantity_list has 3 entries, sku_list has 2. Give one quantity for each SKU, in the same order."},
				{Code: conversion.QuantityInvalid, Column: "quantity_list", Value: "0", Sentence: `quantity_list holds "0". Every quantity must be a whole number, at least 1.`},
				{Code: conversion.CurrencyInvalid, Column: "sale_currency", Value: "dollars", Sentence: `sale_currency is "dollars", which is not an ISO 4217 currency. Write it as USD.`},
				{Code: conversion.AmountAmbiguous, Column: "sale_amount", Value: "1,234", Sentence: `sale_amount is "1,234": two readings are possible: 1234 or 1.234. Write it without a thousands mark.`},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A good row on either side must stay good.
			cells := strings.Count(c.header, ",") + 1
			good := map[string]string{"start_time": "2026-03-31 14:05:09 -0400", "start_time_t": "1774980309"}
			names := strings.Split(c.header, ",")
			row := make([]string, cells)
			for i, name := range names {
				row[i] = good[name]
			}
			if strings.HasPrefix(c.header, "web_conversion") {
				row = []string{"1", "R-1", "C-1", "A-1"}
			}
			sound := strings.Join(row, ",") + "\n"
			_, rejections := readClaims(t, survey(t, c.header+"\n"+sound+c.row+"\n"+sound, c.changes...))
			if len(rejections) != 3 || rejections[0] != nil || rejections[2] != nil {
				t.Fatalf("got %v", rejections)
			}
			got := rejections[1]
			if got == nil {
				t.Fatal("the row is taken")
			}
			if got.Line != 3 {
				t.Errorf("the line is %d", got.Line)
			}
			if !reflect.DeepEqual(got.Faults, c.want) {
				t.Errorf("got  %+v\nwant %+v", got.Faults, c.want)
			}
		})
	}
}

// People know their own names for columns.
func TestFaultsNameTheSendersColumns(t *testing.T) {
	const header = "When,Order #,Sale-Amount,Currency,Caller,Qty\n"
	own := mapping(map[string]string{"When": "start_time", "Order #": "reference_id", "Caller": "calling_phone_number", "Qty": "duration_in_seconds"})
	_, rejections := readClaims(t, survey(t, header+"yesterday,1.23457E+15,a lot,dollars,call me,-1\n", own))
	if rejections[0] == nil {
		t.Fatal("the row is taken")
	}
	want := []struct{ column, begin string }{
		{"start_time", `When (start_time) is "yesterday"`}, {"reference_id", `Order # (reference_id) is "1.23457E+15"`},
		{"calling_phone_number", `Caller (calling_phone_number) is "call me"`}, {"duration_in_seconds", `Qty (duration_in_seconds) is "-1"`},
		{"sale_currency", `Currency (sale_currency) is "dollars"`}, {"sale_amount", `Sale-Amount is "a lot"`},
	}
	if len(rejections[0].Faults) != len(want) {
		t.Fatalf("got %+v", rejections[0].Faults)
	}
	for i, fault := range rejections[0].Faults {
		if fault.Column != want[i].column || !strings.HasPrefix(fault.Sentence, want[i].begin) {
			t.Errorf("got %+v, want %s", fault, want[i].begin)
		}
	}
}

func TestEventTypesOfTheAccount(t *testing.T) {
	claims := goodClaims(t, "start_time,event_type\n2026-03-31 14:05:09,Sale\n2026-03-31 14:05:09,\n", func(s *ingest.Settings) {
		s.Account.EventTypes = []conversion.EventType{{Name: "Sale"}}
	})
	if claims[0].EventType != "Sale" || claims[1].EventType != "" {
		t.Errorf("got %+v", claims)
	}
}

// What we quote of a long cell goes into databases and JSON.
func TestAQuotedPieceOfALongCellIsText(t *testing.T) {
	long := "x" + strings.Repeat("ä", 17<<10)
	_, rejections := readClaims(t, survey(t, "start_time,reference_id\n2026-03-31 14:05:09,"+long+"\n"))
	if rejections[0] == nil {
		t.Fatal("the row is taken")
	}
	if value := rejections[0].Faults[0].Value; !utf8.ValidString(value) {
		t.Errorf("%q is cut inside a letter", value)
	}
}

func TestACellOfExactlyTheMostIsRead(t *testing.T) {
	claims := goodClaims(t, "start_time,reference_id\n2026-03-31 14:05:09,"+strings.Repeat("x", 32<<10)+"\n")
	if len(claims[0].ReferenceID) != 32<<10 {
		t.Errorf("the id has %d letters", len(claims[0].ReferenceID))
	}
}

func TestCustomerDataIsAnObject(t *testing.T) {
	claims := goodClaims(t, "start_time,name,address1,home_phone_number\n2026-03-31 14:05:09,\"Zoë \"\"Z\"\" <b>\",\"1 Main St,\nApt 2\",+12125550123\n2026-03-31 14:05:09,,,\n")
	var got map[string]string
	if err := json.Unmarshal([]byte(claims[0].Customer), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"name": `Zoë "Z" <b>`, "address1": "1 Main St,\nApt 2", "home_phone_number": "+12125550123"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if claims[1].Customer != "" {
		t.Errorf("nothing is %q", claims[1].Customer)
	}
}

// A fix file comes back with the column that we added.
func TestTheFixFilesMessageIsIgnored(t *testing.T) {
	table := survey(t, "start_time,sale_amount,Comment,message,\n2026-03-31 14:05:09,60.50,x,\"sale_amount is \"\"a lot\"\", which is not an amount.\",\n", func(s *ingest.Settings) { s.Fix = true })
	claims, rejections := readClaims(t, table)
	want := conversion.Claim{Line: 2, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Standing: conversion.Standing{Sale: conversion.Cents(6050, "USD")}}
	if len(claims) != 1 || rejections[0] != nil || !reflect.DeepEqual(claims[0], want) {
		t.Errorf("got %+v, %v", claims, rejections)
	}
	if notes := table.Reading.Notes; len(notes) != 1 || notes[0] != `Not read, but kept in the results file: "Comment".` {
		t.Errorf("the notes are %q", notes)
	}
}

func TestOffsetGrowsToTheFilesSize(t *testing.T) {
	claims, err := survey(t, plain).Claims(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer claims.Close()
	before := claims.Offset()
	for {
		if _, _, err := claims.Next(); err != nil {
			break
		}
		if at := claims.Offset(); at <= before {
			t.Errorf("the offset goes from %d to %d", before, at)
		} else {
			before = at
		}
	}
	if before != int64(len(plain)) {
		t.Errorf("the offset ends at %d of %d", before, len(plain))
	}
}

// Where a wrapped cell falls in the file makes no difference.
func TestAWrappedCellAnywhere(t *testing.T) {
	const header, row = "reference_id,start_time\n", "R-1,2026-03-31 14:05:09\n"
	for _, c := range []struct{ name, before string }{
		{"in the first row", ""},
		{"after 64 KiB", strings.Repeat(row, (64<<10-len(header))/len(row)-2)},
	} {
		for shift := range 2 * len(row) {
			pad := strings.Repeat("x", shift)
			content := header + c.before + pad + row + "=\"0503\",2026-03-31 14:05:09\n"
			claims, rejections := readClaims(t, survey(t, content))
			if last := len(claims) - 1; rejections[last] != nil || claims[last].ReferenceID != "0503" {
				t.Errorf("%s, %d bytes further: %+v, %v", c.name, shift, claims[last], rejections[last])
			}
		}
	}
	t.Run("with CR alone", func(t *testing.T) {
		claims := goodClaims(t, "reference_id,start_time\r=\"0503\",2026-03-31 14:05:09\r")
		if claims[0].ReferenceID != "0503" {
			t.Errorf("got %+v", claims)
		}
	})
}
