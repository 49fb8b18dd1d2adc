"""Who presses what when, all of it from one seed; and the truth: what really was pressed, and what was thanked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from firmware_sim.panel import PressMade, PressRefused, PressThanked

# The simulated panels are labelled from the left, best first; which level a button means is the directory's matter.
BUTTONS = (1, 2, 3, 4, 5)
BUTTON_SHARES = (64, 18, 8, 6, 4)  # one in ten is bad, so that a short demo shows one
EARLY_MS = 400  # a line may hold a frame back for so long, and its press then seems to be that much younger
LATE_MS = 1_500  # a device's seconds are whole and start when it hears of them: it may still ask after the deadline
EDGE_MS = 500  # who asks when an invitation ended, the panel or the agent, may hear answers this far apart
LONGEST_PRESS_MS = 1_200  # in a demo nobody thinks for long
GAP_MS = 700  # between two services of a window; more than EDGE_MS, so that no press is near two invitations


# ---- the scenario


@dataclass(frozen=True)
class PressAt:
    """A finger on a button, so long after the invitation opened."""

    after_ms: int
    button: int


@dataclass(frozen=True)
class Service:
    """One citizen at one window: the invitation, and what is meant to come of it."""

    at_ms: int
    """When the invitation is opened, counted from the start of the scenario."""
    window: str
    case_no: str
    service_number: int
    seconds: int
    """How long the invitation stays open."""
    intended: Literal["pressed", "nobody", "withdrawn"]
    presses: tuple[PressAt, ...]
    """None unless `intended` is pressed; a second one is a repeat."""
    withdrawn_after_ms: int | None
    case_details: dict[str, Any]
    """By the names of the house's case record, without case number and service number."""
    case_arrives_after_ms: int
    """0: the case comes with the invitation; else that long after it."""

    @property
    def lacking(self) -> bool:
        """Whether the case lacks what a province insists on."""
        return "mobile" not in self.case_details

    @property
    def over_ms(self) -> int:
        """When nothing more is meant to happen for it at the window, counted from the start of the scenario."""
        if self.intended == "nobody":
            return self.at_ms + self.seconds * 1000
        return self.at_ms + max([self.withdrawn_after_ms or 0, *(press.after_ms for press in self.presses)])


@dataclass(frozen=True)
class Stray:
    """A press that nobody asked for: a child, a cleaning cloth."""

    at_ms: int
    window: str
    button: int


@dataclass(frozen=True)
class Step:
    """One thing for a runner to do: open or withdraw the invitation, deliver the case, or push a button."""

    at_ms: int
    kind: Literal["invite", "case", "withdraw", "press"]
    window: str
    service: Service | None
    """None for a stray press."""
    button: int = 0


@dataclass(frozen=True)
class Scenario:
    """What is meant to happen. The same seed and settings make the same one."""

    seed: int
    windows: tuple[str, ...]
    start_ms: int
    """The wall clock that the times within the case details count from."""
    services: tuple[Service, ...]
    strays: tuple[Stray, ...]

    def steps(self) -> list[Step]:
        """Everything to do, in the order of time. A case that comes with its invitation has no step of its own."""
        steps = [Step(stray.at_ms, "press", stray.window, None, stray.button) for stray in self.strays]
        for service in self.services:
            steps += _steps(service)
        return sorted(steps, key=lambda step: step.at_ms)


def _steps(service: Service) -> Iterable[Step]:
    yield Step(service.at_ms, "invite", service.window, service)
    if service.case_arrives_after_ms:
        yield Step(service.at_ms + service.case_arrives_after_ms, "case", service.window, service)
    if service.withdrawn_after_ms is not None:
        yield Step(service.at_ms + service.withdrawn_after_ms, "withdraw", service.window, service)
    for press in service.presses:
        yield Step(service.at_ms + press.after_ms, "press", service.window, service, press.button)


@dataclass(frozen=True)
class Habits:
    """How people behave; shares from 0 to 1."""

    nobody: float = 0.06
    withdrawn: float = 0.05
    second_press: float = 0.05
    stray: float = 0.04
    case_late: float = 0.06
    case_lacking: float = 0.02
    seconds: int = 8
    """Of an invitation that is going to be answered or withdrawn."""
    seconds_nobody: int = 2
    """Of one that is not; short, so that a demo does not wait for nothing."""


