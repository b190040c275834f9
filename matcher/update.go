package matcher

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"calltally/conversion"
)

// addressed decides a claim about the conversion that it names.
func (d *decider) addressed() Decision {
	name, call := d.claim.Names, d.found.Match.Call
	if name.ByCall && name.Value() == "" && call == nil {
		return d.unmatched()
	}
	named, fault := d.named()
	if named == nil {
		return fault
	}
	if call != nil && named.Call != 0 && call.ID != named.Call {
		d.meet(call)
		return d.reject(conversion.CluesConflict, name.Column, name.Value(),
			"%s call %s, but %s %q names conversion %d on another call. Correct one of them.", d.clues(), call.CallID, name.Column, name.Value(), named.ID)
	}
	d.meet(d.found.NamedCall)
	if d.claim.Effect.Link {
		d.parent = named
	}
	switch {
	case d.parent != nil && !anonymousChild(d.claim):
		return d.byKey(d.found.NamedCall)
	case d.found.Repeated != nil && Adds(d.claim, d.policy):
		return d.again()
	case d.claim.Effect.Link:
		return d.create(d.found.NamedCall)
	}
	return d.update(named, d.found.NamedCall)
}

// named is the conversion that the claim names, or the decision that there is no
// one such.
func (d *decider) named() (*conversion.Conversion, Decision) {
	name, found := d.claim.Names, d.found.Named
	if len(found) == 0 || slices.Contains(found, nil) {
		return nil, d.reject(conversion.ConversionNotFound, name.Column, name.Value(), "%s %s", missing(name), cureForMissing(name))
	}
	for _, c := range found[1:] {
		switch {
		case c.ID == found[0].ID:
		case c.ReferenceID == name.Reference && found[0].ReferenceID == name.Reference:
			return nil, d.reject(conversion.CluesConflict, name.Column, name.Value(), "Conversions %d and %d both have %s %q, so it can't be told which one is meant. Send the conversion itself again, with what changes, instead of naming it.", c.ID, found[0].ID, d.policy.labels().Reference, name.Reference)
		default:
			return nil, d.reject(conversion.CluesConflict, name.Column, name.Value(), "The row names two conversions, %d and %d. Name one of them.", found[0].ID, c.ID)
		}
	}
	return found[0], Decision{}
}

// cureForMissing says what to do about a name of no conversion.
func cureForMissing(name conversion.Name) string {
	if name.ID != 0 {
		return fmt.Sprintf("Correct %s; results files have the ids.", name.Column)
	}
	return fmt.Sprintf("Send that one first, or correct %s.", name.Column)
}

// missing says that there is no conversion of a name.
func missing(name conversion.Name) string {
	var where string
	if name.EventType != "" {
		where = " of event type " + name.EventType
	}
	if name.Campaign != "" {
		where += " in campaign " + name.Campaign
	}
	switch {
	case name.ID != 0 && name.Reference != "":
		return fmt.Sprintf("No conversion%s has the id %d and reference_id %q.", where, name.ID, name.Reference)
	case name.ID != 0:
		return fmt.Sprintf("No conversion%s has the id %d.", where, name.ID)
	case name.Reference != "":
		return fmt.Sprintf("No conversion%s has reference_id %q.", where, name.Reference)
	}
	return fmt.Sprintf("No conversion%s belongs to the row's call.", where)
}

// update changes a conversion: it replaces or adds what the claim gives and
// leaves what it doesn't.
func (d *decider) update(prior *conversion.Conversion, call *conversion.Call) Decision {
	claim, effect := d.claim, d.claim.Effect
	if prior.Status == conversion.StatusReversed {
		return d.reversed(prior)
	}
	label := d.policy.labels()
	for _, amount := range []struct {
		column      string
		held, given conversion.Amount
		adds        bool
	}{
		{label.Sale, prior.Sale, claim.Sale, effect.AddSale},
		{label.Received, prior.Received, claim.Received, effect.AddReceived},
		{label.Payout, prior.Payout, claim.Payout, effect.AddPayout},
	} {
		if differs(amount.held, amount.given) {
			return d.wrongCurrency(amount.given.Currency, prior, amount.held.Currency)
		}
		if _, ok := amount.held.Plus(amount.given); amount.adds && !ok {
			return d.tooMuch(amount.column, amount.given, prior, amount.held)
		}
	}
	after := *prior
	var said []string // what the row changes
	for _, item := range effect.Items {
		if differs(prior.Sale, item.Amount) {
			return d.wrongCurrency(item.Amount.Currency, prior, prior.Sale.Currency)
		}
	}
	if len(effect.Items) > 0 {
		if unknown := changeItems(&after, effect.Items); unknown != "" {
			return d.reject(conversion.ItemsIncomplete, "", "", "%s", unknown)
		}
		said = give("sale", &after.Sale, prior.Sale, after.Sale)
	}
	if reverses(prior, &after, effect) {
		reverse(&after)
		said = []string{fmt.Sprintf("reversed, sale %s → %s", prior.Sale, after.Sale)}
	}
	replaceDetails(&after.Details, claim)
	if d.parent != nil { // who may have been made anew since
		after.Parent = conversion.FormatID(d.parent.ID)
	}
	if after.Status != conversion.StatusReversed {
		said = append(said, give("sale", &after.Sale, prior.Sale, sum(prior.Sale, claim.Sale, effect.AddSale))...)
		said = append(said, give("received", &after.Received, prior.Received, sum(prior.Received, claim.Received, effect.AddReceived))...)
	}
	if claim.Received.Given {
		after.ReceivedBy = conversion.ByRow
	}
	if after.Sale != prior.Sale && after.ItemAmounts == prior.ItemAmounts {
		after.ItemAmounts = "" // what each item makes up of it is not known any more
	}
	if own := claim.ReferenceID; claim.Names.Reference != "" && own != "" && own != after.ReferenceID {
		d.note = fmt.Sprintf("Its own %s %q was not kept: the conversion goes on being found under %q.", d.policy.labels().Reference, own, after.ReferenceID)
	}
	after.Status = cmp.Or(claim.Status, after.Status)
	paid := d.follow(prior, &after, call)
	same := after
	same.PayoutBy, same.ReceivedBy = prior.PayoutBy, prior.ReceivedBy
	if same == *prior { // that a row says what the rules say anyway is no news
		return d.leave(conversion.Unchanged, prior, "")
	}
	decision := d.apply(conversion.Updated, prior, &after, updateTrace(prior, &after, said, paid))
	if before, now := prior.Home(d.policy.Account.ID), after.Home(d.policy.Account.ID); before != now {
		decision.NewKey = now
	}
	return decision
}

