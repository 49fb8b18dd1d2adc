"""A hall's morning, played for real: citizens at panels on ptys, and the business system that asks them to rate.

One process per run. It writes down the truth as it goes, and ends when the scenario is over and no panel holds a press
that it has not handed over.
"""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click
import requests

from firmware_sim.bench import Change
from firmware_sim.faults import Faults
from firmware_sim.line import Commands, PtyLine, Station, boot_file, next_boot, serve, steady_clock
from firmware_sim.panel import HousePanel
from firmware_sim.scenario import PressAt, Service, Stray, Truth, busy_morning

_ASK_AGAIN_S = 0.2
_CASE_AGAIN_S = 5.0
_NO_ROOM = 507
_CALL_S = 3.0
_HANDED_OVER_S = (
    30.0  # a panel repeats until it is heard; an agent that stays away for longer ends the wait, not the truth
)


@dataclass(frozen=True)
class Hall:
    """Where things are. `windows` maps "agent/window" to the panel's device id; doors by agent."""

    folder: Path
    seed: int
    seconds: int
    faults: str
    per_window_per_s: float
    windows: dict[str, str]
    doors: dict[str, str]
    """Per agent the file that holds its door's port."""
    door_token: str
    collector: str
    """The file that holds the collector's port."""
    collector_token: str
    sealed: float = 0.0
    """How many of all invitations bring their case's details along, for the agent to seal."""


class Office:
    """The hall's business system: opens invitations at the agents' doors, delivers cases to the collector.

    A call whose answer was lost is made again with the same id until it is answered: that is how a business system
    should do it, and what the door promises to understand.
    """

    def __init__(self, hall: Hall, stop: threading.Event):
        self._hall = hall
        self._stop = stop
        self._clock = steady_clock()

    def invite(self, window: str, service: Service, no_room: Callable[[], None], with_case: bool) -> str | None:
        """Open the invitation, with its case's details if the agent is to have them; its id, or None when the morning
        was called off before anybody answered. `no_room` is called each time that the agent says it has none."""
        body = {
            "id": str(uuid.uuid4()),
            "window": window.split("/")[1],
            "case_no": service.case_no,
            "service_number": service.service_number,
            "seconds": service.seconds,
            "clerk": "0042",
            "replace": True,
            **({"case": service.case_details} if with_case else {}),
        }
        done = self._until_answered("POST", window, "/v1/invitations", body, no_room)
        return body["id"] if done else None  # type: ignore[return-value]

    def withdraw(self, window: str, invitation: str) -> bool:
        """Take the invitation back."""
        return self._until_answered("DELETE", window, f"/v1/invitations/{invitation}", None)

    def deliver(self, service: Service) -> bool:
        """Hand the case's details over."""
        case = {**service.case_details, "case_no": service.case_no, "service_number": service.service_number}
        # Hundreds of cases wait for a collector that is away: asking for each five times a second would drown it.
        return self._again(lambda: self._call("POST", self._hall.collector, "/api/v1/cases", case), _CASE_AGAIN_S)

    def ready(self) -> bool:
        """Wait until every door and the collector answer."""
        doors = all(self._answers(door, "/v1/invitations/none", 404) for door in self._hall.doors.values())
        return doors and self._answers(self._hall.collector, "/api/v1/summary", 200)

    def _answers(self, port_file: str, path: str, status: int) -> bool:
        return self._again(lambda: self._call("GET", port_file, path, None, (status,)))

    def _until_answered(
        self,
        method: str,
        window: str,
        path: str,
        body: dict[str, Any] | None,
        no_room: Callable[[], None] = lambda: None,
    ) -> bool:
        door, first_ms = self._hall.doors[window.split("/")[0]], self._clock()

        def call() -> bool:
            waited = {"waited_ms": self._clock() - first_ms} if method == "POST" else {}
            return self._call(method, door, path, body and body | waited, no_room=no_room)

        return self._again(call)

    def _again(self, call: Callable[[], bool], longest_s: float = _ASK_AGAIN_S) -> bool:
        wait_s = _ASK_AGAIN_S
        while not self._stop.is_set():
            if call():
                return True
            self._stop.wait(wait_s)
            wait_s = min(2 * wait_s, longest_s)
        return False

    def _call(
        self,
        method: str,
        port_file: str,
        path: str,
        body: dict[str, Any] | None,
        good: Iterable[int] = (200, 201),
        no_room: Callable[[], None] = lambda: None,
    ) -> bool:
        token = self._hall.collector_token if port_file == self._hall.collector else self._hall.door_token
        try:
            port = int((self._hall.folder / port_file).read_text(encoding="utf-8"))
            answer = requests.request(
                method,
                f"http://127.0.0.1:{port}{path}",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=_CALL_S,
            )
        except (OSError, ValueError, requests.RequestException):
            return False  # not started yet, killed, or starting again
        if answer.status_code == _NO_ROOM:
            no_room()
        if answer.status_code >= 400 and answer.status_code not in tuple(good) and answer.status_code < 500:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.status_code in tuple(good)


class Once:
    """A citizen who presses though nobody could be asked to: once is enough to see what the panel says."""

    def __init__(self, press: Callable[[], None]):
        self._press = press
        self._pressed = False

    def __call__(self) -> None:
        if not self._pressed:
            self._pressed = True
            self._press()


