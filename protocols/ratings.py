"""The nouns: what is pressed, what it means, and what a province says to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple


class Level(Enum):
    """How content a citizen is. Names only: which digit means which level is a key map's or a dialect's matter,
    because GB/T 39046 counts 1 = best and every provincial interface 5 = best."""

    VERY_SATISFIED = "very_satisfied"
    SATISFIED = "satisfied"
    BASICALLY_SATISFIED = "basically_satisfied"
    DISSATISFIED = "dissatisfied"
    VERY_DISSATISFIED = "very_dissatisfied"

    @property
    def bad(self) -> bool:
        """差评: the bottom two of the five."""
        return self in (Level.DISSATISFIED, Level.VERY_DISSATISFIED)

    @property
    def zh(self) -> str:
        """The national wording."""
        return _ZH[self]


_ZH = {
    Level.VERY_SATISFIED: "非常满意",
    Level.SATISFIED: "满意",
    Level.BASICALLY_SATISFIED: "基本满意",
    Level.DISSATISFIED: "不满意",
    Level.VERY_DISSATISFIED: "非常不满意",
}


class Moment(NamedTuple):
    """Now, as one machine sees it: wall clock, and the clock that nobody can set."""

    wall_ms: int
    mono_ms: int
    host_boot: str
    """Which start of the machine `mono_ms` counts from; monotonic times of two boots cannot be compared."""
    synced: bool | None = None
    """Whether the wall clock was being kept right by the network; None where the system cannot tell."""

    def ago(self, ms: int) -> Moment:
        """So long before. Before this start of the machine only the wall clock can tell: then it is of no start."""
        if ms > self.mono_ms:
            return self._replace(wall_ms=self.wall_ms - ms, mono_ms=0, host_boot="")
        return self._replace(wall_ms=self.wall_ms - ms, mono_ms=self.mono_ms - ms)


@dataclass(frozen=True, order=True, slots=True)
class PressId:
    """Which press of which device. Born where the press happens."""

    device: str
    boot: int
    count: int

    def __str__(self) -> str:
        return f"{self.device}-{self.boot}-{self.count}"


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a citizen rated so, said with the press on a page."""

    tags: tuple[str, ...] = ()
    """Codes of rating tags."""
    tags_version: int = 0
    """Which version of the tag list was shown; 0 where that is not known."""
    text: str = ""


NO_REASONS = Reasons()


@dataclass(frozen=True)
class Press:
    """A fact: a button went down. Never edited."""

    id: PressId
    button: int
    age_ms: int
    """How long before it was read the button went down; devices have no clock of day."""
    raw: bytes
    """The frame as it came."""
    unsure_ms: int = 0
    """How much older it may be than that: 0 from a device that says how old its presses are."""
    soon_ms: int = 0
    """Sooner after its invitation opened nobody can have made it: it answers an older one."""
    solicited: bool = False
    """Whether its device takes a key only after it was asked to."""
    shown: str | None = None
    """The invitation that its device showed when it was made, empty for none; None if the device does not say."""
    reasons: Reasons = NO_REASONS


Outcome = Literal["answered", "expired", "declined", "withdrawn", "device_failed"]
InvitationState = Literal["open", "answered", "expired", "declined", "withdrawn", "device_failed"]


@dataclass(frozen=True)
class Invitation:
    """The request to rate one service of one case at one window."""

    id: str
    window: str
    opened: Moment
    seconds: int
    case_no: str | None = None
    service_number: int = 1
    clerk: str | None = None
    state: InvitationState = "open"
    closed_ms: int | None = None
    added_s: int = 0
    """How much longer than promised it goes on, for somebody who is answering it: nothing for a clerk to see."""

    @property
    def deadline_ms(self) -> int:
        """As promised when it was opened."""
        return self.opened.wall_ms + self.seconds * 1000


Channel = Literal["window_keypad", "window_pad", "kiosk", "qr", "web", "mobile", "phone", "sms"]


@dataclass(frozen=True)
class Rating:
    """A press with its meaning."""

    press: PressId
    level: Level
    hall: str
    window: str
    pressed_ms: int
    channel: Channel = "window_keypad"
    invitation: str | None = None
    case_no: str | None = None
    service_number: int = 1
    clerk: str | None = None
    tags: tuple[str, ...] = ()
    text: str = ""

    @property
    def once(self) -> str:
        """What may be rated once: an invitation, or, at a walk-in window, a press."""
        return self.invitation or f"{self.press}@{self.pressed_ms}"


