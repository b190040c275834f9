package report_test

import (
	"errors"
	"strings"
)

// readCSV reads quoted cells byte by byte: the standard reader would turn CRLF
// inside them into LF.
func readCSV(text string, comma rune) (rows [][]string, err error) {
	var row []string
	var cell strings.Builder
	quoted := false
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '"' && quoted && i+1 < len(runes) && runes[i+1] == '"':
			cell.WriteRune('"')
			i++
		case r == '"':
			quoted = !quoted
		case quoted:
			cell.WriteRune(r)
		case r == comma || r == '\n':
			row = append(row, cell.String())
			cell.Reset()
			if r == '\n' {
				rows, row = append(rows, row), nil
			}
		default:
			cell.WriteRune(r)
		}
	}
	if quoted || len(row) > 0 || cell.Len() > 0 {
		return nil, errors.New("it ends within a row")
	}
	return rows, nil
}
