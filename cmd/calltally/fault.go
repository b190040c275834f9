package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// badValue is a text that can't be read, and why.
type badValue struct{ written, sentence string }

func (b badValue) Error() string { return b.sentence }

// atText shows a bad value with its file, line and column.
func (c *config) atText(b badValue) error {
	at := max(bytes.Index(c.text, []byte(b.written)), 0)
	line := bytes.Count(c.text[:at], []byte("\n")) + 1
	begin := bytes.LastIndexByte(c.text[:at], '\n') + 1
	shown, _, _ := strings.Cut(string(c.text[begin:]), "\n")
	return fmt.Errorf("%s:%d:%d: %s\n> %2d | %s", c.file, line, at-begin+1, b.sentence, line, shown)
}

var position = regexp.MustCompile(`^\[(\d+:\d+)\] `)

// syntaxHint shows where a file is no YAML, has a key that we don't know, or a
// value of another kind than its key takes.
func syntaxHint(file string, err error) string {
	text := yaml.FormatError(err, false, true)
	var unknown *yaml.UnknownFieldError
	var kind *yaml.TypeError
	var shape *yaml.UnexpectedNodeTypeError
	switch {
	case errors.As(err, &unknown):
		text = yaml.FormatErrorWithToken(unknownKey(unknown.Token.Value), unknown.Token, false, true)
	case errors.As(err, &kind):
		text = yaml.FormatErrorWithToken(expected(kind.DstType.Kind())+" belongs here", kind.Token, false, true)
	case errors.As(err, &shape) && shape.Expected == ast.SequenceType:
		text = yaml.FormatErrorWithToken(expected(reflect.Slice)+" belongs here", shape.Token, false, true)
	case errors.As(err, &shape) && shape.Expected == ast.MappingType:
		text = yaml.FormatErrorWithToken(expected(reflect.Map)+" belongs here", shape.Token, false, true)
	}
	return file + ":" + strings.TrimRight(position.ReplaceAllString(text, "$1: "), "\n")
}

func unknownKey(key string) string {
	if near := nearestKey(key); near != "" {
		return fmt.Sprintf("there is no setting %q; did you mean %q?", key, near)
	}
	return fmt.Sprintf("there is no setting %q", key)
}

// expected names what a setting takes.
func expected(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list, put into [ ] even if it has one member,"
	case reflect.Struct, reflect.Map:
		return "a group of settings, such as {key: value},"
	}
	return "a single value"
}

// fault is something wrong at a place in the file.
type fault struct {
	path, sentence string
}

func (f fault) Error() string { return f.sentence }

func faultAt(path, format string, args ...any) error {
	return fault{path, fmt.Sprintf(format, args...)}
}

// at shows a fault with its file, line and column and the lines around it.
func (c *config) at(err error) error {
	var f fault
	if !errors.As(err, &f) {
		return err
	}
	node, line, column := c.locate(f.path)
	if node == "" {
		return fmt.Errorf("%s:1:1: %s", c.file, f.sentence)
	}
	return fmt.Errorf("%s:%d:%d: %s\n%s", c.file, line, column, f.sentence, strings.TrimRight(node, "\n"))
}

// locate finds a path in the file; the nearest parent that is there will do.
func (c *config) locate(at string) (annotated string, line, column int) {
	for at != "$" && at != "" {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.ReadNode(strings.NewReader(string(c.text))); err == nil {
				source, _ := p.AnnotateSource(c.text, false)
				position := node.GetToken().Position
				return string(source), position.Line, position.Column
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	return "", 0, 0
}

// nearestKey finds the key that a misspelt one may stand for: at most two
// and half of its letters may be wrong.
func nearestKey(wrong string) string {
	best, distance := "", min(len(wrong)/2, 2)+1
	for _, key := range knownKeys(reflect.TypeFor[config](), nil) {
		if d := levenshtein.ComputeDistance(wrong, key); d < distance {
			best, distance = key, d
		}
	}
	return best
}

func knownKeys(t reflect.Type, keys []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return keys
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" {
			keys = append(keys, name)
		}
		keys = knownKeys(t.Field(i).Type, keys)
	}
	return keys
}
