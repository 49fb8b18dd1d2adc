"""An outbox of the first form made one of the second, in one transaction: what waits in it goes on waiting."""

from __future__ import annotations

import json
import sqlite3

from protocols import chain

from . import rows

_ANEW = ("record", "seen", "invitation", "tip", "daily_head")


def first_break_1(db: sqlite3.Connection) -> int | None:
    """The number of the first record of such a file whose hash does not follow; None if the chain holds."""
    done = db.execute("SELECT seq, head FROM receipted").fetchone()
    tip = db.execute("SELECT seq, head FROM tip").fetchone()
    seq, head = int(done["seq"]), bytes(done["head"])
    for row in db.execute("SELECT seq, body, hash FROM record ORDER BY seq"):
        head = chain.link(head, row["body"])
        if row["seq"] != seq + 1 or row["hash"] != head:
            return int(row["seq"])
        seq = row["seq"]
    return None if (tip["seq"], tip["head"]) == (seq, head) else int(tip["seq"])


def from_1(db: sqlite3.Connection, schema: str) -> None:
    """Within a transaction. `schema` makes the tables of the second form."""
    for table in _ANEW:
        db.execute(f"ALTER TABLE {table} RENAME TO {table}_1")
    for index in ("seen_press", "invitation_window", "invitation_open"):
        db.execute(f"DROP INDEX {index}")
    for statement in schema.split(";"):
        if not any(f"CREATE TABLE {kept}(" in statement for kept in ("epoch", "receipted")):
            db.execute(statement)
    db.execute(
        "INSERT INTO name(text) SELECT window FROM record_1 UNION SELECT host_boot FROM seen_1"
        " UNION SELECT host_boot FROM invitation_1 UNION SELECT closed_boot FROM invitation_1"
        " WHERE closed_boot IS NOT NULL"
    )
    for row in db.execute("SELECT seq, n, kind, body FROM record_1 JOIN name ON text = window ORDER BY seq"):
        db.execute(
            "INSERT INTO record(seq, window, press, body, sum) VALUES (?,?,?,?,?)",
            (
                row["seq"],
                row["n"],
                row["kind"] == "press",
                rows.packed(row["body"]),
                rows.sum_of(row["seq"], row["body"]),
            ),
        )
    db.execute(
        "INSERT INTO seen_row SELECT id, device, boot, count, button, pressed_ms, mono_ms, name.n FROM seen_1"
        " JOIN name ON text = host_boot"
    )
    db.create_function("key_of", 1, rows.key_of, deterministic=True)
    db.execute(
        "INSERT INTO invitation_row SELECT i.n, key_of(id), window, state, seconds, opened_ms, mono_ms, host.n, synced,"
        " case_no, service_number, clerk, closed_ms, closed_mono_ms, closed.n, press FROM invitation_1 AS i"
        " JOIN name AS host ON host.text = host_boot LEFT JOIN name AS closed ON closed.text = closed_boot"
    )
    waiting = dict(db.execute("SELECT window, count(*) FROM record_1 WHERE kind = 'press' GROUP BY window").fetchall())
    db.execute(
        "INSERT INTO tip SELECT tip_1.seq, tip_1.head, at_ms, ?, receipted.seq FROM tip_1, receipted",
        (json.dumps(waiting, ensure_ascii=False),),
    )
    db.execute("INSERT INTO daily_head SELECT day, epoch.epoch, seq, head FROM daily_head_1, epoch")
    for table in _ANEW:
        db.execute(f"DROP TABLE {table}_1")
