"""A tablet evaluator's agent as queue software sees it: JSON in datagrams, one datagram one message, on UDP 8001.

Observed in the field, one product. `{"command":"apprise"}` and its like are answered by `{"succ":"0"}` at once; the
vote comes later as `{"appriseresult":"<key>","tagId":"…","tagName":"…"}`. Text is UTF-8 or GBK. No message has a
number, so nothing tells a late vote from a new one.
"""

from __future__ import annotations

import json
from random import Random

from firmware_sim.faults import Faults, Wire
from firmware_sim.panel import PressMade
from firmware_sim.panels.base import ButtonPanel

COMMANDS = ("login", "unlogin", "pause", "reset", "welcome", "apprise", "call")
TAGS = {"": "", "1": "服务热情", "2": "流程繁琐"}

WIRE = Wire(kind="datagram")


class SundynPanel(ButtonPanel):
    """Keys 1-5 on a page that stands there from `apprise` until a vote, a `reset`, a `pause` or its time-out."""

    wire = WIRE

    def __init__(
        self,
        device: str = "",
        on_ms: int = 0,
        *,
        boot: int = 1,
        encoding: str = "utf-8",
        tag: str = "",
        asks_ms: int = 60_000,
    ):
        self.encoding = encoding
        self.tag = tag
        self.shown: dict[str, str] = {}
        """The ticket or the clerk that stands on the page."""
        self._asks_ms = asks_ms
        super().__init__(device, on_ms, boot=boot, buttons=(1, 2, 3, 4, 5))

    def suffer(self, faults: Faults, rng: Random) -> None:
        super().suffer(faults, rng)
        if self._happens(self.faults.gbk):
            self.encoding, self.tag = "gbk", "1"

    def feed(self, data: bytes, now_ms: int) -> None:
        message = self._read(data)
        command = message.get("command")
        if command in COMMANDS:
            self._say(self._write({"succ": "0"}), now_ms)
            self._obey(command, message, now_ms)

    def _power_on(self, now_ms: int) -> None:
        super()._power_on(now_ms)
        self._voted = b""

    def _pressed(self, press: PressMade) -> None:
        if not press.invited:
            return
        self._voted = self._write(
            {"appriseresult": str(press.button), "tagId": self.tag, "tagName": TAGS.get(self.tag, "")}
        )
        late_ms = self.rng.randint(0, 2_000) if self._happens(self.faults.late_vote) else 0
        self._say(self._voted, press.at_ms + late_ms)
        self._ask(press.at_ms)

    def _obey(self, command: str, message: dict[str, str], now_ms: int) -> None:
        match command:
            case "apprise":
                self._ask(now_ms + self._asks_ms)
                if self._voted and self._happens(self.faults.old_request):
                    self._say(self._voted, now_ms + self.rng.randint(50, 500))
            case "pause" | "reset" | "unlogin":
                self._ask(now_ms)
            case "login" | "call":
                self.shown = {name: value for name, value in message.items() if name != "command"}

    def _read(self, data: bytes) -> dict[str, str]:
        try:
            message = json.loads(data.decode(self.encoding))
        except ValueError:
            return {}
        return message if isinstance(message, dict) else {}

    def _write(self, message: dict[str, str]) -> bytes:
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(self.encoding)
