-- What scripts/bench measures calltally against: the same upload decided by the
-- sqlite3 command line, in set-based SQL. It runs in a folder with upload.csv, on
-- a store that has the table call and its indexes, and writes sqlite3.results.csv.
--
-- The rules are calltally's defaults: a row means the call of its caller that is
-- nearest by |start| + 20 x |duration|, within five minutes, if it alone agrees
-- to the second or is ten seconds nearer than the next; conversions are told
-- apart by call, SKUs and reason; given values replace earlier ones.
--
-- It is meant to be as fast as SQL can be: temporary tables for what is not kept,
-- joins in the order of a key in place of window functions over all rows, one
-- transaction, a cache larger than calltally's.

.bail on
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -65536;
PRAGMA temp.cache_size = -65536;
PRAGMA secure_delete = OFF;

-- ------------------------------------------------------------ the rows as sent
.import --csv --schema temp upload.csv sent

-- ----------------------------------------------------------- what each row says
CREATE TEMP TABLE claim (
    line      INTEGER PRIMARY KEY,
    code      TEXT, -- why it can't be read; NULL if it can
    start_ms  INTEGER,
    caller    INTEGER,
    duration  INTEGER, -- NULL if not said
    reference TEXT,
    reason    TEXT,
    skus      TEXT,
    cents     INTEGER
);
WITH cleaned AS MATERIALIZED (
    SELECT rowid + 1 AS line, *,
        CASE WHEN calling_phone_number GLOB '+1*' THEN substr(calling_phone_number, 2)
            ELSE '1' || replace(replace(replace(replace(calling_phone_number, '-', ''), ' ', ''), '(', ''), ')', '') END AS phone,
        replace(replace(sale_amount, '$', ''), ',', '') AS amount
    FROM temp.sent
)
INSERT INTO claim
SELECT line,
    CASE
        WHEN phone GLOB '*E+*' THEN 'phone_damaged_by_excel'
        WHEN length(phone) <> 11 OR phone GLOB '*[^0-9]*' THEN 'phone_invalid'
        WHEN amount NOT GLOB '[0-9]*' OR amount GLOB '*[^0-9.]*' OR amount GLOB '*.*.*' OR amount GLOB '*.???*' THEN 'amount_invalid'
    END,
    start_time_t * 1000, CAST(phone AS INTEGER), CAST(NULLIF(duration_in_seconds, '') AS INTEGER),
    reference_id, reason_code, sku_list, CAST(round(amount * 100) AS INTEGER)
FROM cleaned;

-- ------------------------------------------------------- the call each row means
CREATE TEMP TABLE found (
    line     INTEGER PRIMARY KEY,
    code     TEXT, -- why the nearest is not taken; NULL if it is
    calls    INTEGER, -- how many came into question
    call     INTEGER, -- the nearest
    call_id  TEXT,
    start_ms INTEGER,
    distance INTEGER -- its own, in milliseconds
);
-- One seek in call_by_caller for each row. Bare columns are those of the minimum.
INSERT INTO found
SELECT line, NULL, count(*), c.id, c.call_id, c.start_ms, min(
        max(p.start_ms - c.start_ms, c.start_ms - p.start_ms - 999, 0) + CASE WHEN p.duration IS NULL THEN 0 ELSE 20000 * abs(p.duration - c.duration) END)
FROM claim p CROSS JOIN call c ON c.account = 1 AND c.caller = p.caller AND c.start_ms BETWEEN p.start_ms - 300000 AND p.start_ms + 300999
WHERE p.code IS NULL
GROUP BY line;

-- Of several calls, none is taken that the next is about as near as.
WITH rival AS (
    SELECT f.line, c.id, c.call_id, c.start_ms,
        c.start_ms BETWEEN p.start_ms AND p.start_ms + 999 AS agrees,
        max(p.start_ms - c.start_ms, c.start_ms - p.start_ms - 999, 0) + CASE WHEN p.duration IS NULL THEN 0 ELSE 20000 * abs(p.duration - c.duration) END AS distance
    FROM found f CROSS JOIN claim p USING (line)
    CROSS JOIN call c ON c.account = 1 AND c.caller = p.caller AND c.start_ms BETWEEN p.start_ms - 300000 AND p.start_ms + 300999
    WHERE f.calls > 1
), ranked AS (
    SELECT *, row_number() OVER nearest AS rank, lead(distance) OVER nearest AS next, sum(agrees) OVER (PARTITION BY line) AS agreeing
    FROM rival WINDOW nearest AS (PARTITION BY line ORDER BY distance, agrees DESC)
)
UPDATE found
SET call = ranked.id, call_id = ranked.call_id, start_ms = ranked.start_ms,
    code = CASE WHEN NOT (agrees AND agreeing = 1) AND next - ranked.distance < 10000 THEN 'call_ambiguous' END
