-- The types are SQLite's; another engine reads them as its own (see engine.go).
-- Times are milliseconds since 1970 in UTC. Amounts are whole minor units.

-- +goose Up
CREATE TABLE account (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE -- the account's id in the configuration
) STRICT;

CREATE TABLE call (
    id             INTEGER PRIMARY KEY, -- of its day and its caller (see callsearch.go)
    account        INTEGER NOT NULL, -- that it is there, verify proves
    astray         INTEGER NOT NULL DEFAULT 0 CHECK (astray IN (0, 1)), -- it isn't where its day and caller say
    call_id        TEXT NOT NULL,
    transaction_id TEXT NOT NULL DEFAULT '',
    external_id    TEXT NOT NULL DEFAULT '',
    click_id       TEXT NOT NULL DEFAULT '',
    start_ms       INTEGER NOT NULL,
    duration       INTEGER NOT NULL CHECK (duration >= 0), -- seconds
    caller         INTEGER NOT NULL, -- E.164 digits; 0 if withheld
    called         INTEGER NOT NULL,
    campaign       TEXT NOT NULL DEFAULT '',
    publisher      TEXT NOT NULL DEFAULT '',
    status         TEXT NOT NULL DEFAULT '',
    cost           INTEGER, -- NULL if nobody said
    cost_currency  TEXT NOT NULL DEFAULT '',
    corrected      INTEGER NOT NULL DEFAULT 0 CHECK (corrected IN (0, 1)) -- by a later log entry
) STRICT;
CREATE INDEX call_astray ON call (account) WHERE astray = 1;
CREATE INDEX call_by_start ON call (account, start_ms);

-- What calls are found by: tables of their own, because what is written to each can be
-- sorted as it is.
CREATE TABLE call_name (
    name BLOB NOT NULL, -- a digest of a kind of id and an id of that kind
    nth  INTEGER NOT NULL, -- the account, which has one call of a call id; the call for other ids
    call INTEGER NOT NULL,
    PRIMARY KEY (name, nth)
) STRICT, WITHOUT ROWID;

CREATE TABLE call_caller (
    account  INTEGER NOT NULL,
    caller   INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    call     INTEGER NOT NULL,
    PRIMARY KEY (account, caller, start_ms, call)
) STRICT, WITHOUT ROWID;

-- What rows said of what a call cost. The last one's word stands in the call.
CREATE TABLE call_cost (
    id              INTEGER PRIMARY KEY, -- upload and line that said it
    call            INTEGER NOT NULL REFERENCES call (id),
    before          INTEGER,
    before_currency TEXT NOT NULL,
    after           INTEGER,
    after_currency  TEXT NOT NULL,
    undoes          INTEGER NOT NULL -- the entry that it takes back; 0 for none
) STRICT;
CREATE INDEX call_cost_by_call ON call_cost (call);
CREATE INDEX call_cost_by_undone ON call_cost (undoes) WHERE undoes <> 0;

-- Call log entries that a later entry has replaced. Seen again, they say nothing;
-- rows that name them mean the call as it is now.
CREATE TABLE superseded_transaction (
    account        INTEGER NOT NULL REFERENCES account (id),
    transaction_id TEXT NOT NULL,
    call           INTEGER NOT NULL REFERENCES call (id),
    UNIQUE (account, transaction_id)
) STRICT;

