package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"calltally/conversion"
	"calltally/report"
	"calltally/store"
	"calltally/worker"
)

type backupCommand struct {
	File string `arg:"" help:"The file to write; it must not be there yet." type:"path"`
}

func (c *backupCommand) Run(g *globals) error {
	app, err := g.open(g.ctx)
	if err != nil {
		return err
	}
	defer app.close()
	verified, err := app.store.Backup(g.ctx, c.File)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("%s is there already: name a file that isn't, such as one with the day in its name", c.File)}
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(g.stdout, map[string]any{"file": c.File, "bytes": info.Size(), "conversions": verified.Conversions, "changes": verified.Changes})
	}
	_, err = fmt.Fprintln(g.stdout, report.Wrap(78, 0, fmt.Sprintf("Wrote %s (%s) and proved it: %s with %s.", c.File, conversion.SizeName(info.Size()), conversion.Count(verified.Conversions, "conversion"), conversion.Count(verified.Changes, "change"))))
	return err
}

type restoreCommand struct {
	File string `arg:"" help:"The backup." type:"path"`
	Yes  bool   `help:"Don't ask."`
}

func (c *restoreCommand) Run(g *globals) error {
	if err := checkFile(c.File); err != nil {
		return err
	}
	config, err := loadConfig(g.Config)
	if err != nil {
		return err
	}
	path := config.storeSetting()
	if strings.Contains(path, "://") {
		return usageError{fmt.Errorf("the store %s is a server's: restore it by the server's own means", path)}
	}
	if ask, err := g.mustAsk(c.Yes); err != nil {
		return err
	} else if ask && !g.agrees(fmt.Sprintf("Put the backup in the place of %s?", path)) {
		return nil
	}
	restored, err := store.Restore(g.ctx, c.File, path, g.now().UTC().Format("20060102-150405.000"))
	if err != nil {
		return err
	}
	lost := config.lostBy(restored.Since)
	if g.JSON {
		return printJSON(g.stdout, restoredJSON{File: c.File, Kept: append([]string{}, restored.Kept...), Conversions: restored.Conversions, Changes: restored.Changes,
			NextUpload: restored.Above + 1, Compared: restored.Compared, Lost: lost})
	}
	said := fmt.Sprintf("Restored %s: %s with %s.", path, conversion.Count(restored.Conversions, "conversion"), conversion.Count(restored.Changes, "change"))
	if len(restored.Kept) > 0 {
		said += fmt.Sprintf(" What was there is kept as %s.", strings.Join(restored.Kept, ", "))
	}
	return c.tell(g, said, restored.Since, lost)
}

// restoredJSON is what “restore --json” prints.
type restoredJSON struct {
	File        string     `json:"file"`
	Kept        []string   `json:"kept"`
	Conversions int        `json:"conversions"`
	Changes     int        `json:"changes"`
	NextUpload  int64      `json:"next_upload"`
	Compared    bool       `json:"compared"` // whether the store that was there could be read
	Lost        []lostJSON `json:"lost"`
}

// lostJSON is what has happened since the backup and doesn't come back by itself.
type lostJSON struct {
	Upload int64  `json:"upload"`
	Source string `json:"source"`
	File   string `json:"file"`
	What   string `json:"what"` // upload, undo, replay, approved or discarded
	Of     int64  `json:"of"`   // the upload that was undone or replayed; else 0
}

// lostBy tells what of that which has happened since a backup doesn't come back by itself: the
// sources of mails and dropped files keep what they have delivered, and nobody keeps the rest.
func (c *config) lostBy(since store.Since) []lostJSON {
	keeps := map[string]bool{}
	for _, source := range c.Sources {
		keeps[source.Name] = source.Kind != kindHTTP
	}
	lost, named := []lostJSON{}, map[int64]bool{}
	add := func(u *conversion.Upload, what string) {
		lost = append(lost, lostJSON{Upload: u.ID, Source: u.Source, File: u.Name, What: what, Of: u.Undoes + u.Replays})
		named[u.ID] = true
	}
	for _, u := range since.Came {
		switch {
		case u.Undoes != 0:
			add(u, "undo")
		case u.Replays != 0:
			add(u, "replay")
		case !keeps[u.Source] && u.Refusal == nil && !u.DryRun:
			add(u, "upload")
		}
	}
	for _, u := range since.Decided {
		switch {
		case named[u.ID]:
		case u.Refusal != nil && u.Refusal.Code == conversion.Discarded:
			add(u, string(conversion.Discarded))
		default:
			add(u, "approved")
		}
	}
	return lost
}

func (l lostJSON) String() string {
	switch l.What {
	case "undo":
		return fmt.Sprintf("upload %d (%s): it took upload %d back", l.Upload, l.File, l.Of)
	case "replay":
		return fmt.Sprintf("upload %d (%s): it decided upload %d again", l.Upload, l.File, l.Of)
	case "approved":
		return fmt.Sprintf("upload %d (%s): it was held, and then let go on", l.Upload, l.File)
	case string(conversion.Discarded):
		return fmt.Sprintf("upload %d (%s): it was held, and then discarded", l.Upload, l.File)
	}
	if l.Source == worker.CommandLine {
		return fmt.Sprintf("upload %d (%s): it was given on the command line", l.Upload, l.File)
	}
	return fmt.Sprintf("upload %d (%s): it came by %s", l.Upload, l.File, l.Source)
}

// tell says what was done, and what is left to do.
func (c *restoreCommand) tell(g *globals, said string, since store.Since, lost []lostJSON) error {
	said += fmt.Sprintf(" The next upload has the number %d, above all that were given out, so that no id comes to mean something else.", since.Above+1)
	said += "\n\nWhat mailboxes and folders have delivered since the backup, “calltally audit --rereceive” takes again from where it was put away, under new ids (with --since, if that was more than 30 days ago)."
	switch {
	case !since.Compared:
		said += " What was sent by HTTP or given on the command line since, undos, replays and decisions on what was held don’t come back by themselves, and the store that was there can’t be asked for them: do them again."
	case len(lost) == 0:
		said += " Nothing else has happened since."
	default:
		said += " This doesn’t come back by itself, and must be done again:"
	}
	for _, paragraph := range strings.Split(said, "\n") {
		fmt.Fprintln(g.stdout, report.Wrap(78, 0, paragraph))
	}
	for _, one := range lost {
		if _, err := fmt.Fprintf(g.stdout, "  %s\n", report.Wrap(76, 4, one.String())); err != nil {
			return err
		}
	}
	return nil
}
