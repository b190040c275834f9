package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"calltally/conversion"
)

// bundles are reports that are due on uploads which came together, such as the files of one
// mail: they are told together.
type bundles []*bundle

type bundle struct {
	source, name string
	due          []conversion.ReportDue
}

func (all *bundles) add(upload *conversion.Upload, due conversion.ReportDue) {
	for _, b := range *all {
		if b.source == upload.Source && b.name == upload.Bundle {
			b.due = append(b.due, due)
			return
		}
	}
	*all = append(*all, &bundle{upload.Source, upload.Bundle, []conversion.ReportDue{due}})
}

// longestWait is how long reports wait for the other files of their mail. The mail is not
// put away before all of them are ours, so that they come unless somebody removes it.
const longestWait = time.Hour

// replyBundles sends the reports of every bundle that has come to its end.
func (w *Worker) replyBundles(ctx context.Context, all bundles) error {
	var failures []error
	for _, b := range all {
		ended, err := w.ended(ctx, b)
		if err == nil && ended {
			err = w.replied(ctx, w.reply(ctx, b.due...), b.due...)
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// ended reports whether all of a bundle came and was decided, or has been waited for long
// enough.
func (w *Worker) ended(ctx context.Context, b *bundle) (bool, error) {
	if w.Now().Sub(b.due[0].MadeAt.Time()) >= longestWait {
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
