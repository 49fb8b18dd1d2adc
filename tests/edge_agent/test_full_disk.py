"""A disk that is really full, and has room again: nothing is thanked, everybody is told, and nothing counts twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from edge_agent import clock
from edge_agent.config import WindowSettings
from edge_agent.door import create_app, serve
from edge_agent.lines import lines_of
from edge_agent.outbox import Outbox, OutboxFull
from edge_agent.page import Page
from firmware_sim.panel import frame
from tests.disks import Disk

from .hall import DEVICE, T0_MS, WINDOW, Alone, an_id, answers, at, held, invitation, presses, until
from .ledger import AGENT
from .program import agent, said, settings
from .test_door import TOKEN, Caller, running

PRESSES = "/v1/windows/4/presses"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture
def box(disk: Disk, opened) -> Outbox:
    return opened(disk.path / "outbox.db")


# ---- the devices


def press_of(count: int, age_ms: int) -> bytes:
    return frame("PRESS", DEVICE, 1, count, 1, age_ms)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_thanked_is_kept_and_kept_once_however_often_the_disk_is_full(disk, box, seed):
    """Forty cycles, presses before, during and after, each repeated until it is answered. Red if a press is thanked
    that was rolled back, and if a refused one is forgotten or counted twice."""
    window, rng, ms = Alone(WINDOW, DEVICE, box, at(0)), Random(seed), 0
    window.plugged(at(0))
    refused, thanked = set(), []
    full = False
    for count in range(1, 161):
        if count % 4 in (1, 3):
            full = not full
            disk.fill() if full else disk.free()
        made_ms = ms = ms + rng.randint(10, 900)
        while True:
            said = window.feed(press_of(count, ms - made_ms), at(ms))
            window.tick(at(ms))
            if frame("ACK", DEVICE, 1, count) in said:
                thanked.append(count)
                break
            assert frame("NAK", DEVICE, 1, count) in said
            refused.add(count)
            if full and rng.random() < 0.5:
                full = False
                disk.free()
            ms += 400
    if full:
        disk.free()

    assert list(range(1, 161)) == thanked == [each.count for each in presses(box)]
    assert len(refused) > 30
    assert box.first_break() is None


def test_a_window_accepts_again_though_nobody_presses(disk, box):
    """A clerk who has made room sees it after a second. Red if only the next press can show it."""
    window = Alone(WINDOW, DEVICE, box, at(0))
    window.plugged(at(0))
    disk.fill()
    assert frame("NAK", DEVICE, 1, 1) == window.feed(press_of(1, 0), at(100))
    window.tick(at(1_200))
    during = window.health(at(1_200)).state
    disk.free()
    window.tick(at(2_300))

    assert ("refusing", "ready") == (during, window.health(at(2_300)).state)
    assert [] == held(box)


def test_a_disk_that_is_nearly_full_is_not_said_to_have_room(disk, box):
    """The window's own little write fits where the next press may not. Red if any write that fits ends it."""
    disk.fill()
    with pytest.raises(OutboxFull):
        for number in range(1, 1_000):
            box.open_invitation(invitation(number, at(number)), replace=True)
    with (disk.path / "ballast").open("rb+") as file:
        file.truncate((disk.path / "ballast").stat().st_size - 30_000)
    box.look_for_room(at(5_000))
    nearly = box.full
    disk.free()
    box.look_for_room(at(7_000))

    assert (True, False) == (nearly, box.full)


def test_a_device_that_does_not_repeat_itself_is_asked_again_when_there_is_room(disk, box):
    """It closed with the key that was not taken: the citizen gets another chance. Red if nobody asks again."""
    window = Alone(WINDOW, DEVICE, box, at(0), "pj06")
    window.plugged(at(0))
    please_rate, key = bytes.fromhex("55 AA 02 20 00 1A"), b"\x03"
    for ms in range(0, 10_001, 250):
        window.feed(b"", at(ms))
        window.tick(at(ms))
    box.open_invitation(invitation(1, at(10_100)))
    first = b"".join(ticks(window, 10_200, 13_000))
    disk.fill()
    taken = window.feed(key, at(13_500)) + window.feed(b"", at(13_560))
    during = b"".join(ticks(window, 13_600, 16_000))
    disk.free()
    after = b"".join(ticks(window, 16_100, 19_000))
    window.feed(key, at(20_000))
    window.feed(b"", at(20_060))

    assert please_rate in first
    assert b"" == taken
    assert please_rate not in during
    assert please_rate in after
    assert [an_id(1)] == answers(box)


def ticks(window: Alone, first_ms: int, last_ms: int) -> Iterator[bytes]:
    for ms in range(first_ms, last_ms, 100):
        yield window.feed(b"", at(ms)) + window.tick(at(ms))


