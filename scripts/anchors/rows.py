# What scripts/bench measures calltally against: the same upload decided row by row by
# Python's csv and sqlite3, as a script would do it. It runs in a folder with upload.csv,
# on a store that has the table call and its indexes, and writes python.results.csv. The
# rules are those of sqlite3.sql.
#
#   python3 rows.py STORE

import csv
import re
import sqlite3
import sys
import time

db = sqlite3.connect(sys.argv[1], isolation_level=None)
for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -65536"):
    db.execute("PRAGMA " + pragma)
db.execute("BEGIN IMMEDIATE")
for statement in (
    """CREATE TABLE conversion (
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL, call INTEGER NOT NULL, sku_list TEXT NOT NULL, reason_code TEXT NOT NULL,
        reference TEXT NOT NULL, occurred_ms INTEGER NOT NULL, sale INTEGER, currency TEXT NOT NULL, UNIQUE (call, sku_list, reason_code)) STRICT""",
    "CREATE INDEX conversion_by_reference ON conversion (account, reference)",
    "CREATE TABLE change (id INTEGER PRIMARY KEY, conversion INTEGER NOT NULL, verdict TEXT NOT NULL, at_ms INTEGER NOT NULL, sale_before INTEGER, sale_after INTEGER) STRICT",
    "CREATE INDEX change_by_conversion ON change (conversion, id) WHERE conversion <> id",
    "CREATE TABLE outcome (line INTEGER PRIMARY KEY, verdict TEXT NOT NULL, code TEXT NOT NULL, call INTEGER, conversion INTEGER) STRICT",
):
    db.execute(statement)

digits, amount_like = re.compile(r"[0-9]{11}").fullmatch, re.compile(r"[0-9]+(\.[0-9]{0,2})?").fullmatch
marks = str.maketrans("", "", "-() ")


def meant(start, caller, duration):
    """The call that a row means, or why there is none."""
    near = []
    for call in db.execute(
        "SELECT id, call_id, start_ms, duration FROM call WHERE account = 1 AND caller = ? AND start_ms BETWEEN ? AND ?",
        (caller, start - 300000, start + 300999),
    ):
        distance = max(start - call[2], call[2] - start - 999, 0)
        if duration:
            distance += 20000 * abs(int(duration) - call[3])
        near.append((distance, not start <= call[2] <= start + 999, call))
    if not near:
        return None, "call_not_found"
    near.sort(key=lambda n: n[:2])
    agreeing = sum(not n[1] for n in near)
    if len(near) > 1 and not (not near[0][1] and agreeing == 1) and near[1][0] - near[0][0] < 10000:
        return None, "call_ambiguous"
    return near[0][2], ""


def decide(line, row):
    """What becomes of a row: verdict, code, call, conversion."""
    phone = row["calling_phone_number"]
    phone = phone[1:] if phone.startswith("+1") else "1" + phone.translate(marks)
    amount = row["sale_amount"].replace("$", "").replace(",", "")
    if "E+" in phone:
        return "rejected", "phone_damaged_by_excel", None, None
    if not digits(phone):
        return "rejected", "phone_invalid", None, None
    if not amount_like(amount):
        return "rejected", "amount_invalid", None, None
    call, code = meant(int(row["start_time_t"]) * 1000, int(phone), row["duration_in_seconds"])
    if code:
        return "rejected", code, None, None
    whole, _, fraction = amount.partition(".")
    cents = int(whole + fraction.ljust(2, "0"))
    key = (call[0], row["sku_list"], row["reason_code"])
    held = db.execute("SELECT id, sale, reference FROM conversion WHERE call = ? AND sku_list = ? AND reason_code = ?", key).fetchone()
    made = 20000000 + line
    if held is None:
        db.execute("INSERT INTO conversion VALUES (?, 1, ?, ?, ?, ?, ?, ?, 'USD')", (made, *key, row["reference_id"], call[2], cents))
        db.execute("INSERT INTO change VALUES (?, ?, 'created', ?, NULL, ?)", (made, made, int(time.time() * 1000), cents))
        return "created", "", call, made
    if (cents, row["reference_id"]) == held[1:]:
        return "unchanged", "", call, held[0]
    db.execute("UPDATE conversion SET sale = ?, reference = ? WHERE id = ?", (cents, row["reference_id"], held[0]))
    db.execute("INSERT INTO change VALUES (?, ?, 'updated', ?, ?, ?)", (made, held[0], int(time.time() * 1000), held[1], cents))
    return "updated", "", call, held[0]


with open("upload.csv", newline="") as sent, open("python.results.csv", "w", newline="") as results:
    rows, out = csv.DictReader(sent), csv.writer(results, lineterminator="\n")
    out.writerow(rows.fieldnames + ["result", "code", "call_id", "call_start_time", "conversion_id"])
    for line, row in enumerate(rows, 2):
        verdict, code, call, conversion = decide(line, row)
        db.execute("INSERT INTO outcome VALUES (?, ?, ?, ?, ?)", (line, verdict, code, call and call[0], conversion))
        started = call and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(call[2] // 1000))
        out.writerow([*row.values(), verdict, code, call and call[1], started, conversion])
db.execute("COMMIT")
db.close()
