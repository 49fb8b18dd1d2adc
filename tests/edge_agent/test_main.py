"""A whole agent between a panel and a broker: what it carries, how it ends, and what a killed one leaves."""

import shutil
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from edge_agent.outbox import Outbox
from firmware_sim.line import Commands, PtyLine, Station, serve, steady_clock
from firmware_sim.panel import HousePanel, PressMade, PressThanked
from protocols.messages import AgentStatus, Health, PressRecord, decode, decode_record
from protocols.ratings import Press, PressId
from tests.brokers import Mosquitto, mosquitto_or_skip

from .hall import DEVICE, T0_MS, at, keep, look, presses, until
from .ledger import AGENT, HEALTH, STATUS, Ledger
from .program import agent, garbage, said, settings
from .test_door import TOKEN, Caller


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto_or_skip()
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


class Panel:
    """A panel on a real pty, and what its citizens saw."""

    def __init__(self, link: Path):
        self.line = PtyLine(link)
        self.events: list[object] = []
        self._commands = Commands()
        self._stop = threading.Event()
        station = Station("3", HousePanel(DEVICE, 1, steady_clock()()), self.line)
        arguments = ([station], steady_clock(), self._stop, self._commands, lambda _, event: self.events.append(event))
        self._thread = threading.Thread(target=serve, args=arguments)
        self._thread.start()

    def press(self, button: int) -> None:
        self._commands.press("3", button)

    def unplug(self) -> None:
        self._commands.unplug("3")

    def replug(self) -> None:
        self._commands.replug("3")

    def pressed(self) -> list[PressMade]:
        return [event for event in self.events if isinstance(event, PressMade)]

    def thanked(self) -> list[PressMade]:
        return [event.press for event in self.events if isinstance(event, PressThanked)]

    def close(self) -> None:
        self._stop.set()
        self._commands.wake()
        self._thread.join(10)
        self.line.close()
        self._commands.close()


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    panel = Panel(tmp_path / "panel")
    yield panel
    panel.close()


@pytest.mark.alone
@pytest.mark.mosquitto
def test_a_press_goes_through_a_whole_agent(file, panel, broker, tmp_path):
    """Panel, pty, outbox, mosquitto, receipt; the door opens and follows; SIGTERM ends it in two seconds with 0."""
    door = f'[door]\ntoken = "{TOKEN}"\nport = 0\nport_file = "door.port"'
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel"), door), encoding="utf-8")
    with Ledger(broker) as ledger, agent(file) as process:
        ledger.subscribe(STATUS, HEALTH)
        assert until(lambda: (tmp_path / "door.port").exists() and (tmp_path / "door.port").read_text())
        caller = Caller(int((tmp_path / "door.port").read_text()))
        assert 201 == caller.open(1).status
        with caller.follow(1) as stream:
            assert "open" == stream.state()
            assert until(lambda: any(health.windows[0].state == "inviting" for health in healths(ledger)))
            panel.press(5)
            assert "answered" == stream.state()
        assert until(lambda: panel.thanked())
        assert until(lambda: ledger.upto == 2)
        # One that nobody ends holds the door's thread, and must not hold up the end.
        caller.open(2)
        with caller.follow(2) as stream:
            assert "open" == stream.state()
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert 0 == process.wait(10), said(file)
            assert time.monotonic() - started < 2
        assert until(lambda: not statuses(ledger)[-1].online)

    assert [(5, True)] == [(made.button, made.invited) for made in panel.pressed()]
    assert [(DEVICE, 1, 1, 5)] == [(each.device, each.boot, each.count, each.button) for each in travelled(ledger)]
    assert "Traceback" not in said(file)
    assert said(file).rstrip().endswith(f"代理已停止 / agent stopped: {AGENT}")


def statuses(ledger: Ledger) -> list[AgentStatus]:
    return [decode(message.payload, AgentStatus) for message in ledger.messages if message.topic == STATUS]


