"""Several processes that read one moment of a ledger, each by its own connection."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Self

_CACHE = "PRAGMA cache_size = -65536"  # 64 MB each: the upper pages of every index, so that a look-up reads one page
_TRIES = 1000  # to begin between two transactions of a collector; each takes less than a thousandth of a second


class Task(NamedTuple):
    """`work(db, what)` to be called in one of the processes; `weight` is how long it takes, in any unit."""

    work: Callable[[sqlite3.Connection, Any], Any]
    what: Any
    weight: int


class Readers:
    """Reads the ledger at `path` with so many processes; with one, in this process. Nothing is written.

    `db` and all processes see the same moment, however much is written meanwhile: they begin again until nothing was
    committed between the first of them and the last.
    """

    def __init__(self, path: Path, processes: int):
        self._uri = f"{path.absolute().as_uri()}?mode=ro"
        self._processes = processes
        self._workers: list[tuple[Any, Connection]] = []
        self.db = self._connected()
        """For questions before and after the tasks."""

    def _connected(self) -> sqlite3.Connection:
        return _connected(self._uri)

    def __enter__(self) -> Self:
        try:
            if self._processes > 1:
                self._begin_together()
            if not self.db.in_transaction:
                _begin(self.db)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process, pipe in self._workers:
            pipe.close()  # which ends it once its task is done; nobody waits for that
            process.terminate()
        for process, _pipe in self._workers:
            process.join()
            process.close()
        self._workers = []
        self.db.close()

    def _begin_together(self) -> None:
        watch = self._connected()
        try:
            self._start()
            for _ in range(_TRIES):
                before = _version(watch)
                for _process, pipe in self._workers:
                    pipe.send(None)
                for _process, pipe in self._workers:
                    _answer(pipe)
                _begin(self.db)
                if _version(watch) == before:
                    return
                self.db.execute("ROLLBACK")
        finally:
            watch.close()
        # Somebody commits without a pause: one connection still sees one moment.
        for process, pipe in self._workers:
            pipe.close()
            process.terminate()
            process.join()
        self._workers = []

    def _start(self) -> None:
        # Not forked: a collector, or a test, may have threads.
        context = multiprocessing.get_context("spawn")
        for _ in range(self._processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(self._uri, theirs), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def done(self, tasks: Sequence[Task], progress: Callable[[int, int], None]) -> list[Any]:
        """The results of all tasks in their order; `progress` is called with the weight done and the whole weight."""
        results: list[Any] = [None] * len(tasks)
        whole, weight = sum(task.weight for task in tasks), 0
        for at, result in self._results(tasks):
            results[at] = result
            weight += tasks[at].weight
            progress(weight, whole)
        return results

    def _results(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        if not self._workers:
            for at, task in enumerate(tasks):
                yield at, _worked(self.db, task.work, task.what)
            return
        # The longest first, so that none of them is left to one process at the end.
        waiting = sorted(range(len(tasks)), key=lambda at: tasks[at].weight)
        idle, busy = [pipe for _, pipe in self._workers], dict[Connection, int]()
        while waiting or busy:
            while idle and waiting:
                pipe, at = idle.pop(), waiting.pop()
                pipe.send((tasks[at].work, tasks[at].what))
                busy[pipe] = at
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                yield busy.pop(ready), _answer(ready)
                idle.append(ready)


def _answer(pipe: Connection) -> Any:
    try:
        right, answer = pipe.recv()
    except EOFError:
        raise RuntimeError("核对进程意外结束 / a checking process ended before its work was done") from None
    if not right:
        raise answer
    return answer


def _work(uri: str, pipe: Connection) -> None:
    """The loop of a process: None begins a moment anew, anything else is work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    gc.disable()  # millions of rows and no circles among them
    db: sqlite3.Connection | None = None
    try:
        while True:
            asked = pipe.recv()
            try:
                if db is None:
                    db = _connected(uri)
                if asked is None:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    _begin(db)
                    answer = None
                else:
                    work, what = asked
                    answer = _worked(db, work, what)
            except sqlite3.Error as error:
                pipe.send((False, error))
            else:
                pipe.send((True, answer))
    except (EOFError, BrokenPipeError):
        return  # nobody wants to know any more


def _worked(db: sqlite3.Connection, work: Callable[[sqlite3.Connection, Any], Any], what: Any) -> Any:
    try:
        db.text_factory = str
        return work(db, what)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    finally:
        db.text_factory = _any_text
    # Somebody has put bytes that are no text where text belongs. They are a finding, and reading them so takes longer.
    return work(db, what)


def _any_text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def _connected(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    db.execute(_CACHE)
    db.text_factory = _any_text
    return db


def _begin(db: sqlite3.Connection) -> None:
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment is that of the first look


def _version(db: sqlite3.Connection) -> int:
    """A number that is another one as soon as anybody else has committed."""
    version: int = db.execute("PRAGMA data_version").fetchone()[0]
    return version
