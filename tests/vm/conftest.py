"""One guest for all of these tests: it boots once, and its console is shown beside whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest

from .desk import Panel
from .guest_machine import CONSOLE_SHOWN, Guest
from .prepare import prepare

_booted: list[Guest] = []
_figures: list[str] = []


@pytest.fixture(scope="session")
def say() -> Callable[[str], None]:
    """Takes a line for the end of the run, whatever pytest keeps of what tests print."""
    return _figures.append


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Iterator[Guest]:
    guest = Guest(prepare(), tmp_path_factory.mktemp("guest"))
    _booted.append(guest)
    try:
        guest.start()
        say(f"虚拟机启动用时 / the guest booted in {guest.booted_s:.1f} s")
        yield guest
    finally:
        guest.stop()


@pytest.fixture
def panel() -> Iterator[Panel]:
    panel = Panel()
    yield panel
    panel.close()


@pytest.fixture(autouse=True)
def empty_ports(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test left plugged in is pulled out before the next one begins."""
    yield
    if "guest" in request.fixturenames:
        request.getfixturevalue("guest").unplug_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in _figures:
        terminalreporter.write_line(figure)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _booted and _booted[0].console.exists():
        console = _booted[0].console.read_text("utf-8", "replace")
        report.sections.append(("console of the guest", console[-CONSOLE_SHOWN:]))
    return report
