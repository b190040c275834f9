package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

// example is a worked example of how another system treats a conversion that comes
// again, or is changed later: files, one after another, and what is held in the end.
type example struct {
	name     string
	account  func(*conversion.Account)
	files    []string
	verdicts []string // of each file
	want     []string // conversions, as standings writes them
}

// standings writes the conversions that are held: what is given of sale, received,
// payout, status, event type and mark, oldest first.
func (b *bench) standings() []string {
	b.t.Helper()
	var all []string
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, _, callID string) error {
		parts := []string{callID}
		for _, part := range []struct{ name, value string }{
			{"sale", c.Sale.String()}, {"received", c.Received.String()}, {"payout", c.Payout.String()}, {"status", string(c.Status)},
			{"type", c.EventType}, {"repeat", c.Repeat}, {"reason", c.ReasonCode}, {"sku", c.SKUs}, {"note", c.Note},
		} {
			if part.value != "" {
				parts = append(parts, part.name+" "+part.value)
			}
		}
		all = append(all, strings.TrimSpace(strings.Join(parts, ", ")))
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

func (e example) run(t *testing.T) {
	b := newBench(t, func(a *conversion.Account) {
		a.Payouts = nil
		a.Duplicates = conversion.DuplicateRules{}
		if e.account != nil {
			e.account(a)
		}
	})
	b.know(0, 5)
	for i, content := range e.files {
		upload := b.deliver(fmt.Sprintf("%d.csv", i+1), content)
		if upload.Refusal != nil {
			t.Fatalf("file %d was refused: %s", i+1, upload.Refusal)
		}
		if i < len(e.verdicts) {
			b.wantVerdicts(upload.ID, e.verdicts[i])
		}
	}
	if got := b.standings(); !slices.Equal(got, e.want) {
		t.Errorf("held are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(e.want, "\n  "))
	}
	b.check()
}

func runExamples(t *testing.T, examples []example) {
	for _, e := range examples {
		t.Run(e.name, e.run)
	}
}

// modes gives an account one event type, Purchase, in a mode, and a plain Lead.
func modes(mode conversion.Mode) func(*conversion.Account) {
	return func(a *conversion.Account) {
		a.EventTypes = []conversion.EventType{{Name: "Purchase", Duplicates: conversion.DuplicateRules{Mode: mode}}, {Name: "Lead"}}
	}
}

func TestRedTrackExamples(t *testing.T) {
	const head = "clickid,type,status,sum,rdtk_event_id\n"
	const first, second = head + "K0,Purchase,approved,10,E1\n", head + "K0,Purchase,pending,12,E2\n"
	runExamples(t, []example{
		{"create new: two rows, 10 and 12, which is 22", modes(conversion.ModeCreate), []string{first, second}, []string{"created", "created"},
			[]string{"C0, payout 10.00, status approved, type Purchase", "C0, payout 12.00, status pending, type Purchase"}},
		{"new or repeated: two rows, marked", modes(conversion.ModeCreateMarked), []string{first, second}, []string{"created", "repeated"},
			[]string{"C0, payout 10.00, status approved, type Purchase, repeat new", "C0, payout 12.00, status pending, type Purchase, repeat repeated"}},
		{"other types are unknown", modes(conversion.ModeCreateMarked), []string{head + "K0,Lead,approved,10,\n"}, []string{"created"},
			[]string{"C0, payout 10.00, status approved, type Lead"}},
		{"ignore duplicates: one row, 10", modes(conversion.ModeIgnore), []string{first, second}, []string{"created", "ignored"},
			[]string{"C0, payout 10.00, status approved, type Purchase"}},
		{"edit with new data: one row, 12", modes(conversion.ModeUpdate), []string{first, second}, []string{"created", "updated"},
			[]string{"C0, payout 12.00, status pending, type Purchase"}},
		{"increment payout: the original with 10 + 12 = 22", modes(conversion.ModeIncrementPayout), []string{first, second}, []string{"created", "incremented"},
			[]string{"C0, payout 22.00, status approved, type Purchase"}},
		{"increment payout: the file again doesn't make 34 of it", modes(conversion.ModeIncrementPayout), []string{first, second, second, second + "\n"}, []string{"created", "incremented", "unchanged", "unchanged"},
			[]string{"C0, payout 22.00, status approved, type Purchase"}},
		{"ignore by event id: a new id is a new row", modes(conversion.ModeIgnoreSameEvent), []string{first, second}, []string{"created", "created"},
			[]string{"C0, payout 10.00, status approved, type Purchase", "C0, payout 12.00, status pending, type Purchase"}},
		{"ignore by event id: a seen id is none", modes(conversion.ModeIgnoreSameEvent), []string{first, head + "K0,Purchase,approved,12,E1\n"}, []string{"created", "ignored"},
			[]string{"C0, payout 10.00, status approved, type Purchase"}},
		{"ignore by event id: a missing id is an error", modes(conversion.ModeIgnoreSameEvent), []string{head + "K0,Purchase,approved,12,\n"}, []string{"rejected:event_id_missing"}, nil},
		{"types are compared letter by letter", modes(conversion.ModeUpdate), []string{head + "K0,purchase,approved,12,\n"}, []string{"rejected:event_type_unknown"}, nil},
		{"an unknown status", modes(conversion.ModeUpdate), []string{head + "K0,Purchase,paid,12,\n"}, []string{"rejected:status_unknown"}, nil},
		{"no status is the account's", func(a *conversion.Account) {
			modes(conversion.ModeUpdate)(a)
			a.DefaultStatus = conversion.StatusApproved
		}, []string{head + "K0,Purchase,,12,\n"}, []string{"created"}, []string{"C0, payout 12.00, status approved, type Purchase"}},
	})
}

func TestInvocaExamples(t *testing.T) {
	const head = "start_time,calling_phone_number,reference_id,parent_reference_id,reason_code,sku_list,sale_amount,payout\n"
	row := func(reference, parent, reason, sku, sale, payout string) string {
		return fmt.Sprintf("%s,+%d,%s,%s,%s,%s,%s,%s\n", callStart(0).Format(time.RFC3339), int64(caller(0)), reference, parent, reason, sku, sale, payout)
	}
	paid := func(a *conversion.Account) { a.Columns = map[string]string{"payout": "payout"} }
	base := head + row("R1", "", "S", "DVD", "60.50", "10")
	runExamples(t, []example{
		{"the same values change nothing", paid, []string{base, base + "\n"}, []string{"created", "unchanged"}, []string{"C0, sale 60.50, payout 10.00, reason S, sku DVD"}},
		{"new values under the same key replace", paid, []string{base, head + row("R1", "", "S", "DVD", "95", "12")}, []string{"created", "updated"}, []string{"C0, sale 95.00, payout 12.00, reason S, sku DVD"}},
		{"another reason is a second conversion: 155.50 together", paid, []string{base, head + row("R1", "", "R", "DVD", "95", "12")}, []string{"created", "created"},
			[]string{"C0, sale 60.50, payout 10.00, reason S, sku DVD", "C0, sale 95.00, payout 12.00, reason R, sku DVD"}},
		{"another sku is a second conversion", paid, []string{base, head + row("R1", "", "S", "CD", "95", "12")}, []string{"created", "created"},
			[]string{"C0, sale 60.50, payout 10.00, reason S, sku DVD", "C0, sale 95.00, payout 12.00, reason S, sku CD"}},
		{"a parent_reference_id changes the earlier one: 0 to 95", paid, []string{head + row("2012994455", "", "new_signup", "", "0", ""), head + row("", "2012994455", "confirmed_order", "", "95.0", "")},
			[]string{"created", "updated"}, []string{"C0, sale 95.00, reason confirmed_order"}},
		{"a parent_reference_id adds to the earlier one, if the account says so", func(a *conversion.Account) { a.LinkChildren = true },
			[]string{head + row("2012994455", "", "new_signup", "", "0", ""), head + row("", "2012994455", "confirmed_order", "", "95.0", ""), head + "\n" + row("", "2012994455", "confirmed_order", "", "95.0", "")},
			[]string{"created", "created", "unchanged"}, []string{"C0, sale 0.00, reason new_signup", "C0, sale 95.00, reason confirmed_order"}},
		{"an unknown parent", nil, []string{head + row("", "R9", "S", "", "95.0", "")}, []string{"rejected:conversion_not_found"}, nil},
	})
}

func TestInvocaSignalExamples(t *testing.T) {
	const head = "transaction_id,name,partner_unique_id,revenue,value\n"
	runExamples(t, []example{
		{"an identical signal is safe", nil, []string{head + "T0,Sale,P1,60.50,1\n", head + "T0,sale,P1,60.50,1\n"}, []string{"created", "unchanged"}, []string{"C0, sale 60.50, type sale"}},
		{"the same name and id update", nil, []string{head + "T0,Sale,P1,60.50,1\n", head + "T0,SALE,P1,95,\n"}, []string{"created", "updated"}, []string{"C0, sale 95.00, type sale"}},
		{"another id is another signal", nil, []string{head + "T0,Sale,P1,60.50,1\n", head + "T0,Sale,P2,95,1\n"}, []string{"created", "created"}, []string{"C0, sale 60.50, type sale", "C0, sale 95.00, type sale"}},
		{"the same name and id on another call is a contradiction", nil, []string{head + "T0,Sale,P1,60.50,1\n", head + "T1,Sale,P1,95,\n"}, []string{"created", "rejected:clues_conflict"}, []string{"C0, sale 60.50, type sale"}},
		{"without an id the call and the name tell", nil, []string{head + "T0,Sale,,60.50,1\n", head + "T0,Sale,,95,\nT1,Sale,,5,\n"}, []string{"created", "updated created"}, []string{"C0, sale 95.00, type sale", "C1, sale 5.00, type sale"}},
		{"what didn't happen pays nothing", func(a *conversion.Account) {
			a.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(500, "USD")}}
		}, []string{head + "T0,Sale,P1,,0\nT1,Sale,P2,,yes\n"}, []string{"created created"}, []string{"C0, type sale", "C1, payout 5.00, type sale"}},
	})
}

