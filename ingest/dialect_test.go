package ingest_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
)

// headers are headers as each system's users have them.
var headers = []struct{ dialect, header, why string }{
	{"invoca", "start_time,calling_phone_number,reference_id,reason_code,sale_amount", "start_time, reference_id, reason_code"},
	{"invoca", "Call Start Time,Calling Phone Number,Sale Amount", "Sale Amount"},
	{"invoca-signal", "transaction_id,name,partner_unique_id,occurred_at_time,revenue,value", "partner_unique_id, occurred_at_time, revenue"},
	{"invoca-signal", "call_start_time,calling_phone_number,name,revenue,shoe size", "revenue"},
	{"redtrack", "clickid,type,status,sum,rdtk_event_id", "type, status, sum"},
	{"redtrack", "clickid,payout", "clickid, payout"},
	{"cake", "Conversion ID,Offer ID,Payout,Add to Existing Payout,Disposition Type,Note", "Conversion ID, Offer ID, Add to Existing Payout"},
	{"cake", "transaction_id,offer_id,received,received_option", "offer_id, received, received_option"},
	{"impact", "CampaignId,ActionTrackerId,EventDate,OrderId,ClickId,CustomerId,ItemSku1,ItemQuantity1,ItemSubTotal1", "CampaignId, EventDate, CustomerId"},
	{"impact", "CampaignId,EventTypeCode,EventDate,Oid,MediaId,OrderSubTotalPostDiscount", "CampaignId, EventDate, MediaId"},
	{"impact-modify", "ActionId,Amount,CurrencyCode,Reason", "ActionId, Amount, Reason"},
	{"impact-modify", "OrderId,ActionTrackerId,Reason,Sku1,Amount1,Quantity1", "Reason, Sku1, Amount1"},
	{"google-calls", "Caller's Phone Number,Call Start Time,Conversion Name,Conversion Time,Conversion Value,Conversion Currency", "Caller's Phone Number, Conversion Name, Conversion Time"},
}

var logHeaders = []struct{ dialect, header, why string }{
	{"calltally", "call_id,start_time,duration_in_seconds,calling_phone_number,called_phone_number,campaign_id,publisher_id,click_id,status", "call_id, duration_in_seconds, campaign_id"},
	{"invoca-transactions", "transaction_id,complete_call_id,start_time_utc,duration,calling_phone_number", "complete_call_id, start_time_utc"},
	{"ringba", "Call Date,Inbound Call ID,Campaign,Publisher,Target,Caller ID,Number,Duration,Revenue,Payout,Converted", "Call Date, Inbound Call ID, Publisher"},
	{"callrail", "Call Status,Company Name,Tracking Number,Name,Phone Number,Source,Duration (seconds),Start Time,Tags", "Company Name, Tracking Number, Phone Number"},
	{"retreaver", "uuid,caller,start_time,end_time,total_duration,dialed_number,cid,afid,converted", "uuid, caller, total_duration"},
	{"twilio", "sid,from,to,start_time,duration,status,direction,price", "sid, from, to"},
	{"twilio", "Call SID,From,To,Start Time,Duration,Status", "Call SID, From, To"},
}

func TestDialectsAreRecognised(t *testing.T) {
	for _, c := range headers {
		t.Run(c.header, func(t *testing.T) {
			if got := survey(t, c.header+"\n").Reading; got.Dialect != c.dialect || got.Why != c.why {
				t.Errorf("recognised as %s by %s, want %s by %s", got.Dialect, got.Why, c.dialect, c.why)
			}
		})
	}
	for _, c := range logHeaders {
		t.Run(c.header, func(t *testing.T) {
			if got := survey(t, c.header+"\n", takesCalls).Reading; got.Dialect != c.dialect || got.Why != c.why {
				t.Errorf("recognised as %s by %s, want %s by %s", got.Dialect, got.Why, c.dialect, c.why)
			}
		})
	}
	t.Run("one that is set is no finding", func(t *testing.T) {
		got := survey(t, "transaction_id,name,payout\n", func(s *ingest.Settings) { s.Account.Dialect = "cake" }).Reading
		if got.Dialect != "cake" || got.Why != "" {
			t.Errorf("%s by %q", got.Dialect, got.Why)
		}
	})
}

