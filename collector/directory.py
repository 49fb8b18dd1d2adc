"""Who stands where: window of an agent → hall and number; device → which button means which level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols import profiles, settings, tags
from protocols.errors import BadSettings
from protocols.messages import PressRecord
from protocols.ratings import Channel, Level
from protocols.settings import DeviceId, Name

LevelName = Literal["very_satisfied", "satisfied", "basically_satisfied", "dissatisfied", "very_dissatisfied"]
Reason = Annotated[
    str,
    Meta(
        pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,48}[^\s\x00-\x1f\x7f])?\Z",
        description="加引号的评价标签编号或最多 50 个字的原话, 首尾无空格"
        " / a tag's code in quotes, or at most 50 characters of words without blanks around them",
    ),
]


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: LevelName
    reason: Reason | None = None


class _Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    agent: Name
    window: Name
    hall: Annotated[str, Meta(min_length=1, max_length=64)]
    number: Annotated[str, Meta(min_length=1, max_length=32)]
    device: DeviceId
    keys: dict[Annotated[str, Meta(pattern=r"^[0-9]{1,3}\Z")], LevelName | _Key] = {}
    channel: Channel = "window_keypad"
    walk_in: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    windows: list[_Window]


@dataclass(frozen=True)
class Place:
    """A window of a hall."""

    agent: str
    window: str
    """What the agent calls it."""
    hall: str
    number: str
    """What is written above it."""
    device: str
    channel: Channel
    walk_in: bool


@dataclass(frozen=True)
class Key:
    """What a button of a device stands for: a level, and on some devices the reason too."""

    level: Level
    tags: tuple[str, ...] = ()
    """Codes of the national rating tags."""
    text: str = ""
    """The words on the button, where they are no tag."""


@dataclass(frozen=True)
class Directory:
    """Everything that is placed. `places` by agent and window, `keys` by device and button."""

    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    keys: dict[str, dict[int, Key]] = field(default_factory=dict)

    def meanings(self, press: PressRecord) -> dict[int, Key]:
        """What the buttons of this press's device mean; empty where nobody has confirmed it."""
        return self.keys_of(press.device, press.profile)

    def keys_of(self, device: str, profile: str) -> dict[int, Key]:
        """What the buttons of this device mean, which is taken for this profile."""
        return _PAGE_KEYS if profile == PAGE else self.keys.get(device, {})

    @property
    def agents(self) -> set[str]:
        """The agents that may speak."""
        return {agent for agent, _ in self.places if not agent.startswith(CLIENT)}

    def with_clients(self, clients: Iterable[tuple[str, Iterable[Channel]]]) -> Directory:
        """The same, and the systems that hand over ratings of other channels: each is the device of its own, whose
        buttons are the levels, and each of its channels is a window of it."""
        places, keys = dict(self.places), dict(self.keys)
        for name, channels in clients:
            agent = CLIENT + name
            keys[agent] = {button: Key(level) for level, button in BUTTONS.items()}
            for channel in channels:
                places[agent, channel] = Place(agent, channel, "", "", agent, channel, False)
        return Directory(places, keys)


PAGE = "page"
"""The profile of our own rating page: its keys are the levels, wherever it stands."""
_PAGE_KEYS = {button: Key(level) for button, level in profiles.shipped(PAGE).levels.items()}
CLIENT = "api."
"""How the agent is called that stands for a system of another channel; no real agent is."""
BUTTONS = {level: number for number, level in enumerate(reversed(Level), 1)}
"""Which button stands for which level in such a record: 5 for the best."""


def read(raw: bytes, file: str) -> Directory:
    """The directory in this TOML text; BadSettings names every mistake in it."""
    found = settings.read(raw, _File, file).windows
    mistakes = list(_mistakes(found))
    if mistakes:
        raise BadSettings([f"{file}: {mistake}" for mistake in mistakes])
    return Directory(
        {(each.agent, each.window): _place(each) for each in found},
        {each.device: {int(button): _key(said) for button, said in each.keys.items()} for each in found},
    )


def _mistakes(windows: list[_Window]) -> Iterator[str]:
    places: dict[tuple[str, str], int] = {}
    devices: dict[str, int] = {}
    for at, each in enumerate(windows, 1):
        where = f"windows[{at}]"
        above = places.setdefault((each.agent, each.window), at)
        if above != at:
            yield f"{where}: {each.agent}/{each.window} 已在 windows[{above}] 出现 / stands in windows[{above}] already"
        above = devices.setdefault(each.device, at)
        if above != at:
            yield f"{where}.device: {each.device} 已在 windows[{above}] 出现 / stands in windows[{above}] already"
        if each.agent.startswith(CLIENT):
            yield f"{where}.agent: {CLIENT}… 留给其他渠道的系统 / is kept for systems of other channels"
        if each.agent == "collector":
            yield f"{where}.agent: collector 是汇聚器自己的名字 / is the collector's own name"
        if len({int(button) for button in each.keys}) < len(each.keys):
            yield f"{where}.keys: 同一按键写了两次 / a button is given twice: {', '.join(each.keys)}"
        for button, said in each.keys.items():
            wrong = _reason_mistake(said) if isinstance(said, _Key) else ""
            if wrong:
                yield f"{where}.keys.{button}.reason: {wrong}"


def _reason_mistake(key: _Key) -> str:
    if key.reason is None or not tags.is_code(key.reason):
        return ""
    tag = tags.TAGS.get(key.reason)
    if tag is None:
        return (
            f"{key.reason!r} 不在第 {tags.VERSION} 版评价标签中 / is no rating tag of version {tags.VERSION};"
            f" {Level(key.level).zh}: {_tags_of(Level(key.level))}"
        )
    if tag.level is not Level(key.level):
        return (
            f"{key.reason!r} {tag.text} 属于{tag.level.zh}, 不属于{Level(key.level).zh}"
            f" / belongs to {tag.level.value}, not to {key.level}"
        )
    return ""


def _tags_of(level: Level) -> str:
    return ", ".join(f"{tag.code} {tag.text}" for tag in tags.TAGS.values() if tag.level is level)


def _key(said: LevelName | _Key) -> Key:
    if not isinstance(said, _Key):
        return Key(Level(said))
    if said.reason is None:
        return Key(Level(said.level))
    if tags.is_code(said.reason):
        return Key(Level(said.level), tags=(said.reason,))
    return Key(Level(said.level), text=said.reason)


def _place(window: _Window) -> Place:
    return Place(window.agent, window.window, window.hall, window.number, window.device, window.channel, window.walk_in)
