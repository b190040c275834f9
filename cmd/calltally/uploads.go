package main

import (
	"fmt"

	"calltally/conversion"
	"calltally/report"
)

type uploadsCommand struct {
	List   uploadsListCommand   `cmd:"" help:"List uploads, newest first."`
	Show   uploadsShowCommand   `cmd:"" help:"Show one upload's report again."`
	Undo   uploadsUndoCommand   `cmd:"" help:"Take back what an upload did."`
	Replay uploadsReplayCommand `cmd:"" help:"Decide an upload again by the rules and calls of today."`
}

type uploadsListCommand struct {
	listFlags
}

type uploadJSON struct {
	Upload      int64  `json:"upload"`
	Account     string `json:"account"`
	Source      string `json:"source"`
	File        string `json:"file"`
	Takes       string `json:"takes"`
	Size        int64  `json:"size"`
	ReceivedAt  string `json:"received_at"`
	DecidedAt   string `json:"decided_at"`
	State       string `json:"state"`
	Code        string `json:"code"`
	SameAs      int64  `json:"same_as"`
	DryRun      bool   `json:"dry_run"`
	Undoes      int64  `json:"undoes"`  // the upload that it takes back; 0 for none
	Replays     int64  `json:"replays"` // the upload that it decides again; 0 for none
	Rows        int    `json:"rows"`
	Created     int    `json:"created"`
	Updated     int    `json:"updated"`
	Incremented int    `json:"incremented"`
	Repeated    int    `json:"repeated"`
	Unchanged   int    `json:"unchanged"`
	Ignored     int    `json:"ignored"`
	Waiting     int    `json:"waiting"`
	Rejected    int    `json:"rejected"`
}

func (c *uploadsListCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	l := g.list(app, c.listFlags, "No uploads yet.", "upload", "account", "time (UTC)", "file", "state", "rows", "problems")
	err = app.store.ListUploads(g.ctx, c.Account, l.limit, func(u *conversion.Upload) error {
		t := u.Tally
		code, rows := "", fmt.Sprint(t.Rows)
		switch {
		case u.Refusal != nil:
			code = string(u.Refusal.Code)
		case u.Hold != nil:
			code = string(u.Hold.Code)
		}
		if u.Takes == conversion.TakesCalls {
			rows += " calls"
		}
		return l.add(uploadJSON{
			Upload: u.ID, Account: u.Account, Source: u.Source, File: u.Name, Takes: string(u.Takes), Size: u.Size, ReceivedAt: u.ReceivedAt.String(), DecidedAt: u.DecidedAt.String(),
			State: string(u.State), Code: code, SameAs: u.SameAs, DryRun: u.DryRun, Undoes: u.Undoes, Replays: u.Replays, Rows: t.Rows, Created: t.Of(conversion.Created), Updated: t.Of(conversion.Updated),
			Incremented: t.Of(conversion.Incremented), Repeated: t.Of(conversion.Repeated), Unchanged: t.Of(conversion.Unchanged), Ignored: t.Of(conversion.Ignored), Waiting: t.Of(conversion.Waiting), Rejected: t.Of(conversion.Rejected),
		}, u.ID, conversion.Clip(orDash(u.Account), 8), u.ReceivedAt.Time().Format("01-02 15:04"), conversion.Clip(fileOf(u), 22), u.State, rows, problems(u))
	})
	if err != nil {
		return err
	}
	return l.end()
}

// fileOf names an upload's file, and what became of it there.
func fileOf(u *conversion.Upload) string {
	switch {
	case u.Undoes != 0:
		return fmt.Sprintf("undo of %d", u.Undoes)
	case u.Replays != 0:
		return fmt.Sprintf("replay of %d", u.Replays)
	case u.DryRun:
		return "dry run: " + u.Name
	}
	return u.Name
}

// problems says what is wrong with an upload, in a few words.
func problems(u *conversion.Upload) string {
	rejected, waiting := u.Tally.Of(conversion.Rejected), u.Tally.Of(conversion.Waiting)
	switch {
	case u.Refusal != nil:
		return conversion.Clip(string(u.Refusal.Code), 18)
	case u.Hold != nil:
		return conversion.Clip(string(u.Hold.Code), 18)
	case rejected > 0 && waiting > 0:
		return fmt.Sprintf("%d, %d waiting", rejected, waiting)
	case waiting > 0:
		return fmt.Sprintf("%d waiting", waiting)
	case rejected > 0:
		return fmt.Sprint(rejected)
	}
	return "-"
}

type uploadsShowCommand struct {
	Upload  int64  `arg:"" help:"The upload's number."`
	Results string `help:"Write the results and fix files into this folder." type:"path" placeholder:"DIR"`
}

func (c *uploadsShowCommand) Run(g *globals) error {
	if err := checkResults(c.Results); err != nil {
		return err
	}
	app, upload, err := g.openUpload(c.Upload)
	if err != nil {
		return err
	}
	defer app.close()
	told, err := app.worker.Told(g.ctx, upload, 1)
	if err == nil {
		err = app.worker.AddSince(g.ctx, told)
	}
	if err != nil {
		return err
	}
	written := len(told.Files)
	if err := g.showTold(app.worker, told, c.Results); err != nil {
		return err
	}
	if !g.JSON {
		err = g.listPostings(app, upload.ID)
	}
	if err == nil && c.Results != "" && written == 0 {
		err = fmt.Errorf("nothing was written into %s: upload %d has no results file%s", c.Results, upload.ID, whyNoResults(upload))
	}
	return err
}

// whyNoResults says why an upload has no results file, as far as that is known.
func whyNoResults(u *conversion.Upload) string {
	switch {
	case u.EmptiedAt != 0:
		return " any more, since its file was removed on " + u.EmptiedAt.Time().Format("2 January 2006")
	case u.Takes == conversion.TakesCalls:
		return ", since it is a call log"
	case u.State != conversion.Decided:
		return fmt.Sprintf(", since it is %s", u.State)
	}
	return ""
}

// listPostings lists to whom reports on an upload were mailed, and who was refused.
func (g *globals) listPostings(app *app, upload int64) error {
	postings, err := app.store.Postings(g.ctx, upload)
	if len(postings) > 0 {
		fmt.Fprintln(g.stdout)
	}
	for _, p := range postings {
		said := fmt.Sprintf("Report %d was mailed to %s, %s UTC.", p.Revision, p.Recipient, shortTime(p.At))
		if p.Refusal != "" {
			said = fmt.Sprintf("Report %d was refused for %s, %s UTC: %s", p.Revision, p.Recipient, shortTime(p.At), p.Refusal)
		}
		fmt.Fprintln(g.stdout, report.Wrap(78, 2, said))
	}
	return err
}