CREATE TABLE upload (
    id           INTEGER PRIMARY KEY,
    account      TEXT NOT NULL, -- '' if none could be told
    source       TEXT NOT NULL,
    origin       TEXT NOT NULL,
    digest       BLOB NOT NULL, -- SHA-256 of the bytes
    size         INTEGER NOT NULL,
    name         TEXT NOT NULL,
    stem         TEXT NOT NULL, -- what its report's files are named by
    takes        TEXT NOT NULL CHECK (takes IN ('conversions', 'calls')),
    dialect      TEXT NOT NULL,
    received_ms  INTEGER NOT NULL,
    decided_ms   INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL CHECK (state IN ('received', 'deciding', 'decided', 'refused')),
    refusal_code TEXT NOT NULL DEFAULT '',
    refusal      TEXT NOT NULL DEFAULT '',
    reading      TEXT NOT NULL DEFAULT '{}', -- how the file was read, JSON
    tally        TEXT NOT NULL DEFAULT '{}', -- rows and verdicts, JSON
    waiting      INTEGER NOT NULL DEFAULT 0 CHECK (waiting >= 0), -- rows that wait for their call
    diagnosis    TEXT NOT NULL DEFAULT '',
    cursor_line  INTEGER NOT NULL DEFAULT 0, -- the last line decided
    same_as      INTEGER NOT NULL DEFAULT 0, -- the first upload of the same bytes
    again        INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)), -- decide even what copies have applied
    dry_run      INTEGER NOT NULL DEFAULT 0 CHECK (dry_run IN (0, 1)), -- decided, and nothing was changed
    undoes       INTEGER NOT NULL DEFAULT 0, -- the upload that it takes back; 0 for none
    replays      INTEGER NOT NULL DEFAULT 0, -- the upload that it decides again; 0 for none
    mail         TEXT NOT NULL DEFAULT '{}', -- what a reply needs to know, JSON
    UNIQUE (source, origin, digest),
    CHECK ((state = 'refused') = (refusal_code <> '')),
    CHECK (state <> 'decided' OR decided_ms > 0)
) STRICT;
CREATE INDEX upload_to_decide ON upload (id) WHERE state IN ('received', 'deciding');
CREATE INDEX upload_by_digest ON upload (account, digest);
CREATE INDEX upload_by_stem ON upload (source, stem);
CREATE INDEX upload_waiting ON upload (id) WHERE waiting > 0;
CREATE INDEX upload_derived ON upload ((undoes + replays)) WHERE undoes + replays > 0;

-- An upload's bytes as they came, in parts of equal size.
CREATE TABLE upload_part (
    upload INTEGER NOT NULL REFERENCES upload (id),
    part   INTEGER NOT NULL,
    bytes  BLOB NOT NULL,
    UNIQUE (upload, part)
) STRICT;

-- What became of an upload's rows: one packed list for each chunk that was
-- decided. They are read by upload only.
CREATE TABLE outcome_chunk (
    upload     INTEGER NOT NULL REFERENCES upload (id),
    first_line INTEGER NOT NULL,
    last_line  INTEGER NOT NULL,
    outcomes   BLOB NOT NULL,
    UNIQUE (upload, first_line),
    CHECK (first_line <= last_line)
) STRICT;

CREATE TABLE conversion (
    id                INTEGER PRIMARY KEY, -- upload and line that created it
    account           INTEGER NOT NULL,
    key_call          INTEGER NOT NULL, -- the call, if that is a part of the key; else 0
    key               BLOB NOT NULL,    -- a digest of the other parts
    keyed_by          INTEGER NOT NULL, -- the parts of the key, one bit each
    nth               INTEGER NOT NULL CHECK (nth >= 0), -- counts conversions under one key
    changes           INTEGER NOT NULL CHECK (changes > 0), -- the ledger's entries for it
    call              INTEGER NOT NULL, -- 0 for a web conversion
    occurred_ms       INTEGER NOT NULL,
    sale              INTEGER, -- NULL if none was given
    sale_currency     TEXT NOT NULL,
    received          INTEGER,
    received_currency TEXT NOT NULL,
    payout            INTEGER,
    payout_currency   TEXT NOT NULL,
    status            TEXT NOT NULL,
    details           TEXT NOT NULL, -- JSON
    regrouped         INTEGER NOT NULL DEFAULT 0 CHECK (regrouped IN (0, 1)), -- statements once summed it up elsewhere
    CHECK (sale IS NULL OR sale_currency <> ''),
    CHECK (received IS NULL OR received_currency <> ''),
    CHECK (payout IS NULL OR payout_currency <> ''),
    CHECK (CASE status -- one after another: a list is looked through for each row by making a table of it
        WHEN '' THEN TRUE WHEN 'approved' THEN TRUE WHEN 'pending' THEN TRUE WHEN 'declined' THEN TRUE
        WHEN 'other' THEN TRUE WHEN 'rejected' THEN TRUE WHEN 'returned' THEN TRUE WHEN 'reversed' THEN TRUE
        WHEN 'undone' THEN sale IS NULL AND received IS NULL AND payout IS NULL
        ELSE FALSE END)
) STRICT;
CREATE INDEX conversion_regrouped ON conversion (id) WHERE regrouped = 1;

