// Mutations is what scripts/mutate needs besides the shell: it takes checks out of the program
// one by one, and sees whether tests fail by that.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// mutation is a change to one file, by which tests must fail.
type mutation struct {
	name, file string
	from, to   string
	by         tests
	short      bool // scripts/mutate --short does it too
	// unseen is why no test can notice it; "" if one must.
	unseen string
}

// tests are some of a package's tests. run is a pattern as for go test -run.
type tests struct{ in, run string }

// atOnce is how many are built and run at a time.
const atOnce = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "mutate: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	short := flag.Bool("short", false, "a few of each kind")
	flag.Parse()
	named, err := regexp.Compile(flag.Arg(0))
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Concat(durability, uniqueness, fences, authentication), func(m mutation) bool {
		return *short && !m.short || !named.MatchString(m.name)
	})
	if len(chosen) == 0 {
		return fmt.Errorf("no mutation is named %q", flag.Arg(0))
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, began: time.Now()}
	slices.SortStableFunc(chosen, func(a, b mutation) int { return cmp.Compare(a.by.in, b.by.in) })
	if err := b.passUnchanged(ctx, chosen); err != nil {
		return err
	}
	return b.tryAll(ctx, chosen)
}

// bench is where mutated programs are made and tested.
type bench struct {
	dir   string
	began time.Time

	mu           sync.Mutex
	programs     int
	caught, seen int
	failed       bool
}

// passUnchanged has the tests pass as the program is: what fails anyhow catches nothing.
func (b *bench) passUnchanged(ctx context.Context, chosen []mutation) error {
	patterns := map[string][]string{}
	for _, m := range chosen {
		if m.unseen == "" && !slices.Contains(patterns[m.by.in], m.by.run) {
			patterns[m.by.in] = append(patterns[m.by.in], m.by.run)
		}
	}
	var all errgroup.Group
	all.SetLimit(atOnce)
	for in, patterns := range patterns {
		all.Go(func() error {
			program, err := b.build(ctx, in, "", nil)
			if err != nil {
				return err
			}
			defer os.Remove(program)
			for _, pattern := range patterns {
				said, err := b.test(ctx, program, in, pattern)
				switch {
				case err != nil:
					return fmt.Errorf("the tests %s of %s fail with the program as it is: %w\n%s", pattern, in, err, said)
				case !bytes.Contains(said, []byte("--- PASS")):
					return fmt.Errorf("%s has no tests %s", in, pattern)
				case bytes.Contains(said, []byte("--- SKIP")):
					return fmt.Errorf("the tests %s of %s are skipped, so that they notice nothing:\n%s", pattern, in, said)
				}
			}
			return nil
		})
	}
	return all.Wait()
}

func (b *bench) tryAll(ctx context.Context, chosen []mutation) error {
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, m := range chosen {
		all.Go(func() error {
			if ctx.Err() == nil {
				caught, word, why := b.try(ctx, m)
				b.tell(ctx, m, caught, word, why)
			}
			return nil
		})
	}
	_ = all.Wait() // what failed is told
	if ctx.Err() != nil {
		return errors.New("it was broken off")
	}
	fmt.Printf("%d of %d caught in %s\n", b.caught, b.seen, time.Since(b.began).Round(time.Second))
	if b.failed {
		return errors.New("not all were caught")
	}
	return nil
}

func (b *bench) tell(ctx context.Context, m mutation, caught bool, word, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil { // it was broken off
		return
	}
	fmt.Printf("%-14s %s\n", word, m.name)
	if why != "" {
		fmt.Printf("%-14s %s\n", "", strings.ReplaceAll(strings.TrimSpace(why), "\n", "\n"+strings.Repeat(" ", 15)))
	}
	switch {
	case caught:
		b.caught++
		b.seen++
	case m.unseen == "":
		b.seen++
		b.failed = true
	case word != unseen:
		b.failed = true
	}
}

const unseen = "unseen"

// try makes one mutation and runs the tests that must fail by it. why says more, if there is
// anything to say.
func (b *bench) try(ctx context.Context, m mutation) (caught bool, word, why string) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return false, "error", err.Error()
	}
	if n := bytes.Count(source, []byte(m.from)); n != 1 {
		return false, "does not apply", fmt.Sprintf("%s has this %d times, and not once: say in scripts/mutations what is to be changed by now\n%s", m.file, n, m.from)
	}
	if m.unseen != "" {
		return false, unseen, m.unseen
	}
	program, err := b.build(ctx, m.by.in, m.file, bytes.Replace(source, []byte(m.from), []byte(m.to), 1))
	if err != nil {
		return false, "error", err.Error()
	}
	defer os.Remove(program)
	said, err := b.test(ctx, program, m.by.in, m.by.run)
	switch failed := (*exec.ExitError)(nil); {
	case err == nil:
		return false, "SURVIVED", fmt.Sprintf("%s, by the tests %s of %s", m.file, m.by.run, m.by.in)
	case !errors.As(err, &failed) || !bytes.Contains(said, []byte("FAIL")) && !bytes.Contains(said, []byte("panic:")):
		return false, "error", fmt.Sprintf("%v\n%s", err, said)
	}
	return true, "caught", ""
}

// build builds a package's tests, with other text in the place of a file's.
func (b *bench) build(ctx context.Context, in, file string, text []byte) (program string, err error) {
	b.mu.Lock()
	b.programs++
	base := filepath.Join(b.dir, fmt.Sprint(b.programs))
	b.mu.Unlock()
	program = base + ".test"
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", program}
	if file != "" {
		original, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		changed, overlay := base+filepath.Ext(file), base+".json"
		replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
		if err = errors.Join(err, os.WriteFile(changed, text, 0o666), os.WriteFile(overlay, replaced, 0o666)); err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	if said, err := exec.CommandContext(ctx, "go", append(args, in)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", in, err, said)
	}
	return program, nil
}

// test runs some of a package's tests.
func (b *bench) test(ctx context.Context, program, in, pattern string) (said []byte, err error) {
	command := exec.CommandContext(ctx, program, "-test.run", pattern, "-test.v", "-test.timeout", "90s")
	command.Dir = in
	return command.CombinedOutput()
}
