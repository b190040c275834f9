// Package conversion holds the words of the business: accounts and their rules,
// calls, uploads and rows, the claims that rows make, conversions with their
// changes, outcomes and tallies; and what they are told in: amounts, telephone
// numbers and times. It imports none of our other packages.
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
	// Changes counts the ledger's entries for it; the one that created it is one.
	Changes int
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
	Seq        int     // counts the conversion's changes, from 0 for its creation
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