UnratableReason = Literal[
    "unsolicited",  # no invitation was open when the button went down
    "undatable",  # it may have been made before the invitation opened that was open when its bytes came
    "window_not_placed",  # the directory does not know this window of this agent
    "keys_not_confirmed",  # the directory has no key map for this device
    "button_not_mapped",  # the key map gives this button no level
    "awaiting_closing",  # the invitation's closing has not arrived yet
]


@dataclass(frozen=True)
class Unratable:
    """A press that means nothing yet, and why."""

    press: PressId
    reason: UnratableReason
    detail: str = ""


@dataclass(frozen=True)
class Case:
    """What a province wants beside the level: one service contact of one matter of one citizen.

    Names follow the public provincial records (projectNo, taskCode, …); codes are words here and become digits
    in a dialect's own tables, because provinces number them differently.
    """

    case_no: str
    service_number: int = 1
    service_name: str = ""
    service_ms: int | None = None
    case_name: str = ""
    status: Literal["", "pending", "accepted", "finished"] = ""
    case_type: Literal["", "immediate", "promised"] = ""
    item_code: str = ""
    """实施清单编码, 31 characters."""
    item_handle_code: str = ""
    """业务办理项编码, 33 characters; only where the item is one."""
    item_name: str = ""
    item_type: str = ""
    item_theme: str = ""
    area_code: str = ""
    """行政区划, 6 or 12 digits."""
    area_name: str = ""
    dept_code: str = ""
    """统一社会信用代码 of the department, 18 characters."""
    dept_name: str = ""
    channel: Literal["online", "offline"] = "offline"
    accepted_ms: int | None = None
    finished_ms: int | None = None
    clerk_name: str = ""
    applicant_type: Literal[
        "",
        "person",
        "enterprise",
        "institution",
        "social_organisation",
        "unincorporated",
        "government",
        "other",
    ] = ""
    applicant_name: str = ""
    certificate_type: Literal[
        "", "id_card", "uscc", "business_licence", "officer", "passport", "taiwan", "hk_macau", "other"
    ] = ""
    certificate_no: str = ""
    mobile: str = ""
    handler_name: str = ""
    handler_certificate_type: Literal[
        "", "id_card", "uscc", "business_licence", "officer", "passport", "taiwan", "hk_macau", "other"
    ] = ""
    handler_certificate_no: str = ""


# ---- what a province says


@dataclass(frozen=True)
class Request:
    """One HTTP call to a province, ready to go; without a body it is a GET."""

    url: str
    headers: dict[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Answer:
    """What came back, whatever it is."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By their names in lower case."""


@dataclass(frozen=True)
class Token:
    """What a province hands out for a while, to be shown with every call."""

    text: str
    until_ms: int


ParkReason = Literal[
    "no_case",  # the press came without a case number
    "lacking",  # fields of its case are missing, or not in a form that the province takes
    "item_not_mapped",  # the list of items does not have the hall's code
    "own_item",  # 自建事项, which this province does not take
    "bad_without_reason",  # a bad rating with neither tag nor text, which this province refuses
    "before_service",  # by the clocks it was given before its service
    "refused",  # the province said no, in its own words
    "case_refused",  # it said no to the case
    "case_unknown",  # it does not find the case, however often it was sent
    "locked",  # its details are hidden with a key that is not here
    "given_up",  # a person decided that it is not to be sent
    "damaged",  # a disk altered the rating, or its details
    "case_damaged",
]
"""Why a rating waits for a person; there are no others."""


@dataclass(frozen=True)
class Held:
    """A rating that a person has to look at before it is sent, and why."""

    reason: ParkReason
    detail: str = ""
    """Names of fields, codes, or for how long: never what somebody is called."""

    @property
    def waivable(self) -> bool:
        """Whether a person may have it sent as it is: then the province decides."""
        return self.reason in ("own_item", "bad_without_reason", "before_service")


@dataclass(frozen=True)
class Accepted:
    """The province has it."""

    duplicate: bool = False
    """It says that it had it already."""
    words: str = ""
    receipt: str = ""
    """Its number for it, where it gives one."""


@dataclass(frozen=True)
class Refused:
    """The province looked at it and said no, in its own words."""

    words: str
    case_unknown: bool = False
    """It does not have the case that this rating belongs to: send the case (again) first."""


@dataclass(frozen=True)
class Unavailable:
    """No answer that says anything about this rating. Nothing may be marked bad for it."""

    words: str
    token_stale: bool = False
    """The token is not taken any more: ask for another one, and again."""
    wait_s: int = 0
    """How long the province asks to be left alone."""


Verdict = Accepted | Refused | Unavailable
