package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/folder"
	"calltally/report"
	"calltally/store"
	"calltally/worker"
)

type processCommand struct {
	File    string `arg:"" help:"The file to decide; of a ZIP archive, each of its files."`
	Account string `help:"The account it belongs to; not needed if there is only one." placeholder:"ID"`
	Dialect string `help:"How its columns are named, if not as the account says." placeholder:"NAME"`
	DryRun  bool   `help:"Show what would happen and change nothing."`
	Again   bool   `help:"Decide rows again that the same file had applied before, except where they would count twice."`
	Results string `help:"Write the results and fix files into this folder." type:"path" placeholder:"DIR"`

	told  bool // a report was printed already
	names report.Names
}

func (c *processCommand) Run(g *globals) error {
	if err := checkDialect("", c.Dialect, conversion.TakesConversions); err != nil {
		return usageError{fmt.Errorf("--dialect: %w", err)}
	}
	if err := checkResults(c.Results); err != nil {
		return err
	}
	app, account, err := g.openFor(c.File, c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	if !c.DryRun {
		return c.process(g, app.worker, account)
	}
	return app.store.Rehearse(g.ctx, func(rehearsal *store.Store) error {
		return c.process(g, app.worker.On(rehearsal), account)
	})
}

func (c *processCommand) process(g *globals, w *worker.Worker, account *conversion.Account) error {
	c.names = report.Names{}
	return eachFile(g.ctx, w, commandLineDelivery(c.File, account.ID, conversion.TakesConversions, c.Dialect, c.Again), func(d *ingest.Delivery) error {
		return c.processFile(g, w, d)
	})
}

// eachFile does something with a file, or with each of those in an archive.
func eachFile(ctx context.Context, w *worker.Worker, d *ingest.Delivery, do func(*ingest.Delivery) error) error {
	var all fates
	err := w.Members(ctx, d, func(d *ingest.Delivery) error { return all.add(d.Name, do(d)) })
	if err != nil {
		return err
	}
	return all.worst()
}

func (c *processCommand) processFile(g *globals, w *worker.Worker, d *ingest.Delivery) error {
	bar := g.progress(w)
	upload, err := w.Accept(g.ctx, d)
	if err == nil {
		upload, err = decided(g.ctx, w, upload)
	}
	bar.finish()
	if err != nil {
		return err
	}
	told, err := w.Told(g.ctx, upload, 1)
	if err != nil {
		return err
	}
	told.Report.DryRun = c.DryRun
	told.TellApart(c.names)
	if c.told && !g.JSON {
		fmt.Fprintf(g.stdout, "\n%s\n\n", report.Rule)
	}
	c.told = true
	shown := show(g, w, told, c.Results)
	if !c.DryRun && (shown == nil || errors.As(shown, &unwritten{})) {
		if err := w.Store.MarkReplied(g.ctx, upload.ID, 1, conversion.MillisOf(w.Now())); err != nil {
			return errors.Join(shown, err)
		}
	}
	if shown != nil {
		return shown
	}
	return fateOf(upload)
}

// decided decides an upload. If another process was faster, it waits for that
// one, and goes on where it stops.
func decided(ctx context.Context, w *worker.Worker, upload *conversion.Upload) (*conversion.Upload, error) {
	for !upload.State.AtRest() {
		err := w.Decide(ctx, upload)
		if !errors.Is(err, conversion.ErrTaken) {
			return upload, err
		}
		select {
		case <-ctx.Done():
			return upload, ctx.Err()
		case <-time.After(time.Second):
		}
		if upload, err = w.Store.Upload(ctx, upload.ID); err != nil {
			return upload, err
		}
	}
	return upload, nil
}

// unwritten says that a report was printed, and its files could not be written.
type unwritten struct{ error }

func (u unwritten) Unwrap() error { return u.error }

// show prints a report, and writes its files into a folder if one is named.
func show(g *globals, w *worker.Worker, told *worker.Told, results string) error {
	var failure error
	if results != "" {
		bar := g.progress(w)
		err := writeFiles(g.ctx, results, told.Files...)
		bar.finish()
		if told.Report.FilesIn = results; err != nil {
			results, failure = "", filesMissing(told, err)
		}
	}
	if g.JSON {
		return errors.Join(printDecided(g.ctx, g.stdout, w, told), failure)
	}
	if results == "" {
		told.Report.Files = nil // nothing was attached or written
	}
	return errors.Join(report.Text(g.stdout, told.Report), failure)
}

// filesMissing says that a report's files could not be written, and what stands all the same.
func filesMissing(told *worker.Told, err error) error {
	if told.Report.DryRun {
		return unwritten{fmt.Errorf("the results can't be written: %w", err)}
	}
	id := told.Report.Upload.ID
	return unwritten{fmt.Errorf("the results can't be written: %w. What the report says is done, as upload %d; “calltally uploads show %d --results DIR” writes them", err, id, id)}
}

// checkResults checks that files can be written into the folder that is named for results, if
// one is, before anything is done.
func checkResults(path string) error {
	if path == "" {
		return nil
	}
	err := os.MkdirAll(path, 0o777)
	if err == nil {
		var tried *os.File
		if tried, err = os.CreateTemp(path, ".calltally-*"); err == nil {
			err = errors.Join(tried.Close(), os.Remove(tried.Name()))
		}
	}
	if err != nil {
		return usageError{fmt.Errorf("--results: nothing can be written into %s, and nothing was done: %w", path, err)}
	}
	return nil
}

// commandLineDelivery is a file named on the command line. Each time is a
// delivery of its own.
func commandLineDelivery(file, account string, takes conversion.Takes, dialect string, again bool) *ingest.Delivery {
	return &ingest.Delivery{
		Source: worker.CommandLine, Origin: rand.Text(), Name: filepath.Base(file), Account: account, Takes: takes, Dialect: dialect, Again: again,
		Open: func() (io.ReadCloser, error) { return os.Open(file) },
	}
}

// checkFile checks that a file named on the command line is one.
func checkFile(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usageError{fmt.Errorf("there is no file %s", name)}
	case err != nil:
		return usageError{err}
	case !info.Mode().IsRegular():
		return usageError{fmt.Errorf("%s is no file; name one file", name)}
	}
	return nil
}

