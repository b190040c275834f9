package matcher_test

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

func percent(rate string, change ...func(*conversion.PayoutRule)) conversion.PayoutRule {
	rule := conversion.PayoutRule{Percent: decimal.RequireFromString(rate), HasPercent: true}
	for _, f := range change {
		f(&rule)
	}
	return rule
}

func fixed(cents int64, change ...func(*conversion.PayoutRule)) conversion.PayoutRule {
	rule := conversion.PayoutRule{Fixed: usd(cents)}
	for _, f := range change {
		f(&rule)
	}
	return rule
}

func TestPayouts(t *testing.T) {
	sale := func(a conversion.Amount) conversion.Claim {
		return with(base(), func(c *conversion.Claim) { c.Sale = a })
	}
	capped := func(cents int64) func(*conversion.PayoutRule) {
		return func(r *conversion.PayoutRule) { r.Cap = usd(cents) }
	}
	for _, test := range []struct {
		name   string
		claim  conversion.Claim
		rules  []conversion.PayoutRule
		payout conversion.Amount
		rule   string
	}{
		{"no rule pays nothing", base(), nil, conversion.Amount{}, ""},
		{"a share of the sale", base(), []conversion.PayoutRule{percent("10")}, usd(605), "10% of 60.50 = 6.05"},
		{"a share with decimals", base(), []conversion.PayoutRule{percent("12.5")}, usd(756), "12.5% of 60.50 = 7.56"},
		{"half a cent goes down to the even cent", sale(usd(6045)), []conversion.PayoutRule{percent("10")}, usd(604), "10% of 60.45 = 6.04"},
		{"half a cent goes up to the even cent", sale(usd(6055)), []conversion.PayoutRule{percent("10")}, usd(606), "10% of 60.55 = 6.06"},
		{"more than half a cent goes up", sale(usd(6046)), []conversion.PayoutRule{percent("10")}, usd(605), "10% of 60.46 = 6.05"},
		{"a negative sale takes back", sale(usd(-6045)), []conversion.PayoutRule{percent("10")}, usd(-604), "10% of -60.45 = -6.04"},
		{"a currency without cents rounds at its unit", sale(conversion.Cents(125, "JPY")), []conversion.PayoutRule{percent("10")}, conversion.Cents(12, "JPY"), "10% of 125 = 12"},
		{"a currency of thousandths rounds at those", sale(conversion.Cents(1235, "KWD")), []conversion.PayoutRule{percent("10")}, conversion.Cents(124, "KWD"), "10% of 1.235 = 0.124"},
		{"a cap ends it", sale(usd(60000)), []conversion.PayoutRule{percent("10", capped(5000))}, usd(5000), "10% of 600.00 = 60.00, capped at 50.00"},
		{"a cap that is just met is none", sale(usd(50000)), []conversion.PayoutRule{percent("10", capped(5000))}, usd(5000), "10% of 500.00 = 50.00"},
		{"a cap in another currency is never met, and that is told", sale(conversion.Cents(100, "EUR")), []conversion.PayoutRule{percent("10", capped(5000))}, conversion.Amount{}, "no payout rule fits"},
		{"a fixed sum", base(), []conversion.PayoutRule{fixed(500)}, usd(500), "fixed 5.00"},
		{"a fixed sum without any sale", sale(conversion.Amount{}), []conversion.PayoutRule{fixed(500)}, usd(500), "fixed 5.00"},
		{"a share of no sale is no payout", sale(conversion.Amount{}), []conversion.PayoutRule{percent("10"), fixed(500)}, usd(500), "fixed 5.00"},
		{"a share of a sale of 0 is 0", sale(usd(0)), []conversion.PayoutRule{percent("10"), fixed(500)}, usd(0), "10% of 0.00 = 0.00"},
		{"the first rule that fits pays", base(), []conversion.PayoutRule{fixed(1, func(r *conversion.PayoutRule) { r.ReasonCodes = []string{"N"} }), fixed(2), fixed(3)}, usd(2), "fixed 0.02"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, c := policy(t), call(1, after(0))
			p.Account.Payouts = test.rules
			d := newBook(t, p).decide(test.claim, &c)
			if d.Conversion.Payout != test.payout || d.Outcome.PayoutAfter != test.payout || d.Change.After.Payout != test.payout {
				t.Errorf("payout %+v, want %+v", d.Conversion.Payout, test.payout)
			}
			if d.Outcome.Rule != test.rule {
				t.Errorf("rule %q, want %q", d.Outcome.Rule, test.rule)
			}
		})
	}
}

