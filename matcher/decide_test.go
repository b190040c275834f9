package matcher_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/matcher"
)

func usd(cents int64) conversion.Amount { return conversion.Cents(cents, "USD") }

// tenPercent is a payout rule that every sale meets.
func tenPercent() conversion.PayoutRule {
	return conversion.PayoutRule{Percent: decimal.NewFromInt(10), HasPercent: true}
}

// parent names a conversion as a row with a parent_reference_id does.
func parent(reference string) conversion.Name {
	if reference == "" {
		return conversion.Name{}
	}
	return conversion.Name{Column: "parent_reference_id", Reference: reference}
}

// book is the ledger of a test: it decides claims one after another, each file
// after what the files before it did.
type book struct {
	t       *testing.T
	policy  matcher.Policy
	held    *conversion.Held
	changes []*conversion.Change
	file    int64
	line    int
}

func newBook(t *testing.T, p matcher.Policy) *book {
	return &book{t: t, policy: p, held: conversion.NewHeld(nil, 0)}
}

// nextFile begins a file.
func (b *book) nextFile() { b.file, b.line = b.file+1, 1 }

// decide decides one row, whose call is given or nil.
func (b *book) decide(claim conversion.Claim, call *conversion.Call) matcher.Decision {
	b.t.Helper()
	if b.file == 0 {
		b.nextFile()
	}
	b.line++
	claim.Line = b.line
	if call != nil {
		b.held.Calls[call.ID] = call
	}
	found := matcher.Candidates{
		Match:      matcher.Match{Call: call},
		Prior:      b.held.Latest(matcher.KeyOf(&claim, call, b.policy)),
		Referenced: b.held.Referenced(claim.ReferenceID),
		Repeated:   b.held.Applied(claim.Fingerprint(b.policy.Account.ID, 0)),
	}
	if claim.Names.Given() {
		var id int64
		if call != nil {
			id = call.ID
		}
		found.Named = b.held.Named(claim.Names, id)
		if len(found.Named) > 0 && found.Named[0] != nil {
			found.NamedCall = b.held.Calls[found.Named[0].Call]
		}
	}
	d := matcher.Decide(&claim, found, b.policy, b.file)
	if d.Outcome.Line != claim.Line {
		b.t.Errorf("the outcome is of line %d, want %d", d.Outcome.Line, claim.Line)
	}
	if (d.Change == nil) != (d.Conversion == nil) {
		b.t.Errorf("change %v and conversion %v, want both or none", d.Change, d.Conversion)
	}
	if d.Change != nil {
		b.changes = append(b.changes, d.Change)
		b.held.Put(d.Conversion)
	}
	return d
}

// conversions are the conversions that the changes made, with their sales'
// sum, proven against the changes.
func (b *book) conversions() (count int, sales int64) {
	b.t.Helper()
	at := map[int64]conversion.Amount{}
	for _, c := range b.changes {
		if c.Before.Sale != at[c.Conversion] {
			b.t.Errorf("change %d begins at %q, but the one before it ended at %q", c.ID, c.Before.Sale, at[c.Conversion])
		}
		at[c.Conversion] = c.After.Sale
	}
	for _, sale := range at {
		sales += sale.Minor
	}
	return len(at), sales
}

func (b *book) wantConversions(count int, sales int64) {
	b.t.Helper()
	if gotCount, gotSales := b.conversions(); gotCount != count || gotSales != sales {
		b.t.Errorf("%d conversions with sales of %s, want %d with %s", gotCount, usd(gotSales), count, usd(sales))
	}
}

func wantVerdict(t *testing.T, d matcher.Decision, verdict conversion.Verdict, code conversion.Code) {
	t.Helper()
	if d.Outcome.Verdict != verdict || d.Outcome.Code != code {
		t.Errorf("%s %s (%s), want %s %s", d.Outcome.Verdict, d.Outcome.Code, d.Outcome.Message, verdict, code)
	}
	applies := verdict.Applied() && verdict != conversion.Unchanged
	if (d.Change != nil) != applies {
		t.Errorf("%s with change %v", verdict, d.Change)
	}
}

// base is the row that the worked examples begin with.
func base() conversion.Claim {
	return conversion.Claim{Start: toSecond(noon), Caller: alice, Standing: conversion.Standing{Sale: usd(6050)}, Details: conversion.Details{ReferenceID: "R1", ReasonCode: "S", SKUs: "DVD"}}
}

func with(claim conversion.Claim, change func(*conversion.Claim)) conversion.Claim {
	change(&claim)
	return claim
}

