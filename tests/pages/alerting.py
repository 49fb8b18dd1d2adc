"""A centre with everything that an alerts page can show, served as it is in a hall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from collector.alerts.alerts import NotSent
from collector.alerts.core import Decision, Found, Reach, Rule, Silence, decide
from collector.alerts.hours import hours_of
from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector import doors
from tests.collector.agents import NOW_MS, Agent
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.test_web_alerts import MIN, Office

HALLS = {"市民中心": 12, "高新区分中心": 6}


def centre(folder: Path, troubled: bool = True) -> Office:
    """An office; `troubled` as on a bad Monday."""
    lines = [
        window(f"pc-{hall}-{n}", "w1", f"D{hall}{n}").replace("市民中心", name).replace('"1号"', f'"{n}号"')
        for hall, (name, count) in enumerate(HALLS.items())
        for n in range(1, count + 1)
    ]
    office = Office(Ledger(folder / "ledger.db", directory_of(window(), *lines)))
    if troubled:
        _monday(office)
    return office


def _monday(office: Office) -> None:
    for n in range(1, 7):
        office.ledger.intake.note_status(f"pc-1-{n}", AgentStatus(False), NOW_MS)
    office.pass_by(1)
    _earlier(office)
    weekly = "Sat 08:00-12:00"
    until_ms = NOW_MS + 300 * 86_400_000
    office.book.silence(
        Silence(Reach(("clock_wrong",)), NOW_MS, until_ms, "周六检修", "王芳", hours_of(weekly), weekly)
    )
    office.ledger.delivery.province_away("HTTP 503", NOW_MS)
    for minute in range(12):
        _say(office, "pc-0-3", "cable_out", NOW_MS - 4 * MIN)
        _say(office, "pc-0-5", "device_silent" if minute % 4 < 2 else "ready", office.clock.now_ms)
        office.pass_by(1)
    office.ledger.rate(1, button=3)
    office.ledger.rate(*range(1, 3), button=2)
    office.pass_by(0.5)
    _send(office)
    office.ears.deaf = "45009 api freq out of limit"
    office.ledger.rate(*range(1, 4), button=2)
    office.pass_by(0.5)
    _send(office)
    standing, _ = office.book.standing(office.clock.now_ms)
    cable = next(each for each in standing if "线缆" in each.found.words)
    office.book.acknowledge(cable.id, "王芳", office.clock.now_ms)


def _send(office: Office) -> None:
    with suppress(NotSent):
        while office.alerts._send_one(office.alerts.receivers[0]):
            pass


def _say(office: Office, agent: str, state: str, since_ms: int) -> None:
    said = Health(office.clock.now_ms, Agent().epoch, [WindowHealth("w1", state, since_ms)])
    office.ledger.intake.note_health(agent, said, office.clock.now_ms)


def _earlier(office: Office) -> None:
    """What was wrong last week, and is over."""
    found = Found(
        "province_away",
        "province_away",
        NOW_MS - 3 * 86_400_000,
        "它答复 HTTP 502 / it answers HTTP 502",
    )
    (alert,) = decide([found], [], [Rule(("wecom",), after_minutes=0)], [], found.since_ms).alerts
    over = replace(alert, opens=2, gone_ms=found.since_ms + 95 * MIN, closed_ms=found.since_ms + 96 * MIN)
    office.book.keep(Decision((over,), ()))


@contextmanager
def served(office: Office) -> Iterator[str]:
    """The address of its page."""
    try:
        with doors.served(office.client.application) as port:
            yield f"http://127.0.0.1:{port}"
    finally:
        office.book.close()
        office.ledger.store.close()