-- What conversions are found by.
CREATE TABLE conversion_key (
    call       INTEGER NOT NULL,
    key        BLOB NOT NULL,
    nth        INTEGER NOT NULL CHECK (nth >= 0),
    conversion INTEGER NOT NULL,
    PRIMARY KEY (call, key, nth)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversion_reference (
    reference  INTEGER NOT NULL, -- a digest of the account and a reference id that it has or had
    conversion INTEGER NOT NULL,
    PRIMARY KEY (reference, conversion)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversion_call ( -- of those whose key doesn't lead from the call to them
    call       INTEGER NOT NULL,
    conversion INTEGER NOT NULL,
    PRIMARY KEY (call, conversion)
) STRICT, WITHOUT ROWID;

-- The ledger. Nothing is ever changed or deleted here.
CREATE TABLE change (
    id              INTEGER PRIMARY KEY, -- upload and line that caused it
    conversion      INTEGER NOT NULL, -- that it is there, verify proves: this would look for it for each row
    seq             INTEGER NOT NULL CHECK (seq >= 0), -- counts the conversion's changes
    verdict         TEXT NOT NULL,
    at_ms           INTEGER NOT NULL,
    effective       INTEGER NOT NULL, -- yyyymmdd in the account's zone
    sale_before     INTEGER, -- in the conversion's currencies
    sale_after      INTEGER,
    received_before INTEGER,
    received_after  INTEGER,
    payout_before   INTEGER,
    payout_after    INTEGER,
    status_before   TEXT NOT NULL DEFAULT '',
    status_after    TEXT NOT NULL DEFAULT '',
    details         TEXT NOT NULL DEFAULT '', -- what else changed, JSON
    rule            TEXT NOT NULL DEFAULT '',
    undoes          INTEGER NOT NULL DEFAULT 0, -- the change that it takes back; 0 for none
    CHECK (CASE verdict
        WHEN 'created' THEN conversion = id AND seq = 0 WHEN 'repeated' THEN conversion = id AND seq = 0
        WHEN 'updated' THEN conversion <> id AND seq > 0 WHEN 'incremented' THEN conversion <> id AND seq > 0
        ELSE FALSE END)
) STRICT;
-- A change that created its conversion shares its id and needs no entry.
CREATE UNIQUE INDEX change_by_conversion ON change (conversion, seq) WHERE conversion <> id;
CREATE INDEX change_by_undone ON change (undoes) WHERE undoes <> 0;

-- Rows that were applied and must not be applied again.
CREATE TABLE fingerprint (
    fingerprint BLOB NOT NULL UNIQUE,
    change      INTEGER NOT NULL
) STRICT;

-- Rows that were applied again after what had come of them was undone.
CREATE TABLE reapplied (
    change    INTEGER PRIMARY KEY, -- that was undone
    by_change INTEGER NOT NULL -- the row's next
) STRICT;

-- Reports that are due, and those that were sent.
CREATE TABLE report (
    upload     INTEGER NOT NULL REFERENCES upload (id),
    revision   INTEGER NOT NULL CHECK (revision > 0),
    state      TEXT NOT NULL CHECK (state IN ('due', 'sent', 'failed', 'replaced')),
    made_ms    INTEGER NOT NULL, -- when there was something to tell
    due_ms     INTEGER NOT NULL, -- when it is to be sent, again if need be
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_ms    INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    UNIQUE (upload, revision),
    CHECK ((state = 'sent') = (sent_ms > 0))
) STRICT;
CREATE INDEX report_due ON report (due_ms) WHERE state = 'due';

-- When a source was last looked at, and when that last worked.
CREATE TABLE poll (
    source  TEXT PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    good_ms INTEGER NOT NULL DEFAULT 0,
    error   TEXT NOT NULL DEFAULT ''
) STRICT;

-- When a scheduled job last ran, so that a missed run is caught up once.
CREATE TABLE job (
    name   TEXT PRIMARY KEY,
    ran_ms INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE job;
DROP TABLE poll;
DROP TABLE report;
DROP TABLE reapplied;
DROP TABLE fingerprint;
DROP TABLE change;
DROP TABLE conversion_call;
DROP TABLE conversion_reference;
DROP TABLE conversion_key;
DROP TABLE conversion;
DROP TABLE outcome_chunk;
DROP TABLE upload_part;
DROP TABLE upload;
DROP TABLE superseded_transaction;
DROP TABLE call_cost;
DROP TABLE call_caller;
DROP TABLE call_name;
DROP TABLE call;
DROP TABLE account;