// The figures are those of the worked example: 60.50, then 95.
func TestInvocasWorkedExample(t *testing.T) {
	paying := func(t *testing.T) (*book, *conversion.Call) {
		p := policy(t)
		p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
		c := call(7, after(0))
		return newBook(t, p), &c
	}
	t.Run("a new row creates a conversion", func(t *testing.T) {
		b, c := paying(t)
		d := b.decide(base(), c)
		wantVerdict(t, d, conversion.Created, "")
		b.wantConversions(1, 6050)
		if o := d.Outcome; o.CallID != "G" || o.CallStart != after(0) || o.ConversionID != conversion.MakeID(1, 2) || o.PayoutBefore.Given || o.PayoutAfter != usd(605) || o.Rule != "10% of 60.50 = 6.05" {
			t.Errorf("outcome %+v", o)
		}
		if d.Change.ID != d.Conversion.ID || d.Change.Conversion != d.Conversion.ID || d.Change.Before.Sale.Given || d.Change.After.Sale != usd(6050) || d.Change.After.Payout != usd(605) {
			t.Errorf("change %+v", d.Change)
		}
	})
	t.Run("the same key with the same values changes nothing", func(t *testing.T) {
		b, c := paying(t)
		b.decide(base(), c)
		d := b.decide(base(), c)
		wantVerdict(t, d, conversion.Unchanged, "")
		if d.Outcome.ConversionID != conversion.MakeID(1, 2) || d.Outcome.PayoutBefore != usd(605) || d.Outcome.PayoutAfter != usd(605) {
			t.Errorf("outcome %+v", d.Outcome)
		}
		b.wantConversions(1, 6050)
	})
	t.Run("the same key with another sale updates it to 95", func(t *testing.T) {
		b, c := paying(t)
		b.decide(base(), c)
		d := b.decide(with(base(), func(c *conversion.Claim) { c.Sale = usd(9500) }), c)
		wantVerdict(t, d, conversion.Updated, "")
		b.wantConversions(1, 9500)
		if o := d.Outcome; o.ConversionID != conversion.MakeID(1, 2) || o.PayoutBefore != usd(605) || o.PayoutAfter != usd(950) || o.Rule != "update: sale 60.50 → 95.00; 10% of 95.00 = 9.50" {
			t.Errorf("outcome %+v", o)
		}
		if d.Change.ID != conversion.MakeID(1, 3) || d.Change.Before.Sale != usd(6050) || d.Change.After.Sale != usd(9500) {
			t.Errorf("change %+v", d.Change)
		}
	})
	t.Run("another reason is a second conversion, 155.50 in all", func(t *testing.T) {
		b, c := paying(t)
		b.decide(base(), c)
		d := b.decide(with(base(), func(c *conversion.Claim) { c.ReasonCode, c.Sale = "R", usd(9500) }), c)
		wantVerdict(t, d, conversion.Created, "")
		b.wantConversions(2, 15550)
	})
	t.Run("another SKU is a second conversion, 155.50 in all", func(t *testing.T) {
		b, c := paying(t)
		b.decide(base(), c)
		d := b.decide(with(base(), func(c *conversion.Claim) { c.SKUs, c.Sale = "BOOK", usd(9500) }), c)
		wantVerdict(t, d, conversion.Created, "")
		b.wantConversions(2, 15550)
	})
	t.Run("a start time written differently is the same conversion if it means the same call", func(t *testing.T) {
		b, c := paying(t)
		b.decide(base(), c)
		d := b.decide(with(base(), func(c *conversion.Claim) { c.Start = toMinute("2026-03-10T16:01:00Z") }), c)
		wantVerdict(t, d, conversion.Unchanged, "")
		b.wantConversions(1, 6050)
	})
	t.Run("a parent_reference_id takes the first conversion from 0 to 95", func(t *testing.T) {
		b, _ := paying(t)
		signup := conversion.Claim{Web: true, Standing: conversion.Standing{Sale: usd(0)}, Details: conversion.Details{ReferenceID: "2012994455", ReasonCode: "new_signup", Campaign: "C", Publisher: "P"}}
		order := conversion.Claim{Web: true, Names: parent("2012994455"), Standing: conversion.Standing{Sale: usd(9500)}, Details: conversion.Details{ReasonCode: "confirmed_order"}}
		wantVerdict(t, b.decide(signup, nil), conversion.Created, "")
		d := b.decide(order, nil)
		wantVerdict(t, d, conversion.Updated, "")
		b.wantConversions(1, 9500)
		if c := d.Conversion; c.ID != conversion.MakeID(1, 2) || c.ReasonCode != "confirmed_order" || c.ReferenceID != "2012994455" || c.Campaign != "C" || c.Payout != usd(950) {
			t.Errorf("conversion %+v", c)
		}
		if d.Outcome.Rule != "update: sale 0.00 → 95.00, reason_code new_signup → confirmed_order; 10% of 95.00 = 9.50" {
			t.Errorf("rule %q", d.Outcome.Rule)
		}
		wantVerdict(t, b.decide(order, nil), conversion.Unchanged, "")
		b.wantConversions(1, 9500)
	})
}

func TestDecideByMode(t *testing.T) {
	dearer := with(base(), func(c *conversion.Claim) { c.Sale = usd(9500) })
	for _, test := range []struct {
		name    string
		rules   conversion.DuplicateRules
		verdict conversion.Verdict // of the dearer row after the base
		count   int
		sales   int64
	}{
		{"update replaces", conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeUpdate}, conversion.Updated, 1, 9500},
		{"ignore keeps the first", conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeIgnore}, conversion.Ignored, 1, 6050},
		{"create counts both", conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeCreate}, conversion.Created, 2, 15550},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			p.Account.Duplicates = test.rules
			b, c := newBook(t, p), call(1, after(0))
			wantVerdict(t, b.decide(base(), &c), conversion.Created, "")
			wantVerdict(t, b.decide(dearer, &c), test.verdict, "")
			b.wantConversions(test.count, test.sales)
		})
	}
}