// openFor opens the program for a command about one file of an account.
func (g *globals) openFor(file, id string) (*app, *conversion.Account, error) {
	if err := checkFile(file); err != nil {
		return nil, nil, err
	}
	app, err := g.open(g.ctx)
	if err != nil {
		return nil, nil, err
	}
	account, err := app.account(id)
	if err != nil {
		return nil, nil, errors.Join(err, app.close())
	}
	return app, account, nil
}

// openAbout opens the program for a command about what an account has ("" = all of them).
func (g *globals) openAbout(account string) (*app, error) {
	app, err := g.open(g.ctx)
	if err == nil && account != "" {
		if _, unknown := app.account(account); unknown != nil {
			return nil, errors.Join(unknown, app.close())
		}
	}
	return app, err
}

// account finds the account that a command is about; without a name, the only
// one there is.
func (a *app) account(id string) (*conversion.Account, error) {
	if account := a.worker.Account(id); account != nil {
		return account, nil
	}
	var ids []string
	for _, account := range a.worker.Accounts {
		ids = append(ids, account.ID)
	}
	if id == "" && len(ids) == 1 {
		return a.worker.Accounts[0], nil
	}
	if id == "" {
		return nil, usageError{fmt.Errorf("there are several accounts: name one with --account (%s)", strings.Join(ids, ", "))}
	}
	return nil, usageError{fmt.Errorf("there is no account %q; the configuration has %s", id, strings.Join(ids, ", "))}
}

// writeFiles writes report files into a folder, each complete or not at all.
func writeFiles(ctx context.Context, path string, all ...report.Attachment) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	into, err := folder.Folder(path).Open(ctx)
	if err != nil {
		return err
	}
	defer into.Close()
	var writers errgroup.Group
	for _, file := range all {
		writers.Go(func() error {
			if err := into.Write(file.Name, file.Write); err != nil {
				return fmt.Errorf("write %s: %w", file.Name, err)
			}
			return nil
		})
	}
	return writers.Wait()
}

