package conversion

import "strconv"

// Key says when two rows speak of the same conversion: a digest of the account
// and of the parts its settings name. The zero Key is none.
type Key [16]byte

// Conversion is a business event that we hold. It changes only through Changes.
type Conversion struct {
	// ID is made of the upload and line that created it (see MakeID).
	ID int64
	// Key tells it from others; Nth counts those that share the key, from 0.
	Key Key
	Nth int
	// Call is our id of its call; 0 for a web conversion.
	Call int64
	// OccurredAt is the call's start, or when a web conversion was reported.
	OccurredAt Millis

	// Sale and Payout each keep the currency they began with.
	Sale, Payout Amount
	Details
}

// Details are the parts of a conversion that are not money.
type Details struct {
	ReferenceID, EventType, ReasonCode string
	SKUs, Quantities                   string
	Campaign, Publisher                string
	Customer                           string
}

// Fingerprint is a digest of all that a row says, with its ordinal among the
// identical rows of its file.
type Fingerprint [16]byte

// Held is what the ledger holds of the conversions that some rows may touch.
// Deciding those rows one after another keeps it up to date.
type Held struct {
	// Latest is the newest conversion under each key.
	Latest map[Key]*Conversion
	// ByReference is the newest conversion with each reference id.
	ByReference map[string]*Conversion
	// Applied are the fingerprints that an earlier file has applied, with the
	// conversions that came of them.
	Applied map[Fingerprint]*Conversion
	// Calls are the calls of the conversions that the query names as parents.
	Calls map[int64]*Call
	// Earlier returns the changes of a conversion that are in the ledger.
	Earlier func(c *Conversion) ([]*Change, error)
}

// Put notes a conversion that was created or changed.
func (h *Held) Put(c *Conversion) {
	if latest := h.Latest[c.Key]; latest == nil || c.Nth >= latest.Nth {
		h.Latest[c.Key] = c
	}
	if known := h.ByReference[c.ReferenceID]; c.ReferenceID != "" && (known == nil || c.ID >= known.ID) {
		h.ByReference[c.ReferenceID] = c
	}
}

const linesPerUpload = 10_000_000

// MaxLine is the highest line number a file may have.
const MaxLine = linesPerUpload - 1

// MakeID returns the id of what a line of an upload created or changed. Seven
// decimal digits hold the line: upload 12, line 345 is 120000345. Deciding a
// row again gives the same id, so a repeat after a crash is no second effect.
func MakeID(upload int64, line int) int64 { return upload*linesPerUpload + int64(line) }

// UploadOf and LineOf take an id apart.
func UploadOf(id int64) int64 { return id / linesPerUpload }

// LineOf returns the line that an id was made of.
func LineOf(id int64) int { return int(id % linesPerUpload) }

// Change is one entry of the append-only ledger: what a row did to a
// conversion.
type Change struct {
	// ID is made of the upload and line that caused it (see MakeID).
	ID         int64
	Conversion int64
	Verdict    Verdict // Created, Updated …
	At         Millis  // when it was decided
	// Effective is the day it counts from, as yyyymmdd in the account's zone.
	Effective                 int
	SaleBefore, SaleAfter     Amount
	PayoutBefore, PayoutAfter Amount
	// Details lists what else changed: name, value before, value after.
	Details []DetailChange
	Rule    string
}

// DetailChange is one changed part of a conversion that is not money.
type DetailChange struct{ Name, Before, After string }

// FormatID writes an id for people; "" for none.
func FormatID(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// HeldQuery asks for what the ledger holds for some rows of an account.
type HeldQuery struct {
	Account      string
	Keys         []Key
	References   []string
	Parents      []string // reference ids of conversions that rows are about
	Fingerprints []Fingerprint
}

// Settlement is what a chunk of an upload's rows came to. It is saved whole or
// not at all.
type Settlement struct {
	Upload int64
	// After is the cursor that the upload must still stand at, Cursor where it
	// stands then: lines. A settlement of waiting rows leaves it where it is.
	After, Cursor int
	Outcomes      []Outcome // by line
	Conversions   []*Conversion
	Changes       []*Change
	Fingerprints  map[Fingerprint]int64 // → the change it was applied by
	Tally         Tally
	// Done is set if all of the upload's rows are decided, News if its sender is
	// to be told.
	Done, News bool
	DecidedAt  Millis
	Diagnosis  string
}
