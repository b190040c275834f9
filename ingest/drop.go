package ingest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
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

	"golang.org/x/sync/errgroup"

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

// Place is where a drop's files lie.
type Place interface {
	// Open makes ready for one look or errand. Close what it returns.
	Open(ctx context.Context) (Files, error)
}

// Watched is a place that tells of changes.
type Watched interface {
	// Watch waits until something changes or ctx ends; what is ignored doesn't count.
	Watch(ctx context.Context, ignored func(name string) bool) error
}

// Files are the files of a place. Names are relative to it, with slashes; errors are
// told apart by fs.ErrNotExist and fs.ErrExist.
type Files interface {
	// List lists what is in a folder, "." for the place itself.
	List(folder string) ([]fs.FileInfo, error)
	// Stat looks at a file; a link is itself.
	Stat(name string) (fs.FileInfo, error)
	// Open opens a file. What it reads is the whole file, or fails.
	Open(name string) (io.ReadCloser, error)
	// Write makes a file or takes its place, complete or not at all.
	Write(name string, write func(io.Writer) error) error
	// Move gives a file another name. It never takes the place of one that is there.
	Move(from, to string) error
	// Mkdir makes a folder, unless it is there.
	Mkdir(name string) error
	Remove(name string) error
	// Sync makes the names in some folders durable, where a place can be asked to.
	Sync(folders ...string) error
	// Lanes is how many errands go on at once: more than 1 where each waits for answers
	// from afar, so that what is read is kept on this side.
	Lanes() int
	Close() error
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
			yield(nil, err)
			return
		}
		defer files.Close()
		for _, find := range []func(Files) ([]*found, error){d.claimed, d.complete} {
			all, err := find(files)
			if err != nil {
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
	copy    *Spooled  // on this side, once it is there
	err     error     // why it can't be had
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
	for _, f := range batch {
		switch {
		case errors.Is(f.err, fs.ErrNotExist): // someone took it away, or changed it
			continue
		case f.err != nil:
			more = yield(nil, f.err)
		default:
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
	return true
}

// prepareAll claims a batch and makes that durable.
func (d *Drop) prepareAll(files Files, batch []*found) error {
	claims := slices.ContainsFunc(batch, func(f *found) bool { return !f.ours })
	var lanes errgroup.Group
	lanes.SetLimit(files.Lanes())
	for _, f := range batch {
		lanes.Go(func() error {
			d.prepare(files, f)
			return nil
		})
	}
	_ = lanes.Wait() // each file has its own error
	if !claims {
		return nil
	}
	if err := files.Sync(".", workFolder); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// prepare claims a file, if need be, and fetches a small one from afar.
func (d *Drop) prepare(files Files, f *found) {
	if seenAt := f.at; !f.ours {
		if f.err = unchanged(files, f); f.err == nil {
			f.err = claim(files, f)
		}
		d.tried(seenAt, f.err)
	}
	if f.err == nil && files.Lanes() > 1 && f.small() && !d.Leave {
		f.err = d.fetch(files, f)
	}
}

// fetch copies a file to this side.
func (d *Drop) fetch(files Files, f *found) error {
	in, err := files.Open(f.at)
	if err != nil {
		return fmt.Errorf("fetch file: %w", err)
	}
	defer in.Close()
	var all io.Reader = in
	if d.MaxBytes > 0 {
		all = io.LimitReader(in, d.MaxBytes+1)
	}
	copy, disk, err := Spool(all)
	if err = errors.Join(disk, err); err != nil {
		copy.Remove()
		return fmt.Errorf("fetch file: %w", err)
	}
	f.copy = copy
	return nil
}

// unchanged looks once more before a file is claimed: others may have come before it, and
// have taken long. One that has changed since settles anew, as if it had just come.
func unchanged(files Files, f *found) error {
	info, err := files.Stat(f.at)
	if err != nil {
		return fmt.Errorf("claim file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != f.size || !info.ModTime().Equal(f.changed) {
		return fmt.Errorf("%s changed: %w", f.name, fs.ErrNotExist)
	}
	return nil
}

// claim renames a file into work/.
func claim(files Files, f *found) error {
	var token [8]byte
	_, _ = rand.Read(token[:]) // never fails
	name := hex.EncodeToString(token[:])
	at := path.Join(workFolder, name+tokenMark+f.name)
	if err := files.Move(f.at, at); err != nil {
		return fmt.Errorf("claim file: %w", err)
	}
	f.at, f.origin, f.ours = at, "file "+name, true
	return nil
}

// shortName cuts a name to so many bytes and keeps its extension, if that is
// short itself.
func shortName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > 10 {
		extension = ""
	}
	return strings.ToValidUTF8(name[:most-len(extension)], "") + extension
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
		return files.Open(f.at)
	}
	if err := d.fetch(files, f); err != nil {
		return nil, err
	}
	return f.copy.Open()
}

// finish puts a claimed file where it belongs. If a power cut takes that back, the file
// is delivered again from work/, known by then, and put away again.
func (d *Drop) finish(ctx context.Context, f *found, as Disposition) error {
	if d.Leave {
		d.leave(f)
		return nil
	}
	files, err := d.Place.Open(ctx)
	if err != nil {
		return fmt.Errorf("put file away: %w", err)
	}
	defer files.Close()
	folder := rejectedFolder
	if as == Accepted {
		folder = path.Join(processedFolder, d.Now().Format(time.DateOnly))
	}
	err = putAway(files, f, folder)
	if errors.Is(err, fs.ErrNotExist) { // the day's folder isn't there, or the file is put away already
		if err := files.Mkdir(folder); err != nil {
			return fmt.Errorf("make folder %s: %w", folder, err)
		}
		err = putAway(files, f, folder)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put file away: %w", err)
	}
	return nil
}

// putAway moves a file into a folder, under a name that none has yet: name.csv,
// name-2.csv …
func putAway(files Files, f *found, folder string) error {
	extension := path.Ext(f.name)
	for n := 1; ; n++ {
		name := f.name
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(f.name, extension), n, extension)
		}
		if err := files.Move(f.at, path.Join(folder, name)); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
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
	n := 0
	for _, info := range infos {
		if d.takes(info) {
			n++
		}
	}
	return fmt.Sprintf("%s to take; %s", conversion.Count(n, "file"), answer), nil
}