def busy_morning(
    seed: int,
    windows: Iterable[str],
    seconds: int,
    per_window_per_s: float = 0.5,
    *,
    start_ms: int = 0,
    habits: Habits | None = None,
) -> Scenario:
    """Citizens one after the other at every window for so many seconds, about so many per window and second."""
    places = tuple(windows)
    services: list[Service] = []
    strays: list[Stray] = []
    cases = _Cases(seed, start_ms)
    for window in places:
        # One source of chance per window: another window more does not change what happens at this one.
        rng = Random(f"{seed}/{window}")
        morning = _Morning(window, rng, habits or Habits(), cases)
        morning.run(seconds * 1000, 1000 / per_window_per_s)
        services += morning.services
        strays += morning.strays
    services.sort(key=lambda service: (service.at_ms, service.window))
    return Scenario(seed, places, start_ms, tuple(services), tuple(strays))


class _Morning:
    """One window's morning, made service by service."""

    def __init__(self, window: str, rng: Random, habits: Habits, cases: _Cases):
        self.services: list[Service] = []
        self.strays: list[Stray] = []
        self._window, self._rng, self._habits, self._cases = window, rng, habits, cases

    def run(self, until_ms: int, every_ms: float) -> None:
        planned_ms = self._rng.random() * every_ms
        free_ms = 0
        while (at_ms := int(max(planned_ms, free_ms))) < until_ms:
            service = self._service(at_ms)
            self.services.append(service)
            free_ms = service.over_ms + GAP_MS
            if self._rng.random() < self._habits.stray:
                # Well after the end of the invitation: this one is unsolicited whoever is asked.
                stray_ms = service.over_ms + LATE_MS + GAP_MS
                self.strays.append(Stray(stray_ms, self._window, self._rng.choice(BUTTONS)))
                free_ms = stray_ms + EDGE_MS + GAP_MS
            # Planned, not added up: what a long service delays is caught up with the next ones.
            planned_ms += every_ms * self._rng.uniform(0.5, 1.5)

    def _service(self, at_ms: int) -> Service:
        rng, habits = self._rng, self._habits
        chance = rng.random()
        presses: tuple[PressAt, ...] = ()
        withdrawn_after_ms = None
        seconds = habits.seconds
        intended: Literal["pressed", "nobody", "withdrawn"] = "pressed"
        if chance < habits.nobody:
            intended, seconds = "nobody", habits.seconds_nobody
        elif chance < habits.nobody + habits.withdrawn:
            intended, withdrawn_after_ms = "withdrawn", rng.randint(300, LONGEST_PRESS_MS)
        else:
            presses = self._presses()
        case_no, details = self._cases.make(at_ms, rng, lacking=rng.random() < habits.case_lacking)
        return Service(
            at_ms=at_ms,
            window=self._window,
            case_no=case_no,
            service_number=rng.choices((1, 2, 3), (70, 10, 20))[0],
            seconds=seconds,
            intended=intended,
            presses=presses,
            withdrawn_after_ms=withdrawn_after_ms,
            case_details=details,
            case_arrives_after_ms=rng.randint(1_000, 5_000) if rng.random() < habits.case_late else 0,
        )

    def _presses(self) -> tuple[PressAt, ...]:
        first = PressAt(self._rng.randint(300, LONGEST_PRESS_MS), self._button())
        if self._rng.random() >= self._habits.second_press:
            return (first,)
        return first, PressAt(first.after_ms + self._rng.randint(500, 1_000), self._button())

    def _button(self) -> int:
        return self._rng.choices(BUTTONS, BUTTON_SHARES)[0]


# ---- cases: nobody and nothing in them exists

_DEPARTMENT = "11369900DEMO00001X"
_ITEMS = (  # item code: the department's and 13 digits more; then name, type, theme
    (f"{_DEPARTMENT}2369911234501", "城乡居民基本医疗保险参保登记（演示）", "20", "社会保障"),
    (f"{_DEPARTMENT}1369911234502", "个体工商户设立登记（演示）", "01", "设立变更"),
    (f"{_DEPARTMENT}2369911234503", "不动产权属证明查询（演示）", "20", "住房保障"),
    (f"{_DEPARTMENT}1369911234504", "户口迁移审批（演示）", "07", "户籍办理"),
    (f"{_DEPARTMENT}5369911234505", "老年人优待证办理（演示）", "05", "老年人服务"),
)
_SURNAMES = "甲乙丙丁戊己庚辛壬癸"
_CLERKS = ("演示员一", "演示员二", "演示员三", "演示员四")
_SERVICES = {"accepted": "提交申请信息", "finished": "业务办结"}