func TestPayoutConditions(t *testing.T) {
	for _, test := range []struct {
		name  string
		rule  func(*conversion.PayoutRule)
		claim func(*conversion.Claim)
		meets bool
	}{
		{"one of the reason codes", func(r *conversion.PayoutRule) { r.ReasonCodes = []string{"R", "S"} }, nil, true},
		{"none of the reason codes", func(r *conversion.PayoutRule) { r.ReasonCodes = []string{"R"} }, nil, false},
		{"a reason code in another case is another", func(r *conversion.PayoutRule) { r.ReasonCodes = []string{"s"} }, nil, false},
		{"the event type", func(r *conversion.PayoutRule) { r.EventTypes = []string{"Lead"} }, func(c *conversion.Claim) { c.EventType = "Lead" }, true},
		{"another event type", func(r *conversion.PayoutRule) { r.EventTypes = []string{"Lead"} }, nil, false},
		{"one of the SKUs sold", func(r *conversion.PayoutRule) { r.SKUs = []string{"CD"} }, func(c *conversion.Claim) { c.SKUs = "DVD,CD" }, true},
		{"none of the SKUs sold", func(r *conversion.PayoutRule) { r.SKUs = []string{"C"} }, func(c *conversion.Claim) { c.SKUs = "DVD,CD" }, false},
		{"the publisher by name", func(r *conversion.PayoutRule) { r.Publisher = "acme-us" }, nil, true},
		{"the publisher by pattern", func(r *conversion.PayoutRule) { r.Publisher = "acme-*" }, nil, true},
		{"another publisher", func(r *conversion.PayoutRule) { r.Publisher = "acme" }, nil, false},
		{"any publisher", func(r *conversion.PayoutRule) { r.Publisher = "*" }, nil, true},
		{"any publisher, also one with a slash", func(r *conversion.PayoutRule) { r.Publisher = "*" }, func(c *conversion.Claim) { c.Publisher = "a/b" }, true},
		{"a name that holds brackets is a name", func(r *conversion.PayoutRule) { r.Publisher = "Acme [US]" }, func(c *conversion.Claim) { c.Publisher = "Acme [US]" }, true},
		{"the campaign by name", func(r *conversion.PayoutRule) { r.Campaign = "spring" }, nil, true},
		{"another campaign", func(r *conversion.PayoutRule) { r.Campaign = "autumn" }, nil, false},
		{"a sale of the least amount", func(r *conversion.PayoutRule) { r.MinSale = usd(6050) }, nil, true},
		{"a sale of less", func(r *conversion.PayoutRule) { r.MinSale = usd(6051) }, nil, false},
		{"no sale where one is asked for", func(r *conversion.PayoutRule) { r.MinSale = usd(0) }, func(c *conversion.Claim) { c.Sale = conversion.Amount{} }, false},
		{"a sale in another currency", func(r *conversion.PayoutRule) { r.MinSale = conversion.Cents(1, "EUR") }, nil, false},
		{"a call of the least duration", func(r *conversion.PayoutRule) { r.MinDuration = time.Minute }, nil, true},
		{"a shorter call", func(r *conversion.PayoutRule) { r.MinDuration = 61 * time.Second }, nil, false},
		{"a duration that the row only claims", func(r *conversion.PayoutRule) { r.MinDuration = 61 * time.Second }, func(c *conversion.Claim) { c.Duration, c.HasDuration = 600, true }, false},
		{"two conditions of which one is not met", func(r *conversion.PayoutRule) { r.Campaign, r.ReasonCodes = "spring", []string{"N"} }, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, c := policy(t), call(1, after(0), func(c *conversion.Call) { c.Campaign, c.Publisher = "spring", "acme-us" })
			p.Account.Payouts = []conversion.PayoutRule{fixed(500, test.rule)}
			claim := base()
			if test.claim != nil {
				test.claim(&claim)
			}
			if got := newBook(t, p).decide(claim, &c).Conversion.Payout.Given; got != test.meets {
				t.Errorf("pays: %v, want %v", got, test.meets)
			}
		})
	}
}

func TestAWebConversionHasNoDuration(t *testing.T) {
	p := policy(t)
	p.Account.Payouts = []conversion.PayoutRule{fixed(500, func(r *conversion.PayoutRule) { r.MinDuration = time.Second })}
	claim := conversion.Claim{Web: true, Standing: conversion.Standing{Sale: usd(1)}, Details: conversion.Details{Campaign: "C", Publisher: "P"}}
	if d := newBook(t, p).decide(claim, nil); d.Conversion.Payout.Given {
		t.Errorf("pays %s", d.Conversion.Payout)
	}
}
