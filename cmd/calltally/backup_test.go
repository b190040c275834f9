package main

import (
	"slices"
	"testing"

	"calltally/conversion"
	"calltally/store"
	"calltally/worker"
)

// Mails and dropped files are kept where they were taken from. What nobody keeps is listed after
// a restore.
func TestWhatDoesNotComeBackByItself(t *testing.T) {
	c := &config{Sources: []sourceConfig{{Name: "mail", Kind: kindIMAP}, {Name: "drop", Kind: kindFolder}, {Name: "partner", Kind: kindSFTP}, {Name: "api", Kind: kindHTTP}}}
	refused := func(code conversion.Code) *conversion.Refusal { return &conversion.Refusal{Code: code} }
	discarded := &conversion.Upload{ID: 6, Source: "api", Name: "f", Refusal: refused(conversion.Discarded)}
	approvedHere := &conversion.Upload{ID: 4, Source: "api", Name: "d", Approved: []conversion.Code{"amounts_over_limit"}}
	got := c.lostBy(store.Since{
		Came: []*conversion.Upload{
			{ID: 1, Source: "mail"}, {ID: 2, Source: "drop"}, {ID: 3, Source: "partner"}, approvedHere,
			{ID: 5, Source: worker.CommandLine, Name: "e"}, discarded, {ID: 7, Source: "api", Refusal: refused("unreadable")}, {ID: 8, Source: "gone", Name: "h"},
			{ID: 9, Source: "api", DryRun: true}, {ID: 10, Source: "drop", Name: "b", Undoes: 2}, {ID: 11, Source: "mail", Name: "a", Replays: 1},
		},
		Decided: []*conversion.Upload{approvedHere, discarded, {ID: 12, Source: "drop", Name: "l", Approved: []conversion.Code{"amounts_over_limit"}}},
	})
	var said []string
	for _, one := range got {
		said = append(said, one.String())
	}
	if want := []string{
		"upload 4 (d): it came by api", "upload 5 (e): it was given on the command line", "upload 8 (h): it came by gone",
		"upload 10 (b): it took upload 2 back", "upload 11 (a): it decided upload 1 again",
		"upload 6 (f): it was held, and then discarded", "upload 12 (l): it was held, and then let go on",
	}; !slices.Equal(said, want) {
		t.Errorf("it lists %q, want %q", said, want)
	}
}
