package matcher

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"calltally/conversion"
)

// payout says what a conversion pays and why. No rule pays nothing.
func payout(c *conversion.Conversion, call *conversion.Call, account *conversion.Account) (conversion.Amount, string) {
	paid, rule := earned(c, call, account.Payouts)
	if c.Value == "false" && len(account.Payouts) > 0 {
		return paid, "the signal says that it did not happen, so it pays nothing"
	}
	if rule == "" && len(account.Payouts) > 0 {
		return paid, "no payout rule fits"
	}
	return paid, rule
}

// earned is what the rule that fits makes of a conversion, and how.
func earned(c *conversion.Conversion, call *conversion.Call, rules []conversion.PayoutRule) (conversion.Amount, string) {
	if rule, ok := fitting(c, call, rules); ok {
		return pay(c, rule)
	}
	return conversion.Amount{}, ""
}

// fitting is the first rule whose conditions a conversion meets. A signal that
// says that nothing happened meets none.
func fitting(c *conversion.Conversion, call *conversion.Call, rules []conversion.PayoutRule) (*conversion.PayoutRule, bool) {
	if c.Value == "false" {
		return nil, false
	}
	for i := range rules {
		if meets(c, call, &rules[i]) {
			return &rules[i], true
		}
	}
	return nil, false
}

// share is what a percentage is of.
func share(c *conversion.Conversion, rule *conversion.PayoutRule) conversion.Amount {
	if rule.OfReceived {
		return c.Received
	}
	return c.Sale
}

// meets reports whether a conversion meets all of a rule's conditions. A rule
// that compares the sale with an amount in another currency is never met.
func meets(c *conversion.Conversion, call *conversion.Call, rule *conversion.PayoutRule) bool {
	switch {
	case len(rule.ReasonCodes) > 0 && !slices.Contains(rule.ReasonCodes, c.ReasonCode),
		len(rule.EventTypes) > 0 && !slices.ContainsFunc(rule.EventTypes, func(t string) bool { return t == c.EventType || rule.AnyCase && strings.EqualFold(t, c.EventType) }),
		len(rule.SKUs) > 0 && !sharesSKU(rule.SKUs, c.SKUs),
		!like(rule.Campaign, c.Campaign),
		!like(rule.Publisher, c.Publisher),
		rule.HasPercent && !share(c, rule).Given,
		rule.HasPercent && rule.Cap.Given && rule.Cap.Currency != share(c, rule).Currency,
		rule.MinSale.Given && (!c.Sale.Given || rule.MinSale.Currency != c.Sale.Currency || c.Sale.Minor < rule.MinSale.Minor),
		rule.MinDuration > 0 && (call == nil || float64(call.Duration) < rule.MinDuration.Seconds()):
		return false
	}
	return true
}

func sharesSKU(wanted []string, sold string) bool {
	return slices.ContainsFunc(strings.Split(sold, ","), func(sku string) bool { return slices.Contains(wanted, sku) })
}

// like compares a name with a pattern such as acme-*; "" and * fit all.
func like(pattern, name string) bool {
	if pattern == "" || pattern == "*" || pattern == name {
		return true
	}
	flat := strings.NewReplacer("/", "\x00") // a slash is a letter like any other
	ok, err := path.Match(flat.Replace(pattern), flat.Replace(name))
	return ok && err == nil
}

func pay(c *conversion.Conversion, rule *conversion.PayoutRule) (conversion.Amount, string) {
	if !rule.HasPercent {
		return rule.Fixed, fmt.Sprintf("fixed %s", rule.Fixed)
	}
	of := share(c, rule)
	amount := of.Percent(rule.Percent)
	trace := fmt.Sprintf("%s%% of %s = %s", rule.Percent, of, amount)
	if rule.Cap.Given && amount.Minor > rule.Cap.Minor {
		return rule.Cap, fmt.Sprintf("%s, capped at %s", trace, rule.Cap)
	}
	return amount, trace
}
