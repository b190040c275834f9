package conversion

import (
	"cmp"
	"slices"
)

// Change is one entry of the append-only ledger: what a row did to a
// conversion.
type Change struct {
	// ID is made of the upload and line that caused it (see MakeID).
	ID         int64
	Conversion int64
	Seq        int     // counts the conversion's changes, from 0 for its creation
	Verdict    Verdict // Created, Updated, Incremented or Repeated
	At         Millis  // when it was decided
	// Effective is the day it counts from, as yyyymmdd in the account's zone.
	Effective     int
	Before, After Standing
	// Details lists what else changed.
	Details []DetailChange
	Rule    string
	// Undoes is the change that this one takes back; 0 for none.
	Undoes int64
}

// Undone reports which of a conversion's changes were taken back. A change that
// takes back another's taking back restores it.
func Undone(ledger []*Change) map[int64]bool {
	undone := map[int64]bool{}
	for _, change := range slices.Backward(ledger) {
		if change.Undoes != 0 && !undone[change.ID] {
			undone[change.Undoes] = true
		}
	}
	return undone
}

// apply does to a conversion what a change of it did; a sum that was added is
// added, whatever the conversion comes to by now.
func (c *Conversion) apply(change *Change, added bool) {
	if change.Before.Status != change.After.Status {
		c.Status = change.After.Status
	}
	for _, amount := range []struct {
		into          *Amount
		before, after Amount
	}{
		{&c.Sale, change.Before.Sale, change.After.Sale},
		{&c.Received, change.Before.Received, change.After.Received},
		{&c.Payout, change.Before.Payout, change.After.Payout},
	} {
		switch {
		case amount.before == amount.after:
		case added:
			*amount.into = Cents(amount.into.Minor+amount.after.Minor-amount.before.Minor, cmp.Or(amount.after.Currency, amount.before.Currency))
		default:
			*amount.into = amount.after
		}
	}
	for _, d := range change.Details {
		if part := c.Part(d.Name); part != nil {
			*part = d.After
		}
	}
}

// TakeBack restores what a change of a conversion has changed; of a sum that was
// added before others, which stay, only that sum is taken off.
func (c *Conversion) TakeBack(change *Change, added bool) {
	if change.Seq == 0 {
		c.Standing = Standing{Status: StatusUndone}
		return
	}
	back := change.reversed()
	if added {
		back.Details = slices.DeleteFunc(back.Details, func(d DetailChange) bool { return d.Name == "payout_by" })
	}
	c.apply(&back, added)
}

// reversed is the change from after to before.
func (c *Change) reversed() Change {
	back := Change{Before: c.After, After: c.Before}
	for _, d := range c.Details {
		back.Details = append(back.Details, DetailChange{d.Name, d.After, d.Before})
	}
	return back
}

// Made is the conversion that only those of its changes make that count: nil if
// the one that created it doesn't. ledger holds all of them, oldest first.
func (c *Conversion) Made(account string, ledger []*Change, counts func(*Change) bool) *Conversion {
	if !counts(ledger[0]) {
		return nil
	}
	made := *c
	for _, change := range slices.Backward(ledger[1:]) {
		back := change.reversed()
		made.apply(&back, false)
	}
	made.Standing = ledger[0].After
	for _, change := range ledger[1:] {
		if counts(change) {
			made.apply(change, change.Verdict == Incremented)
		}
	}
	made.Key = made.Home(account)
	return &made
}
