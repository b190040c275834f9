package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	namedFiles = regexp.MustCompile(`(?:password_file|client_secret_file|token_file|known_hosts|ca_file|key_file): (?:"([^"]+)"|([^\s,}]+))`)
)

// TestRecipesAreRead reads every configuration in docs/ as the program does.
func TestRecipesAreRead(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		if name == "README.md" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(index), "]("+name+")") {
				t.Error("the index doesn't name the page")
			}
			blocks := yamlBlock.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Error("the page has no configuration")
			}
			for _, block := range blocks {
				readRecipe(t, block[1])
			}
		})
	}
}

// readRecipe reads a configuration beside the files that it names.
func readRecipe(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	ca, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range namedFiles.FindAllStringSubmatch(text, -1) {
		file := filepath.Base(named[1] + named[2])
		content := "0123456789abcdef0123456789abcdef\n"
		switch file {
		case "known_hosts":
			content = ""
		case "ca.pem":
			content = string(ca)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := parseConfig(filepath.Join(dir, "calltally.yaml"), []byte(text))
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := c.plans(nil); err != nil {
		t.Error(err)
	}
}
