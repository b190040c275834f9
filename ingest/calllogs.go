package ingest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"calltally/conversion"
)

// calltallyCalls is the call log for those whose provider has no dialect of its
// own.
var calltallyCalls = &Dialect{
	Name:     "calltally",
	Takes:    conversion.TakesCalls,
	Required: []Requirement{{"the call's id (call_id)", []string{"call_id"}}, {"when the call started (start_time)", []string{"start_time"}}},
	Columns: []Column{
		{"call_id", nil, KindID, "The call provider's id of the call."},
		{"start_time", []string{"call_start_time"}, KindTime, "When the call started."},
		{"time_zone", nil, KindZone, "The zone of this row's times, if they carry no offset."},
		{"duration_in_seconds", []string{"duration"}, KindDuration, "The call's length."},
		{"calling_phone_number", nil, KindPhone, "The caller."},
		{"called_phone_number", nil, KindPhone, "The number dialled."},
		{"campaign_id", nil, KindID, "The campaign whose number was dialled."},
		{"publisher_id", nil, KindID, "The publisher who sent the caller."},
		{"click_id", nil, KindID, "The click that led to the call."},
		{"transaction_id", nil, KindID, "The id of the log's entry."},
		{"external_id", nil, KindID, "The id of the call in another system."},
		{"status", nil, KindText, "What the provider says of the call."},
		{"cost", nil, KindAmount, "What the call cost."},
	},
	call: func(p *rowParser) (conversion.Call, bool) {
		c := p.logged(p.callStart("start_time", nil), logColumns{id: "call_id", caller: "calling_phone_number", called: "called_phone_number", duration: "duration_in_seconds", campaign: "campaign_id", publisher: "publisher_id", status: "status"})
		return c, true
	},
}

// invocaTransactions is Invoca's Transactions log.
var invocaTransactions = &Dialect{
	Name:  "invoca-transactions",
	Takes: conversion.TakesCalls,
	Required: []Requirement{
		{"the call's id (complete_call_id or transaction_id)", []string{"complete_call_id", "transaction_id"}},
		{"when the call started (start_time_utc)", []string{"start_time_utc", "start_time_network_timezone", "start_time_xml", "start_time_local"}},
	},
	Columns: []Column{
		{"complete_call_id", nil, KindID, "Invoca's call record id."},
		{"transaction_id", nil, KindID, "Invoca's id of this entry."},
		{"corrects_transaction_id", nil, KindID, "The entry that this one replaces."},
		{"transaction_type", nil, KindText, "Call for calls; other entries are skipped."},
		{"start_time_utc", nil, KindTime, "When the call started, in milliseconds since 1970."},
		{"start_time_network_timezone", nil, KindTime, "The same, on the network's clock."},
		{"start_time_xml", nil, KindTime, "The same, in ISO 8601."},
		{"start_time_local", nil, KindTime, "The same, on the caller's clock."},
		{"duration", nil, KindDuration, "The call's length in seconds."},
		{"calling_phone_number", nil, KindPhone, "The caller, as 866-555-1234."},
		{"called_phone_number", []string{"promo_number"}, KindPhone, "The number dialled."},
		{"advertiser_campaign_id", nil, KindID, "The campaign."},
		{"affiliate_id", nil, KindID, "The publisher."},
		{"call_result_description_detail", []string{"call_status"}, KindText, "What came of the call."},
	},
	call: (*rowParser).transaction,
}

func (p *rowParser) transaction() (conversion.Call, bool) {
	if kind := p.text("transaction_type"); kind != "" && !strings.EqualFold(kind, "call") {
		return conversion.Call{}, false
	}
	column, _ := p.first("start_time_utc", "start_time_network_timezone", "start_time_xml", "start_time_local")
	reader := p.table.times
	switch column {
	case "start_time_utc", "start_time_xml":
		reader.Zone = time.UTC
	case "start_time_local": // on the clock of a caller who may be anywhere
		reader.Zone = nil
	}
	start := p.callStart(column, &reader)
	id, _ := p.first("complete_call_id", "transaction_id")
	c := p.logged(start, logColumns{id: id, caller: "calling_phone_number", called: "called_phone_number", duration: "duration", campaign: "advertiser_campaign_id", publisher: "affiliate_id", status: "call_result_description_detail"})
	c.Corrects = p.id("corrects_transaction_id")
	return c, true
}

// ringba is Ringba's call log export.
var ringba = &Dialect{
	Name:     "ringba",
	Takes:    conversion.TakesCalls,
	Required: []Requirement{{"the call's id (Inbound Call ID)", []string{"Inbound Call ID"}}, {"when the call started (Call Date)", []string{"Call Date"}}},
	Columns: []Column{
		{"Inbound Call ID", []string{"Inbound Call Id"}, KindID, "Ringba's id of the call."},
		{"Call Date", []string{"Call Dt"}, KindTime, "When the call started, on the account's clock."},
		{"Campaign", nil, KindText, "The campaign."},
		{"Publisher", nil, KindText, "The publisher."},
		{"Target", nil, KindText, "Not read."},
		{"Caller ID", nil, KindPhone, "The caller."},
		{"Number", []string{"Dialed Number"}, KindPhone, "The number dialled."},
		{"Duration", []string{"Call Length", "Call Length In Seconds"}, KindDuration, "The call's length."},
		{"Revenue", nil, KindText, "Not read."},
		{"Payout", nil, KindText, "Not read: the ledger's payouts come from conversions."},
		{"Converted", nil, KindText, "Kept as the call's status: converted or not converted."},
	},
	call: func(p *rowParser) (conversion.Call, bool) {
		c := p.logged(p.callStart("Call Date", nil), logColumns{id: "Inbound Call ID", caller: "Caller ID", called: "Number", duration: "Duration", campaign: "Campaign", publisher: "Publisher"})
		c.Status = p.converted("Converted")
		return c, true
	},
}

