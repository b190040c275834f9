package conversion

import (
	"fmt"
	"strings"
)

// Code names what is wrong with a row or a file. Codes are stable: people's
// scripts rely on them.
type Code string

// Codes of rejected (and waiting) rows.
const (
	CallNotFound        Code = "call_not_found"
	CallAmbiguous       Code = "call_ambiguous"
	CallTooOld          Code = "call_too_old"
	CallInFuture        Code = "call_in_future"
	CluesConflict       Code = "clues_conflict"
	ConversionNotFound  Code = "conversion_not_found"
	ConversionReversed  Code = "conversion_reversed"
	StartTimeMissing    Code = "start_time_missing"
	StartTimeInvalid    Code = "start_time_invalid"
	StartTimeInDSTGap   Code = "start_time_in_dst_gap"
	TimeZoneUnknown     Code = "time_zone_unknown"
	PhoneInvalid        Code = "phone_invalid"
	PhoneDamagedByExcel Code = "phone_damaged_by_excel"
	IDDamagedByExcel    Code = "id_damaged_by_excel"
	AmountInvalid       Code = "amount_invalid"
	AmountAmbiguous     Code = "amount_ambiguous"
	CurrencyInvalid     Code = "currency_invalid"
	CurrencyMismatch    Code = "currency_mismatch"
	QuantityInvalid     Code = "quantity_invalid"
	ListLengthsDiffer   Code = "list_lengths_differ"
	EventTypeUnknown    Code = "event_type_unknown"
	StatusUnknown       Code = "status_unknown"
	OptionMissing       Code = "option_missing"
	OptionInvalid       Code = "option_invalid"
	EventIDMissing      Code = "event_id_missing"
	ItemsIncomplete     Code = "items_incomplete"
	PeriodLocked        Code = "period_locked"
	UndoConflict        Code = "undo_conflict"
	RowMalformed        Code = "row_malformed"
	CellTooLong         Code = "cell_too_long"
	NotReached          Code = "not_reached"
)

// Codes of refused files.
const (
	NotATable              Code = "not_a_table"
	HeaderMissing          Code = "header_missing"
	HeaderDuplicated       Code = "header_duplicated"
	RequiredColumnMissing  Code = "required_column_missing"
	EncodingUnknown        Code = "encoding_unknown"
	TooLarge               Code = "too_large"
	TooManyRows            Code = "too_many_rows"
	TooManyColumns         Code = "too_many_columns"
	ArchiveUnsafe          Code = "archive_unsafe"
	Encrypted              Code = "encrypted"
	DateOrderUndecided     Code = "date_order_undecided"
	TimeZoneMissing        Code = "time_zone_missing"
	AccountUnknown         Code = "account_unknown"
	SenderNotAllowed       Code = "sender_not_allowed"
	SenderNotAuthenticated Code = "sender_not_authenticated"
	NoAttachment           Code = "no_attachment"
	Empty                  Code = "empty"
)

// Codes of what uploads are held for; one that is not authenticated is held, too.
const (
	AmountsOverLimit  Code = "amounts_over_limit"
	AttemptsExhausted Code = "attempts_exhausted"
)

// Discarded is the code of an upload that was held and that somebody has refused.
const Discarded Code = "discarded"

// Fault is one thing wrong with a row, told to the sender: which cell, what it
// held, and a sentence that says the cure.
type Fault struct {
	Code          Code
	Column, Value string
	Sentence      string
}

// Rejection is everything wrong with a row, the first fault first.
type Rejection struct {
	Line   int
	Faults []Fault
}

// Add notes a fault.
func (r *Rejection) Add(code Code, column, value, format string, args ...any) {
	r.Faults = append(r.Faults, Fault{code, column, value, fmt.Sprintf(format, args...)})
}

func (r *Rejection) Error() string { return fmt.Sprintf("line %d: %s", r.Line, r.sentences()) }

func (r *Rejection) sentences() string {
	sentences := make([]string, len(r.Faults))
	for i, fault := range r.Faults {
		sentences[i] = fault.Sentence
	}
	return strings.Join(sentences, " ")
}

// Outcome is the rejected row's outcome: the first fault's code and every
// fault's sentence.
func (r *Rejection) Outcome() Outcome {
	first := r.Faults[0]
	return Outcome{
		Line: r.Line, Verdict: Rejected, Code: first.Code, Message: r.sentences(),
		Column: first.Column, Value: first.Value,
	}
}

// Refusal is why a whole file was not taken, told to the sender.
type Refusal struct {
	Code     Code
	Sentence string
}

// Refuse returns a refusal.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// Hold is why an upload waits for somebody's decision.
type Hold struct {
	Code     Code
	Sentence string
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Sentence }
