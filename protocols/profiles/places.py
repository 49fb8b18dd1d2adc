"""Where in a TOML text a key stands, so that a mistake can be told with its line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_Path = tuple[tuple[str, int], ...]
_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d+)\])?")
_HEADER = re.compile(r"\s*(\[\[?)([A-Za-z0-9_.\-\" ]+?)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=")


def line_of(text: str, path: str) -> int:
    """The line of `rules[2].event` (counted from 1), or of the nearest thing around it that the text names."""
    steps: _Path = tuple((name, int(number or 1)) for name, number in _STEP.findall(path))
    best, depth = 1, 0
    for line, name in _named(text):
        if depth < len(name) <= len(steps) and name == steps[: len(name)]:
            best, depth = line, len(name)
    return best


def with_line(text: str, mistake: str) -> str:
    """`rules[2].event: …` with its line in front, in both languages."""
    line = line_of(text, mistake.partition(": ")[0])
    return f"第 {line} 行 / line {line}: {mistake}"


def _named(text: str) -> Iterator[tuple[int, _Path]]:
    """Each line that names a table, or a key of the table that it stands in."""
    table: _Path = ()
    seen: Counter[str] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header is not None:
            *above, last = (part.strip().strip('"') for part in header[2].split("."))
            seen[header[2]] += header[1] == "[["
            table = (*((name, seen[name] or 1) for name in above), (last, seen[header[2]] or 1))
            yield number, table
        elif key is not None:
            yield number, (*table, (key[1], 1))