// Every column of every dialect is recognised under its name, its aliases and in
// capitals with blanks.
func TestEveryColumnIsRecognised(t *testing.T) {
	for _, d := range ingest.Dialects {
		for _, column := range d.Columns {
			for _, name := range append([]string{column.Name}, column.Aliases...) {
				name := strings.ReplaceAll(name, "{i}", "3")
				for _, header := range []string{name, strings.ToUpper(strings.ReplaceAll(name, "_", " "))} {
					takes := func(s *ingest.Settings) { s.Takes, s.Dialect = d.Takes, d.Name }
					var missing []string
					for _, need := range d.Required {
						if !strings.EqualFold(need.Any[0], name) {
							missing = append(missing, need.Any[0])
						}
					}
					content := strings.Join(append([]string{header}, missing...), ",") + "\n"
					table, refusal, err := ingest.Survey(t.Context(), opener(content), settings(takes))
					if err != nil {
						t.Fatal(err)
					}
					if refusal != nil && refusal.Code == conversion.HeaderDuplicated {
						continue // an alias of a column that is required
					}
					if refusal != nil {
						t.Errorf("%s: %q: %s", d.Name, content, refusal)
						continue
					}
					for _, note := range table.Reading.Notes {
						if strings.Contains(note, header) {
							t.Errorf("%s doesn't know %q: %s", d.Name, header, note)
						}
					}
				}
			}
		}
	}
}

func TestSignals(t *testing.T) {
	claims := goodClaims(t, "transaction_id,call_record_id,call_start_time,calling_phone_number,name,partner_unique_id,occurred_at_time,revenue,value,Shoe size,Colour\n"+
		"T-1,R-1,2026-03-31 14:05:09,+12125550123,SALE,P-1,2026-03-31 15:00:00,60.50,yes,44,\n")
	want := conversion.Claim{
		Line: 2, CallIDs: conversion.CallIDs{conversion.CallTransaction: "T-1", conversion.CallRecord: "R-1"}, Start: toTheSecond(t, "2026-03-31T18:05:09Z"), Event: toTheSecond(t, "2026-03-31T19:00:00Z"),
		Standing: conversion.Standing{Sale: conversion.Cents(6050, "USD")},
		Details:  conversion.Details{EventType: "sale", EventID: "P-1", Value: "true", Customer: `{"Shoe size":"44"}`},
	}
	if len(claims) != 1 || !reflect.DeepEqual(claims[0], want) {
		t.Errorf("got %+v\nwant %+v", claims, want)
	}
}

func TestRedTrackRows(t *testing.T) {
	claims := goodClaims(t, "clickid,type,status,sum,currency,event_id,cost\nK-1,Sale,Approved,10,EUR,E-1,0.75\nK-2,,,,,,1.20\n", types("Sale"))
	want := []conversion.Claim{{
		Line: 2, CallIDs: conversion.CallIDs{conversion.CallClick: "K-1"}, CallCost: conversion.Cents(75, "EUR"),
		Standing: conversion.Standing{Payout: conversion.Cents(1000, "EUR"), Status: conversion.StatusApproved}, Details: conversion.Details{EventType: "Sale", EventID: "E-1"},
	}, {Line: 3, CallIDs: conversion.CallIDs{conversion.CallClick: "K-2"}, CallCost: conversion.Cents(120, "USD"), Effect: conversion.Effect{CostOnly: true}}}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("got %+v\nwant %+v", claims, want)
	}
}

func types(names ...string) change {
	return func(s *ingest.Settings) {
		for _, name := range names {
			s.Account.EventTypes = append(s.Account.EventTypes, conversion.EventType{Name: name})
		}
	}
}

func TestCakeRows(t *testing.T) {
	claims := goodClaims(t, "conversion_id,request_session_id,transaction_id,offer_id,payout,add_to_existing_payout,received,received_option,disposition_type,disposition_id,update_revshare_payout,effective_date_option,custom_date,note_to_append\n"+
		"707658,0,,55,20,false,30,total_revenue,no_change,0,true,custom,03/04/2026 00:00:00,example\n"+
		"0,S-1,,0,,,,,returned,7,,,,\n")
	want := []conversion.Claim{{
		Line: 2, Names: conversion.Name{Column: "conversion_id", ID: 707658, Campaign: "55"},
		Standing: conversion.Standing{Received: conversion.Cents(3000, "USD"), Payout: conversion.Cents(2000, "USD")},
		Effect:   conversion.Effect{KeepPayout: true, Repay: true, On: conversion.OnCustom, Custom: 20260304, Note: "example"},
	}, {
		Line: 3, Names: conversion.Name{Column: "request_session_id", ByCall: true}, CallIDs: conversion.CallIDs{conversion.CallClick: "S-1"},
		Standing: conversion.Standing{Status: conversion.StatusReturned}, Details: conversion.Details{Disposition: "7"}, Effect: conversion.Effect{KeepPayout: true},
	}}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("got %+v\nwant %+v", claims, want)
	}
}