class _Cases:
    """Makes cases that no other run with another seed makes."""

    def __init__(self, seed: int, start_ms: int):
        self._seed, self._start_ms, self._made = seed, start_ms, 0

    def make(self, at_ms: int, rng: Random, lacking: bool) -> tuple[str, dict[str, Any]]:
        """A case number and the details of a case whose service came shortly before `at_ms`."""
        self._made += 1
        service_ms = self._start_ms + at_ms - rng.randint(30_000, 600_000)
        item, name, item_type, theme = rng.choice(_ITEMS)
        citizen = f"{rng.choice(_SURNAMES)}某{self._made:04d}"
        status = rng.choice(("accepted", "finished"))
        details = {
            "service_name": _SERVICES[status],
            "service_ms": service_ms,
            "case_name": f"关于{citizen}的{name}",
            "status": status,
            "case_type": rng.choice(("immediate", "promised")),
            "item_code": item,
            "item_name": name,
            "item_type": item_type,
            "item_theme": theme,
            "area_code": "369900000000",
            "dept_code": _DEPARTMENT,
            "dept_name": "演示市政务服务局",
            "channel": "offline",
            "accepted_ms": service_ms - rng.randint(0, 3 * 86_400_000),
            "clerk_name": rng.choice(_CLERKS),
            "applicant_type": "person",
            "applicant_name": citizen,
            "certificate_type": "id_card",
            "certificate_no": id_number(rng),
            "mobile": f"1990000{rng.randrange(10_000):04d}",
        }
        if status == "finished":
            details["finished_ms"] = service_ms
        if lacking:
            del details["mobile"]
        return f"YS{self._seed:06d}N{self._made:05d}", details


def id_number(rng: Random) -> str:
    """An identity number with a right check digit, of a place that does not exist."""
    digits = f"999999{rng.randint(1940, 2007)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.randrange(1000):03d}"
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits))
    return digits + "10X98765432"[total % 11]


# ---- the truth


@dataclass(frozen=True)
class Pressed:
    """A press as the truth has it, and when its citizen was thanked, if ever."""

    device: str
    boot: int
    count: int
    button: int
    at_ms: int
    thanked_ms: int | None


@dataclass(frozen=True)
class Fate:
    """What really happened in one invitation, and what the province may therefore have of it."""

    window: str
    case_no: str
    service_number: int
    intended: str
    lacking: bool
    """The case lacks what the province insists on: its rating is parked, not sent."""
    presses: tuple[Pressed, ...]
    """Made while the invitation was or may have been open, in order."""
    certain: bool
    """A citizen was thanked for a press that lies well within the invitation: there must be a rating."""
    buttons: frozenset[int]
    """What that rating may say; empty where there must be none."""

    def mistake(self, ratings: Iterable[int]) -> str | None:
        """What is wrong with these ratings of the case, given as buttons; None if they keep the promise."""
        given = list(ratings)
        if len(given) > 1:
            return f"doubled: {given}"
        if given and not self.buttons:
            return f"invented: {given[0]}"
        if given and given[0] not in self.buttons:
            return f"altered: {given[0]}, pressed {sorted(self.buttons)}"
        if self.certain and not given:
            return f"lost: thanked for one of {sorted(self.buttons)}"
        return None


