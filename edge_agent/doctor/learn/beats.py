"""What a line says by itself: the bytes that come again and again while nobody presses, and how often they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .samples import GAP_MS

PIECE_MS = (
    150  # a pause that ends what was said: what a read breaks in two follows sooner, and so does a finger's release
)
PIECE_MAX_MS = 2_000  # a line that never pauses is looked at all the same
_NEAR_MS = 70  # two that are both this near to the same moment come within PIECE_MS, and so in one piece
_MISSED_MAX = 10  # times in a row that it came together with a press
_DIFFER_MAX = 4  # bytes of it that only a press changes: a number of one or two bytes, and the checksum over it
_SLOW_MS = 5_000  # a third one of these may come too late to be waited for
_UNEVEN = 0.1


@dataclass(frozen=True)
class Piece:
    """What was said without a pause, as it was read."""

    at_ms: int
    lumps: tuple[bytes, ...]
    """Apart by more than an adapter's delay, and less than a pause."""

    @property
    def whole(self) -> bytes:
        return b"".join(self.lumps)


class Pieces:
    """Reads put together to pieces."""

    def __init__(self) -> None:
        self._lumps: list[bytes] = []
        self._at_ms = self._heard_ms = 0

    def heard(self, data: bytes, now_ms: int) -> None:
        if not self._lumps:
            self._at_ms = now_ms
        if self._lumps and now_ms - self._heard_ms < GAP_MS:
            self._lumps[-1] += data
        else:
            self._lumps.append(data)
        self._heard_ms = now_ms

    def ended(self, now_ms: int) -> Piece | None:
        """The piece that is over by now."""
        if not self._lumps or (now_ms - self._heard_ms < PIECE_MS and now_ms - self._at_ms < PIECE_MAX_MS):
            return None
        piece, self._lumps = Piece(self._at_ms, tuple(self._lumps)), []
        return piece


@dataclass
class _Kind:
    """Everything that begins alike and is as long."""

    seen: list[bytes] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    """When they came while nobody pressed."""
    last_ms: int = 0
    moved: bool = False
    """Whether one was heard since a press moved a number in it: what changes is known by now."""

    def fits(self, said: bytes) -> bool:
        """Whether it differs from these only where they differ from each other."""
        return said in self.seen or (len(self.seen) > 1 and len(said) > 1 and not self.strangeness(said))

    def resembles(self, said: bytes) -> bool:
        """Whether so few bytes differ that it may be another of these, with a number that only a press moves."""
        return 0 < self.strangeness(said) <= min(_DIFFER_MAX, len(said) - 2)

    def strangeness(self, said: bytes) -> int:
        """How many bytes differ from what they always were; of one that was heard once, any."""
        constant = [at for at in range(len(said)) if len({each[at] for each in self.seen}) == 1]
        return sum(said[at] != self.seen[0][at] for at in constant)

    @property
    def period_ms(self) -> int | None:
        gaps = [after - before for before, after in pairwise(self.at_ms)]
        if not gaps or not _even(gaps):
            return None
        return (self.at_ms[-1] - self.at_ms[0]) // sum(max(1, round(gap / min(gaps))) for gap in gaps)

    def stopped(self, now_ms: int) -> bool:
        period_ms = self.period_ms
        times = 1.5 if len(self.at_ms) == 2 else 2.5
        return period_ms is not None and now_ms - self.at_ms[-1] > times * period_ms + 1000


def _even(gaps: Sequence[int]) -> bool:
    """Whether all are the smallest, or a multiple of it."""
    least = min(gaps)
    return least >= PIECE_MS and all(
        abs(gap - max(1, round(gap / least)) * least) <= _UNEVEN * least + _NEAR_MS for gap in gaps
    )


