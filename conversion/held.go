package conversion

import "errors"

// HeldQuery asks for what the ledger holds for some rows of an account.
type HeldQuery struct {
	Account      string
	Keys         []Key
	References   []string
	Parents      []string // reference ids of conversions that rows are about
	Fingerprints []Fingerprint
}

// Held is what the ledger holds of the conversions that some rows may touch.
// Deciding those rows one after another keeps it up to date.
type Held struct {
	// Calls are the calls of the conversions that the query names as parents.
	Calls map[int64]*Call
	// Earlier returns the changes of a conversion that are in the ledger.
	Earlier func(c *Conversion) ([]*Change, error)

	conversions map[int64]*Conversion // as they are now
	byKey       map[Key]int64         // the newest under each key
	byReference map[string][]int64    // those that have or had a reference id
	applied     map[Fingerprint]int64
}

// NewHeld returns a Held that holds nothing yet.
func NewHeld(earlier func(c *Conversion) ([]*Change, error)) *Held {
	return &Held{
		Calls: map[int64]*Call{}, Earlier: earlier,
		conversions: map[int64]*Conversion{}, byKey: map[Key]int64{}, byReference: map[string][]int64{}, applied: map[Fingerprint]int64{},
	}
}

// Put notes a conversion as it is now: held, created or changed.
func (h *Held) Put(c *Conversion) {
	known := h.conversions[c.ID]
	h.conversions[c.ID] = c
	if latest, ok := h.byKey[c.Key]; !ok || c.Nth >= h.conversions[latest].Nth {
		h.byKey[c.Key] = c.ID
	}
	if c.ReferenceID != "" && (known == nil || known.ReferenceID != c.ReferenceID) {
		h.byReference[c.ReferenceID] = append(h.byReference[c.ReferenceID], c.ID)
	}
}

// PutApplied notes that an earlier file had a row, and what came of it.
func (h *Held) PutApplied(row Fingerprint, c *Conversion) {
	h.Put(c)
	h.applied[row] = c.ID
}

// Latest is the newest conversion under a key; nil for none.
func (h *Held) Latest(key Key) *Conversion { return h.conversions[h.byKey[key]] }

// Referenced is the newest conversion with a reference id; nil for none.
func (h *Held) Referenced(id string) *Conversion {
	var newest *Conversion
	for _, candidate := range h.byReference[id] {
		if c := h.conversions[candidate]; c.ReferenceID == id && (newest == nil || c.ID > newest.ID) {
			newest = c
		}
	}
	return newest
}

// Applied is what a row of an earlier file became; nil if none had it.
func (h *Held) Applied(row Fingerprint) *Conversion { return h.conversions[h.applied[row]] }

// Settlement is what a chunk of an upload's rows came to. It is saved whole or
// not at all.
type Settlement struct {
	Upload int64
	// From is the state that the upload must still be in, and After the cursor
	// and Waiting the rows without a call it must still have; Cursor is where it
	// stands then.
	From           UploadState
	After, Waiting int
	Cursor         int
	Outcomes       []Outcome // by line
	Conversions    []*Conversion
	Changes        []*Change
	Fingerprints   map[Fingerprint]int64 // → the change it was applied by
	Tally          Tally
	// Done is set if all of the upload's rows are decided, News if its sender is
	// to be told.
	Done, News bool
	At         Millis
	Diagnosis  string
}

// ErrTaken says that an upload has moved on since it was looked at: another
// process decides it.
var ErrTaken = errors.New("another process decides this upload")
