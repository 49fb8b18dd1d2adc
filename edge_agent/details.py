"""Details of cases on their way out, hidden for the collector's key at once: nobody on this PC can open them again.

They lie in a file of their own beside the outbox, and in no chain: each is deleted as soon as the collector has it. Any
thread may call `keep`; the uplink calls the rest.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from protocols.bodies import BadBody
from protocols.cases import Sealer, about_case, encode_case
from protocols.messages import DETAILS_MAX, SEALED_BYTES_MAX, Details, SealedCase, Taken
from protocols.ratings import Case, Moment

from .outbox import OutboxClosed, OutboxFull
from .outbox.file import OutboxMismatch, is_damage, put_aside, put_aside_before

log = logging.getLogger(__name__)
T = TypeVar("T")

_FORM = 1
_TEXT_MAX = SEALED_BYTES_MAX - 512  # what hiding adds is shorter than that
_LOCKED_AGAIN_MS = 60_000  # a person has to bring the key first
_UNHEARD_MS = 60_000
_SCHEMA = f"""
CREATE TABLE details(
    n INTEGER PRIMARY KEY AUTOINCREMENT, case_no TEXT NOT NULL, service_number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL, UNIQUE(case_no, service_number));
PRAGMA user_version = {_FORM};
"""
_PUT = (
    "INSERT OR REPLACE INTO details(case_no, service_number, at_ms, key_id, sealed)"
    " VALUES (:case_no, :service_number, :at_ms, :key_id, :sealed)"
)


class CaseDetails:
    """The file at `path`. Without a `sealer` nothing new is taken, and what waits there still goes out.

    A damaged file is set aside whole, what can be read of it goes on waiting, and a person is told. OutboxMismatch for
    a file of a newer program.
    """

    def __init__(self, path: Path, sealer: Sealer | None, now_ms: int, max_megabytes: int = 20_000):
        self.path = path
        self._sealer = sealer
        self._max_megabytes = max_megabytes
        self._lock = threading.Lock()
        self._shut = False
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._begin_again(error, now_ms)
        self._waits = True
        """Whether there may be something to send."""
        self._sent_ms: int | None = None
        self._on_its_way: dict[str, sqlite3.Row] = {}
        """By digest, the row of each that was sent and is not answered for."""
        self._locked: dict[str, int] = {}
        """The keys that the collector does not have, and when it last said so."""
        self._spoilt = 0
        self._unheard_ms: int | None = None
        """Since when nothing that was sent has been answered for."""
        self._unheard = False

    @property
    def seals(self) -> bool:
        """Whether it takes any."""
        return self._sealer is not None

    @property
    def alarm(self) -> str:
        """What a person has to look at, in words; empty when nothing."""
        words = [_no_key(key) for key in self._locked]
        if self._unheard:
            words.append(
                "汇聚器没有收下办件信息: 汇聚器是否旧版? 消息服务器权限是否缺 details 和 taken? / the collector does"
                " not take case details: is it an older one, or do the broker's topic rules lack details and taken?"
            )
        if self._spoilt:
            words.append(
                f"{self._spoilt} 个办件的信息存盘后损坏, 请业务系统重新提交"
                f" / details of {self._spoilt} cases were spoilt on the disk: have them posted again"
            )
        words += [
            f"办件信息文件曾损坏, 读得出的照常上交, 其余请业务系统重新提交 / the file of case details was damaged, what"
            f" can be read goes on, have the rest posted again: {file.name}"
            for file in put_aside_before(self.path)
        ]
        return "; ".join(words)

    def keep(self, case: Case, now_ms: int) -> None:
        """Hide these and keep them: on disk when this returns. OutboxFull if there is no room; BadBody if they are
        longer than any province takes."""
        if self._sealer is None:
            raise RuntimeError("there is no key to seal with")
        text = encode_case(case)
        if len(text) > _TEXT_MAX:
            raise BadBody("", f"办件信息过长, 至多 {_TEXT_MAX} 字节 / details of more than {_TEXT_MAX} bytes")
        row = {
            "case_no": case.case_no,
            "service_number": case.service_number,
            "at_ms": now_ms,
            "key_id": self._sealer.key_id,
            "sealed": self._sealer.seal(text, about_case(case.case_no, case.service_number)),
        }
        with self._lock:
            if self._shut:
                raise OutboxClosed
            self._done(lambda: self._db.execute(_PUT, row), now_ms)
            self._waits = True

    def due(self, moment: Moment, wait_ms: int) -> Details | None:
        """What to send now; None if nothing waits, or if what was sent less than `wait_ms` ago is not answered for."""
        with self._lock:
            if not self._waits or (self._sent_ms is not None and moment.mono_ms - self._sent_ms < wait_ms):
                return None
            held = [key for key, told_ms in self._locked.items() if moment.mono_ms - told_ms < _LOCKED_AGAIN_MS]
            places = ",".join("?" * len(held))
            found = self._done(
                lambda: self._db.execute(
                    f"SELECT * FROM details WHERE key_id NOT IN ({places}) ORDER BY n LIMIT ?", (*held, DETAILS_MAX)
                ).fetchall(),
                moment.wall_ms,
            )
            self._sent_ms, self._waits = (moment.mono_ms, True) if found else (None, bool(held))
        if found:
            self._unheard_ms = moment.mono_ms if self._unheard_ms is None else self._unheard_ms
            self._unheard = moment.mono_ms - self._unheard_ms >= _UNHEARD_MS
        whole = {row["n"]: case for row in found if (case := _case(row)) is not None}
        self._on_its_way = {whole[row["n"]].digest: row for row in found if row["n"] in whole}
        if len(whole) < len(found):
            self._let_go([row for row in found if row["n"] not in whole], spoilt=len(found) - len(whole), moment=moment)
        return Details(list(whole.values())) if whole else None

    def answered(self, taken: Taken, moment: Moment) -> None:
        """Let go of what the collector has, or never can have."""
        sent, self._on_its_way = self._on_its_way, {}
        self._sent_ms = self._unheard_ms = None
        self._unheard = False
        gone = [sent[digest] for digest in (*taken.taken, *taken.spoilt) if digest in sent]
        self._let_go(gone, sum(digest in sent for digest in taken.spoilt), moment)
        for key in {row["key_id"] for row in sent.values()}:
            if key not in taken.locked:
                if self._locked.pop(key, None) is not None:
                    log.info("汇聚器有了密钥 %s, 办件信息照常上交 / the collector has the key now, details go on", key)
                continue
            if key not in self._locked:
                log.error("%s", _no_key(key))
            self._locked[key] = moment.mono_ms

    def send_again(self) -> None:
        """What is on its way may be lost."""
        self._sent_ms, self._waits, self._unheard_ms = None, True, None

    def close(self) -> None:
        """Let go of the file. A door's thread may come all the same, and is told OutboxClosed."""
        with self._lock:
            self._shut = True
            self._db.close()

    # ---- the file

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # NORMAL may forget the last commits when the power goes
            [page_bytes] = db.execute("PRAGMA page_size").fetchone()
            db.execute(f"PRAGMA max_page_count = {self._max_megabytes * 1_000_000 // page_bytes}")
            db.execute("BEGIN IMMEDIATE")
            [form] = db.execute("PRAGMA user_version").fetchone()
            if form == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
            elif form != _FORM:
                raise OutboxMismatch(f"{self.path}: 由更新的程序写成 / written by a newer program (form {form})")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _let_go(self, found: list[sqlite3.Row], spoilt: int, moment: Moment) -> None:
        def delete() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM details WHERE n = ?", [(row["n"],) for row in found])
            self._db.execute("COMMIT")

        if not found:
            return
        if spoilt:
            self._spoilt += spoilt
            log.error("办件信息存盘后损坏 / case details spoilt on the disk: %s", spoilt)
        with self._lock:
            try:
                self._done(delete, moment.wall_ms)
            except OutboxFull:
                pass  # even deleting needs a little room: they are sent again

    def _done(self, work: Callable[[], T], now_ms: int) -> T:
        """With the lock: this work in the file, once more in a new one if it turns out to be damaged."""
        try:
            return self._tried(work)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._db.close()
            self._begin_again(error, now_ms)
        self._on_its_way, self._waits = {}, True
        try:
            return self._tried(work)
        except sqlite3.DatabaseError as again:
            # A new file too: that is the disk's trouble, and no reason to set the outbox aside.
            raise OSError(errno.EIO, str(again), str(self.path)) from again

    def _tried(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OutboxFull(str(self.path)) from error
            raise

    def _begin_again(self, error: sqlite3.DatabaseError, now_ms: int) -> None:
        aside = put_aside(self.path, now_ms)
        log.error(
            "办件信息文件损坏, 已原样移至 / file of case details was damaged, set aside whole: %s (%s)", aside, error
        )
        self._db = self._opened()
        for row in _readable(aside):
            self._db.execute(_PUT, row)


def _no_key(key: str) -> str:
    return (
        f"汇聚器没有密钥 {key}, 用它密封的办件信息在本机等候: 请核对本机 agent.toml 的 [details] key; 换过密钥, 则"
        "把旧的加在汇聚器密钥文件末尾并重启汇聚器, 一分钟内自动上交"
        f" / the collector has no key {key}, details sealed for it wait here: check [details] key in agent.toml; if the"
        " key was changed, add the old one at the end of the collector's key file and start the collector again"
    )


def beside(outbox: Path) -> Path:
    """Where they lie: beside this outbox."""
    return outbox.with_name(f"{outbox.name}.details")


def waiting(path: Path) -> int:
    """How many wait in this file, for a look; 0 if it is not there. sqlite3.DatabaseError if it cannot be read."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM details").fetchone()[0])


def _case(row: sqlite3.Row) -> SealedCase | None:
    """As it travels; None if what stands there cannot be what was written."""
    try:
        return msgspec.convert(
            {name: row[name] for name in ("case_no", "service_number", "at_ms", "sealed")},
            SealedCase,
            builtin_types=(bytes,),
        )
    except msgspec.ValidationError:
        return None


def _readable(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a damaged file, up to where it cannot be read any more. What is wrong within one, its seal tells."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            for row in db.execute("SELECT case_no, service_number, at_ms, key_id, sealed FROM details ORDER BY n"):
                yield dict(row)
    except (sqlite3.Error, UnicodeDecodeError):
        pass
