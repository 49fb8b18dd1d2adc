"""How fast a province may be called: so many calls a second, and not at all while it asks to be left alone."""

from __future__ import annotations

_BURST_S = 1.0  # what was not called in the last second may be made up for
_REST_MAX_MS = 60_000  # a longer rest was reckoned by a clock that has been put right since


class Pace:
    """A bucket of calls that fills by `calls_per_s`, 0 for no limit. Whoever uses it from several threads locks it."""

    def __init__(self, calls_per_s: float = 0.0):
        self._calls_per_s = calls_per_s
        self._most = max(1.0, calls_per_s * _BURST_S)
        self._calls = self._most
        self._at_ms: int | None = None
        self._rest_until_ms = 0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._calls_per_s > 0

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next call may be made; 0 for now."""
        rest_ms = self._rest_until_ms - now_ms
        if 0 < rest_ms <= _REST_MAX_MS:
            return rest_ms
        if not self._calls_per_s:
            return 0
        self._fill(now_ms)
        return 0 if self._calls >= 1 else max(1, int((1 - self._calls) * 1000 / self._calls_per_s))

    def take(self, now_ms: int) -> None:
        """A call is made."""
        if self._calls_per_s:
            self._fill(now_ms)
            self._calls -= 1

    def rest(self, until_ms: int) -> None:
        """No call before this moment."""
        self._rest_until_ms = max(self._rest_until_ms, until_ms)

    def _fill(self, now_ms: int) -> None:
        # A clock that was put back fills nothing, and takes nothing away.
        passed_ms = max(0, now_ms - self._at_ms) if self._at_ms is not None else 0
        self._at_ms = now_ms
        self._calls = min(self._most, self._calls + passed_ms * self._calls_per_s / 1000)
