package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

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
	return w.importCalls(ctx, upload, table)
}

func (w *Worker) importCalls(ctx context.Context, upload *conversion.Upload, table *ingest.Table) (conversion.CallsTally, error) {
	var total conversion.CallsTally
	entries, err := table.Calls(ctx)
	if err != nil {
		return total, err
	}
	defer entries.Close()
	for more := true; more; {
		var calls []conversion.Call
		if calls, more, err = w.readCalls(entries, &total); err != nil {
			return total, err
		}
		saved, err := w.Store.SaveCalls(ctx, upload.Account, calls)
		if err != nil {
			return total, err
		}
		total.Created += saved.Created
		total.Updated += saved.Updated
		total.Unchanged += saved.Unchanged
		if w.Progress != nil {
			w.Progress(upload, total.Read, table.Reading.Rows)
		}
	}
	// Rows that wait are woken even if nothing is new: an earlier try may have
	// ended just before it woke them.
	if err := w.Reconcile(ctx, upload.Account); err != nil {
		if ctx.Err() != nil {
			return total, err
		}
		w.Log.Error("rows that wait could not be decided again", "upload", upload.ID, "account", upload.Account, "error", err)
	}
	upload.Reading, upload.State, upload.DecidedAt = table.Reading, conversion.Decided, w.now()
	upload.Reading.Notes = append(upload.Reading.Notes, faultNotes(total)...)
	upload.Tally = total.Verdicts()
	if err := w.Store.FinishCalls(ctx, upload, total.Rejected > 0 && upload.Source != CommandLine); err != nil {
		return total, err
	}
	w.Log.Info("calls imported", "upload", upload.ID, "account", upload.Account, "created", total.Created, "updated", total.Updated, "unchanged", total.Unchanged, "rejected", total.Rejected)
	return total, nil
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

// readCalls reads the next entries and counts those that are no calls.
func (w *Worker) readCalls(entries *ingest.Calls, total *conversion.CallsTally) (calls []conversion.Call, more bool, err error) {
	for len(calls) < w.chunkRows() {
		call, isCall, rejection, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return calls, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		total.Read++
		switch {
		case rejection != nil:
			total.Rejected++
			if len(total.Faults) < mostFaults {
				total.Faults = append(total.Faults, *rejection)
			}
		case !isCall:
			total.Skipped++
		default:
			calls = append(calls, call)
		}
	}
	return calls, true, nil
}
