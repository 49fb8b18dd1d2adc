"""The far ends of a cable in a test: a window that writes down what it is told, and what the device hears."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_agent import clock
from edge_agent.link import Link, LinkDown, carry
from firmware_sim.line import PtyLine, TcpLine
from protocols.ratings import Moment

from .hall import until

BAUD = 9600


class Notes:
    """A window that writes down what it is told and answers each piece of bytes with itself."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heard = b""
        self.ticks = 0
        self.say = b""

    def plugged(self, moment: Moment) -> bytes:
        self.told.append("plugged")
        return b"hello"

    def unplugged(self, why: str, moment: Moment) -> None:
        if self.told[-1:] != [why]:
            self.told.append(why)

    def feed(self, data: bytes, moment: Moment, waited: bool) -> bytes:
        self.heard += data
        return data

    def tick(self, moment: Moment) -> bytes:
        self.ticks += 1
        said, self.say = self.say, b""
        return said

    def sent(self, data: bytes, moment: Moment) -> None:
        pass

    def wait_ms(self, moment: Moment) -> int | None:
        return None


def port_of(line: PtyLine | TcpLine) -> str:
    return line.url if isinstance(line, TcpLine) else str(line.link)


@contextmanager
def carried(link: Link, window: Notes) -> Iterator[threading.Thread]:
    """The loop of the cable on a thread of its own; it has ended when this is left."""
    stop = threading.Event()
    thread = threading.Thread(target=carry, args=(link, window, clock.now, stop))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        link.wake()
        thread.join(10)
        assert not thread.is_alive()


def taken(line: PtyLine | TcpLine, expected: bytes) -> bool:
    """Whether the device hears exactly this."""
    heard = bytearray()
    until(lambda: heard.extend(line.read()) or len(heard) >= len(expected))
    return expected == bytes(heard)


def why_not(port: str, baud: int = BAUD) -> str:
    """What a person is told who has such a port in the settings."""
    with pytest.raises(LinkDown) as down:
        Link(port, baud).open()
    words = str(down.value)
    assert words.startswith(f"{port}: ")
    assert " / " in words
    return words
