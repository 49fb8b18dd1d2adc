"""The "txnBodyCom" envelope of dialect A: records hidden with the province's SM2 key, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from protocols import sm2
from protocols.ratings import Request

from ..codes import moment
from .records import Record

Order = Literal["C1C3C2", "C1C2C3"]


class Hider:
    """Hides texts with one province's key, in the order of parts and the letters that it wants."""

    def __init__(self, public_key: str, order: Order, upper_hex: bool):
        self._key = sm2.PublicKey.from_hex(public_key)
        self._order = order
        self._upper_hex = upper_hex

    def hidden(self, text: bytes) -> str:
        """In hex."""
        ciphertext = sm2.encrypt(text, self._key)
        raw = ciphertext.c1c3c2() if self._order == "C1C3C2" else ciphertext.c1c2c3()
        return raw.hex().upper() if self._upper_hex else raw.hex()


class Envelope:
    """What goes around every call: who we are, when, and the two hidden."""

    def __init__(self, hider: Hider, app_mark: str, app_word: str, tenancy_id: str):
        self._hider = hider
        self._app_mark = app_mark
        self._app_word = app_word
        self._headers = {"Content-Type": "application/json;charset=UTF-8", "C-Tenancy-Id": tenancy_id}
        self._sign_of: tuple[str, str] = ("", "")

    def around(self, url: str, records: Sequence[Record], now_ms: int) -> Request:
        """A call to `url` with these records, hidden as one text."""
        return self.with_params(url, {"evaluate": [self._hider.hidden(msgspec.json.encode(records))]}, now_ms)

    def with_params(self, url: str, params: dict[str, Any], now_ms: int) -> Request:
        """A call to `url` with these parameters, which stay as they are."""
        time = moment(now_ms).strftime("%Y%m%d%H%M%S")
        com = {"appMark": self._app_mark, "time": time, "sign": self._sign(time), "params": params}
        return Request(url, dict(self._headers), msgspec.json.encode({"txnBodyCom": com, "txnCommCom": {}}))

    def _sign(self, time: str) -> str:
        """The province calls it a sign; it is our two secrets and the second, hidden with its public key."""
        made_for, sign = self._sign_of
        if made_for != time:
            sign = self._hider.hidden((time + self._app_mark + self._app_word).encode())
            # In one step, so that two threads in the same second make it twice at worst.
            self._sign_of = (time, sign)
        return sign


class Reply(msgspec.Struct, frozen=True):
    """An answer of the agreed shape."""

    taken: bool
    reason: str
    """C-Response-Desc, unless it is the gateway's "success"."""
    message: str
    body: dict[str, Any] = {}
    """C-Response-Body."""
    code: str = ""
    """C-Response-Code."""

    @property
    def said(self) -> str:
        """Gateways like to say the same thing twice, once for themselves and once for the business behind them."""
        return "；".join(dict.fromkeys(part for part in (self.reason, self.message) if part))


def read_reply(body: bytes) -> Reply | None:
    """None for anything that does not say yes or no in the agreed shape."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    reason = _text(answer.get("C-Response-Desc")).strip()
    inner = answer.get("C-Response-Body")
    inner = inner if isinstance(inner, dict) else {}
    message = _text(inner.get("message")).strip()
    if reason and reason.lower() != "success":
        return Reply(taken=False, reason=reason, message=message)
    # The gateway's "success" only means that it passed the record on: the answer stands in the body.
    match inner.get("success"):
        case True | "true" if reason:
            return Reply(taken=True, reason="", message=message, body=inner)
        case False | "false" if reason or message:
            return Reply(taken=False, reason="", message=message)
        case _:
            return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
