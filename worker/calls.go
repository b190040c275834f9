package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/report"
)

// mostFaults is how many rejected entries of a call log are listed.
const mostFaults = 1000

// ImportCalls decides a call log's upload and returns what became of its
// entries.
func (w *Worker) ImportCalls(ctx context.Context, upload *conversion.Upload) (conversion.CallsTally, error) {
	table, refusal, err := w.survey(ctx, upload, w.Account(upload.Account))
	if err != nil {
		return conversion.CallsTally{}, err
	}
	if refusal != nil {
		return conversion.CallsTally{}, w.refuse(ctx, upload, refusal)
	}
	total, err := w.takeCalls(ctx, upload, table)
	if errors.Is(err, conversion.ErrTaken) { // all of it is stored; if another process has said so before us, that will do
		if now, failure := w.Store.Upload(ctx, upload.ID); failure != nil || now.State != conversion.Decided {
			return total, errors.Join(err, failure)
		}
		return total, nil
	}
	return total, err
}

// takeCalls imports a call log and ends its upload.
func (w *Worker) takeCalls(ctx context.Context, upload *conversion.Upload, table *ingest.Table) (conversion.CallsTally, error) {
	if upload.DryRun {
		return w.rehearseCalls(ctx, upload, table)
	}
	total, err := w.importCalls(ctx, upload, table)
	if err != nil {
		return total, err
	}
	return total, w.finishCalls(ctx, upload, table, total)
}

// importCalls stores a log's calls and decides again the rows that wait for them.
func (w *Worker) importCalls(ctx context.Context, upload *conversion.Upload, table *ingest.Table) (conversion.CallsTally, error) {
	var total conversion.CallsTally
	entries, err := table.Calls(ctx)
	if err != nil {
		return total, err
	}
	defer entries.Close()
	owners, progress := map[string]bool{upload.Account: true}, w.progressOf(upload, "importing", table.Reading.Rows, 0)
	for more := true; more; {
		err := w.transact(ctx, func(w *Worker) (bool, error) {
			more, err = w.saveCalls(ctx, entries, upload.Account, owners, &total)
			return true, err
		})
		if err != nil {
			return total, err
		}
		progress.reached(total.Read)
	}
	// Rows that wait are woken even if nothing is new: an earlier try may have
	// ended just before it woke them.
	for _, owner := range slices.Sorted(maps.Keys(owners)) {
		if err := w.Reconcile(ctx, owner); err != nil {
			if ctx.Err() != nil {
				return total, err
			}
			w.Log.Error("rows that wait could not be decided again", "upload", upload.ID, "account", owner, "error", err)
		}
	}
	return total, nil
}

// saveCalls stores a log's next calls, as many as belong into one transaction.
func (w *Worker) saveCalls(ctx context.Context, entries *ingest.Calls, owner string, owners map[string]bool, total *conversion.CallsTally) (more bool, err error) {
	for end := total.Read + w.chunkRows(); total.Read < end; {
		calls, more, err := w.readCalls(entries, owner, total)
		if err != nil {
			return false, err
		}
		for whose, own := range calls {
			saved, err := w.Store.SaveCalls(ctx, whose, own)
			if err != nil {
				return false, err
			}
			owners[whose] = true
			total.Created += saved.Created
			total.Updated += saved.Updated
			total.Unchanged += saved.Unchanged
		}
		if !more {
			return false, nil
		}
	}
	return true, nil
}

// finishCalls ends the upload of a call log.
func (w *Worker) finishCalls(ctx context.Context, upload *conversion.Upload, table *ingest.Table, total conversion.CallsTally) error {
	upload.Reading, upload.State, upload.DecidedAt = table.Reading, conversion.Decided, w.now()
	upload.Reading.Notes = append(upload.Reading.Notes, faultNotes(total)...)
	upload.Tally = total.Verdicts()
	if err := w.Store.FinishCalls(ctx, upload, (total.Rejected > 0 || upload.DryRun) && upload.Source != CommandLine); err != nil {
		return err
	}
	w.Log.Info("calls imported", "upload", upload.ID, "account", upload.Account, "created", total.Created, "updated", total.Updated, "unchanged", total.Unchanged, "rejected", total.Rejected)
	return nil
}

// faultNotes says of the first rejected entries what is wrong with them.
func faultNotes(total conversion.CallsTally) []string {
	var notes []string
	for _, rejected := range total.Faults[:min(len(total.Faults), report.MostProblems)] {
		for _, fault := range rejected.Faults {
			notes = append(notes, fmt.Sprintf("Line %d: %s (%s)", rejected.Line, fault.Sentence, fault.Code))
		}
	}
	if more := total.Rejected - report.MostProblems; more > 0 {
		notes = append(notes, fmt.Sprintf("… and %s more.", conversion.Count(more, "rejected entry")))
	}
	return notes
}

// callsAtOnce is how many entries of a call log are in memory together.
const callsAtOnce = 16 << 10

// readCalls reads the next entries, by the account whose calls they are, and
// counts those that are no calls.
func (w *Worker) readCalls(entries *ingest.Calls, owner string, total *conversion.CallsTally) (calls map[string][]conversion.Call, more bool, err error) {
	calls = map[string][]conversion.Call{}
	for range min(callsAtOnce, w.chunkRows()) {
		call, isCall, rejection, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return calls, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		total.Read++
		if isCall && call.Account != "" {
			call.Account, rejection = w.accountCalled(call.Account, call.Line)
		}
		switch {
		case rejection != nil:
			total.Rejected++
			if len(total.Faults) < mostFaults {
				total.Faults = append(total.Faults, *rejection)
			}
		case !isCall:
			total.Skipped++
		default:
			whose := cmp.Or(call.Account, owner)
			calls[whose] = append(calls[whose], call)
		}
	}
	return calls, true, nil
}

// accountCalled finds the account that a log of several accounts' calls names, by
// its id or its name.
func (w *Worker) accountCalled(name string, line int) (string, *conversion.Rejection) {
	for _, a := range w.Accounts {
		if a.ID == name || strings.EqualFold(a.Name, name) {
			return a.ID, nil
		}
	}
	unknown := &conversion.Rejection{Line: line}
	unknown.Add(conversion.AccountUnknown, "account", name, "The call belongs to %q, which is the id or name of no account. Add the account, or correct the call.", name)
	return "", unknown
}