// cakeAccount has a conversion of 300 that received 30 (10% of the sale) and pays 20.
func cakeAccount(a *conversion.Account) {
	a.Columns = map[string]string{"payout": "payout"}
	a.Received = []conversion.PayoutRule{{Percent: decimal.NewFromInt(10), HasPercent: true}}
}

func TestCakeExamples(t *testing.T) {
	base := "start_time,reference_id,sale_amount,payout\n" + callStart(0).Format(time.RFC3339) + ",R1,300,20\n"
	cake := func(columns, values string) string { return "transaction_id," + columns + "\nR1," + values + "\n" }
	held := func(sale, received, payout, more string) []string {
		return []string{"C0, sale " + sale + ", received " + received + ", payout " + payout + more}
	}
	one := func(name, columns, values, verdict string, want []string) example {
		return example{name, cakeAccount, []string{base, cake(columns, values)}, []string{"created", verdict}, want}
	}
	const adding = "payout,add_to_existing_payout"
	runExamples(t, []example{
		one("payout 5, not added, is 5", adding, "5,FALSE", "updated", held("300.00", "30.00", "5.00", "")),
		one("payout 5, added, is 25", adding, "5,TRUE", "updated", held("300.00", "30.00", "25.00", "")),
		{"payout 5, added, is 25 also if another file says it again", cakeAccount, []string{base, cake(adding, "5,TRUE"), cake(adding, "5,TRUE") + "\n"}, []string{"created", "updated", "unchanged"}, held("300.00", "30.00", "25.00", "")},
		{"added twice in one file counts twice", cakeAccount, []string{base, cake(adding, "5,TRUE") + "R1,5,TRUE\n"}, []string{"created", "updated updated"}, held("300.00", "30.00", "30.00", "")},
		one("without the option nothing is guessed", adding, "5,", "rejected:option_missing", held("300.00", "30.00", "20.00", "")),
		one("received 25 in total is 25", "received,received_option", "25,total_revenue", "updated", held("300.00", "25.00", "20.00", "")),
		one("received 25 more is 55", "received,received_option", "25,additional_revenue", "updated", held("300.00", "55.00", "20.00", "")),
		one("received 25, no change, stays 30", "received,received_option", "25,no_change", "unchanged", held("300.00", "30.00", "20.00", "")),
		one("received without its option", "received,received_option", "25,", "rejected:option_missing", held("300.00", "30.00", "20.00", "")),
		one("received with an unknown option", "received,received_option", "25,all", "rejected:option_invalid", held("300.00", "30.00", "20.00", "")),
		one("a sale of 200 at 10% received is 20", "received,received_option", "200,total_sale_amount", "updated", held("200.00", "20.00", "20.00", "")),
		one("200 more of sale", "received,received_option", "200,additional_sale_amount", "updated", held("500.00", "50.00", "20.00", "")),
		one("a disposition", "disposition_type,disposition_id", "rejected,7", "updated", held("300.00", "30.00", "20.00", ", status rejected")),
		one("no change of the disposition", "disposition_type,disposition_id", "no_change,0", "unchanged", held("300.00", "30.00", "20.00", "")),
		one("an unknown disposition", "disposition_type,disposition_id", "paid,0", "rejected:status_unknown", held("300.00", "30.00", "20.00", "")),
		one("a note is appended", "note_to_append", "example", "updated", held("300.00", "30.00", "20.00", ", note example")),
		{"two notes", cakeAccount, []string{base, cake("note_to_append", "one"), cake("note_to_append", "two")}, nil, held("300.00", "30.00", "20.00", ", note one\ntwo")},
		{"revshare: the payout follows what is received", func(a *conversion.Account) {
			cakeAccount(a)
			a.Payouts = []conversion.PayoutRule{{Percent: decimal.NewFromInt(50), HasPercent: true, OfReceived: true}}
		}, []string{base, cake("received,received_option,update_revshare_payout", "60,total_revenue,true")}, []string{"created", "updated"}, held("300.00", "60.00", "30.00", "")},
		one("no revshare: the payout stays", "received,received_option,update_revshare_payout", "60,total_revenue,true", "updated", held("300.00", "60.00", "20.00", "")),
		{"the newest conversion of a click's call", cakeAccount, []string{base, "request_session_id," + adding + "\nK0,5,FALSE\n"}, []string{"created", "updated"}, held("300.00", "30.00", "5.00", "")},
		{"by its own id", cakeAccount, []string{base, "conversion_id,transaction_id," + adding + "\n10000002,,5,FALSE\n"}, []string{"created", "updated"}, held("300.00", "30.00", "5.00", "")},
		{"by two names of two conversions", cakeAccount, []string{base + callStart(1).Format(time.RFC3339) + ",R2,100,5\n", "conversion_id,transaction_id," + adding + "\n10000002,R2,5,FALSE\n"}, []string{"created created", "rejected:clues_conflict"},
			[]string{"C0, sale 300.00, received 30.00, payout 20.00", "C1, sale 100.00, received 10.00, payout 5.00"}},
		{"in another campaign", cakeAccount, []string{base, "transaction_id,offer_id," + adding + "\nR1,other,5,FALSE\n"}, []string{"created", "rejected:conversion_not_found"}, held("300.00", "30.00", "20.00", "")},
		{"a transaction id of 0 is an id", cakeAccount, []string{base, "transaction_id,conversion_id," + adding + "\n0,0,5,FALSE\n"}, []string{"created", "rejected:conversion_not_found"}, held("300.00", "30.00", "20.00", "")},
	})
}

