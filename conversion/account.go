package conversion

import (
	"cmp"
	"path"
	"slices"
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
	Sheet       string            // of a workbook, the sheet to read; "" for the first that is shown
	Addresses   []string          // upload addresses that belong to the account
	Senders     []string          // who may upload by mail: addresses or patterns such as *@acme.example
	ReportTo    []string
	// Amounts below zero are refused unless this is set.
	NegativeAmounts bool
	// HoldOver are the amounts over which a file must be approved.
	HoldOver AmountLimits
	// ErrorLimit is how many rejected rows end the reading of a file; 0 = none.
	ErrorLimit   int
	WaitForCalls time.Duration // 0 = a row without a call is rejected at once
	Match        MatchRules
	// Duplicates are what the account sets; what it leaves open is the dialect's
	// and then the usual (see DuplicateRules.Over).
	Duplicates DuplicateRules
	EventTypes []EventType
	Payouts    []PayoutRule // what a conversion pays the publisher
	Received   []PayoutRule // what it earns whoever runs the campaign
	// NoRowPayouts refuses rows that set a payout themselves.
	NoRowPayouts bool
	// DefaultStatus is the status of conversions whose row gives none.
	DefaultStatus Status
	// LockBefore closes all days before it (yyyymmdd); 0 = none is closed.
	LockBefore int
	// LinkChildren has a row with a parent_reference_id add a conversion to that
	// one instead of changing it.
	LinkChildren bool
	// DryRunAddresses are upload addresses whose files change nothing.
	DryRunAddresses []string
	// Options are what a row's blank options mean: by the option's column.
	Options map[string]string
}

// AmountLimits are the most that a column of amounts may say without approval, in one row
// and in all rows of a file; 0 = any. They count in whatever currency an amount is in.
type AmountLimits struct{ Row, File decimal.Decimal }

// MatchRules say how near a call must be.
type MatchRules struct {
	// Window is the most that a call's start may lie from the row's when the
	// row names a caller; WindowWithoutCaller when it doesn't.
	Window, WindowWithoutCaller time.Duration
	// Margin is by how much the best call must beat the second.
	Margin time.Duration
	// Lookback is how old a call may be; 0 = any age.
	Lookback time.Duration
	// ByEventTime lets a row that tells its caller and when the event took place
	// mean that caller's latest call before it.
	ByEventTime bool
}

// Mode is what happens when a conversion is already held under a row's key.
type Mode string

// The duplicate modes.
const (
	ModeUpdate          Mode = "update"
	ModeCreate          Mode = "create"
	ModeCreateMarked    Mode = "create_marked"
	ModeIgnore          Mode = "ignore"
	ModeIncrementPayout Mode = "increment_payout"
	ModeIgnoreSameEvent Mode = "ignore_same_event"
)

// Modes lists the duplicate modes.
var Modes = []Mode{ModeUpdate, ModeCreate, ModeCreateMarked, ModeIgnore, ModeIncrementPayout, ModeIgnoreSameEvent}

// KeyPart is one thing that two rows must share to speak of one conversion.
type KeyPart string

// The parts a key can be made of.
const (
	KeyCall        KeyPart = "call"
	KeyEventType   KeyPart = "event_type"
	KeySKUs        KeyPart = "sku_list"
	KeyReasonCode  KeyPart = "reason_code"
	KeyReferenceID KeyPart = "reference_id"
	KeyEventID     KeyPart = "event_id"
)

// KeyParts lists the parts a key can be made of.
var KeyParts = []KeyPart{KeyCall, KeyEventType, KeySKUs, KeyReasonCode, KeyReferenceID, KeyEventID}

// KeyNames are what the dialects call some of the parts.
var KeyNames = map[string]KeyPart{"order_id": KeyReferenceID, "name": KeyEventType, "partner_unique_id": KeyEventID}

// DefaultKey is Invoca's rule, bound to the call rather than the typed time.
var DefaultKey = []KeyPart{KeyCall, KeyEventType, KeySKUs, KeyReasonCode}

// KeySet is a set of key parts: bit n stands for KeyParts[n].
type KeySet uint16

// SetOf returns the set of some parts.
func SetOf(parts []KeyPart) KeySet {
	var set KeySet
	for _, part := range parts {
		set |= 1 << slices.Index(KeyParts, part)
	}
	return set
}

// Has reports whether a part is in the set.
func (s KeySet) Has(part KeyPart) bool { return s&SetOf([]KeyPart{part}) != 0 }

// Repeats says what happens with a row that an earlier file already had, where
// applying it again would add something.
type Repeats string

// What may happen with repeated rows.
const (
	RepeatsOnce  Repeats = "once" // it was applied then and isn't again
	RepeatsApply Repeats = "apply"
)

// DuplicateRules say when a row repeats another and what happens then. A zero
// field is left open.
type DuplicateRules struct {
	Key     []KeyPart
	Mode    Mode
	Repeats Repeats
}

// Over returns the rules with what they leave open filled in from others.
func (d DuplicateRules) Over(base DuplicateRules) DuplicateRules {
	if len(d.Key) > 0 {
		base.Key = d.Key
	}
	base.Mode, base.Repeats = cmp.Or(d.Mode, base.Mode), cmp.Or(d.Repeats, base.Repeats)
	return base
}

// KeySet is what conversions are told apart by. Where repeats are ignored by
// their event, that is the event too.
func (d DuplicateRules) KeySet() KeySet {
	set := SetOf(d.Key)
	if d.Mode == ModeIgnoreSameEvent {
		set |= SetOf([]KeyPart{KeyEventID})
	}
	return set
}

// Idempotent reports whether deciding the same row twice has the effect of
// deciding it once.
func (d DuplicateRules) Idempotent() bool {
	return d.Mode != ModeCreate && d.Mode != ModeCreateMarked && d.Mode != ModeIncrementPayout
}

// EventType is a kind of conversion with rules of its own.
type EventType struct {
	Name string
	// Codes are what else senders call it, such as impact's ActionTrackerId.
	Codes      []string
	Duplicates DuplicateRules // what they leave open is the source's and the account's
}

// PayoutRule pays for a conversion that meets all its conditions; an empty
// condition is always met. Rules are tried in order and the first match pays.
type PayoutRule struct {
	ReasonCodes, EventTypes, SKUs []string
	// AnyCase compares event types whatever their case: the account lists none, and
	// signals may write them as they like.
	AnyCase             bool
	Campaign, Publisher string // a name or a pattern such as "acme-*"
	MinSale             Amount
	MinDuration         time.Duration // of the call
	Fixed               Amount        // pays this …
	Percent             decimal.Decimal
	HasPercent          bool   // … or this share of the sale,
	OfReceived          bool   // or of what is received,
	Cap                 Amount // but not more than this
}

// EventType finds an event type by its name or one of its codes; nil if the
// account has none such.
func (a *Account) EventType(name string) *EventType {
	for i := range a.EventTypes {
		if t := &a.EventTypes[i]; t.Name == name || slices.Contains(t.Codes, name) {
			return t
		}
	}
	return nil
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
	return DayOf(at.Time().In(zone))
}

// DayOf returns a time's date as yyyymmdd.
func DayOf(at time.Time) int {
	year, month, day := at.Date()
	return year*10000 + int(month)*100 + day
}
