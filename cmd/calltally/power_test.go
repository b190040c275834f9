//go:build linux

package main

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The tests in this file cut the power: the file system that the store and the drop folders
// are on forgets, in one moment, all that was not made durable. What the disk itself was
// given stays there: a disk that lies is not played.

// disk is an ext4 file system in an image.
type disk struct {
	t          *testing.T
	image, dir string // dir is where it is mounted
	mounted    bool
}

// newDisk makes a disk with options of mkfs.ext4. Where that can't be done, the test is
// skipped, and in CI it fails.
func newDisk(t *testing.T, options ...string) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk.img"), dir: t.TempDir()}
	if os.Geteuid() != 0 {
		d.missing("needs root, who may mount a file system: run it with sudo")
	}
	err := errors.Join(os.WriteFile(d.image, nil, 0o666), os.Truncate(d.image, 256<<20))
	if err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("mkfs.ext4", append(options, "-q", d.image)...).CombinedOutput(); err != nil {
		d.missing(fmt.Sprintf("needs mkfs.ext4 (apt-get install e2fsprogs): %v %s", err, said))
	}
	t.Cleanup(func() {
		if d.mounted {
			d.run("umount", d.dir)
		}
	})
	if said, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		d.missing(fmt.Sprintf("needs loop devices, which many containers lack: %v %s", err, said))
	}
	d.mounted = true
	return d
}

func (d *disk) missing(sentence string) {
	d.t.Helper()
	if os.Getenv("CI") == "true" {
		d.t.Fatal(sentence)
	}
	d.t.Skip(sentence)
}

func (d *disk) run(command string, args ...string) {
	d.t.Helper()
	if said, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %q: %v %s", command, args, err, said)
	}
}

// replug unmounts the disk and mounts it again, which replays its journal after a cut.
func (d *disk) replug() {
	d.t.Helper()
	d.run("umount", d.dir)
	d.mounted = false
	d.run("mount", "-o", "loop", d.image, d.dir)
	d.mounted = true
}

// cut shuts the file system down as it is on the disk now: nothing is written any more.
func (d *disk) cut() {
	d.t.Helper()
	const shutdown, withoutLog = 0x8004587D, 2 // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	root, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer root.Close()
	flags := uint32(withoutLog)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, root.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		d.t.Fatalf("cut the power: %v", errno)
	}
}

// TestPowerCuts cuts the power again and again while the program takes files.
// CALLTALLY_CUTS says how often, CALLTALLY_SEED makes up other files and moments.
// scripts/soak runs it at length.
func TestPowerCuts(t *testing.T) {
	cutAtRandom(t, envNumber(t, "CALLTALLY_CUTS", 12), envNumber(t, "CALLTALLY_SEED", 1))
}

func cutAtRandom(t *testing.T, cuts, seed int) {
	bin, err := exec.LookPath("calltally")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h, e, gone := cutPower(t, bin, cuts, seed)
	if len(gone) > 0 {
		t.Fatalf("with seed %d, %d of %d files are neither in their folders nor in the store: %q", seed, len(gone), e.uploads(), gone)
	}
	h.settle(e)
	fmt.Printf("soak: %d cuts, %s, seed %d, %s\n", cuts, h.compare(e), seed, time.Since(began).Round(time.Second))
}

// TestPowerCutsTellWhatIsLost is the test of TestPowerCuts: a program whose commits are not
// made durable must not pass it.
func TestPowerCutsTellWhatIsLost(t *testing.T) {
	cuts, seed := envNumber(t, "CALLTALLY_CUTS", 20), envNumber(t, "CALLTALLY_SEED", 1) // 6 have lost nothing now and then, 12 never
	_, e, gone := cutPower(t, hastyProgram(t), cuts, seed)
	if len(gone) == 0 {
		t.Errorf("with synchronous=NORMAL, none of %d files was lost in %d cuts", e.uploads(), cuts)
	}
	fmt.Printf("soak: with synchronous=NORMAL, %d cuts lost %d of %d uploads, seed %d\n", cuts, len(gone), e.uploads(), seed)
}