func TestIgnoredNamesThePrior(t *testing.T) {
	p := policy(t)
	p.Account.Duplicates.Mode = conversion.ModeIgnore
	p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
	b, c := newBook(t, p), call(1, after(0))
	b.decide(base(), &c)
	b.nextFile()
	d := b.decide(base(), &c)
	wantVerdict(t, d, conversion.Ignored, "")
	if want := "Conversion 10000002 is already held for this (line 2 of upload 1), and repeats are ignored."; d.Outcome.Message != want {
		t.Errorf("message %q, want %q", d.Outcome.Message, want)
	}
	if o := d.Outcome; o.ConversionID != 10_000_002 || o.PayoutBefore != usd(605) || o.PayoutAfter != usd(605) {
		t.Errorf("outcome %+v", o)
	}
}

func TestEventTypePrevailsOverAccount(t *testing.T) {
	p := policy(t)
	p.Account.Duplicates.Mode = conversion.ModeIgnore
	p.Account.EventTypes = []conversion.EventType{{Name: "Sale", Duplicates: conversion.DuplicateRules{Key: []conversion.KeyPart{conversion.KeyReferenceID}, Mode: conversion.ModeUpdate}}}
	b, c, d := newBook(t, p), call(1, after(0)), call(2, after(time.Hour))
	sale := with(base(), func(c *conversion.Claim) { c.EventType = "Sale" })
	wantVerdict(t, b.decide(sale, &c), conversion.Created, "")
	wantVerdict(t, b.decide(with(sale, func(c *conversion.Claim) { c.Sale, c.ReasonCode = usd(9500), "R" }), &c), conversion.Updated, "")
	b.wantConversions(1, 9500)
	plain := with(base(), func(c *conversion.Claim) { c.ReferenceID = "" })
	wantVerdict(t, b.decide(plain, &d), conversion.Created, "")
	wantVerdict(t, b.decide(with(plain, func(c *conversion.Claim) { c.Sale = usd(1) }), &d), conversion.Ignored, "")
}

func TestCreateAppliesARowOfAnotherFileOnce(t *testing.T) {
	p := policy(t)
	p.Account.Duplicates.Mode = conversion.ModeCreate
	p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
	c := call(1, after(0))
	first := newBook(t, p).decide(base(), &c).Conversion
	first.Nth = 4 // as if others had come before
	decide := func(repeated *conversion.Conversion) matcher.Decision {
		claim := with(base(), func(c *conversion.Claim) { c.Line = 9 })
		return matcher.Decide(&claim, matcher.Candidates{Match: matcher.Match{Call: &c}, Prior: first, Repeated: repeated}, p, 4)
	}
	t.Run("a row that an earlier file applied is unchanged", func(t *testing.T) {
		d := decide(first)
		wantVerdict(t, d, conversion.Unchanged, "")
		if d.Outcome.Message != "An earlier file had this very row, and it was applied then." || d.Outcome.ConversionID != first.ID || d.Outcome.PayoutAfter != usd(605) {
			t.Errorf("outcome %+v", d.Outcome)
		}
	})
	t.Run("a row that none applied counts, as the next under its key", func(t *testing.T) {
		d := decide(nil)
		wantVerdict(t, d, conversion.Created, "")
		if d.Conversion.Key != first.Key || d.Conversion.Nth != first.Nth+1 || d.Conversion.ID != conversion.MakeID(4, 9) {
			t.Errorf("conversion %+v after %+v", d.Conversion, first)
		}
	})
	t.Run("repeat_rows: apply counts it again", func(t *testing.T) {
		p.Account.Duplicates.Repeats = conversion.RepeatsApply
		wantVerdict(t, decide(first), conversion.Created, "")
	})
	t.Run("under update the values decide, whatever was applied", func(t *testing.T) {
		p.Account.Duplicates = conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeUpdate}
		claim := with(base(), func(c *conversion.Claim) { c.Sale = usd(9500) })
		wantVerdict(t, matcher.Decide(&claim, matcher.Candidates{Match: matcher.Match{Call: &c}, Prior: first, Repeated: first}, p, 4), conversion.Updated, "")
	})
}

