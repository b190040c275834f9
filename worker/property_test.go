package worker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
)

// draw makes up uploads; the same seed makes up the same.
type draw struct{ *rand.Rand }

func newDraw(seed uint64) draw { return draw{rand.New(rand.NewPCG(seed, 23))} }

func (d draw) oneOf(words ...string) string { return words[d.IntN(len(words))] }

const drawnHeader = "start_time,calling_phone_number,reference_id,parent_reference_id,reason_code,sku_list,sale_amount,email_address\n"

// row makes up a row about one of a few calls; some rows have no call, can't be
// read, or name the conversion that they are about.
func (d draw) row() string {
	call := d.IntN(5)
	start := callStart(call)
	from := fmt.Sprintf("+%d", int64(caller(call)))
	switch d.IntN(12) {
	case 0:
		start = start.Add(20 * time.Second)
	case 1:
		start = start.Add(-3 * time.Hour)
	case 2:
		from = ""
	case 3:
		from = "911911911911911911"
	}
	parent := ""
	if d.IntN(5) == 0 {
		parent = d.oneOf("A", "B", "D")
	}
	return fmt.Sprintf("%s,%s,%s,%s,%s,%s,%s,%s\n", start.Format(time.RFC3339), from, d.oneOf("", "A", "B", "D"), parent, d.oneOf("", "S", "L"), d.oneOf("", "", "", "X"),
		d.oneOf("", "0", "10.00", "20.00", "30.00", "oops"), d.oneOf("", "", "jo@acme.example"))
}

func (d draw) rows(most int) []string {
	rows := make([]string, 1+d.IntN(most))
	for i := range rows {
		if i > 0 && d.IntN(6) == 0 {
			rows[i] = rows[d.IntN(i)] // the same row once more
			continue
		}
		rows[i] = d.row()
	}
	return rows
}

// account makes up an account's rules.
func (d draw) account() func(*conversion.Account) {
	mode := conversion.Modes[d.IntN(len(conversion.Modes))]
	key := conversion.DefaultKey
	if d.IntN(3) == 0 {
		key = []conversion.KeyPart{conversion.KeyCall, conversion.KeyReferenceID}
	}
	repeats, limit := []conversion.Repeats{"", "", conversion.RepeatsOnce, conversion.RepeatsApply}[d.IntN(4)], d.IntN(8)
	return func(a *conversion.Account) {
		a.Duplicates = conversion.DuplicateRules{Key: key, Mode: mode, Repeats: repeats}
		if limit > 5 {
			a.ErrorLimit = limit - 4
		}
	}
}

const seeds = 25

// How many rows are decided together changes no outcome and nothing in the
// ledger.
func TestChunksChangeNothing(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := newDraw(seed)
			rules := d.account()
			var uploads []string
			for range 3 {
				uploads = append(uploads, drawnHeader+strings.Join(d.rows(14), ""))
			}
			run := func(chunk int) (told []string, ledger []string) {
				b := newBench(t, rules)
				b.know(0, 5)
				b.ChunkRows = chunk
				for _, content := range uploads {
					upload := b.deliver("orders.csv", content)
					for _, o := range b.outcomes(upload.ID) {
						told = append(told, fmt.Sprintf("upload %d: %+v", upload.ID, o))
					}
				}
				b.check()
				return told, b.ledger()
			}
			wholeTold, wholeLedger := run(0)
			for _, chunk := range []int{1, 3} {
				told, ledger := run(chunk)
				for what, difference := range map[string]string{"outcomes": firstDifference(told, wholeTold), "the ledger": firstDifference(ledger, wholeLedger)} {
					if difference != "" {
						t.Errorf("%s in chunks of %d (got), all rows together (want):\n%s", what, chunk, difference)
					}
				}
				if t.Failed() {
					t.Fatalf("rules %+v, uploads:\n%s", rulesOf(rules), strings.Join(uploads, "\n"))
				}
			}
		})
	}
}

func rulesOf(change func(*conversion.Account)) conversion.DuplicateRules {
	var a conversion.Account
	change(&a)
	return a.Duplicates
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return "got  " + g + "\nwant " + w
		}
	}
	return ""
}

