package ingest

import (
	"bufio"
	"bytes"
	"strings"
)

// hasFormulas reports whether a chunk holds a cell that starts with =".
func hasFormulas(chunk []byte) bool {
	for {
		at := bytes.Index(chunk, []byte(`="`))
		if at < 0 {
			return false
		}
		if at > 0 && bytes.IndexByte([]byte(",;\t|\r\n"), chunk[at-1]) >= 0 {
			return true
		}
		chunk = chunk[at+2:]
	}
}

// formulaQuoter writes a cell ="0503" as "=""0503""", as CSV wants it, and leaves
// all else as it is.
type formulaQuoter struct {
	in   *bufio.Reader
	out  []byte // written and not read yet
	cell cellState
}

// cellState is where in a cell a reader stands.
type cellState int

const (
	cellBegins cellState = iota
	cellBare
	cellQuoted
	cellFormula
)

func (f *formulaQuoter) Read(p []byte) (int, error) {
	for len(f.out) < len(p) {
		c, err := f.in.ReadByte()
		if err != nil {
			if f.cell == cellFormula {
				f.out, f.cell = append(f.out, '"'), cellBare
			}
			if len(f.out) > 0 {
				break
			}
			return 0, err
		}
		f.step(c)
	}
	n := copy(p, f.out)
	f.out = f.out[:copy(f.out, f.out[n:])]
	return n, nil
}

// endsCell reports whether a byte may stand between cells.
func endsCell(c byte) bool { return strings.IndexByte(",;\t|\r\n", c) >= 0 }

func (f *formulaQuoter) step(c byte) {
	switch {
	case f.cell == cellFormula && c == '"':
		f.quotesInFormula()
		return
	case f.cell == cellFormula && c == '\n': // it was never closed
		f.out, f.cell = append(f.out, '"'), cellBegins
	case f.cell == cellFormula:
	case f.cell == cellQuoted:
		if c == '"' && f.next() == '"' {
			f.out = append(f.out, c)
			_, _ = f.in.Discard(1)
		} else if c == '"' {
			f.cell = cellBare
		}
	case endsCell(c):
		f.cell = cellBegins
	case f.cell == cellBegins && c == '"':
		f.cell = cellQuoted
	case f.cell == cellBegins && c == '=' && f.next() == '"':
		_, _ = f.in.Discard(1)
		f.out, f.cell = append(f.out, `"=""`...), cellFormula
		return
	default:
		f.cell = cellBare
	}
	f.out = append(f.out, c)
}

// quotesInFormula doubles a run of quotes, whose first was read. An odd run
// before the cell's end closes the formula.
func (f *formulaQuoter) quotesInFormula() {
	run := 1
	for ; f.next() == '"'; run++ {
		_, _ = f.in.Discard(1)
	}
	f.out = append(f.out, strings.Repeat(`""`, run)...)
	if next := f.next(); run%2 == 1 && (next == 0 || endsCell(next)) {
		f.out, f.cell = append(f.out, '"'), cellBare
	}
}

// next looks at the next byte; 0 at the end.
func (f *formulaQuoter) next() byte {
	ahead, _ := f.in.Peek(1)
	if len(ahead) == 0 {
		return 0
	}
	return ahead[0]
}