func differs(held, given conversion.Amount) bool {
	return held.Given && given.Given && held.Currency != given.Currency
}

// reversed decides about a conversion that was reversed: it can only be reversed
// again, which changes nothing.
func (d *decider) reversed(prior *conversion.Conversion) Decision {
	if d.claim.Effect.Reverse {
		return d.leave(conversion.Unchanged, prior, "The conversion is reversed already.")
	}
	return d.reject(conversion.ConversionReversed, d.claim.Names.Column, d.claim.Names.Value(),
		"Conversion %d was reversed, and what is reversed can't be changed any more. Report the sale anew, under an id of its own.", prior.ID)
}

// reverses reports whether a row makes an end of a conversion: what was worth
// something is worth nothing.
func reverses(prior, after *conversion.Conversion, effect conversion.Effect) bool {
	return prior.Sale.Minor != 0 && (effect.Reverse || len(effect.Items) > 0 && after.Sale.Minor == 0)
}

// reverse makes a conversion worth nothing.
func reverse(c *conversion.Conversion) {
	for _, amount := range []*conversion.Amount{&c.Sale, &c.Received, &c.Payout} {
		amount.Minor = 0
	}
	c.Status, c.PayoutBy, c.ReceivedBy = conversion.StatusReversed, "", ""
}

// sum is what a given amount makes of one that is held: it replaces, or is added.
func sum(held, given conversion.Amount, adds bool) conversion.Amount {
	if adds && held.Given && given.Given {
		given, _ = held.Plus(given) // update has seen to it that this is an amount
	}
	return given
}

// give puts an amount in the place of the one that is held, and says so. What is
// not given, or no news, leaves it alone.
func give(name string, into *conversion.Amount, held, now conversion.Amount) []string {
	if !now.Given || now == held {
		return nil
	}
	*into = now
	return []string{fmt.Sprintf("%s %s → %s", name, nothing(held), now)}
}

// follow has received and payout follow what has changed, and says how.
func (d *decider) follow(prior, after *conversion.Conversion, call *conversion.Call) (said []string) {
	claim, effect := d.claim, d.claim.Effect
	if after.Status == conversion.StatusReversed {
		return nil
	}
	if effect.ReceivedOfSale {
		after.ReceivedBy = ""
	}
	if after.Sale != prior.Sale && !claim.Received.Given && after.ReceivedBy == "" {
		received, rule := earned(after, call, d.policy.Account.Received)
		if received.Given && !differs(after.Received, received) && after.Received != received {
			after.Received = received
			said = append(said, "received "+rule)
		}
	}
	changed := after.Sale != prior.Sale || after.Received != prior.Received || judged(&after.Details) != judged(&prior.Details)
	switch {
	case effect.Repay && d.paysPercent(after, call):
		after.PayoutBy = ""
		return append(said, d.repay(prior, after, call)...)
	case claim.Payout.Given:
		after.PayoutBy = conversion.ByRow
		after.Payout = sum(prior.Payout, claim.Payout, effect.AddPayout)
		return append(said, payoutTrace(prior.Payout, claim.Payout, after.Payout, effect.AddPayout)...)
	case effect.KeepPayout || prior.PayoutBy == conversion.ByRow || !changed:
		return said
	}
	return append(said, d.repay(prior, after, call)...)
}

