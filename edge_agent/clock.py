"""What time it is here, and how far that can be trusted. The only place of the agent that asks for the time."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
import uuid
from pathlib import Path

from protocols.ratings import Moment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5  # adjtimex(2): the clock is not being synchronised


def _host_boot() -> tuple[str, int]:
    """This start of the machine, and the monotonic time at which it began."""
    try:
        return _BOOT_ID.read_text().strip(), 0
    except OSError:
        # Systems that do not name their boots: every start of the agent counts as one, which is always true.
        return str(uuid.uuid4()), time.monotonic_ns()


def _adjtimex() -> object | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)


_HOST_BOOT, _BOOTED_NS = _host_boot()
_ADJTIMEX = _adjtimex()
_TIMEX = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; all zeros asks and changes nothing


def now() -> Moment:
    """This moment."""
    mono_ms = (time.monotonic_ns() - _BOOTED_NS) // 1_000_000
    return Moment(time.time_ns() // 1_000_000, mono_ms, _HOST_BOOT, _synced(mono_ms // 1000))


@functools.lru_cache(maxsize=1)
def _synced(_second: int) -> bool | None:
    # Asked once a second: a hall's agent asks for the time a hundred times.
    if _ADJTIMEX is None:
        return None
    ctypes.memset(_TIMEX, 0, len(_TIMEX))
    state = _ADJTIMEX(_TIMEX)  # type: ignore[operator]
    return None if state < 0 else bool(state != _TIME_ERROR)
