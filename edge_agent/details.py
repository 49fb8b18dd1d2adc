"""Details of cases on their way out, hidden for the collector's key at once: nobody on this PC can open them again.

They lie in a file of their own beside the outbox, and in no chain: each is deleted as soon as the collector has it. Any
thread may call `keep`; the uplink calls the rest. Whatever is wrong with this file, presses go on without it.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from protocols.bodies import BadBody
from protocols.cases import Sealer, about_case, encode_case, sealed_for
from protocols.messages import DETAILS_MAX, SEALED_BYTES_MAX, Details, SealedCase, Taken
from protocols.ratings import Case, Moment

from .outbox import OutboxClosed, OutboxFull
from .outbox.file import put_aside, put_aside_before

log = logging.getLogger(__name__)
T = TypeVar("T")

_FORM = 1
_MARK = 0x48524400  # with the form it is noted as application_id, beside user_version: one wrong bit in either shows
_TEXT_MAX = SEALED_BYTES_MAX - 512  # what hiding adds is shorter than that
_LOCKED_AGAIN_MS = 60_000  # a person has to bring the key first
_UNHEARD_MS = 60_000
_TRIES_MAX = 5  # then it is waited for 32 times as long: a centre that cannot keep up is not helped by more
_COLUMNS = ("n", "case_no", "service_number", "at_ms", "key_id", "sealed")
_SCHEMA = f"""
CREATE TABLE details(
    n INTEGER PRIMARY KEY AUTOINCREMENT, case_no TEXT NOT NULL, service_number INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL, UNIQUE(case_no, service_number));