# ---- the pages


@pytest.fixture
def page_door(box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """The door with window 4's real page, carried as the agent carries it."""
    monkeypatch.setattr("edge_agent.door.streams._KEEP_ALIVE_S", 0.05)  # whoever left is noticed at the next comment
    (line,) = lines_of([WindowSettings("4", "S4", profile="screen")], tmp_path, box, clock.now())
    assert isinstance(line.link, Page)
    stop = threading.Event()
    window = threading.Thread(target=line.carry, args=(clock.now, stop))
    window.start()
    server, port = serve(create_app(box, {"4": 45}, TOKEN, clock.now, {"4": line.link.press}), "127.0.0.1", 0)
    yield from running(server, port)
    stop.set()
    line.link.wake()
    window.join(10)


def test_a_page_is_told_at_once_that_its_press_was_not_accepted(disk, box, page_door):
    """507 within a second, the invitation still open and said to be refusing; then the same press counts once, and one
    that was made after the next citizen could not be asked answers nothing. Red if it is 503 or 200, and if the refused
    press stays."""
    page_door.open(1, "4")
    pressed = {"device": "S4", "boot": 7, "count": 1, "button": 5, "invitation": an_id(1)}
    disk.fill()
    began_s = time.monotonic()
    refused = [page_door.ask("POST", PRESSES, pressed | {"count": count}) for count in (1, 2, 2)]
    took_s = time.monotonic() - began_s
    during = page_door.ask("GET", f"/v1/invitations/{an_id(1)}").body
    another = page_door.open(2, "4", replace=True)
    nothing = held(box)
    disk.free()
    age_ms = int((time.monotonic() - began_s) * 1000)
    kept = [
        page_door.ask("POST", PRESSES, pressed | {"count": count, "age_ms": age}).status
        for count, age in ((2, age_ms), (2, age_ms), (3, 0))
    ]
    after = page_door.ask("GET", f"/v1/invitations/{an_id(1)}").body

    assert [(507, "storage_full")] * 3 == [(each.status, each.code) for each in refused]
    assert took_s < 3
    assert ("open", "storage_full", 507, []) == (during["state"], during["storage"], another.status, nothing)
    assert ("answered", "ok", [200] * 3) == (after["state"], after["storage"], kept)
    assert [(2, an_id(1)), (3, None)] == [(each.count, each.invitation) for each in presses(box)]


def test_a_clerk_who_follows_an_invitation_hears_that_nothing_is_accepted(disk, box, page_door):
    """An event when it begins and when it ends. Red if only the invitation's own state is told."""
    page_door.open(1, "4")
    pressed = {"device": "S4", "boot": 7, "count": 1, "button": 5, "invitation": an_id(1)}
    with page_door.follow(1) as stream:
        first = stream.state()
        disk.fill()
        page_door.ask("POST", PRESSES, pressed)
        second = stream.told()["storage"]
        disk.free()
        third = stream.told()["storage"]
        page_door.ask("POST", PRESSES, pressed)
        last = stream.state()

    assert ("open", "storage_full", "ok", "answered") == (first, second, third, last)


# ---- the start


@pytest.mark.parametrize("trouble", ["full", "full before the first start", "read-only"])
def test_an_agent_that_starts_without_room_says_so_and_goes_on_when_there_is_some(disk, file, tmp_path, trouble):
    """Its door answers 507 in words instead of being away; then it takes invitations at the same address. Red if the
    agent ends, and if it waits behind a shut door."""
    if trouble != "full before the first start":
        Outbox(disk.path / "outbox.db", AGENT, T0_MS).close()
    if trouble == "read-only":
        disk.set("ro")
    else:
        disk.fill()
    door = f'[outbox]\npath = "{disk.path}/outbox.db"\n[door]\ntoken = "{TOKEN}"\nport = 0\nport_file = "door.port"'
    file.write_text(settings(window=str(tmp_path / "nothing"), door=door), encoding="utf-8")
    code = "storage_read_only" if trouble == "read-only" else "storage_full"
    with agent(file) as process:
        assert until(lambda: (tmp_path / "door.port").exists() and (tmp_path / "door.port").read_text(), 30), said(file)
        caller = Caller(int((tmp_path / "door.port").read_text()))
        refused = caller.open(1)
        assert (507, code) == (refused.status, refused.code)
        disk.set("rw") if trouble == "read-only" else disk.free()
        assert until(lambda: caller.open(1).status in (200, 201), 30), said(file)
        assert process.poll() is None
    assert "Traceback" not in said(file)
    assert 1 == said(file).count("按键不收, 有空间后自动继续 / storage is")
