package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

// preparing is a connection that keeps the statements it has made of their texts: for
// few rows, making one takes longer than running it.
type preparing struct {
	connection
	idle map[string][]driver.Stmt
	kept int
}

// connection is what the engine's connections can do.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// mostPrepared is how many statements a connection keeps. Their texts name accounts, of
// which there may be many.
const mostPrepared = 128

// ExecContext runs a statement.
func (p *preparing) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if !isKept(text) {
		return p.connection.ExecContext(ctx, text, args)
	}
	statement, err := p.take(ctx, text)
	if err != nil {
		return nil, err
	}
	result, err := statement.(driver.StmtExecContext).ExecContext(ctx, args)
	return result, errors.Join(err, p.keep(text, statement, err))
}

// QueryContext runs a query.
func (p *preparing) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if !isKept(text) {
		return p.connection.QueryContext(ctx, text, args)
	}
	statement, err := p.take(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := statement.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, p.keep(text, statement, err))
	}
	return &preparedRows{Rows: rows, of: p, text: text, statement: statement}, nil
}

// Close closes the connection.
func (p *preparing) Close() error { return errors.Join(p.forget(), p.connection.Close()) }

// isKept reports whether a statement is likely to be run again: all but those that make
// tables and set options.
func isKept(text string) bool {
	word, _, _ := strings.Cut(strings.TrimLeft(text, " \t\n"), " ")
	switch word {
	case "SELECT", "WITH", "INSERT", "UPDATE", "DELETE":
		return true
	}
	return false
}

// take takes a statement that nobody uses. One is in use until its rows were read:
// while they are, the same text may be run again.
func (p *preparing) take(ctx context.Context, text string) (driver.Stmt, error) {
	if idle := p.idle[text]; len(idle) > 0 {
		p.idle[text] = idle[:len(idle)-1]
		p.kept--
		return idle[len(idle)-1], nil
	}
	return p.PrepareContext(ctx, text)
}

// keep takes a statement back; one that has failed is closed.
func (p *preparing) keep(text string, statement driver.Stmt, failure error) error {
	if failure != nil {
		return statement.Close()
	}
	var err error
	if p.kept >= mostPrepared {
		err = p.forget()
	}
	if p.idle == nil {
		p.idle = map[string][]driver.Stmt{}
	}
	p.idle[text] = append(p.idle[text], statement)
	p.kept++
	return err
}

// forget closes all statements that nobody uses.
func (p *preparing) forget() error {
	var failures []error
	for _, idle := range p.idle {
		for _, statement := range idle {
			failures = append(failures, statement.Close())
		}
	}
	p.idle, p.kept = nil, 0
	return errors.Join(failures...)
}

// preparedRows give their statement back when they are closed.
type preparedRows struct {
	driver.Rows
	of        *preparing
	text      string
	statement driver.Stmt
	failure   error
}

// Next reads the next row.
func (r *preparedRows) Next(into []driver.Value) error {
	err := r.Rows.Next(into)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failure = err
	}
	return err
}

// Close ends the reading.
func (r *preparedRows) Close() error {
	if r.statement == nil {
		return nil
	}
	err := r.Rows.Close()
	statement := r.statement
	r.statement = nil
	return errors.Join(err, r.of.keep(r.text, statement, errors.Join(r.failure, err)))
}
