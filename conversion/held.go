package conversion

import (
	"cmp"
	"errors"
	"iter"
	"maps"
	"slices"
)

// HeldQuery asks for what the ledger holds for some rows of an account.
type HeldQuery struct {
	Account      string
	Keys         []Key
	References   []string
	Fingerprints []Fingerprint
	// Undoes asks for what that upload did by the lines from First to Last.
	Undoes int64
	// Costs are the calls (our ids) whose cost rows tell.
	Costs []int64
	// Names are the conversions that rows name; Calls are the calls (our ids) whose
	// newest conversion rows mean.
	Names []Name
	Calls []int64
	// TheirCalls asks for the calls of the conversions that are found.
	TheirCalls bool
	// Upload, if set, asks what other uploads of its bytes have applied of the
	// lines from First to Last; those of NoCopies don't count.
	Upload      int64
	First, Last int
	NoCopies    []int64
	// AsOf, if set, has the ledger be as that upload found it, without what was
	// undone since; By, the one that is being decided, sees what it did itself.
	AsOf, By int64
	// Conversions are asked for by their own ids.
	Conversions []int64
}

// Sees reports whether what an upload did is to be seen.
func (q *HeldQuery) Sees(upload int64) bool {
	return q.AsOf == 0 || upload < q.AsOf || upload == q.By
}

// counts says which changes of a conversion are to be seen: where the upload of AsOf
// has changed it, those that it found; rows that waited are not done in the order in
// which their files came.
func (q *HeldQuery) counts(ledger []*Change) func(*Change) bool {
	undone := Undone(ledger)
	own := slices.IndexFunc(ledger, func(c *Change) bool { return UploadOf(c.ID) == q.AsOf })
	return func(change *Change) bool {
		upload := UploadOf(change.ID)
		switch {
		case change.Undoes != 0 || undone[change.ID]:
			return false
		case own >= 0 && upload != q.By:
			return change.Seq < own
		}
		return q.Sees(upload)
	}
}

// AppliedLine is what another upload of the same bytes made of a line.
type AppliedLine struct {
	Upload int64
	Outcome
}

// Held is what the ledger holds of the conversions that some rows may touch.
// Deciding those rows one after another keeps it up to date.
type Held struct {
	// Calls are the calls of the conversions that rows name.
	Calls map[int64]*Call
	// Copies are the lines that other uploads of the same bytes have applied.
	Copies map[int]AppliedLine
	Ledger Ledger
	// Successors are the conversions that a replay has made in place of named ones.
	Successors map[int64]int64
	// Done are the changes, and Costs what was said of calls' costs and still stands,
	// that the query asks to undo, by line; Ledgers are all changes of the conversions
	// concerned, oldest first.
	Done    map[int]*Change
	Costs   map[int]CallCost
	Ledgers map[int64][]*Change
	// CostsSaid are the ids of all that was said of the costs of those calls and stands.
	CostsSaid map[int64][]int64

	conversions map[int64]*Conversion // as they are now
	byKey       map[Key]int64         // the newest under each key
	siblings    map[Key][]int64       // all that were ever under a key that several were under
	byReference map[string][]int64    // those that have or had a reference id
	byCall      map[int64][]int64
	applied     map[Fingerprint]int64
	takenBack   map[Fingerprint]int64 // the changes that rows were applied by, and are no more
	astray      map[int64]bool        // those that are stored under another key than they are held
}

// Ledger answers what is asked of few rows only.
type Ledger interface {
	// Earlier returns the newest changes of a conversion by other files.
	Earlier(c *Conversion) ([]*Change, error)
	// Newest returns the newest conversion under a key but for the given one; nil
	// for none.
	Newest(key Key, but int64) (*Conversion, error)
	// All returns all changes of a conversion, oldest first.
	All(conversion int64) ([]*Change, error)
	// AppliedAgain returns the change by which a row was applied again, and still is,
	// after what a change had applied of it was taken back; nil for none.
	AppliedAgain(change int64) (*Change, error)
}

// NewHeld returns a Held that holds nothing yet, and will hold about so many
// conversions.
func NewHeld(ledger Ledger, about int) *Held {
	return &Held{
		Calls: map[int64]*Call{}, Copies: map[int]AppliedLine{}, Ledger: ledger, Successors: map[int64]int64{},
		Done: map[int]*Change{}, Costs: map[int]CallCost{}, Ledgers: map[int64][]*Change{}, CostsSaid: map[int64][]int64{},
		conversions: make(map[int64]*Conversion, about), byKey: make(map[Key]int64, about), siblings: map[Key][]int64{},
		byReference: make(map[string][]int64, about), byCall: make(map[int64][]int64, about), applied: map[Fingerprint]int64{}, takenBack: map[Fingerprint]int64{},
	}
}

// Put notes a conversion as it is now: held, created or changed.
func (h *Held) Put(c *Conversion) {
	known := h.conversions[c.ID]
	h.conversions[c.ID] = c
	if known != nil && known.Key != c.Key {
		h.rekeyed(known.Key)
	}
	latest, held := h.byKey[c.Key]
	if held && latest != c.ID {
		h.siblings[c.Key] = append(h.siblings[c.Key], latest, c.ID)
	}
	if !held || c.Nth >= h.conversions[latest].Nth {
		h.byKey[c.Key] = c.ID
	}
	if c.ReferenceID != "" && (known == nil || known.ReferenceID != c.ReferenceID) {
		h.byReference[c.ReferenceID] = append(h.byReference[c.ReferenceID], c.ID)
	}
	if c.Call != 0 && known == nil {
		h.byCall[c.Call] = append(h.byCall[c.Call], c.ID)
	}
}

