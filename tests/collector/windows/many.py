"""A ledger with as many windows as a province has, written as the intake would write it, and kept changing."""

from __future__ import annotations

import random
from pathlib import Path

from collector.directory import Directory, Key, Place
from collector.ledger.tally import begins_ms, day_of
from protocols.messages import AgentStatus, ClosingRecord, Health, PressRecord, WindowHealth
from protocols.ratings import Level
from tests.collector.agents import Agent, closing, press
from tests.collector.ledgers import Ledger

KEYS = {button: Key(level) for button, level in enumerate(reversed(Level), 1)}
_TROUBLES = ("cable_out", "device_silent", "refusing", "away", "backlog", "clock", "alarm")
_HALLS = ("市民中心", "政务服务大厅", "社保大厅", "不动产登记大厅", "公安出入境大厅", "税务服务厅")


def directory(windows: int) -> Directory:
    """So many windows, twenty in a hall, each with a window PC of its own; the last of every hundred has no key map."""
    places, keys = {}, {}
    for n in range(windows):
        hall, number = divmod(n, 20)
        agent, device = f"pc-{hall:03}-{number + 1:02}", f"D{n:05}"
        name = f"{_HALLS[hall % len(_HALLS)]}{hall + 1:03}"
        places[agent, "1"] = Place(agent, "1", name, f"{number + 1}号", device, "window_keypad", False)
        keys[device] = {} if n % 100 == 99 else KEYS
    return Directory(places, keys)


class Province:
    """All of its windows. `agents` of the directory in order; times are right by `now_ms`."""

    def __init__(self, folder: Path, windows: int, now_ms: int, seed: int = 1):
        self.directory = directory(windows)
        self.ledger = Ledger(folder / "ledger.db", self.directory)
        self.places = [*self.directory.places.values()]
        self.agents = {place.agent: Agent(place.agent, _epoch(n)) for n, place in enumerate(self.places)}
        self.chance = random.Random(seed)
        self._number = 0
        with self.ledger.intake.together():
            for place in self.places:
                troubled = self.chance.random() < 0.02
                self.say(place, now_ms, self.chance.choice(_TROUBLES) if troubled else "ready")

    def say(self, place: Place, now_ms: int, how: str, since_ms: int | None = None) -> None:
        """This agent says how its window is."""
        away, backlog = how == "away", how == "backlog"
        state = how if how in ("cable_out", "device_silent", "refusing", "inviting") else "ready"
        since_ms = since_ms or now_ms - self.chance.randrange(60_000, 7_200_000)
        at_ms = now_ms - (180_000 if how == "clock" else 0)
        window = WindowHealth(
            "1",
            state,  # type: ignore[arg-type]
            since_ms=since_ms - now_ms + at_ms,
            device=place.device,
            boot=1,
            count=40,
            profile="house",
            evidence="own",
        )
        health = Health(
            at_ms,
            self.agents[place.agent].epoch,
            [window],
            backlog=214 if backlog else 0,
            oldest_ms=now_ms - 7_200_000 if backlog else None,
            alarm="办件信息已损坏, 请重新提交 / case details spoilt: post them again" if how == "alarm" else "",
        )
        self.ledger.intake.note_status(place.agent, AgentStatus(not away, "1.0", health.epoch, since_ms), now_ms)
        self.ledger.intake.note_health(place.agent, health, now_ms)

    def rate(self, place: Place, at_ms: int, button: int = 5, outcome: str = "answered") -> None:
        """One case at this window is closed, with a press if it was answered."""
        self._number += 1
        n, agent = self._number, self.agents[place.agent]
        records: list[PressRecord | ClosingRecord] = []
        if outcome == "answered":
            records.append(
                press(n, f"i{n}", window="1", device=place.device, button=button, pressed_ms=at_ms, kept_ms=at_ms + 3)
            )
        ends = {"opened_ms": at_ms - 9000, "deadline_ms": at_ms + 21_000, "closed_ms": at_ms + 4}
        records.append(closing(f"i{n}", f"C{n}", window="1", outcome=outcome, **ends))
        self.ledger.take(agent, agent.write(*records), at_ms + 200)

    def morning(self, ratings: int, now_ms: int) -> None:
        """So many ratings of today, and cases that ended without one."""
        begins = begins_ms(day_of(now_ms))
        with self.ledger.intake.together():
            for at_ms in sorted(self.chance.randrange(begins, now_ms) for _ in range(ratings)):
                place = self.chance.choice(self.places)
                level = self.chance.choices((5, 4, 3, 2, 1), (80, 14, 3, 2, 1))[0]
                self.rate(place, at_ms, level)


def _epoch(n: int) -> str:
    return f"{n:08x}-0000-7000-8000-000000000000"
