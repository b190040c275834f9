// Benchdata is what scripts/bench needs besides the shell:
//
//	benchdata calls SEED CALLS FROM TO    writes a call log of the calls from the
//	                                      FROM-th to before the TO-th of so many
//	benchdata upload SEED CALLS ROWS      writes conversions of those calls
//	benchdata measure FILE PROGRAM ARG …  runs a program and adds a line with its
//	                                      seconds, those of CPU, and its peak
//	                                      kilobytes to FILE
//	benchdata compare A.csv B.csv         fails unless two results files agree;
//	                                      prints how many rows met which result
//	                                      and which code
//
// The same arguments write the same bytes on every machine and every day. What
// is held in memory is a few bytes for each row, not the rows.
package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"calltally/conversion"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "benchdata: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	command, args := args[0], args[1:]
	switch {
	case command == "calls" && len(args) == 4:
		n, err := numbers(args)
		if err != nil {
			return err
		}
		return writeCalls(os.Stdout, world{seed: n[0]}, n[1], n[2], min(n[3], n[1]))
	case command == "upload" && len(args) == 3:
		n, err := numbers(args)
		if err != nil {
			return err
		}
		return writeUpload(os.Stdout, world{seed: n[0]}, n[1], n[2])
	case command == "measure" && len(args) > 1:
		return measure(args[0], args[1:])
	case command == "compare" && len(args) == 2:
		return compare(os.Stdout, args[0], args[1])
	}
	return fmt.Errorf("%s is no command, or has too few arguments", command)
}

func numbers(args []string) ([]int, error) {
	n := make([]int, len(args))
	for i, arg := range args {
		var err error
		if n[i], err = strconv.Atoi(arg); err != nil || n[i] < 0 {
			return nil, fmt.Errorf("%q is not a number", arg)
		}
	}
	return n, nil
}

// ------------------------------------------------------------------- the world

// world says all there is to know of each call and each row, by its number.
type world struct{ seed int }

// What dice are thrown for.
const (
	forCall = iota
	forLabel
	forSale
	forRow
	forOrder
)

// dice are the same for the same seed, purpose and number.
func (w world) dice(purpose, number int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(w.seed)<<8|uint64(purpose), uint64(number)))
}

// Calls are spread over 80 days that are past on any clock.
const days = 80

var firstDay = time.Date(2025, 4, 12, 0, 0, 0, 0, time.UTC)

type call struct {
	start    time.Time
	duration int // seconds
	caller   int // ten digits
}

// call tells call k of n. Calls come in the order of time, but for those who
// call again: one call in twenty has the caller of the one before it, half of
// them within five minutes, the others within three days.
func (w world) call(k, n int) call {
	dice := w.dice(forCall, k)
	second := int(int64(days*86_400) * int64(k) / int64(n))
	c := call{
		start:    firstDay.Add(time.Duration(second) * time.Second),
		duration: 5 + dice.IntN(900),
		caller:   number(dice),
	}
	if k%20 != 19 {
		return c
	}
	before, gap := w.call(k-1, n), 10+dice.IntN(290)
	if dice.IntN(2) == 0 {
		gap += dice.IntN(3 * 86_400)
	}
	c.caller, c.start = before.caller, before.start.Add(time.Duration(gap)*time.Second)
	return c
}

// number makes up a North American telephone number.
func number(dice *rand.Rand) int {
	return (200+dice.IntN(800))*10_000_000 + (200+dice.IntN(800))*10_000 + dice.IntN(10_000)
}

func e164(number int) string { return fmt.Sprintf("+1%d", number) }

func dashed(number int) string {
	return fmt.Sprintf("%03d-%03d-%04d", number/10_000_000, number/10_000%1000, number%10_000)
}

