package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// Told is all that is told of an upload: the report and its files.
type Told struct {
	Report *report.Report
	Files  []report.Attachment
	// shelved is what the files are named by on the upload's source's shelf; "" if it has
	// none.
	shelved string
}

// Told builds an upload's report from what is stored. Built again, it is the
// same.
func (w *Worker) Told(ctx context.Context, upload *conversion.Upload, revision int) (*Told, error) {
	told := &Told{Report: &report.Report{Upload: upload, Account: upload.Account, Revision: revision, DryRun: upload.DryRun}}
	account := w.Account(upload.Account)
	if account != nil {
		told.Report.Account, told.Report.Zone = cmp.Or(account.Name, account.ID), account.Zone
	}
	if upload.State == conversion.Decided && upload.Takes == conversion.TakesConversions && account != nil && upload.EmptiedAt == 0 {
		if err := w.attach(ctx, told, account); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// TellApart renames files that would have the name of another one in the same place.
func (t *Told) TellApart(names report.Names) {
	for i := range t.Files {
		t.Files[i].Name = names.Take(t.Files[i].Name, t.Report.Upload.Name, t.Report.Upload.ID)
		t.Report.Files[i] = t.Files[i].Name
	}
}

// attach adds the problem rows and the files to a report.
func (w *Worker) attach(ctx context.Context, told *Told, account *conversion.Account) error {
	upload := told.Report.Upload
	table, refusal, err := w.survey(ctx, upload, account)
	if err != nil || refusal != nil {
		return errors.Join(err, asError(refusal))
	}
	outcomes := w.outcomes(ctx, upload.ID)
	if told.Report.Problems, err = problems(ctx, table, outcomes); err != nil {
		return err
	}
	rows := tableOf{ctx, table}
	stem := report.Stem(upload.Name)
	add := func(ending string, write func(io.Writer) error) {
		told.Files = append(told.Files, report.Attachment{Name: stem + ending, Write: func(to io.Writer) error {
			if _, err := io.WriteString(to, table.Mark()); err != nil {
				return err
			}
			return write(to)
		}})
	}
	add(report.ResultsEnding, func(to io.Writer) error { return report.ResultsCSV(to, rows, w.telling(upload, outcomes)) })
	if upload.Tally.Of(conversion.Rejected) > 0 && upload.Undoes == 0 {
		preamble, err := preambleOf(ctx, table, outcomes)
		if err != nil {
			return err
		}
		add(report.FixEnding, func(to io.Writer) error { return report.FixCSV(to, rows, preamble, outcomes) })
	}
	for _, file := range told.Files {
		told.Report.Files = append(told.Report.Files, file.Name)
	}
	return nil
}

// preambleOf is what a file of the rejected rows must begin with.
func preambleOf(ctx context.Context, table *ingest.Table, outcomes report.Outcomes) (string, error) {
	next, stop := iter.Pull2(outcomes)
	defer stop()
	var failure error
	preamble, err := table.Preamble(ctx, func(int) bool {
		o, err, more := next()
		failure = errors.Join(failure, err)
		return more && err == nil && o.Verdict == conversion.Rejected
	})
	return preamble, errors.Join(err, failure)
}

// outcomes yields an upload's outcomes in order.
func (w *Worker) outcomes(ctx context.Context, upload int64) report.Outcomes {
	return func(yield func(*conversion.Outcome, error) bool) {
		err := w.Store.Outcomes(ctx, upload, 0, func(chunk []conversion.Outcome) (bool, error) {
			for i := range chunk {
				if !yield(&chunk[i], nil) {
					return false, nil
				}
			}
			return true, nil
		})
		if err != nil {
			yield(nil, err)
		}
	}
}

// tableOf is an upload as its sender wrote it.
type tableOf struct {
	ctx   context.Context
	table *ingest.Table
}

func (t tableOf) Columns() ([]string, int, rune) {
	return t.table.Header, t.table.Own(), t.table.Comma()
}

func (t tableOf) EachRow(each func(conversion.Row) error) error { return t.table.Rows(t.ctx, each) }

// problems returns the first rows that were rejected or wait, with what was
// sent.
func problems(ctx context.Context, table *ingest.Table, outcomes report.Outcomes) ([]report.Problem, error) {
	var found []report.Problem
	for o, err := range outcomes {
		if err != nil {
			return nil, err
		}
		if o.Verdict == conversion.Rejected || o.Verdict == conversion.Waiting {
			found = append(found, report.Problem{Outcome: *o})
		}
		if len(found) == report.MostProblems {
			break
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	enough := errors.New("enough")
	at := 0
	err := table.Rows(ctx, func(row conversion.Row) error {
		if row.Line == found[at].Line {
			found[at].Sent = report.Sent(table.Header, row.Cells)
			at++
		}
		if at == len(found) {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return nil, err
	}
	return found, nil
}
