package conversion

// Details are the parts of a conversion that are not money. Parts lists them; a
// part that is added there is stored, compared, undone and proven like the others.
type Details struct {
	// ReferenceID is the sender's own id of the conversion: a reference_id, an
	// order's OrderId, CAKE's transaction_id. EventID is their id of the event.
	ReferenceID, EventID  string
	EventType, ReasonCode string
	// SKUs, Quantities and ItemAmounts are comma-separated and aligned. The
	// amounts are what of the sale each item makes up; "" if not known.
	SKUs, Quantities, ItemAmounts string
	// Disposition says more of the status: CAKE's disposition_id, impact's Reason.
	Disposition string
	// Repeat is RepeatNew or RepeatRepeated under ModeCreateMarked, else "".
	Repeat              string
	Campaign, Publisher string
	// Value is what a signal says of itself: true, false or "".
	Value string
	// PayoutBy is ByRow if a row has set or added to the payout, "" if it is
	// what the account's rules give.
	PayoutBy string
	// ReceivedBy says the same of what is received.
	ReceivedBy string
	// Parent is the id of the conversion that this one was added to, ParentReference the
	// reference id that named it; "" for none.
	Parent, ParentReference string
	// Note grows: what rows append to it, line by line.
	Note string
	// Customer is what rows say of the customer and what else they bring that we
	// keep, as a JSON object of texts.
	Customer string
}

// What Details.Repeat, and Details.PayoutBy and ReceivedBy, say.
const (
	RepeatNew      = "new"
	RepeatRepeated = "repeated"
	ByRow          = "row"
)

// Part is one part of a conversion's details: what it is called everywhere, and
// where it is held.
type Part struct {
	Name  string
	Value *string
}

// Parts lists all details.
func (d *Details) Parts() [18]Part {
	return [...]Part{
		{"reference_id", &d.ReferenceID}, {"event_id", &d.EventID}, {"event_type", &d.EventType}, {"reason_code", &d.ReasonCode},
		{"sku_list", &d.SKUs}, {"quantity_list", &d.Quantities}, {"item_amounts", &d.ItemAmounts}, {"disposition", &d.Disposition},
		{"repeat", &d.Repeat}, {"campaign", &d.Campaign}, {"publisher", &d.Publisher}, {"value", &d.Value}, {"payout_by", &d.PayoutBy}, {"received_by", &d.ReceivedBy},
		{"parent", &d.Parent}, {"parent_reference_id", &d.ParentReference}, {"note", &d.Note}, {"customer", &d.Customer},
	}
}

// Part returns the part of a name; nil if there is none.
func (d *Details) Part(name string) *string {
	for _, part := range d.Parts() {
		if part.Name == name {
			return part.Value
		}
	}
	return nil
}

// DetailChange is one changed part of a conversion that is not money.
type DetailChange struct{ Name, Before, After string }

// Since lists what has changed since the details were others.
func (d Details) Since(before Details) []DetailChange {
	if d == before {
		return nil
	}
	var changes []DetailChange
	old := before.Parts()
	for i, part := range d.Parts() {
		if was := *old[i].Value; was != *part.Value {
			changes = append(changes, DetailChange{part.Name, was, *part.Value})
		}
	}
	return changes
}
