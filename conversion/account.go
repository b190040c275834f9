package conversion

import (
	"path"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Account is who may upload, and the rules that hold for what they send.
type Account struct {
	ID       string // the Conversion Reporting ID
	Name     string
	Region   string // ISO 3166 country of phone numbers without a country code
	Zone     *time.Location
	Currency Currency
	// DecimalMark is '.' or ',', from the account's locale.
	DecimalMark byte
	DateOrder   DateOrder
	Dialect     string            // a dialect's name, or "auto"
	Columns     map[string]string // the sender's column names → ours
	Addresses   []string          // upload addresses that belong to the account
	Senders     []string          // who may upload by mail: addresses or patterns such as *@acme.example
	ReportTo    []string
	// Amounts below zero are refused unless this is set.
	NegativeAmounts bool
	// ErrorLimit is how many rejected rows end the reading of a file; 0 = none.
	ErrorLimit   int
	WaitForCalls time.Duration // 0 = a row without a call is rejected at once
	Match        MatchRules
	Duplicates   DuplicateRules
	EventTypes   []EventType
	Payouts      []PayoutRule
}

// MatchRules say how near a call must be.
type MatchRules struct {
	// Window is the most that a call's start may lie from the row's when the
	// row names a caller; WindowWithoutCaller when it doesn't.
	Window, WindowWithoutCaller time.Duration
	// Margin is by how much the best call must beat the second.
	Margin time.Duration
	// Lookback is how old a call may be; 0 = any age.
	Lookback time.Duration
}

// Mode is what happens when a conversion is already held under a row's key.
type Mode string

// The duplicate modes.
const (
	ModeUpdate Mode = "update"
	ModeCreate Mode = "create"
	ModeIgnore Mode = "ignore"
)

// Modes lists the duplicate modes.
var Modes = []Mode{ModeUpdate, ModeCreate, ModeIgnore}

// KeyPart is one thing that two rows must share to speak of one conversion.
type KeyPart string

// The parts a key can be made of.
const (
	KeyCall        KeyPart = "call"
	KeyEventType   KeyPart = "event_type"
	KeySKUs        KeyPart = "sku_list"
	KeyReasonCode  KeyPart = "reason_code"
	KeyReferenceID KeyPart = "reference_id"
)

// KeyParts lists the parts a key can be made of.
var KeyParts = []KeyPart{KeyCall, KeyEventType, KeySKUs, KeyReasonCode, KeyReferenceID}

// DefaultKey is Invoca's rule, bound to the call rather than the typed time.
var DefaultKey = []KeyPart{KeyCall, KeyEventType, KeySKUs, KeyReasonCode}

// DuplicateRules say when a row repeats another and what happens then.
type DuplicateRules struct {
	Key  []KeyPart
	Mode Mode
	// ApplyRepeats applies a row again that an earlier file already had, where
	// that adds money (repeat_rows: apply).
	ApplyRepeats bool
}

// Idempotent reports whether deciding the same row twice has the effect of
// deciding it once.
func (d DuplicateRules) Idempotent() bool { return d.Mode != ModeCreate }

// EventType is a kind of conversion with rules of its own. Blank rules are the
// account's.
type EventType struct {
	Name       string
	Duplicates DuplicateRules
}

// PayoutRule pays for a conversion that meets all its conditions; an empty
// condition is always met. Rules are tried in order and the first match pays.
type PayoutRule struct {
	ReasonCodes, EventTypes, SKUs []string
	Campaign, Publisher           string // a name or a pattern such as "acme-*"
	MinSale                       Amount
	MinDuration                   time.Duration // of the call
	Fixed                         Amount        // pays this …
	Percent                       decimal.Decimal
	HasPercent                    bool   // … or this share of the sale,
	Cap                           Amount // but not more than this
}

// RulesFor returns the duplicate rules of an event type; known is false if the
// account has event types and this is none of them.
func (a *Account) RulesFor(eventType string) (rules DuplicateRules, known bool) {
	for _, t := range a.EventTypes {
		if t.Name == eventType {
			return t.Duplicates, true
		}
	}
	return a.Duplicates, eventType == "" || len(a.EventTypes) == 0
}

// AllowsSender reports whether mail from an address may carry uploads.
func (a *Account) AllowsSender(address string) bool {
	for _, pattern := range a.Senders {
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(address)); ok {
			return true
		}
	}
	return false
}

// Day returns the date of a point in time on the account's clocks, as yyyymmdd.
func (a *Account) Day(at Millis) int {
	zone := a.Zone
	if zone == nil {
		zone = time.UTC
	}
	year, month, day := at.Time().In(zone).Date()
	return year*10000 + int(month)*100 + day
}