func writeCalls(to io.Writer, w world, n, first, end int) error {
	out := csv.NewWriter(to)
	out.Write([]string{"call_id", "start_time", "duration_in_seconds", "calling_phone_number", "called_phone_number", "campaign_id", "publisher_id", "click_id", "status"})
	for k := first; k < end; k++ {
		c, dice := w.call(k, n), w.dice(forLabel, k)
		out.Write([]string{
			fmt.Sprintf("%04X-%08X", dice.IntN(1<<16), k), c.start.Format(time.RFC3339), strconv.Itoa(c.duration), e164(c.caller),
			fmt.Sprintf("+1800555%04d", dice.IntN(100)), fmt.Sprintf("C%03d", dice.IntN(200)), fmt.Sprintf("P%04d", dice.IntN(2000)),
			fmt.Sprintf("%016x", dice.Uint64()), "connected",
		})
	}
	out.Flush()
	return out.Error()
}

// ------------------------------------------------------------------ the upload

// The upload's rows, in thousandths. The rest tells of a call exactly as it was.
const (
	jittered   = 120 // the start time is up to a minute off
	duplicates = 30  // an earlier row once more, one in three with a new amount
	unknown    = 30  // no such call
	damaged    = 20  // an amount or a caller that can't be read
)

// sale is one row of the upload.
type sale struct {
	start     time.Time
	duration  string
	caller    string
	reference string
	reason    string
	skus      string
	amount    string
}

// originals are the sales that the upload tells of; order says which calls they
// belong to.
type originals struct {
	world
	order []int // call numbers, shuffled
}

// sale tells original i: the first len(order) each of another call, the next
// ones of the same calls again with another SKU.
func (o originals) sale(i int) sale {
	dice, n := o.dice(forSale, i), len(o.order)
	c, round := o.call(o.order[i%n], n), i/n
	s := sale{
		start: c.start, caller: e164(c.caller), reference: fmt.Sprintf("R%09d", i),
		reason: []string{"S", "S", "S", "CB"}[dice.IntN(4)],
		skus:   fmt.Sprintf("SKU-%05d", (dice.IntN(100)+100*round)%100_000),
		amount: money(dice),
	}
	if dice.IntN(1000) < jittered*1000/(1000-duplicates-unknown-damaged) {
		s.start = s.start.Add(time.Duration(dice.IntN(121)-60) * time.Second)
	}
	if dice.IntN(4) > 0 {
		s.duration = strconv.Itoa(c.duration)
	}
	if dice.IntN(10) == 0 {
		s.caller = dashed(c.caller)
	}
	if dice.IntN(10) == 0 {
		s.skus += fmt.Sprintf(",ADD-%02d", dice.IntN(50))
	}
	return s
}

// money makes up an amount; one in twenty is written as people write it.
func money(dice *rand.Rand) string {
	if dice.IntN(20) == 0 {
		return fmt.Sprintf("$%d,%03d.%02d", 1+dice.IntN(9), dice.IntN(1000), dice.IntN(100))
	}
	return fmt.Sprintf("%d.%02d", 5+dice.IntN(500), dice.IntN(100))
}

// row tells row j of n, before the rows are shuffled: first the originals, then
// the others.
func (o originals) row(j, n int) sale {
	firstDuplicate := n * (1000 - duplicates - unknown - damaged) / 1000
	firstUnknown := n * (1000 - unknown - damaged) / 1000
	firstDamaged := n * (1000 - damaged) / 1000
	if j < firstDuplicate {
		return o.sale(j)
	}
	dice := o.dice(forRow, j)
	if j < firstUnknown {
		s := o.sale(dice.IntN(max(firstDuplicate, 1)))
		if dice.IntN(3) == 0 {
			s.amount = money(dice)
		}
		return s
	}
	s := o.sale(j)
	switch {
	case j < firstDamaged && dice.IntN(2) == 0: // an hour off
		s.start = s.start.Add(time.Hour)
	case j < firstDamaged:
		s.caller = e164(number(dice))
	case dice.IntN(2) == 0:
		s.amount = []string{"n/a", "12.3.4", "4O.00"}[dice.IntN(3)]
	default:
		s.caller = []string{"12345", "2.12556E+09", "call me"}[dice.IntN(3)]
	}
	return s
}

