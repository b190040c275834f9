package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// badValue is a text that can't be read, and why.
type badValue struct{ written, sentence string }

func (b badValue) Error() string { return b.sentence }

// atText shows a bad value with its file, line and column.
func (c *config) atText(b badValue) error {
	at := max(bytes.Index(c.text, []byte(b.written)), 0)
	line := bytes.Count(c.text[:at], []byte("\n")) + 1
	begin := bytes.LastIndexByte(c.text[:at], '\n') + 1
	return c.shown(line, utf8.RuneCount(c.text[begin:at])+1, b.sentence)
}

// shown is an error with its file, line and column, and the lines around it.
func (c *config) shown(line, column int, sentence string) error {
	return fmt.Errorf("%s:%d:%d: %s\n%s", c.file, line, column, sentence, quoted(string(c.text), line, column))
}

// notRead says where a file is no YAML, has a key that we don't know, or a value of another
// kind than its key takes.
func (c *config) notRead(err error) error {
	var place yaml.Error
	if !errors.As(err, &place) || place.GetToken() == nil {
		return fmt.Errorf("%s:1:1: %w", c.file, err)
	}
	sentence := place.GetMessage()
	at := place.GetToken().Position
	var unknown *yaml.UnknownFieldError
	var kind *yaml.TypeError
	var shape *yaml.UnexpectedNodeTypeError
	switch {
	case errors.As(err, &unknown):
		sentence = unknownKey(c.groupAt(at), unknown.Token.Value)
	case errors.As(err, &kind):
		sentence = expected(kind.DstType.Kind()) + " belongs here"
	case errors.As(err, &shape) && shape.Expected == ast.SequenceType:
		sentence = expected(reflect.Slice) + " belongs here"
	case errors.As(err, &shape) && shape.Expected == ast.MappingType:
		sentence = expected(reflect.Map) + " belongs here"
	case strings.Contains(sentence, "'\t'"):
		sentence = "a tab stands here; put spaces in its place"
	}
	return c.shown(at.Line, at.Column, sentence)
}

const (
	linesAround = 3
	quotedWidth = 80 // columns of a terminal
)

