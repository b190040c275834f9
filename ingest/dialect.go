package ingest

import (
	"slices"
	"strings"

	"calltally/conversion"
)

// Kind is how a column's cells are written.
type Kind string

// The kinds of columns.
const (
	KindTime     Kind = "time"
	KindPhone    Kind = "phone"
	KindAmount   Kind = "amount"
	KindCurrency Kind = "currency"
	KindID       Kind = "id"
	KindNumber   Kind = "whole number"
	KindFlag     Kind = "0 or 1"
	KindList     Kind = "comma-separated list"
	KindZone     Kind = "time zone"
	KindText     Kind = "text"
)

// Column is one column of a dialect.
type Column struct {
	// Name is our name for it; headers match it whatever their case, spaces,
	// hyphens and underscores.
	Name    string
	Aliases []string
	Kind    Kind
	Meaning string
}

// Dialect is a set of column names that people already send.
type Dialect struct {
	Name     string
	Takes    conversion.Takes
	Required []Requirement
	Columns  []Column
}

// Requirement is something that a file must say.
type Requirement struct {
	What string   // "when the call started (start_time)"
	Any  []string // the columns of which it must have at least one
}

// Dialects lists every dialect. Adding one means adding a table here.
var Dialects = []*Dialect{invoca, calltallyCalls, invocaTransactions}

var invoca = &Dialect{
	Name:     "invoca",
	Takes:    conversion.TakesConversions,
	Required: []Requirement{{"when the call started (start_time or start_time_t)", []string{"start_time", "start_time_t", "parent_reference_id", "web_conversion"}}},
	Columns: []Column{
		{"start_time_t", nil, KindTime, "When the call started, in seconds since 1970. Wins over start_time."},
		{"start_time", []string{"call_start_time"}, KindTime, "When the call started."},
		{"time_zone", nil, KindZone, "The zone of this row's times, if they carry no offset."},
		{"calling_phone_number", nil, KindPhone, "The caller."},
		{"called_phone_number", nil, KindPhone, "The number dialled."},
		{"duration_in_seconds", nil, KindNumber, "The call's length; ranks calls that are equally near."},
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
}

var calltallyCalls = &Dialect{
	Name:     "calltally",
	Takes:    conversion.TakesCalls,
	Required: []Requirement{{"the call's id (call_id)", []string{"call_id"}}, {"when the call started (start_time)", []string{"start_time"}}},
	Columns: []Column{
		{"call_id", nil, KindID, "The call provider's id of the call."},
		{"start_time", []string{"call_start_time"}, KindTime, "When the call started."},
		{"time_zone", nil, KindZone, "The zone of this row's times, if they carry no offset."},
		{"duration_in_seconds", []string{"duration"}, KindNumber, "The call's length."},
		{"calling_phone_number", nil, KindPhone, "The caller."},
		{"called_phone_number", nil, KindPhone, "The number dialled."},
		{"campaign_id", nil, KindID, "The campaign whose number was dialled."},
		{"publisher_id", nil, KindID, "The publisher who sent the caller."},
		{"click_id", nil, KindID, "The click that led to the call."},
		{"status", nil, KindText, "What the provider says of the call."},
	},
}

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
		{"duration", nil, KindNumber, "The call's length in seconds."},
		{"calling_phone_number", nil, KindPhone, "The caller, as 866-555-1234."},
		{"called_phone_number", []string{"promo_number"}, KindPhone, "The number dialled."},
		{"advertiser_campaign_id", nil, KindID, "The campaign."},
		{"affiliate_id", nil, KindID, "The publisher."},
		{"call_result_description_detail", []string{"call_status"}, KindText, "What came of the call."},
	},
}