class Beats:
    """The bytes that nobody presses. `keep` what is heard while everybody waits, then ask `takes`."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[int, int], _Kind] = {}
        self._traffic_ms = 0

    def keep(self, piece: Piece) -> None:
        """This came while nobody was to press."""
        known = len(piece.lumps) > 1 and all(_outline(lump) in self._kinds for lump in piece.lumps)
        for said in piece.lumps if known else (piece.whole,):
            kind = self._kinds.setdefault(_outline(said), _Kind())
            kind.seen.append(said)
            kind.at_ms.append(piece.at_ms)
            kind.last_ms = piece.at_ms

    def sure(self) -> bool:
        """Whether all that was heard is known to come again and again, at its own pace."""
        return all(len(kind.seen) > 2 and kind.period_ms for kind in self._kinds.values())

    def strange(self, now_ms: int) -> bool:
        """Whether something came that does not keep any pace, or no longer: a key, most likely."""
        return any(
            (len(kind.seen) > 1 and kind.period_ms is None) or kind.stopped(now_ms) for kind in self._kinds.values()
        )

    def doubtful(self) -> bool:
        """At the end of a long wait: whether something came too seldom to know."""
        return any(
            kind.period_ms is None or (len(kind.seen) == 2 and kind.period_ms < _SLOW_MS)
            for kind in self._kinds.values()
        )

    def takes(self, piece: Piece) -> bool:
        """Whether this is one of them. What is taken teaches what of it changes."""
        whole = piece.whole
        kind = self._kinds.get(_outline(whole))
        if kind is not None and (kind.fits(whole) or (kind.resembles(whole) and self._is_due(kind, piece.at_ms))):
            kind.moved |= not kind.fits(whole)
            kind.seen.append(whole)
            kind.last_ms = piece.at_ms
            return True
        taken = all(self._fits(lump) for lump in piece.lumps)
        if not taken:
            self._traffic_ms = piece.at_ms
        return taken

    def without(self, piece: Piece) -> bytes:
        """The first of its bytes that are not one of these."""
        left = [lump for lump in piece.lumps if not self._fits(lump)]
        beat = self._likeliest(left, piece.at_ms)
        left = [lump for lump in left if lump is not beat]
        return self._cut(left[0]) if left else piece.whole

    def _likeliest(self, lumps: list[bytes], at_ms: int) -> bytes | None:
        """The one of several that is a beat with a number that a press has just moved, if one is due."""
        much = {}
        for lump in lumps:
            kind = self._kinds.get(_outline(lump))
            if kind is not None and not kind.moved and kind.resembles(lump) and self._is_due(kind, at_ms):
                much[lump] = kind.strangeness(lump)
        least = [lump for lump in much if much[lump] == min(much.values())]
        return least[0] if len(least) == 1 < len(much) else None  # a press and its release are as strange

    def _fits(self, said: bytes) -> bool:
        kind = self._kinds.get(_outline(said))
        return kind is not None and kind.fits(said)

    def _cut(self, lump: bytes) -> bytes:
        """What is left of these bytes without one of the beats, if a beat ran into them."""
        cuts: list[tuple[_Kind, bytes, bytes]] = []
        for (size, _), kind in self._kinds.items():
            if size < len(lump):
                cuts += [(kind, lump[:size], lump[size:]), (kind, lump[-size:], lump[:-size])]
        odds = [(kind.strangeness(said), rest) for kind, said, rest in cuts if said[0] == kind.seen[0][0]]
        # A press is as long as a beat on many devices, and begins alike: the likelier of the two is the beat.
        likely = [(much, rest) for much, rest in odds if much == 0 or (much <= _DIFFER_MAX and rest[0] == lump[0])]
        return min(likely, key=lambda cut: cut[0])[1] if likely else lump

    def _is_due(self, kind: _Kind, at_ms: int) -> bool:
        """Whether one is expected now: by the one before, or, where that was not kept, by what was said last."""
        period_ms = kind.period_ms
        if period_ms is None:
            return False
        since_ms = at_ms - kind.last_ms
        times = max(1, round(since_ms / period_ms))
        if times <= _MISSED_MAX and abs(since_ms - times * period_ms) <= _NEAR_MS:
            return True
        return since_ms > period_ms + _NEAR_MS and abs(at_ms - self._traffic_ms - period_ms) <= _NEAR_MS


def _outline(said: bytes) -> tuple[int, int]:
    return len(said), said[0]
