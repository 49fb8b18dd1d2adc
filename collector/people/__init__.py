"""Who may sign in to the operators' pages: their passwords, roles, sessions and lock-outs, and what everybody did."""

from __future__ import annotations

import re
import secrets
import sqlite3
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

from . import locks, passwords
from .file import File, PeopleMismatch, set_aside
from .log import Log
from .roles import ROLES, NotSo, Person, Role

NAME_MAX = 32  # characters
GIVEN_OUT_MS = 7 * 24 * 3600 * 1000  # a password on a piece of paper serves no longer
_SEEN_EVERY_MS = 60_000  # a write each minute is enough to know who is still there
_name = re.compile(rf"(?!\.\.?\Z)[\w.-]{{1,{NAME_MAX}}}\Z").match  # . and .. are no part of any address
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR)


@dataclass(frozen=True)
class Rules:
    """How long a session lasts: without anything done, and at the longest."""

    idle_ms: int = 30 * 60 * 1000
    longest_ms: int = 12 * 3600 * 1000


@dataclass(frozen=True)
class SignedIn:
    """A new session: its token, which only the browser keeps, and whose it is."""

    token: str
    person: Person


@dataclass(frozen=True)
class Refused:
    """No session: wrong name or wrong password, nobody is told which; or locked out until `until_ms`."""

    until_ms: int | None


