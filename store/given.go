package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/sqlite"
	"modernc.org/sqlite/vtab"
)

// given is a table whose rows a Go function makes as SQLite asks for them: one
// statement writes or looks up any number of rows, which is faster than binding each
// value to a statement's parameter. Every connection has it; a statement names what
// to take the rows from by a ticket: FROM given(?).
type given struct {
	rows int
	args func(row int, into []any) []any
}

// mostGiven is how many columns a given row may have.
const mostGiven = 32

// tickets are the rows that statements are about to take.
var tickets = struct {
	sync.RWMutex
	last  int64
	given map[int64]given
}{given: map[int64]given{}}

// offer offers rows to a statement until they are withdrawn.
func offer(rows int, args func(row int, into []any) []any) (ticket int64, withdraw func()) {
	tickets.Lock()
	defer tickets.Unlock()
	tickets.last++
	ticket = tickets.last
	tickets.given[ticket] = given{rows, args}
	return ticket, func() {
		tickets.Lock()
		defer tickets.Unlock()
		delete(tickets.given, ticket)
	}
}

// givenColumns names the first columns of given.
func givenColumns(n int) string {
	var names strings.Builder
	for i := range n {
		fmt.Fprintf(&names, ", c%d", i)
	}
	return names.String()[2:]
}

// connector opens connections that have the table given.
type connector struct {
	driver.Connector
	then string // run on each connection
}

// registerGiven makes the table known to the engine, once.
var registerGiven = sync.OnceValue(func() error { return vtab.RegisterModule(nil, "given", givenModule{}) })

func newConnector(dsn, then string) (driver.Connector, error) {
	if err := registerGiven(); err != nil {
		return nil, err
	}
	base, err := sqlite.NewConnector(dsn)
	return connector{base, then}, err
}

// Connect opens a connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "CREATE VIRTUAL TABLE temp.given USING given; "+c.then, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	engine, complete := conn.(connection)
	if !complete {
		return nil, errors.Join(fmt.Errorf("%T can't do all that is needed", conn), conn.Close())
	}
	return &preparing{connection: engine}, nil
}

type givenModule struct{}

// Create declares the table on a connection.
func (givenModule) Create(c vtab.Context, _ []string) (vtab.Table, error) {
	return givenTable{}, c.Declare("CREATE TABLE given (" + givenColumns(mostGiven) + ", ticket HIDDEN)")
}

// Connect declares the table on a connection.
func (m givenModule) Connect(c vtab.Context, args []string) (vtab.Table, error) {
	return m.Create(c, args)
}

type givenTable struct{}

// BestIndex asks for the ticket.
func (givenTable) BestIndex(info *vtab.IndexInfo) error {
	for i := range info.Constraints {
		if c := &info.Constraints[i]; c.Column == mostGiven && c.Op == vtab.OpEQ && c.Usable {
			c.ArgIndex, c.Omit = 0, true
			info.EstimatedCost, info.EstimatedRows = 1, 1
			return nil
		}
	}
	return errors.New("given needs a ticket")
}

// Open opens a cursor.
func (givenTable) Open() (vtab.Cursor, error) { return &givenCursor{}, nil }

// Disconnect has nothing to do.
func (givenTable) Disconnect() error { return nil }

// Destroy has nothing to do.
func (givenTable) Destroy() error { return nil }

// givenCursor goes over the rows that a ticket is for.
type givenCursor struct {
	given
	row   int
	made  bool // whether cells are those of row
	cells []any
}

// Filter turns to the ticket's first row.
func (c *givenCursor) Filter(_ int, _ string, args []vtab.Value) error {
	tickets.RLock()
	defer tickets.RUnlock()
	ticket, _ := args[0].(int64)
	offered, known := tickets.given[ticket]
	if !known {
		return fmt.Errorf("nothing is given for ticket %v", args[0])
	}
	c.given, c.row, c.made = offered, 0, false
	return nil
}

// Next turns to the next row.
func (c *givenCursor) Next() error {
	c.row, c.made = c.row+1, false
	return nil
}

// Eof reports whether all rows were taken.
func (c *givenCursor) Eof() bool { return c.row >= c.rows }

// Column returns a cell of the row.
func (c *givenCursor) Column(at int) (vtab.Value, error) {
	if !c.made {
		c.cells, c.made = c.args(c.row, c.cells[:0]), true
	}
	if at >= len(c.cells) {
		return nil, fmt.Errorf("row %d of those given has no column %d", c.row, at)
	}
	switch cell := c.cells[at].(type) {
	case int:
		return int64(cell), nil
	case int64, string, []byte, nil:
		return cell, nil
	default:
		return driver.DefaultParameterConverter.ConvertValue(cell)
	}
}

// Rowid numbers the rows.
func (c *givenCursor) Rowid() (int64, error) { return int64(c.row), nil }

// Close has nothing to do.
func (c *givenCursor) Close() error { return nil }