FROM ranked
WHERE ranked.line = found.line AND rank = 1;

-- -------------------------------------------------------------- what is recorded
BEGIN IMMEDIATE;
CREATE TABLE conversion (
    id          INTEGER PRIMARY KEY, -- upload 2 and the line that created it
    account     INTEGER NOT NULL,
    call        INTEGER NOT NULL,
    sku_list    TEXT NOT NULL,
    reason_code TEXT NOT NULL,
    reference   TEXT NOT NULL,
    occurred_ms INTEGER NOT NULL,
    sale        INTEGER,
    currency    TEXT NOT NULL,
    UNIQUE (call, sku_list, reason_code)
) STRICT;
CREATE INDEX conversion_by_reference ON conversion (account, reference);
CREATE TABLE change (
    id          INTEGER PRIMARY KEY, -- upload 2 and the line that caused it
    conversion  INTEGER NOT NULL,
    verdict     TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    sale_before INTEGER,
    sale_after  INTEGER
) STRICT;
CREATE INDEX change_by_conversion ON change (conversion, id) WHERE conversion <> id;
CREATE TABLE outcome (
    line       INTEGER PRIMARY KEY,
    verdict    TEXT NOT NULL,
    code       TEXT NOT NULL,
    call       INTEGER,
    conversion INTEGER
) STRICT;

-- The rows that have a call, those of one conversion next to each other, with
-- what was held before the upload.
CREATE TEMP TABLE effect (
    n              INTEGER PRIMARY KEY,
    line           INTEGER,
    call           INTEGER,
    skus           TEXT,
    reason         TEXT,
    reference      TEXT,
    occurred_ms    INTEGER,
    cents          INTEGER,
    held_reference TEXT,
    held_cents     INTEGER
);
INSERT INTO effect
SELECT NULL, line, f.call, p.skus, p.reason, p.reference, f.start_ms, p.cents, held.reference, held.sale
FROM found f CROSS JOIN claim p USING (line)
LEFT JOIN conversion held ON held.call = f.call AND held.sku_list = p.skus AND held.reason_code = p.reason
WHERE f.code IS NULL
ORDER BY f.call, p.skus, p.reason, line;

INSERT INTO conversion
SELECT 20000000 + line, 1, call, skus, reason, reference, occurred_ms, cents, 'USD'
FROM effect
WHERE true
ORDER BY n
ON CONFLICT (call, sku_list, reason_code) DO UPDATE SET sale = excluded.sale, reference = excluded.reference;

CREATE TEMP TABLE decided (
    line        INTEGER PRIMARY KEY,
    verdict     TEXT,
    conversion  INTEGER,
    sale_before INTEGER,
    sale_after  INTEGER
);
WITH beside AS (
    SELECT e.line, c.id AS conversion, e.cents, e.reference,
        iif(before.n IS NULL, e.held_cents, before.cents) AS cents_before,
        iif(before.n IS NULL, e.held_reference, before.reference) AS reference_before
    FROM effect e
    CROSS JOIN conversion c ON c.call = e.call AND c.sku_list = e.skus AND c.reason_code = e.reason
    LEFT JOIN effect before ON before.n = e.n - 1 AND before.call = e.call AND before.skus = e.skus AND before.reason = e.reason
)
INSERT INTO decided
SELECT line,
    CASE WHEN conversion = 20000000 + line THEN 'created' WHEN cents <> cents_before OR reference <> reference_before THEN 'updated' ELSE 'unchanged' END,
    conversion, cents_before, cents
FROM beside
ORDER BY line;

INSERT INTO change
SELECT 20000000 + line, conversion, verdict, strftime('%s', 'now') * 1000, sale_before, sale_after
FROM decided
WHERE verdict <> 'unchanged';

INSERT INTO outcome
SELECT p.line, coalesce(d.verdict, 'rejected'),
    CASE WHEN p.code IS NOT NULL THEN p.code WHEN f.line IS NULL THEN 'call_not_found' ELSE coalesce(f.code, '') END,
    iif(d.line IS NULL, NULL, f.call), d.conversion
FROM claim p LEFT JOIN found f USING (line) LEFT JOIN decided d USING (line);
COMMIT;

-- -------------------------------------------------------------- the results file
.headers on
.mode csv
.output sqlite3.results.csv
SELECT s.*, o.verdict AS result, o.code, iif(o.call IS NULL, '', f.call_id) AS call_id,
    iif(o.call IS NULL, '', strftime('%Y-%m-%dT%H:%M:%SZ', f.start_ms / 1000, 'unixepoch')) AS call_start_time, o.conversion AS conversion_id
FROM temp.sent s CROSS JOIN outcome o ON o.line = s.rowid + 1 LEFT JOIN found f ON f.line = o.line
ORDER BY s.rowid;
.output
