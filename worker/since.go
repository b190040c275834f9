package worker

import (
	"context"

	"calltally/conversion"
)

// AddSince adds to what is told of an upload what has become of it since: who took it back,
// and as which uploads its rows were decided again.
func (w *Worker) AddSince(ctx context.Context, told *Told) error {
	family, err := w.Store.Family(ctx, told.Report.Upload.ID)
	if err != nil {
		return err
	}
	told.Report.UndoneBy = undoOf(family, told.Report.Upload.ID)
	for _, u := range family {
		if u.Replays == told.Report.Upload.ID && undoOf(family, u.ID) == nil {
			told.Report.ReplayedAs = append(told.Report.ReplayedAs, u.ID)
		}
	}
	return nil
}

// undoOf is the undo of an upload that stands, the last one of several; nil if there is none.
// What a replay takes back, it decides again: that is no undo.
func undoOf(family []*conversion.Upload, id int64) (undo *conversion.Upload) {
	for i, u := range family {
		ofReplay := i+1 < len(family) && family[i+1].Replays != 0 && family[i+1].Replays == u.Undoes
		if u.Undoes == id && !ofReplay && undoOf(family, u.ID) == nil {
			undo = u
		}
	}
	return undo
}
