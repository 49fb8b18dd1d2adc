"""A call to an outside watcher each minute as long as ratings go to the province: its silence is the alert that a
collector which has stopped cannot send."""

from __future__ import annotations

import http.client
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_S = 60.0
_TIMEOUT_S = 10.0


class Heartbeat:
    """Calls `url` as long as `well` says so; nobody waits for it. The address is a secret and never shown."""

    def __init__(self, url: str, well: Callable[[], bool], every_s: float = EVERY_S):
        self._url = url
        self._well = well
        self._every_s = every_s
        self._stopping = threading.Event()
        self._heard = True

    def stop(self) -> None:
        """Let `work` end."""
        self._stopping.set()

    def work(self) -> None:
        """Call it now and then, until `stop`."""
        while not self._stopping.is_set():
            if self._well():
                self._say(self.call())
            self._stopping.wait(self._every_s)

    def call(self) -> str:
        """Once: empty if the watcher has heard it, else why not."""
        try:
            with urllib.request.urlopen(self._url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 settings allow http only
                answer.read(1000)
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        return ""

    def _say(self, words: str) -> None:
        if words and self._heard:
            log.warning("心跳没有送到, 每分钟再试 / the heartbeat was not heard, tried each minute: %s", words)
        elif not words and not self._heard:
            log.info("心跳又送到了 / the heartbeat is heard again")
        self._heard = not words
