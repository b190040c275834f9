package conversion

// Activity is what came from one source for one account in a stretch of time.
type Activity struct {
	Account, Source string
	Files           int
	Refused         int // files that were not taken
	Rows            int
	// Of the rows that need a call, Sought, those that found one.
	Sought, Matched int
	Tally           Tally
}

// Standstill is what of an account waits: rows for their calls, or files for somebody's
// decision.
type Standstill struct {
	Account string
	Count   int
	Oldest  Millis // when the first of the uploads came
}

// Undelivered is a report that could not be sent, or not to somebody.
type Undelivered struct {
	Upload   int64
	Revision int
	Account  string
	Why      string
}

// Paid is what an account's payouts have changed by in a stretch of time.
type Paid struct {
	Account       string
	Paid, Pending Amount
}

// Poll is how a source was last looked at.
type Poll struct {
	Source   string
	At, Good Millis // 0 if it never worked
	Error    string // of the last look; "" if it worked
}

// NeedsCall reports whether an outcome is of a row that was to find a call, and
// whether it did.
func (o *Outcome) NeedsCall() (needs, found bool) {
	switch o.Code {
	case CallNotFound, CallAmbiguous, CallTooOld, CallInFuture, CluesConflict:
		return true, false
	}
	return o.CallID != "", o.CallID != ""
}

// Newer is what an upload that came later than another has changed, and the other would change
// as well.
type Newer struct {
	Upload      int64
	Name        string // of its file
	Conversions int
}