func TestUpdateLeavesBlanksAlone(t *testing.T) {
	full := conversion.Claim{Start: toSecond(noon), Caller: alice, Standing: conversion.Standing{Sale: usd(6050)}, Details: conversion.Details{ReferenceID: "R1", EventType: "Sale", ReasonCode: "S", SKUs: "DVD", Quantities: "1", Campaign: "C", Publisher: "P", Customer: `{"name":"Ann"}`}}
	byReference := func(t *testing.T) *book {
		p := policy(t)
		p.Account.Duplicates.Key = []conversion.KeyPart{conversion.KeyReferenceID}
		p.Account.Payouts = []conversion.PayoutRule{tenPercent()}
		return newBook(t, p)
	}
	c := call(1, after(0))
	for _, test := range []struct {
		name    string
		change  func(*conversion.Claim)
		verdict conversion.Verdict
		after   func(*conversion.Conversion) // what becomes of the conversion
		details []conversion.DetailChange
		payout  int64
	}{
		{"a row of blanks changes nothing", func(c *conversion.Claim) {
			*c = conversion.Claim{Start: c.Start, Details: conversion.Details{ReferenceID: "R1"}}
		}, conversion.Unchanged, nil, nil, 605},
		{"a blank amount leaves the amount alone", func(c *conversion.Claim) { c.Sale = conversion.Amount{} }, conversion.Unchanged, nil, nil, 605},
		{"an amount of 0 is no blank", func(c *conversion.Claim) { c.Sale = usd(0) }, conversion.Updated, func(c *conversion.Conversion) { c.Sale, c.Payout = usd(0), usd(0) }, nil, 0},
		{"a blank reason beside a new amount stays", func(c *conversion.Claim) { c.ReasonCode, c.Sale = "", usd(9500) }, conversion.Updated, func(c *conversion.Conversion) { c.Sale, c.Payout = usd(9500), usd(950) }, nil, 950},
		{"a reason replaces", func(c *conversion.Claim) { c.ReasonCode = "R" }, conversion.Updated, func(c *conversion.Conversion) { c.ReasonCode = "R" }, []conversion.DetailChange{{Name: "reason_code", Before: "S", After: "R"}}, 605},
		{"a list of SKUs replaces", func(c *conversion.Claim) { c.SKUs, c.Quantities = "DVD,CD", "1,2" }, conversion.Updated, func(c *conversion.Conversion) { c.SKUs, c.Quantities = "DVD,CD", "1,2" }, []conversion.DetailChange{{Name: "sku_list", Before: "DVD", After: "DVD,CD"}, {Name: "quantity_list", Before: "1", After: "1,2"}}, 605},
		{"campaign, publisher and event type replace", func(c *conversion.Claim) { c.Campaign, c.Publisher, c.EventType = "C2", "P2", "Lead" }, conversion.Updated, func(c *conversion.Conversion) { c.Campaign, c.Publisher, c.EventType = "C2", "P2", "Lead" }, []conversion.DetailChange{{Name: "event_type", Before: "Sale", After: "Lead"}, {Name: "campaign", Before: "C", After: "C2"}, {Name: "publisher", Before: "P", After: "P2"}}, 605},
		{"customer data replaces", func(c *conversion.Claim) { c.Customer = `{"name":"Bo"}` }, conversion.Updated, func(c *conversion.Conversion) { c.Customer = `{"name":"Bo"}` }, []conversion.DetailChange{{Name: "customer", Before: `{"name":"Ann"}`, After: `{"name":"Bo"}`}}, 605},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := byReference(t)
			prior := b.decide(full, &c).Conversion
			kept := *prior
			b.nextFile()
			d := b.decide(with(full, test.change), &c)
			wantVerdict(t, d, test.verdict, "")
			if *prior != kept {
				t.Errorf("the prior was written to: %+v", prior)
			}
			if d.Outcome.PayoutAfter != usd(test.payout) || d.Outcome.PayoutBefore != usd(605) {
				t.Errorf("payout %s → %s, want 6.05 → %s", d.Outcome.PayoutBefore, d.Outcome.PayoutAfter, usd(test.payout))
			}
			if test.after == nil {
				return
			}
			want := kept
			want.Changes++
			test.after(&want)
			if *d.Conversion != want {
				t.Errorf("conversion\n%+v\nwant\n%+v", *d.Conversion, want)
			}
			if !reflect.DeepEqual(d.Change.Details, test.details) {
				t.Errorf("details %v, want %v", d.Change.Details, test.details)
			}
		})
	}
}

func TestUpdateGivesAnAmountToAConversionWithoutOne(t *testing.T) {
	b, c := newBook(t, policy(t)), call(1, after(0))
	b.policy.Account.Payouts = []conversion.PayoutRule{tenPercent()}
	d := b.decide(with(base(), func(c *conversion.Claim) { c.Sale = conversion.Amount{} }), &c)
	wantVerdict(t, d, conversion.Created, "")
	if d.Conversion.Sale.Given || d.Conversion.Payout.Given {
		t.Errorf("a blank amount became %+v", d.Conversion)
	}
	d = b.decide(base(), &c)
	wantVerdict(t, d, conversion.Updated, "")
	if d.Outcome.Rule != "update: sale none → 60.50; 10% of 60.50 = 6.05" || d.Outcome.PayoutBefore.Given || d.Outcome.PayoutAfter != usd(605) {
		t.Errorf("outcome %+v", d.Outcome)
	}
}

func TestUpdateKeepsWhatItWasPaidByOldRules(t *testing.T) {
	b, c := newBook(t, policy(t)), call(1, after(0))
	b.policy.Account.Payouts = []conversion.PayoutRule{tenPercent()}
	b.decide(base(), &c)
	b.policy.Account.Payouts = []conversion.PayoutRule{{Fixed: usd(100)}}
	wantVerdict(t, b.decide(base(), &c), conversion.Unchanged, "")
}

func TestUpdateThatMeetsNoRuleAnyMorePaysNothing(t *testing.T) {
	b, c := newBook(t, policy(t)), call(1, after(0))
	b.policy.Account.Duplicates.Key = []conversion.KeyPart{conversion.KeyCall}
	b.policy.Account.Payouts = []conversion.PayoutRule{{ReasonCodes: []string{"S"}, Percent: decimal.NewFromInt(10), HasPercent: true}}
	b.decide(base(), &c)
	d := b.decide(with(base(), func(c *conversion.Claim) { c.ReasonCode = "N" }), &c)
	wantVerdict(t, d, conversion.Updated, "")
	if d.Outcome.PayoutBefore != usd(605) || d.Outcome.PayoutAfter != usd(0) {
		t.Errorf("payout %s → %s, want 6.05 → 0.00", d.Outcome.PayoutBefore, d.Outcome.PayoutAfter)
	}
}

