"""A look at the ledger before anybody uses it: what the disk has turned round is turned back, bit for bit.

Nothing is lost by that and nothing made anew: the ledger is what it was. The damaged file is set aside whole first.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from protocols import wal

from . import audit, file, pages
from .file import LedgerDamaged, log_of, suspect_of
from .pages import FRAME, PAGE, UNKNOWN, Sums, noted, sum_of, turned_back

log = logging.getLogger(__name__)

_FIRST_BYTES = (
    2_000_000_000  # so much is looked into before the start: seconds; the rest of a province's beside the work
)
_DEEP_BYTES = 200_000_000  # every row and index of so much: seconds too
_TURNED_MAX = 40  # a quarter of a second each; more pages than these were not hit by single bits
_SAID_MAX = 10


@dataclass(frozen=True)
class Mended:
    """What was wrong, and what was done about it."""

    what: str
    aside: str
    """What the damaged file is called now; empty if there was no room for it."""


@dataclass(frozen=True)
class Looked:
    """What came of the look."""

    mended: Sequence[Mended] = ()
    doubtful: bool = False
    """Whether damage was met that no page explains: the rows are to be looked at too."""


@dataclass
class _Wrong:
    """What of the file and its log is not as it was written."""

    log: _Log
    turned: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Pages as they have to be, and the first byte that is not."""
    strange: list[int] = field(default_factory=list)
    """Pages that no single bit explains."""

    def __bool__(self) -> bool:
        return self.log.lies != self.log.right or self.log.cut or bool(self.turned)

    def __str__(self) -> str:
        said = [str(self.log)] if self.log.lies != self.log.right or self.log.cut else []
        for number, (at, _) in sorted(self.turned.items()):
            said.append(f"第 {number} 页第 {at} 字节一位翻转 / a bit of byte {at} of page {number}")
        return "; ".join(said)


def ready(path: Path, now_ms: int) -> Looked:
    """Make this ledger fit for use, while nobody has it, and say what had to be mended.

    A page that another program wrote is taken as it is, if all of the ledger holds together. LedgerDamaged if it does
    not, and no single bit is to blame. What is no ledger is left alone.
    """
    if not path.exists() or not path.stat().st_size:
        return Looked()
    _undo_half_begun(path)
    if not pages.begun(path) and not _is_ours(path):
        return Looked()  # somebody else's, or the power went before there was anything in it
    suspected = suspect_of(path).exists()
    with closing(Sums(path)) as sums:
        if not sums.known():
            sums.begin(complete=False)
        logged = _Log.read(path, sums)
        wrong = _Wrong(logged)
        if suspected or path.stat().st_size <= _FIRST_BYTES:
            _look(path, sums, wrong)
        mended = [_turn_back(path, wrong, now_ms)] if wrong else []
        _sum_up_log(sums, logged)
        unsure = bool(wrong.strange) or logged.guessed or (suspected and not wrong)
        if unsure or (not sums.complete and path.stat().st_size <= _DEEP_BYTES):
            broken = _broken(path)
            if broken:
                mended.append(_written_anew(path, sums, broken, now_ms))
                wrong.strange.clear()
            _audit(path)
        _take_as_they_are(path, sums, wrong)
        if not sums.complete:
            _sum_up(path, sums)
    return Looked(mended, unsure)


