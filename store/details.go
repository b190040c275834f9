package store

import (
	"encoding/json"
	"fmt"
	"strings"

	"calltally/conversion"
)

// detailsText are the details that a conversion has as they are stored: a JSON object of
// texts, in the order of Details.Parts.
func detailsText(d *conversion.Details) string {
	var text strings.Builder
	for _, part := range d.Parts() {
		if *part.Value == "" {
			continue
		}
		if text.Len() == 0 {
			text.Grow(160)
			text.WriteByte('{')
		} else {
			text.WriteByte(',')
		}
		text.WriteByte('"')
		text.WriteString(part.Name)
		text.WriteString(`":`)
		if plain(*part.Value) {
			text.WriteByte('"')
			text.WriteString(*part.Value)
			text.WriteByte('"')
		} else {
			text.WriteString(asJSON(*part.Value))
		}
	}
	if text.Len() == 0 {
		return "{}"
	}
	text.WriteByte('}')
	return text.String()
}

// plain reports whether a text stands for itself in JSON.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

// storedDetails reads the column of details.
type storedDetails struct{ of *conversion.Details }

// Scan reads the column.
func (s storedDetails) Scan(value any) error {
	*s.of = conversion.Details{}
	text, _ := value.(string)
	if plainly(text, s.of) {
		return nil
	}
	held := map[string]string{}
	if err := json.Unmarshal([]byte(text), &held); err != nil {
		return fmt.Errorf("details: %w", err)
	}
	for _, part := range s.of.Parts() {
		*part.Value = held[part.Name]
	}
	return nil
}

// plainly reads details of plain texts without asking the JSON library, which takes
// microseconds; ok is false if they are no such.
func plainly(text string, into *conversion.Details) (ok bool) {
	rest, object := strings.CutPrefix(text, "{")
	if !object || strings.IndexByte(text, '\\') >= 0 {
		return false
	}
	parts := into.Parts()
	for at := 0; rest != "}"; at++ {
		name, after, found := strings.Cut(strings.TrimPrefix(rest, `"`), `":"`)
		value, next, ended := strings.Cut(after, `"`)
		for at < len(parts) && parts[at].Name != name {
			at++
		}
		if !found || !ended || at == len(parts) {
			return false
		}
		*parts[at].Value, rest = value, strings.TrimPrefix(next, ",")
	}
	return true
}
