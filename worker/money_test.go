package worker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

// What is added to a conversion is one of its own: corrections of it find it, and
// those of its parent find the parent.
func TestChildrenAreCorrectedOnTheirOwn(t *testing.T) {
	const head = "start_time,calling_phone_number,reference_id,parent_reference_id,reason_code,sale_amount\n"
	links := func(a *conversion.Account) { a.LinkChildren = true }
	runExamples(t, []example{
		{"a child that is corrected", links, []string{head + own(0, "P", "S", "10.00"), head + ",,C,P,S,5.00\n", head + ",,C,P,S,6.00\n"}, []string{"created", "created", "updated"},
			[]string{"C0, sale 10.00, reason S", "C0, sale 6.00, reason S"}},
		{"a parent that is corrected after it has a child", links, []string{head + own(0, "P", "S", "10.00"), head + ",,C,P,S,5.00\n", head + own(0, "P", "S", "12.00")}, []string{"created", "created", "updated"},
			[]string{"C0, sale 12.00, reason S", "C0, sale 5.00, reason S"}},
		{"two children", links, []string{head + own(0, "P", "S", "10.00"), head + ",,C1,P,S,5.00\n,,C2,P,S,6.00\n"}, []string{"created", "created created"},
			[]string{"C0, sale 10.00, reason S", "C0, sale 5.00, reason S", "C0, sale 6.00, reason S"}},
		{"a child's file again", links, []string{head + own(0, "P", "S", "10.00"), head + ",,C,P,S,5.00\n", head + ",,C,P,S,5.00\n\n"}, []string{"created", "created", "unchanged"},
			[]string{"C0, sale 10.00, reason S", "C0, sale 5.00, reason S"}},
	})
}

// A child is corrected by its own id also when its parent was made anew.
func TestChildrenOfAReplayedParent(t *testing.T) {
	const head = "start_time,calling_phone_number,reference_id,parent_reference_id,reason_code,sale_amount\n"
	b := newBench(t, func(a *conversion.Account) { a.LinkChildren = true })
	b.know(0, 1)
	b.deliver("1.csv", head+own(0, "P", "S", "10.00"))
	b.deliver("2.csv", head+",,C,P,S,5.00\n")
	b.account.Payouts[0].Percent = decimal.NewFromInt(20)
	b.replay(1, true)
	b.wantVerdicts(b.deliver("3.csv", head+",,C,P,S,6.00\n").ID, "updated")
	b.wantSales("C0=10.00", "C0=6.00")
	b.check()
}

// What changes nothing that a rule looks at changes no payout, whatever the rules are
// by now.
func TestPayoutsFollowWhatRulesLookAt(t *testing.T) {
	const head = "start_time,calling_phone_number,event_type,reference_id,email_address,reason_code,sale_amount\n"
	b := newBench(t, func(a *conversion.Account) {
		a.Duplicates.Key = []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType}
	})
	b.know(0, 1)
	at := callStart(0).Format(time.RFC3339)
	b.deliver("1.csv", head+at+",,Sale,R1,,S,10.00\n")
	b.account.Payouts = []conversion.PayoutRule{{Percent: decimal.NewFromInt(50), HasPercent: true}}
	b.wantVerdicts(b.deliver("2.csv", head+at+",,Sale,R2,zoe@acme.example,S,10.00\n").ID, "updated")
	b.wantHeldAs("C0, sale 10.00, payout 1.00, type Sale, reason S")
	b.wantVerdicts(b.deliver("3.csv", head+at+",,Sale,R2,,L,10.00\n").ID, "updated")
	b.wantHeldAs("C0, sale 10.00, payout 5.00, type Sale, reason L")
}

// A row that names no call doesn't make the conversion forget its own.
func TestAnUpdateWithoutACallKeepsTheConversions(t *testing.T) {
	const head = "start_time,reference_id,web_conversion,advertiser_campaign_id,affiliate_id_from_network,sale_amount\n"
	b := newBench(t, func(a *conversion.Account) {
		a.Duplicates.Key = []conversion.KeyPart{conversion.KeyReferenceID}
		a.Payouts = []conversion.PayoutRule{{MinDuration: time.Second, Percent: decimal.NewFromInt(10), HasPercent: true}}
	})
	b.know(0, 1)
	b.deliver("1.csv", head+callStart(0).Format(time.RFC3339)+",R1,,,,10.00\n")
	b.wantHeldAs("C0, sale 10.00, payout 1.00")
	b.wantVerdicts(b.deliver("2.csv", head+",R1,1,camp,pub,20.00\n").ID, "updated")
	b.wantHeldAs("C0, sale 20.00, payout 2.00")
}