// A conversion's amounts each keep the currency they began with: the ledger
// stores the change's two figures without one.
func TestUpdateNeverChangesAPayoutsCurrency(t *testing.T) {
	b, c := newBook(t, policy(t)), call(1, after(0))
	b.policy.Account.Duplicates.Key = []conversion.KeyPart{conversion.KeyCall}
	b.policy.Account.Payouts = []conversion.PayoutRule{{ReasonCodes: []string{"L"}, Fixed: usd(500)}, tenPercent()}
	euros := with(base(), func(c *conversion.Claim) { c.ReasonCode, c.Sale = "L", conversion.Cents(6050, "EUR") })
	b.decide(euros, &c)
	d := b.decide(with(euros, func(c *conversion.Claim) { c.ReasonCode = "S" }), &c)
	if before, after := d.Outcome.PayoutBefore, d.Outcome.PayoutAfter; before.Currency != "USD" || after.Given && after.Currency != "USD" {
		t.Errorf("payout %s %s → %s %s, want both in USD", before, before.Currency, after, after.Currency)
	}
}

func TestDecideRejects(t *testing.T) {
	c := call(1, after(0))
	held := func(change func(*conversion.Conversion)) *conversion.Conversion {
		h := &conversion.Conversion{ID: 10_000_002, Call: 1, Standing: conversion.Standing{Sale: usd(6050)}, Details: conversion.Details{ReferenceID: "R1", ReasonCode: "S"}}
		if change != nil {
			change(h)
		}
		return h
	}
	for _, test := range []struct {
		name          string
		claim         conversion.Claim
		found         matcher.Candidates
		key           []conversion.KeyPart
		code          conversion.Code
		column, value string
		message       string
	}{
		{
			name: "an amount in another currency than the conversion's", claim: with(base(), func(c *conversion.Claim) { c.Sale = conversion.Cents(9500, "EUR") }),
			found: matcher.Candidates{Match: matcher.Match{Call: &c}, Prior: held(nil)},
			code:  conversion.CurrencyMismatch, column: "sale_currency", value: "EUR",
			message: "Conversion 10000002 is in USD and can't be changed to EUR. Send the amount in USD.",
		},
		{
			name: "a reference id that was used for another call", claim: base(),
			found: matcher.Candidates{Match: matcher.Match{Call: &c}, Referenced: held(func(c *conversion.Conversion) { c.Call = 2 })},
			code:  conversion.CluesConflict, column: "reference_id", value: "R1",
			message: `The start time means call A, but reference_id "R1" was used before for conversion 10000002 on another call. Correct one of them.`,
		},
		{
			name: "a parent that nobody sent", claim: conversion.Claim{Names: parent("R9"), Standing: conversion.Standing{Sale: usd(9500)}},
			code: conversion.ConversionNotFound, column: "parent_reference_id", value: "R9",
			message: `No conversion has reference_id "R9". Send that one first, or correct parent_reference_id.`,
		},
		{
			name: "an update of a parent in another currency", claim: conversion.Claim{Names: parent("R1"), Standing: conversion.Standing{Sale: conversion.Cents(1, "GBP")}},
			found: matcher.Candidates{Named: []*conversion.Conversion{held(nil)}},
			code:  conversion.CurrencyMismatch, column: "sale_currency", value: "GBP",
			message: "Conversion 10000002 is in USD and can't be changed to GBP. Send the amount in USD.",
		},
		{
			name: "a blank reference id where conversions are told apart by it", claim: with(base(), func(c *conversion.Claim) { c.ReferenceID = "" }),
			found: matcher.Candidates{Match: matcher.Match{Call: &c}}, key: []conversion.KeyPart{conversion.KeyReferenceID},
			code: conversion.OptionMissing, column: "reference_id",
			message: "reference_id is blank, and the account tells conversions apart by it. Fill it in.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			if test.key != nil {
				p.Account.Duplicates.Key = test.key
			}
			d := matcher.Decide(&test.claim, test.found, p, 3)
			wantVerdict(t, d, conversion.Rejected, test.code)
			if o := d.Outcome; o.Column != test.column || o.Value != test.value || o.Message != test.message {
				t.Errorf("%s=%q: %s\nwant\n%s=%q: %s", o.Column, o.Value, o.Message, test.column, test.value, test.message)
			}
		})
	}
}

func TestReferencesThatDoNotConflict(t *testing.T) {
	c := call(1, after(0))
	for _, test := range []struct {
		name       string
		referenced *conversion.Conversion
		verdict    conversion.Verdict
	}{
		{"a reference of the same call", &conversion.Conversion{ID: 1, Call: 1}, conversion.Created},
		{"a reference of a web conversion, which has no call", &conversion.Conversion{ID: 1}, conversion.Created},
		{"a reference seen for the first time", nil, conversion.Created},
	} {
		t.Run(test.name, func(t *testing.T) {
			claim := base()
			wantVerdict(t, matcher.Decide(&claim, matcher.Candidates{Match: matcher.Match{Call: &c}, Referenced: test.referenced}, policy(t), 1), test.verdict, "")
		})
	}
}