// hastyProgram builds the program with another store/engine.go, whose commits return before
// they are durable.
func hastyProgram(t *testing.T) string {
	t.Helper()
	engine, err := filepath.Abs("../../store/engine.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ from, to string }{{"synchronous(FULL)", "synchronous(NORMAL)"}, {"const full = 2", "const full = 1"}} {
		if bytes.Count(source, []byte(change.from)) != 1 {
			t.Fatalf("%s doesn't say %s once", engine, change.from)
		}
		source = bytes.Replace(source, []byte(change.from), []byte(change.to), 1)
	}
	dir := t.TempDir()
	hasty, overlay, bin := filepath.Join(dir, "engine.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "calltally")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{engine: hasty}})
	if err = errors.Join(err, os.WriteFile(hasty, source, 0o666), os.WriteFile(overlay, replaced, 0o666)); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("go", "build", "-overlay", overlay, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	return bin
}

// cutPower drops files and cuts the power while a program takes them. It returns what is gone.
func cutPower(t *testing.T, bin string, cuts, seed int) (h *house, e *expectation, gone []string) {
	t.Helper()
	d := newDisk(t)
	h, e = newHouseIn(t, d.dir, bin, fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]")), newExpectation(seed)
	d.replug() // what the house is made of is on the disk
	for cut := range cuts {
		h.finishNowAndThen(e.rng)
		h.cutSoon(d, e)
		d.replug()
		before := len(gone)
		if gone = h.gone(e); len(gone) != before {
			t.Logf("after cut %d, %d files are gone", cut+1, len(gone))
		}
		h.noteReports()
	}
	return h, e, gone
}

// cutSoon starts the program, drops files before and after it begins to work, and cuts the
// power within 80 ms of then.
func (h *house) cutSoon(d *disk, e *expectation) {
	h.t.Helper()
	for range e.rng.IntN(3) {
		h.dropDurably(e.newFile())
	}
	command := []string{"run", "run", "run", "once"}[e.rng.IntN(4)]
	p := h.start("", command)
	if command == "run" && e.rng.IntN(8) > 0 {
		h.waitUntilWorking(p)
	}
	moment := time.After(time.Duration(e.rng.IntN(80_000)) * time.Microsecond)
	if e.rng.IntN(2) == 0 {
		h.dropDurably(e.newFile())
	}
	<-moment
	ended := p.ended()
	d.cut()
	_ = p.Process.Kill()
	if _, code := p.end(); ended && code != exitDone { // what a program without a disk says doesn't matter
		h.t.Errorf("%s ended with code %d:\n%s", command, code, p.said.String())
	}
}

func (p *process) ended() bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}

// dropDurably puts a file into a drop folder, as a sender does who counts on it.
func (h *house) dropDurably(folder, name, content string) {
	h.t.Helper()
	at, hidden := h.path(folder, name), h.path(folder, "."+name)
	if err := errors.Join(os.WriteFile(hidden, []byte(content), 0o666), syncPath(hidden), os.Rename(hidden, at), syncPath(h.path(folder))); err != nil {
		h.t.Fatal(err)
	}
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// gone lists the dropped files that are neither in their folder nor in the store. In
// processed/ they count for nothing: that says that the store has them.
func (h *house) gone(e *expectation) (gone []string) {
	h.t.Helper()
	there := h.received()
	for folder, names := range e.files {
		for _, name := range h.files(folder) {
			if in, base := filepath.Split(name); in == "" {
				there[folder+"/"+base] = true
			} else if _, base, claimed := strings.Cut(base, "~"); claimed && in == "work/" {
				there[folder+"/"+base] = true
			}
		}
		for _, name := range names {
			if !there[folder+"/"+name] {
				gone = append(gone, folder+"/"+name)
			}
		}
	}
	slices.Sort(gone)
	return gone
}

// received are the uploads that the store has. It is asked in a copy: recovering it is the
// program's part.
func (h *house) received() map[string]bool {
	h.t.Helper()
	dir, err := os.MkdirTemp("", "calltally-")
	if err != nil {
		h.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "calltally.db")
	for _, ending := range []string{"", "-wal"} {
		content, err := os.ReadFile(h.path("calltally.db" + ending))
		if errors.Is(err, fs.ErrNotExist) && ending != "" {
			continue
		}
		if err = cmp.Or(err, os.WriteFile(copied+ending, content, 0o666)); err != nil {
			h.t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", copied)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(h.t.Context(), "SELECT source || '/' || name FROM upload")
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			h.t.Fatal(err)
		}
		all[name] = true
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	return all
}
