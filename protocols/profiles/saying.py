"""What we say to a device, in its own bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .framing import Frames
from .vocabulary import CommandName, Says, Shape, TextForm


@dataclass(frozen=True)
class Values:
    """What a command can carry."""

    seconds: int = 30
    stars: int = 5
    volume: int = 5
    text: str = ""
    id: str = ""


@dataclass(frozen=True)
class Voice:
    """Every command of a profile."""

    commands: dict[CommandName, Says]
    frames: Frames | None
    text: TextForm

    def say(self, name: CommandName, address: int, values: Values) -> bytes:
        """The bytes that say this; empty if the device has no word for it."""
        how = self.commands.get(name)
        if how is None:
            return b""
        if how.text is not None:
            return _text(how.text, values).encode(self.text.encoding, "replace")
        if how.bytes is not None:
            return self._filled(how.bytes, values)
        if how.command is None or self.frames is None:
            return b""
        data = self._filled(how.data, values) if how.data else b""
        return self.frames.build(bytes.fromhex(how.command), data, address)

    def _filled(self, template: str, values: Values) -> bytes:
        return b"".join(self._part(part, values) for part in template.split(" "))

    def _part(self, part: str, values: Values) -> bytes:
        match part:
            case "{seconds}":
                return bytes([min(max(values.seconds, 1), 254)])
            case "{stars}":
                return bytes([min(max(values.stars, 0), 5)])
            case "{volume}":
                return bytes([min(max(values.volume, 0), 10)])
            case "{text}":
                return _fixed(values.text, self.text)
            case _:
                return bytes.fromhex(part)


def voice_of(shape: Shape, frames: Frames | None) -> Voice:
    """The commands of this profile; ValueError says which of them cannot be said."""
    voice = Voice(dict(shape.commands), frames, shape.text)
    for name, how in shape.commands.items():
        ways = [way for way in (how.command, how.bytes, how.text, how.register) if way is not None]
        if len(ways) != 1:
            raise ValueError(
                f"commands.{name}: command, bytes, text, register 应填其中一个"
                " / give one of: command, bytes, text, register"
            )
        if how.data is not None and how.command is None:
            raise ValueError(f"commands.{name}: data 只与 command 同用 / data goes with command")
        if "{text}" in (how.data or "") and not shape.text.width:
            raise ValueError(f"commands.{name}: 帧里的 {{text}} 要有 text.width / {{text}} in a frame needs text.width")
        if how.command is not None and frames is None:
            raise ValueError(f"commands.{name}: command 需要 [frame] / command needs [frame]")
        if how.register is not None and shape.modbus is None:
            raise ValueError(f"commands.{name}: register 需要 [modbus] / register needs [modbus]")
        try:
            voice.say(name, 0, Values())
        except ValueError as error:
            raise ValueError(f"commands.{name}: {error}") from error
    return voice


_PLACES = re.compile(r"\{(seconds|stars|volume|text|id)\}")


def _text(template: str, values: Values) -> str:
    # Not str.format: a profile comes from anywhere, and format reaches into attributes.
    return _PLACES.sub(lambda found: str(getattr(values, found[1])), template)


def _fixed(text: str, form: TextForm) -> bytes:
    """The text at the device's width, never cut inside a character."""
    if not form.width:
        return text.encode(form.encoding, "replace")
    kept = b""
    for character in text:
        more = character.encode(form.encoding, "replace")
        if len(kept) + len(more) > form.width:
            break
        kept += more
    return kept.ljust(form.width, b" ")
