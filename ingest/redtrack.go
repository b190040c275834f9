package ingest

import (
	"strings"

	"calltally/conversion"
)

// redtrack are the parameters of RedTrack's conversion and cost update postbacks.
var redtrack = &Dialect{
	Name:     "redtrack",
	Takes:    conversion.TakesConversions,
	Required: []Requirement{{"the click (clickid)", []string{"clickid"}}},
	Columns: []Column{
		{"clickid", nil, KindID, "The click that led to the call."},
		{"type", nil, KindText, "What happened: one of the account's event types, letter by letter."},
		{"status", nil, KindOption, "approved, pending, declined or other; if blank, the account's default_status."},
		{"sum", []string{"payout"}, KindAmount, "What the conversion pays."},
		{"currency", nil, KindCurrency, "The currency of sum and cost, if not the account's."},
		{"rdtk_event_id", []string{"event_id"}, KindID, "The sender's id of the event; repeats can be told by it."},
		{"cost", nil, KindAmount, "What the call cost; it is noted on the call. A row that says nothing else makes no conversion."},
	},
	Key: []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType},
	labels: func(l *conversion.Labels) {
		l.EventID, l.Payout, l.Currency = "rdtk_event_id", "sum", "currency"
	},
	claim: (*rowParser).redtrack,
}

func (p *rowParser) redtrack() conversion.Claim {
	var c conversion.Claim
	click := p.id("clickid")
	if click == "" && !p.faulted("clickid") {
		p.fault(conversion.OptionMissing, "clickid", "", "The row names no click: %s is blank. Fill it in.", p.label("clickid"))
	}
	c.CallIDs[conversion.CallClick] = click
	c.EventType = p.configuredType("type")
	c.Status = p.status("status", conversion.StatusApproved, conversion.StatusPending, conversion.StatusDeclined, conversion.StatusOther)
	currency := p.currency("currency")
	c.Payout = p.payout("sum", currency)
	c.EventID = p.id("rdtk_event_id")
	c.CallCost = p.amount("cost", currency)
	c.Effect.CostOnly = c.CallCost.Given && !c.Payout.Given && c.EventType == "" && c.Status == "" && c.EventID == ""
	return c
}

// configuredType reads an event type that the account must have.
func (p *rowParser) configuredType(column string) string {
	name := p.text(column)
	if name != "" && p.account.EventType(name) == nil {
		p.unknownType(column, name)
		return ""
	}
	return p.eventType(column)
}

// status reads one of some statuses.
func (p *rowParser) status(column string, known ...conversion.Status) conversion.Status {
	text := p.text(column)
	if text == "" {
		return ""
	}
	var names []string
	for _, status := range known {
		if strings.EqualFold(text, string(status)) {
			return status
		}
		names = append(names, string(status))
	}
	p.fault(conversion.StatusUnknown, column, text, "%s is %q, which is none of %s. Correct it or leave it blank.", p.label(column), text, strings.Join(names, ", "))
	return ""
}
