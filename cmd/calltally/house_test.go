package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each room, the rooms of ours that it may import. What is
// not listed must not be imported: ARCHITECTURE.md says why.
var mayImport = map[string][]string{
	"conversion":     {},
	"samples":        {},
	"ingest":         {"conversion"},
	"ingest/mailbox": {"conversion", "ingest"},
	"ingest/folder":  {"conversion", "ingest"},
	"ingest/sftp":    {"conversion", "ingest"},
	"ingest/desk":    {"conversion", "ingest"},
	"web":            {"conversion", "ingest", "ingest/desk", "report"},
	"matcher":        {"conversion"},
	"store":          {"conversion"},
	"report":         {"conversion"},
	"report/reply":   {"conversion", "report"},
	"worker":         {"conversion", "ingest", "matcher", "report"},
	"cmd/calltally":  {"conversion", "ingest", "ingest/mailbox", "ingest/folder", "ingest/sftp", "ingest/desk", "report", "report/reply", "samples", "store", "web", "worker"},
}

// notIn are packages that a room must not touch: what is pure asks no clock and
// opens nothing.
var notIn = map[string][]string{
	"matcher":    {"os", "net", "net/http", "database/sql", "log", "log/slog", "context"},
	"report":     {"os", "net", "net/http", "database/sql", "log", "log/slog", "context"},
	"conversion": {"os", "net/http", "database/sql", "log", "log/slog"},
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "calltally/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		room := strings.TrimPrefix(path, "calltally/")
		if strings.HasPrefix(room, "scripts/") {
			continue
		}
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s is a new room: say in ARCHITECTURE.md and here what it may import", room)
		}
		for _, imported := range strings.Fields(imports) {
			if ours, ok := strings.CutPrefix(imported, "calltally/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s must not import %s", room, ours)
			}
			if slices.Contains(notIn[room], imported) {
				t.Errorf("%s must not import %s", room, imported)
			}
		}
	}
}

// forbidden are calls that no code of ours may make, and why.
var forbidden = []struct {
	call *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`gocsv\.(Set|FailIf|TagName|TagSeparator|Should|Unmarshal\w*\(|Marshal\w*\()`), "it works through globals that files with different settings share"},
	{regexp.MustCompile(`\btime\.Now\(\)`), "the clock is a field"},
	{regexp.MustCompile(`^func init\(`), "everything is wired by hand in cmd"},
}

// clockOwners are the files that may ask the clock: they hand it on, or show a
// person how long something takes, or set deadlines on connections.
var clockOwners = []string{"cmd/calltally/", "worker/schedule.go", "ingest/mailbox/conn.go"}

func TestNoForbiddenCalls(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/scripts/") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(strings.TrimPrefix(path, "../../"))
		for n, line := range strings.Split(string(source), "\n") {
			for _, f := range forbidden {
				clock := strings.Contains(f.why, "clock") && slices.ContainsFunc(clockOwners, func(owner string) bool { return strings.HasPrefix(path, owner) })
				if f.call.MatchString(line) && !clock {
					t.Errorf("%s:%d: %s: %s", path, n+1, strings.TrimSpace(line), f.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
