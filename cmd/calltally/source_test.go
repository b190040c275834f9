package main

import (
	"log/slog"
	"testing"

	"calltally/ingest/mailbox"
)

// A mailbox asks for the keys of those senders only whom some account allows.
func TestAMailboxKnowsWhomAccountsAllow(t *testing.T) {
	c := configOf(t, `store: calltally.db
accounts:
  - {id: "23", name: Acme, addresses: [acme@calltally.example], senders: ["*@acme.example"]}
  - {id: "24", name: Borealis, addresses: [borealis@calltally.example], senders: [Jo@borealis.example]}
  - {id: "25", name: Calypso, addresses: [calypso@calltally.example]}
sources: [{name: uploads, kind: imap, url: "imaps://uploads@mail.example", password: x}]
`)
	plans, err := c.plans(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	allows := plans[0].Source.(*mailbox.Mailbox).Vouchers.Allows
	for address, want := range map[string]bool{"orders@acme.example": true, "jo@borealis.example": true, "eve@borealis.example": false, "eve@evil.example": false} {
		if allows(address) != want {
			t.Errorf("%s is allowed: %v, want %v", address, !want, want)
		}
	}
}