// judged are the details that payout rules look at.
func judged(of *conversion.Details) conversion.Details {
	return conversion.Details{EventType: of.EventType, ReasonCode: of.ReasonCode, SKUs: of.SKUs, Campaign: of.Campaign, Publisher: of.Publisher, Value: of.Value}
}

// paysPercent reports whether the payout rule that fits a conversion pays a share.
func (d *decider) paysPercent(c *conversion.Conversion, call *conversion.Call) bool {
	rule, fits := fitting(c, call, d.policy.Account.Payouts)
	return fits && rule.HasPercent
}

// repay computes the payout of a changed conversion and says how it came about. A
// payout keeps the currency it began with.
func (d *decider) repay(prior, after *conversion.Conversion, call *conversion.Call) []string {
	paid, rule := payout(after, call, d.policy.Account)
	switch held := prior.Payout; {
	case held.Given && !paid.Given:
		paid = conversion.Cents(0, held.Currency)
	case held.Given && paid.Currency != held.Currency:
		return []string{fmt.Sprintf("payout kept: %s %s can't take the place of %s %s", paid, paid.Currency, held, held.Currency)}
	}
	if after.Payout = paid; paid == prior.Payout {
		return nil
	}
	return []string{rule}
}

// payoutTrace says how a row's payout became the conversion's.
func payoutTrace(held, given, now conversion.Amount, adds bool) []string {
	switch {
	case adds && held.Given:
		return []string{fmt.Sprintf("payout: %s + %s = %s", held, given, now)}
	case held != now:
		return []string{fmt.Sprintf("payout %s → %s", nothing(held), now)}
	}
	return nil
}

// updateTrace says what an update changed, and then how the money came about.
func updateTrace(prior, after *conversion.Conversion, said, paid []string) string {
	if after.Status != prior.Status && after.Status != conversion.StatusReversed {
		said = append(said, fmt.Sprintf("status %s → %s", cmp.Or(prior.Status, "none"), after.Status))
	}
	for _, c := range after.Since(prior.Details) {
		switch c.Name {
		case "customer": // people's names and addresses stay out of traces
			said = append(said, "customer data")
		case "note":
			said = append(said, "note")
		case "payout_by", "received_by", "item_amounts": // the amounts say it
		default:
			said = append(said, fmt.Sprintf("%s %s → %s", c.Name, cmp.Or(c.Before, "none"), cmp.Or(c.After, "none")))
		}
	}
	if len(said) > 0 {
		paid = append([]string{strings.Join(said, ", ")}, paid...)
	}
	return "update: " + strings.Join(paid, "; ")
}

// replaceDetails puts the details that a claim gives in place of those held.
// Quantities and amounts belong to their SKUs and go with them.
func replaceDetails(details *conversion.Details, claim *conversion.Claim) {
	given := claim.Details
	if claim.Names.Reference != "" && details.ReferenceID != "" {
		given.ReferenceID = "" // it goes on being found under its own
	}
	if given.SKUs != "" && given.SKUs != details.SKUs {
		details.Quantities, details.ItemAmounts = "", ""
	}
	given.Customer = mergeCustomer(details.Customer, given.Customer)
	given.Note = strings.TrimPrefix(details.Note+"\n"+claim.Effect.Note, "\n")
	if claim.Effect.Note == "" {
		given.Note = ""
	}
	held := details.Parts()
	for i, part := range given.Parts() {
		if *part.Value != "" {
			*held[i].Value = *part.Value
		}
	}
}

// mergeCustomer puts what a claim says of a customer over what is held, field by
// field: a blank leaves a field alone. Both are JSON objects of texts, or "".
func mergeCustomer(held, given string) string {
	if held == "" || given == "" {
		return given
	}
	merged := map[string]string{}
	for _, text := range []string{held, given} {
		if json.Unmarshal([]byte(text), &merged) != nil {
			return given
		}
	}
	text, _ := json.Marshal(merged) // a map of strings always marshals
	return string(text)
}

// Returns says if a change sets an amount back to what it was before another file
// changed it: an older file that was sent late looks like this.
func Returns(change *conversion.Change, earlier []*conversion.Change) string {
	for _, amount := range []struct {
		name string
		of   func(conversion.Standing) conversion.Amount
	}{
		{"sale", func(s conversion.Standing) conversion.Amount { return s.Sale }},
		{"payout", func(s conversion.Standing) conversion.Amount { return s.Payout }},
	} {
		before, now := amount.of(change.Before), amount.of(change.After)
		follows := amount.name == "payout" && change.Before.Sale != change.After.Sale
		if !now.Given || before == now || follows || change.Verdict != conversion.Updated {
			continue
		}
		for _, e := range earlier {
			was, became := amount.of(e.Before), amount.of(e.After)
			sameFile := conversion.UploadOf(e.ID) == conversion.UploadOf(change.ID)
			if !sameFile && e.Verdict == conversion.Updated && e.Undoes == 0 && was == now && was != became {
				return fmt.Sprintf("This sets the %s back to %s, which upload %d had changed to %s.", amount.name, now, conversion.UploadOf(e.ID), became)
			}
		}
	}
	return ""
}