// A June conversion that is adjusted in July counts for July if the row says today,
// and for June if it says conversion_date.
func TestCakeEffectiveDates(t *testing.T) {
	for _, test := range []struct{ option, custom, day string }{
		{"today", "", "2026-07-10"}, {"conversion_date", "", "2026-06-20"}, {"custom", "07/04/2026 00:00:00", "2026-07-04"}, {"", "", "2026-07-10"},
	} {
		t.Run("effective_date_option="+test.option, func(t *testing.T) {
			b := newBench(t, cakeAccount)
			june := time.Date(2026, 6, 20, 16, 0, 0, 0, time.UTC)
			b.clock.now = june.Add(time.Hour)
			if _, err := b.db.SaveCalls(t.Context(), b.account.ID, []conversion.Call{{CallID: "June", Start: conversion.MillisOf(june)}}); err != nil {
				t.Fatal(err)
			}
			b.deliver("june.csv", "start_time,reference_id,sale_amount,payout\n"+june.Format(time.RFC3339)+",R1,300,20\n")
			b.clock.now = time.Date(2026, 7, 10, 16, 0, 0, 0, time.UTC)
			b.deliver("july.csv", "transaction_id,payout,add_to_existing_payout,effective_date_option,custom_date\nR1,5,FALSE,"+test.option+","+test.custom+"\n")
			var days []string
			for _, change := range b.changes() {
				days = append(days, conversion.DayName(change.Effective))
			}
			if want := []string{"2026-06-20", test.day}; !slices.Equal(days, want) {
				t.Errorf("the changes count for %v, want %v", days, want)
			}
		})
	}
}