class People:
    """The people in this file."""

    def __init__(self, file: File, rules: Rules | None = None):
        self._file = file
        self._rules = rules or Rules()
        self.log = Log(file)
        self.id: str = file.row("SELECT id FROM identity")[0]
        """Of this file: two collectors on one machine must not take each other's sessions."""

    # ---- sessions

    def sign_in(self, name: str, password: str, address: str, now_ms: int) -> SignedIn | Refused:
        """A new session for whoever knows this name's password."""
        row = self._known(name, password, address, now_ms)
        if isinstance(row, Refused):
            return row
        with self._file.writing() as db:
            if not self._stands(row):
                self.log.note(row["name"], "sign_in_failed", "", address, now_ms)
                return Refused(None)
            db.execute("UPDATE person SET signed_in_ms = ? WHERE id = ?", (now_ms, row["id"]))
            self.log.note(row["name"], "signed_in", "", address, now_ms)
            return SignedIn(self._session(db, row["id"], now_ms), _person(row))

    def _known(self, name: str, password: str, address: str, now_ms: int) -> sqlite3.Row | Refused:
        whats = [locks.named(_written(name), self.id), locks.from_address(address)]
        with self._file.writing() as db:
            locked_ms = locks.until(db, whats, now_ms)
            if locked_ms is not None:
                return Refused(locked_ms)
            # Counted before it is known to be wrong: a thousand guesses at once are a thousand, not one.
            locked = [until_ms for what in whats if (until_ms := locks.count(db, what, now_ms)) is not None]
        row = self._row(name)
        right = passwords.matches(row["password"] if row is not None else None, password)
        with self._file.writing() as db:
            if row is not None and right and not row["disabled"] and not self._out_of_date(row, now_ms):
                locks.forget(db, whats[0])
                locks.take_back(db, whats[1])
                return row
            # Not what was typed where nobody has that name: it may be a password.
            who = row["name"] if row is not None else ""
            self.log.note(who, "sign_in_failed", "" if row is not None else "没有此人 / nobody", address, now_ms)
            if locked:
                self.log.note(who, "locked_out", "", address, now_ms)
            return Refused(max(locked) if locked else None)

    def session(self, token: str, active: bool, now_ms: int) -> Person | None:
        """Whose session this is; None if it is none any more. `active`: somebody did something, and nothing by itself
        asked. A viewer's board on the wall asks by itself, and stays."""
        row = self._file.row(
            "SELECT person.*, made_ms, seen_ms FROM session JOIN person ON person.id = session.person WHERE token = ?",
            (_kept(token),),
        )
        if row is None or row["disabled"] or not self._lasts(row["made_ms"], row["seen_ms"], now_ms):
            return None
        if (active or row["role"] == "viewer") and abs(now_ms - row["seen_ms"]) >= _SEEN_EVERY_MS:
            self._seen(token, now_ms)
        return _person(row)

    def sign_out(self, token: str, address: str, now_ms: int) -> None:
        """End this session."""
        person = self.session(token, False, now_ms)
        with self._file.writing() as db:
            db.execute("DELETE FROM session WHERE token = ?", (_kept(token),))
            if person is not None:
                self.log.note(person.name, "signed_out", "", address, now_ms)

    def _session(self, db: sqlite3.Connection, person: int, now_ms: int) -> str:
        token = secrets.token_urlsafe(32)
        for row in db.execute("SELECT token, made_ms, seen_ms FROM session").fetchall():
            if not self._lasts(row["made_ms"], row["seen_ms"], now_ms):
                db.execute("DELETE FROM session WHERE token = ?", (row["token"],))
        db.execute("INSERT INTO session VALUES (?,?,?,?)", (_kept(token), person, now_ms, now_ms))
        return token

    def _lasts(self, made_ms: int, seen_ms: int, now_ms: int) -> bool:
        # By how far it is, not by which is later: a clock may be set back.
        return abs(now_ms - made_ms) < self._rules.longest_ms and abs(now_ms - seen_ms) < self._rules.idle_ms

    def _seen(self, token: str, now_ms: int) -> None:
        try:
            with self._file.writing() as db:
                db.execute("UPDATE session SET seen_ms = ? WHERE token = ?", (now_ms, _kept(token)))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _NO_ROOM:
                raise
            # Whoever only looks has to see the pages of a full disk too.

    # ---- who there is

    def empty(self) -> bool:
        """Whether nobody can ever have signed in."""
        return self._file.row("SELECT 1 FROM person LIMIT 1") is None

    def listed(self) -> list[Person]:
        """Everybody, by name."""
        return [_person(row) for row in self._file.rows("SELECT * FROM person ORDER BY name")]

    def person(self, name: str) -> Person:
        """NotSo if nobody has this name."""
        return _person(self._there(name))

    def add(
        self, name: str, role: str, password: str, by: str, address: str, now_ms: int, once: bool = False
    ) -> Person:
        """Somebody new. `once`: has to change the password first. NotSo says what is wrong."""
        name = _written(name)
        if not _name(name):
            words = f"1–{NAME_MAX} 个字: 字母、汉字、数字、. _ - / 1–{NAME_MAX} letters, digits, . _ -"
            raise NotSo("name", f"名字: {words}")
        kept = _hashed(name, password)
        with self._file.writing() as db:
            if self._row(name) is not None:
                raise NotSo("name", f"已有 {name}, 请另取一个 / {name} is there already: take another name")
            db.execute(
                "INSERT INTO person(name, role, password, once, password_ms, changed_ms) VALUES (?,?,?,?,?,?)",
                (name, _role(role), kept, once, now_ms, now_ms),
            )
            self.log.note(by, "person_added", f"{name} {role}", address, now_ms)
        return self.person(name)

    def set_role(self, name: str, role: str, by: str, address: str, now_ms: int) -> None:
        """Another role; every session of this person ends. NotSo of one's own, and of the last administrator."""
        with self._file.writing() as db:
            row = self._there(name)
            _not_oneself(row, by)
            if row["role"] == _role(role):
                return
            self._not_the_last(row)
            db.execute("UPDATE person SET role = ?, changed_ms = ? WHERE id = ?", (role, now_ms, row["id"]))
            self._ended(db, row)
            self.log.note(by, "role_changed", f"{row['name']} {row['role']} → {role}", address, now_ms)

    def set_disabled(self, name: str, disabled: bool, by: str, address: str, now_ms: int) -> None:
        """May not sign in any more, or may again; every session of this person ends. NotSo as with a role."""
        with self._file.writing() as db:
            row = self._there(name)
            _not_oneself(row, by)
            if bool(row["disabled"]) == disabled:
                return
            if disabled:
                self._not_the_last(row)
            db.execute("UPDATE person SET disabled = ?, changed_ms = ? WHERE id = ?", (disabled, now_ms, row["id"]))
            self._ended(db, row)
            self.log.note(by, "person_disabled" if disabled else "person_enabled", row["name"], address, now_ms)

    def set_password(self, name: str, password: str, by: str, address: str, now_ms: int, once: bool = False) -> None:
        """Another password; every session and every lock-out of this person ends. NotSo says what is wrong with it."""
        row = self._there(name)
        kept = _hashed(row["name"], password)
        with self._file.writing() as db:
            self._keep(db, row, kept, once, by, address, now_ms)

    def change_password(self, name: str, old: str, new: str, address: str, now_ms: int) -> SignedIn | Refused:
        """A person's own, who knows the old one; every session ends, and a new one begins. Failures count as those of
        signing in do, and are refused like them. NotSo says what is wrong with the new one."""
        row = self._known(name, old, address, now_ms)
        if isinstance(row, Refused):
            return row
        if old == new:
            raise NotSo("password", "新密码与原密码相同 / the new password is the old one")
        kept = _hashed(row["name"], new)
        with self._file.writing() as db:
            if not self._stands(row):
                return Refused(None)
            self._keep(db, row, kept, False, row["name"], address, now_ms)
            return SignedIn(self._session(db, row["id"], now_ms), self.person(name))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # ---- small things

    def _row(self, name: str) -> sqlite3.Row | None:
        return self._file.row("SELECT * FROM person WHERE name = ?", (_written(name),))

    def _there(self, name: str) -> sqlite3.Row:
        row = self._row(name)
        if row is None:
            raise NotSo("name", f"没有 {name} / nobody is called {name}")
        return row

    def _stands(self, row: sqlite3.Row) -> bool:
        """Whether this password still lets this person in: it takes a moment to compare, and an administrator may have
        ended it meanwhile."""
        now = self._row(row["name"])
        return now is not None and now["password"] == row["password"] and not now["disabled"]

    def _keep(
        self, db: sqlite3.Connection, row: sqlite3.Row, kept: str, once: bool, by: str, address: str, now_ms: int
    ) -> None:
        db.execute(
            "UPDATE person SET password = ?, once = ?, password_ms = ?, changed_ms = ? WHERE id = ?",
            (kept, once, now_ms, now_ms, row["id"]),
        )
        self._ended(db, row)
        locks.forget(db, locks.named(row["name"], self.id))
        own = by == row["name"]
        self.log.note(by, "password_changed" if own else "password_reset", row["name"], address, now_ms)

    def _not_the_last(self, row: sqlite3.Row) -> None:
        others = "SELECT 1 FROM person WHERE role = 'administrator' AND NOT disabled AND id != ?"
        if row["role"] == "administrator" and self._file.row(others, (row["id"],)) is None:
            words = "这是唯一的管理员, 请先添加另一位 / this is the only administrator: add another one first"
            raise NotSo("role", words)

    def _ended(self, db: sqlite3.Connection, row: sqlite3.Row) -> None:
        db.execute("DELETE FROM session WHERE person = ?", (row["id"],))

    def _out_of_date(self, row: sqlite3.Row, now_ms: int) -> bool:
        return bool(row["once"]) and abs(now_ms - row["password_ms"]) >= GIVEN_OUT_MS


