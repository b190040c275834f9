package ingest

import (
	"strings"

	"calltally/conversion"
)

// invoca are the columns of Invoca's Conversion Reporting, by mail and API.
var invoca = &Dialect{
	Name:  "invoca",
	Takes: conversion.TakesConversions,
	Required: []Requirement{{"when the call started (start_time or start_time_t; or parent_reference_id or web_conversion)",
		[]string{"start_time", "start_time_t", "parent_reference_id", "web_conversion", "call_record_id", "external_call_unique_id", "click_id", "event_time"}}},
	Columns: []Column{
		{"start_time_t", nil, KindTime, "When the call started, in seconds since 1970. Wins over start_time."},
		{"start_time", []string{"call_start_time"}, KindTime, "When the call started."},
		{"time_zone", nil, KindZone, "The zone of this row's times, if they carry no offset."},
		{"calling_phone_number", nil, KindPhone, "The caller."},
		{"called_phone_number", nil, KindPhone, "The number dialled."},
		{"duration_in_seconds", nil, KindDuration, "The call's length; ranks calls that are equally near."},
		{"reference_id", []string{"call_center_call_id"}, KindID, "The sender's own id of the conversion."},
		{"parent_reference_id", nil, KindID, "The reference_id of an earlier conversion, which this row updates."},
		{"web_conversion", nil, KindFlag, "1 for a conversion without a call."},
		{"advertiser_campaign_id", []string{"advertiser_campaign_id_from_network"}, KindID, "The campaign of a web conversion."},
		{"affiliate_id_from_network", nil, KindID, "The publisher of a web conversion."},
		{"event_type", nil, KindText, "The kind of conversion, one of the account's event types."},
		{"reason_code", nil, KindText, "What came of the call; payout rules may ask for it."},
		{"sku_list", nil, KindList, "What was sold."},
		{"quantity_list", nil, KindList, "How many of each, in the order of sku_list."},
		{"sale_amount", nil, KindAmount, "What was paid, without shipping."},
		{"sale_currency", []string{"currency"}, KindCurrency, "The currency of sale_amount, if not the account's."},
		{"email_address", nil, KindText, "Customer data."},
		{"name", nil, KindText, "Customer data."},
		{"address1", nil, KindText, "Customer data."},
		{"address2", nil, KindText, "Customer data."},
		{"order_city", nil, KindText, "Customer data."},
		{"state_or_province", nil, KindText, "Customer data."},
		{"country", nil, KindText, "Customer data."},
		{"zip_code", nil, KindText, "Customer data."},
		{"home_phone_number", nil, KindText, "Customer data."},
		{"cell_phone_number", nil, KindText, "Customer data."},
		{"opt_in_sms", nil, KindText, "Customer data."},
	},
	claim: (*rowParser).invoca,
}

var invocaCustomer = []string{"email_address", "name", "address1", "address2", "order_city", "state_or_province", "country", "zip_code", "home_phone_number", "cell_phone_number", "opt_in_sms"}

func (p *rowParser) invoca() conversion.Claim {
	web, said := p.flag("web_conversion")
	c := conversion.Claim{Web: web}
	if parent := p.id("parent_reference_id"); parent != "" {
		c.Names = conversion.Name{Column: "parent_reference_id", Reference: parent}
		c.Effect.Link = p.account.LinkChildren
	}
	c.Start = p.start(said && !web && !c.Names.Given() && !p.callNamed(), "start_time_t", "start_time")
	c.ReferenceID = p.id("reference_id")
	c.Caller, c.Called = p.phone("calling_phone_number"), p.phone("called_phone_number")
	c.EventType = p.eventType("event_type")
	c.ReasonCode = p.text("reason_code")
	c.Campaign, c.Publisher = p.id("advertiser_campaign_id"), p.id("affiliate_id_from_network")
	c.Customer = p.kept(invocaCustomer)
	c.Duration, c.HasDuration = p.lengthGiven("duration_in_seconds")
	c.SKUs, c.Quantities = p.items()
	c.Sale = p.amount("sale_amount", p.currency("sale_currency"))
	if c.Web && !c.Names.Given() {
		p.requireForWeb(c)
	}
	return c
}

