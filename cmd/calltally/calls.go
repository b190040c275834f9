package main

import (
	"fmt"

	"calltally/conversion"
	"calltally/ingest"
)

type callsCommand struct {
	Import callsImportCommand `cmd:"" help:"Import a call log."`
	List   callsListCommand   `cmd:"" help:"List an account's calls, newest first."`
}

type callsImportCommand struct {
	File    string `arg:"" help:"The call log."`
	Account string `help:"The account it belongs to; not needed if there is only one." placeholder:"ID"`
	Dialect string `help:"How its columns are named; recognised by the header if not said." placeholder:"NAME"`
}

// importedCalls is what “calls import --json” prints.
type importedCalls struct {
	Read      int         `json:"read"`
	Created   int         `json:"created"`
	Updated   int         `json:"updated"`
	Unchanged int         `json:"unchanged"`
	Rejected  int         `json:"rejected"`
	Skipped   int         `json:"skipped"` // entries that are not calls
	Errors    []callFault `json:"errors"`
}

type callFault struct {
	Line    int    `json:"line"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (c *callsImportCommand) Run(g *globals) error {
	if err := checkDialect("", c.Dialect, conversion.TakesCalls); err != nil {
		return usageError{fmt.Errorf("--dialect: %w", err)}
	}
	app, account, err := g.openFor(c.File, c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	return eachFile(g.ctx, app.worker, commandLineDelivery(c.File, account.ID, conversion.TakesCalls, c.Dialect, true), func(d *ingest.Delivery) error {
		return importFile(g, app, d)
	})
}

func importFile(g *globals, app *app, d *ingest.Delivery) error {
	bar := g.progress(app.worker)
	upload, err := app.worker.Accept(g.ctx, d)
	var tally conversion.CallsTally
	if err == nil && upload.Refusal == nil {
		tally, err = app.worker.ImportCalls(g.ctx, upload)
	}
	bar.finish()
	if err != nil {
		return err
	}
	if err := printImported(g, upload, tally); err != nil {
		return err
	}
	if tally.Rejected > 0 {
		return errRejected
	}
	return fateOf(upload)
}

func printImported(g *globals, upload *conversion.Upload, tally conversion.CallsTally) error {
	imported := importedCalls{
		Read: tally.Read, Created: tally.Created, Updated: tally.Updated, Unchanged: tally.Unchanged, Rejected: tally.Rejected, Skipped: tally.Skipped, Errors: []callFault{},
	}
	for i := range tally.Faults {
		outcome := tally.Faults[i].Outcome()
		imported.Errors = append(imported.Errors, callFault{outcome.Line, string(outcome.Code), outcome.Message})
	}
	if upload.Refusal != nil {
		imported.Errors = append(imported.Errors, callFault{0, string(upload.Refusal.Code), upload.Refusal.Sentence})
	}
	if g.JSON {
		return printJSON(g.stdout, imported)
	}
	if upload.Refusal != nil {
		_, err := fmt.Fprintf(g.stdout, "%s was not taken: %s (%s)\n", upload.Name, upload.Refusal.Sentence, upload.Refusal.Code)
		return err
	}
	fmt.Fprintf(g.stdout, "%s: %d read, %d created, %d updated, %d unchanged, %d rejected", upload.Name, tally.Read, tally.Created, tally.Updated, tally.Unchanged, tally.Rejected)
	if tally.Skipped > 0 {
		fmt.Fprintf(g.stdout, ", %d not calls", tally.Skipped)
	}
	fmt.Fprintln(g.stdout)
	for _, note := range upload.Reading.Notes {
		fmt.Fprintf(g.stdout, "  %s\n", note)
	}
	return nil
}

type callsListCommand struct {
	listFlags
}

type callJSON struct {
	Account       string `json:"account"`
	CallID        string `json:"call_id"`
	TransactionID string `json:"transaction_id"`
	StartTime     string `json:"start_time"`
	Duration      int    `json:"duration_in_seconds"`
	Caller        string `json:"calling_phone_number"`
	Called        string `json:"called_phone_number"`
	Campaign      string `json:"campaign_id"`
	Publisher     string `json:"publisher_id"`
	ClickID       string `json:"click_id"`
	ExternalID    string `json:"external_id"`
	Status        string `json:"status"`
	Cost          string `json:"cost"`
	CostCurrency  string `json:"cost_currency"`
}

func (c *callsListCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	l := g.list(app, c.listFlags, "No calls. Import a call log with “calltally calls import FILE”.", "call", "account", "started (UTC)", "seconds", "caller", "publisher")
	err = app.store.ListCalls(g.ctx, c.Account, l.limit, func(call conversion.Call, account string) error {
		return l.add(callJSON{
			Account: account, CallID: call.CallID, TransactionID: call.TransactionID, StartTime: call.Start.String(), Duration: call.Duration, Caller: call.Caller.String(), Called: call.Called.String(),
			Campaign: call.Campaign, Publisher: call.Publisher, ClickID: call.ClickID, ExternalID: call.ExternalID, Status: call.Status, Cost: call.Cost.String(), CostCurrency: string(call.Cost.Currency),
		}, conversion.Clip(call.CallID, 20), conversion.Clip(account, 8), shortTime(call.Start), call.Duration, orDash(call.Caller.String()), conversion.Clip(orDash(call.Publisher), 12))
	})
	if err != nil {
		return err
	}
	return l.end()
}