// A payout that a row gives and that is the rules' anyway is no news.
func TestAnEqualPayoutIsNoNews(t *testing.T) {
	const head = "clickid,sum\n"
	b := newBench(t, nil)
	b.know(0, 1)
	b.account.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(500, "USD")}}
	b.deliver("1.csv", head+"K0,\n")
	b.wantVerdicts(b.deliver("2.csv", head+"K0,5.00\n").ID, "unchanged")
}

// Taking back what moved a conversion to another key is in the way of one that has
// taken its place since.
func TestUndoOfAKeyThatIsTaken(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
	b.deliver("2.csv", parentHeader+child("R0", "L", ""))
	b.deliver("3.csv", table(line(0, "R1", "S", "20.00")))
	undo, _ := b.undo(2, true)
	b.wantVerdicts(undo.ID, "rejected:undo_conflict")
	again := b.deliver("4.csv", table(line(0, "R1", "S", "30.00")))
	b.wantHeldAs("C0, sale 10.00, payout 1.00, reason L", "C0, sale 30.00, payout 3.00, reason S")

	b.undo(again.ID, true)
	b.undo(3, true)
	undo, _ = b.undo(2, true)
	b.wantVerdicts(undo.ID, "updated")
	b.wantHeldAs("C0, sale 10.00, payout 1.00, reason S")
	b.check()
}

// Sums that are more than can be held are refused, never wrapped around.
func TestSumsBeyondAllBounds(t *testing.T) {
	most := "90000000000000.00"
	b := newBench(t, func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeIncrementPayout; a.Payouts = nil })
	b.know(0, 1)
	b.deliver("1.csv", "clickid,sum\nK0,"+most+"\n")
	b.wantVerdicts(b.deliver("2.csv", "clickid,sum\nK0,"+most+"\n\n").ID, "unchanged")
	b.wantVerdicts(b.deliver("3.csv", "clickid,sum\nK0,89999999999999.00\n").ID, "rejected:amount_invalid")
	const cake = "request_session_id,received,received_option\nK0,"
	b.wantVerdicts(b.deliver("4.csv", cake+most+",total_sale_amount\n").ID, "updated")
	b.wantVerdicts(b.deliver("5.csv", cake+most+",additional_sale_amount\n").ID, "rejected:amount_invalid")
	b.wantHeldAs("C0, sale " + most + ", payout " + most)
	b.check()
}

// A signal may name a call by the log entry that a correction has replaced since.
func TestASignalOfASupersededTransaction(t *testing.T) {
	b := newBench(t, nil)
	calls := testCalls(0, 2)
	calls[0].TransactionID = "OLD"
	corrected := calls[0]
	corrected.TransactionID, corrected.Corrects, corrected.Duration = "NEW", "OLD", 99
	for _, log := range [][]conversion.Call{calls, {corrected}} {
		if _, err := b.db.SaveCalls(t.Context(), b.account.ID, log); err != nil {
			t.Fatal(err)
		}
	}
	b.wantVerdicts(b.deliver("1.csv", "transaction_id,name,revenue\nOLD,Sale,10.00\nNEW,Sale,12.00\n").ID, "created updated")
	b.wantHeldAs("C0, sale 12.00, payout 1.20, type sale")
}

