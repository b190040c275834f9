package main

import (
	"fmt"
	"path"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

// payoutConfig is one rule of payouts or received.
type payoutConfig struct {
	ReasonCode  []string `yaml:"reason_code"`
	EventType   []string `yaml:"event_type"`
	SKU         []string `yaml:"sku"`
	Campaign    string   `yaml:"campaign"`
	Publisher   string   `yaml:"publisher"`
	MinSale     string   `yaml:"min_sale"`
	MinDuration string   `yaml:"min_duration"`
	Fixed       string   `yaml:"fixed"`
	Percent     string   `yaml:"percent"`
	Of          string   `yaml:"of"`
	Cap         string   `yaml:"cap"`
}

// payouts reads the rules of what conversions pay and of what they earn.
func (a *accountConfig) payouts(at string, to *conversion.Account) error {
	for _, list := range []struct {
		key   string
		rules []payoutConfig
		into  *[]conversion.PayoutRule
	}{{"payouts", a.Payouts, &to.Payouts}, {"received", a.Received, &to.Received}} {
		for i, p := range list.rules {
			ruleAt := fmt.Sprintf("%s.%s[%d]", at, list.key, i)
			rule, err := p.rule(ruleAt, to.Currency)
			if err != nil {
				return err
			}
			if rule.EventTypes, err = p.eventTypes(ruleAt, to); err != nil {
				return err
			}
			rule.AnyCase = len(to.EventTypes) == 0
			if rule.OfReceived && list.key == "received" {
				return faultAt(fmt.Sprintf("%s.received[%d].of", at, i), "what is received can't be a share of itself; take it out")
			}
			*list.into = append(*list.into, rule)
		}
	}
	return nil
}

// eventTypes are the event types that a rule is for, by their names: those that the
// account lists, if it lists any.
func (p payoutConfig) eventTypes(at string, account *conversion.Account) (names []string, err error) {
	if len(account.EventTypes) == 0 {
		return p.EventType, nil
	}
	for i, name := range p.EventType {
		t := account.EventType(name)
		if t == nil {
			return nil, faultAt(fmt.Sprintf("%s.event_type[%d]", at, i), "the account has no event type %q, so the rule would never fit; correct it or add it to event_types", name)
		}
		names = append(names, t.Name)
	}
	return names, nil
}

// rule reads one rule, but for its event types.
func (p payoutConfig) rule(at string, currency conversion.Currency) (conversion.PayoutRule, error) {
	rule := conversion.PayoutRule{ReasonCodes: p.ReasonCode, SKUs: p.SKU, Campaign: p.Campaign, Publisher: p.Publisher}
	if err := durations(at, []durationSetting{{"min_duration", p.MinDuration, 0, &rule.MinDuration}}); err != nil {
		return rule, err
	}
	for _, amount := range []struct {
		key, text string
		into      *conversion.Amount
	}{{"fixed", p.Fixed, &rule.Fixed}, {"cap", p.Cap, &rule.Cap}, {"min_sale", p.MinSale, &rule.MinSale}} {
		var err error
		if *amount.into, err = conversion.ParseAmount(amount.text, currency, '.'); err != nil || amount.into.Minor < 0 {
			return rule, faultAt(at+"."+amount.key, "%q is not an amount such as 50.00 in %s", amount.text, currency)
		}
	}
	if p.Percent != "" {
		percent, err := decimal.NewFromString(p.Percent)
		if err != nil || percent.IsNegative() || percent.GreaterThan(decimal.NewFromInt(1000)) {
			return rule, faultAt(at+".percent", "%q is not a percentage such as 10 or 2.5", p.Percent)
		}
		rule.Percent, rule.HasPercent = percent, true
	}
	of, err := oneOf(at+".of", p.Of, "sale", "received")
	if err != nil {
		return rule, err
	}
	if rule.OfReceived = of == "received"; of != "" && !rule.HasPercent {
		return rule, faultAt(at+".of", "only a percentage is of something; take it out")
	}
	for _, like := range [][2]string{{"campaign", p.Campaign}, {"publisher", p.Publisher}} {
		if _, err := path.Match(like[1], ""); err != nil {
			return rule, faultAt(at+"."+like[0], "%q is no pattern: a [ in it is not closed", like[1])
		}
	}
	switch {
	case rule.HasPercent == rule.Fixed.Given:
		return rule, faultAt(at, "a payout rule pays either fixed or percent; give one of them")
	case rule.Fixed.Given && rule.Cap.Given:
		return rule, faultAt(at+".cap", "a fixed payout has no cap; take it out")
	}
	return rule, nil
}
