package main

import (
	"strings"
	"testing"
)

// A configuration that can't be taken is told with its place, whatever it holds; one that can
// makes accounts, sources and limits.
func FuzzConfig(f *testing.F) {
	f.Add(string(starter))
	for _, seed := range []string{
		"", "store: a\naccounts: [{id: \"1\"}]\n", "store: [a]\n", "store: a\naccounts:\n  - {id: 0023, time_zone: America/New_York, match: {window: 5m}, hold_over: {row: 1e9}}\n", "store: ${HOME}\naccounts: [{id: ${NOT_SET}}]\n",
		"store: a\naccounts: [{id: 1, senders: [\"*@a.example\"], payouts: [{percent: 10, cap: 5.00}, {fixed: 1}]}]\nsources: [{name: d, kind: folder, path: d, account: 1, every: 1s}]\n",
		"store: a\naccounts: [{id: 1}]\nsources: [{name: m, kind: imap, url: \"imaps://a%40b@c.example\", password: x, authserv_id: mx}]\nreplies: {smtp: \"smtps://a@b\", from: \"A <a@b.example>\"}\nreconcile: {schedule: \"0 2 * * *\"}\n",
		"store: a\naccounts: [{id: 1}]\nretain: {files: 24h}\nlimits: {bytes: 1}\nattempts: -1\n", "? a\n: b", "- a", "a: &x [*x]", "store: \"\\x00\"\n", "---\n---\n", "{", "\t",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig("calltally.yaml", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "calltally.yaml:") {
				t.Errorf("%q: the error names no place: %v", text, err)
			}
			return
		}
		if accounts, err := c.accounts(); err != nil || len(accounts) == 0 {
			t.Errorf("%q was taken, and has accounts %v, %v", text, accounts, err)
		}
	})
}
