"""Random bytes at the readers and at a whole cable: how many are taken for a press, and how many for a rating."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path

from edge_agent.cable import Cable
from edge_agent.outbox import Outbox
from edge_agent.window import Window
from protocols import profiles
from protocols.profiles.events import Pressed
from protocols.profiles.framing import crc16
from protocols.profiles.vocabulary import Check
from protocols.ratings import Invitation, Moment
from tests.bench import limits, streams
from tests.bench.table import Bench, Line

BYTES = 10**8
CABLE_BYTES = 10**8
SEED = 39046
_READ = 1 << 14
_WALL_MS = 1_790_000_000_000
_EVERY_MS = 50  # between two reads
_SECONDS = 3600
_MODBUS = Check("crc16", [])

EXPECTED = {
    # FF 68, two lengths, 68, function, sum, 16 have to be right, and the key one of four; the address may be any.
    "qs4": 4 / 256**9,
    # 55 AA, two of length, two of command, check, 55 AA, and the key one of four.
    "taxi905": 4 / 256**10,
    # The shortest press: sixteen characters and digits of the CRC, a name of one letter, four numbers of one digit.
    "house": 64 * 10**4 / 256**21,
    # Address, function, size, a high byte of 0, two of CRC, and the key one of six.
    "modbus": 6 / 256**7,
}
"""Phantom presses for each byte of noise, in theory."""


def phantom_presses(name: str, pieces: Iterable[bytes]) -> int:
    """How many presses the reader makes of noise."""
    reader, found = profiles.shipped(name).reader(), 0
    for now_ms, piece in enumerate(pieces):
        found += sum(isinstance(each.event, Pressed) for each in reader.feed(piece, now_ms))
    return found


def phantom_answers(pieces: Iterable[bytes]) -> int:
    """How many seven bytes of noise are a Modbus answer with a key: address 1, function 3, one register, CRC right.

    Looked for at every place, which is more than a poll does: it looks once, behind its question.
    """
    found, held = 0, b""
    for piece in pieces:
        held += piece
        at = held.find(b"\x01\x03\x02")
        while 0 <= at <= len(held) - 7:
            answer = held[at : at + 7]
            right = crc16(answer[:5], _MODBUS) == int.from_bytes(answer[5:], "little")
            found += right and 1 <= int.from_bytes(answer[3:5], "big") <= 6
            at = held.find(b"\x01\x03\x02", at + 1)
        held = held[-6:]
    return found


def rated(name: str, pieces: Iterable[bytes], invited: bool, folder: Path) -> tuple[int, int]:
    """How many presses are kept, and how many of them are ratings, when noise goes through a cable, its window and the
    outbox; with an invitation always open, or never."""
    profile = profiles.shipped(name)
    now_ms = 0

    def moment() -> Moment:
        return Moment(_WALL_MS + now_ms, now_ms + 10**7, "boot-1", None)

    outbox = Outbox(folder / f"{name}-{invited}.db", "hall-pc-1", _WALL_MS)
    try:
        window = Window("1", "D0217", outbox, moment(), profile=profile, address=5)
        cable = Cable(profile, (window,), moment())
        cable.plugged(moment())
        for number, piece in enumerate(pieces):
            now_ms += _EVERY_MS
            if invited and outbox.open_id("1") is None:
                outbox.open_invitation(Invitation(f"asked-{number}", "1", moment(), _SECONDS))
            cable.feed(piece, moment())
            cable.tick(moment())
        records = [json.loads(each["body"]) for each in outbox.records()]
    finally:
        outbox.close()
    kept = [each for each in records if each["kind"] == "press"]
    return len(kept), sum(each.get("invitation") is not None for each in kept)


# ---- measured


def at_readers(_folder: Path) -> dict[str, float]:
    """10^8 random bytes through each reader, and through the search for Modbus answers."""
    found: dict[str, float] = {}
    for name in streams.CHECKSUMMED:
        found[f"{name}_phantoms"] = phantom_presses(name, _shown(f"{name}: reader", BYTES))
    found["modbus_phantoms"] = phantom_answers(_shown("modbus: answers", BYTES))
    return found


def at_cables(folder: Path) -> dict[str, float]:
    """The same bytes through a whole cable, twice."""
    found: dict[str, float] = {}
    for name in streams.CHECKSUMMED:
        for invited in (False, True):
            title = f"{name}: cable, {'always' if invited else 'never'} invited"
            _, ratings = rated(name, _shown(title, CABLE_BYTES), invited, folder)
            found[f"{name}_{'invited' if invited else 'idle'}"] = ratings
    return found


def theory(_folder: Path) -> dict[str, float]:
    """How many presses 10^8 bytes should give at the readers, as a power of ten."""
    return {f"{name}_expected": math.log10(each * BYTES) for name, each in EXPECTED.items()}


def _shown(title: str, size: int) -> Iterable[bytes]:
    """Random bytes, and every second on standard error how long they still take."""
    started = last_s = time.monotonic()
    done = 0
    for piece in streams.random_chunks(SEED, size, _READ):
        yield piece
        done += len(piece)
        if (now_s := time.monotonic()) - last_s >= 1:
            last_s = now_s
            left_s = (now_s - started) / done * (size - done)
            limits.note(f"{title}: {100 * done / size:.0f} %, 还剩约 about {left_s:.0f} s left")


_WORDS = {"house": "house", "qs4": "qs4 (8 位和 sum of 8 bits)", "taxi905": "taxi905 (8 位异或 xor of 8 bits)"}

BENCHES = (
    Bench(
        name="noise_readers",
        how="""10⁸ 个随机字节 (固定种子), 读取器当成按键的个数。

10⁸ random bytes from one seed: how many presses each reader makes of them.""",
        bounded_by="概率 chance: 每个必须对的字节 1/256, CRC 1/65536",
        lines=(
            *(Line(f"{name}_phantoms", f"{_WORDS[name]}, 幻按 phantom presses", "", at_most=0) for name in _WORDS),
            Line("modbus_phantoms", "modbus (CRC-16), 幻按 phantom answers", "", at_most=0),
        ),
        measure=at_readers,
        limits=tuple(
            Line(f"{name}_expected", f"{name}, 理论上的个数 expected in theory", "= log₁₀") for name in EXPECTED
        ),
        limit=theory,
        seconds=20,
        runs_max=1,
    ),
    Bench(
        name="noise_cables",
        how="""同样的字节经过线缆、窗口和发件箱: 成为评价的个数; 从不邀请, 或一直在邀请。

The same bytes through a cable, its window and the outbox: how many become a rating, never invited or always.""",
        bounded_by="概率 chance",
        lines=tuple(
            Line(f"{name}_{when}", f"{words}, {said}", "", at_most=0)
            for name, words in _WORDS.items()
            for when, said in (("idle", "无邀请 never invited"), ("invited", "一直邀请 always invited"))
        ),
        measure=at_cables,
        limits=(),
        limit=limits.nothing,
        seconds=60,
        runs_max=1,
    ),
)