def _is_ours(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return bool(db.execute("PRAGMA application_id").fetchone()[0] == file.APPLICATION)


def _undo_half_begun(path: Path) -> None:
    # The power went while the file was begun, before it got its log: SQLite puts that right, but only for a writer.
    if file.beside(path, "-journal").exists():
        with closing(sqlite3.connect(path)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()


# ---- the log


@dataclass(frozen=True)
class _Log:
    """The log as it lies there, and as it has to be."""

    lies: bytes
    right: bytes
    newest: dict[int, int]
    """Where in it the newest version of each page stands."""
    guessed: bool
    """Whether it was put right by SQLite's own sums, which say little of the highest bits of a word."""
    cut: bool
    """Whether commits in it can no longer be read."""
    undone: int = 0
    """Where a commit begins in it that was made of a damaged page, and that nobody was promised anything for."""

    @classmethod
    def read(cls, path: Path, sums: Sums) -> _Log:
        lies = log_of(path).read_bytes() if log_of(path).exists() else b""
        right, whole = _as_noted(lies, noted(path))
        known = whole or 0
        guessed = wal.log_is_cut(right, known)
        right = wal.healed(right) if guessed else right
        newest = wal.newest(right, known)
        undone = _made_of_damage(path, sums, right, known, newest) if whole is not None else 0
        if undone:
            right = right[:undone]
            newest = wal.newest(right, known)
        return cls(lies, right, newest, guessed, guessed and wal.log_is_cut(right, known), undone)

    def __str__(self) -> str:
        if self.cut:
            return "日志损坏, 其后的提交读不出 / its log is damaged, what follows cannot be read"
        at = _first_difference(self.lies, self.right)
        said = [] if at is None else [f"日志第 {at} 字节一位翻转 / a bit of byte {at} of its log"]
        if self.undone:
            said.append("撤回出自损坏页的最后一次提交 / the last commit was made of a damaged page and is undone")
        return "; ".join(said)


def _first_difference(one: bytes, other: bytes) -> int | None:
    """Where two logs differ first, as far as both go: a log may be megabytes, and is compared a page at a time."""
    end = min(len(one), len(other))
    for first in range(0, end, PAGE):
        mine, theirs = one[first : min(first + PAGE, end)], other[first : min(first + PAGE, end)]
        if mine != theirs:
            return first + next(at for at in range(len(mine)) if mine[at] != theirs[at])
    return None


def _made_of_damage(path: Path, sums: Sums, right: bytes, known: int, newest: dict[int, int]) -> int:
    """Where the commits that were not noted begin, if one of them is of a page that was damaged when it was made.

    A commit is noted before anybody is promised anything for it, and not noted if the page that it replaces is not what
    was written.
    """
    end = wal.HEADER + FRAME * known
    versions: dict[int, set[bytes]] = {}
    before = set()
    for at in range(wal.HEADER, len(right) - FRAME + 1, FRAME):
        number = int.from_bytes(right[at : at + 4], "big")
        if at < end:
            before.add(number)
        else:
            page = right[at + wal.FRAME_HEADER : at + FRAME]
            versions.setdefault(number, set()).add(sum_of(number, page))
    with path.open("rb") as whole:
        for number in (newest.keys() & versions.keys()) - before:
            (stated,) = sums.of(number)
            whole.seek(PAGE * (number - 1))
            page = whole.read(PAGE)
            # Its sum may be that of the new page already: they are put on disk before the page is moved.
            if UNKNOWN != stated != sum_of(number, page) and len(page) == PAGE and stated not in versions[number]:
                return end
    return 0


def _as_noted(lies: bytes, sums: list[bytes]) -> tuple[bytes, int | None]:
    """The log with each bit turned back that its noted sums tell of, and how many frames are known to be right; None if
    nothing was noted of this log."""
    if len(lies) < wal.HEADER or not sums:
        return lies, None
    pieces = [lies[: wal.HEADER], *_frames(lies)]
    behind = lies[wal.HEADER + FRAME * (len(pieces) - 1) :]
    known = None
    for number, stated in enumerate(sums[: len(pieces)]):
        if sum_of(number, pieces[number]) != stated:
            turned = turned_back(number, pieces[number], stated)
            if turned is None:
                break  # of another life of the log, or a sum that was not on disk yet: SQLite's own have to do
            pieces[number] = turned
        known = number
    return b"".join(pieces) + behind, known


def _frames(lies: bytes) -> Iterator[bytes]:
    for at in range(wal.HEADER, len(lies) - FRAME + 1, FRAME):
        yield lies[at : at + FRAME]


# ---- the pages


def _look(path: Path, sums: Sums, wrong: _Wrong) -> None:
    for number, page, stated in _pages(path, sums):
        if stated == UNKNOWN or number in wrong.log.newest or sum_of(number, page) == stated:
            continue
        turned = turned_back(number, page, stated) if len(wrong.turned) + len(wrong.strange) < _TURNED_MAX else None
        if turned is None:
            wrong.strange.append(number)
        elif turned == page:
            sums.put(number, sum_of(number, page))  # the bit was in the sum
        else:
            at = next(at for at in range(PAGE) if page[at] != turned[at])
            wrong.turned[number] = at, turned
    if path.stat().st_size // PAGE < sums.pages and sums.pages not in wrong.log.newest:
        wrong.strange.append(sums.pages)


def _pages(path: Path, sums: Sums, at_once: int = 256) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, bytes and noted sum of each page."""
    with path.open("rb") as whole:
        first = 1
        while raw := whole.read(PAGE * at_once):
            for at, stated in enumerate(sums.of(first, len(raw) // PAGE)):
                yield first + at, raw[at * PAGE : (at + 1) * PAGE], stated
            first += at_once


def _turn_back(path: Path, wrong: _Wrong, now_ms: int) -> Mended:
    try:
        aside = file.set_aside(path, now_ms).name
    except OSError as error:
        # Which bit it was is said, and that is all that a copy could show.
        log.error("损坏的账本无处存放, 只留下这句话 / no room to keep the damaged ledger: %s", error)
        aside = ""
    if wrong.log.lies != wrong.log.right:
        _write(log_of(path), {0: wrong.log.right}, len(wrong.log.right))
    _write(path, {PAGE * (number - 1): page for number, (_, page) in wrong.turned.items()})
    log.error(
        "账本损坏, 已改回; 原样存于 / the ledger was damaged and is mended, kept as it was: %s (%s)", aside, wrong
    )
    return Mended(str(wrong), aside)


def _write(path: Path, pieces: dict[int, bytes], size: int | None = None) -> None:
    with path.open("r+b") as whole:
        for at, piece in pieces.items():
            whole.seek(at)
            whole.write(piece)
        if size is not None:
            whole.truncate(size)
        whole.flush()
        os.fsync(whole.fileno())


def _sum_up_log(sums: Sums, logged: _Log) -> None:
    """What is in the log is moved into the file next: its sums come first."""
    for number, at in logged.newest.items():
        sums.put(number, sum_of(number, logged.right[at : at + PAGE]))
    sums.sync()


def _take_as_they_are(path: Path, sums: Sums, wrong: _Wrong) -> None:
    """Pages that another program wrote, or an older file than the sums: the ledger holds together."""
    if not wrong.strange:
        return
    said = ", ".join(map(str, wrong.strange[:_SAID_MAX]))
    log.warning("%s 页由别的程序写成, 已核对 / pages that another program wrote: %s", len(wrong.strange), said)
    with path.open("rb") as whole:
        for number in wrong.strange:
            whole.seek(PAGE * (number - 1))
            page = whole.read(PAGE)
            if len(page) == PAGE:
                sums.put(number, sum_of(number, page))
    if sums.pages > path.stat().st_size // PAGE:
        sums.cut(path.stat().st_size // PAGE)
        _sum_up_log(sums, wrong.log)
    sums.sync()


def _sum_up(path: Path, sums: Sums) -> None:
    """Give the pages a sum that have none: of a ledger that an older program has written."""
    if path.stat().st_size > _FIRST_BYTES:
        return  # beside the work
    for number, page, stated in _pages(path, sums):
        if stated == UNKNOWN:
            sums.put(number, sum_of(number, page))
    sums.finish()


# ---- all that stands in it


def _broken(path: Path) -> str:
    """Why this is no whole database; empty if it is one."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            found = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except UnicodeDecodeError:
        return "表结构损坏 / its schema is damaged"
    except sqlite3.DatabaseError as error:
        if not file.is_damage(error):
            raise
        return str(error)
    return "" if found == "ok" else found


def _audit(path: Path) -> None:
    """What an audit finds is said, and is a person's matter."""
    for finding in audit.verify(path).findings[:_SAID_MAX]:
        where = f"{finding.agent} {finding.epoch} #{finding.seq}"
        log.error("账本核对有发现, 请运行 collector verify / run collector verify: %s: %s", where, finding.what)


def _written_anew(path: Path, sums: Sums, broken: str, now_ms: int) -> Mended:
    """Every row into a new file, with new indexes; LedgerDamaged if a row cannot be read. The damaged one is kept."""
    draft = file.beside(path, ".new")
    draft.unlink(missing_ok=True)
    try:
        aside = file.set_aside(path, now_ms)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            # The log's pages have their sums: whatever happens from here on, they are in the file.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _copy_rows(db, draft)
    except (OSError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        words = (
            "账本损坏, 有的行读不出, 请保留此文件并从备份恢复 / damaged, some rows cannot be read, keep it and restore"
        )
        raise LedgerDamaged(f"{path}: {words}: {broken}; {error}") from error
    log_of(path).unlink(missing_ok=True)
    draft.replace(path)
    sums.begin(complete=False)
    log.error(
        "账本损坏, 已逐行写入新文件; 原样存于 / damaged, written anew row by row, kept as it was: %s (%s)",
        aside,
        broken,
    )
    return Mended(f"逐行写入新文件 / written anew row by row: {broken}", aside.name)


def _copy_rows(db: sqlite3.Connection, draft: Path) -> None:
    # Not VACUUM INTO: that copies the indexes too, and stops where a page of one is lost.
    db.execute("ATTACH ? AS anew", (str(draft),))
    db.execute("PRAGMA anew.journal_mode = WAL")
    things = db.execute(
        "SELECT type, name, sql FROM main.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        " ORDER BY type != 'table', rowid"
    ).fetchall()
    db.execute("BEGIN")
    for kind, name, sql in things:
        db.execute(re.sub(rf"(?<=\b{kind.upper()} )(?={name}\b)", "anew.", sql, count=1))
        if kind == "table":
            # With a condition SQLite copies rows, and not pages.
            db.execute(f"INSERT INTO anew.{name} SELECT * FROM main.{name} NOT INDEXED WHERE 1")
    for pragma in ("application_id", "user_version"):
        db.execute(f"PRAGMA anew.{pragma} = {db.execute(f'PRAGMA main.{pragma}').fetchone()[0]}")
    db.execute("COMMIT")
    db.execute("DETACH anew")  # which moves its log into it
