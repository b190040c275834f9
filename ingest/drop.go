package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"calltally/conversion"
)

// Drop is a folder that files are dropped in, on this machine or on a server. A file is
// taken when it is complete, claimed by renaming it into work/, and put into
// processed/ or rejected/ once it is durably ours. Looking is what counts: notices of
// an operating system only hint.
type Drop struct {
	Label   string // the source's name
	Account string
	Takes   conversion.Takes
	Dialect string
	Place   Place
	// Settle is how long a file must stay as it is before it counts as complete.
	Settle time.Duration
	// Done is the ending of the file by which senders say that another one is complete:
	// with ".done", orders.csv is taken once orders.csv.done is there. "" if they don't.
	Done string
	// Leave has files stay where they are, for places where nothing may be renamed:
	// a file is known by its name, size and time, and reports are not put there.
	Leave bool
	// MaxBytes is how much of a file is copied from afar, and one byte more, which tells
	// that it is too large; 0 for all of it.
	MaxBytes int64
	Now      func() time.Time

	mu   sync.Mutex
	seen map[string]sighting
	ours map[string]sighting // files that were left where they are, and are ours
}

const (
	workFolder      = "work"
	processedFolder = "processed"
	rejectedFolder  = "rejected"
	resultsFolder   = "results"
)

// Name returns the source's name.
func (d *Drop) Name() string { return d.Label }

// Deliveries yields the files that were claimed before and not finished, then
// those that are complete now, oldest first.
func (d *Drop) Deliveries(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		files, err := d.open(ctx)
		if err != nil {
			d.forget()
			yield(nil, err)
			return
		}
		defer files.Close()
		for _, find := range []func(Files) ([]*found, error){d.claimed, d.complete} {
			all, err := find(files)
			if err != nil {
				d.forget()
				yield(nil, err)
				return
			}
			for batch := range togethers(all) {
				if !d.deliver(ctx, files, batch, yield) || ctx.Err() != nil {
					return
				}
				clear(batch) // copies are kept for as long as their deliveries are, and no longer
			}
		}
	}
}

// open opens the place and makes the folders inside it.
func (d *Drop) open(ctx context.Context) (Files, error) {
	files, err := d.Place.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	if d.Leave {
		return files, nil
	}
	for _, name := range []string{workFolder, processedFolder, rejectedFolder, resultsFolder} {
		if err := files.Mkdir(name); err != nil {
			return nil, errors.Join(fmt.Errorf("make folder %s: %w", name, err), files.Close())
		}
	}
	return files, nil
}

// found is a file that a look has found.
type found struct {
	name    string // what it came as, cut to what still leaves room for a token or a number
	at      string // where it is
	origin  string
	size    int64
	changed time.Time // by its place's clock
	ours    bool      // it needs no claiming (any more)
	// declaration is the file by which its sender has said that it is complete; nil if none.
	declaration fs.FileInfo
	unserved    error    // why that could not be put away; the file is ours all the same
	copy        *Spooled // on this side, once it is there
	err         error    // why it can't be had
}

func (f *found) small() bool { return f.size <= SmallFile }

// A claimed file's name is a token, a tilde and the name it came with. The token
// makes it a delivery of its own, even if a file of that name comes again.
const tokenMark = "~"

// claimed lists the files in work/, oldest first.
func (d *Drop) claimed(files Files) ([]*found, error) {
	if d.Leave {
		return nil, nil
	}
	infos, err := files.List(workFolder)
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	var all []*found
	for _, info := range infos {
		if token, name, ok := strings.Cut(info.Name(), tokenMark); ok && info.Mode().IsRegular() {
			all = append(all, &found{name: name, at: path.Join(workFolder, info.Name()), origin: "file " + token, size: info.Size(), changed: info.ModTime(), ours: true})
		}
	}
	if err := d.declarationsLeft(files, all); err != nil {
		return nil, err
	}
	oldestFirst(all)
	return all, nil
}

func oldestFirst(all []*found) {
	slices.SortFunc(all, func(a, b *found) int { return cmp.Or(a.changed.Compare(b.changed), cmp.Compare(a.name, b.name)) })
}