def _not_oneself(row: sqlite3.Row, by: str) -> None:
    """Nobody shuts themselves out: whoever does this from the command line is none of these people."""
    if row["name"] == by:
        words = (
            "您自己的角色和停用, 请另一位管理员更改"
            " / your own role is changed, and you are disabled, by another administrator only"
        )
        raise NotSo("name", words)


def people_of(ledger: Path) -> Path:
    """Their file: beside the ledger."""
    return ledger.with_name("people.db")


def open_people(ledger: Path, now_ms: int, rules: Rules | None = None) -> tuple[People, Path | None]:
    """The people beside this ledger, whose file is made if there is none. One that a disk has damaged is set aside, and
    its new name told: whoever has the machine makes the first administrator again, and no press waits for that.
    PeopleMismatch if it cannot be had."""
    path = people_of(ledger)
    try:
        return People(File(path, ledger), rules), None
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise PeopleMismatch(f"{path}: 打不开或写不了 / cannot be opened or written: {error}") from error
    aside = set_aside(path, now_ms)
    people = People(File(path, ledger), rules)
    people.log.note("", "file_set_aside", aside.name, "", now_ms)
    return people, aside


def _person(row: sqlite3.Row) -> Person:
    return Person(
        row["name"],
        cast(Role, row["role"]),
        bool(row["disabled"]),
        bool(row["once"]),
        row["changed_ms"],
        row["signed_in_ms"],
    )


def _role(role: str) -> str:
    if role not in ROLES:
        raise NotSo("role", f"角色: 应为 / role: must be one of {', '.join(ROLES)}")
    return role


def _hashed(name: str, password: str) -> str:
    wrong = passwords.mistake(name, password)
    if wrong:
        raise NotSo("password", f"密码: {wrong}")
    return passwords.hashed(password)


def _written(name: str) -> str:
    # No more of it than can be a name: to put very many accents in order takes minutes.
    return unicodedata.normalize("NFKC", name[: 4 * NAME_MAX]).strip()


def _kept(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()