PRAGMA application_id = {_MARK + _FORM};
PRAGMA user_version = {_FORM};
"""
_PUT = " INTO details(case_no, service_number, at_ms, key_id, sealed) VALUES (?,?,?,?,?)"
_DAMAGE = (
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT),
    *(sqlite3.SQLITE_INTERNAL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT),
)
"""What SQLite says of a file that is not what was written; anything else is trouble around a whole one."""
_Row = tuple[int, str, int, int, str, bytes]


class CaseDetails:
    """The file at `path`. Without a `sealer` nothing new is taken, and what waits there still goes out.

    A damaged file, or one of another program, is set aside whole, what can be read of it goes on waiting, and a person
    is told.
    """

    def __init__(self, path: Path, sealer: Sealer | None, now_ms: int, max_megabytes: int = 20_000):
        self.path = path
        self._sealer = sealer
        self._max_megabytes = max_megabytes
        self._lock = threading.Lock()
        self._shut = False
        self._db: sqlite3.Connection | None = None
        self._waits = True
        """Whether there may be something to send."""
        self._next_ms = 0
        """Not before this anything is sent."""
        self._tries = 0
        """How often in a row nothing was answered."""
        self._on_its_way: dict[str, _Row] = {}
        """By digest, each that was sent and is not answered for."""
        self._locked: dict[str, int] = {}
        """The keys that the collector does not have, and when it last said so."""
        self._spoilt = 0
        self._unheard_ms: int | None = None
        """Since when nothing that was sent has been answered for."""
        self._unheard = False
        with self._lock:
            # What could not be carried over for want of room is tried again at each start.
            self._done(lambda _db: None, now_ms)
            self._carry_over(put_aside_before(path))

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
        sealed = self._sealer.seal(text, about_case(case.case_no, case.service_number))
        row = (case.case_no, case.service_number, now_ms, self._sealer.key_id, sealed)
        with self._lock:
            if self._shut:
                raise OutboxClosed
            self._done(lambda db: db.execute(f"INSERT OR REPLACE{_PUT}", row), now_ms)
            self._waits = True
            if not self._on_its_way:
                self._next_ms = 0

    def due(self, moment: Moment, wait_ms: int) -> Details | None:
        """What to send now; None if nothing waits, or if what was sent is not answered for. It is sent again after
        `wait_ms`, and after longer and longer as long as nobody answers."""
        with self._lock:
            if self._unheard_ms is not None:
                self._unheard = moment.mono_ms - self._unheard_ms >= _UNHEARD_MS
            if not self._waits or moment.mono_ms < self._next_ms:
                return None
            held = [key for key, told_ms in self._locked.items() if moment.mono_ms - told_ms < _LOCKED_AGAIN_MS]
            found = self._done(lambda db: _some(db, held), moment.wall_ms)
            whole = {row: case for row in found if (case := _case(row)) is not None}
            self._on_its_way = {case.digest: row for row, case in whole.items()}
            broken = [row for row in found if row not in whole]
            if broken:
                self._let_go(broken, len(broken), moment)
            if whole:
                self._next_ms = moment.mono_ms + (wait_ms << min(self._tries, _TRIES_MAX))
                self._tries += 1
                self._unheard_ms = moment.mono_ms if self._unheard_ms is None else self._unheard_ms
            elif held and not broken:
                self._next_ms = min(self._locked[key] for key in held) + _LOCKED_AGAIN_MS
            else:
                self._waits = bool(broken)
        return Details(list(whole.values())) if whole else None

    def answered(self, taken: Taken, moment: Moment) -> None:
        """Let go of what the collector has, or never can have. An answer to something else says nothing."""
        with self._lock:
            sent = self._on_its_way
            gone = [sent[digest] for digest in (*taken.taken, *taken.spoilt) if digest in sent]
            locked = {row[4] for row in sent.values()} & set(taken.locked)
            if not gone and not locked:
                return
            self._on_its_way = {}
            self._tries, self._unheard_ms, self._unheard = 0, None, False
            if self._let_go(gone, sum(digest in sent for digest in taken.spoilt), moment):
                self._next_ms = 0
            for key in {row[4] for row in sent.values()}:
                self._note(key, key in locked, moment)

    def _note(self, key: str, locked: bool, moment: Moment) -> None:
        if not locked:
            if self._locked.pop(key, None) is not None:
                log.info("汇聚器有了密钥 %s, 办件信息照常上交 / the collector has the key now, details go on", key)
            return
        if key not in self._locked:
            log.error("%s", _no_key(key))
        self._locked[key] = moment.mono_ms

    def send_again(self) -> None:
        """What is on its way may be lost."""
        with self._lock:
            self._next_ms, self._tries, self._waits, self._unheard_ms = 0, 0, True, None

    def close(self) -> None:
        """Let go of the file. A door's thread may come all the same, and is told OutboxClosed."""
        with self._lock:
            self._shut = True
            self._let_go_of_the_file()

    # ---- the file, with the lock

    def _let_go(self, found: list[_Row], spoilt: int, moment: Moment) -> bool:
        """Whether they are gone; by what stands in them too, for another may have taken a number meanwhile."""
        if spoilt:
            self._spoilt += spoilt
            log.error("办件信息存盘后损坏 / case details spoilt on the disk: %s", spoilt)

        def delete(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("DELETE FROM details WHERE n = ? AND sealed IS ?", [(row[0], row[5]) for row in found])
            db.execute("COMMIT")

        try:
            self._done(delete, moment.wall_ms)
        except OutboxFull:
            return False  # even deleting needs a little room: they are sent again after a while
        return True

    def _done(self, work: Callable[[sqlite3.Connection], T], now_ms: int) -> T:
        """This work in the file, once more in a new one if it turns out to be damaged."""
        try:
            return self._tried(work)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise
            why = error
        self._let_go_of_the_file()
        aside = put_aside(self.path, now_ms)
        log.error("办件信息文件损坏, 已原样移至 / case details were damaged, set aside whole: %s (%s)", aside, why)
        self._on_its_way, self._waits, self._next_ms = {}, True, 0
        try:
            self._carry_over([aside])
            return self._tried(work)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as again:
            # A new file too: that is the disk's trouble, and no reason to set the outbox aside.
            raise OSError(errno.EIO, str(again), str(self.path)) from again

    def _tried(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._db is None:
                self._db = self._opened()
            return work(self._db)
        except sqlite3.OperationalError as error:
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OutboxFull(str(self.path)) from error
            raise

    def _carry_over(self, files: list[Path]) -> None:
        """What can be read of these goes on, unless something newer waits for the same service."""
        rows = [row[1:] for file in files for row in _readable(file)]

        def put(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(f"INSERT OR IGNORE{_PUT}", rows)
            db.execute("COMMIT")

        if rows:
            with suppress(OutboxFull):  # tried again at the next start
                self._tried(put)

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            # Its own header may say that it must not be written: of a file that was made here, a disk has said that.
            with suppress(FileNotFoundError), self.path.open("rb") as file:
                if (versions := file.read(20)[18:]) not in (b"", b"\x01\x01", b"\x02\x02"):
                    raise sqlite3.DatabaseError(f"文件头损坏 / its header is damaged: {versions.hex()}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # NORMAL may forget the last commits when the power goes
            [page_bytes] = db.execute("PRAGMA page_size").fetchone()
            db.execute(f"PRAGMA max_page_count = {self._max_megabytes * 1_000_000 // page_bytes}")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
            form, mark = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
            columns = tuple(row[1] for row in db.execute("PRAGMA table_info(details)"))
            if (form, mark, columns) != (_FORM, _MARK + _FORM, _COLUMNS):
                raise sqlite3.DatabaseError(f"不是本程序的办件信息文件 / no file of case details of ours: form {form}")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _let_go_of_the_file(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None


def _some(db: sqlite3.Connection, held: list[str]) -> list[_Row]:
    """The first of those that are for none of these keys."""
    places = ",".join("?" * len(held))
    asked = f"SELECT {', '.join(_COLUMNS)} FROM details WHERE key_id NOT IN ({places}) ORDER BY n LIMIT ?"
    return db.execute(asked, (*held, DETAILS_MAX)).fetchall()


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    # Without a code: text that is none, or our own word for a file that is none of ours.
    return not isinstance(error, sqlite3.ProgrammingError) and (code is None or code & 0xFF in _DAMAGE)


def _to_look(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


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
    with closing(_to_look(path)) as db:
        return int(db.execute("SELECT count(*) FROM details").fetchone()[0])


def _case(row: _Row) -> SealedCase | None:
    """As it travels; None if what stands there cannot be what was written."""
    _, case_no, service_number, at_ms, key_id, sealed = row
    if not isinstance(sealed, bytes) or len(sealed) > SEALED_BYTES_MAX or sealed_for(sealed) != key_id:
        return None
    try:
        return msgspec.convert(
            {"case_no": case_no, "service_number": service_number, "at_ms": at_ms, "sealed": sealed},
            SealedCase,
            builtin_types=(bytes,),
        )
    except msgspec.ValidationError:
        return None


def _readable(file: Path) -> list[tuple[Any, ...]]:
    """The rows of a damaged file: from the front and from the back, up to what cannot be read. What is wrong within
    one, its seal tells."""
    found: dict[int, tuple[Any, ...]] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error, UnicodeDecodeError), closing(_to_look(file)) as db:
            db.text_factory = lambda raw: raw.decode(errors="replace")
            for row in db.execute(f"SELECT {', '.join(_COLUMNS)} FROM details ORDER BY n {order}"):
                if row[0] in found:
                    break
                if _case(row) is not None:
                    found[row[0]] = row
    return [found[n] for n in sorted(found)]