// A row whose call is not known is told what of it may be wrong.
func TestARowWithoutItsCallIsToldWhatToCorrect(t *testing.T) {
	for what, claim := range map[string]conversion.Claim{
		"the time":               {Start: started()},
		"the time or the caller": {Start: started(), Caller: alice},
		"the id":                 {Start: started(), Caller: alice, CallIDs: conversion.CallIDs{conversion.CallRecord: "X"}},
		"the caller or when the event took place": {Caller: alice, Event: started()},
	} {
		p := policy(t)
		p.Account.Match.ByEventTime = true
		claim.Line, claim.Standing = 5, conversion.Standing{Sale: usd(1)}
		d := matcher.Decide(&claim, matcher.Candidates{Match: matcher.FindCall(&claim, nil, p)}, p, 1)
		if want := " Correct " + what + ", or send the row again once its call is known."; !strings.HasSuffix(d.Outcome.Message, want) || d.Outcome.Code != conversion.CallNotFound {
			t.Errorf("%s: %q, want one that ends in %q", d.Outcome.Code, d.Outcome.Message, want)
		}
	}
}

// started is a time that a row tells, long enough ago.
func started() conversion.When {
	at := millis(noon) - 3_600_000
	return conversion.When{First: conversion.Span{From: at, To: at + 999}}
}

func TestARowWithoutItsCallWaits(t *testing.T) {
	const day = 24 * time.Hour
	notFound := func(c *conversion.Claim, p matcher.Policy) matcher.Match { return matcher.FindCall(c, nil, p) }
	for _, test := range []struct {
		name    string
		wait    time.Duration
		ago     time.Duration
		match   func(*conversion.Claim, matcher.Policy) matcher.Match
		verdict conversion.Verdict
		code    conversion.Code
		until   string
	}{
		{"a young row waits", 7 * day, time.Hour, notFound, conversion.Waiting, conversion.CallNotFound, "2026-03-17 13:00:00 EDT"},
		{"a row of nearly a week waits", 7 * day, 7*day - time.Second, notFound, conversion.Waiting, conversion.CallNotFound, "2026-03-10 14:00:01 EDT"},
		{"a row of more than a week is rejected", 7 * day, 7*day + time.Second, notFound, conversion.Rejected, conversion.CallNotFound, ""},
		{"no row waits if waiting is off", 0, time.Hour, notFound, conversion.Rejected, conversion.CallNotFound, ""},
		{"a row that is too old doesn't wait", 365 * day, 91 * day, notFound, conversion.Rejected, conversion.CallTooOld, ""},
		{"a row of the future doesn't wait", 7 * day, -time.Hour, notFound, conversion.Rejected, conversion.CallInFuture, ""},
		{"an ambiguous row doesn't wait", 7 * day, time.Hour, func(c *conversion.Claim, p matcher.Policy) matcher.Match {
			return matcher.FindCall(c, []conversion.Call{call(1, c.Start.First.From+1000), call(2, c.Start.First.From+2000)}, p)
		}, conversion.Rejected, conversion.CallAmbiguous, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := policy(t)
			p.Account.WaitForCalls = test.wait
			at := p.Now - conversion.Millis(test.ago.Milliseconds())
			claim := conversion.Claim{Line: 5, Start: conversion.When{First: conversion.Span{From: at, To: at + 999}}, Caller: alice, Standing: conversion.Standing{Sale: usd(1)}}
			match := test.match(&claim, p)
			d := matcher.Decide(&claim, matcher.Candidates{Match: match}, p, 1)
			wantVerdict(t, d, test.verdict, test.code)
			want := match.Sentence
			if test.until != "" {
				want += " The row waits for the call until " + test.until + "."
			} else if test.code == conversion.CallNotFound {
				want += " Correct the time or the caller, or send the row again once its call is known."
			}
			if d.Outcome.Message != want {
				t.Errorf("message %q, want %q", d.Outcome.Message, want)
			}
			if !reflect.DeepEqual(d.Outcome.Near, match.Tied) {
				t.Errorf("near %v, want %v", d.Outcome.Near, match.Tied)
			}
		})
	}
}

func TestParentReferenceUpdatesWhateverTheKey(t *testing.T) {
	p := policy(t)
	p.Account.Duplicates = conversion.DuplicateRules{Key: []conversion.KeyPart{conversion.KeyReferenceID}, Mode: conversion.ModeIgnore}
	held := &conversion.Conversion{ID: 10_000_002, Key: conversion.Key{Call: 1}, Nth: 3, Changes: 1, Call: 4, OccurredAt: after(-time.Hour), Standing: conversion.Standing{Sale: usd(0)}, Details: conversion.Details{ReferenceID: "R1", ReasonCode: "new_signup"}}
	claim := conversion.Claim{Line: 8, Names: parent("R1"), Standing: conversion.Standing{Sale: usd(9500)}, Details: conversion.Details{ReasonCode: "confirmed_order"}}
	d := matcher.Decide(&claim, matcher.Candidates{Named: []*conversion.Conversion{held}}, p, 2)
	wantVerdict(t, d, conversion.Updated, "")
	want := *held
	want.Sale, want.ReasonCode, want.Changes = usd(9500), "confirmed_order", 2
	if *d.Conversion != want {
		t.Errorf("conversion %+v, want %+v", *d.Conversion, want)
	}
	if d.Change.ID != conversion.MakeID(2, 8) || d.Change.Conversion != held.ID || d.Change.Effective != 20260310 {
		t.Errorf("change %+v", d.Change)
	}
}

