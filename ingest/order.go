package ingest

import (
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"calltally/conversion"
)

// order names the order that a row belongs to, by its cells of the columns that the
// rows of one share; nil if the row stands for itself. The first one is never blank.
type order []string

func (t *Table) orderOf(cells []string) order {
	var o order
	for n, column := range t.Dialect.Together {
		cell := ""
		if at, ok := t.index[column]; ok && at < len(cells) {
			cell = strings.TrimSpace(unwrap(strings.TrimSpace(cells[at])))
		}
		if n == 0 && cell == "" {
			return nil
		}
		o = append(o, cell)
	}
	return o
}

// joined is the order of two rows that stand together, if they are of one: what is
// blank in one of them is as in the other. It is nil if they aren't.
func (o order) joined(next order) order {
	if o == nil || next == nil || o[0] != next[0] {
		return nil
	}
	both := slices.Clone(o)
	for i, cell := range next {
		switch {
		case both[i] == "":
			both[i] = cell
		case cell != "" && cell != both[i]:
			return nil
		}
	}
	return both
}

// vague reports whether an order's rows name it by nothing but its id.
func (o order) vague() bool { return strings.Join(o[1:], "") == "" }

// orderRuns finds the orders whose rows don't stand together. Orders are remembered
// by digests: a file may have millions.
type orderRuns struct {
	seed  maphash.Seed
	now   order    // of the row before
	runs  []uint64 // of every run of rows of one order
	ids   []uint64 // of every run's first cell
	vague []uint64 // of those that are nothing but that
}

func newOrderRuns() orderRuns { return orderRuns{seed: maphash.MakeSeed()} }

// add takes in the next row.
func (r *orderRuns) add(next order) {
	if joined := r.now.joined(next); joined != nil {
		r.now = joined
		return
	}
	r.end()
	r.now = next
}

// end ends a run of rows.
func (r *orderRuns) end() {
	if r.now == nil {
		return
	}
	r.runs = append(r.runs, r.digest(r.now))
	id := r.digest(r.now[:1])
	r.ids = append(r.ids, id)
	if r.now.vague() {
		r.vague = append(r.vague, id)
	}
	r.now = nil
}

func (r *orderRuns) digest(o order) uint64 {
	return maphash.String(r.seed, strings.Join(o, "\x00"))
}

// scattered tells which orders have rows that don't stand together, or may have.
type scattered func(order) bool

func (r *orderRuns) scattered() scattered {
	r.end()
	runs, ids := repeated(r.runs), repeated(r.ids)
	vague := map[uint64]bool{}
	for _, id := range r.vague {
		if ids[id] {
			vague[id] = true
		}
	}
	return func(o order) bool { return o != nil && (runs[r.digest(o)] || vague[r.digest(o[:1])]) }
}

// repeated are the digests that occur more than once.
func repeated(digests []uint64) map[uint64]bool {
	slices.Sort(digests)
	twice := map[uint64]bool{}
	for i := 1; i < len(digests); i++ {
		if digests[i] == digests[i-1] {
			twice[digests[i]] = true
		}
	}
	return twice
}

// togetherLabel names the columns that rows of one order share.
func (t *Table) togetherLabel() string {
	var labels []string
	for _, column := range t.Dialect.Together {
		if at, ok := t.index[column]; ok {
			labels = append(labels, strings.TrimSpace(t.Header[at]))
		}
	}
	last := len(labels) - 1
	if last < 1 {
		return strings.Join(labels, "")
	}
	return strings.Join(labels[:last], ", ") + " and " + labels[last]
}

// mostOrderRows bounds the rows of an order.
const mostOrderRows = 10_000

// order reads the rows of an order, which begin with first, into one claim; if
// that can't be, it leaves a rejection for each row.
func (c *Claims) order(first sentRow) (conversion.Claim, error) {
	rows, of, broken, err := c.orderRows(first)
	if err != nil {
		return conversion.Claim{}, err
	}
	p := &c.parse
	claim := p.orderClaim(rows)
	claim.Line = first.line
	for _, row := range rows[1:] {
		claim.Others = append(claim.Others, row.line)
	}
	p.begin(first)
	switch id := p.table.Dialect.Together[0]; {
	case len(rows) > mostOrderRows, c.long.joined(of) != nil:
		c.long = of
		p.fault(conversion.ItemsIncomplete, id, "", "The order has more than %d rows. Split it into several.", mostOrderRows)
	case broken != 0 && of != nil:
		p.fault(conversion.ItemsIncomplete, id, "", "Line %d, next to this order, can't be taken apart and may belong to it, so nothing of the order was taken. Correct that line and send both again.", broken)
	case p.table.scattered(of):
		p.fault(conversion.ItemsIncomplete, id, "", "The rows of this order don't stand together in the file, so it can't be told whether they are one. Sort the file by %s.", p.table.togetherLabel())
	}
	c.left = p.rejectionsOf(rows)
	return claim, nil
}

// orderRows reads on to the end of the order that begins with a row. broken is the
// line next to it that can't be taken apart; 0 for none.
func (c *Claims) orderRows(first sentRow) (rows []sentRow, of order, broken int, err error) {
	of, broken = c.parse.table.orderOf(first.cells), c.broken
	c.broken = 0
	rows = []sentRow{first}
	for of != nil && len(rows) <= mostOrderRows {
		row, err := c.cells.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, 0, err
		}
		var joined order
		if row.broken == nil {
			joined = of.joined(c.parse.table.orderOf(row.cells))
		}
		if joined == nil {
			c.ahead = append(c.ahead, row)
			if row.broken != nil {
				broken = row.line
			}
			break
		}
		rows, of = append(rows, row), joined
	}
	return rows, of, broken, nil
}
