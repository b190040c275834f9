-- The call log as scripts/bench measures DuckDB with it: the columns that calltally
-- keeps. Joins of whole tables use no index, so there is none but for unique ids.

BEGIN;
CREATE TABLE call (
    id             BIGINT PRIMARY KEY,
    account        INTEGER NOT NULL,
    call_id        VARCHAR NOT NULL,
    transaction_id VARCHAR NOT NULL,
    click_id       VARCHAR NOT NULL,
    start_ms       BIGINT NOT NULL,
    duration       INTEGER NOT NULL,
    caller         BIGINT NOT NULL,
    called         BIGINT NOT NULL,
    campaign       VARCHAR NOT NULL,
    publisher      VARCHAR NOT NULL,
    status         VARCHAR NOT NULL,
    UNIQUE (account, call_id)
);
INSERT INTO call
SELECT row_number() OVER (), 1, call_id, '', click_id, epoch_ms(CAST(start_time AS TIMESTAMPTZ)), CAST(duration_in_seconds AS INTEGER),
    CAST(ltrim(calling_phone_number, '+') AS BIGINT), CAST(ltrim(called_phone_number, '+') AS BIGINT), campaign_id, publisher_id, status
FROM read_csv('calls.*.csv', header = true, all_varchar = true);
COMMIT;
CHECKPOINT;