// decidedHead is what “process --json” prints of an upload before its outcomes.
type decidedHead struct {
	Upload    int64          `json:"upload"`
	File      string         `json:"file"`
	State     string         `json:"state"`
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	Dialect   string         `json:"dialect"`
	DialectBy string         `json:"dialect_by"` // the columns that told it; "" if it was set
	Delimiter string         `json:"delimiter"`
	Encoding  string         `json:"encoding"`
	TimeZone  string         `json:"time_zone"`
	DateOrder string         `json:"date_order"`
	DryRun    bool           `json:"dry_run"`
	SameAs    int64          `json:"same_as"`
	Notes     []string       `json:"notes"`
	Tally     map[string]int `json:"tally"`
	Diagnosis string         `json:"diagnosis"`
	UndoneBy  int64          `json:"undone_by,omitempty"` // the upload that took it back since
}

type outcomeJSON struct {
	Line          int                   `json:"line"`
	Verdict       string                `json:"verdict"`
	Code          string                `json:"code"`
	Message       string                `json:"message"`
	CallID        string                `json:"call_id"`
	CallStartTime string                `json:"call_start_time"`
	ConversionID  string                `json:"conversion_id"`
	PayoutBefore  string                `json:"payout_before"`
	PayoutAfter   string                `json:"payout_after"`
	Rule          string                `json:"rule"`
	Near          []conversion.NearMiss `json:"near"`
}

func headOf(told *worker.Told) decidedHead {
	u := told.Report.Upload
	head := decidedHead{
		Upload: u.ID, File: u.Name, State: string(u.State), Dialect: u.Reading.Dialect, DialectBy: u.Reading.Why, Delimiter: u.Reading.Delimiter, Encoding: u.Reading.Encoding,
		TimeZone: u.Reading.Zone, DateOrder: string(u.Reading.DateOrder), DryRun: told.Report.DryRun, SameAs: u.SameAs,
		Notes: append([]string{}, u.Reading.Notes...), Tally: u.Tally.ByName(), Diagnosis: u.Diagnosis,
	}
	if told.Report.DryRun {
		head.Upload = 0 // it is not kept
	}
	if by := told.Report.UndoneBy; by != nil {
		head.UndoneBy = by.ID
	}
	if u.Refusal != nil {
		head.Code, head.Message = string(u.Refusal.Code), u.Refusal.Sentence
	}
	if u.Hold != nil {
		head.Code, head.Message = string(u.Hold.Code), u.Hold.Sentence
	}
	return head
}

func outcomeOf(o *conversion.Outcome) outcomeJSON {
	return outcomeJSON{
		Line: o.Line, Verdict: o.Verdict.String(), Code: string(o.Code), Message: o.Message, CallID: o.CallID, CallStartTime: o.CallStart.String(),
		ConversionID: conversion.FormatID(o.ConversionID), PayoutBefore: o.PayoutBefore.String(), PayoutAfter: o.PayoutAfter.String(), Rule: o.Rule,
		Near: append([]conversion.NearMiss{}, o.Near...),
	}
}

// printDecided prints an upload as one JSON object, its outcomes one after
// another: a file may have millions.
func printDecided(ctx context.Context, stdout io.Writer, w *worker.Worker, told *worker.Told) error {
	head, err := json.Marshal(headOf(told))
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	if _, err := fmt.Fprintf(out, "%s,\"outcomes\":[", head[:len(head)-1]); err != nil {
		return err
	}
	first := true
	err = w.Store.Outcomes(ctx, told.Report.Upload.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		for i := range outcomes {
			text, err := json.Marshal(outcomeOf(&outcomes[i]))
			if err != nil {
				return false, err
			}
			if !first {
				text = append([]byte(",\n"), text...)
			}
			first = false
			if _, err := out.Write(text); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "]}")
	return out.Flush()
}