def healths(ledger: Ledger) -> list[Health]:
    return [decode(message.payload, Health) for message in ledger.messages if message.topic == HEALTH]


def travelled(ledger: Ledger) -> list[PressRecord]:
    """Every press that the ledger took, in the order of the chain."""
    taken: dict[int, PressRecord] = {}
    for batch in ledger.batches:
        for seq, body in enumerate(batch.records, batch.first):
            record = decode_record(bytes(body))
            if isinstance(record, PressRecord):
                taken.setdefault(seq, record)
    return [taken[seq] for seq in sorted(taken)]


@pytest.mark.mosquitto
def test_a_killed_agent_loses_and_doubles_nothing(file, panel, broker, tmp_path):
    """SIGKILL four times among presses; each press that was thanked for is in the ledger once, and the will tells."""
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel")), encoding="utf-8")
    with Ledger(broker) as ledger:
        ledger.subscribe(STATUS)
        for life in range(4):
            with agent(file) as process:
                panel.press(1)
                assert until(lambda life=life: len(panel.thanked()) > 3 * life)
                panel.press(2)
                panel.press(3)
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert until(lambda: not statuses(ledger)[-1].online)
        with agent(file):
            assert until(lambda: len(panel.thanked()) == 12 == len(travelled(ledger)))

    made = [(press.device, press.boot, press.count, press.button) for press in panel.pressed()]
    assert made == [(each.device, each.boot, each.count, each.button) for each in travelled(ledger)]


@pytest.mark.mosquitto
def test_a_cable_that_comes_back_is_carried_on_by_the_agent(file, panel, broker, tmp_path):
    """Red in health with the reason while it is out; presses afterwards arrive."""
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel")), encoding="utf-8")
    with Ledger(broker) as ledger, agent(file):
        ledger.subscribe(HEALTH)
        assert until(lambda: "ready" in states(ledger))
        panel.unplug()
        assert until(lambda: states(ledger)[-1] == "cable_out")
        detail = healths(ledger)[-1].windows[0].detail
        panel.replug()
        assert until(lambda: states(ledger)[-1] == "ready")
        panel.press(3)
        assert until(lambda: [each.button for each in travelled(ledger)] == [3])

    assert str(tmp_path / "panel") in detail


def states(ledger: Ledger) -> list[str]:
    return [health.windows[0].state for health in healths(ledger)]


def test_a_press_is_thanked_for_without_any_broker(file, panel, tmp_path):
    """The outbox owns it; SIGINT is as good as SIGTERM."""
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file) as process:
        panel.press(4)
        assert until(lambda: panel.thanked())
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(10)

    assert [4] == [record.button for record in presses(Outbox(tmp_path / "outbox.db", AGENT, 0, look_only=True))]


