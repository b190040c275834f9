package mailbox

import (
	"errors"
	"slices"
	"strings"
)

const authHeader = "Authentication-Results"

// authResults is what a mail server says of a mail in one Authentication-Results header
// (RFC 8601). That anybody can write such a header, its reader has to know.
type authResults struct {
	server  string // authserv-id, in lower case
	named   bool   // it has one; Microsoft 365 writes none
	results []authResult
}

// dmarcFailed reports whether the sender is not who From says.
func (a *authResults) dmarcFailed() bool {
	return slices.ContainsFunc(a.results, func(r authResult) bool { return r.method == "dmarc" && r.result == "fail" })
}

// authResult is what one method came to.
type authResult struct {
	method, result string // in lower case
	// properties are by ptype.property in lower case; values are as they were written.
	properties map[string]string
}

// Bounds of a header that is read.
const (
	maxAuthHeader  = 16 << 10 // bytes
	maxAuthResults = 50
)

var errAuthResults = errors.New("the Authentication-Results header can't be read")

// parseAuthResults reads the value of a header. One that isn't written as it must be says
// nothing at all, so that nobody is believed by how an error was read over.
func parseAuthResults(value string) (*authResults, error) {
	if len(value) > maxAuthHeader {
		return nil, errAuthResults
	}
	s := &authScanner{rest: value}
	parsed := &authResults{}
	first, quoted := s.value(";=")
	s.blank()
	switch {
	case s.failed || first == "" && !quoted:
		return nil, errAuthResults
	case !quoted && s.next('='): // no id: the first method follows at once
		if !s.result(parsed, first) {
			return nil, errAuthResults
		}
	default:
		parsed.server, parsed.named = strings.ToLower(first), true
		if version, _ := s.value(";="); strings.Trim(version, "0123456789") != "" {
			return nil, errAuthResults
		}
	}
	for s.blank(); s.rest != "" && !s.failed; s.blank() {
		if !s.next(';') {
			return nil, errAuthResults
		}
		if s.blank(); s.rest == "" { // some end with one
			break
		}
		method, quoted := s.value(";=")
		if s.blank(); !quoted && strings.EqualFold(method, "none") && s.rest == "" && len(parsed.results) == 0 {
			break
		}
		if quoted || !s.next('=') || !s.result(parsed, method) {
			return nil, errAuthResults
		}
	}
	if s.failed {
		return nil, errAuthResults
	}
	return parsed, nil
}

// result reads what follows a method and its equals sign.
func (s *authScanner) result(into *authResults, method string) bool {
	method, version, versioned := strings.Cut(method, "/")
	word, quoted := s.value(";=")
	if quoted || method == "" || word == "" || versioned && strings.Trim(version, "0123456789") != "" || len(into.results) == maxAuthResults {
		return false
	}
	r := authResult{method: strings.ToLower(method), result: strings.ToLower(word), properties: map[string]string{}}
	for s.blank(); s.rest != "" && s.rest[0] != ';' && !s.failed; s.blank() {
		name, quoted := s.value(";=")
		if s.blank(); quoted || name == "" || !s.next('=') {
			return false
		}
		value, _ := s.value(";")
		name = strings.ToLower(name)
		if _, twice := r.properties[name]; twice {
			return false
		}
		r.properties[name] = value
	}
	into.results = append(into.results, r)
	return !s.failed
}

// authScanner cuts a header into words.
type authScanner struct {
	rest   string
	failed bool
}

// blank skips white space and comments, which nest.
func (s *authScanner) blank() {
	depth := 0
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth > 0 && c == '\\':
			i++
		case depth > 0, c == ' ', c == '\t', c == '\r', c == '\n':
		default:
			s.rest = s.rest[i:]
			return
		}
	}
	s.rest, s.failed = "", s.failed || depth > 0
}

// next takes a character if it is the next one.
func (s *authScanner) next(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// value reads a word up to white space, a comment or what ends it. Parts of it may be quoted,
// as in "jo; x"@acme.example; quoted says that it began so.
func (s *authScanner) value(ends string) (word string, quoted bool) {
	s.blank()
	quoted = strings.HasPrefix(s.rest, `"`)
	var b strings.Builder
	for s.rest != "" {
		c := s.rest[0]
		switch {
		case c == '"':
			s.quoted(&b)
			continue
		case strings.IndexByte(" \t\r\n(", c) >= 0, strings.IndexByte(ends, c) >= 0:
			return b.String(), quoted
		case c < ' ', c == 0x7F, c == ')':
			s.failed = true
		}
		b.WriteByte(c)
		s.rest = s.rest[1:]
	}
	return b.String(), quoted
}

// quoted reads a quoted string.
func (s *authScanner) quoted(into *strings.Builder) {
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return
		case c == '\\' && i+1 < len(s.rest):
			i++
			into.WriteByte(s.rest[i])
		case c < ' ' && c != '\t' && c != '\r' && c != '\n', c == 0x7F:
			s.failed = true
		default:
			into.WriteByte(c)
		}
	}
	s.rest, s.failed = "", true
}
