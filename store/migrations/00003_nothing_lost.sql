-- +goose Up
-- What waits for somebody's decision stays where it has come to, and goes on there. What
-- fails is tried again later, and after a few attempts waits for somebody too.
ALTER TABLE upload ADD COLUMN hold_code TEXT NOT NULL DEFAULT '' CHECK (hold_code = '' OR state IN ('received', 'deciding')); -- '' if nothing holds it
ALTER TABLE upload ADD COLUMN hold TEXT NOT NULL DEFAULT ''; -- why, in a sentence
ALTER TABLE upload ADD COLUMN approved TEXT NOT NULL DEFAULT '[]'; -- the codes of what somebody has approved, JSON
ALTER TABLE upload ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0); -- to decide it, since rows were decided last
ALTER TABLE upload ADD COLUMN next_ms INTEGER NOT NULL DEFAULT 0; -- not before
ALTER TABLE upload ADD COLUMN last_error TEXT NOT NULL DEFAULT ''; -- of the last attempt
DROP INDEX upload_to_decide;
CREATE INDEX upload_to_decide ON upload (id) WHERE state IN ('received', 'deciding') AND hold_code = '';
CREATE INDEX upload_held ON upload (id) WHERE hold_code <> '';

-- Whom a report was mailed to, and whom the relay refuses.
CREATE TABLE posting (
    upload    INTEGER NOT NULL,
    revision  INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('sent', 'refused')),
    letter    TEXT NOT NULL, -- the Message-ID of the letter, which may tell several reports
    at_ms     INTEGER NOT NULL,
    said      TEXT NOT NULL DEFAULT '', -- by the relay, if it refuses
    UNIQUE (upload, revision, recipient),
    FOREIGN KEY (upload, revision) REFERENCES report (upload, revision)
) STRICT;
CREATE INDEX posting_by_recipient ON posting (recipient, at_ms);

-- What is kept no longer than it must be.
ALTER TABLE upload ADD COLUMN emptied_ms INTEGER NOT NULL DEFAULT 0; -- when its file was removed; 0 if it is there
ALTER TABLE upload ADD COLUMN forgot_ms INTEGER NOT NULL DEFAULT 0; -- when what its rows said of customers was removed
CREATE INDEX upload_by_bytes ON upload (source, digest);
CREATE INDEX upload_to_empty ON upload (received_ms) WHERE emptied_ms = 0;
CREATE INDEX upload_to_forget ON upload (received_ms) WHERE forgot_ms = 0;