@pytest.mark.alone
def test_a_broker_behind_a_black_hole_does_not_hold_up_the_end(file, panel, tmp_path):
    """Nobody answers its packets: connecting takes seconds, ending must not. Red if the end waits for every loop."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # Its queue is full: further connections get no answer at all.
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        file.write_text(settings(deaf.getsockname()[1], window=str(tmp_path / "panel")), encoding="utf-8")
        with agent(file) as process:
            panel.press(4)
            assert until(lambda: panel.thanked())
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)

            assert 0 == process.wait(10)
            assert time.monotonic() - started < 2.5
            assert "代理已停止 / agent stopped" in said(file)
        for caller in callers:
            caller.close()


def test_a_damaged_outbox_is_set_aside_and_the_agent_runs(file, panel, tmp_path):
    """Said in the log, in words; the next press is kept."""
    garbage(tmp_path / "outbox.db")
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file):
        panel.press(4)
        assert until(lambda: panel.thanked())

    assert "存档损坏, 已原样移至 / outbox was damaged, set aside whole: " in said(file)
    assert 1 == len(list(tmp_path.glob("outbox.db.damaged-*")))


def test_damage_while_it_runs_ends_the_agent_and_the_next_one_runs(file, panel, tmp_path):
    """The supervisor starts it again; the file is aside by then. Red if it is used on, or kept for the next start."""
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with agent(file) as process:
        panel.press(1)
        assert until(lambda: panel.thanked())
        ruin(tmp_path / "outbox.db")
        panel.press(2)
        assert 1 == process.wait(10)
    with agent(file):
        assert until(lambda: len(panel.thanked()) == 2)

    assert 1 == len(list(tmp_path.glob("outbox.db.damaged-*")))
    assert "Traceback" in said(file)


@pytest.mark.mosquitto
def test_an_older_copy_of_the_outbox_costs_no_press(file, panel, broker, tmp_path):
    """Somebody restores an image of the PC: the ledger has more than it. Red if the agent waits for a person."""
    file.write_text(settings(broker.port, broker.users[AGENT], str(tmp_path / "panel")), encoding="utf-8")
    box = tmp_path / "outbox.db"
    with Ledger(broker) as ledger:
        ledger.subscribe(HEALTH)
        press_once(file, panel, ledger, 1)
        shutil.copy(box, tmp_path / "copy.db")
        press_once(file, panel, ledger, 2)
        (tmp_path / "copy.db").replace(box)
        with agent(file) as process:
            panel.press(3)
            assert 1 == process.wait(10)
        with agent(file):
            panel.press(4)
            assert until(lambda: buttons_kept(ledger) == [3, 4])

    assert 1 == len(list(tmp_path.glob("outbox.db.forked-*")))


def press_once(file, panel, ledger: Ledger, button: int) -> None:
    """In a life of its own, and receipted when it ends."""
    with agent(file) as process:
        panel.press(button)
        assert until(lambda: buttons_kept(ledger)[-1:] == [button])
        assert until(lambda: look(file.parent / "outbox.db", "SELECT seq FROM receipted") == [(button,)])
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def buttons_kept(ledger: Ledger) -> list[int]:
    """Of the presses in the epoch that was sent last."""
    batches = [each for each in ledger.batches if each.epoch == ledger.batches[-1].epoch] if ledger.batches else []
    records = [decode_record(bytes(body)) for batch in batches for body in batch.records]
    return [record.button for record in records if isinstance(record, PressRecord)]


def test_damage_in_a_long_outbox_is_found_beside_the_work(file, panel, tmp_path):
    """No start waits for the look and no press for it; the file is set aside, and all of it is taken over by the next
    agent while it works. Red if the look is not begun, or what it finds does not end the agent."""
    file.write_text(settings(window=str(tmp_path / "panel")), encoding="utf-8")
    with closing(Outbox(tmp_path / "outbox.db", AGENT, T0_MS)) as box:
        for first in range(0, 6_000, 500):
            raw = Random(first).randbytes(900)
            keep(box, at(), *(Press(PressId("D9", 1, first + each), 1, 0, raw) for each in range(500)))
    change(tmp_path / "outbox.db", "UPDATE record SET press = 0 WHERE seq = 5990")
    with agent(file) as process:
        assert until(lambda: "cable in" in said(file))
        panel.press(1)
        assert until(lambda: panel.thanked())
        assert 1 == process.wait(60)
    with agent(file):
        panel.press(2)
        assert until(lambda: len(panel.thanked()) == 2)
        assert until(lambda: "records salvaged" in said(file), 60)

    assert 1 == len(list(tmp_path.glob("outbox.db.damaged-*")))
    with closing(Outbox(tmp_path / "outbox.db", AGENT, T0_MS)) as box:
        assert 6_002 == len(presses(box))


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.commit()


def ruin(path: Path) -> None:
    """Make a page of the running outbox unreadable, as a dying disk does: through SQLite, so that it is noticed."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET rootpage = 1000000 WHERE name = 'seen_press'")
        db.execute(f"PRAGMA schema_version = {db.execute('PRAGMA schema_version').fetchone()[0] + 1}")
    db.close()