func TestAnImpactOrder(t *testing.T) {
	claims := goodClaims(t, "CampaignId,EventTypeId,EventDate,OrderId,OrderDiscount,ClickId,ItemSku1,ItemName1,ItemQuantity1,ItemPrice1,ItemSku2,ItemQuantity2,ItemPrice2,CustomerPostCode,ItemText1_2\n"+
		"1000,12345,2023-12-01T23:55:24-08:00,9217374917471,5,QiiWX,12345,Anvil,1,10,78909,6,3.14,10001,blue\n")
	want := conversion.Claim{
		Line: 2, CallIDs: conversion.CallIDs{conversion.CallClick: "QiiWX"}, Event: toTheSecond(t, "2023-12-02T07:55:24Z"),
		Standing: conversion.Standing{Sale: conversion.Cents(2384, "USD")},
		Details: conversion.Details{
			ReferenceID: "9217374917471", EventType: "12345", Campaign: "1000", SKUs: "12345,78909", Quantities: "1,6", ItemAmounts: "827,1557",
			Customer: `{"CustomerPostCode":"10001","ItemName1":"Anvil","ItemText1_2":"blue"}`,
		},
	}
	if len(claims) != 1 || !reflect.DeepEqual(claims[0], want) {
		t.Errorf("got %+v\nwant %+v", claims, want)
	}
}

// What an order's discount is divided into sums to it, whatever the items cost, and
// no item's part is farther from its share than a cent.
func TestADiscountIsSpreadToTheCent(t *testing.T) {
	for _, test := range []struct {
		discount string
		prices   []string
		sale     string
		amounts  string
	}{
		{"1.00", []string{"1.00", "1.00", "1.00"}, "2.00", "66,67,67"},
		{"0.01", []string{"0.01", "99.99"}, "99.99", "1,9998"},
		{"10.00", []string{"5.00", "5.00"}, "0.00", "0,0"},
		{"", []string{"5.00", "5.01"}, "10.01", "500,501"},
	} {
		header, row := "CampaignId,EventTypeId,EventDate,OrderId,MediaId,OrderDiscount", "1,2,NOW,3,4,"+test.discount
		for i, price := range test.prices {
			header += fmt.Sprintf(",ItemSku%d,ItemQuantity%d,ItemSubTotal%d", i+1, i+1, i+1)
			row += fmt.Sprintf(",S%d,1,%s", i, price)
		}
		claims := goodClaims(t, header+"\n"+row+"\n")
		if got := claims[0]; got.Sale.String() != test.sale || got.ItemAmounts != test.amounts {
			t.Errorf("%s off %v: sale %s of %s, want %s of %s", test.discount, test.prices, got.Sale, got.ItemAmounts, test.sale, test.amounts)
		}
	}
}