// Rewind has the conversions be as a query wants them, by all their changes.
func (h *Held) Rewind(query HeldQuery) {
	found := h.conversions
	h.conversions, h.byKey, h.siblings, h.byReference, h.byCall, h.astray = map[int64]*Conversion{}, map[Key]int64{}, map[Key][]int64{}, map[string][]int64{}, map[int64][]int64{}, map[int64]bool{}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		c := found[id]
		made := c.Made(query.Account, h.Ledgers[id], query.counts(h.Ledgers[id]))
		if made == nil {
			continue
		}
		h.astray[id] = made.Key != c.Key
		h.Put(made)
	}
}

// Astray reports whether a conversion is stored under another key than the one that
// it is held under, so that its place there may be another's.
func (h *Held) Astray(c *Conversion) bool {
	stored, known := h.astray[c.ID]
	return h.astray != nil && (stored || !known)
}

// rekeyed finds the newest conversion under a key that one has lost.
func (h *Held) rekeyed(key Key) {
	delete(h.byKey, key)
	for _, id := range h.siblings[key] {
		c := h.conversions[id]
		if latest, ok := h.byKey[key]; c.Key == key && (!ok || c.Nth >= h.conversions[latest].Nth) {
			h.byKey[key] = id
		}
	}
}

// Rekey gives a conversion, whose key parts have changed, the next place under
// its new key.
func (h *Held) Rekey(c *Conversion, key Key) error {
	newest, err := h.Ledger.Newest(key, c.ID)
	if err != nil {
		return err
	}
	c.Key, c.Nth = key, 0
	for _, other := range []*Conversion{newest, h.Latest(key)} {
		if other != nil && other.ID != c.ID {
			c.Nth = max(c.Nth, other.Nth+1)
		}
	}
	if h.astray != nil {
		h.astray[c.ID] = false
	}
	return nil
}

// PutApplied notes that an earlier file had a row, and what came of it.
func (h *Held) PutApplied(row Fingerprint, c *Conversion) {
	h.Put(c)
	h.applied[row] = c.ID
}

// PutTakenBack notes that an earlier file had a row, and what came of it was undone.
func (h *Held) PutTakenBack(row Fingerprint, change int64) { h.takenBack[row] = change }

// TakenBack is the change by which a row was applied until that was undone; 0 for none.
func (h *Held) TakenBack(row Fingerprint) int64 { return h.takenBack[row] }

// Conversion is one that is held; nil if it isn't.
func (h *Held) Conversion(id int64) *Conversion { return h.conversions[id] }

// Found are all conversions that are held, in no order.
func (h *Held) Found() iter.Seq[*Conversion] { return maps.Values(h.conversions) }

// Latest is the newest conversion under a key; nil for none.
func (h *Held) Latest(key Key) *Conversion { return h.conversions[h.byKey[key]] }

// Newest is the newest conversion under a key that was not asked for.
func (h *Held) Newest(key Key) (*Conversion, error) {
	if c := h.Latest(key); c != nil || h.astray != nil { // as of then it was touched or is unknown
		return c, nil
	}
	c, err := h.Ledger.Newest(key, 0)
	if c != nil {
		h.Put(c)
	}
	return c, err
}

// Referenced is the newest conversion with a reference id; nil for none.
func (h *Held) Referenced(id string) *Conversion {
	return h.newest(h.byReference[id], func(c *Conversion) bool { return c.ReferenceID == id })
}

// newest is the newest of some conversions that stands and fits; nil for none.
func (h *Held) newest(ids []int64, fits func(*Conversion) bool) *Conversion {
	var newest *Conversion
	for _, id := range ids {
		if c := h.conversions[id]; c.Status != StatusUndone && fits(c) && (newest == nil || c.ID > newest.ID) {
			newest = c
		}
	}
	return newest
}

// Named finds the conversions that a name may mean: one for each way it is
// given, and the newest two where several have its reference id and none of them is
// meant more than the others; call is our id of the row's call. A way that leads to
// none gives nil.
func (h *Held) Named(name Name, call int64) []*Conversion {
	fits := func(c *Conversion) bool {
		return (name.EventType == "" || c.EventType == name.EventType) && (name.Campaign == "" || c.Campaign == "" || c.Campaign == name.Campaign)
	}
	var found []*Conversion
	id := cmp.Or(h.Successors[name.ID], name.ID)
	if id != 0 {
		ids := []int64{id}
		if h.conversions[id] == nil {
			ids = nil
		}
		found = append(found, h.newest(ids, fits))
	}
	if name.Reference != "" {
		has := func(c *Conversion) bool { return c.ReferenceID == name.Reference && fits(c) }
		newest := h.newest(h.byReference[name.Reference], has)
		if by := h.conversions[id]; by != nil && by.Status != StatusUndone && has(by) {
			newest = by // its own id says which
		}
		found = append(found, newest)
		if next := h.newest(h.byReference[name.Reference], func(c *Conversion) bool { return has(c) && c != newest }); next != nil && name.ID == 0 && !name.Newest {
			found = append(found, next)
		}
	}
	if name.ByCall {
		found = append(found, h.newest(h.byCall[call], fits))
	}
	return found
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
	Rekeyed        []int64 // conversions that leave the key they are held under
	Changes        []*Change
	Costs          []CallCost
	Fingerprints   map[Fingerprint]int64 // → the change it was applied by
	Reapplied      map[int64]int64       // a change that was undone → the one by which its row was applied again
	Tally          Tally
	// Done is set if all of the upload's rows are decided, News if its sender is
	// to be told.
	Done, News bool
	At         Millis
	Diagnosis  string
}

// ErrNotFound says that there is nothing of that number.
var ErrNotFound = errors.New("not found")

// ErrTaken says that an upload has moved on since it was looked at: another
// process decides it.
var ErrTaken = errors.New("another process decides this upload")