// What contradicts itself moves no money: two conversions under one reference id, a
// caller who is not the call's, a call that is too old for its id to count.
func TestContradictionsMoveNoMoney(t *testing.T) {
	columns := func(a *conversion.Account) { a.Columns = map[string]string{"click": "click_id"} }
	const head = "start_time,calling_phone_number,click,reference_id,parent_reference_id,reason_code,sale_amount\n"
	runExamples(t, []example{
		{"two parents", nil, []string{parentHeader + own(0, "R", "S", "10.00") + own(0, "R", "L", "20.00"), parentHeader + child("R", "", "30.00")}, []string{"created created", "rejected:clues_conflict"},
			[]string{"C0, sale 10.00, reason S", "C0, sale 20.00, reason L"}},
		{"a caller who is not the click's", columns, []string{head + ",+12125550199,K0,,,S,10.00\n", head + fmt.Sprintf(",+%d,K0,,,S,10.00\n", int64(caller(0)))}, []string{"rejected:clues_conflict", "created"},
			[]string{"C0, sale 10.00, reason S"}},
		{"a click of long ago", func(a *conversion.Account) { columns(a); a.Match.Lookback = time.Minute }, []string{head + ",,K0,,,S,10.00\n"}, []string{"rejected:call_too_old"}, nil},
	})
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("1.csv", parentHeader+own(0, "R", "S", "10.00")+own(0, "R", "L", "20.00"))
	two := b.deliver("2.csv", parentHeader+child("R", "", "30.00"))
	if got, want := b.outcomes(two.ID)[0].Message, `Conversions 10000002 and 10000003 both have reference_id "R", so it can't be told which one is meant. Send the conversion itself again, with what changes, instead of naming it.`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A replay finds what calls and mappings of today change, also beside the money, and
// what it makes anew is found by the id that was reported.
func TestReplayFindsWhatElseDiffers(t *testing.T) {
	b := newBench(t, nil)
	calls := testCalls(0, 1)
	calls[0].Publisher = "Ann"
	for _, publisher := range []string{"Ann", "Bob"} {
		calls[0].Publisher = publisher
		if _, err := b.db.SaveCalls(t.Context(), b.account.ID, calls); err != nil {
			t.Fatal(err)
		}
		if publisher == "Ann" {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
		}
	}
	_, differences := b.replay(1, true)
	if len(differences) != 1 || !slices.Equal(differences[0].Parts, []string{"publisher"}) {
		t.Fatalf("the replay found %+v", differences)
	}
	b.wantVerdicts(b.deliver("2.csv", "conversion_id,payout,add_to_existing_payout\n10000002,5,1\n").ID, "updated")
	if held := b.held()["R0"]; held.Publisher != "Bob" || held.Payout.String() != "6.00" {
		t.Errorf("held is %+v", held)
	}
	b.check()
}

// What was declined adds nothing, and what can't be added leaves the payout.
func TestWhatIncrementsDontAdd(t *testing.T) {
	const head = "clickid,type,status,sum,currency\n"
	increments := func(a *conversion.Account) {
		modes(conversion.ModeIncrementPayout)(a)
		a.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(500, "USD")}}
	}
	runExamples(t, []example{
		{"a declined one", increments, []string{head + "K0,Lead,approved,10,USD\n"}, []string{"created"}, []string{"C0, payout 10.00, status approved, type Lead"}},
		{"a declined one after another", increments, []string{head + "K0,Purchase,approved,10,USD\nK0,Purchase,declined,10,USD\n"}, []string{"created unchanged"}, []string{"C0, payout 10.00, status approved, type Purchase"}},
		{"what a rule pays in another currency", increments, []string{head + "K0,Purchase,approved,10,EUR\nK0,Purchase,approved,,EUR\n"}, []string{"created unchanged"}, []string{"C0, payout 10.00, status approved, type Purchase"}},
	})
}

// Events that have not come yet, or are older than what is looked back over, count for
// no day.
func TestEventsOfImpossibleDays(t *testing.T) {
	const impact = "CampaignId,EventTypeCode,EventDate,OrderId,ClickId,MediaId,OrderSubTotalPostDiscount\n1,Sale,"
	const web = "start_time,reference_id,web_conversion,advertiser_campaign_id,affiliate_id_from_network,sale_amount\n"
	runExamples(t, []example{
		{"an order of next century", nil, []string{impact + "2126-04-01T00:00:00Z,O1,K0,,10\n"}, []string{"rejected:call_in_future"}, nil},
		{"an order without a call of next century", nil, []string{impact + "2126-04-01T00:00:00Z,O1,,M,10\n"}, []string{"rejected:call_in_future"}, nil},
		{"an order of long ago", nil, []string{impact + "2016-04-01T00:00:00Z,O1,,M,10\n"}, []string{"rejected:call_too_old"}, nil},
		{"a web conversion of next century", nil, []string{web + "2126-04-01T00:00:00Z,R1,1,camp,pub,10\n"}, []string{"rejected:call_in_future"}, nil},
		{"a web conversion of long ago", nil, []string{web + "2016-04-01T00:00:00Z,R1,1,camp,pub,10\n"}, []string{"rejected:call_too_old"}, nil},
	})
}

// wantHeldAs checks what is held, as standings writes it.
func (b *bench) wantHeldAs(want ...string) {
	b.t.Helper()
	if got := b.standings(); !slices.Equal(got, want) {
		b.t.Errorf("held are %q, want %q", got, want)
	}
}