func TestDialectFaults(t *testing.T) {
	const impact = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,OrderDiscount,OrderDiscountRate,OrderSubTotalPostDiscount,ItemSku1,ItemQuantity1,ItemPrice1,ItemSubTotal1,ItemTotalDiscount1,ItemDiscount1\n1,2,NOW,3,4,"
	const cake = "transaction_id,payout,add_to_existing_payout,received,received_option,effective_date_option,custom_date\n"
	for _, c := range []struct {
		name, content, fault string
		changes              []change
	}{
		{"an event type that is not configured", "clickid,type\nK,sale\n", `event_type_unknown type="sale": type is "sale", which is none of the account's event types (it has "Sale"). Write it letter by letter as it is there, or have it added.`, []change{types("Sale")}},
		{"any event type, if none is configured", "clickid,type\nK,sale\n", `event_type_unknown type="sale": type is "sale", which is none of the account's event types (it has none). Write it letter by letter as it is there, or have it added.`, nil},
		{"an unknown status", "clickid,status\nK,paid\n", `status_unknown status="paid": status is "paid", which is none of approved, pending, declined, other. Correct it or leave it blank.`, nil},
		{"a row without a click", "clickid,sum\n,10\n", `option_missing clickid="": The row names no click: clickid is blank. Fill it in.`, nil},
		{"payouts that rows may not set", "clickid,sum\nK,10\n", `option_invalid sum="10": sum is 10.00, but your account's payouts come from its rules alone. Leave it blank.`, []change{func(s *ingest.Settings) { s.Account.NoRowPayouts = true }}},
		{"a payout without its option", cake + "R,5,,,,,\n", `option_missing add_to_existing_payout="": add_to_existing_payout is blank, and without it there are two ways to take the payout. Fill it in, or have it set in the account's options.`, nil},
		{"a received amount without its option", cake + "R,,,5,,,\n", `option_missing received_option="": received_option is blank, and without it there are two ways to take what was received. Fill it in, or have it set in the account's options.`, nil},
		{"an unknown option", cake + "R,,,5,all,,\n", `option_invalid received_option="all": received_option is "all", which is none of total_sale_amount, additional_sale_amount, total_revenue, additional_revenue, no_change. Correct it.`, nil},
		{"a flag that is none", cake + "R,5,perhaps,,,,\n", `option_invalid add_to_existing_payout="perhaps": add_to_existing_payout is "perhaps". Write 1 for yes, 0 for no.`, nil},
		{"a custom day that is missing", cake + "R,5,true,,,custom,\n", `option_missing custom_date="": effective_date_option is custom, but custom_date is blank. Fill in the day, such as 03/31/2026 00:00:00.`, nil},
		{"a custom day that is none", cake + "R,5,true,,,custom,soon\n", `option_invalid custom_date="soon": custom_date is "soon", which is no moment such as 03/31/2026 00:00:00. Correct it.`, nil},
		{"no conversion is named", cake + ",5,true,,,,\n", `option_missing conversion_id="": The row names no conversion. Fill in conversion_id, request_session_id or transaction_id.`, nil},
		{"an id that is none of ours", "conversion_id,payout,add_to_existing_payout\nabc,5,true\n", `conversion_not_found conversion_id="abc": conversion_id is "abc", which is none of our ids of conversions. Copy it from a results file.`, nil},
		{"a signal without a name", "transaction_id,name\nT,\n", `event_type_unknown name="": The signal has no name: name is blank. Fill in what happened.`, nil},
		{"a signal without a call", "call_start_time,name\n,Sale\n", `start_time_missing call_start_time="": The row names no call: call_start_time is blank. Fill in when the call started.`, nil},
		{"an item with two prices", impact + ",,,S,1,5,5,,\n", `option_invalid ItemPrice1="5": Item 1 has both ItemSubTotal and ItemPrice. Leave one of them blank.`, nil},
		{"an item with two discounts", impact + ",,,S,1,5,,1,1\n", `amount_ambiguous ItemDiscount1="": Item 1 has several discounts, which may mean the same one. Leave one of ItemTotalDiscount1, ItemDiscount1 and ItemDiscountRate1.`, nil},
		{"an item without a quantity", impact + ",,,S,,5,,,\n", `items_incomplete ItemQuantity1="": Item 1 (S) has no quantity. Fill in ItemQuantity1, at least 1.`, nil},
		{"an item without a SKU", impact + ",,,,1,5,,,\n", `items_incomplete ItemSku1="": Item 1 has no SKU. Fill in ItemSku1.`, nil},
		{"an item without a price", impact + ",,,S,1,,,,\n", `items_incomplete ItemSubTotal1="": What item 1 cost is missing. Fill in ItemSubTotal1 or ItemPrice1.`, nil},
		{"an order with two discounts", impact + "1,10,,S,1,5,,,\n", `amount_ambiguous OrderDiscountRate="10": The order has both OrderDiscount and OrderDiscountRate, which may mean the same. Leave one of them.`, nil},
		{"a discount of more than the order", impact + "6,,,S,1,5,,,\n", `amount_invalid OrderDiscount="6": The order's discount (6.00) is more than its items cost (5.00). Correct one of them.`, nil},
		{"an order's own sum beside items", impact + ",,5,S,1,5,,,\n", `option_invalid OrderSubTotalPostDiscount="5": The order has items, so OrderSubTotalPostDiscount must stay blank. Take it out, or take out the items.`, nil},
		{"an order without a call or a partner", "CampaignId,EventTypeId,EventDate,OrderId,ClickId\n1,2,NOW,3,\n", `option_missing ClickId="": The row names no call. Fill in ClickId or, for an order without a call, MediaId.`, nil},
		{"a modification without a reason", "ActionId,Amount,Reason\n5,1,\n", `option_missing Reason="": Reason is blank. Say why the conversion changes.`, nil},
		{"an order to modify without its event type", "OrderId,Amount,Reason\n5,1,X\n", `option_missing ActionTrackerId="": An order may have a conversion of every event type, so ActionTrackerId is needed with OrderId. Fill it in.`, nil},
		{"a whole order and an item of it", "ActionId,Amount,Reason,Sku1,Amount1\n5,1,X,S,1\n", `option_invalid Amount="1": The row changes the whole order and single items of it. Leave Amount blank, or the items.`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, rejections := readClaims(t, survey(t, c.content, c.changes...))
			if len(rejections) != 1 || rejections[0] == nil {
				t.Fatalf("rejections %v", rejections)
			}
			first := rejections[0].Faults[0]
			if got := fmt.Sprintf("%s %s=%q: %s", first.Code, first.Column, first.Value, first.Sentence); got != c.fault || len(rejections[0].Faults) > 1 {
				t.Errorf("got  %s (%d faults)\nwant %s", got, len(rejections[0].Faults), c.fault)
			}
		})
	}
}

