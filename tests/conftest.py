"""What holds for every test: nothing is skipped in CI without being noticed, nothing left open is another's fault."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job has it ignored, and so would every program that a test starts and wants to interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def left_nothing_open() -> Iterator[None]:
    """A file or socket that was forgotten fails the tests that forgot it, not those that run when it is collected."""
    yield
    gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skip is a failure: a machine that cannot run a test has not passed it."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"在 CI 中跳过即失败 / skipped, which fails in CI: {report.longrepr}"
    return report