func writeUpload(to io.Writer, w world, calls, rows int) error {
	o := originals{w, w.dice(forOrder, 0).Perm(calls)}
	out := csv.NewWriter(to)
	out.Write([]string{"start_time_t", "calling_phone_number", "duration_in_seconds", "reference_id", "reason_code", "sku_list", "sale_amount", "sale_currency"})
	for _, j := range w.dice(forOrder, 1).Perm(rows) {
		s := o.row(j, rows)
		out.Write([]string{strconv.FormatInt(s.start.Unix(), 10), s.caller, s.duration, s.reference, s.reason, s.skus, s.amount, "USD"})
	}
	out.Flush()
	return out.Error()
}

// ------------------------------------------------------------------- measuring

// measure runs a program and notes what it took. Exit code 3 is fine: some rows
// were rejected.
func measure(file string, command []string) error {
	const someRejected = 3
	program := exec.Command(command[0], command[1:]...)
	program.Stdin, program.Stdout, program.Stderr = os.Stdin, os.Stdout, os.Stderr
	began := time.Now()
	err := program.Run()
	took := time.Since(began)
	var failed *exec.ExitError
	if err != nil && !(errors.As(err, &failed) && failed.ExitCode() == someRejected) {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	to, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	used := program.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := program.ProcessState.UserTime() + program.ProcessState.SystemTime()
	_, err = fmt.Fprintf(to, "%.3f %.3f %d\n", took.Seconds(), cpu.Seconds(), used.Maxrss)
	return errors.Join(err, to.Close())
}

// ------------------------------------------------------------------- comparing

// compared are the columns in which two results files must agree.
var compared = []string{"result", "code", "call_id", "call_start_time", "conversion_id", "start_time_t", "calling_phone_number", "reference_id", "sale_amount"}

// compare reads two results files side by side.
func compare(to io.Writer, a, b string) error {
	left, err := openResults(a)
	if err != nil {
		return err
	}
	defer left.file.Close()
	right, err := openResults(b)
	if err != nil {
		return err
	}
	defer right.file.Close()
	verdicts, codes := tally{}, tally{}
	for line := 2; ; line++ {
		l, errLeft := left.next()
		r, errRight := right.next()
		if errors.Is(errLeft, io.EOF) && errors.Is(errRight, io.EOF) {
			_, err := fmt.Fprintf(to, "%s\n%s\n", verdicts, codes)
			return err
		}
		if err := errors.Join(errLeft, errRight); err != nil {
			return fmt.Errorf("line %d of %s and %s: %w", line, a, b, err)
		}
		if !slices.Equal(l, r) {
			return fmt.Errorf("line %d differs:\n%s: %q\n%s: %q", line, a, l, b, r)
		}
		verdicts[l[0]]++
		codes[l[1]]++
	}
}

// tally counts words.
type tally map[string]int

// String lists the words with their counts; "" is not a word.
func (t tally) String() string {
	var parts []string
	for _, word := range slices.Sorted(maps.Keys(t)) {
		if word != "" {
			parts = append(parts, fmt.Sprintf("%d %s", t[word], word))
		}
	}
	return strings.Join(parts, ", ")
}

// results reads the compared columns of a results file.
type results struct {
	file *os.File
	csv  *csv.Reader
	at   []int
	row  []string
}

func openResults(name string) (*results, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &results{file: file, csv: csv.NewReader(file), row: make([]string, len(compared))}
	r.csv.ReuseRecord = true
	header, err := r.csv.Read()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	for _, column := range compared {
		at := slices.Index(header, column)
		if at < 0 {
			return nil, errors.Join(fmt.Errorf("%s has no column %s", name, column), file.Close())
		}
		r.at = append(r.at, at)
	}
	return r, nil
}

func (r *results) next() ([]string, error) {
	cells, err := r.csv.Read()
	if err != nil {
		return nil, err
	}
	for i, at := range r.at {
		r.row[i] = cells[at]
		if compared[i] == "conversion_id" {
			r.row[i] = lineOf(cells[at])
		}
	}
	return r.row, nil
}

// lineOf is the line that a conversion's id was made of: of which upload depends on how
// many files the calls came in.
func lineOf(cell string) string {
	id, err := strconv.ParseInt(cell, 10, 64)
	if err != nil {
		return cell
	}
	return strconv.Itoa(conversion.LineOf(id))
}
