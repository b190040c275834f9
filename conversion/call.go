package conversion

// CallIDKind is one of the ids that a call may be named by.
type CallIDKind int

// The kinds of call ids.
const (
	CallRecord CallIDKind = iota // the provider's id of the call, unique in an account
	CallTransaction
	CallExternal
	CallClick // the click that led to the call; several calls may share one
	callIDKinds
)

// CallIDs are the ids that a row names its call by, or that a call is known by,
// by their kinds; "" where unknown.
type CallIDs [callIDKinds]string

// Given reports whether any id is known.
func (ids CallIDs) Given() bool { return ids != CallIDs{} }

var callIDNames = [...]string{"call id", "transaction id", "external id", "click id"}

func (k CallIDKind) String() string { return callIDNames[k] }

// Call is a phone call we know from a call log.
type Call struct {
	// ID is ours; 0 until the call is stored.
	ID int64
	// CallID is the provider's id of the call (the call record), unique in an
	// account. The other ids name the same call elsewhere; blank if unknown.
	CallID, TransactionID, ExternalID, ClickID string
	Start                                      Millis
	Duration                                   int // seconds
	Caller, Called                             Phone
	Campaign, Publisher                        string
	Status                                     string
	Cost                                       Amount

	// Corrected is set if a later log entry has replaced what an earlier one said.
	Corrected bool
	// Corrects names the transaction that this call log entry replaces.
	Corrects string
	// Line is where the call log names the call.
	Line int
	// Account is whose call it is, if a log of several accounts' calls says so.
	Account string
}

// IDs are the ids that the call is known by.
func (c *Call) IDs() CallIDs {
	return CallIDs{CallRecord: c.CallID, CallTransaction: c.TransactionID, CallExternal: c.ExternalID, CallClick: c.ClickID}
}

// Named reports whether the call is known by the id of a kind.
func (c *Call) Named(kind CallIDKind, id string) bool { return id != "" && c.IDs()[kind] == id }

// SameAs reports whether two entries say the same of a call. A log that doesn't
// tell what a call cost leaves alone what is known of it.
func (c Call) SameAs(other Call) bool {
	c.ID, c.Line, c.Corrects, c.Corrected, c.Account = other.ID, other.Line, other.Corrects, other.Corrected, other.Account
	if !other.Cost.Given {
		other.Cost = c.Cost
	}
	return c == other
}

// CallSearch asks for calls of an account: those with an id, if ID is set;
// otherwise those that started between From and To, both included, of one caller,
// or of any if Caller is 0. Latest asks for the latest of these only, among those
// to Called if that is set; a call whose log doesn't tell the number may be one.
// Nearest asks for the NearestCalls of any caller before the middle of that time, and
// those after it.
type CallSearch struct {
	Kind           CallIDKind
	ID             string
	Caller, Called Phone
	From, To       Millis
	Latest         bool
	Nearest        bool
}

// NearestCalls is how many calls are found on either side of a time where only the
// nearest are asked for.
const NearestCalls = 3

// CallCost is a row's word on what a call cost.
type CallCost struct {
	ID            int64 // of upload and line, like a change's
	Call          int64
	Before, After Amount
	Undoes        int64 // the entry that this one takes back; 0 for none
}

// CallsTally counts what became of a call log.
type CallsTally struct {
	Read, Created, Updated, Unchanged, Rejected int
	// Skipped counts entries that are not calls, such as signals.
	Skipped int
	Faults  []Rejection
}

// Verdicts is the tally as other uploads have it; entries that are no calls count
// as ignored.
func (t CallsTally) Verdicts() Tally {
	tally := Tally{Rows: t.Read}
	tally.Counts[Created], tally.Counts[Updated], tally.Counts[Unchanged] = t.Created, t.Updated, t.Unchanged
	tally.Counts[Ignored], tally.Counts[Rejected] = t.Skipped, t.Rejected
	return tally
}
