package matcher

import (
	"slices"

	"calltally/conversion"
)

// History is all that was done to a conversion, oldest first, kept so that taking back
// many changes, the newest first, takes no longer for each than for one.
type History struct {
	changes  []*conversion.Change
	byID     map[int64]*conversion.Change
	undone   map[int64]bool
	undoneBy map[int64]*conversion.Change // the last one that took each back
	// tail is a place after which there is nothing but changes there with what takes
	// them back.
	tail  int
	added int // sums that were added, and stand
	// firstBy is what the first sum that was added did to what the payout comes by.
	firstBy *conversion.DetailChange
}

// NewHistory begins with a ledger: all changes of a conversion, oldest first.
func NewHistory(ledger []*conversion.Change) *History {
	h := &History{byID: map[int64]*conversion.Change{}, undone: map[int64]bool{}, undoneBy: map[int64]*conversion.Change{}}
	for _, change := range ledger {
		h.Add(change)
	}
	return h
}

// Add notes the next change.
func (h *History) Add(change *conversion.Change) {
	h.changes = append(h.changes, change)
	h.byID[change.ID] = change
	target := h.byID[change.Undoes]
	switch {
	case target != nil && target.Seq == h.tail:
		h.tail--
	case target != nil && target.Seq == change.Seq-1:
		h.tail = target.Seq - 1
	default:
		h.tail = change.Seq
	}
	if change.Verdict == conversion.Incremented {
		h.added++
		at := slices.IndexFunc(change.Details, func(d conversion.DetailChange) bool { return d.Name == "payout_by" })
		if at >= 0 && h.firstBy == nil {
			h.firstBy = &change.Details[at]
		}
	}
	for gone := true; target != nil; gone, target = !gone, h.byID[target.Undoes] {
		if h.undone[target.ID] == gone {
			continue
		}
		if h.undone[target.ID] = gone; gone {
			h.undoneBy[target.ID] = change
		}
		if target.Verdict == conversion.Incremented && gone {
			h.added--
		} else if target.Verdict == conversion.Incremented {
			h.added++
		}
	}
}

// TakenBackBy is the change that has taken another back; nil if that stands.
func (h *History) TakenBackBy(change *conversion.Change) *conversion.Change {
	if !h.undone[change.ID] {
		return nil
	}
	return h.undoneBy[change.ID]
}

// since lists the changes made after one that still stand. A change and its taking
// back that both came after it cancel each other out.
func (h *History) since(change *conversion.Change) []*conversion.Change {
	if change.Seq == h.tail {
		return nil
	}
	var later []*conversion.Change
	for _, other := range h.changes[change.Seq+1:] {
		target := h.byID[other.Undoes]
		if cancels := target != nil && target.Seq > change.Seq; !h.undone[other.ID] && !cancels {
			later = append(later, other)
		}
	}
	return later
}

// row is the change, done by a row, that a change is about: itself, or what it takes
// back or restores. again says that it does that again.
func (h *History) row(change *conversion.Change) (row *conversion.Change, again bool) {
	takes := false
	for change.Undoes != 0 && h.byID[change.Undoes] != nil {
		change, takes = h.byID[change.Undoes], !takes
	}
	return change, !takes
}

// Restores is the row's own change that taking another back does again; nil if it
// does none again.
func (h *History) Restores(change *conversion.Change) *conversion.Change {
	if row, again := h.row(change); !again {
		return row
	}
	return nil
}

// adds reports whether a change has added a sum, or taken one back that was added.
func (h *History) adds(change *conversion.Change) bool {
	row, _ := h.row(change)
	return row.Verdict == conversion.Incremented
}

// payoutBy is what a conversion's payout comes by after sums were added and taken
// back, the last time by a change that is not noted yet: as the first of them had it,
// while any stands; as it was before, if none does.
func (h *History) payoutBy(c *conversion.Conversion, taken *conversion.Change) string {
	row, again := h.row(taken)
	stands := h.added
	if row.Verdict == conversion.Incremented && again {
		stands--
	} else if row.Verdict == conversion.Incremented {
		stands++
	}
	switch {
	case h.firstBy == nil:
		return c.PayoutBy
	case stands > 0:
		return h.firstBy.After
	}
	return h.firstBy.Before
}
