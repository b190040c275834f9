-- +goose Up
-- What came together is told together: several files of one mail.
ALTER TABLE upload ADD COLUMN bundle TEXT NOT NULL DEFAULT ''; -- what it came in, named for its source; '' for alone
ALTER TABLE upload ADD COLUMN closes INTEGER NOT NULL DEFAULT 0 CHECK (closes IN (0, 1)); -- the last of its bundle
CREATE INDEX upload_by_bundle ON upload (source, bundle) WHERE bundle <> '';
