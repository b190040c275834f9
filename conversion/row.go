package conversion

import "cmp"

// Row is one line of a file as it was sent.
type Row struct {
	Line  int // physical line; the file's first is 1
	Cells []string
}

// Claim is what a row says: which call, and what happened on it. Ids and words
// are trimmed; blank means not given. An order of several rows makes one claim.
type Claim struct {
	Line int
	// Others are the further lines of an order.
	Others []int

	// Clues to the call.
	CallIDs        CallIDs
	Start          When
	Caller, Called Phone
	Duration       int // seconds; meaningful if HasDuration
	HasDuration    bool
	// Event is when the event took place, which is not before the call; EventNow
	// says that it takes place when the row comes.
	Event    When
	EventNow bool

	// A web conversion has no call.
	Web bool
	// Names is the conversion that the row is about, if it names one.
	Names Name

	Standing // the amounts and the status that it gives
	Details  // the details that it gives
	Effect   Effect
	// CallCost is what the row says that its call cost.
	CallCost Amount
}

// Labels are what a file calls what its rows say: its columns' names, as messages
// show them; EventID is "" if its kind of file has no column for that.
type Labels struct{ Start, Caller, Event, Reference, EventID, Currency, Sale, Received, Payout string }

// Each calls f for every label.
func (l *Labels) Each(f func(label *string)) {
	for _, label := range []*string{&l.Start, &l.Caller, &l.Event, &l.Reference, &l.EventID, &l.Currency, &l.Sale, &l.Received, &l.Payout} {
		f(label)
	}
}

// OurLabels are our own names, as in the invoca dialect where it has one.
var OurLabels = Labels{"start_time", "calling_phone_number", "event_time", "reference_id", "event_id", "sale_currency", "sale_amount", "received", "payout"}

// LastLine is the last line that the claim was made from.
func (c *Claim) LastLine() int {
	if n := len(c.Others); n > 0 {
		return c.Others[n-1]
	}
	return c.Line
}

// Name is how a row names the conversion that it is about. What is given must
// fit one and the same.
type Name struct {
	// Column is the column that names it, for messages; "" if the row names none.
	Column string
	ID     int64 // a conversion's own id
	// Reference is the reference id of a conversion; EventType narrows it down.
	Reference, EventType string
	// Newest has the newest be meant where several have the reference id; otherwise
	// that is a contradiction.
	Newest bool
	// Campaign is where it must belong to; "" for anywhere.
	Campaign string
	// ByCall means the newest conversion of the row's call.
	ByCall bool
}

// Value is the id by which the row names the conversion; "" if that is its call's.
func (n Name) Value() string { return cmp.Or(FormatID(n.ID), n.Reference) }

// Given reports whether the row names a conversion.
func (n Name) Given() bool { return n.Column != "" }

// Effect is how what a row gives is applied to what is held. The zero Effect
// replaces, and has the account's rules decide what a changed sale pays.
type Effect struct {
	// These add the amount instead of replacing it.
	AddSale, AddReceived, AddPayout bool
	// CostOnly says that the row tells what its call cost, and nothing of any
	// conversion.
	CostOnly bool
	// Link adds a conversion to the one that is named instead of changing it.
	Link bool
	// ReceivedOfSale has the rules decide what a changed sale receives, even if a row
	// had set that.
	ReceivedOfSale bool
	// KeepPayout leaves the payout as it is when the sale changes; Repay has the
	// rules decide it, even if a row had set it.
	KeepPayout, Repay bool
	// Reverse makes an end of the conversion: it is worth nothing any more.
	Reverse bool
	// On is the day that a change counts from; "" leaves it to the account.
	On EffectiveOn
	// Custom is that day (yyyymmdd), if it is OnCustom.
	Custom int
	// Note is appended to the conversion's.
	Note string
	// Items changes single items of what was sold.
	Items []ItemChange
}

// ItemChange changes an item of what was sold: what it costs (if given) and how many
// there are (0 leaves it alone).
type ItemChange struct {
	SKU      string
	Amount   Amount
	Quantity int
}

// Adds reports whether applying the same claim twice is more than applying it
// once.
func (e Effect) Adds() bool {
	return e.AddSale || e.AddReceived || e.AddPayout || e.Note != ""
}

// EffectiveOn says which day a change counts from.
type EffectiveOn string

// The days a change may count from.
const (
	OnToday      EffectiveOn = "today"
	OnConversion EffectiveOn = "conversion_date"
	OnCustom     EffectiveOn = "custom"
)
