"""One guest for all of these tests: it boots once, and its console is shown beside whatever fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from .desk import Panel
from .guest_machine import CONSOLE_SHOWN, Guest
from .prepare import prepare

_booted: list[Guest] = []


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Guest]:
    guest = Guest(prepare(), tmp_path_factory.mktemp("guest"))
    _booted.append(guest)
    try:
        guest.start()
        say(pytestconfig, f"虚拟机启动用时 / the guest booted in {guest.booted_s:.1f} s")
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


def say(config: pytest.Config, words: str) -> None:
    """A line for the person who watches, also when pytest keeps what tests print."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\n{words}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _booted and _booted[0].console.exists():
        console = _booted[0].console.read_text("utf-8", "replace")
        report.sections.append(("console of the guest", console[-CONSOLE_SHOWN:]))
    return report
