"""What holds for every test: nothing is skipped in CI without being noticed, nothing left open is another's fault."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sqlite3
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from collector.ledger.file import LedgerDamaged
from collector.ledger.store import Store

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job has it ignored, and so would every program that a test starts and wants to interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def left_nothing_open() -> Iterator[None]:
    """A file or socket that was forgotten fails the tests that forgot it, not those that run when it is collected."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_ledger_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ledger that is not closed keeps its files open for as long as its process lives, whoever forgets it: so that it
    lies there as one whose program was killed. A thousand tests in one process would run out of files."""
    opened: list[Store] = []
    begin = Store.__init__

    def remembered(store: Store, *arguments: Any, **more: Any) -> None:
        begin(store, *arguments, **more)
        opened.append(store)

    monkeypatch.setattr(Store, "__init__", remembered)
    yield
    for store in opened:
        with contextlib.suppress(sqlite3.Error, OSError, LedgerDamaged):  # its files may be gone, or ruined, by now
            store.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skip is a failure: a machine that cannot run a test has not passed it."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"在 CI 中跳过即失败 / skipped, which fails in CI: {report.longrepr}"
    return report
