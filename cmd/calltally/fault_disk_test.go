//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/worker"
)

func diskFaults() []injected {
	return []injected{
		{"15_disk_full_at_receive", fullAtReceive},
		{"16_disk_full_while_rows_are_decided", fullWhileDeciding},
		{"17_no_inodes", noInodes},
		{"18_read_only_folder", readOnlyFolder},
		{"19_fsync_fails_at_receive", func(t *testing.T) { fsyncFails(t, "1+", "once") }},
		{"19_fsync_fails_while_it_runs", func(t *testing.T) { fsyncFails(t, "1", "run") }},
		{"20_store_locked", storeLocked},
		{"21_damaged_page", func(t *testing.T) { damagedPage(t, func(h *house) int { return h.pageOf("outcome_chunk") }) }},
		{"21_damaged_first_page", func(t *testing.T) { damagedPage(t, func(*house) int { return 1 }) }},
		{"22_log_removed", logRemoved},
		{"46_few_file_descriptors", func(t *testing.T) { capped(t, "nofile", []int{11, 14, 16, 18}, false, "too many open files") }},
		{"46_little_memory", func(t *testing.T) {
			capped(t, "data", []int{150e6, 170e6, 190e6}, true, "allocate", "out of memory", "pthread_create failed")
		}},
		{"49_old_backup", oldBackup},
	}
}

// mount mounts something until the test ends. Where that can't be done, the test is skipped,
// and in CI it fails.
func mount(t *testing.T, args ...string) (unmount func()) {
	t.Helper()
	d, at := &disk{t: t}, args[len(args)-1]
	if os.Geteuid() != 0 {
		d.missing("needs root, who may mount a file system: run it with sudo")
	}
	if said, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		d.missing(fmt.Sprintf("needs to mount, which many containers may not: %v %s", err, said))
	}
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			d.run("umount", at)
		}
	}
	t.Cleanup(unmount)
	return unmount
}

// smallDisk is a folder on a disk of so many MiB, in memory.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", size), "tmpfs", dir)
	return dir
}

