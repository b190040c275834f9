package main

import (
	"fmt"
	"time"

	"calltally/conversion"
	"calltally/report"
	"calltally/worker"
)

type auditCommand struct {
	Since     time.Duration `default:"720h" help:"How far to look back." placeholder:"TIME"`
	Rereceive bool          `help:"Put what is missing back to where it is taken from."`
}

type missingJSON struct {
	Source   string `json:"source"`
	Where    string `json:"where"`
	Returned bool   `json:"returned"`
}

func (c *auditCommand) Run(g *globals) error {
	app, err := g.open(g.ctx)
	if err != nil {
		return err
	}
	defer app.close()
	missing := []missingJSON{}
	looked, err := app.worker.Audit(g.ctx, app.worker.Now().Add(-c.Since), c.Rereceive, func(m worker.Missing) error {
		missing = append(missing, missingJSON(m))
		if g.JSON {
			return nil
		}
		said := fmt.Sprintf("%s: %s is not in the store", m.Source, m.Where)
		if m.Returned {
			said += "; it was put back"
		}
		_, err := fmt.Fprintln(g.stdout, report.Wrap(78, 2, said+"."))
		return err
	})
	if g.JSON {
		if failure := printJSON(g.stdout, map[string]any{"looked_at": looked, "missing": missing}); failure != nil {
			return failure
		}
	} else {
		fmt.Fprintf(g.stdout, "Looked at %s that sources have put away; %d missing.\n", conversion.Count(looked, "thing"), len(missing))
	}
	switch {
	case err != nil:
		return err
	case len(missing) > 0 && !c.Rereceive:
		return fmt.Errorf("%d missing from the store; “calltally audit --rereceive” has them be taken again", len(missing))
	}
	return nil
}
