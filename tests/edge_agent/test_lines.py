"""Every shipped profile from the settings to the outbox, over a real line: a panel, a port, a press, its invitation."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent import clock, door
from edge_agent.config import WindowSettings
from edge_agent.lines import Line, lines_of
from edge_agent.outbox import Outbox
from edge_agent.page import Answer, Page
from firmware_sim.carriers import DoorLine, UdpLine
from firmware_sim.line import Commands, PtyLine, Station, TcpLine, serve, steady_clock
from firmware_sim.panels import shelf
from protocols.ratings import Invitation

from .hall import an_id, presses, until

BUTTON = {"qs4": 3, "house": 5}
SERIAL = {  # profile → panel, settings
    "house": ("house", {"device": "D0001"}),
    "qs4": ("qs4", {"address": 5}),
    "pj06": ("pj06", {}),
    "key-byte": ("key-byte", {}),
    "key-ascii": ("key-ascii-crlf", {}),
    "modbus-key": ("modbus-key", {"address": 1}),
    "taxi905": ("taxi905", {"address": 0x0601}),
}


@contextmanager
def served(*stations: Station) -> Iterator[Commands]:
    """Panels on a thread of their own."""
    stop, commands = threading.Event(), Commands()
    thread = threading.Thread(
        target=serve, args=(stations, steady_clock(), stop, commands, lambda *_: None), daemon=True
    )
    thread.start()
    try:
        yield commands
    finally:
        stop.set()
        commands.wake()
        thread.join(10)
        for station in stations:
            station.line.close()
        commands.close()


@contextmanager
def carried(lines: list[Line]) -> Iterator[None]:
    """Their loops, each on its thread."""
    stop = threading.Event()
    threads = [threading.Thread(target=line.carry, args=(clock.now, stop), name=line.name) for line in lines]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for line in lines:
            line.link.wake()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def woken(box: Outbox, lines: list[Line]) -> None:
    """A door that opens an invitation wakes its line."""
    box.listen(lambda window: [line.link.wake() for line in lines if threading.current_thread().name != line.name])


def invited(box: Outbox, window: str = "1") -> str:
    invitation = an_id(int(window))
    box.open_invitation(Invitation(invitation, window, clock.now(), 30, case_no=f"case-{window}"))
    return invitation


def ready(lines: list[Line]) -> bool:
    return all(window.health(clock.now()).state in ("ready", "inviting") for line in lines for window in line.windows)


@pytest.mark.parametrize("profile", SERIAL)
def test_a_press_on_a_panel_of_every_serial_profile_is_kept_for_its_invitation(profile, box, tmp_path):
    """A pty, the panel of the vendor's description, and our settings. Red if a profile's frames are its own idea."""
    panel, more = SERIAL[profile]
    made = shelf.make_line(panel, None, 1) if shelf.KINDS[panel].first_address is not None else shelf.make(panel)
    station = Station("panel", made, PtyLine(tmp_path / "panel"))
    settings = WindowSettings(
        **{"id": "1", "device": "D0001", "port": str(tmp_path / "panel"), "profile": profile} | more
    )
    lines = lines_of([settings], tmp_path, box, clock.now())
    woken(box, lines)
    with served(station) as commands, carried(lines):
        assert until(lambda: ready(lines))
        # PJ06 is set up for 1.7 s; and what comes right after a start may be old.
        assert until(lambda: not lines[0].windows[0]._deaf_since_ms or profile == "house")
        invitation = invited(box)
        assert until(lambda: made.inviting(steady_clock()()) or profile.startswith("key-"))
        threading.Event().wait(0.6)  # an always-on panel is believed half a second after the invitation
        commands.press("panel", BUTTON.get(profile, 2))
        assert until(lambda: presses(box)), lines[0].windows[0].health(clock.now())
        assert until(lambda: box.invitation(invitation).state == "answered")

    [record] = presses(box)
    assert (invitation, "D0001", BUTTON.get(profile, 2), profile) == (
        record.invitation,
        record.device,
        record.button,
        record.profile,
    )


def test_two_evaluators_of_a_queue_system_share_a_line(box, tmp_path):
    """Each rates for its own window, over a device server."""
    bus, line = shelf.make_line("qs4", 5, 2), TcpLine()
    windows = [
        WindowSettings(id=str(number), device=f"D000{number}", port=line.url, profile="qs4", address=4 + number)
        for number in (1, 2)
    ]
    lines = lines_of(windows, tmp_path, box, clock.now())
    woken(box, lines)
    with served(Station("bus", bus, line)) as commands, carried(lines):
        assert until(lambda: ready(lines))
        second = invited(box, "2")
        assert until(lambda: bus.at("6").inviting(steady_clock()()))
        commands.press("bus", 3, "6")
        assert until(lambda: box.invitation(second).state == "answered")

    assert 1 == len(lines)
    assert [("2", "D0002", 3)] == [(record.window, record.device, record.button) for record in presses(box)]


def test_a_tablet_rates_by_datagram(box, tmp_path):
    """It is asked by one, and answers by another."""
    line = UdpLine()
    tablet = shelf.make("sundyn-udp")
    settings = WindowSettings(id="1", device="T1", port=f"udp://127.0.0.1:{line.port}", profile="sundyn-udp")
    lines = lines_of([settings], tmp_path, box, clock.now())
    woken(box, lines)
    with served(Station("tablet", tablet, line)) as commands, carried(lines):
        invitation = invited(box)
        assert until(lambda: tablet.inviting(steady_clock()()))
        threading.Event().wait(1.3)  # sooner than that it would be the answer to an older question
        commands.press("tablet", 5)
        assert until(lambda: box.invitation(invitation).state == "answered")

    assert [5] == [record.button for record in presses(box)]


def test_a_page_is_answered_when_its_press_is_on_the_disk(box, tmp_path):
    """And the same press again is the same."""
    settings = WindowSettings(id="1", device="S1", profile="screen")
    lines = lines_of([settings], tmp_path, box, clock.now())
    page = lines[0].link
    assert isinstance(page, Page)
    woken(box, lines)
    with carried(lines):
        invitation = invited(box)
        body = b'{"device":"S1","boot":7,"count":1,"button":4,"age_ms":0}'
        assert until(lambda: page.press(body) is Answer.KEPT)
        assert Answer.KEPT is page.press(body)
        assert Answer.NOT_YET is page.press(b'{"device":"S1"}')

    assert [(7, 1, 4, invitation)] == [
        (record.boot, record.count, record.button, record.invitation) for record in presses(box)
    ]


def test_a_browsers_presses_come_in_by_the_door(box, tmp_path):
    """A simulated page, real HTTP, the door as it is. Red if the page and the door differ on a single field."""
    settings = WindowSettings(id="1", device="S1", profile="screen")
    lines = lines_of([settings], tmp_path, box, clock.now())
    link = lines[0].link
    assert isinstance(link, Page)
    woken(box, lines)
    server, port = door.serve(door.create_app(box, {"1": 30}, "secret", clock.now, {"1": link.press}), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    page = shelf.make("screen", "S1", 0, 1)
    wire = DoorLine(f"http://127.0.0.1:{port}/v1/windows/1/presses", {"Authorization": "Bearer secret"})
    try:
        with carried(lines), served(Station("page", page, wire)) as commands:
            page.ask(2**53, invited(box))
            commands.press("page", 4)
            assert until(lambda: box.invitation(an_id(1)).state == "answered")
    finally:
        server.trigger.pull_trigger(server.close)
        thread.join(10)

    assert [(4, an_id(1))] == [(record.button, record.invitation) for record in presses(box)]


def test_a_tablet_that_is_off_is_tried_again(box, tmp_path):
    """Nobody listens at its port: said, and not given up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    settings = WindowSettings(id="1", device="T1", port=f"udp://127.0.0.1:{number}", profile="sundyn-udp")
    lines = lines_of([settings], tmp_path, box, clock.now())
    woken(box, lines)
    with carried(lines):
        invited(box)
        assert until(lambda: "tablet away" in lines[0].windows[0].health(clock.now()).detail)


def test_windows_of_one_port_are_one_line(box, tmp_path):
    """In whatever order they stand in the settings; each page is a line of its own."""
    windows = [
        WindowSettings(id="1", device="A", port="/dev/x", profile="qs4", address=1),
        WindowSettings(id="2", device="B", profile="screen"),
        WindowSettings(id="3", device="C", port="/dev/x", profile="qs4", address=2),
        WindowSettings(id="4", device="D", profile="screen"),
    ]
    lines = lines_of(windows, tmp_path, box, clock.now())

    assert [["1", "3"], ["2"], ["4"]] == sorted([window.id for window in line.windows] for line in lines)


def test_a_profile_of_the_halls_own_is_a_file_beside_the_settings(box, tmp_path):
    """Read as the shipped ones are."""
    text = (Path(shelf.__file__).parent.parent.parent / "protocols/profiles/key-byte.toml").read_text("utf-8")
    (tmp_path / "ours.toml").write_text(text.replace('id = "key-byte"', 'id = "ours"'), "utf-8")
    settings = WindowSettings(id="1", device="A", port="/dev/x", profile="ours.toml")

    assert "ours" == lines_of([settings], tmp_path, box, clock.now())[0].windows[0].profile.id
