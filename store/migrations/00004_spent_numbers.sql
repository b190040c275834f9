-- +goose Up
-- An upload is numbered above all that are here and all that were spent: by a store in whose
-- place this one was put, after the backup that this one comes from. So nobody's ids of uploads
-- and conversions come to mean something else.
CREATE TABLE spent (
    upload INTEGER NOT NULL CHECK (upload >= 0) -- the highest number that was given out
) STRICT;
