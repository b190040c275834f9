package conversion

// Row is one line of a file as it was sent.
type Row struct {
	Line  int // physical line; the file's first is 1
	Cells []string
}

// Claim is what a row says: which call, and what happened on it. Ids and words
// are trimmed; blank means not given.
type Claim struct {
	Line int

	// Clues to the call.
	Start          When
	Caller, Called Phone
	Duration       int // seconds; meaningful if HasDuration
	HasDuration    bool

	// A web conversion has no call.
	Web bool
	// ReferenceID is the sender's own id; ParentReferenceID names the
	// conversion that the row is about.
	ReferenceID, ParentReferenceID string

	EventType           string
	ReasonCode          string
	SKUs, Quantities    string // comma-separated, aligned
	Sale                Amount
	Campaign, Publisher string
	// Customer is what the row says of the customer, as a JSON object; "" for
	// nothing.
	Customer string
}
