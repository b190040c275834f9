// Package conversion holds the words of the business: accounts and their rules,
// calls, uploads and rows, the claims that rows make, conversions with their
// changes, outcomes and tallies; and what they are told in: amounts, telephone
// numbers and times. It imports none of our other packages.
package conversion

import (
	"fmt"
	"strconv"
)

// Conversion is a business event that we hold. It changes only through Changes.
type Conversion struct {
	// ID is made of the upload and line that created it (see MakeID).
	ID int64
	// Key tells it from others by the parts in KeyedBy; Nth counts those that share
	// the key, from 0.
	Key     Key
	KeyedBy KeySet
	Nth     int
	// Changes counts the ledger's entries for it; the one that created it is one.
	Changes int
	// Call is our id of its call; 0 for a web conversion.
	Call int64
	// OccurredAt is when the event took place if its row said so, else the call's
	// start, or when a web conversion was reported.
	OccurredAt Millis

	Standing
	Details
}

// Standing is what a conversion comes to: what statements sum up. Each amount
// keeps the currency it began with.
type Standing struct {
	Sale     Amount // what the customer paid
	Received Amount // what it earns whoever runs the campaign (CAKE's received)
	Payout   Amount // what it pays the publisher
	// Status is one of Statuses, StatusUndone, or "" if nobody said.
	Status Status
}

// Status is how far a conversion counts.
type Status string

// The statuses: RedTrack's four, what CAKE's dispositions and impact's reversals
// add to them, and undone for a conversion whose creation was undone.
const (
	StatusApproved Status = "approved"
	StatusPending  Status = "pending"
	StatusDeclined Status = "declined"
	StatusOther    Status = "other"
	StatusRejected Status = "rejected"
	StatusReturned Status = "returned"
	StatusReversed Status = "reversed"
	StatusUndone   Status = "undone"
)

// Pays reports whether a conversion of that status is paid out.
func (s Status) Pays() bool { return s == "" || s == StatusApproved || s == StatusOther }

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

// DayName writes a day given as yyyymmdd: 2026-03-31.
func DayName(day int) string { return fmt.Sprintf("%04d-%02d-%02d", day/10000, day/100%100, day%100) }

// FormatID writes an id for people; "" for none.
func FormatID(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}
