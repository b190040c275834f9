package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"calltally/conversion"
	"calltally/report"
	"calltally/worker"
)

type quarantineCommand struct {
	List    quarantineListCommand    `cmd:"" help:"List what is held, oldest first."`
	Show    quarantineShowCommand    `cmd:"" help:"Show why an upload is held, and what is known of it."`
	Retry   quarantineRetryCommand   `cmd:"" help:"Approve what an upload is held for, and decide it."`
	Discard quarantineDiscardCommand `cmd:"" help:"Refuse an upload that is held."`
}

type quarantineListCommand struct {
	Account string `help:"Only this account's." placeholder:"ID"`
}

type heldJSON struct {
	Upload     int64  `json:"upload"`
	Account    string `json:"account"`
	Source     string `json:"source"`
	File       string `json:"file"`
	Size       int64  `json:"size"`
	ReceivedAt string `json:"received_at"`
	Code       string `json:"code"`
	Message    string `json:"message"`
	Attempts   int    `json:"attempts"`
	LastError  string `json:"last_error"`
	Decided    int    `json:"decided_to_line"` // rows up to it were decided; 0 for none
}

func (c *quarantineListCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	l := g.list(app, listFlags{Account: c.Account}, "Nothing is held.", "upload", "account", "time (UTC)", "file", "held for")
	err = app.store.UploadsHeld(g.ctx, c.Account, func(u *conversion.Upload) error {
		return l.add(heldJSON{
			Upload: u.ID, Account: u.Account, Source: u.Source, File: u.Name, Size: u.Size, ReceivedAt: u.ReceivedAt.String(),
			Code: string(u.Hold.Code), Message: u.Hold.Sentence, Attempts: u.Attempts, LastError: u.LastError, Decided: u.Cursor,
		}, u.ID, conversion.Clip(orDash(u.Account), 8), u.ReceivedAt.Time().Format("01-02 15:04"), conversion.Clip(u.Name, 22), u.Hold.Code)
	})
	if err != nil {
		return err
	}
	return l.end()
}

// openHeld opens the program for a command about an upload that is held.
func (g *globals) openHeld(id int64) (*app, *conversion.Upload, error) {
	app, upload, err := g.openUpload(id)
	if err == nil && upload.Hold == nil {
		err = errors.Join(usageError{fmt.Errorf("upload %d is not held: it is %s; “calltally quarantine list” shows what is", id, upload.State)}, app.close())
	}
	return app, upload, err
}

type quarantineShowCommand struct {
	Upload int64  `arg:"" help:"The upload's number."`
	Save   string `help:"Write the file into this folder, as it came." type:"path" placeholder:"DIR"`
}

func (c *quarantineShowCommand) Run(g *globals) error {
	app, upload, err := g.openHeld(c.Upload)
	if err != nil {
		return err
	}
	defer app.close()
	told, err := app.worker.Told(g.ctx, upload, 1)
	if err != nil {
		return err
	}
	if err := report.Text(g.stdout, told.Report); err != nil {
		return err
	}
	for _, line := range []struct {
		what string
		said string
	}{{"Source", upload.Source}, {"From", upload.Mail.From}, {"Last error", upload.LastError}} {
		if line.said != "" {
			fmt.Fprintf(g.stdout, "%s: %s\n", line.what, report.Wrap(78, 2, line.said))
		}
	}
	if c.Save != "" {
		name := report.NumberedStem("upload", upload.ID) + ".bytes"
		err := writeFiles(g.ctx, c.Save, report.Attachment{Name: name, Write: func(to io.Writer) error {
			in, err := app.store.OpenUpload(g.ctx, upload.ID)()
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = io.Copy(to, in)
			return err
		}})
		if err != nil {
			return err
		}
		fmt.Fprintf(g.stdout, "\nWritten to %s%c%s.\n", c.Save, os.PathSeparator, name)
	}
	_, err = fmt.Fprintf(g.stdout, "\n%s\n", report.Wrap(78, 0, fmt.Sprintf("“calltally quarantine retry %d” approves it and decides it; “calltally quarantine discard %d” refuses it.", upload.ID, upload.ID)))
	return err
}

type quarantineRetryCommand struct {
	Uploads []int64 `arg:"" name:"upload" help:"The uploads' numbers."`
	Yes     bool    `help:"Also if its values take the place of newer ones."`
}

func (c *quarantineRetryCommand) Run(g *globals) error {
	return g.eachHeld(c.Uploads, func(app *app, upload *conversion.Upload) error {
		if err := app.worker.Retry(g.ctx, upload.ID, c.Yes); err != nil {
			return err
		}
		retried, err := g.tellUpload(app, upload.ID)
		if err != nil {
			return err
		}
		return fateOf(retried)
	})
}

type quarantineDiscardCommand struct {
	Uploads []int64 `arg:"" name:"upload" help:"The uploads' numbers."`
	Reason  string  `help:"Why, for whoever is told." placeholder:"TEXT"`
}

func (c *quarantineDiscardCommand) Run(g *globals) error {
	return g.eachHeld(c.Uploads, func(app *app, upload *conversion.Upload) error {
		err := app.worker.Discard(g.ctx, upload, c.Reason)
		if errors.Is(err, worker.ErrPartlyDecided) {
			return usageError{err}
		}
		if err == nil {
			_, err = g.tellUpload(app, upload.ID)
		}
		return err
	})
}

// eachHeld does something with each of some uploads that are held.
func (g *globals) eachHeld(ids []int64, do func(*app, *conversion.Upload) error) error {
	var all fates
	var failures []error
	for _, id := range ids {
		app, upload, err := g.openHeld(id)
		if err == nil {
			failures = append(failures, all.add(fmt.Sprintf("upload %d", id), do(app, upload)), app.close())
		} else {
			failures = append(failures, err)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return all.worst()
}

// tellUpload says in a line what has become of an upload.
func (g *globals) tellUpload(app *app, id int64) (*conversion.Upload, error) {
	u, err := app.store.Upload(g.ctx, id)
	if err != nil {
		return nil, err
	}
	said := u.Tally.String()
	switch {
	case u.Refusal != nil:
		said = string(u.Refusal.Code)
	case u.Hold != nil:
		said = fmt.Sprintf("%s. %s", u.Hold.Code, u.Hold.Sentence)
	case u.State != conversion.Decided:
		said = "it goes on with the next “calltally run” or “calltally once”"
	}
	if g.JSON {
		return u, printJSON(g.stdout, map[string]any{"upload": u.ID, "state": u.State, "tally": u.Tally.ByName()})
	}
	_, err = fmt.Fprintln(g.stdout, report.Wrap(78, 0, fmt.Sprintf("Upload %d (%s) is %s: %s", u.ID, u.Name, u.State, said)))
	return u, err
}
