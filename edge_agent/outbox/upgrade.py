"""An outbox of an older form made one of today's, in one transaction: what waits in it goes on waiting."""

from __future__ import annotations

import json
import sqlite3

from protocols import chain

from . import rows

_STAY = {1: set[str](), 2: {"name", "record"}}  # the tables of each form that are today's as they are
_INDEXES = ("seen_press", "invitation_window", "invitation_open")


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


def upgraded(db: sqlite3.Connection, form: int, schema: str) -> None:
    """Within a transaction. `schema` makes the tables of today."""
    for view in ("seen", "invitation") if form > 1 else ():
        db.execute(f"DROP VIEW {view}")
    for index in _INDEXES:
        db.execute(f"DROP INDEX {index}")
    tables = [name for [name] in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    old = [table for table in tables if table not in _STAY[form]]
    for table in old:
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in schema.split(";"):
        if not any(f"CREATE TABLE {stays}(" in statement for stays in _STAY[form]):
            db.execute(statement)
    db.create_function("sum_of_row", -1, rows.sum_of_row, deterministic=True)
    db.create_function("key_of", 1, rows.key_of, deterministic=True)
    if form == 1:
        _from_1(db)
    else:
        _from_2(db)
    for table in ("epoch", "receipted"):
        values = rows.SUMMED[table]
        db.execute(f"INSERT INTO {table} SELECT {values}, sum_of_row('{table}', {values}) FROM old_{table}")
    for table in old:
        db.execute(f"DROP TABLE old_{table}")


def _from_1(db: sqlite3.Connection) -> None:
    db.execute(
        "INSERT INTO name(text) SELECT window FROM old_record UNION SELECT host_boot FROM old_seen"
        " UNION SELECT host_boot FROM old_invitation UNION SELECT closed_boot FROM old_invitation"
        " WHERE closed_boot IS NOT NULL"
    )
    for row in db.execute("SELECT seq, n, kind, body FROM old_record JOIN name ON text = window ORDER BY seq"):
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
    waiting = dict(
        db.execute("SELECT window, count(*) FROM old_record WHERE kind = 'press' GROUP BY window").fetchall()
    )
    _copy(db, "tip", "seq, head, at_ms, :waiting, (SELECT seq FROM old_receipted)", "old_tip", waiting=_json(waiting))
    _seen(db, "old_seen JOIN name ON text = host_boot")
    _invitations(
        db,
        "key_of(id)",
        "old_invitation AS old JOIN name AS host ON host.text = host_boot"
        " LEFT JOIN name AS closed ON closed.text = closed_boot",
    )
    _copy(db, "daily_head", "day, (SELECT epoch FROM old_epoch), seq, head", "old_daily_head")


def _from_2(db: sqlite3.Connection) -> None:
    _copy(db, "tip", rows.SUMMED["tip"], "old_tip")
    _seen(db, "old_seen_row JOIN name ON name.n = host")
    _invitations(
        db,
        "key",
        "old_invitation_row AS old JOIN name AS host ON host.n = host"
        " LEFT JOIN name AS closed ON closed.n = closed_host",
    )
    _copy(db, "daily_head", rows.SUMMED["daily_head"], "old_daily_head")
    _copy(db, "rescued", "rowid, file, at_ms, 0, 0, 0, 1", "old_rescued")


def _copy(db: sqlite3.Connection, table: str, values: str, source: str, **given: str) -> None:
    """Rows of the same shape, with their sums."""
    db.execute(f"INSERT INTO {table} SELECT {values}, sum_of_row('{table}', {values}) FROM {source}", given)


def _seen(db: sqlite3.Connection, source: str) -> None:
    # Their numbers were their own. Below 1, as those of presses whose records are in no file any more.
    id = f"id - (SELECT max(id) FROM {source.split()[0]})"
    values = "device, boot, count, button, pressed_ms, mono_ms"
    db.execute(
        f"INSERT INTO seen_row SELECT {id}, {values}, name.n, sum_of_row('seen', {id}, {values}, text) FROM {source}"
    )


def _invitations(db: sqlite3.Connection, key: str, source: str) -> None:
    fixed, ended = (
        "window, state, seconds, opened_ms, mono_ms",
        "synced, case_no, service_number, clerk, closed_ms, closed_mono_ms",
    )
    db.execute(
        f"INSERT INTO invitation_row SELECT old.n, {key}, {fixed}, host.n, {ended}, closed.n, press, x'' FROM {source}"
    )
    db.execute(
        f"UPDATE invitation_row SET sum = (SELECT sum_of_row('invitation', {rows.SUMMED['invitation']}) FROM invitation"
        " WHERE invitation.n = invitation_row.n)"
    )


def _json(waiting: dict[str, int]) -> str:
    return json.dumps(waiting, ensure_ascii=False)