// changes are all changes of the conversions that are held.
func (b *bench) changes() []*conversion.Change {
	b.t.Helper()
	var all []*conversion.Change
	var held []*conversion.Conversion
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, _, _ string) error {
		held = append(held, c)
		return nil
	})
	for _, c := range held {
		changes, failed := b.db.Changes(b.t.Context(), c)
		all = append(all, changes...)
		if err == nil {
			err = failed
		}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func TestImpactExamples(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,ClickId,OrderSubTotalPostDiscount\n"
	const modify = "ActionId,OrderId,ActionTrackerId,Amount,Reason\n"
	order := func(kind, id, sale string) string {
		return "1000," + kind + ",2026-03-31T07:30:00-04:00," + id + ",K0," + sale + "\n"
	}
	tenth := func(a *conversion.Account) {
		a.Payouts = []conversion.PayoutRule{{Percent: decimal.NewFromInt(10), HasPercent: true}}
	}
	twice := func(a *conversion.Account) {
		tenth(a)
		a.Duplicates.Mode = conversion.ModeCreate
	}
	runExamples(t, []example{
		{"an OrderId is one within its event type", tenth, []string{head + order("Sale", "1001", "60") + order("Lead", "1001", "5")}, []string{"created created"},
			[]string{"C0, sale 60.00, payout 6.00, type Sale", "C0, sale 5.00, payout 0.50, type Lead"}},
		{"a modification changes the one of its event type", tenth, []string{head + order("Sale", "1001", "60") + order("Lead", "1001", "5"), modify + ",1001,Sale,40,RETURN\n"}, []string{"created created", "updated"},
			[]string{"C0, sale 40.00, payout 4.00, type Sale", "C0, sale 5.00, payout 0.50, type Lead"}},
		{"a modification hits the newest action", twice, []string{head + order("Sale", "1001", "60"), head + order("Sale", "1001", "80"), modify + ",1001,Sale,70,X\n"}, []string{"created", "created", "updated"},
			[]string{"C0, sale 60.00, payout 6.00, type Sale", "C0, sale 70.00, payout 7.00, type Sale"}},
		{"unless an action is named", twice, []string{head + order("Sale", "1001", "60"), head + order("Sale", "1001", "80"), modify + "10000002,,,70,X\n"}, []string{"created", "created", "updated"},
			[]string{"C0, sale 70.00, payout 7.00, type Sale", "C0, sale 80.00, payout 8.00, type Sale"}},
		{"an amount of 0 reverses", tenth, []string{head + order("Sale", "1001", "60"), modify + ",1001,Sale,0,RETURN\n"}, []string{"created", "updated"},
			[]string{"C0, sale 0.00, payout 0.00, status reversed, type Sale"}},
		{"what is reversed stays so", tenth, []string{head + order("Sale", "1001", "60"), modify + ",1001,Sale,0,RETURN\n", modify + ",1001,Sale,0,AGAIN\n,1001,Sale,50,BACK\n"}, []string{"created", "updated", "unchanged rejected:conversion_reversed"},
			[]string{"C0, sale 0.00, payout 0.00, status reversed, type Sale"}},
		{"0 of what was 0 is only a modification", tenth, []string{head + order("Sale", "1001", "0"), modify + ",1001,Sale,0,X\n,1001,Sale,50,Y\n"}, []string{"created", "updated updated"},
			[]string{"C0, sale 50.00, payout 5.00, type Sale"}},
		{"an unknown order", tenth, []string{modify + ",1009,Sale,0,X\n"}, []string{"rejected:conversion_not_found"}, nil},
		{"a closed period", func(a *conversion.Account) { tenth(a); a.LockBefore = 20260401 }, []string{head + order("Sale", "1001", "60")}, []string{"rejected:period_locked"}, nil},
		{"no reason", tenth, []string{head + order("Sale", "1001", "60"), modify + ",1001,Sale,0,\n"}, []string{"created", "rejected:option_missing"}, []string{"C0, sale 60.00, payout 6.00, type Sale"}},
	})
}

func TestImpactOrderExamples(t *testing.T) {
	const head = "CampaignId,EventTypeId,EventDate,OrderId,MediaId,OrderDiscount,OrderTax,OrderShipping,ItemSku1,ItemQuantity1,ItemPrice1,ItemSku2,ItemQuantity2,ItemSubTotal2,ItemTotalDiscount2\n"
	const order = "1000,Sale,2026-03-31T07:30:00-04:00,"
	runExamples(t, []example{
		{"anvil and tennis balls, less 5: 23.84", nil, []string{head + order + "1,M,5,2.10,7,12345,1,10,78909,6,18.84,\n"}, []string{"created"}, []string{", sale 23.84, type Sale, sku 12345,78909"}},
		{"an item's own discount", nil, []string{head + order + "1,M,,,,12345,1,10,78909,6,18.84,8.84\n"}, []string{"created"}, []string{", sale 20.00, type Sale, sku 12345,78909"}},
		{"rows that stand together are one order", nil, []string{head + order + "1,M,5,,,12345,1,10,,,,\n" + order + "1,M,5,,,78909,6,3.14,,,,\n"}, []string{"created created"}, []string{", sale 23.84, type Sale, sku 12345,78909"}},
		{"rows that don't are none", nil, []string{head + order + "1,M,,,,12345,1,10,,,,\n" + order + "2,M,,,,5,1,10,,,,\n" + order + "1,M,,,,78909,6,3.14,,,,\n"}, []string{"rejected:items_incomplete created rejected:items_incomplete"}, []string{", sale 10.00, type Sale, sku 5"}},
		{"an order is taken whole or not at all", nil, []string{head + order + "1,M,,,,12345,1,10,,,,\n" + order + "1,M,,,,78909,six,3.14,,,,\n"}, []string{"rejected:items_incomplete rejected:quantity_invalid"}, nil},
		{"an item without what it cost", nil, []string{head + order + "1,M,,,,12345,1,,,,,\n"}, []string{"rejected:items_incomplete"}, nil},
		{"an item that changes", nil, []string{head + order + "1,M,5,,,12345,1,10,78909,6,18.84,\n", "OrderId,ActionTrackerId,Reason,Sku1,Amount1\n1,Sale,RETURN,78909,4.25\n"}, []string{"created", "updated"},
			[]string{", sale 12.52, type Sale, sku 12345,78909"}}, // 10 - 1.73 of the discount = 8.27, and 4.25
		{"a SKU with a comma in a change of items", nil, []string{head + order + "1,M,,,,5,1,10,,,,\n", "OrderId,ActionTrackerId,Reason,Sku1,Amount1\n1,Sale,RETURN,\"5,6\",0\n"}, []string{"created", "rejected:items_incomplete"}, []string{", sale 10.00, type Sale, sku 5"}},
		{"an item in another currency", nil, []string{head + order + "1,M,,,,5,1,10,,,,\n", "OrderId,ActionTrackerId,Reason,Sku1,Amount1,CurrencyCode\n1,Sale,RETURN,5,4,EUR\n"}, []string{"created", "rejected:currency_mismatch"}, []string{", sale 10.00, type Sale, sku 5"}},
		{"an item that is not in the order", nil, []string{head + order + "1,M,,,,12345,1,10,,,,\n", "OrderId,ActionTrackerId,Reason,Sku1,Amount1\n1,Sale,RETURN,5,0\n"}, []string{"created", "rejected:items_incomplete"},
			[]string{", sale 10.00, type Sale, sku 12345"}},
	})
}

func TestGoogleExamples(t *testing.T) {
	const head = "Parameters:TimeZone=America/New_York\nCaller's Phone Number,Call Start Time,Conversion Name,Conversion Time,Conversion Value,Conversion Currency\n"
	row := func(value string) string {
		return fmt.Sprintf("+%d,%s,Sale,%s,%s,USD\n", int64(caller(0)), callStart(0).Add(-4*time.Hour).Format("01/02/2006 15:04:05"), callStart(0).Add(-3*time.Hour).Format("2006-01-02 15:04:05"), value)
	}
	runExamples(t, []example{
		{"a value that is blank leaves the value alone", nil, []string{head + row("100"), head + row("")}, []string{"created", "unchanged"}, []string{"C0, sale 100.00, type Sale"}},
		{"a value of 0 is no blank", nil, []string{head + row("100"), head + row("0")}, []string{"created", "updated"}, []string{"C0, sale 0.00, type Sale"}},
		{"a restatement sends the final value: 100 to 70", nil, []string{head + row("100"), head + row("70")}, []string{"created", "updated"}, []string{"C0, sale 70.00, type Sale"}},
	})
}

// An event type's rules prevail over the source's, and those over the account's.
func TestWhoseRulesPrevail(t *testing.T) {
	const head = "clickid,type,sum\n"
	for _, test := range []struct {
		account, source, eventType conversion.Mode
		want                       string
	}{
		{conversion.ModeIgnore, "", "", "ignored"},
		{conversion.ModeIgnore, conversion.ModeCreate, "", "created"},
		{conversion.ModeIgnore, conversion.ModeCreate, conversion.ModeIncrementPayout, "incremented"},
		{conversion.ModeIgnore, "", conversion.ModeUpdate, "updated"},
		{"", "", "", "updated"},
	} {
		t.Run(fmt.Sprintf("account %q, source %q, event type %q", test.account, test.source, test.eventType), func(t *testing.T) {
			b := newBench(t, func(a *conversion.Account) {
				a.Duplicates = conversion.DuplicateRules{Mode: test.account}
				a.EventTypes = []conversion.EventType{{Name: "Sale", Duplicates: conversion.DuplicateRules{Mode: test.eventType}}}
			})
			b.know(0, 1)
			b.Plans[0].Duplicates = conversion.DuplicateRules{Mode: test.source}
			b.put("1.csv", head+"K0,Sale,10\n")
			b.work()
			b.put("2.csv", head+"K0,Sale,12\n")
			b.work()
			b.wantVerdicts(b.uploads()[1].ID, test.want)
			b.check()
		})
	}
}
