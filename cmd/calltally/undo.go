package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"calltally/conversion"
	"calltally/report"
	"calltally/worker"
)

// uploadsUndoCommand takes back what an upload did. It shows first what would happen and
// asks; with --yes or --json it does it at once.
type uploadsUndoCommand struct {
	Upload  int64  `arg:"" help:"The upload's number."`
	DryRun  bool   `help:"Show what would be taken back and change nothing."`
	Yes     bool   `help:"Don't ask."`
	Results string `help:"Write the results file into this folder." type:"path" placeholder:"DIR"`
}

func (c *uploadsUndoCommand) Run(g *globals) error {
	if err := checkResults(c.Results); err != nil {
		return err
	}
	app, upload, err := g.openUpload(c.Upload)
	if err != nil {
		return err
	}
	defer app.close()
	undo := func(keep bool) (*conversion.Upload, error) {
		var made *conversion.Upload
		bar := g.progress(app.worker)
		err := app.worker.Undo(g.ctx, upload, keep, func(w *worker.Worker, u *conversion.Upload) error {
			bar.finish()
			made = u
			if keep {
				return nil
			}
			return g.showDerived(w, u, "", true)
		})
		bar.finish()
		return made, asUsage(err)
	}
	if c.DryRun {
		made, err := undo(false)
		return orRejected(made, err)
	}
	ask, err := g.mustAsk(c.Yes)
	if err != nil {
		return err
	}
	if ask {
		if _, err := undo(false); err != nil {
			return err
		}
		if !g.agrees("Take this back?") {
			fmt.Fprintln(g.stdout, "Nothing was changed.")
			return nil
		}
	}
	made, err := undo(true)
	if err != nil {
		return err
	}
	return orRejected(made, errors.Join(g.showDerived(app.worker, made, c.Results, false), app.worker.ReplyAll(g.ctx)))
}

// uploadsReplayCommand decides an upload again by the rules and calls of today.
type uploadsReplayCommand struct {
	Upload  int64  `arg:"" help:"The upload's number."`
	DryRun  bool   `help:"Show what would differ and change nothing."`
	Yes     bool   `help:"Don't ask."`
	Results string `help:"Write the results and fix files into this folder." type:"path" placeholder:"DIR"`
}

func (c *uploadsReplayCommand) Run(g *globals) error {
	if err := checkResults(c.Results); err != nil {
		return err
	}
	app, upload, err := g.openUpload(c.Upload)
	if err != nil {
		return err
	}
	defer app.close()
	var compared worker.Comparison
	replay := func(keep bool) (*conversion.Upload, error) {
		var made *conversion.Upload
		bar := g.progress(app.worker)
		err := app.worker.Replay(g.ctx, upload, keep, func(_ *worker.Worker, u *conversion.Upload, found worker.Comparison) error {
			made, compared = u, found
			return nil
		})
		bar.finish()
		return made, asUsage(err)
	}
	ask, err := g.mustAsk(c.Yes || c.DryRun)
	if err != nil {
		return err
	}
	made, err := replay(!c.DryRun && !ask)
	if err != nil {
		return err
	}
	err = printComparison(g, upload, compared, c.DryRun)
	if made == nil && len(compared.Elsewhere) == 0 {
		return orRejected(upload, err) // it comes to the same again
	}
	if err != nil || made == nil || c.DryRun {
		return orRejected(made, err)
	}
	if ask {
		if !g.agrees("Apply this?") {
			fmt.Fprintln(g.stdout, "Nothing was changed.")
			return nil
		}
		if made, err = replay(true); err != nil {
			return err
		}
	}
	if !g.JSON {
		err = g.showDerived(app.worker, made, c.Results, false)
	}
	return orRejected(made, errors.Join(err, app.worker.ReplyAll(g.ctx)))
}

// asUsage makes a mistake of the caller's of an upload that can't be undone.
func asUsage(err error) error {
	if errors.Is(err, worker.ErrCannotUndo) {
		return usageError{err}
	}
	return err
}

func orRejected(u *conversion.Upload, err error) error {
	if err == nil && u != nil && u.Tally.Of(conversion.Rejected) > 0 {
		return errRejected
	}
	return err
}

// openUpload opens the program for a command about one upload.
func (g *globals) openUpload(id int64) (*app, *conversion.Upload, error) {
	app, err := g.open(g.ctx)
	if err != nil {
		return nil, nil, err
	}
	upload, err := app.store.Upload(g.ctx, id)
	if errors.Is(err, conversion.ErrNotFound) {
		err = usageError{fmt.Errorf("there is no upload %d; “calltally uploads list” names them", id)}
	}
	if err != nil {
		return nil, nil, errors.Join(err, app.close())
	}
	return app, upload, nil
}

// showDerived prints the report of an undo or a replay.
func (g *globals) showDerived(w *worker.Worker, u *conversion.Upload, results string, dry bool) error {
	told, err := w.Told(g.ctx, u, 1)
	if err != nil {
		return err
	}
	told.Report.DryRun = dry
	return g.showTold(w, told, results)
}

// showTold prints a report, and of an undo what it takes back.
func (g *globals) showTold(w *worker.Worker, told *worker.Told, results string) error {
	if err := show(g, w, told, results); err != nil || g.JSON || told.Report.Upload.Undoes == 0 {
		return err
	}
	return g.listTaken(w, told.Report.Upload)
}

