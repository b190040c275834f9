package store

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"calltally/conversion"
)

// Details are read as they were written, and as any JSON library reads them.
func TestDetailsAreReadAsTheyWereWritten(t *testing.T) {
	d := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "", "", "R1", "a \"quoted\" word", `back\slash`, "two\nlines", "zoë", "{", "}", `":"`, ",", "</b>&", "\u2028"}
	for range 5000 {
		var details conversion.Details
		named := map[string]string{}
		for _, part := range details.Parts() {
			if *part.Value = texts[d.IntN(len(texts))]; *part.Value != "" {
				named[part.Name] = *part.Value
			}
		}
		text := detailsText(&details)
		var read conversion.Details
		if err := (storedDetails{&read}).Scan(text); err != nil || read != details {
			t.Fatalf("%s is read as %+v (%v)", text, read, err)
		}
		library := map[string]string{}
		if err := json.Unmarshal([]byte(text), &library); err != nil || !reflect.DeepEqual(library, named) {
			t.Fatalf("%s is %v to the library (%v), want %v", text, library, err, named)
		}
	}
}
