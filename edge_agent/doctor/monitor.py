"""A line watched: its bytes as people read them, and what they look like. Nothing is sent, no port is touched here."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from protocols.profiles.events import Answered, Beat, Event, NobodyPressed, Noise, Pressed
from protocols.words import Words

LINE_BYTES = 16
_GAP_MS = 30  # a USB adapter's lumps are closer together than that
_HEARD_MAX = 512  # bytes that a judgement looks back on: a wrong rate shows in ten
_GROUPS_MAX = 64
_ECHO_MS = 500  # an echo is there within the time of a few frames; a line server adds its delay
_SENT_MAX = 256
_ENOUGH = 6  # bytes; three presses of a device that says one byte tell nothing yet
_SHARE = 0.8

Kind = Literal["too-slow", "too-fast", "echo", "text", "binary", "framing"]


@dataclass(frozen=True)
class Row:
    """One line for the eye."""

    at_ms: int
    out: bool
    hex: str
    text: str


@dataclass(frozen=True)
class Sign:
    """What the bytes look like, with what speaks for it."""

    kind: Kind
    words: Words
    try_bauds: tuple[int, ...] = ()


class Rows:
    """Bytes as they are shown: what comes within a few milliseconds stands in one row, however it was read."""

    def __init__(self) -> None:
        self._out = False
        self._data = b""
        self._at_ms = self._last_ms = 0

    def feed(self, out: bool, data: bytes, now_ms: int) -> list[Row]:
        """These bytes went to the device (`out`) or came from it, perhaps none; the rows that are complete."""
        rows: list[Row] = []
        if self._data and (now_ms - self._last_ms >= _GAP_MS or (data and out != self._out)):
            rows = self.rest()
        if data:
            self._at_ms = self._at_ms if self._data else now_ms
            self._out, self._last_ms = out, now_ms
            self._data += data
        if len(self._data) >= _HEARD_MAX:
            rows += self.rest()
        return rows

    def rest(self) -> list[Row]:
        """What was not shown yet."""
        data, self._data = self._data, b""
        return [
            Row(self._at_ms, self._out, part.hex(" ").upper(), _readable(part))
            for part in (data[at : at + LINE_BYTES] for at in range(0, len(data), LINE_BYTES))
        ]


def told(event: Event) -> Words:
    """What a profile understood, in words."""
    match event:
        case Pressed(device, key, age_ms, raw, _, count):
            more = (f" @ {device}" if device else "") + ("" if count is None else f" #{count}")
            age_s = f"{age_ms / 1000:.1f}" if age_ms >= 1000 else f"{age_ms / 1000:g}"
            return Words(
                f"按键 {key}{more}, {age_s} 秒前  [{_hex(raw)}]", f"key {key}{more}, {age_s} s ago  [{_hex(raw)}]"
            )
        case Beat(device):
            return Words(f"心跳 {device}".rstrip(), f"alive {device}".rstrip())
        case NobodyPressed(device):
            return Words(f"无人评价 {device}".rstrip(), f"nobody pressed {device}".rstrip())
        case Answered(device, name):
            return Words(f"回答 {name} {device}".rstrip(), f"answer {name} {device}".rstrip())
        case Noise(raw, reason):
            return Words(f"噪声 ({reason})  [{_hex(raw)}]", f"noise ({reason})  [{_hex(raw)}]")


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()


def unheard(baud: int, alt_bauds: Sequence[int]) -> Words:
    """What to try where nothing came."""
    rates = ", ".join(str(rate) for rate in alt_bauds if rate != baud)
    return Words(
        f"什么也没收到。可试: 检查线缆和电源; 换波特率 (--baud, 如 {rates});"
        " 有的设备收到“请评价”后才说话: 用代理发起邀请, 或用 --send 发厂家的命令",
        f"nothing was heard. Try: the cable and its power; another rate (--baud: {rates});"
        ' some devices speak only after "please rate": invite through the agent, or --send its command',
    )


class Watch:
    """The bytes of one line. Fed with everything that is read and written; bounded."""

    def __init__(self, baud: int, alt_bauds: Sequence[int] = ()):
        self._baud = baud
        self._alt_bauds = tuple(alt_bauds)
        self._heard: deque[int] = deque(maxlen=_HEARD_MAX)
        self._groups: deque[bytes] = deque(maxlen=_GROUPS_MAX)
        self._last_ms = -_GAP_MS
        self._sent = b""
        self._sent_ms = 0
        self._came_back = 0

    def feed(self, out: bool, data: bytes, now_ms: int) -> None:
        """These bytes went to the device (`out`) or came from it."""
        if out:
            self._sent = (self._sent + data)[-_SENT_MAX:]
            self._sent_ms = now_ms
        elif data:
            self._listen(data, now_ms)

    @property
    def heard(self) -> bool:
        """Whether a single byte has come from the device."""
        return bool(self._heard)

    def signs(self) -> list[Sign]:
        """What can be said by now; the gravest first."""
        heard = list(self._heard)
        found = [_too_slow(heard, self._faster()), _too_fast(heard, self._slower()), self._echo()]
        if not any(found[:2]):
            found += [_text_or_binary(heard), _framing(list(self._groups))]
        return [each for each in found if each is not None]

    def _listen(self, data: bytes, now_ms: int) -> None:
        if self._sent and now_ms - self._sent_ms <= _ECHO_MS:
            mine = len(_common(self._sent, data))
            self._came_back += mine
            self._sent, data = self._sent[mine:], data[mine:]
        self._heard.extend(data)
        if self._groups and now_ms - self._last_ms < _GAP_MS:
            data = (self._groups.pop() + data)[:_HEARD_MAX]
        if data:
            self._groups.append(data)
        self._last_ms = now_ms

    def _echo(self) -> Sign | None:
        if self._came_back < 3:
            return None
        words = Words(
            f"我们自己的字节又回来了 ({self._came_back} 个): 线路有回声, 配置文件中应写 echo = true",
            f"our own bytes come back ({self._came_back}): the line echoes, its profile should say echo = true",
        )
        return Sign("echo", words)

    def _faster(self) -> tuple[int, ...]:
        return tuple(sorted(rate for rate in self._alt_bauds if rate > self._baud))

    def _slower(self) -> tuple[int, ...]:
        return tuple(sorted((rate for rate in self._alt_bauds if rate < self._baud), reverse=True))


def _common(sent: bytes, heard: bytes) -> bytes:
    size = next((at for at, (one, two) in enumerate(zip(sent, heard, strict=False)) if one != two), None)
    return sent[: min(len(sent), len(heard)) if size is None else size]


def _readable(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else "." for byte in data)


# ---- a wrong rate, by what a UART makes of another's bits


def _too_slow(heard: Sequence[int], faster: tuple[int, ...]) -> Sign | None:
    """We sample every second bit or fewer: what follows a byte, the idle line, fills its upper half with ones."""
    return _wrong_rate(
        "too-slow", heard, [byte for byte in heard if byte >= 0xF0 or byte in (0x00, 0x80, 0xC0, 0xE0)], faster
    )


def _too_fast(heard: Sequence[int], slower: tuple[int, ...]) -> Sign | None:
    """We sample each bit twice or more often: the start bit reaches into bit 0, and the others come in pairs."""
    return _wrong_rate("too-fast", heard, [byte for byte in heard if _is_doubled(byte)], slower)


def _is_doubled(byte: int) -> bool:
    bits = [byte >> place & 1 for place in range(8)]
    return bits[0] == 0 and bits[1] == bits[2] and bits[3] == bits[4] and bits[5] == bits[6]


def _wrong_rate(
    kind: Literal["too-slow", "too-fast"], heard: Sequence[int], odd: Sequence[int], rates: tuple[int, ...]
) -> Sign | None:
    if len(heard) < _ENOUGH or len(odd) < _SHARE * len(heard) or len(set(odd) - {0x00}) < 2:
        return None
    most = " ".join(f"{byte:02X}" for byte, _ in Counter(odd).most_common(6))
    tried_zh = f", 可试 {'、'.join(map(str, rates))}" if rates else ""
    tried_en = f"; try {', '.join(map(str, rates))}" if rates else ""
    slow = kind == "too-slow"
    words = Words(
        f"像是波特率不对: {len(heard)} 个字节中 {len(odd)} 个是 {most} 之类,"
        f" 设备可能更{'快' if slow else '慢'}{tried_zh}",
        f"this looks like the wrong baud rate: {len(odd)} of {len(heard)} bytes are like {most},"
        f" the device may be {'faster' if slow else 'slower'}{tried_en}",
    )
    return Sign(kind, words, rates)


# ---- what the bytes are


def _text_or_binary(heard: Sequence[int]) -> Sign | None:
    if len(heard) < _ENOUGH:
        return None
    readable = sum(0x20 <= byte <= 0x7E or byte in (0x0D, 0x0A) for byte in heard)
    if readable >= 0.95 * len(heard):
        return Sign("text", Words("像是文字", "this looks like text"))
    return Sign("binary", Words("像是二进制", "this looks binary"))


def _framing(groups: Sequence[bytes]) -> Sign | None:
    starts = Counter(group[:2] for group in groups if len(group) > 2)
    if not starts:
        return None
    start, times = starts.most_common(1)[0]
    if times < 3:
        return None
    sizes = sorted({len(group) for group in groups if group.startswith(start)})
    shown, some = start.hex(" ").upper(), ", ".join(map(str, sizes[:6]))
    words = Words(
        f"像是帧: {times} 次以 {shown} 开头, 长 {some} 字节 (别的波特率也可能像, 拿不准就换一个比一比)",
        f"these look like frames: {times} begin with {shown}, {some} bytes long"
        " (at a wrong rate it may look so too: where in doubt try another)",
    )
    return Sign("framing", words)