func TestRowsOfAnOrderThatSayOtherwise(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,ItemSku,ItemQuantity,ItemPrice\n"
	_, rejections := readClaims(t, survey(t, head+"1,2,NOW,3,4,A,1,5\n1,2,NOW,3,5,B,1,5\n"))
	if len(rejections) != 2 || rejections[0] == nil || rejections[1] == nil {
		t.Fatalf("rejections %v", rejections)
	}
	if got, want := rejections[1].Error(), `line 3: MediaId is "5" here and "4" on line 2, but both rows are of one order. Make them the same, or leave this one blank.`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got, want := rejections[0].Error(), "line 2: Line 3 of the same order can't be taken, so none of it was. Correct that line and send the whole order again."; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// What an order's further rows leave blank is as in its first, and rows of one OrderId
// that may be of one order stand together or not at all.
func TestRowsOfAnOrderThatLeaveCellsBlank(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventTypeCode,EventDate,OrderId,MediaId,ItemSku,ItemQuantity,ItemPrice\n"
	claims := goodClaims(t, head+"1,7,,NOW,O1,4,A,1,5\n1,,,NOW,O1,4,B,1,6\n,,,,O1,,C,1,7\n1,8,,NOW,O2,4,D,1,8\n")
	if len(claims) != 2 || claims[0].SKUs != "A,B,C" || claims[0].Sale.String() != "18.00" || claims[1].SKUs != "D" {
		t.Errorf("got %+v", claims)
	}
	// A type and its code are one.
	_, rejections := readClaims(t, survey(t, head+"1,7,,NOW,O1,4,A,1,5\n1,Sale,,NOW,O1,4,B,1,6\n1,,7,NOW,O1,4,C,1,7\n", func(s *ingest.Settings) {
		s.Account.EventTypes = []conversion.EventType{{Name: "Sale", Codes: []string{"7"}}}
	}))
	for i, rejection := range rejections {
		if rejection == nil || rejection.Faults[0].Code != conversion.ItemsIncomplete {
			t.Errorf("row %d of an order whose type is named in several ways: %v", i+1, rejection)
		}
	}
	for name, content := range map[string]string{
		"the first is blank":                      "1,,,NOW,O1,4,A,1,5\n1,7,,NOW,O1,4,B,1,6\n",
		"which of two it is of can't be told":     "1,7,,NOW,O1,4,A,1,5\n1,,,NOW,O1,4,B,1,6\n1,8,,NOW,O1,4,C,1,7\n",
		"another order stands between":            "1,7,,NOW,O1,4,A,1,5\n1,7,,NOW,O2,4,X,1,5\n1,,,NOW,O1,4,B,1,6\n",
		"a row that can't be taken apart between": "1,7,,NOW,O1,4,A,1,5\n1\n1,,,NOW,O1,4,B,1,6\n",
	} {
		_, rejections := readClaims(t, survey(t, head+content))
		for i, rejection := range rejections {
			if between := i == 1 && len(rejections) == 3; (rejection == nil) != (between && strings.Contains(content, "O2")) {
				t.Errorf("%s: row %d: %v", name, i+1, rejection)
			}
		}
	}
}

// Amounts that are more than can be held are refused, never wrapped around.
func TestAmountsBeyondAllBounds(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,ItemSku,ItemQuantity,ItemPrice,ItemSubTotal,ItemDiscount\n1,2,NOW,3,4,"
	for name, row := range map[string]string{
		"a price many times":    "A,1000000,90000000000000,,\n",
		"a discount many times": "A,1000000,,1.00,90000000000000\n",
		"the sum of items":      "A,1,90000000000000,,\n1,2,NOW,3,4,B,1,90000000000000,,\n",
	} {
		_, rejections := readClaims(t, survey(t, head+row, types("2")))
		if rejections[0] == nil || rejections[0].Faults[0].Code != conversion.AmountInvalid {
			t.Errorf("%s: %v", name, rejections[0])
		}
	}
}

// Files that two dialects could read are taken for the one that reads the money, or
// refused.
func TestHeadersOfTwoDialects(t *testing.T) {
	if got := survey(t, "CampaignId,ActionTrackerId,EventDate,OrderId,ClickId,Amount,Reason\n").Reading.Dialect; got != "impact-modify" {
		t.Errorf("a reversal with what its order had is read as %s", got)
	}
	refusal := refusalOf(t, "CampaignId,ActionTrackerId,EventDate,OrderId,OrderSubTotalPostDiscount,Amount,Reason\n")
	if want := `header_missing: Line 1 can be the header of two kinds of file: "Amount" is a column of impact-modify, "OrderSubTotalPostDiscount" one of impact. Take out the one that doesn't belong, or have the dialect set for your account.`; refusal.Error() != want {
		t.Errorf("got  %s\nwant %s", refusal.Error(), want)
	}
	// One that lacks what its own dialect needs is not taken for another that fits by
	// little.
	for header, want := range map[string]string{
		"Caller's Phone Number,Call Start Time,Conversion Time,Conversion Value,Conversion Currency": "what happened (Conversion Name)",
		"CampaignId,EventDate,OrderId,ClickId,CurrencyCode,ItemSku1,ItemQuantity1,ItemSubTotal1":     "what happened (EventTypeId or EventTypeCode)",
		"clickid,name,revenue": "the call (transaction_id",
	} {
		if got := refusalOf(t, header+"\n"); got.Code != conversion.RequiredColumnMissing || !strings.Contains(got.Sentence, want) {
			t.Errorf("%s: %s, want one that lacks %s", header, got.Error(), want)
		}
	}
	// A call log pays nobody, and conversions are no calls.
	for _, log := range logHeaders {
		if got := refusalOf(t, log.header+"\n"); got.Code != conversion.NotATable || !strings.HasPrefix(got.Sentence, "This is a call log ("+log.dialect+")") {
			t.Errorf("%s among conversions: %s", log.dialect, got.Error())
		}
	}
	for _, file := range headers {
		if got := refusalOf(t, file.header+"\n", takesCalls); got.Code != conversion.NotATable && got.Code != conversion.RequiredColumnMissing && got.Code != conversion.HeaderMissing {
			t.Errorf("%s among call logs: %s", file.dialect, got.Error())
		}
	}
	for _, content := range []string{"[{\"sid\":\"CA1\"}]", "[\n  {\n    \"sid\": \"CA1\"\n", "{\n \"calls\": ["} {
		if got := refusalOf(t, content); !strings.HasPrefix(got.Sentence, "The file is JSON.") {
			t.Errorf("%s: %s", content, got.Error())
		}
	}
	mapped := mapping(map[string]string{"Click ID": "click_id"})
	if got := survey(t, "Click ID,type,payout\n", mapped).Reading.Dialect; got != "redtrack" {
		t.Errorf("with Click ID mapped to its own name, RedTrack's file is read as %s", got)
	}
	if claims := goodClaims(t, "Click ID,sale_amount\nK-1,5\n", mapped); claims[0].CallIDs[conversion.CallClick] != "K-1" {
		t.Errorf("where the dialect doesn't know it, the mapping counts: %+v", claims)
	}
}

func TestMappedColumnsOfAnOrder(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,CurrencyCode,ItemSku,ItemQuantity,ItemPrice,Commission,State,Record\n"
	claims := goodClaims(t, head+"1,7,NOW,O1,EUR,A,1,5,2.50,pending,CR-1\n1,7,NOW,O1,,B,1,6,,,\n",
		mapping(map[string]string{"Commission": "payout", "State": "status", "Record": "call_record_id"}))
	if len(claims) != 1 || claims[0].Payout != conversion.Cents(250, "EUR") || claims[0].Status != conversion.StatusPending || claims[0].CallIDs[conversion.CallRecord] != "CR-1" {
		t.Errorf("got %+v", claims)
	}
}

// A custom day is the one that is written, wherever the file's clock hangs.
func TestCustomDays(t *testing.T) {
	const head = "transaction_id,note_to_append,effective_date_option,custom_date\nR,x,custom,"
	for day, want := range map[string]int{
		"03/04/2026 00:00:00": 20260304, "3/4/2026": 20260304, "1/1/2001": 20010101, "2026-03-04": 20260304, "03/08/2026 02:30:00": 20260308,
		"03/04/2026 23:30:00": 20260304, "2026-03-04T02:00:00Z": 20260303, "2026-03-04T02:00:00-05:00": 20260304,
	} {
		claims := goodClaims(t, "Parameters:TimeZone=Asia/Tokyo\n"+head+day+"\n")
		if got := claims[0].Effect.Custom; got != want {
			t.Errorf("%s is %d, want %d", day, got, want)
		}
	}
}

func TestAnOrderOfTooManyRows(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,ItemSku,ItemQuantity,ItemPrice\n"
	claims, rejections := readClaims(t, survey(t, head+strings.Repeat("1,2,NOW,3,4,A,1,1\n", 10_004)+"1,2,NOW,5,4,A,1,1\n"))
	if n := len(rejections) - 1; n != 10_004 || rejections[n] != nil || claims[n].Sale.Minor != 100 {
		t.Fatalf("%d rows were read before the order that follows, whose rejection is %v", n, rejections[n])
	}
	for i, rejection := range rejections[:10_004] {
		if rejection == nil {
			t.Fatalf("line %d was taken", i+2)
		}
	}
}

func TestItemsBelowZero(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,OrderDiscount,ItemSku1,ItemQuantity1,ItemPrice1,ItemSku2,ItemQuantity2,ItemPrice2\n"
	claims, rejections := readClaims(t, survey(t, head+"1,2,NOW,3,4,,A,1,10.00,B,1,-3.33\n1,2,NOW,5,4,1.00,A,1,10.00,B,1,-3.33\n", negative, types("2")))
	if rejections[0] != nil || claims[0].Sale.String() != "6.67" {
		t.Errorf("an item below zero: sale %s, rejection %v", claims[0].Sale, rejections[0])
	}
	if rejections[1] == nil || rejections[1].Faults[0].Column != "OrderDiscount" {
		t.Errorf("a discount on it: %v", rejections[1])
	}
}

func TestMappingsLeadToWhatADialectReads(t *testing.T) {
	claims, rejections := readClaims(t, survey(t, "start_time,calling_phone_number,sale_amount,Währung\n2026-03-31T18:05:09Z,+12125550101,100.00,EUR\n", mapping(map[string]string{"Währung": "currency"})))
	if rejections[0] != nil || claims[0].Sale != conversion.Cents(10_000, "EUR") {
		t.Errorf("by another name of the dialect's: sale %s %s, rejection %v", claims[0].Sale, claims[0].Sale.Currency, rejections[0])
	}
	claims, rejections = readClaims(t, survey(t, "transaction_id,name,partner_unique_id,Event\nT,Sale,P1,\n", mapping(map[string]string{"Event": "event_id"}), types("Sale")))
	if rejections[0] != nil || claims[0].EventID != "P1" {
		t.Errorf("a blank cell: event id %q, rejection %v", claims[0].EventID, rejections[0])
	}
}

func TestOtherCallLogs(t *testing.T) {
	at := utc(t, "2026-03-31T18:05:09Z")
	for _, c := range []struct {
		name, content string
		want          []conversion.Call
		skipped       int
	}{
		{
			"Ringba", "Call Date,Inbound Call ID,Campaign,Publisher,Caller ID,Number,Duration,Converted\n03/31/2026 02:05:09 PM,RGB1,Auto,Pub,+12125550123,8665551234,00:01:33,True\n",
			[]conversion.Call{{Line: 2, CallID: "RGB1", Start: at, Campaign: "Auto", Publisher: "Pub", Caller: 12125550123, Called: 18665551234, Duration: 93, Status: "converted"}}, 0,
		},
		{
			"CallRail", "Call Status,Company Name,Tracking Number,Phone Number,Source,Duration (seconds),Start Time\nAnswered Call,Acme,866-555-1234,212-555-0123,Google Ads,93,2026-03-31 14:05:09\n",
			[]conversion.Call{{Line: 2, CallID: "callrail-df97fc2553d84054", Start: at, Publisher: "Google Ads", Caller: 12125550123, Called: 18665551234, Duration: 93, Status: "Answered Call"}}, 0,
		},
		{
			"Retreaver", "uuid,caller,start_time,total_duration,dialed_number,cid,afid,converted\nu-1,+12125550123,2026-03-31T18:05:09.000Z,93,+18665551234,C,A,false\n",
			[]conversion.Call{{Line: 2, CallID: "u-1", Start: at, Campaign: "C", Publisher: "A", Caller: 12125550123, Called: 18665551234, Duration: 93, Status: "not converted"}}, 0,
		},
		{
			"Twilio's CSV", "Call SID,Parent Call SID,From,To,Start Time,Duration,Status\nCA1,,+12125550123,+18665551234,\"Tue, 31 Mar 2026 18:05:09 +0000\",93,completed\nCA2,CA1,+18665551234,+12125550199,\"Tue, 31 Mar 2026 18:05:10 +0000\",90,completed\n",
			[]conversion.Call{{Line: 2, CallID: "CA1", Start: at, Caller: 12125550123, Called: 18665551234, Duration: 93, Status: "completed"}}, 1,
		},
		{
			"Twilio's bulk export", "{\"sid\":\"CA1\",\"from\":\"+12125550123\",\"to\":\"+18665551234\",\"start_time\":\"2026-03-31T18:05:09Z\",\"duration\":93,\"status\":\"completed\",\"price\":null,\"uris\":{\"a\":1}}\n\n{\"sid\":\"CA2\",\"parent_call_sid\":\"CA1\",\"start_time\":\"2026-03-31T18:05:09Z\"}\n",
			[]conversion.Call{{Line: 1, CallID: "CA1", Start: at, Caller: 12125550123, Called: 18665551234, Duration: 93, Status: "completed"}}, 1,
		},
	} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, packed %v", c.name, packed), func(t *testing.T) {
				content := c.content
				if packed {
					content = zipped(t, content)
				}
				calls, skipped := goodCalls(t, content)
				if !reflect.DeepEqual(calls, c.want) || skipped != c.skipped {
					t.Errorf("got %+v, %d skipped\nwant %+v", calls, skipped, c.want)
				}
			})
		}
	}
}