// A row that updates a parent may carry a reference id of its own. The parent
// must still be found by the one it was sent with.
func TestAParentKeepsItsOwnReference(t *testing.T) {
	b := newBook(t, policy(t))
	b.decide(conversion.Claim{Web: true, Standing: conversion.Standing{Sale: usd(0)}, Details: conversion.Details{ReferenceID: "R1", Campaign: "C", Publisher: "P"}}, nil)
	order := conversion.Claim{Web: true, Names: parent("R1"), Standing: conversion.Standing{Sale: usd(9500)}, Details: conversion.Details{ReferenceID: "R2"}}
	wantVerdict(t, b.decide(order, nil), conversion.Updated, "")
	b.nextFile()
	wantVerdict(t, b.decide(order, nil), conversion.Unchanged, "")
}

// The row that updates a parent needn't name the parent's call: the call that
// the parent has is what its payout goes by.
func TestAParentsPayoutGoesByItsOwnCall(t *testing.T) {
	p := policy(t)
	p.Account.Payouts = []conversion.PayoutRule{{MinDuration: 30 * time.Second, Percent: decimal.NewFromInt(10), HasPercent: true}}
	b, c := newBook(t, p), call(1, after(0))
	wantVerdict(t, b.decide(base(), &c), conversion.Created, "")
	d := b.decide(conversion.Claim{Names: parent("R1"), Standing: conversion.Standing{Sale: usd(9500)}}, nil)
	wantVerdict(t, d, conversion.Updated, "")
	if d.Outcome.PayoutBefore != usd(605) || d.Outcome.PayoutAfter != usd(950) {
		t.Errorf("payout %s → %s, want 6.05 → 9.50", d.Outcome.PayoutBefore, d.Outcome.PayoutAfter)
	}
}

func TestCreateFillsInFromTheCall(t *testing.T) {
	c := call(3, millis("2026-03-10T03:30:00Z"), func(c *conversion.Call) { c.Campaign, c.Publisher = "from the call", "from the call too" })
	t.Run("what the row leaves out is the call's", func(t *testing.T) {
		d := newBook(t, policy(t)).decide(with(base(), func(c *conversion.Claim) { c.Campaign = "the row's" }), &c)
		if d.Conversion.Campaign != "the row's" || d.Conversion.Publisher != "from the call too" || d.Conversion.Call != 3 || d.Conversion.OccurredAt != c.Start {
			t.Errorf("conversion %+v", d.Conversion)
		}
	})
	t.Run("it counts from the day of the call on the account's clock", func(t *testing.T) {
		if d := newBook(t, policy(t)).decide(base(), &c); d.Change.Effective != 20260309 {
			t.Errorf("effective %d, want 20260309", d.Change.Effective)
		}
	})
	t.Run("a web conversion counts from the day that it names", func(t *testing.T) {
		d := newBook(t, policy(t)).decide(conversion.Claim{Web: true, Start: toSecond("2026-03-01T12:00:00Z"), Details: conversion.Details{Campaign: "C", Publisher: "P"}}, nil)
		if d.Change.Effective != 20260301 || d.Conversion.OccurredAt != millis("2026-03-01T12:00:00Z") || d.Conversion.Call != 0 || d.Outcome.CallID != "" {
			t.Errorf("%+v of %+v", d.Change, d.Conversion)
		}
	})
	t.Run("a web conversion without a time counts from when it came", func(t *testing.T) {
		d := newBook(t, policy(t)).decide(conversion.Claim{Web: true, Details: conversion.Details{Campaign: "C", Publisher: "P"}}, nil)
		if d.Change.Effective != 20260310 || d.Conversion.OccurredAt != after(2*time.Hour) {
			t.Errorf("%+v of %+v", d.Change, d.Conversion)
		}
	})
}

