"""How many bytes of a line a core takes apart, for every profile: its own frames, noise, and what is meant to hurt."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import minimalmodbus

from protocols import profiles
from protocols.profiles import modbus
from tests.bench import limits, streams
from tests.bench.table import Bench, Line

_SECONDS = 0.15
REACH_MB = 5


def megabytes(feed: Callable[[bytes, int], Any], pieces: Sequence[bytes], seconds: float = _SECONDS) -> float:
    """MB (10⁶ bytes) a second through `feed`; time goes on, so that what waits for silence gets it."""
    size, done, now_ms, started = sum(map(len, pieces)), 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for piece in pieces:
            feed(piece, now_ms)
            now_ms += 100
        done += size
    return done / elapsed / 1e6


def decoding(name: str) -> dict[str, float]:
    """One profile's reader: own frames, noise, and the slowest of three kinds of hostile bytes."""
    profile = profiles.shipped(name)
    worst = min(megabytes(profile.reader().feed, pieces) for pieces in streams.hostile(profile).values())
    return {
        f"{name}_own": megabytes(profile.reader().feed, streams.own(profile)),
        f"{name}_noise": megabytes(profile.reader().feed, streams.noise(7)),
        f"{name}_hostile": worst,
    }


def decoders(_folder: Path) -> dict[str, float]:
    """Every profile that is read as bytes."""
    return {figure: value for name in streams.READ_AS_BYTES for figure, value in decoding(name).items()}


def searching(_folder: Path) -> dict[str, float]:
    """The least that a reader can do: look for a head, and look again behind it."""
    pieces = streams.own(profiles.shipped("qs4"))

    def find(piece: bytes, _now_ms: int) -> None:
        at = 0
        while (at := piece.find(b"\xff\x68", at) + 1) > 0:
            pass

    return {"find": megabytes(find, pieces)}


class _Played:
    """A panel that answers at once: key 3, not cleared."""

    is_open, baudrate, port, timeout = True, 4_000_000, "played", None

    def __init__(self) -> None:
        self._answer = bytes.fromhex("0103020003F845")

    def write(self, data: bytes) -> None:
        self._left = self._answer

    def read(self, size: int) -> bytes:
        read, self._left = self._left[:size], self._left[size:]
        return read

    def open(self) -> None: ...
    def close(self) -> None: ...
    def flush(self) -> None: ...
    def reset_input_buffer(self) -> None: ...
    def reset_output_buffer(self) -> None: ...


def modbus_polls(_folder: Path) -> dict[str, float]:
    """Polls a second: the library that makes and judges the frames, and what we make of the registers."""
    instrument = minimalmodbus.Instrument(_Played(), 1)
    keys = profiles.shipped("modbus-key").registers("1")
    shown = [modbus.Reading((value,), b"") for value in (0, 3)]
    now_ms = 0

    def look() -> None:
        nonlocal now_ms
        now_ms += 500
        keys.feed(shown[now_ms // 500 % 2], now_ms)

    return {
        "modbus_keys": limits.per_second(look, _SECONDS),
        "modbus_library": limits.per_second(lambda: instrument.read_registers(0, 1, 3), _SECONDS),
    }


BENCHES = (
    Bench(
        name="decoders",
        how="""每个配置的读取器, 每次 512 字节, 单核: 连续的按键帧; 随机字节; 恶意字节 (只有帧头, 长度不实,
校验不对) 中最慢的。

The reader of each profile, 512 bytes a read, one core: press frames back to back; random bytes; the slowest of three
kinds of hostile bytes (heads only, lengths that promise too much, wrong checksums).""",
        bounded_by="每一帧的 Python 对象 Python's objects for each frame",
        lines=tuple(
            Line(f"{name}_{kind}", f"{name}, {words}", "MB/s", at_least=REACH_MB)
            for name in streams.READ_AS_BYTES
            for kind, words in (("own", "按键帧 own presses"), ("noise", "随机 noise"), ("hostile", "恶意 hostile"))
        ),
        measure=decoders,
        limits=(Line("find", "只用 bytes.find 找帧头 a bare search for heads", "MB/s"),),
        limit=searching,
        seconds=9,
    ),
    Bench(
        name="modbus_polls",
        how="""modbus-key 没有字节流可读: 库收发一帧并验证 CRC, 我们只看寄存器。9600 波特时一次轮询约 40 ms。

There is no stream to take apart: the library makes a question and judges the answer's CRC, ours is what the registers
mean. At 9600 baud the line itself allows some 25 polls a second.""",
        bounded_by="minimalmodbus: 帧间停顿 1.75 ms, 逐字节 CRC its pause between frames, its CRC in Python",
        lines=(
            Line("modbus_keys", "寄存器 → 按键 registers → presses", "/s", at_least=1000),
            Line("modbus_library", "minimalmodbus, 无线路 without a line", "/s"),
        ),
        measure=modbus_polls,
        limits=(),
        limit=limits.nothing,
        seconds=0.5,
        repeats=2,
    ),
)