// callrail is CallRail's call log export, which has neither ids nor a zone.
var callrail = &Dialect{
	Name:  "callrail",
	Takes: conversion.TakesCalls,
	Required: []Requirement{
		{"when the call started (Start Time)", []string{"Start Time"}},
		{"the number dialled (Tracking Number)", []string{"Tracking Number"}},
		{"the caller (Phone Number)", []string{"Phone Number"}},
	},
	Columns: []Column{
		{"Start Time", nil, KindTime, "When the call started, on the account's clock."},
		{"Tracking Number", nil, KindPhone, "The number dialled."},
		{"Phone Number", []string{"Customer Phone Number"}, KindPhone, "The caller."},
		{"Duration (seconds)", []string{"Duration"}, KindDuration, "The call's length."},
		{"Source", []string{"Source Name"}, KindText, "The publisher."},
		{"Campaign", nil, KindText, "The campaign."},
		{"Call Status", nil, KindText, "What came of the call."},
		{"Company Name", nil, KindText, "Not read, unless it is mapped to account."},
	},
	call: func(p *rowParser) (conversion.Call, bool) {
		c := p.logged(p.callStart("Start Time", nil), logColumns{caller: "Phone Number", called: "Tracking Number", duration: "Duration (seconds)", campaign: "Campaign", publisher: "Source", status: "Call Status"})
		// The log has no ids; who called whom when is the same in every export.
		// Of callers who hid their number several may call within a minute.
		who := fmt.Sprint(int64(c.Caller))
		if c.Caller == 0 {
			who = fmt.Sprint("hidden, for ", c.Duration)
		}
		digest := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", c.Start, who, c.Called))
		c.CallID = fmt.Sprintf("callrail-%x", digest[:8])
		return c, true
	},
}

// retreaver is Retreaver's call log.
var retreaver = &Dialect{
	Name:     "retreaver",
	Takes:    conversion.TakesCalls,
	Required: []Requirement{{"the call's id (uuid)", []string{"uuid"}}, {"when the call started (start_time)", []string{"start_time"}}},
	Columns: []Column{
		{"uuid", nil, KindID, "Retreaver's id of the call."},
		{"start_time", nil, KindTime, "When the call started."},
		{"caller", nil, KindPhone, "The caller."},
		{"dialed_number", nil, KindPhone, "The number dialled."},
		{"total_duration", nil, KindDuration, "The call's length."},
		{"cid", nil, KindID, "The campaign."},
		{"afid", nil, KindID, "The publisher."},
		{"converted", nil, KindText, "Kept as the call's status: converted or not converted."},
	},
	call: func(p *rowParser) (conversion.Call, bool) {
		c := p.logged(p.callStart("start_time", nil), logColumns{id: "uuid", caller: "caller", called: "dialed_number", duration: "total_duration", campaign: "cid", publisher: "afid"})
		c.Status = p.converted("converted")
		return c, true
	},
}

// twilio is Twilio's call log: its CSV, or the JSON lines of a bulk export.
var twilio = &Dialect{
	Name:     "twilio",
	Takes:    conversion.TakesCalls,
	Required: []Requirement{{"the call's id (sid)", []string{"sid"}}, {"when the call started (start_time)", []string{"start_time", "date_created"}}},
	Columns: []Column{
		{"sid", []string{"Call SID", "CallSid"}, KindID, "Twilio's id of the call."},
		{"parent_call_sid", []string{"Parent Call SID"}, KindID, "Set for legs of a call, which are skipped."},
		{"start_time", []string{"Start Time"}, KindTime, "When the call started."},
		{"date_created", []string{"Date Created"}, KindTime, "The same, if start_time is blank."},
		{"duration", nil, KindDuration, "The call's length in seconds."},
		{"from", nil, KindPhone, "The caller."},
		{"to", nil, KindPhone, "The number dialled."},
		{"status", nil, KindText, "What came of the call."},
		{"direction", nil, KindText, "Not read."},
		{"account_sid", nil, KindID, "Not read, unless it is mapped to account."},
	},
	call: func(p *rowParser) (conversion.Call, bool) {
		if p.id("parent_call_sid") != "" {
			return conversion.Call{}, false
		}
		column, _ := p.first("start_time", "date_created")
		reader := p.table.times
		reader.Zone = time.UTC
		start := p.callStart(column, &reader)
		return p.logged(start, logColumns{id: "sid", caller: "from", called: "to", duration: "duration", status: "status"}), true
	},
}

// converted reads a log's word on whether a call converted. What is neither yes nor no
// is kept as it is.
func (p *rowParser) converted(column string) string {
	text := p.text(column)
	switch converted, known := flagOf(text); {
	case text == "" || !known:
		return text
	case converted:
		return "converted"
	}
	return "not converted"
}
