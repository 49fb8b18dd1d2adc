"""A call to an outside watcher each minute as long as ratings go to the province: its silence is the alert that a
collector which has stopped cannot send."""

from __future__ import annotations

import http.client
import logging
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from ..ledger.file import is_damage

log = logging.getLogger(__name__)

EVERY_S = 60.0
_TIMEOUT_S = 10.0  # of each step of a call
_CALL_S = 20.0  # of the whole call: an answer may come byte by byte
_ANSWER_MAX = 1000  # bytes
_LATE = "没有及时答复 / no answer in time"
_MOVED = ", 不跟随转向, 请填最终地址 / redirects are not followed: give the address itself"


class Heartbeat:
    """Calls `url` as long as `well` says so; nobody waits for it. The address is a secret and never shown."""

    def __init__(self, url: str, well: Callable[[], bool], every_s: float = EVERY_S, call_s: float = _CALL_S):
        self._url = url
        self._well = well
        self._every_s = every_s
        self._call_s = call_s
        self._stopping = threading.Event()
        self._calling: threading.Thread | None = None
        self._done = threading.Event()
        self._words = ""
        self._heard = True

    def stop(self) -> None:
        """Let `work` end."""
        self._stopping.set()
        self._done.set()

    def work(self) -> None:
        """Call it now and then, until `stop`."""
        while not self._stopping.is_set():
            if self._is_well():
                words = self.call()
                if not self._stopping.is_set():
                    self._say(words)
            self._stopping.wait(self._every_s)

    def call(self) -> str:
        """Once: empty if the watcher has heard it, else why not. Never longer than `call_s`."""
        if self._calling is None or not self._calling.is_alive():
            self._done.clear()
            self._words = _LATE
            self._calling = threading.Thread(target=self._ask, name="heartbeat-call", daemon=True)
            self._calling.start()
        if self._stopping.is_set() or not self._done.wait(self._call_s):
            return _LATE
        return self._words

    def _ask(self) -> None:
        self._words = _answer(self._url)
        self._done.set()

    def _is_well(self) -> bool:
        """A ledger that cannot be asked now is not well; one that is broken ends the collector as elsewhere."""
        try:
            return self._well()
        except sqlite3.OperationalError as error:
            if is_damage(error):
                raise
            log.warning("没有心跳, 账本此刻读不了 / no heartbeat, the ledger cannot be read now: %s", error)
            return False

    def _say(self, words: str) -> None:
        if words and self._heard:
            log.warning("心跳没有送到, 每分钟再试 / the heartbeat was not heard, tried each minute: %s", words)
        elif not words and not self._heard:
            log.info("心跳又送到了 / the heartbeat is heard again")
        self._heard = not words


def _opener() -> urllib.request.OpenerDirector:
    """Calls an address and no other: whoever answers there must not send the collector elsewhere."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _answer(url: str) -> str:
    try:
        with _opener().open(url, timeout=_TIMEOUT_S) as answer:
            answer.read(_ANSWER_MAX)
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}{_MOVED if error.code // 100 == 3 else ''}"
    # ValueError: what the address, or a proxy's, or the answer says may be no text, no number or no address.
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__  # never its text, which may quote the address
    return ""
