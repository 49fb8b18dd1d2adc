"""A window of the hall: its panel outside of the guest, and the agent that reads it inside."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from firmware_sim.line import Commands, Station, TcpLine, serve, steady_clock
from firmware_sim.panel import HousePanel, PressMade, PressThanked

from .guest_machine import PYTHON, Guest, Program

DEVICE = "D0217"
WINDOW = "3"
THANKED_S = 30  # a press that is not thanked by then never will be
HELD = {"house": "/dev/ttyUSB", "hid-keypad": "/dev/input/event"}
"""How the nodes begin that a device of this profile has."""
_numbers = itertools.count(1)


class Panel:
    """A panel that listens at a TCP port for the adapter it hangs on, and what its citizens saw."""

    def __init__(self) -> None:
        self.line = TcpLine()
        self.events: list[object] = []
        self._happened = threading.Condition()
        self._commands = Commands()
        self._stop = threading.Event()
        self.now = steady_clock()
        station = Station(WINDOW, HousePanel(DEVICE, 1, self.now()), self.line)
        arguments = ([station], self.now, self._stop, self._commands, self._on_event)
        self._thread = threading.Thread(target=serve, args=arguments, name="panel")
        self._thread.start()

    def press(self, button: int) -> None:
        """Push a button; the panel has counted the press when this returns."""
        before = len(self.pressed())
        self._commands.press(WINDOW, button)
        self._until(lambda: len(self.pressed()) > before)

    def pressed(self) -> list[PressMade]:
        return [event for event in self.events if isinstance(event, PressMade)]

    def thanked(self) -> list[PressThanked]:
        return [event for event in self.events if isinstance(event, PressThanked)]

    def all_thanked(self) -> bool:
        """Wait until every press was thanked; False if that never comes."""
        return self._until(lambda: len(self.thanked()) == len(self.pressed()))

    def close(self) -> None:
        self._stop.set()
        self._commands.wake()
        self._thread.join(10)
        self.line.close()
        self._commands.close()

    def _on_event(self, _: str, event: object) -> None:
        with self._happened:
            self.events.append(event)
            self._happened.notify_all()

    def _until(self, come: Callable[[], bool]) -> bool:
        with self._happened:
            return self._happened.wait_for(come, THANKED_S)


class Agent:
    """The agent, running in the guest with an outbox in memory and no broker within reach."""

    def __init__(self, guest: Guest, port: str, profile: str = "house"):
        self._guest = guest
        self._number = next(_numbers)
        self.file = f"agent-{self._number}.toml"
        guest.write(self.file, _settings(f"outbox-{self._number}.db", port, profile))
        self.program = guest.start_program([PYTHON, "-m", "edge_agent", "run", "--config", self.file])
        self.holds = guest.start_program(["holds.py", self.program.pid, HELD[profile]])
        """From when to when it holds which port, by the guest's own clock."""

    def stop(self) -> None:
        """End it as a supervisor would."""
        self.holds.stop()
        assert 0 == self.program.stop(), self.program.errors

    def kept(self) -> list[tuple[int, int, int]]:
        """(boot, count, button) of each press in its outbox, in the order they were kept."""
        export = self._guest.run([PYTHON, "-m", "edge_agent", "outbox", "export", "--config", self.file])
        bodies = [record["body"] for record in export.json() if record["kind"] == "press"]
        return [(body["boot"], body["count"], body["button"]) for body in bodies]


@contextmanager
def agent(guest: Guest, port: str, profile: str = "house") -> Iterator[Agent]:
    """A running agent; it is stopped when this is left, whatever happened."""
    agent = Agent(guest, port, profile)
    try:
        yield agent
    finally:
        for program in (agent.holds, agent.program):
            if program.returncode is None:
                program.stop("SIGKILL")


def appears(guest: Guest, mark: int, beginning: str = "/dev/ttyUSB") -> dict[str, Any]:
    """The first such node that the guest's kernel has made since `mark`, and when."""
    return guest.plugs.wait(lambda line: line.get("did") == "add" and line["node"].startswith(beginning), mark)


def opens(agent: Agent, node: str, mark: int) -> dict[str, Any]:
    """The agent has opened this node, since `mark`; a program that looks on has seen it."""
    return agent.holds.wait(lambda line: line.get("did") == "open" and line["node"] == node, mark)


def marks(*programs: Program) -> tuple[int, ...]:
    """How much each of them has said by now."""
    return tuple(len(program.lines) for program in programs)


def elapsed_ms(since_s: float) -> int:
    return round((time.monotonic() - since_s) * 1000)


def _settings(outbox: str, port: str, profile: str) -> str:
    return f"""
agent = "hall-pc-1"
[outbox]
path = "{outbox}"
[uplink]
host = "127.0.0.1"
port = 1
password = "x"
[[windows]]
id = "{WINDOW}"
device = "{DEVICE}"
port = "{port}"
profile = "{profile}"
"""
