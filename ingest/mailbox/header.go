package mailbox

import (
	"io"
	"mime"
	netmail "net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"
	"golang.org/x/text/encoding/htmlindex"

	"calltally/conversion"
	"calltally/ingest"
)

// readMail reads who sent a mail to whom.
func readMail(h message.Header) ingest.Mail {
	m := ingest.Mail{From: sender(h), Subject: conversion.OneLine(decodeWords(h.Get("Subject"))), Automatic: automatic(h)}
	ids := mail.Header{Header: h}
	if id, err := ids.MessageID(); err == nil && conversion.IsPrintableASCII(id) { // a reply's header has it
		m.MessageID = id
	}
	m.References, _ = ids.MsgIDList("References")
	m.References = slices.DeleteFunc(m.References, func(id string) bool { return !conversion.IsPrintableASCII(id) })
	// What the server wrote comes before what the sender wrote.
	seen := map[string]bool{}
	for _, field := range []string{"X-Original-To", "X-Delivered-To", "Delivered-To", "Envelope-To", "To", "Cc"} {
		for fields := h.FieldsByKey(field); fields.Next(); {
			for _, address := range addresses(fields.Value()) {
				if !seen[address] && len(m.Recipients) < maxRecipients {
					seen[address] = true
					m.Recipients = append(m.Recipients, address)
				}
			}
		}
	}
	return m
}

// maxRecipients is how many recipients are looked at.
const maxRecipients = 500

// sender is the one address that a mail comes from; "" if it names none, several,
// or a group.
func sender(h message.Header) string {
	if h.FieldsByKey("From").Len() != 1 {
		return ""
	}
	value := h.Get("From")
	if group.MatchString(quoted.ReplaceAllString(value, "")) {
		return ""
	}
	from := addresses(value)
	if len(from) != 1 || strings.Count(quoted.ReplaceAllString(value, ""), "@") > 1 || len(angular.FindAllString(value, 2)) > 1 ||
		strings.Contains(quoted.ReplaceAllString(value, ""), "@") && angular.MatchString(value) {
		return ""
	}
	return from[0]
}

var (
	quoted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\([^)]*\)|<[^>]*>`)
	group   = regexp.MustCompile(`[:;]`)
	angular = regexp.MustCompile(`<([^<>@\s]+@[^<>@\s]+)>`)
)

// addresses reads a list of addresses. One that is badly written doesn't spoil
// the others.
func addresses(list string) []string {
	parser := netmail.AddressParser{WordDecoder: words}
	var found []string
	if parsed, err := parser.ParseList(list); err == nil {
		for _, a := range parsed {
			found = append(found, a.Address)
		}
	} else if bare := angular.FindAllStringSubmatch(list, maxRecipients); bare != nil {
		for _, m := range bare {
			found = append(found, m[1])
		}
	} else if list = strings.TrimSpace(list); strings.Count(list, "@") == 1 && !strings.ContainsAny(list, " ,\"") {
		found = append(found, list)
	}
	kept := found[:0]
	for _, address := range found {
		if conversion.OneLine(address) == address {
			kept = append(kept, strings.ToLower(address))
		}
	}
	return kept
}

// skipped says why a mail must not be read: bounces, answers of programs, and
// our own reports.
func skipped(h message.Header) string {
	from, _, _ := strings.Cut(sender(h), "@")
	switch {
	case h.Has("X-Calltally-Report"):
		return "our own report"
	case strings.TrimSpace(h.Get("Return-Path")) == "<>", from == "mailer-daemon", from == "postmaster":
		return "a bounce"
	case h.Has("X-Failed-Recipients"), strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "multipart/report"):
		return "a delivery report or a receipt"
	case strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted"))), "auto-replied"):
		return "an automatic reply"
	}
	return ""
}

// automatic reports whether a program or a list sent a mail: it is read, but not
// answered.
func automatic(h message.Header) bool {
	submitted := strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted")))
	precedence := strings.ToLower(strings.TrimSpace(h.Get("Precedence")))
	return submitted != "" && submitted != "no" || slices.Contains([]string{"bulk", "junk", "list", "auto_reply"}, precedence) ||
		h.Has("List-Id") || h.Has("List-Unsubscribe") || h.Has("X-Auto-Response-Suppress") || h.Has("X-Autoreply") || h.Has("X-Autorespond")
}

var bareName = regexp.MustCompile(`(?i)(?:file)?name\*?\s*=\s*(?:"([^"]*)"|([^;\r\n]+))`)

// fileName is the name a part gives its file, however badly it is written.
func fileName(h message.Header) string {
	for _, field := range []struct {
		header, parameter string
	}{{"Content-Disposition", "filename"}, {"Content-Type", "name"}} {
		value := h.Get(field.header)
		_, parameters, err := mime.ParseMediaType(value)
		name := parameters[field.parameter]
		if name == "" {
			name = extendedName(value)
		}
		if err != nil && name == "" {
			if m := bareName.FindStringSubmatch(value); m != nil {
				name = strings.TrimSpace(m[1] + m[2])
			}
		}
		if name = conversion.OneLine(decodeWords(name)); name != "" {
			return name
		}
	}
	return ""
}

var extended = regexp.MustCompile(`(?i)name\*(?:0\*)?\s*=\s*([A-Za-z0-9._-]+)'[^']*'([^;\s"]+)`)

// extendedName reads filename*=iso-8859-1”M%E4rz.csv, whose character set the
// standard library doesn't know.
func extendedName(value string) string {
	m := extended.FindStringSubmatch(value)
	if m == nil {
		return ""
	}
	raw, err := url.PathUnescape(m[2])
	if err != nil {
		return ""
	}
	r, err := charsetReader(m[1], strings.NewReader(raw))
	if err != nil {
		return raw
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return raw
	}
	return string(text)
}

// words decodes =?windows-1252?q?…?= in any character set that the web knows.
var words = &mime.WordDecoder{CharsetReader: charsetReader}

func charsetReader(charset string, in io.Reader) (io.Reader, error) {
	known, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return known.NewDecoder().Reader(in), nil
}

// decodeWords decodes =?utf-8?q?…?= wherever it stands; what can't be decoded
// stays.
func decodeWords(text string) string {
	if decoded, err := words.DecodeHeader(text); err == nil {
		return decoded
	}
	return text
}
