package worker

import (
	"context"
	"fmt"
	"time"

	"calltally/conversion"
)

// bundle are the reports that are due on uploads which came together, such as the files of one
// mail: they are told together.
type bundle struct {
	source, name string // "" for an upload that came alone
	due          []conversion.ReportDue
}

// longestWait is how long reports wait for the other files of their mail. The mail is not
// put away before all of them are ours, so that they come unless somebody removes it.
const longestWait = time.Hour

// ended reports whether all of a bundle came and was decided, or has been waited for long
// enough.
func (w *Worker) ended(ctx context.Context, b *bundle) (bool, error) {
	if b.name == "" || w.Now().Sub(b.due[0].MadeAt.Time()) >= longestWait {
		return true, nil
	}
	uploads, err := w.Store.Bundle(ctx, b.source, b.name)
	if err != nil {
		return false, fmt.Errorf("report on upload %d: %w", b.due[0].Upload, err)
	}
	closed := false
	for _, u := range uploads {
		if !u.State.AtRest() {
			return false, nil
		}
		closed = closed || u.Closes
	}
	return closed, nil
}