// listTaken lists what the first rows of an undo take back.
func (g *globals) listTaken(w *worker.Worker, u *conversion.Upload) error {
	const most = 20
	listed := 0
	err := w.Store.Outcomes(g.ctx, u.ID, 0, func(outcomes []conversion.Outcome) (bool, error) {
		for i := range outcomes {
			o := &outcomes[i]
			if o.Verdict != conversion.Updated {
				continue
			}
			if listed++; listed > most {
				_, err := fmt.Fprintf(g.stdout, "  … and %d more\n", u.Tally.Of(conversion.Updated)-most)
				return false, err
			}
			if listed == 1 {
				fmt.Fprintln(g.stdout, "\nTaken back:")
			}
			if o.Waited {
				fmt.Fprintf(g.stdout, "  line %-6d %s\n", o.Line, o.Message)
				continue
			}
			fmt.Fprintf(g.stdout, "  line %-6d conversion %-12s payout %s → %s\n", o.Line, orDash(conversion.FormatID(o.ConversionID)), orDash(o.PayoutBefore.String()), orDash(o.PayoutAfter.String()))
		}
		return true, nil
	})
	return err
}

// mustAsk reports whether to ask before something is done that was not agreed to yet. A
// program that wants JSON knows what it does; where else nobody can be asked, nothing is done.
func (g *globals) mustAsk(agreed bool) (bool, error) {
	if agreed || g.JSON {
		return false, nil
	}
	if in, isFile := g.stdin.(*os.File); !isFile || !term.IsTerminal(int(in.Fd())) {
		return false, usageError{errors.New("there is no terminal to ask at, and nothing was changed; say --yes to go ahead")}
	}
	return true, nil
}

// agrees asks a question; only a y or yes agrees.
func (g *globals) agrees(question string) bool {
	fmt.Fprintf(g.stdout, "\n%s [y/N] ", question)
	answer, err := bufio.NewReader(g.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

type differenceJSON struct {
	Line int         `json:"line"`
	Was  outcomeJSON `json:"was"`
	Is   outcomeJSON `json:"is"`
	// Parts are what the line does otherwise to a conversion.
	Parts  []string `json:"parts"`
	Undone bool     `json:"undone"` // what it did was taken back since
}

// printComparison prints what a replay changes, line by line.
func printComparison(g *globals, of *conversion.Upload, found worker.Comparison, dry bool) error {
	if g.JSON {
		all := []differenceJSON{}
		for _, d := range found.Differences {
			all = append(all, differenceJSON{d.Was.Line, outcomeOf(&d.Was), outcomeOf(&d.Is), append([]string{}, d.Parts...), d.Undone})
		}
		return printJSON(g.stdout, map[string]any{"upload": of.ID, "dry_run": dry, "lines": found.Lines, "differences": all, "closed": found.Closed, "elsewhere": append([]int64{}, found.Elsewhere...)})
	}
	switch {
	case found.Lines == 0:
		fmt.Fprintf(g.stdout, "Upload %d comes to the same again: nothing changes.\n", of.ID)
	case dry:
		fmt.Fprintf(g.stdout, "Upload %d, decided again: %s would come to other things (a dry run:\nnothing was changed).\n\n", of.ID, conversion.Count(found.Lines, "line"))
	default:
		fmt.Fprintf(g.stdout, "Upload %d, decided again: %s came to other things.\n\n", of.ID, conversion.Count(found.Lines, "line"))
	}
	const most = 20
	for i, d := range found.Differences {
		if i == most {
			fmt.Fprintf(g.stdout, "… and %d more\n", found.Lines-most)
			break
		}
		was := inShort(&d.Was)
		if d.Undone {
			was += " (undone since)"
		}
		fmt.Fprintf(g.stdout, "Line %d\n  was  %s\n  is   %s\n", d.Was.Line, report.Wrap(78, 7, was), report.Wrap(78, 7, inShort(&d.Is)))
		if len(d.Parts) > 0 {
			fmt.Fprintf(g.stdout, "  other %s\n", report.Wrap(78, 8, strings.ReplaceAll(strings.Join(d.Parts, ", "), "_", " ")))
		}
	}
	if found.Closed > 0 {
		fmt.Fprintln(g.stdout, report.Wrap(78, 0, fmt.Sprintf("%s would come to other things, but for days that are closed (lock_before), and was left.", conversion.Count(found.Closed, "line"))))
	}
	for _, id := range found.Elsewhere {
		fmt.Fprintf(g.stdout, "Some of its lines were decided as part of upload %d since: replay that one for\nthem.\n", id)
	}
	_, err := fmt.Fprintln(g.stdout)
	return err
}

// inShort says in a few words what became of a row.
func inShort(o *conversion.Outcome) string {
	text := o.Verdict.String()
	if o.Code != "" {
		text += " (" + string(o.Code) + ")"
	}
	if o.CallID != "" {
		text += ", call " + o.CallID
	}
	if o.PayoutBefore != o.PayoutAfter {
		text += fmt.Sprintf(", payout %s → %s", orDash(o.PayoutBefore.String()), orDash(o.PayoutAfter.String()))
	}
	if o.Rule != "" {
		return text + ": " + o.Rule
	}
	if o.Message != "" {
		return text + ": " + o.Message
	}
	return text
}
