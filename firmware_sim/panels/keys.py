"""Panels that say a key and nothing else: a raw byte, or a digit with something around it. Generic; always on."""

from __future__ import annotations

from collections.abc import Sequence

from firmware_sim.faults import Wire
from firmware_sim.panel import PressMade
from firmware_sim.panels.base import ButtonPanel

DOWN_MS = 120  # how long a finger stays on a button


class KeyPanel(ButtonPanel):
    """What the two have in common. It takes every key at any time, does not debounce, and repeats a held key.

    `opens_on`: bytes from the host that start its own clock; if then nobody presses for `asks_ms`, it says `time_out`.
    """

    wire = Wire()
    _runs_out_ms: int | None = None

    def __init__(
        self,
        device: str = "",
        on_ms: int = 0,
        *,
        boot: int = 1,
        buttons: Sequence[int] = (1, 2, 3, 4, 5, 6),
        release: bool = False,
        opens_on: bytes = b"",
        time_out: int | None = None,
        asks_ms: int = 10_000,
        debounced: bool = False,
    ):
        self._release = release
        self._opens_on = opens_on
        self._time_out = time_out
        self._asks_ms = asks_ms
        super().__init__(device, on_ms, boot=boot, buttons=buttons, debounced=debounced)

    def repeat(self, button: int, now_ms: int) -> None:
        self._say(self._code(button), now_ms)

    def feed(self, data: bytes, now_ms: int) -> None:
        if self._opens_on and self._opens_on in data:
            self._ask(now_ms + self._asks_ms)
            self._runs_out_ms = now_ms + self._asks_ms

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._runs_out_ms = None

    def _pressed(self, press: PressMade) -> None:
        self._ask(press.at_ms)
        self._runs_out_ms = None
        self._say(self._code(press.button), press.at_ms)
        if self._release:
            self._say(self._code(press.button, up=True), press.at_ms + DOWN_MS)

    def _pass(self, now_ms: int) -> None:
        if self._runs_out_ms is not None and self._runs_out_ms <= now_ms:
            self._runs_out_ms = None
            if self._time_out is not None:
                self._say(self._code(self._time_out), now_ms)

    def _wakes_ms(self) -> int | None:
        return self._runs_out_ms

    def _code(self, key: int, up: bool = False) -> bytes:
        raise NotImplementedError


class KeyBytePanel(KeyPanel):
    """One raw byte for each key; with `release`, the byte with its highest bit set when the finger leaves."""

    def _code(self, key: int, up: bool = False) -> bytes:
        return bytes([key | 0x80 if up else key])


class KeyAsciiPanel(KeyPanel):
    """A digit between `prefix` and `suffix`; a released key is the same with its highest bit set, as `31`/`B1`."""

    def __init__(
        self,
        device: str = "",
        on_ms: int = 0,
        *,
        boot: int = 1,
        buttons: Sequence[int] = (1, 2, 3, 4, 5, 6),
        release: bool = False,
        prefix: bytes = b"",
        suffix: bytes = b"",
        opens_on: bytes = b"",
        time_out: int | None = None,
        asks_ms: int = 10_000,
        debounced: bool = False,
    ):
        self._prefix = prefix
        self._suffix = suffix
        super().__init__(
            device,
            on_ms,
            boot=boot,
            buttons=buttons,
            release=release,
            opens_on=opens_on,
            time_out=time_out,
            asks_ms=asks_ms,
            debounced=debounced,
        )

    def _code(self, key: int, up: bool = False) -> bytes:
        digit = ord("0") + key
        return self._prefix + bytes([digit | 0x80 if up else digit]) + self._suffix