// What a log says oddly of a call costs no call.
func TestOddWordsOfCallLogs(t *testing.T) {
	calls, _, rejections := readCalls(t, "Inbound Call ID,Call Date,Duration,Converted\nR1,2026-03-31T18:05:09Z,61.5,N/A\nR2,2026-03-31T18:05:09Z,1:01,yes\n")
	if len(rejections) > 0 || len(calls) != 2 || calls[0].Duration != 61 || calls[0].Status != "N/A" || calls[1].Status != "converted" {
		t.Errorf("calls %+v, rejections %v", calls, rejections)
	}
	calls, _, _ = readCalls(t, "Start Time,Tracking Number,Phone Number,Duration\n2026-03-31 14:05,8005550100,anonymous,61\n2026-03-31 14:05,8005550100,anonymous,75\n2026-03-31 14:05,8005550100,2125550101,75\n2026-03-31 14:05,8005550100,2125550101,76\n")
	if calls[0].CallID == calls[1].CallID || calls[2].CallID != calls[3].CallID {
		t.Errorf("the ids are made of too little or too much: %+v", calls)
	}
}

func zipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLinesOfJSONAreCountedAsTheyStand(t *testing.T) {
	_, _, rejections := readCalls(t, "{\"sid\":\"CA1\",\"start_time\":\"2026-03-31T18:05:09Z\"}\n\n{\"sid\":\"\",\"start_time\":\"2026-03-31T18:05:09Z\"}\n")
	if len(rejections) != 1 || rejections[0].Line != 3 {
		t.Errorf("rejections %v", rejections)
	}
	calls, _, rejections := readCalls(t, "{\"sid\":\"CA1\",\"start_time\":\"2026-03-31T18:05:09Z\"}\n{\"sid\":\nnull\n{\"sid\":\"CA2\",\"start_time\":\"2026-03-31T18:05:09Z\"}\n")
	if len(calls) != 2 || len(rejections) != 2 || rejections[0].Error() != `line 2: This line is no JSON object such as {"sid": "CA…", …}. Export the call log again.` || rejections[1].Line != 3 {
		t.Errorf("calls %v, rejections %v", calls, rejections)
	}
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "{\"name%d\":1}\n", i)
	}
	refusal := refusalOf(t, many.String(), takesCalls)
	if want := "too_many_columns: The objects have more than 200 names; at most 200 are read. Export only the columns that you need."; refusal.Error() != want {
		t.Errorf("got %s\nwant %s", refusal.Error(), want)
	}
}

