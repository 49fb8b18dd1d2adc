"""The audit log: who did what when, each line chained to the one before, so that no line can be changed unnoticed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols import chain

from .file import File

_ABOUT_MAX = 300  # characters: a line that a person reads
_AT_ONCE = 5000
_LAST_MS = 253_402_300_799_999  # of year 9999: no calendar has what lies behind it
HERE = " (本机 on this machine)"
"""Stands behind the login name of who did something from the command line, in lines that never change."""
ACTIONS = {
    "signed_in": "登录 / signed in",
    "signed_out": "退出登录 / signed out",
    "sign_in_failed": "登录失败 / sign-in failed",
    "locked_out": "暂停登录 / locked out",
    "person_added": "添加人员 / person added",
    "role_changed": "更改角色 / role changed",
    "person_disabled": "停用人员 / person disabled",
    "person_enabled": "恢复人员 / person enabled",
    "password_changed": "本人更改密码 / changed the own password",
    "password_reset": "重置密码 / password reset",
    "file_set_aside": "人员文件损坏, 已移存 / the damaged file was set aside",
    "parked_corrected": "更正办件 / case put right",
    "parked_linked": "关联办件 / linked to a case",
    "parked_sent_again": "重发评价 / rating sent again",
    "parked_sent_as_is": "照发评价 / rating sent as it is",
    "parked_given_up": "评价不再上报 / rating given up",
    "parked_all_sent_again": "成批重发 / sent again all at once",
    "log_exported": "导出审计日志 / audit log exported",
    "export": "导出表格 / table exported",
    "draw": "公告抽查 / draw announced",
    "spot_check": "抽查一条 / rating of a draw checked",
    "mending_check": "核查差评 / bad rating checked",
    "mending_mend": "整改差评 / bad rating mended",
    "mending_answer": "回复办事人 / citizen answered",
    "mending_call_back": "回访办事人 / citizen called back",
    "mending_close": "审批整改 / mending approved or sent back",
    "mending_reopen": "重新打开整改 / mending opened again",
    "mending_spot_check": "抽查差评 / bad rating of a draw checked",
    "alert_acknowledged": "处理报警 / alert seen to",
    "alerts_silenced": "静默报警 / alerts silenced",
    "silence_ended": "结束静默 / silence ended",
    "alert_tested": "发测试消息 / test message sent",
}
"""What each action is called; one that is not here stands as it is."""


@dataclass(frozen=True)
class Line:
    """One action. `address` is where the person sat, as far as the network says; `about` what it was done to."""

    n: int
    at_ms: int
    who: str
    action: str
    about: str
    address: str


@dataclass(frozen=True)
class Verified:
    """What became of a check: how many lines there are, the head, and every mistake, in words."""

    lines: int
    head: str
    findings: list[str]


class Log:
    """The log in this file."""

    def __init__(self, file: File):
        self._file = file

    def note(self, who: str, action: str, about: str, address: str, now_ms: int) -> None:
        """Write a line; on disk when this returns. No password, and nobody's personal details."""
        about = "".join(" " if ord(letter) < 32 else letter for letter in about)[:_ABOUT_MAX]
        with self._file.writing() as db:
            last = db.execute("SELECT n, hash FROM log ORDER BY n DESC LIMIT 1").fetchone()
            n, head = (last["n"] + 1, last["hash"]) if last is not None else (1, chain.PEOPLE)
            line = Line(n, now_ms, who, action, about, address)
            db.execute(
                "INSERT INTO log(n, at_ms, who, action, about, address, hash) VALUES (?,?,?,?,?,?,?)",
                (*_values(line), chain.link(head, _canonical(line))),
            )

    def lines(
        self,
        most: int,
        who: str = "",
        action: str = "",
        first_ms: int | None = None,
        last_ms: int | None = None,
        before: int | None = None,
    ) -> list[Line]:
        """The newest lines, of this person, this action and this time only; `before` goes on behind that line."""
        rows = self._file.rows(
            "SELECT * FROM log WHERE (:who = '' OR who = :who) AND (:action = '' OR action = :action)"
            " AND (:first IS NULL OR at_ms >= :first) AND (:last IS NULL OR at_ms < :last)"
            " AND (:before IS NULL OR n < :before) ORDER BY n DESC LIMIT :most",
            {"who": who, "action": action, "first": first_ms, "last": last_ms, "before": before, "most": most},
        )
        return [_line(row) for row in rows]

    def known(self, what: str) -> list[str]:
        """Every `who` or every `action` that stands in it."""
        column = {"who": "who", "action": "action"}[what]
        return [row[0] for row in self._file.rows(f"SELECT DISTINCT {column} FROM log ORDER BY 1") if row[0]]

    def verify(self, kept: tuple[int, str] | None = None) -> Verified:
        """Compute every link again. `kept`: a line's number with the head behind it, written down elsewhere before: it
        shows whether the end was cut off."""
        head, n, findings = chain.PEOPLE, 0, []
        while rows := self._file.rows("SELECT * FROM log WHERE n > ? ORDER BY n LIMIT ?", (n, _AT_ONCE)):
            for row in rows:
                if row["n"] != n + 1:
                    findings.append(f"第 {n + 1}–{row['n'] - 1} 行缺失 / lines {n + 1}–{row['n'] - 1} are missing")
                if not _follows(row, head):
                    findings.append(f"第 {row['n']} 行被改动 / line {row['n']} was changed")
                n, head = row["n"], _bytes(row["hash"])
                if kept is not None and kept[0] == n and kept[1] != head.hex():
                    findings.append(f"第 {n} 行不是留存的链首 / line {n} is not the head that was kept")
        if kept is not None and kept[0] > n:
            findings.append(f"第 {n + 1}–{kept[0]} 行被截去 / lines {n + 1}–{kept[0]} were cut off")
        return Verified(n, head.hex(), findings)


