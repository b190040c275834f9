package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"calltally/conversion"
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
		fmt.Fprintf(&b, "\n**`%s`** (%s); needs %s.\n\n", d.Name, d.Takes, strings.Join(groups, " and "))
		writeColumns(&b, d.Columns)
	}
	for _, takes := range []conversion.Takes{conversion.TakesConversions, conversion.TakesCalls} {
		fmt.Fprintf(&b, "\nIn any file of **%s**, if the account's `columns` maps one of its own to them:\n\n", takes)
		writeColumns(&b, ingest.MappedColumns[takes])
	}
	return b.String() + "\n"
}

// writeColumns writes a table of columns; those that are only kept share a line.
func writeColumns(b *strings.Builder, columns []ingest.Column) {
	fmt.Fprintf(b, "| column | also | form | meaning |\n| --- | --- | --- | --- |\n")
	var kept []string
	for _, c := range columns {
		if c.Meaning == "Kept." && c.Kind == ingest.KindText {
			kept = append(kept, "`"+c.Name+"`")
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", c.Name, strings.Join(c.Aliases, ", "), c.Kind, c.Meaning)
	}
	if len(kept) > 0 {
		fmt.Fprintf(b, "| %s | | text | Kept with the conversion. |\n", strings.Join(kept, ", "))
	}
}

// TestReadmeConfigurationIsRead reads the README's example as the program does.
func TestReadmeConfigurationIsRead(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "```yaml\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the README has lost its configuration")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"imap.secret": "s3cret\n", "smtp.secret": "s3cret\n", "known_hosts": "", "office.secret": "s3cret\n", "api.token": "0123456789abcdef0123\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := parseConfig(filepath.Join(dir, "calltally.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := c.accounts()
	if err != nil {
		t.Fatal(err)
	}
	if a := accounts[0]; a.LockBefore != 20260101 || a.Options["received_option"] != "total_revenue" || len(a.Received) != 1 || !a.Payouts[2].OfReceived || a.EventType("12345") == nil {
		t.Errorf("the account is read as %+v", a)
	}
}
