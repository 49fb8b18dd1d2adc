"""One message to one receiver, by apprise. The only user of apprise, loaded where a receiver is configured.

The robots of WeCom, DingTalk and Feishu answer 200 to what they refuse, and say so in the body; apprise goes by the
status alone. What they say is read here: a message counts as sent only if it was taken.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from typing import Any

import apprise

_CODES = ("errcode", "code")  # 0 where it was taken: WeCom and DingTalk, Feishu
_SAID = ("errmsg", "msg")
_ROBOTS = ("wecombot", "dingtalk", "feishu", "lark")  # of another webhook nobody knows what its `code` means
_REFUSED = 422  # what is told to apprise instead of the 200
_ANSWER_MAX = 64 * 1024
_WORDS_MAX = 200
_SECRET_MIN = 4  # a shorter piece of an address hides nothing, and would spoil words
_ASSET = apprise.AppriseAsset(app_id="hall-rating", app_desc="Rating alerts", async_mode=False, storage_mode="memory")
_heard = threading.local()


def _overhear(record: logging.LogRecord) -> bool:
    """Keep the last warning of this thread, which is why something failed. It names tokens: it goes nowhere else."""
    if record.levelno >= logging.WARNING:
        _heard.warning = record.getMessage()
    return False


logging.getLogger("apprise").addFilter(_overhear)


class BadUrl(ValueError):
    """apprise has no use for this address. It is not shown."""


class Carrier:
    """The way to one receiver. One thread uses it at a time."""

    def __init__(self, url: str):
        """BadUrl if apprise does not take this address."""
        self._secrets = _secrets(url)
        plugin = apprise.Apprise.instantiate(url, asset=_ASSET, suppress_exceptions=True)
        if plugin is None:
            raise BadUrl("apprise 不认得这个地址 / apprise does not take this address")
        plugin.request_rate_per_sec = 0  # how many a minute is decided above
        self._plugin = plugin
        _listen(plugin)

    def send(self, title: str, body: str) -> str:
        """Empty if it was taken; else why not, in words without any secret."""
        _heard.refused = _heard.warning = ""
        taken = self._plugin.notify(
            body=body, title=title, notify_type=apprise.NotifyType.WARNING, body_format=apprise.NotifyFormat.TEXT
        )
        if taken:
            return ""
        return self._masked(_heard.refused or _heard.warning or "没有送到 / not delivered")[:_WORDS_MAX]

    def _masked(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return " ".join(words.split())


def _secrets(url: str) -> list[str]:
    """All pieces of an address that may be one, the longest first."""
    pieces = re.split(r"[/?&=:@]+", url.partition("://")[2])
    return sorted({each for each in pieces if len(each) >= _SECRET_MIN}, key=len, reverse=True)


# ---- what was answered


class _Heard:
    """`requests` as the plug-in of a robot knows it, which also reads what the robot answers."""

    def __init__(self, real: Any):
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def post(self, *args: Any, **options: Any) -> Any:
        answer = self._real.post(*args, **options)
        words = refused(answer.content[:_ANSWER_MAX])
        if words:
            _heard.refused = words
            answer.status_code = _REFUSED
        return answer


def refused(body: bytes) -> str:
    """What a robot says that has not taken a message; empty where it has, or says nothing of it."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    for code, words in zip(_CODES, _SAID, strict=True):
        if isinstance(said.get(code), int) and said[code] != 0:
            return f"{said[code]} {said.get(words, '')}".strip()
    return ""


def _listen(plugin: Any) -> None:
    module: Any = sys.modules[type(plugin).__module__]
    if module.__name__.rpartition(".")[2] in _ROBOTS and not isinstance(module.requests, _Heard):
        module.requests = _Heard(module.requests)