// Which call a row means doesn't depend on the rows around it.
func TestTheOrderOfRowsChangesNoMatch(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := newDraw(seed)
			rows := make([]string, 12)
			for i := range rows { // no references: those tie rows together
				call := d.IntN(5)
				rows[i] = fmt.Sprintf("%s,+%d,,,%s,,%d.%02d,\n", callStart(call).Add(time.Duration(d.IntN(400)-200)*time.Second).Format(time.RFC3339), int64(caller(d.IntN(5))), d.oneOf("S", "L"), i, i)
			}
			match := func(rows []string, chunk int) []string {
				b := newBench(t, func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeCreate })
				b.know(0, 5)
				b.ChunkRows = chunk
				var matches []string
				for i, o := range b.outcomes(b.deliver("orders.csv", drawnHeader+strings.Join(rows, "")).ID) {
					matches = append(matches, fmt.Sprintf("%s%s call %q %v %v", rows[i], o.Code, o.CallID, o.CallStart, o.Near))
				}
				slices.Sort(matches)
				b.check()
				return matches
			}
			want := match(rows, 0)
			d.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			if difference := firstDifference(match(rows, 4), want); difference != "" {
				t.Errorf("shuffled rows match otherwise:\n%s", difference)
			}
		})
	}
}

// Files that overlap come to what one file with the rows of all comes to: the
// most often that any of them has a row, it counts.
func TestOverlappingFilesEqualTheirUnion(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := newDraw(seed)
			pool := make([]string, 6)
			for i := range pool {
				call := d.IntN(3)
				pool[i] = line(call, d.oneOf("", fmt.Sprint("R", call)), d.oneOf("S", "L"), fmt.Sprintf("%d.00", i))
			}
			var files []string
			most := make([]int, len(pool))
			for range 3 {
				content, count := "", make([]int, len(pool))
				for range 1 + d.IntN(10) {
					i := d.IntN(len(pool))
					count[i]++
					content += pool[i]
				}
				for i := range most {
					most[i] = max(most[i], count[i])
				}
				files = append(files, content)
			}
			union := ""
			for i, n := range most {
				union += strings.Repeat(pool[i], n)
			}
			sales := func(files ...string) []string {
				b := newBench(t, func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeCreate })
				b.know(0, 3)
				b.ReadRows, b.ChunkRows = 1+d.IntN(4), 1+d.IntN(9)
				for i, content := range files {
					b.deliver(fmt.Sprint(i, ".csv"), table(content))
				}
				b.check()
				return b.sales()
			}
			if got, want := sales(files...), sales(union); !slices.Equal(got, want) {
				t.Errorf("the files come to %v, their union to %v", got, want)
			}
		})
	}
}

// A row that names a conversion by its reference means the newest that has that
// reference now, also if rows just before it gave or took references.
func TestAReferenceThatChangedInTheSameFile(t *testing.T) {
	row := func(reference, parent, reason, sale string) string {
		return fmt.Sprintf("%s,+%d,%s,%s,%s,,%s,\n", callStart(0).Format(time.RFC3339), int64(caller(0)), reference, parent, reason, sale)
	}
	tests := []struct {
		name, verdicts string
		rows           []string
		sales          []string
	}{
		{"an old reference names nothing", "created updated rejected:conversion_not_found updated",
			[]string{row("old", "", "S", "10.00"), row("new", "", "S", "20.00"), row("", "old", "S", "30.00"), row("", "new", "S", "40.00")},
			[]string{"C0=40.00"}},
		{"an old reference names the one that still has it", "created created updated updated",
			[]string{row("old", "", "S", "10.00"), row("old", "", "L", "20.00"), row("new", "", "L", "30.00"), row("", "old", "S", "40.00")},
			[]string{"C0=30.00", "C0=40.00"}},
	}
	for _, test := range tests {
		for _, chunk := range []int{0, 1, 2, 3} {
			t.Run(fmt.Sprintf("%s, chunks of %d", test.name, chunk), func(t *testing.T) {
				b := newBench(t, nil)
				b.know(0, 1)
				b.ChunkRows = chunk
				upload := b.deliver("orders.csv", drawnHeader+strings.Join(test.rows, ""))
				b.wantVerdicts(upload.ID, test.verdicts)
				b.wantSales(test.sales...)
				b.check()
			})
		}
	}
}