def end(path: Path, line: int | None = None) -> tuple[int, str] | None:
    """The last line of the log in this file, or the line of this number, and the head behind it, empty where none was
    written; read beside whoever has it open. None if there is no such file or no such line. DatabaseError, with its
    name, if it cannot be read."""
    if line == 0:
        return 0, chain.PEOPLE.hex()
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            which = "ORDER BY n DESC LIMIT 1" if line is None else "WHERE n = :line"
            row = db.execute(f"SELECT n, hash FROM log {which}", {"line": line}).fetchone()
    except sqlite3.Error as error:
        raise sqlite3.DatabaseError(f"{path.name}: {error}") from error
    if row is None:
        return (0, chain.PEOPLE.hex()) if line is None else None
    return row[0], _bytes(row[1]).hex()


def begun_anew(path: Path) -> tuple[str, int] | None:
    """The name of the file that was set aside for this one, and when, as the first line of its log says; None if it
    does not. DatabaseError if it cannot be read."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as db:
        row = db.execute(
            "SELECT about, at_ms FROM log WHERE n = 1 AND action = 'file_set_aside' AND typeof(about) = 'text'"
            f" AND at_ms BETWEEN 0 AND {_LAST_MS}"
        ).fetchone()
    return (row[0], row[1]) if row is not None else None


def _follows(row: sqlite3.Row, head: bytes) -> bool:
    try:
        return bool(row["hash"] == chain.link(head, _canonical(_line(row))))
    except TypeError:
        return False  # bytes where text belongs


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""  # somebody may have put text there


def _line(row: sqlite3.Row) -> Line:
    return Line(row["n"], row["at_ms"], row["who"], row["action"], row["about"], row["address"])


def _values(line: Line) -> tuple[Any, ...]:
    return line.n, line.at_ms, line.who, line.action, line.about, line.address


def _canonical(line: Line) -> bytes:
    return json.dumps(_values(line), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
