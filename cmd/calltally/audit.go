package main

import (
	"fmt"
	"time"

	"calltally/conversion"
	"calltally/report"
	"calltally/worker"
)

type auditCommand struct {
	Since     string `default:"720h" help:"Since when: a day such as 2026-06-01, or how far to look back, such as 720h." placeholder:"TIME"`
	Rereceive bool   `help:"Put what is missing back to where it is taken from."`
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
	since, err := c.since(app)
	if err != nil {
		return err
	}
	missing := []missingJSON{}
	looked, err := app.worker.Audit(g.ctx, since, c.Rereceive, func(m worker.Missing) error {
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

// since is the moment that is looked back to. A day begins in the configuration's time zone.
func (c *auditCommand) since(a *app) (time.Time, error) {
	if back, err := time.ParseDuration(c.Since); err == nil && back >= 0 {
		return a.worker.Now().Add(-back), nil
	}
	zone, err := a.config.zone()
	if err != nil {
		return time.Time{}, usageError{err}
	}
	day, err := time.ParseInLocation(time.DateOnly, c.Since, zone)
	if err != nil {
		return day, usageError{fmt.Errorf("--since: %q is neither a day such as 2026-06-01 nor a length of time such as 720h", c.Since)}
	}
	return day, nil
}
