package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"calltally/ingest"
)

const (
	columnsBegin = "<!-- columns: generated from ingest.Dialects, kept by TestReadmeListsEveryColumn -->\n"
	columnsEnd   = "<!-- /columns -->"
)

// TestReadmeListsEveryColumn keeps the README's reference equal to the table in
// the code; -update writes it.
func TestReadmeListsEveryColumn(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(readme), columnsBegin)
	_, after, ended := strings.Cut(rest, columnsEnd)
	if !found || !ended {
		t.Fatal("the README has lost the marks around its columns")
	}
	want := before + columnsBegin + columnsReference() + columnsEnd + after
	if *update {
		if err := os.WriteFile("../../README.md", []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if string(readme) != want {
		t.Error("the README's columns are not those of the code: run go test ./cmd/calltally -run TestReadme -update")
	}
}

func columnsReference() string {
	var b strings.Builder
	for _, d := range ingest.Dialects {
		var groups []string
		for _, group := range d.Required {
			groups = append(groups, "`"+strings.Join(group.Any, "` or `")+"`")
		}
		fmt.Fprintf(&b, "\n**`%s`** (%s); needs %s.\n\n| column | also | form | meaning |\n| --- | --- | --- | --- |\n", d.Name, d.Takes, strings.Join(groups, " and "))
		for _, c := range d.Columns {
			also := strings.Join(c.Aliases, ", ")
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, also, c.Kind, c.Meaning)
		}
	}
	return b.String() + "\n"
}
