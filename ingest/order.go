package ingest

import (
	"cmp"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"calltally/conversion"
)

// order is the order that a row belongs to: its id and its event type, "" if the row
// leaves that blank. The zero order has no id: its row stands for itself.
type order struct{ id, eventType string }

func (t *Table) orderOf(cells []string) (o order) {
	for n, column := range t.Dialect.Together {
		cell := ""
		if at, ok := t.index[column]; ok && at < len(cells) {
			cell = strings.TrimSpace(unwrap(strings.TrimSpace(cells[at])))
		}
		switch {
		case n == 0:
			o.id = cell
		case o.eventType == "":
			o.eventType = cell
		}
	}
	if known := t.settings.Account.EventType(o.eventType); known != nil {
		o.eventType = known.Name
	}
	return o
}

// joined is the order of two rows that stand together, if they are of one: what is
// blank in one of them is as in the other. It is the zero order if they aren't.
func (o order) joined(next order) order {
	if o.id == "" || o.id != next.id || o.eventType != "" && next.eventType != "" && o.eventType != next.eventType {
		return order{}
	}
	return order{o.id, cmp.Or(o.eventType, next.eventType)}
}

// orderRuns finds the orders whose rows don't stand together. Orders are remembered
// by digests: a file may have millions.
type orderRuns struct {
	seed   maphash.Seed
	now    order    // of the row before
	blank  bool     // a row of it leaves its event type blank
	runs   []uint64 // of every run of rows of one order
	ids    []uint64 // of every run's id
	blanks []uint64 // of those with rows that leave the event type blank
}

func newOrderRuns() orderRuns { return orderRuns{seed: maphash.MakeSeed()} }

// add takes in the next row.
func (r *orderRuns) add(next order) {
	joined := r.now.joined(next)
	if joined.id == "" {
		r.end()
		joined = next
	}
	r.now, r.blank = joined, r.blank || next.eventType == ""
}

// end ends a run of rows.
func (r *orderRuns) end() {
	if r.now.id != "" {
		id := r.digest(r.now.id)
		r.runs, r.ids = append(r.runs, r.digest(r.now.id, r.now.eventType)), append(r.ids, id)
		if r.blank {
			r.blanks = append(r.blanks, id)
		}
	}
	r.now, r.blank = order{}, false
}

func (r *orderRuns) digest(texts ...string) uint64 {
	return maphash.String(r.seed, strings.Join(texts, "\x00"))
}

// scattered says what keeps an order's rows from being told from others; "" if nothing
// does.
type scattered func(order) string

func (r *orderRuns) scattered(t *Table) scattered {
	r.end()
	runs, ids := repeated(r.runs), repeated(r.ids)
	vague := map[uint64]bool{}
	for _, id := range r.blanks {
		if ids[id] {
			vague[id] = true
		}
	}
	return func(o order) string {
		switch {
		case o.id == "":
		case runs[r.digest(o.id, o.eventType)]:
			return "The rows of this order don't stand together in the file, so it can't be told whether they are one. Sort the file by " + t.togetherLabel() + "."
		case vague[r.digest(o.id)]:
			return "The file has several orders of this id, and a row that doesn't say which of them it is of. Fill in its event type."
		}
		return ""
	}
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
	case len(rows) > mostOrderRows, c.long.joined(of).id != "":
		c.long = of
		p.fault(conversion.ItemsIncomplete, id, "", "The order has more than %d rows. Split it into several.", mostOrderRows)
	case broken != 0 && of.id != "":
		p.fault(conversion.ItemsIncomplete, id, "", "Line %d, next to this order, can't be taken apart and may belong to it, so nothing of the order was taken. Correct that line and send both again.", broken)
	default:
		if why := p.table.scattered(of); why != "" {
			p.fault(conversion.ItemsIncomplete, id, "", "%s", why)
		}
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
	for of.id != "" && len(rows) <= mostOrderRows {
		row, err := c.cells.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, order{}, 0, err
		}
		var joined order
		if row.broken == nil {
			joined = of.joined(c.parse.table.orderOf(row.cells))
		}
		if joined.id == "" {
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
