package conversion

// Call is a phone call we know from a call log.
type Call struct {
	// ID is ours; 0 until the call is stored.
	ID int64
	// CallID is the provider's id of the call (the call record), unique in an
	// account. The other ids name the same call elsewhere; blank if unknown.
	CallID, TransactionID, ClickID string
	Start                          Millis
	Duration                       int // seconds
	Caller, Called                 Phone
	Campaign, Publisher            string
	Status                         string

	// Corrected is set if a later log entry has replaced what an earlier one said.
	Corrected bool
	// Corrects names the transaction that this call log entry replaces.
	Corrects string
	// Line is where the call log names the call.
	Line int
}

// SameAs reports whether two entries say the same of a call.
func (c Call) SameAs(other Call) bool {
	c.ID, c.Line, c.Corrects, c.Corrected = other.ID, other.Line, other.Corrects, other.Corrected
	return c == other
}

// CallSearch asks for the calls that started between From and To, both included:
// of one caller, or of any if Caller is 0.
type CallSearch struct {
	Caller   Phone
	From, To Millis
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
