// Package folder turns the files of a watched folder into deliveries. A file is
// taken when it is complete, claimed by renaming it into work/, and put into
// processed/ or rejected/ once it is durably ours. It works on network shares:
// looking is what counts, and the operating system's notices only hint.
package folder

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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"calltally/conversion"
	"calltally/ingest"
)

// Folder is a watched folder.
type Folder struct {
	Label   string
	Path    string
	Account string
	Takes   conversion.Takes
	Dialect string
	// Settle is how long a file must stay as it is before it counts as complete.
	Settle time.Duration
	Now    func() time.Time

	mu   sync.Mutex
	seen map[string]sighting
}

const (
	workFolder      = "work"
	processedFolder = "processed"
	rejectedFolder  = "rejected"
	resultsFolder   = "results"
)

// Name returns the source's name.
func (f *Folder) Name() string { return f.Label }

// Deliveries yields the files that were claimed before and not finished, then
// those that are complete now, oldest first.
func (f *Folder) Deliveries(ctx context.Context) iter.Seq2[*ingest.Delivery, error] {
	return func(yield func(*ingest.Delivery, error) bool) {
		root, err := f.open()
		if err != nil {
			yield(nil, err)
			return
		}
		defer root.Close()
		claimed, err := claimedFiles(root)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, file := range claimed {
			if !yield(f.delivery(file.Name(), isSmall(file)), nil) || ctx.Err() != nil {
				return
			}
		}
		complete, err := f.complete(root)
		if err != nil {
			yield(nil, err)
			return
		}
		for len(complete) > 0 {
			next := togetherWith(complete)
			claimed := f.claimAll(root, complete[:next])
			complete = complete[next:]
			for _, claimed := range claimed {
				var d *ingest.Delivery
				if claimed.err == nil {
					d = f.delivery(claimed.name, claimed.small)
				}
				if !yield(d, claimed.err) || ctx.Err() != nil {
					return
				}
			}
		}
	}
}

// open opens the folder and makes the folders inside it.
func (f *Folder) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	for _, name := range []string{workFolder, processedFolder, rejectedFolder, resultsFolder} {
		if err := root.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			root.Close()
			return nil, fmt.Errorf("make folder %s: %w", name, err)
		}
	}
	return root, nil
}

// A claimed file's name is a token, a tilde and the name it came with. The token
// makes it a delivery of its own, even if a file of that name comes again.
const tokenMark = "~"

// claimedFiles lists the files in work/, oldest first.
func claimedFiles(root *os.Root) ([]fs.FileInfo, error) {
	entries, err := readDir(root, workFolder)
	if err != nil {
		return nil, err
	}
	var files []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() || !strings.Contains(e.Name(), tokenMark) {
			continue
		}
		files = append(files, info)
	}
	oldestFirst(files)
	return files, nil
}

