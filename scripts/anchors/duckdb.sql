-- What scripts/bench measures calltally against: the same upload decided by DuckDB, in
-- set-based SQL. It runs in a folder with upload.csv, on a store that has the table
-- call, and writes duckdb.results.csv. The rules are those of sqlite3.sql.

-- ------------------------------------------------------------ the rows as sent
CREATE TEMP TABLE sent AS
SELECT row_number() OVER () + 1 AS line, *
FROM read_csv('upload.csv', header = true, all_varchar = true);

-- ----------------------------------------------------------- what each row says
CREATE TEMP TABLE claim AS
WITH cleaned AS (
    SELECT *,
        CASE WHEN calling_phone_number LIKE '+1%' THEN substr(calling_phone_number, 2)
            ELSE '1' || regexp_replace(calling_phone_number, '[-() ]', '', 'g') END AS phone,
        replace(replace(sale_amount, '$', ''), ',', '') AS amount
    FROM sent
)
SELECT line,
    CASE
        WHEN phone LIKE '%E+%' THEN 'phone_damaged_by_excel'
        WHEN NOT regexp_full_match(phone, '[0-9]{11}') THEN 'phone_invalid'
        WHEN NOT regexp_full_match(amount, '[0-9]+(\.[0-9]{0,2})?') THEN 'amount_invalid'
    END AS code,
    CAST(start_time_t AS BIGINT) * 1000 AS start_ms, TRY_CAST(phone AS BIGINT) AS caller, CAST(duration_in_seconds AS INTEGER) AS duration,
    reference_id AS reference, reason_code AS reason, sku_list AS skus, CAST(round(TRY_CAST(amount AS DOUBLE) * 100) AS BIGINT) AS cents
FROM cleaned;

-- ------------------------------------------------------- the call each row means
CREATE TEMP TABLE rival AS
SELECT line, c.id, c.call_id, c.start_ms,
    c.start_ms BETWEEN p.start_ms AND p.start_ms + 999 AS agrees,
    greatest(p.start_ms - c.start_ms, c.start_ms - p.start_ms - 999, 0) + CASE WHEN p.duration IS NULL THEN 0 ELSE 20000 * abs(p.duration - c.duration) END AS distance
FROM claim p JOIN call c ON c.account = 1 AND c.caller = p.caller AND c.start_ms BETWEEN p.start_ms - 300000 AND p.start_ms + 300999
WHERE p.code IS NULL;

-- Of several calls, none is taken that the next is about as near as.
CREATE TEMP TABLE found AS
WITH ranked AS (
    SELECT *, row_number() OVER nearest AS rank, lead(distance) OVER nearest AS next, count(*) FILTER (agrees) OVER (PARTITION BY line) AS agreeing
    FROM rival WINDOW nearest AS (PARTITION BY line ORDER BY distance, agrees DESC)
)
SELECT line, CASE WHEN NOT (agrees AND agreeing = 1) AND next - distance < 10000 THEN 'call_ambiguous' END AS code, id AS call, call_id, start_ms
FROM ranked
WHERE rank = 1;

-- -------------------------------------------------------------- what is recorded
BEGIN;
CREATE TABLE conversion (
    id          BIGINT PRIMARY KEY, -- upload 2 and the line that created it
    account     INTEGER NOT NULL,
    call        BIGINT NOT NULL,
    sku_list    VARCHAR NOT NULL,
    reason_code VARCHAR NOT NULL,
    reference   VARCHAR NOT NULL,
    occurred_ms BIGINT NOT NULL,
    sale        BIGINT,
    currency    VARCHAR NOT NULL,
    UNIQUE (call, sku_list, reason_code)
);
CREATE TABLE change (
    id          BIGINT PRIMARY KEY, -- upload 2 and the line that caused it
    conversion  BIGINT NOT NULL,
    verdict     VARCHAR NOT NULL,
    at_ms       BIGINT NOT NULL,
    sale_before BIGINT,
    sale_after  BIGINT
);
CREATE TABLE outcome (
    line       BIGINT PRIMARY KEY,
    verdict    VARCHAR NOT NULL,
    code       VARCHAR NOT NULL,
    call       BIGINT,
    conversion BIGINT
);

-- The rows that have a call, with what the row before it, of the same conversion, or
-- else the ledger held.
CREATE TEMP TABLE effect AS
SELECT line, f.call, p.skus, p.reason, p.reference, f.start_ms AS occurred_ms, p.cents,
    20000000 + first_value(line) OVER same AS made, held.id AS held,
    coalesce(lag(p.cents) OVER same, held.sale) AS cents_before, coalesce(lag(p.reference) OVER same, held.reference) AS reference_before
FROM found f JOIN claim p USING (line)
LEFT JOIN conversion held ON held.call = f.call AND held.sku_list = p.skus AND held.reason_code = p.reason
WHERE f.code IS NULL
WINDOW same AS (PARTITION BY f.call, p.skus, p.reason ORDER BY line);

INSERT INTO conversion
SELECT min(made), 1, call, skus, reason, arg_max(reference, line), min(occurred_ms), arg_max(cents, line), 'USD'
FROM effect
GROUP BY call, skus, reason
ON CONFLICT (call, sku_list, reason_code) DO UPDATE SET sale = excluded.sale, reference = excluded.reference;

CREATE TEMP TABLE decided AS
SELECT line, coalesce(held, made) AS conversion, cents_before AS sale_before, cents AS sale_after,
    CASE WHEN coalesce(held, made) = 20000000 + line THEN 'created' WHEN cents <> cents_before OR reference <> reference_before THEN 'updated' ELSE 'unchanged' END AS verdict
FROM effect;

INSERT INTO change
SELECT 20000000 + line, conversion, verdict, epoch_ms(now()), sale_before, sale_after
FROM decided
WHERE verdict <> 'unchanged';

INSERT INTO outcome
SELECT p.line, coalesce(d.verdict, 'rejected'),
    CASE WHEN p.code IS NOT NULL THEN p.code WHEN f.line IS NULL THEN 'call_not_found' ELSE coalesce(f.code, '') END,
    CASE WHEN d.line IS NOT NULL THEN f.call END, d.conversion
FROM claim p LEFT JOIN found f USING (line) LEFT JOIN decided d USING (line);
COMMIT;

-- -------------------------------------------------------------- the results file
COPY (
    SELECT s.* EXCLUDE (line), o.verdict AS result, o.code, CASE WHEN o.call IS NOT NULL THEN f.call_id END AS call_id,
        CASE WHEN o.call IS NOT NULL THEN strftime(make_timestamp(f.start_ms * 1000), '%Y-%m-%dT%H:%M:%SZ') END AS call_start_time, o.conversion AS conversion_id
    FROM sent s JOIN outcome o USING (line) LEFT JOIN found f USING (line)
    ORDER BY line
) TO 'duckdb.results.csv' (HEADER);
CHECKPOINT;
