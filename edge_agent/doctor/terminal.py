"""A terminal and a port put together: what is typed, what is read and written, until Ctrl-C."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import NoReturn

import click

from edge_agent import clock
from edge_agent.link import Link, LinkDown

_REASONS = {
    errno.ENOENT: "没有这个文件或文件夹",
    errno.EACCES: "没有权限",
    errno.EPERM: "没有权限",
    errno.EEXIST: "已经存在",
    errno.EISDIR: "是文件夹, 不是文件",
    errno.ENOTDIR: "路径中有一段不是文件夹",
    errno.ENOSPC: "磁盘已满",
    errno.EROFS: "磁盘只读",
}
_LOOK_MS = 50  # how long what was read may wait for its row


class Typed:
    """Lines of standard input, as they come, without holding up the port."""

    def __init__(self, link: Link):
        self.link = link
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._listen, name="typed", daemon=True).start()

    def lines(self) -> list[str]:
        """What was typed by now."""
        found = []
        try:
            while True:
                found.append(self._lines.get_nowait())
        except Empty:
            return found

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line.rstrip("\n"))
            self.link.wake()


def traffic(link: Link, send: bytes, seconds: float | None) -> Iterator[tuple[bool, bytes, int]]:
    """(out, bytes, ms) of all that is read and written, and an empty one now and then; until time is up or Ctrl-C."""
    end_ms = None if seconds is None else now_ms() + int(seconds * 1000)
    try:
        if send:
            link.write(send)
            yield True, send, now_ms()
        while end_ms is None or now_ms() < end_ms:
            yield False, link.read(_LOOK_MS), now_ms()
    except KeyboardInterrupt:
        pass


@contextmanager
def opened(port: str, baud: int) -> Iterator[Link]:
    """The port, for us alone; the program ends with the reason if it cannot be had, or goes away."""
    link = Link(port, baud)
    open_(link)
    try:
        yield link
    except LinkDown as down:
        give_up(str(down))
    finally:
        link.close()


def open_(link: Link) -> None:
    try:
        link.open()
    except LinkDown as down:
        give_up(str(down))


def now_ms() -> int:
    return clock.now().mono_ms


def say(text: str) -> None:
    """One line to the person."""
    click.echo(text)


def why(error: OSError) -> str:
    """What the system says, in both languages where it is one of the usual reasons."""
    return f"{_REASONS[error.errno]} / {error.strerror}" if error.errno in _REASONS else error.strerror or str(error)


def give_up(message: str) -> NoReturn:
    """The command ends, with the reason."""
    click.echo(message, err=True)
    sys.exit(2)