// togethers cuts a list into what is carried on together: small files up to a number, a
// large one alone. What comes later stays where another process can have it.
func togethers(all []*found) iter.Seq[[]*found] {
	return func(yield func([]*found) bool) {
		for len(all) > 0 {
			n := 1
			for all[0].small() && n < len(all) && n < Together && all[n].small() {
				n++
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

// deliver claims and yields a batch; more is false if nobody wants what follows.
func (d *Drop) deliver(ctx context.Context, files Files, batch []*found, yield func(*Delivery, error) bool) (more bool) {
	if err := d.prepareAll(files, batch); err != nil {
		return yield(nil, err) // they are found in work/ the next time
	}
	lost := whyLost(files, batch)
	for _, f := range batch {
		switch {
		case errors.Is(f.err, fs.ErrNotExist): // someone took it away, or changed it
			continue
		case f.err != nil && lost != nil: // told below, for all of them
			continue
		case f.err != nil:
			more = yield(nil, f.err)
		default:
			if f.unserved != nil && !yield(nil, f.unserved) {
				return false
			}
			if d.Leave {
				d.offered(f)
			}
			more = yield(d.delivery(ctx, f), nil)
			if !f.small() { // read and done with by now; a small one is in memory
				f.copy.Remove()
				f.copy = nil
			}
		}
		if !more || ctx.Err() != nil {
			return false
		}
	}
	if lost != nil {
		d.forget()
		yield(nil, lost)
		return false
	}
	return true
}

// whyLost is why the place can't be reached any more, if that is why some of a batch can't be
// had.
func whyLost(files Files, batch []*found) (why error) {
	for _, f := range batch {
		if f.err != nil && !errors.Is(f.err, fs.ErrNotExist) {
			why = f.err
		}
	}
	if why == nil || !files.Lost() {
		return nil
	}
	return why
}

func (d *Drop) delivery(ctx context.Context, f *found) *Delivery {
	return &Delivery{
		AtHand: f.small(), Known: d.Leave,
		Source: d.Label, Origin: f.origin, Name: f.name, Account: d.Account, Takes: d.Takes, Dialect: d.Dialect,
		Open: func() (io.ReadCloser, error) { return d.read(ctx, f) },
		Ack:  func(ctx context.Context, as Disposition) error { return d.finish(ctx, f, as) },
	}
}

// read opens a file where it is, or its copy on this side.
func (d *Drop) read(ctx context.Context, f *found) (io.ReadCloser, error) {
	if f.copy != nil {
		return f.copy.Open()
	}
	files, err := d.Place.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	if files.Lanes() == 1 {
		in, err := files.Open(f.at)
		return in, orGone(err)
	}
	if err := d.fetch(files, f); err != nil {
		return nil, err
	}
	return f.copy.Open()
}

// ErrGone says that a file that was found is there no longer: another process has put it away,
// or somebody has.
var ErrGone = errors.New("the file is gone")

func orGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

// PutReport writes a report file into results/, complete or not at all.
func (d *Drop) PutReport(ctx context.Context, name string, write func(io.Writer) error) error {
	if d.Leave {
		return ErrNoShelf
	}
	files, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer files.Close()
	if err := files.Write(path.Join(resultsFolder, name), write); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return files.Sync(resultsFolder)
}

// Close ends what the place keeps open.
func (d *Drop) Close() {
	if place, ok := d.Place.(interface{ Close() }); ok {
		place.Close()
	}
}

// Probe looks at the folder, for checks.
func (d *Drop) Probe(ctx context.Context) (string, error) {
	files, err := d.open(ctx)
	if err != nil {
		return "", err
	}
	defer files.Close()
	answer := "results can be written"
	if d.Leave {
		answer = "files stay where they are"
	} else {
		const probe = "calltally-check"
		if err := d.PutReport(ctx, probe, func(io.Writer) error { return nil }); err != nil {
			return "", err
		}
		if err := files.Remove(path.Join(resultsFolder, probe)); err != nil {
			return "", err
		}
	}
	infos, err := files.List(".")
	if err != nil {
		return "", fmt.Errorf("read folder: %w", err)
	}
	n, linked := 0, 0
	for _, info := range infos {
		switch {
		case d.takes(info):
			n++
		case info.Mode().Type() == fs.ModeIrregular:
			linked++
		}
	}
	if linked > 0 {
		answer += fmt.Sprintf("; %s not taken, because of other names (hard links): copy it in place of linking it", conversion.Count(linked, "file"))
	}
	return fmt.Sprintf("%s to take; %s", conversion.Count(n, "file"), answer), nil
}