func TestReturnsTellsARowThatSetsASaleBack(t *testing.T) {
	update := func(upload int64, before, after conversion.Amount) *conversion.Change {
		return &conversion.Change{ID: conversion.MakeID(upload, 2), Verdict: conversion.Updated, Before: conversion.Standing{Sale: before}, After: conversion.Standing{Sale: after}}
	}
	created := &conversion.Change{ID: conversion.MakeID(1, 2), Verdict: conversion.Created, After: conversion.Standing{Sale: usd(6050)}}
	for _, test := range []struct {
		name    string
		change  *conversion.Change
		earlier []*conversion.Change
		want    string
	}{
		{"back to what it was before another upload", update(3, usd(9500), usd(6050)), []*conversion.Change{created, update(2, usd(6050), usd(9500))}, "This sets the sale back to 60.50, which upload 2 had changed to 95.00."},
		{"on to something new", update(3, usd(9500), usd(12000)), []*conversion.Change{created, update(2, usd(6050), usd(9500))}, ""},
		{"nothing came between", update(2, usd(6050), usd(9500)), []*conversion.Change{created}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := matcher.Returns(test.change, test.earlier); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestKeyOf(t *testing.T) {
	all := append([]conversion.KeyPart{conversion.KeyReferenceID}, conversion.DefaultKey...)
	for _, test := range []struct {
		part   conversion.KeyPart
		change func(*conversion.Claim)
		call   int64
	}{
		{part: conversion.KeyCall, call: 2},
		{part: conversion.KeyEventType, change: func(c *conversion.Claim) { c.EventType = "Lead" }},
		{part: conversion.KeySKUs, change: func(c *conversion.Claim) { c.SKUs = "CD" }},
		{part: conversion.KeyReasonCode, change: func(c *conversion.Claim) { c.ReasonCode = "R" }},
		{part: conversion.KeyReferenceID, change: func(c *conversion.Claim) { c.ReferenceID = "R2" }},
	} {
		t.Run("the key is of its parts: "+string(test.part), func(t *testing.T) {
			p, c, d := policy(t), call(1, after(0)), call(1, after(0))
			claim, changed := base(), base()
			if test.change != nil {
				test.change(&changed)
			}
			if test.call != 0 {
				d.ID = test.call
			}
			for _, key := range [][]conversion.KeyPart{{test.part}, all} {
				p.Account.Duplicates.Key = key
				if matcher.KeyOf(&claim, &c, p) == matcher.KeyOf(&changed, &d, p) {
					t.Errorf("key %v doesn't tell", key)
				}
			}
			for _, part := range all {
				if part == test.part {
					continue
				}
				p.Account.Duplicates.Key = []conversion.KeyPart{part}
				if matcher.KeyOf(&claim, &c, p) != matcher.KeyOf(&changed, &d, p) {
					t.Errorf("key %v tells apart what it doesn't name", part)
				}
			}
		})
	}
	t.Run("what is no part of the key makes no difference", func(t *testing.T) {
		p, c := policy(t), call(1, after(0))
		claim := base()
		changed := with(base(), func(c *conversion.Claim) {
			c.Line, c.Start, c.Sale, c.ReferenceID, c.Customer = 9, toMinute(noon), usd(1), "R2", "{}"
		})
		if matcher.KeyOf(&claim, &c, p) != matcher.KeyOf(&changed, &c, p) {
			t.Error("the keys differ")
		}
	})
	t.Run("two accounts share no key", func(t *testing.T) {
		p, q, c, claim := policy(t), policy(t), call(1, after(0)), base()
		q.Account.ID = "24"
		if matcher.KeyOf(&claim, &c, p) == matcher.KeyOf(&claim, &c, q) {
			t.Error("the keys are equal")
		}
	})
	t.Run("values don't run together", func(t *testing.T) {
		p, c := policy(t), call(1, after(0))
		a := conversion.Claim{Details: conversion.Details{SKUs: "AB", ReasonCode: "C"}}
		b := conversion.Claim{Details: conversion.Details{SKUs: "A", ReasonCode: "BC"}}
		if matcher.KeyOf(&a, &c, p) == matcher.KeyOf(&b, &c, p) {
			t.Error("the keys are equal")
		}
	})
	t.Run("web conversions are told apart by their references", func(t *testing.T) {
		p := policy(t)
		a := conversion.Claim{Web: true, Details: conversion.Details{ReferenceID: "R1"}}
		b := conversion.Claim{Web: true, Details: conversion.Details{ReferenceID: "R2"}}
		again := a
		if matcher.KeyOf(&a, nil, p) == matcher.KeyOf(&b, nil, p) || matcher.KeyOf(&a, nil, p) != matcher.KeyOf(&again, nil, p) {
			t.Error("the keys don't follow the references")
		}
	})
}

// TestFingerprintIsOfAllThatARowSays changes every field of a claim, also those
// that are yet to be added.
func TestFingerprintIsOfAllThatARowSays(t *testing.T) {
	plain := base()
	seen := map[conversion.Fingerprint]string{plain.Fingerprint("23", 0): "the row as it is"}
	note := func(what string, f conversion.Fingerprint) {
		if before, ok := seen[f]; ok {
			t.Errorf("%s has the fingerprint of %s", what, before)
		}
		seen[f] = what
	}
	changed := base()
	eachField(reflect.ValueOf(&changed).Elem(), "", func(path string, field reflect.Value) {
		if path == "Line" || path == "Others" {
			return
		}
		kept := reflect.New(field.Type()).Elem()
		kept.Set(field)
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Int, reflect.Int64:
			field.SetInt(field.Int() + 1)
		case reflect.Slice:
			field.Set(reflect.Append(field, reflect.Zero(field.Type().Elem())))
			eachField(field.Index(field.Len()-1), path+".", func(inner string, of reflect.Value) {
				kept := reflect.New(of.Type()).Elem()
				kept.Set(of)
				switch of.Kind() {
				case reflect.String:
					of.SetString("x")
				case reflect.Bool:
					of.SetBool(true)
				default:
					of.SetInt(1)
				}
				note("another "+inner, changed.Fingerprint("23", 0))
				of.Set(kept)
			})
		default:
			t.Fatalf("%s is a %s: say here how to change it", path, field.Kind())
		}
		note("another "+path, changed.Fingerprint("23", 0))
		field.Set(kept)
	})
	if len(seen) < 20 {
		t.Errorf("only %d fingerprints", len(seen))
	}
	note("another account", plain.Fingerprint("24", 0))
	note("the second such row of its file", plain.Fingerprint("23", 1))
	note("the third such row of its file", plain.Fingerprint("23", 2))
	if moved := with(base(), func(c *conversion.Claim) { c.Line = 99 }); moved.Fingerprint("23", 0) != plain.Fingerprint("23", 0) {
		t.Error("the line is no part of what a row says")
	}
}

func eachField(v reflect.Value, path string, each func(path string, field reflect.Value)) {
	if v.Kind() == reflect.Array {
		for i := range v.Len() {
			eachField(v.Index(i), fmt.Sprint(path, i), each)
		}
		return
	}
	if v.Kind() != reflect.Struct {
		each(path, v)
		return
	}
	for i := range v.NumField() {
		eachField(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), each)
	}
}