// requireForWeb notes what a web conversion lacks.
func (p *rowParser) requireForWeb(c conversion.Claim) {
	var missing []string
	for _, need := range []struct{ column, value string }{
		{"reference_id", c.ReferenceID},
		{"advertiser_campaign_id", c.Campaign},
		{"affiliate_id_from_network", c.Publisher},
	} {
		if need.value == "" {
			missing = append(missing, need.column)
		}
	}
	if len(missing) > 0 {
		p.fault(conversion.OptionMissing, missing[0], "", "A web conversion has no call to tell it by, so it needs %s as well. Fill it in.", strings.Join(missing, " and "))
	}
}

// invocaSignal are the columns of Invoca's Signal API and Signal File Upload.
var invocaSignal = &Dialect{
	Name:  "invoca-signal",
	Takes: conversion.TakesConversions,
	Required: []Requirement{
		{"the signal's name (name)", []string{"name"}},
		{"the call (transaction_id, call_record_id, external_call_unique_id or call_start_time)", []string{"transaction_id", "call_record_id", "external_call_unique_id", "call_start_time"}},
	},
	Columns: []Column{
		{"transaction_id", nil, KindID, "Invoca's id of the call's transaction; the helpers are then not looked at."},
		{"call_record_id", nil, KindID, "Invoca's id of the call."},
		{"external_call_unique_id", nil, KindID, "The id of the call in another system."},
		{"call_start_time", nil, KindTime, "When the call started."},
		{"time_zone", nil, KindZone, "The zone of this row's times, if they carry no offset."},
		{"calling_phone_number", nil, KindPhone, "The caller; a helper."},
		{"duration_in_seconds", nil, KindDuration, "The call's length; a helper."},
		{"advertiser_id_from_network", nil, KindID, "Kept with the conversion."},
		{"advertiser_campaign_id_from_network", nil, KindID, "The campaign."},
		{"network_id", nil, KindID, "Kept with the conversion."},
		{"name", nil, KindText, "What happened: the event type, whatever its case."},
		{"partner_unique_id", nil, KindID, "The sender's id of the event."},
		{"occurred_at_time", nil, KindEvent, "When it happened; if blank, when the file came."},
		{"revenue", nil, KindAmount, "What was paid."},
		{"currency", nil, KindCurrency, "The currency of revenue, if not the account's."},
		{"value", nil, KindFlag, "Whether it happened; a signal that says no pays nothing."},
	},
	Key:     []conversion.KeyPart{conversion.KeyEventType, conversion.KeyEventID},
	KeyNoID: []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType},
	labels: func(l *conversion.Labels) {
		l.Start, l.Event, l.EventID, l.Sale, l.Currency = "call_start_time", "occurred_at_time", "partner_unique_id", "revenue", "currency"
	},
	Custom: true,
	claim:  (*rowParser).signal,
}

func (p *rowParser) signal() conversion.Claim {
	var c conversion.Claim
	c.CallIDs[conversion.CallTransaction] = p.id("transaction_id")
	c.CallIDs[conversion.CallRecord] = p.id("call_record_id")
	c.CallIDs[conversion.CallExternal] = p.id("external_call_unique_id")
	c.Start = p.start(!c.CallIDs.Given(), "call_start_time")
	if c.CallIDs[conversion.CallTransaction] == "" {
		c.Caller = p.phone("calling_phone_number")
		c.Duration, c.HasDuration = p.lengthGiven("duration_in_seconds")
	}
	if c.EventType = p.eventTypeFolded("name"); c.EventType == "" && !p.faulted("name") {
		p.fault(conversion.EventTypeUnknown, "name", "", "The signal has no name: %s is blank. Fill in what happened.", p.label("name"))
	}
	c.EventID = p.id("partner_unique_id")
	c.Event = p.event("occurred_at_time")
	c.EventNow = p.text("occurred_at_time") == ""
	c.Sale = p.amount("revenue", p.currency("currency"))
	if p.text("value") != "" {
		if set, ok := p.flag("value"); ok {
			c.Value = map[bool]string{true: "true", false: "false"}[set]
		}
	}
	c.Campaign = p.id("advertiser_campaign_id_from_network")
	c.Customer = p.kept([]string{"advertiser_id_from_network", "network_id"})
	return c
}