class Truth:
    """What was really pressed and thanked, per invitation. Knows nothing of agents, collectors and provinces.

    Each of `opened`, `withdrawn` and `hear` returns the row to append to a file as a JSON line; `Truth.read` makes
    the same truth from such lines, in whatever order and from however many files. All times are on one clock.
    """

    def __init__(self) -> None:
        self._opened: dict[str, list[dict[str, Any]]] = {}
        self._withdrawn: dict[str, list[int]] = {}
        self._pressed: dict[str, list[PressMade]] = {}
        self._thanked: dict[tuple[str, int, int], int] = {}

    @classmethod
    def read(cls, lines: Iterable[str]) -> Truth:
        """The truth that wrote these lines."""
        truth = cls()
        for line in lines:
            truth._learn(json.loads(line))
        return truth

    def opened(self, service: Service, asked_ms: int, opened_ms: int, invitation: str = "") -> str:
        """The invitation for this service was asked for, and was surely open from `opened_ms` on."""
        return self._learn(
            {
                "what": "opened",
                "window": service.window,
                "asked_ms": asked_ms,
                "opened_ms": opened_ms,
                "seconds": service.seconds,
                "case_no": service.case_no,
                "service_number": service.service_number,
                "intended": service.intended,
                "lacking": service.lacking,
                "invitation": invitation,
            }
        )

    def withdrawn(self, window: str, at_ms: int) -> str:
        """The window's invitation was taken back."""
        return self._learn({"what": "withdrawn", "window": window, "at_ms": at_ms})

    def hear(self, window: str, event: object) -> str:
        """Something happened to the window's panel."""
        match event:
            case PressMade():
                row = {"what": "pressed", "window": window, **vars(event)}
            case PressThanked(press, at_ms):
                row = {"what": "thanked", "window": window, **vars(press), "thanked_ms": at_ms}
            case PressRefused(press, at_ms):
                row = {"what": "refused", "window": window, **vars(press), "refused_ms": at_ms}
            case _:
                # Reboots, refused keys and pulled cables explain a run; they do not change what must come of it.
                row = {"what": type(event).__name__.lower(), "window": window, "at_ms": getattr(event, "at_ms", None)}
        return self._learn(row)

    def fates(self) -> list[Fate]:
        """Of each invitation ever opened, in the order of opening per window."""
        return [self._fate(*span) for window in self._opened for span in self._spans(window)]

    def unsolicited(self) -> list[Pressed]:
        """Presses that cannot belong to any invitation."""
        claimed = {(p.device, p.boot, p.count) for fate in self.fates() for p in fate.presses}
        made = [press for window in self._pressed.values() for press in window]
        return [self._with_thanks(press) for press in made if _id(press) not in claimed]

    def pressed(self) -> set[tuple[str, int, int]]:
        """(device, boot, count) of every press ever made: nothing else may be in the ledger."""
        return {_id(press) for window in self._pressed.values() for press in window}

    def thanked(self) -> set[tuple[str, int, int]]:
        """(device, boot, count) of every press that was thanked: each of them must be in the ledger, once."""
        return set(self._thanked)

    # ---- inside

    def _learn(self, row: dict[str, Any]) -> str:
        match row["what"]:
            case "opened":
                self._opened.setdefault(row["window"], []).append(row)
            case "withdrawn":
                self._withdrawn.setdefault(row["window"], []).append(row["at_ms"])
            case "pressed":
                self._pressed.setdefault(row["window"], []).append(_press(row))
            case "thanked":
                self._thanked[_id(_press(row))] = row["thanked_ms"]
        return json.dumps(row, ensure_ascii=False)

    def _spans(self, window: str) -> Iterable[tuple[dict[str, Any], int, int]]:
        """Each invitation of the window, until when it was surely open, and until when it may have been."""
        rows = sorted(self._opened[window], key=lambda row: row["asked_ms"])
        ends = [*(row["asked_ms"] for row in rows), *self._withdrawn.get(window, [])]
        for row in rows:
            # It opened somewhere between the question and the answer, and its seconds ran from there.
            earliest_ms = row["asked_ms"] + row["seconds"] * 1000
            latest_ms = row["opened_ms"] + row["seconds"] * 1000 + LATE_MS
            cut = [end for end in ends if end > row["asked_ms"]]
            yield row, min([earliest_ms, *cut]) - EDGE_MS, min([latest_ms, *(end + EDGE_MS for end in cut)])

    def _fate(self, row: dict[str, Any], sure_ms: int, possible_ms: int) -> Fate:
        made = sorted(self._pressed.get(row["window"], []), key=lambda press: press.at_ms)
        presses = [self._with_thanks(p) for p in made if row["asked_ms"] - EARLY_MS <= p.at_ms < possible_ms]
        buttons: set[int] = set()
        certain = False
        for press in presses:
            buttons.add(press.button)
            # A press that was not thanked may have been lost with the panel's memory, or only its thanks were; one
            # near an end may be outside for the agent. The first without such doubts ends the guessing.
            if row["opened_ms"] <= press.at_ms <= sure_ms and press.thanked_ms is not None:
                certain = True
                break
        return Fate(
            window=row["window"],
            case_no=row["case_no"],
            service_number=row["service_number"],
            intended=row["intended"],
            lacking=row["lacking"],
            presses=tuple(presses),
            certain=certain,
            buttons=frozenset(buttons),
        )

    def _with_thanks(self, press: PressMade) -> Pressed:
        thanked_ms = self._thanked.get(_id(press))
        return Pressed(press.device, press.boot, press.count, press.button, press.at_ms, thanked_ms)


def _press(row: dict[str, Any]) -> PressMade:
    return PressMade(row["device"], row["boot"], row["count"], row["button"], row["at_ms"], row["invited"])


def _id(press: PressMade) -> tuple[str, int, int]:
    return press.device, press.boot, press.count