// cells are a row's known cells by the names of their columns. All are strings:
// what they mean is ours to read.
type cells struct {
	StartTimeT         string `csv:"start_time_t"`
	StartTime          string `csv:"start_time"`
	TimeZone           string `csv:"time_zone"`
	Caller             string `csv:"calling_phone_number"`
	Called             string `csv:"called_phone_number"`
	Duration           string `csv:"duration_in_seconds"`
	ReferenceID        string `csv:"reference_id"`
	ParentReferenceID  string `csv:"parent_reference_id"`
	WebConversion      string `csv:"web_conversion"`
	AdvertiserCampaign string `csv:"advertiser_campaign_id"`
	NetworkAffiliate   string `csv:"affiliate_id_from_network"`
	EventType          string `csv:"event_type"`
	ReasonCode         string `csv:"reason_code"`
	SKUs               string `csv:"sku_list"`
	Quantities         string `csv:"quantity_list"`
	SaleAmount         string `csv:"sale_amount"`
	SaleCurrency       string `csv:"sale_currency"`

	Email    string `csv:"email_address"`
	Name     string `csv:"name"`
	Address1 string `csv:"address1"`
	Address2 string `csv:"address2"`
	City     string `csv:"order_city"`
	State    string `csv:"state_or_province"`
	Country  string `csv:"country"`
	Zip      string `csv:"zip_code"`
	Home     string `csv:"home_phone_number"`
	Cell     string `csv:"cell_phone_number"`
	OptIn    string `csv:"opt_in_sms"`

	CallID    string `csv:"call_id"`
	Campaign  string `csv:"campaign_id"`
	Publisher string `csv:"publisher_id"`
	ClickID   string `csv:"click_id"`
	Status    string `csv:"status"`

	CompleteCallID  string `csv:"complete_call_id"`
	TransactionID   string `csv:"transaction_id"`
	Corrects        string `csv:"corrects_transaction_id"`
	TransactionType string `csv:"transaction_type"`
	StartUTC        string `csv:"start_time_utc"`
	StartNetwork    string `csv:"start_time_network_timezone"`
	StartXML        string `csv:"start_time_xml"`
	StartLocal      string `csv:"start_time_local"`
	TotalDuration   string `csv:"duration"`
	Affiliate       string `csv:"affiliate_id"`
	CallResult      string `csv:"call_result_description_detail"`

	// Unread takes all columns that mean nothing to us.
	Unread filled `csv:"unread"`
}

// filled tells whether any of the cells read into it held something.
type filled bool

// UnmarshalCSV notes one cell.
func (f *filled) UnmarshalCSV(cell string) error {
	*f = *f || cell != ""
	return nil
}

// The columns our own reports add. On intake the first set is ignored, and a
// file that has them all is one of our results files.
var (
	fixColumns     = []string{"message"}
	resultsColumns = []string{"result", "code", "message", "call_id", "call_start_time", "conversion_id", "payout_before", "payout_after"}
)

// fold makes header names comparable.
func fold(header string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "", "\u00a0", "").Replace(strings.TrimSpace(unwrap(header))))
}

// column finds the column that a header names.
func (d *Dialect) column(header string) *Column {
	folded := fold(header)
	for i := range d.Columns {
		c := &d.Columns[i]
		if fold(c.Name) == folded || slices.ContainsFunc(c.Aliases, func(a string) bool { return fold(a) == folded }) {
			return c
		}
	}
	return nil
}

// DialectNamed finds a dialect.
func DialectNamed(name string) *Dialect {
	for _, d := range Dialects {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// DialectNames lists the dialects for one kind of file, for messages.
func DialectNames(takes conversion.Takes) []string {
	var names []string
	for _, d := range Dialects {
		if d.Takes == takes {
			names = append(names, d.Name)
		}
	}
	return names
}

// ColumnNamed reports whether any dialect has a column of that name, for
// checking custom mappings.
func ColumnNamed(name string) bool {
	return slices.ContainsFunc(Dialects, func(d *Dialect) bool { return d.has(name) })
}

// has reports whether the dialect has a column of that name of ours.
func (d *Dialect) has(name string) bool {
	return slices.ContainsFunc(d.Columns, func(c Column) bool { return c.Name == name })
}

// unwrap takes off what people put around a cell to keep a spreadsheet from
// changing it: ="0503", and the apostrophe that our own reports put before =,
// +, -, @, tab and CR.
func unwrap(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' {
		cell = cell[1:]
	}
	if inner, ok := strings.CutPrefix(cell, `="`); ok && strings.HasSuffix(inner, `"`) {
		return strings.TrimSuffix(inner, `"`)
	}
	return cell
}
