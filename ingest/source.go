// Package ingest turns what people send into rows, and rows into claims and
// calls: encodings, delimiters, dialects, dates, amounts and phone numbers.
// Its sub-packages are the places files come from.
package ingest

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"calltally/conversion"
)

// Opener opens a file's bytes from their beginning. It may be called again.
type Opener func() (io.ReadCloser, error)

// Source is a place files come from.
type Source interface {
	// Name is the source's name in the configuration.
	Name() string
	// Deliveries looks once for files and yields those that are complete, oldest
	// first. An error is yielded in place of a file that could not be had; the
	// sequence may go on after it.
	Deliveries(ctx context.Context) iter.Seq2[*Delivery, error]
}

// Waker is a source that can tell when looking is worth while before the next
// poll is due. It only hints: polling decides.
type Waker interface {
	// Wake blocks until something may have arrived or ctx ends.
	Wake(ctx context.Context) error
}

// Settler is a source that may have seen files which are not known to be complete
// yet, and will be if they stay as they are.
type Settler interface {
	// Settling returns how long to wait before looking again; 0 if there is nothing
	// to wait for.
	Settling() time.Duration
}

// Finisher is a source that has something left to do once all that one look has yielded is
// acknowledged.
type Finisher interface {
	Finish(ctx context.Context) error
}

// Small files are carried on together, because making sure that something is on the disk
// takes longer than reading them.
const (
	SmallFile = 64 << 10 // bytes, at most
	Together  = 100      // how many, at most
)

// Delivery is one file as it arrived, not yet ours.
type Delivery struct {
	Source string
	// Origin names the place and the moment; the same delivery seen twice has
	// the same origin.
	Origin  string
	Name    string
	Account string // the account's id; "" if the source can't tell
	Takes   conversion.Takes
	Dialect string // the source's setting; "" means the account's
	// Again has every row decided, even if the same bytes were applied before.
	Again bool
	// Refusal is set if the source itself can't take the file: too large, or a
	// mail without an attachment.
	Refusal *conversion.Refusal
	// Mail is set if a mail carried the file.
	Mail *Mail
	// Bundle names what the file came in together with others, whose reports are told
	// together; "" for alone. Closes says that it is the last of them.
	Bundle string
	Closes bool
	// AtHand says that the file is a SmallFile on this machine, so that nothing waits while
	// several such are read. It is acknowledged with others, after more were yielded.
	AtHand bool
	// Known says that no other bytes ever come under this origin: once an upload has it, they
	// are not read again.
	Known bool
	Open  Opener
	// Ack tells the source that the file is durably ours and how it fared. It
	// may be called again after a crash.
	Ack func(ctx context.Context, d Disposition) error
}

// Mail is what a file's mail says of itself.
type Mail struct {
	From       string   // the one address in From, in lower case
	Recipients []string // every address the mail was sent to, in lower case
	Subject    string
	MessageID  string // without angle brackets
	References []string
	// Unread are the names of attachments that are not read.
	Unread []string
	// TrustRecipient is set if knowing the upload address is proof enough.
	TrustRecipient bool
	// Doubt is why nobody vouches for the sender, as the end of a sentence; "" if somebody
	// does.
	Doubt string
	// Automatic is set if a program or a list sent the mail: it is read, but
	// never answered.
	Automatic bool
}

// Shelf is a source that keeps finished reports beside the files it gave.
type Shelf interface {
	// PutReport stores a report file under a name of its own; name is the plain
	// file name, write streams the content. Storing it again replaces it.
	PutReport(ctx context.Context, name string, write func(io.Writer) error) error
}

// ErrNoShelf says that a source keeps no reports after all: nothing may be written there.
var ErrNoShelf = errors.New("nothing may be written beside these files")

// Disposition is where a delivery goes once it is ours.
type Disposition int

// The dispositions.
const (
	Accepted Disposition = iota + 1
	Refused
)