// fill leaves no room on a disk until it is freed.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	filler := filepath.Join(dir, ".filler")
	out, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for piece := make([]byte, size); err == nil; {
			_, err = out.Write(piece)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

// hide puts a file into a drop folder under a name that is not taken.
func (h *house) hide(folder, name, content string) (show func()) {
	h.t.Helper()
	hidden := h.path(folder, "."+name)
	if err := os.WriteFile(hidden, []byte(content), 0o666); err != nil {
		h.t.Fatal(err)
	}
	return func() {
		if err := os.Rename(hidden, h.path(folder, name)); err != nil {
			h.t.Error(err)
		}
	}
}

// in lists the files of a drop folder that were neither put away nor are results.
func (h *house) in(folder string) (names []string) {
	for _, name := range h.files(folder) {
		if base := filepath.Base(name); !strings.HasPrefix(name, "processed/") && !strings.HasPrefix(name, "results/") && !strings.HasPrefix(base, ".") {
			_, came, claimed := strings.Cut(base, "~")
			if !claimed {
				came = base
			}
			names = append(names, came)
		}
	}
	return names
}

func faultHouseIn(t *testing.T, dir string) *house {
	t.Helper()
	bin, err := exec.LookPath("calltally")
	if err != nil {
		t.Fatal(err)
	}
	return newHouseIn(t, dir, bin, faultSettings)
}

// While the store's disk is full, what comes stays where it is. It is taken once there is
// room.
func fullAtReceive(t *testing.T) {
	h := faultHouseIn(t, smallDisk(t, 8))
	show := h.hide("drop", "orders.csv", crashRows(0, "A")+strings.Repeat("\n", 60_000))
	p := h.start("", "run")
	h.waitUntilWorking(p)
	free := fill(t, h.dir)
	show()
	p.says(t, "database or disk is full")
	if left, uploads := h.in("drop"), h.uploads(h.open()); !slices.Equal(left, []string{"orders.csv"}) || len(uploads) > 0 {
		t.Errorf("the folder holds %q, the store %d uploads", left, len(uploads))
	}
	free()
	h.waitUntilSettled(1, 20*time.Second)
	h.stop(p)
	h.wantDecided("orders.csv")
}

// A disk that fills up in the middle of a file takes back what is not whole, and no more. It
// is nothing against the file.
func fullWhileDeciding(t *testing.T) {
	h := faultHouseIn(t, smallDisk(t, 16))
	const rows, chunk = 3000, 500
	h.drop("drop", "orders.csv", string(testUpload(rows, 1))) // of 200 calls; the others have none
	c, err := loadConfig(h.path("calltally.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	app := startApp(t, c)
	app.worker.ChunkRows = chunk
	together, free := app.worker.Together, func() {}
	app.worker.Together = func(ctx context.Context, f func(worker.Store) (bool, error)) error {
		if u, err := app.store.Upload(ctx, 1); err == nil && u.Cursor > 3*chunk {
			app.worker.Together = together
			free = fill(t, h.dir)
		}
		return together(ctx, f)
	}
	if err := app.worker.RunOnce(t.Context()); err == nil || !strings.Contains(err.Error(), "database or disk is full") {
		t.Fatalf("the error is %v", err)
	}
	u, err := app.store.Upload(t.Context(), 1)
	if err != nil || u.State != conversion.Deciding || u.Cursor != 3*chunk+1 || u.Tally.Rows != 3*chunk {
		t.Errorf("it is %s at line %d with %d rows decided, %v; want line %d", u.State, u.Cursor, u.Tally.Rows, err, 3*chunk+1)
	}
	outcomes := 0
	err = app.store.Outcomes(t.Context(), 1, 0, func(some []conversion.Outcome) (bool, error) {
		outcomes += len(some)
		return true, nil
	})
	if err != nil || outcomes != 3*chunk {
		t.Errorf("%d outcomes, %v; want %d", outcomes, err, 3*chunk)
	}
	free()
	if err := app.worker.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if u, err = app.store.Upload(t.Context(), 1); err != nil || u.State != conversion.Decided || u.Attempts != 0 || u.Tally.Rows != rows {
		t.Errorf("in the end it is %s after %d attempts: %s, %v", u.State, u.Attempts, u.Tally, err)
	}
	if verified, err := app.store.Verify(t.Context()); err != nil || verified.Mismatches != 0 || verified.Conversions != u.Tally.Of(conversion.Created) {
		t.Errorf("the ledger has %+v, %v", verified, err)
	}
}

// pausesOneFolder has one folder be out of order and another go on, until the first is well
// again.
func pausesOneFolder(t *testing.T, h *house, says string, spoil func() (mend func())) {
	t.Helper()
	mend := spoil()
	p := h.start("", "run")
	p.says(t, says)
	h.drop("other", "other.csv", crashRows(1, "B"))
	h.waitUntilSettled(1, 10*time.Second)
	if left, uploads := h.in("drop"), h.uploads(h.open()); !slices.Equal(left, []string{"orders.csv"}) || len(uploads) != 1 || uploads[0].Name != "other.csv" {
		t.Errorf("the folder holds %q, the store %d uploads", left, len(uploads))
	}
	mend()
	h.waitUntilSettled(2, 20*time.Second)
	h.stop(p)
	h.wantDecided("orders.csv", "other.csv")
}

// On a disk without room for another file's name, nothing can be claimed.
func noInodes(t *testing.T) {
	tiny := newDisk(t, "-N", "16")
	h := faultHouse(t, "")
	mount(t, "--bind", tiny.dir, h.path("drop"))
	pausesOneFolder(t, h, "no space left on device", func() (mend func()) {
		h.drop("drop", "orders.csv", crashRows(0, "A"))
		var fillers []string
		for {
			filler := h.path("drop", fmt.Sprint(".filler-", len(fillers)))
			if err := os.WriteFile(filler, nil, 0o666); errors.Is(err, syscall.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			fillers = append(fillers, filler)
		}
		return func() {
			for _, filler := range fillers {
				if err := os.Remove(filler); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func readOnlyFolder(t *testing.T) {
	h := faultHouse(t, "")
	pausesOneFolder(t, h, "read-only file system", func() (mend func()) {
		h.drop("drop", "orders.csv", crashRows(0, "A"))
		unmount := mount(t, "--bind", h.path("drop"), h.path("drop"))
		(&disk{t: t}).run("mount", "-o", "remount,bind,ro", h.path("drop"))
		return unmount
	})
}

// traced is the command that has syncs of the store's log fail, those that strace calls so.
func (h *house) traced(which string) []string {
	h.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		(&disk{t: h.t}).missing("needs strace: apt-get install strace")
	}
	return []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", h.path("calltally.db-wal"), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=" + which}
}

// A sync of the store's log that fails ends the program: what is on the disk is not known by
// then. The next start goes on.
func fsyncFails(t *testing.T, which, command string) {
	h := faultHouse(t, "")
	h.drop("drop", "orders.csv", crashRows(0, "A"))
	h.under = h.traced(which)
	p := h.start("", command)
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitFailed || !strings.Contains(p.said.String(), "disk I/O error") {
		t.Errorf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
	if left := h.in("drop"); !slices.Equal(left, []string{"orders.csv"}) {
		t.Errorf("the folder holds %q", left)
	}
	h.under = nil
	h.once()
	h.wantDecided("orders.csv")
}

// Somebody else locks the store for a while.
func storeLocked(t *testing.T) {
	h := faultHouse(t, "")
	p := h.start("", "run")
	h.waitUntilWorking(p)
	db, err := sql.Open("sqlite", h.path("calltally.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	locks, err := db.Conn(t.Context())
	if err == nil {
		_, err = locks.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE")
	}
	if err != nil {
		t.Fatal(err)
	}
	h.drop("drop", "orders.csv", crashRows(0, "A"))
	time.Sleep(1500 * time.Millisecond)
	if left, uploads := h.in("drop"), h.uploads(h.open()); !slices.Equal(left, []string{"orders.csv"}) || len(uploads) > 0 {
		t.Errorf("the folder holds %q, the store, which is locked, %d uploads", left, len(uploads))
	}
	if _, err := locks.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	h.waitUntilSettled(1, 20*time.Second)
	h.stop(p)
	if strings.Contains(p.said.String(), `"level":"ERROR"`) {
		t.Errorf("it didn't just wait:\n%s", p.said.String())
	}
	h.wantDecided("orders.csv")
}

// damage writes nonsense over a page of the store's file.
func (h *house) damage(page int) {
	h.t.Helper()
	file := h.path("calltally.db")
	noise := exec.Command("dd", "if=/dev/urandom", "of="+file, "bs=8192", "count=1", fmt.Sprint("seek=", page-1), "conv=notrunc", "status=none")
	if said, err := noise.CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, said)
	}
}

// backedUp is a house with a file that is in its backup, monday.db.
func backedUp(t *testing.T) *house {
	t.Helper()
	h := faultHouse(t, "")
	h.drop("drop", "before.csv", crashRows(0, "BEFORE"))
	h.once()
	h.does("backup", "monday.db")
	return h
}

// does runs a command that must end well.
func (h *house) does(args ...string) {
	h.t.Helper()
	p := h.start("", args...)
	if signal, code := h.endWithin(p, 30*time.Second); signal != 0 || code != exitDone {
		h.t.Errorf("%q ended with signal %v, code %d:\n%s", args, signal, code, p.said.String())
	}
}

// A damaged store is not worked with. The message names the cure, which works.
func damagedPage(t *testing.T, page func(h *house) int) {
	h := backedUp(t)
	h.damage(page(h))
	h.drop("drop", "after.csv", crashRows(1, "AFTER"))
	for _, command := range []string{"run", "verify", "reconcile"} {
		h.fails("“calltally restore FILE”", command)
	}
	if code, said := h.prints("check"); code != exitFailed || !strings.Contains(said, "FAIL  store ") || !strings.Contains(said, "→ Put a backup in its place with “calltally restore FILE”") || !strings.Contains(said, "ok    source drop ") {
		t.Errorf("check ended with %d:\n%s", code, said)
	}
	if left := h.in("drop"); !slices.Equal(left, []string{"after.csv"}) {
		t.Errorf("the folder holds %q", left)
	}
	h.does("restore", "monday.db", "--yes")
	h.once()
	h.wantDecided("before.csv", "after.csv")
}

// pageOf is the page at which a table begins.
func (h *house) pageOf(table string) (page int) {
	h.t.Helper()
	db, err := sql.Open("sqlite", h.path("calltally.db"))
	if err == nil {
		err = errors.Join(db.QueryRowContext(h.t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = $1", table).Scan(&page), db.Close())
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return page
}

// prints runs a command and returns how it ended and what it printed.
func (h *house) prints(args ...string) (code int, printed string) {
	h.t.Helper()
	command := exec.Command(h.bin, args...)
	command.Dir = h.dir
	out, err := command.Output()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		h.t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// wantMissing checks that the audit finds just these files to be missing, has them be taken
// again, and then finds none.
func (h *house) wantMissing(names ...string) {
	h.t.Helper()
	code, said := h.prints("audit")
	if code != exitFailed || strings.Count(said, "is not in the store") != len(names) {
		h.t.Errorf("the audit ended with %d:\n%s\nwant %d missing", code, said, len(names))
	}
	for _, name := range names {
		if !strings.Contains(said, "/"+name+" ") {
			h.t.Errorf("the audit doesn't tell of %s:\n%s", name, said)
		}
	}
	h.does("audit", "--rereceive")
	h.once()
	if code, said := h.prints("audit"); code != exitDone || !strings.Contains(said, " 0 missing.") {
		h.t.Errorf("the second audit ended with %d:\n%s", code, said)
	}
}

// Somebody removes the store's log, as if it were one that is only read. What was in it alone
// is gone; its files are still there.
func logRemoved(t *testing.T) {
	h := faultHouse(t, "")
	h.drop("drop", "before.csv", crashRows(0, "BEFORE"))
	h.once() // it ends, by which all is in the one file
	p := h.start("", "run")
	h.waitUntilWorking(p)
	h.drop("drop", "after.csv", crashRows(1, "AFTER"))
	h.drop("other", "other.csv", crashRows(2, "OTHER"))
	eventually(t, "all is put away", 20*time.Second, func() bool { return len(h.in("drop"))+len(h.in("other")) == 0 })
	_ = p.Process.Kill()
	p.end()
	if err := os.Remove(h.path("calltally.db-wal")); err != nil {
		t.Fatal(err)
	}
	h.wantMissing("after.csv", "other.csv")
	h.wantDecided("before.csv", "after.csv", "other.csv")
}

func oldBackup(t *testing.T) {
	h := backedUp(t)
	names := []string{"before.csv"}
	for i := range 3 {
		name := fmt.Sprintf("after-%d.csv", i)
		names = append(names, name)
		h.drop("drop", name, crashRows(i+1, name))
	}
	h.once()
	h.does("restore", "monday.db", "--yes")
	h.wantMissing(names[1:]...)
	h.wantDecided(names...)
}

// capped has the program run again and again with less than it needs, of something that
// prlimit limits. It ends with an error and says why; nothing is lost or damaged by that. Where
// memory is short, Go may only be able to end the process, which is a crash.
func capped(t *testing.T, resource string, limits []int, crashes bool, says ...string) {
	if _, err := exec.LookPath("prlimit"); err != nil {
		(&disk{t: t}).missing("needs prlimit: apt-get install util-linux")
	}
	h := faultHouse(t, "")
	var names []string
	for i := range 120 {
		names = append(names, fmt.Sprintf("%03d.csv", i))
		h.drop("drop", names[i], crashRows(i, names[i])+strings.Repeat("\n", 40_000))
	}
	var said string
	for _, limit := range limits {
		h.under = []string{"prlimit", fmt.Sprintf("--%s=%d", resource, limit)}
		p := h.start("", "once")
		if signal, code := h.endWithin(p, 30*time.Second); signal != 0 || code > exitFailed && !crashes {
			t.Errorf("with %d it ended with signal %v, code %d:\n%s", limit, signal, code, p.said.String())
		}
		said += p.said.String()
	}
	if !slices.ContainsFunc(says, func(one string) bool { return strings.Contains(said, one) }) {
		t.Errorf("it was never short, or doesn't say %q:\n%s", says, said)
	}
	h.under = nil
	if n := len(h.uploads(h.open())) + len(h.in("drop")); n < len(names) {
		t.Errorf("only %d of %d files are in the store or in their folder", n, len(names))
	}
	h.once()
	h.wantDecided(names...)
}
