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
	ending := g.now().UTC().Format(".before-20060102-150405.000")
	restored, err := store.Restore(g.ctx, c.File, path, ending)
	if err != nil {
		return err
	}
	if g.JSON {
		return printJSON(g.stdout, map[string]any{"file": c.File, "kept": append([]string{}, restored.Kept...), "conversions": restored.Conversions, "changes": restored.Changes})
	}
	said := fmt.Sprintf("Restored %s: %s with %s.", path, conversion.Count(restored.Conversions, "conversion"), conversion.Count(restored.Changes, "change"))
	if len(restored.Kept) > 0 {
		said += fmt.Sprintf(" What was there is kept as %s.", strings.Join(restored.Kept, ", "))
	}
	said += " What came since the backup, “calltally audit --rereceive” takes again from where it was put away."
	_, err = fmt.Fprintln(g.stdout, report.Wrap(78, 0, said))
	return err
}