func oldestFirst(files []fs.FileInfo) {
	slices.SortStableFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	dir, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// togetherWith is how many of some files are claimed together with the first. A large
// one is claimed alone: what comes after it stays where another process can have it.
func togetherWith(files []fs.FileInfo) int {
	for n, file := range files[:min(len(files), ingest.Together)] {
		if !isSmall(file) {
			return max(n, 1)
		}
	}
	return min(len(files), ingest.Together)
}

func isSmall(file fs.FileInfo) bool { return file.Size() <= ingest.SmallFile }

// claimed is a file in work/, or why it couldn't get there.
type claimed struct {
	name  string
	small bool
	err   error
}

// claimAll claims files and makes that durable. What someone took away is left out.
func (f *Folder) claimAll(root *os.Root, files []fs.FileInfo) []claimed {
	var all []claimed
	for _, file := range files {
		to, err := claim(root, file.Name())
		f.tried(file.Name(), err)
		if !errors.Is(err, fs.ErrNotExist) {
			all = append(all, claimed{to, isSmall(file), err})
		}
	}
	if err := errors.Join(syncDir(root, "."), syncDir(root, workFolder)); err != nil {
		return []claimed{{err: err}} // they are found in work/ the next time
	}
	return all
}

// claim renames a file into work/.
func claim(root *os.Root, name string) (string, error) {
	var token [8]byte
	_, _ = rand.Read(token[:]) // never fails
	claimed := hex.EncodeToString(token[:]) + tokenMark + shortName(name, 200)
	if err := root.Rename(name, filepath.Join(workFolder, claimed)); err != nil {
		return "", fmt.Errorf("claim file: %w", err)
	}
	return claimed, nil
}

// shortName cuts a name to so many bytes and keeps its extension, if that is
// short itself.
func shortName(name string, most int) string {
	if len(name) <= most {
		return name
	}
	extension := filepath.Ext(name)
	if len(extension) > 10 {
		extension = ""
	}
	return strings.ToValidUTF8(name[:most-len(extension)], "") + extension
}

// syncDir makes the names in a folder durable. File systems that can't (some
// network shares) say so with an error that means nothing to us.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

func (f *Folder) delivery(claimed string, small bool) *ingest.Delivery {
	token, name, _ := strings.Cut(claimed, tokenMark)
	return &ingest.Delivery{
		AtHand: small,
		Source: f.Label, Origin: "file " + token, Name: name, Account: f.Account, Takes: f.Takes, Dialect: f.Dialect,
		Open: func() (io.ReadCloser, error) { return f.openClaimed(claimed) },
		Ack:  func(_ context.Context, d ingest.Disposition) error { return f.finish(claimed, name, d) },
	}
}

func (f *Folder) openClaimed(claimed string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(filepath.Join(workFolder, claimed))
}

// finish puts a claimed file where it belongs. If a power cut takes that back, the file
// is delivered again from work/, known by then, and put away again.
func (f *Folder) finish(claimed, name string, d ingest.Disposition) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	to := rejectedFolder
	if d == ingest.Accepted {
		to = filepath.Join(processedFolder, f.Now().Format(time.DateOnly))
		if err := root.Mkdir(to, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make folder %s: %w", to, err)
		}
	}
	target, err := freeName(root, to, name)
	if err != nil {
		return err
	}
	if err := root.Rename(filepath.Join(workFolder, claimed), target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put file away: %w", err)
	}
	return nil
}

// freeName finds a name in a folder that no file has yet: name.csv, name-2.csv …
func freeName(root *os.Root, folder, name string) (string, error) {
	extension := filepath.Ext(name)
	for n := 1; ; n++ {
		candidate := name
		if n > 1 {
			candidate = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), n, extension)
		}
		candidate = filepath.Join(folder, candidate)
		if _, err := root.Lstat(candidate); errors.Is(err, fs.ErrNotExist) {
			return candidate, nil
		} else if err != nil {
			return "", fmt.Errorf("put file away: %w", err)
		}
	}
}

// PutReport writes a report file into results/, complete or not at all.
func (f *Folder) PutReport(_ context.Context, name string, write func(io.Writer) error) error {
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	temporary := filepath.Join(resultsFolder, "."+name+".tmp")
	out, err := root.Create(temporary)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = errors.Join(write(out), out.Sync(), out.Close())
	if err == nil {
		err = root.Rename(temporary, filepath.Join(resultsFolder, name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), root.Remove(temporary))
	}
	return syncDir(root, resultsFolder)
}

// Probe looks at the folder, for checks.
func (f *Folder) Probe(context.Context) (string, error) {
	root, err := f.open()
	if err != nil {
		return "", err
	}
	defer root.Close()
	if err := f.PutReport(context.Background(), "calltally-check", func(io.Writer) error { return nil }); err != nil {
		return "", err
	}
	if err := root.Remove(filepath.Join(resultsFolder, "calltally-check")); err != nil {
		return "", err
	}
	entries, err := readDir(root, ".")
	if err != nil {
		return "", err
	}
	files := 0
	for _, e := range entries {
		if e.Type().IsRegular() && !temporary(e.Name()) {
			files++
		}
	}
	return fmt.Sprintf("%s to take; results can be written", conversion.Count(files, "file")), nil
}