func TestPackedFiles(t *testing.T) {
	const content = "start_time,sale_amount\n2026-03-31 14:05:09,60.50\n"
	table := survey(t, zipped(t, content))
	if table.Reading.Rows != 1 || !strings.Contains(strings.Join(table.Reading.Notes, " "), "unpacked from a gzip archive") {
		t.Errorf("read as %+v", table.Reading)
	}
	for _, c := range []struct{ name, content, want string }{
		{"cut short", zipped(t, content)[:30], "not_a_table: The gzip archive is damaged or was cut short. Pack the file again, or send it as it is."},
		{"packed twice", zipped(t, zipped(t, content)), "archive_unsafe: The file is a gzip archive inside another one. Unpack it and send the CSV inside."},
		{"a bomb", zipped(t, strings.Repeat("a", 4<<20)), "archive_unsafe: The gzip archive unpacks to more than is read of a file, or to far more than it holds. Split the file, and send the parts unpacked."},
		{"a bomb below the limit", zipped(t, strings.Repeat("a", 34<<20)), "archive_unsafe: The gzip archive unpacks to more than is read of a file, or to far more than it holds. Split the file, and send the parts unpacked."},
	} {
		t.Run(c.name, func(t *testing.T) {
			limit := int64(1 << 20)
			if strings.Contains(c.name, "below") {
				limit = 1 << 30
			}
			refusal := refusalOf(t, c.content, func(s *ingest.Settings) { s.Limits.Bytes = limit })
			if refusal.Error() != c.want {
				t.Errorf("got %s\nwant %s", refusal.Error(), c.want)
			}
		})
	}
}