// quoted shows a place in a text, with the lines around it and a mark below it. Long lines are
// cut, and no password is shown.
func quoted(text string, line, column int) string {
	lines := strings.Split(strings.TrimRight(withoutSecrets(text), "\n"), "\n")
	var b strings.Builder
	for n := max(line-linesAround, 1); n <= min(line+linesAround, len(lines)); n++ {
		margin, at := fmt.Sprintf("  %2d | ", n), 1
		if n == line {
			margin, at = fmt.Sprintf("> %2d | ", n), columnShown(text, line, column)
		}
		shown, at := cutAround(lines[n-1], at, quotedWidth-len(margin))
		fmt.Fprintf(&b, "%s%s\n", margin, shown)
		if n == line {
			fmt.Fprintf(&b, "%*s\n", len(margin)+at, "^")
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// columnShown is where a column is once the passwords before it are not shown.
func columnShown(text string, line, column int) int {
	before, of := strings.SplitAfterN(text, "\n", line), ""
	if len(before) == line {
		of, _, _ = strings.Cut(before[line-1], "\n")
	}
	runes := []rune(of)
	return utf8.RuneCountInString(withoutSecrets(string(runes[:max(min(column-1, len(runes)), 0)]))) + 1
}

// cutAround cuts a line around a column to a width, and returns the column it is in then.
func cutAround(line string, column, width int) (string, int) {
	runes := []rune(strings.TrimRight(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return '→'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, line), " "))
	if len(runes) <= width {
		return string(runes), column
	}
	from := max(min(column-1-width/2, len(runes)-width), 0)
	part := slices.Clone(runes[from : from+width])
	if from > 0 {
		part[0] = '…'
	}
	if from+width < len(runes) {
		part[width-1] = '…'
	}
	return string(part), column - from
}

// groupAt is the group of settings that the key at a position stands in; nil if it can't be
// told.
func (c *config) groupAt(at *token.Position) reflect.Type {
	file, err := parser.ParseBytes(c.text, 0)
	if err != nil || len(file.Docs) == 0 {
		return nil
	}
	finder := &keyFinder{at: at}
	ast.Walk(finder, file.Docs[0].Body)
	group := reflect.TypeFor[config]()
	steps := pathSteps.FindAllString(strings.TrimPrefix(finder.path, "$"), -1)
	for _, step := range steps[:max(len(steps)-1, 0)] {
		group = memberOf(group, strings.TrimPrefix(step, "."))
	}
	return group
}

var pathSteps = regexp.MustCompile(`\.[^.\[]+|\[\d+\]`)

// keyFinder finds the path of the key at a position.
type keyFinder struct {
	at   *token.Position
	path string
}

func (f *keyFinder) Visit(node ast.Node) ast.Visitor {
	if pair, ok := node.(*ast.MappingValueNode); ok {
		if at := pair.Key.GetToken().Position; at.Line == f.at.Line && at.Column == f.at.Column {
			f.path = pair.Key.GetPath()
		}
	}
	return f
}

// memberOf is the type of a group's setting, or of a list's member; nil if there is none.
func memberOf(group reflect.Type, step string) reflect.Type {
	if strings.HasPrefix(step, "[") {
		if group == nil || group.Kind() != reflect.Slice {
			return nil
		}
		return plain(group.Elem())
	}
	for key, member := range settingsOf(group) {
		if key == step {
			return member
		}
	}
	return nil
}

// settingsOf yields the settings of a group and their types; none of what is no group.
func settingsOf(group reflect.Type) iter.Seq2[string, reflect.Type] {
	return func(yield func(string, reflect.Type) bool) {
		if group == nil || group.Kind() != reflect.Struct {
			return
		}
		for i := range group.NumField() {
			field := group.Field(i)
			name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if options == "inline" {
				for key, member := range settingsOf(field.Type) {
					if !yield(key, member) {
						return
					}
				}
			}
			if name != "" && !yield(name, plain(field.Type)) {
				return
			}
		}
	}
}

// plain is a type without a pointer to it.
func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// unknownKey says that a group has no such setting, and which one may be meant; or else where
// the setting belongs.
func unknownKey(group reflect.Type, key string) string {
	if near := nearestKey(group, key); near != "" {
		return fmt.Sprintf("there is no setting %q; did you mean %q?", key, near)
	}
	if owners := ownersOf(reflect.TypeFor[config](), "", key); len(owners) > 0 {
		return fmt.Sprintf("%q is no setting here; it belongs to %s", key, strings.Join(owners, " or "))
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
	if line, column := c.locate(f.path); line > 0 {
		return c.shown(line, column, f.sentence)
	}
	return fmt.Errorf("%s:1:1: %s", c.file, f.sentence)
}

// locate finds a path in the file; the nearest parent that is there will do.
func (c *config) locate(at string) (line, column int) {
	for at != "$" && at != "" {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.ReadNode(bytes.NewReader(c.text)); err == nil {
				position := node.GetToken().Position
				return position.Line, position.Column
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	return 0, 0
}

// nearestKey finds the key of a group that a misspelt one may stand for: at most two and half
// of its letters may be wrong.
func nearestKey(group reflect.Type, wrong string) string {
	best, distance := "", min(len(wrong)/2, 2)+1
	for key := range settingsOf(group) {
		if d := levenshtein.ComputeDistance(wrong, key); d < distance {
			best, distance = key, d
		}
	}
	return best
}

// ownersOf lists the groups below one that have a setting, such as “accounts: match”.
func ownersOf(group reflect.Type, name, key string) (owners []string) {
	for own, member := range settingsOf(group) {
		if own == key {
			owners = append(owners, cmp.Or(name, "the top of the file"))
		}
		if member.Kind() == reflect.Slice {
			member = plain(member.Elem())
		}
		owners = append(owners, ownersOf(member, strings.TrimPrefix(name+": "+own, ": "), key)...)
	}
	return owners
}
