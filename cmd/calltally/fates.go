package main

import (
	"errors"
	"fmt"
	"strings"

	"calltally/conversion"
)

// What becomes of a file, if not all of it is taken. It has been told already.
var (
	errRefused  = errors.New("the file was not taken")
	errHeld     = errors.New("the file is held; “calltally quarantine list” shows what is")
	errRejected = errors.New("some rows were rejected") // and all else was done
)

// fateOf is what became of an upload: nil if every row was taken, or is yet to be decided.
func fateOf(u *conversion.Upload) error {
	switch {
	case u.Refusal != nil:
		return errRefused
	case u.Hold != nil:
		return errHeld
	case u.Tally.Of(conversion.Rejected) > 0:
		return errRejected
	}
	return nil
}

// fates are what became of the files of one command. That one of them is refused, or has rows
// that are rejected, ends none of the others.
type fates struct {
	files         int
	refused, held []string
	rejected      bool
}

// add notes what became of a file; it returns what is no fate, but a failure.
func (f *fates) add(name string, err error) error {
	f.files++
	switch {
	case errors.Is(err, errRefused):
		f.refused = append(f.refused, name)
	case errors.Is(err, errHeld):
		f.held = append(f.held, name)
	case errors.Is(err, errRejected):
		f.rejected = true
	default:
		return err
	}
	return nil
}

// worst is what the command ends with: of several files it names those that were not taken.
func (f *fates) worst() error {
	switch {
	case f.files == 1 && f.refused != nil:
		return errRefused
	case f.files == 1 && f.held != nil:
		return errHeld
	case f.refused != nil || f.held != nil:
		var said []string
		if f.refused != nil {
			said = append(said, "not taken: "+conversion.Clip(strings.Join(f.refused, ", "), 200))
		}
		if f.held != nil {
			said = append(said, "held: "+conversion.Clip(strings.Join(f.held, ", "), 200)+" (“calltally quarantine list”)")
		}
		return fmt.Errorf("of %d files, %s", f.files, strings.Join(said, "; "))
	case f.rejected:
		return errRejected
	}
	return nil
}
