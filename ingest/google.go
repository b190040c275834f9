package ingest

import "calltally/conversion"

// googleCalls are the columns of Google Ads' uploads of conversions from calls,
// whose first line is Parameters:TimeZone=….
var googleCalls = &Dialect{
	Name:  "google-calls",
	Takes: conversion.TakesConversions,
	Required: []Requirement{
		{"the caller (Caller's Phone Number)", []string{"Caller's Phone Number"}},
		{"when the call started (Call Start Time)", []string{"Call Start Time"}},
		{"what happened (Conversion Name)", []string{"Conversion Name"}},
	},
	Columns: []Column{
		{"Caller's Phone Number", nil, KindPhone, "The caller."},
		{"Call Start Time", nil, KindTime, "When the call started."},
		{"Conversion Name", nil, KindText, "What happened: the event type."},
		{"Conversion Time", nil, KindEvent, "When it happened."},
		{"Conversion Value", nil, KindAmount, "What was paid."},
		{"Conversion Currency", nil, KindCurrency, "Its currency, if not the account's."},
		{"Ad User Data", nil, KindText, "Kept with the conversion."},
		{"Ad Personalization", nil, KindText, "Kept with the conversion."},
	},
	labels: func(l *conversion.Labels) {
		l.Start, l.Caller, l.Event, l.Sale, l.Currency = "Call Start Time", "Caller's Phone Number", "Conversion Time", "Conversion Value", "Conversion Currency"
	},
	claim: (*rowParser).google,
}

func (p *rowParser) google() conversion.Claim {
	c := conversion.Claim{Start: p.start(true, "Call Start Time"), Caller: p.phone("Caller's Phone Number"), Event: p.event("Conversion Time")}
	if c.EventType = p.eventType("Conversion Name"); c.EventType == "" && !p.faulted("Conversion Name") {
		p.fault(conversion.EventTypeUnknown, "Conversion Name", "", "The row doesn't say what happened: %s is blank. Fill it in.", p.label("Conversion Name"))
	}
	c.Sale = p.amount("Conversion Value", p.currency("Conversion Currency"))
	c.Customer = p.kept([]string{"Ad User Data", "Ad Personalization"})
	return c
}
