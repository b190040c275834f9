package main

// uniqueness are what the schema itself refuses: whatever the program does, nothing is there
// twice, and nothing is in a state that it can't be in.
var uniqueness = append(schema(
	inLedger{"an account's name is there once", "name TEXT NOT NULL UNIQUE", "name TEXT NOT NULL", "", false},
	inLedger{"a call is astray or not", "CHECK (astray IN (0, 1))", "", "", false},
	inLedger{"a call lasts", " CHECK (duration >= 0)", "", "", false},
	inLedger{"a call is corrected or not", " CHECK (corrected IN (0, 1))", "", "", false},
	inLedger{"a call's id is there once", "PRIMARY KEY (name, nth)", "PRIMARY KEY (name, nth, call)", "", false},
	inLedger{"a call is found by its caller once", "PRIMARY KEY (account, caller, start_ms, call)\n) STRICT, WITHOUT ROWID", "CHECK (TRUE)\n) STRICT", "", false},
	inLedger{"a superseded transaction is there once", "UNIQUE (account, transaction_id)", "CHECK (TRUE)", "", false},
	inLedger{"an upload takes conversions or calls", " CHECK (takes IN ('conversions', 'calls'))", "", "", false},
	inLedger{"the states of an upload", " CHECK (state IN ('received', 'deciding', 'decided', 'refused'))", "", "", false},
	inLedger{"fewer than no rows wait", " CHECK (waiting >= 0)", "", "", false},
	inLedger{"an upload is decided again or not", " CHECK (again IN (0, 1))", "", "", false},
	inLedger{"an upload is a dry run or not", " CHECK (dry_run IN (0, 1))", "", "", false},
	inLedger{"a delivery is one upload", "UNIQUE (source, origin, digest),", "", "", true},
	inLedger{"an upload is refused by a code", "CHECK ((state = 'refused') = (refusal_code <> '')),", "", "", false},
	inLedger{"an upload is decided at some time", "CHECK (state <> 'decided' OR decided_ms > 0)", "CHECK (TRUE)", "", false},
	inLedger{"a part of an upload is there once", "UNIQUE (upload, part)", "CHECK (TRUE)", "", false},
	inLedger{"outcomes are there once", "UNIQUE (upload, first_line),", "", "", false},
	inLedger{"outcomes end after they begin", "CHECK (first_line <= last_line)", "CHECK (TRUE)", "", false},
	inLedger{"conversions of a key are counted from 0", "CHECK (nth >= 0), -- counts conversions", ", -- counts conversions", "", false},
	inLedger{"a conversion has changes", " CHECK (changes > 0)", "", "", false},
	inLedger{"a conversion was regrouped or not", " CHECK (regrouped IN (0, 1))", "", "", false},
	inLedger{"a sale has a currency", "CHECK (sale IS NULL OR sale_currency <> ''),", "", "", false},
	inLedger{"what is received has a currency", "CHECK (received IS NULL OR received_currency <> ''),", "", "", false},
	inLedger{"a payout has a currency", "CHECK (payout IS NULL OR payout_currency <> ''),", "", "", false},
	inLedger{"the statuses of a conversion", "WHEN 'undone' THEN sale IS NULL AND received IS NULL AND payout IS NULL\n        ELSE FALSE", "WHEN 'undone' THEN sale IS NULL AND received IS NULL AND payout IS NULL\n        ELSE TRUE", "", false},
	inLedger{"what is undone has no amounts", "THEN sale IS NULL AND received IS NULL AND payout IS NULL", "THEN TRUE", "", false},
	inLedger{"a key is one conversion's", "PRIMARY KEY (call, key, nth)", "PRIMARY KEY (call, key, nth, conversion)", "", false},
	inLedger{"keys are counted from 0", "nth        INTEGER NOT NULL CHECK (nth >= 0)", "nth        INTEGER NOT NULL", "", false},
	inLedger{"a conversion is found by its reference once", "PRIMARY KEY (reference, conversion)\n) STRICT, WITHOUT ROWID", "CHECK (TRUE)\n) STRICT", "", false},
	inLedger{"a conversion is found by its call once", "PRIMARY KEY (call, conversion)\n) STRICT, WITHOUT ROWID", "CHECK (TRUE)\n) STRICT", "", false},
	inLedger{"the verdicts of a change", "THEN conversion <> id AND seq > 0\n        ELSE FALSE", "THEN conversion <> id AND seq > 0\n        ELSE TRUE", "", false},
	inLedger{"a change that creates is its conversion's first", "WHEN 'created' THEN conversion = id AND seq = 0", "WHEN 'created' THEN TRUE", "", false},
	inLedger{"a repetition is its conversion's first", "WHEN 'repeated' THEN conversion = id AND seq = 0", "WHEN 'repeated' THEN TRUE", "", false},
	inLedger{"an update is of another conversion", "WHEN 'updated' THEN conversion <> id AND seq > 0", "WHEN 'updated' THEN TRUE", "", false},
	inLedger{"an increment is of another conversion", "WHEN 'incremented' THEN conversion <> id AND seq > 0", "WHEN 'incremented' THEN TRUE", "", false},
	inLedger{"a conversion's changes are numbered", "CREATE UNIQUE INDEX change_by_conversion", "CREATE INDEX change_by_conversion", "", false},
	inLedger{"a row is applied once", "fingerprint BLOB NOT NULL UNIQUE", "fingerprint BLOB NOT NULL", "", false},
	inLedger{"reports are counted from 1", " CHECK (revision > 0)", "", "", false},
	inLedger{"the states of a report", " CHECK (state IN ('due', 'sent', 'failed', 'replaced'))", "", "", false},
	inLedger{"a report is there once", "UNIQUE (upload, revision),", "", "", false},
	inLedger{"a report was sent at some time", "    UNIQUE (upload, revision),\n    CHECK ((state = 'sent') = (sent_ms > 0))", "    UNIQUE (upload, revision)", "", false},
	inLedger{"the last of a bundle or not", " CHECK (closes IN (0, 1))", "", "00002_bundles.sql", false},
	inLedger{"only what goes on is held", " CHECK (hold_code = '' OR state IN ('received', 'deciding'))", "", "00003_nothing_lost.sql", true},
	inLedger{"fewer than no attempts", " CHECK (attempts >= 0)", "", "00003_nothing_lost.sql", false},
	inLedger{"a posting is sent or refused", " CHECK (state IN ('sent', 'refused'))", "", "00003_nothing_lost.sql", false},
	inLedger{"a recipient has a report once", "UNIQUE (upload, revision, recipient)", "CHECK (TRUE)", "00003_nothing_lost.sql", false},
	inLedger{"a posting is of a report", "    UNIQUE (upload, revision, recipient),\n    FOREIGN KEY (upload, revision) REFERENCES report (upload, revision)", "    UNIQUE (upload, revision, recipient)", "00003_nothing_lost.sql", false},
), mutation{name: "schema: changes are counted from 0", file: "store/migrations/00001_ledger.sql", from: " CHECK (seq >= 0)",
	unseen: "what is checked of verdicts says as much"})

// inLedger is a mutation of the schema: of a migration, or of the first one.
type inLedger struct {
	name, from, to, migration string
	short                     bool
}

func schema(all ...inLedger) (mutations []mutation) {
	for _, m := range all {
		if m.migration == "" {
			m.migration = "00001_ledger.sql"
		}
		mutations = append(mutations, mutation{name: "schema: " + m.name, file: "store/migrations/" + m.migration, from: m.from, to: m.to,
			by: tests{"./store", "TestSQLiteConforms/checks"}, short: m.short})
	}
	return mutations
}
