"""Weekly times in Beijing time, as people write them: `Mon-Fri 08:30-12:00 13:30-17:30; 周六 09:00-12:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ZONE_MIN = 8 * 60  # one time zone for all of China
_DAY_MIN = 24 * 60
_WEEK_MIN = 7 * _DAY_MIN
_THURSDAY_MIN = 3 * _DAY_MIN  # 1970-01-01 was one; a week begins on Monday
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZH = "一二三四五六日"
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun|周[一二三四五六日天])"
_PART = re.compile(
    rf"(?:(?P<first>{_DAY})(?:\s*[-–至]\s*(?P<last>{_DAY}))?\s+)?(?P<times>\d\d?:\d\d\s*[-–]\s*\d\d?:\d\d"
    r"(?:[\s,]+\d\d?:\d\d\s*[-–]\s*\d\d?:\d\d)*)"
)
_TIMES = re.compile(r"(\d\d?):(\d\d)\s*[-–]\s*(\d\d?):(\d\d)")
EXPECTED = (
    "每周时间, 如 Mon-Fri 08:30-17:30 或 周一至周五 08:30-12:00 13:30-17:30, 多段以 ; 分开 (北京时间)"
    " / weekly times, as in Mon-Fri 08:30-17:30, several parted by ; (UTC+8)"
)


class BadHours(ValueError):
    """These are no weekly times."""


@dataclass(frozen=True)
class Hours:
    """Spans of minutes of the week, from Monday 00:00 on, apart from one another; the last may reach into the next
    week."""

    spans: tuple[tuple[int, int], ...]

    def began_ms(self, at_ms: int) -> int | None:
        """When the span began that this moment is in; None outside of all."""
        minute = at_ms // 60_000
        of_week = (minute + _ZONE_MIN + _THURSDAY_MIN) % _WEEK_MIN
        for first, end in self.spans:
            for now in (of_week, of_week + _WEEK_MIN):
                if first <= now < end:
                    return 0 if end - first >= _WEEK_MIN else (minute - (now - first)) * 60_000
        return None

    def back_ms(self, at_ms: int, open_ms: int) -> int:
        """The moment since which so much of these times has passed; two weeks before at the earliest."""
        earliest_ms, left_ms = at_ms - 2 * _WEEK_MIN * 60_000, open_ms
        while at_ms > earliest_ms:
            began_ms = self.began_ms(at_ms - 1)
            if began_ms is None:
                at_ms = (at_ms - 1) // 60_000 * 60_000
            elif at_ms - began_ms >= left_ms:
                return at_ms - left_ms
            else:
                at_ms, left_ms = began_ms, left_ms - (at_ms - began_ms)
        return earliest_ms


ALWAYS = Hours(((0, _WEEK_MIN),))


def hours_of(text: str) -> Hours:
    """The weekly times of this text, `always` for all of them; BadHours if it says none."""
    if text.strip().lower() in ("always", "全天"):
        return ALWAYS
    spans: list[tuple[int, int]] = []
    for part in text.lower().split(";"):
        said = _PART.fullmatch(part.strip().rstrip(","))
        if said is None:
            raise BadHours(text)
        for day in _days(said["first"], said["last"]):
            spans += [_span(day, *map(int, each)) for each in _TIMES.findall(said["times"])]
    return Hours(_merged(spans))


def in_words(text: str) -> str:
    """The same times as a reader of either language writes their days, `Chinese / English`."""

    def zh(day: re.Match[str]) -> str:
        return f"周{_ZH[_number(day[0].lower())]}"

    def en(day: re.Match[str]) -> str:
        return _DAYS[_number(day[0].lower())].capitalize()

    one = re.compile(_DAY, re.IGNORECASE)
    chinese = re.sub(rf"({_DAY})\s*[-–]\s*({_DAY})", r"\1至\2", text, flags=re.IGNORECASE)
    english = text.replace("至", "-")
    return f"{one.sub(zh, chinese)} / {one.sub(en, english)}"


def _days(first: str | None, last: str | None) -> list[int]:
    if first is None:
        return list(range(7))
    begin = _number(first)
    end = _number(last) if last is not None else begin
    return [(begin + each) % 7 for each in range((end - begin) % 7 + 1)]


def _number(day: str) -> int:
    return _ZH.index(day[1].replace("天", "日")) if day.startswith("周") else _DAYS.index(day)


def _span(day: int, hour: int, minute: int, to_hour: int, to_minute: int) -> tuple[int, int]:
    begin, end = hour * 60 + minute, to_hour * 60 + to_minute
    if max(minute, to_minute) > 59 or begin >= _DAY_MIN or end > _DAY_MIN or begin == end:
        raise BadHours(f"{hour}:{minute}-{to_hour}:{to_minute}")
    return day * _DAY_MIN + begin, day * _DAY_MIN + end + (_DAY_MIN if end < begin else 0)  # over midnight


def _merged(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    # Sunday night goes on into Monday.
    if len(merged) > 1 and merged[-1][1] - _WEEK_MIN >= merged[0][0]:
        first = merged.pop(0)
        merged[-1] = (merged[-1][0], max(merged[-1][1], first[1] + _WEEK_MIN))
    if merged[0][1] - merged[0][0] >= _WEEK_MIN:
        return ALWAYS.spans
    return tuple(merged)
