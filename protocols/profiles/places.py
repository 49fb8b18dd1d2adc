"""Where in a TOML text a key stands, so that a mistake can be told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from protocols.errors import Mistake
from protocols.words import Words

_TOKEN = re.compile(
    r"(?P<skip>[ \t\r]+|\#[^\n]*)"
    r'|(?P<text>"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|\'\'\'(?:[^\']|\'(?!\'\'))*\'{3,5}'
    r"|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')"
    r"|(?P<mark>[\[\]{}=,\n])"
    r"|(?P<word>[^\s\[\]{}=,#\"']+|.)",
    re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def line_of(text: str, path: str) -> int:
    """The line of `rules[2].event` (counted from 1), or of the nearest thing around it that the text names."""
    lines = _lines(text)
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)


def with_line(text: str, mistake: Mistake) -> Mistake:
    """`rules[2].event: …` with its line in front, in both languages."""
    line = line_of(text, mistake.where)
    return Mistake("", Words(f"第 {line} 行: {mistake.said('zh')}", f"line {line}: {mistake.said('en')}"))


@lru_cache(maxsize=1)  # a file full of mistakes is gone through once
def _lines(text: str) -> dict[str, int]:
    return _Scan(text).lines


class _Scan:
    """The line of each table, key and list item, by its path as mistakes name it. The text is TOML."""

    def __init__(self, text: str):
        self.lines: dict[str, int] = {}
        self._tokens = [*_tokens(text), _Token("mark", "\n", 0)]
        self._at = 0
        self._items: dict[str, int] = {}
        table = ""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.text == "\n" and token.kind == "mark":
                self._at += 1
            elif token.text == "[" and token.kind == "mark":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> str:
        """`[a.b]` or `[[a.b]]`: the path of the table that begins."""
        line = self._tokens[self._at].line
        self._at += 1
        listed = self._peek("[")
        self._at += listed
        *above, last = self._key() or [""]
        path = ""
        for name in above:
            path = self._put(_join(path, name), line)
            if path in self._items:  # what stands below a list of tables is of the last of them
                path = f"{path}[{self._items[path]}]"
        path = self._put(_join(path, last), line)
        if listed:
            self._items[path] = self._items.get(path, 0) + 1
            path = self._put(f"{path}[{self._items[path]}]", line)
        while self._at < len(self._tokens) and not self._peek("\n"):
            self._at += 1
        return path

    def _pair(self, table: str) -> None:
        """`a.b = value`."""
        line, path = self._tokens[self._at].line, table
        for name in self._key():
            path = self._put(_join(path, name), line)
        self._at += 1  # =
        self._value(path)

    def _key(self) -> list[str]:
        """The names before `=` or `]`."""
        names: list[str] = []
        while self._at < len(self._tokens) and self._tokens[self._at].kind != "mark":
            kind, text, _ = self._tokens[self._at]
            names += [text[1:-1]] if kind == "text" else [name for name in text.split(".") if name]
            self._at += 1
        return names

    def _value(self, path: str) -> None:
        if self._peek("["):
            self._list(path)
        elif self._peek("{"):
            self._at += 1
            while not self._ends("}"):
                self._pair(path)
        else:
            while self._at < len(self._tokens) and self._tokens[self._at].kind != "mark":
                self._at += 1

    def _list(self, path: str) -> None:
        self._at += 1
        number = 0
        while not self._ends("]"):
            number += 1
            before = self._at
            self._value(self._put(f"{path}[{number}]", self._tokens[self._at].line))
            self._at += self._at == before  # no TOML, but an end all the same

    def _ends(self, closing: str) -> bool:
        """Whether the list or the table ends here; what stands between two of its parts is passed over."""
        while self._peek(",") or self._peek("\n"):
            self._at += 1
        if self._peek(closing):
            self._at += 1
            return True
        return self._at >= len(self._tokens)

    def _peek(self, mark: str) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at][:2] == ("mark", mark)

    def _put(self, path: str, line: int) -> str:
        self.lines.setdefault(path, line)
        return path


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind != "skip":
            yield _Token(kind, found[0], line)
        line += found[0].count("\n")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