class Morning:
    """Plays the scenario of `hall` and keeps its truth."""

    def __init__(self, hall: Hall):
        self._hall = hall
        self._stop = threading.Event()  # no new citizens
        self._off = threading.Event()  # panels without power
        self._now = steady_clock()
        self._office = Office(hall, self._stop)
        self._truth = Truth()
        self._truth_lock = threading.Lock()
        self._commands = Commands()
        self._stations = [self._station(window, device) for window, device in hall.windows.items()]

    def call_off(self) -> None:
        """No new citizens; those at the windows finish."""
        self._stop.set()

    def play(self) -> None:
        """The whole morning."""
        panels = threading.Thread(target=self._serve, name="panels")
        panels.start()
        try:
            if self._office.ready():
                self._citizens()
            self._handed_over()
        finally:
            self._off.set()
            self._commands.wake()
            panels.join()

    def _citizens(self) -> None:
        hall = self._hall
        start_ms = self._now()
        scenario = busy_morning(hall.seed, tuple(hall.windows), hall.seconds, hall.per_window_per_s, start_ms=start_ms)
        windows = [
            threading.Thread(target=self._window, args=(window, start_ms, scenario.services, scenario.strays))
            for window in hall.windows
        ]
        for thread in windows:
            thread.start()
        for thread in windows:
            thread.join()

    def _window(self, window: str, start_ms: int, services: tuple[Service, ...], strays: tuple[Stray, ...]) -> None:
        everything: list[Service | Stray] = [*services, *strays]
        mine = [each for each in everything if each.window == window]
        late: list[threading.Thread] = []
        end_ms = start_ms + self._hall.seconds * 1000
        for each in sorted(mine, key=lambda one: one.at_ms):
            self._wait_until(start_ms + each.at_ms)
            # An agent that was away has delayed this window: who has not come by the end stays at home.
            if self._stop.is_set() or self._now() > end_ms:
                break
            if isinstance(each, Stray):
                self._commands.press(window, each.button)
            else:
                late += self._serve_citizen(window, each)
        for thread in late:
            thread.join()

    def _serve_citizen(self, window: str, service: Service) -> list[threading.Thread]:
        asked_ms = self._now()
        with_case = Random(f"{self._hall.seed}/{service.case_no}/sealed").random() < self._hall.sealed
        late = [] if with_case else [threading.Thread(target=self._deliver_later, args=(service,))]
        for thread in late:
            thread.start()
        impatient = Once(lambda: self._commands.press(window, service.presses[0].button if service.presses else 1))
        invitation = self._office.invite(window, service, impatient, with_case)
        opened_ms = self._now()
        if invitation is None:
            # Nobody answered before the morning was called off. It may be open all the same, so the truth knows of it.
            self._note(self._truth.opened(service, asked_ms, opened_ms))
            return late
        self._note(self._truth.opened(service, asked_ms, opened_ms, invitation))
        for press in service.presses:
            self._press(window, opened_ms, press)
        if service.withdrawn_after_ms is not None:
            self._wait_until(opened_ms + service.withdrawn_after_ms)
            self._note(self._truth.withdrawn(window, self._now()))
            self._office.withdraw(window, invitation)
        if service.intended == "nobody":
            self._wait_until(opened_ms + service.seconds * 1000)
        return late

    def _press(self, window: str, opened_ms: int, press: PressAt) -> None:
        self._wait_until(opened_ms + press.after_ms)
        self._commands.press(window, press.button)

    def _deliver_later(self, service: Service) -> None:
        self._stop.wait(service.case_arrives_after_ms / 1000)
        self._office.deliver(service)

    def _wait_until(self, at_ms: int) -> None:
        self._stop.wait(max(0, at_ms - self._now()) / 1000)

    # ---- panels

    def _station(self, window: str, device: str) -> Station:
        link = self._hall.folder / f"panel-{device}"
        boots = boot_file(link)
        panel = HousePanel(device, next_boot(boots), self._now())
        line = PtyLine(link)
        line.replug()
        return Station(window, panel, line, Faults.parse(self._hall.faults), self._hall.seed, boots)

    def _serve(self) -> None:
        try:
            serve(self._stations, self._now, self._off, self._commands, self._heard)
        finally:
            for station in self._stations:
                station.line.close()

    def _heard(self, window: str, event: Change) -> None:
        self._note(self._truth.hear(window, event))

    def _note(self, row: str) -> None:
        with self._truth_lock, (self._hall.folder / "truth.jsonl").open("a", encoding="utf-8") as file:
            file.write(row + "\n")

    def _handed_over(self) -> None:
        """Wait until no panel holds a press that the agent has not acknowledged."""
        deadline_ms = self._now() + int(_HANDED_OVER_S * 1000)
        quiet = 0
        while self._now() < deadline_ms and quiet < 3:
            self._off.wait(_ASK_AGAIN_S)
            busy = any(each.ahead or each.panel.state(self._now()) == "pending" for each in self._stations)
            quiet = 0 if busy else quiet + 1


@click.command("morning")
@click.argument("hall", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(hall: Path) -> None:
    """一个繁忙的上午 / a busy morning at the panels of a hall, as the file HALL describes it."""
    settings = json.loads(hall.read_text(encoding="utf-8"))
    morning = Morning(Hall(folder=hall.parent, **settings))
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: morning.call_off())
    morning.play()


if __name__ == "__main__":
    command()
