"""Holds a port in each way there is, has it opened once more in each way, and says how that went as JSON lines.

Argument: the node. "nobody" may open it as a member of dialout may: what is asked is who holds it, not whose it is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import termios
from collections.abc import Callable
from contextlib import suppress

import serial

from edge_agent.link import Link

USERS = {"root": 0, "nobody": 65_534}


def main() -> None:
    (node,) = sys.argv[1:]
    os.chmod(node, 0o666)
    for held, (hold, let_go) in HOLDS.items():
        for second, way in OPENS.items():
            for who, user in USERS.items():
                port = hold(node)
                answer = {"held": held, "second": second, "who": who, "refused": _asked(way, node, user)}
                print(json.dumps(answer), flush=True)
                let_go(port)


def _asked(way: Callable[[str], object], node: str, user: int) -> str | None:
    """Why another process of this user may not open the node; None if it may."""
    child = os.fork()
    if child == 0:
        os.setuid(user)
        os._exit(_error(way, node))
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode[number] if number else None


def _error(way: Callable[[str], object], node: str) -> int:
    try:
        way(node)
    except OSError as error:
        return error.errno or 255
    return 0


# ---- ways to hold it, and to open it


def _by_pyserial(node: str) -> serial.Serial:
    return serial.Serial(node, exclusive=True)


def _by_link(node: str) -> Link:
    link = Link(node, 9600)
    link.open()
    return link


def _plainly(node: str) -> int:
    return os.open(node, os.O_RDWR | os.O_NOCTTY)


def _by_ioctl(node: str) -> int:
    port = _plainly(node)
    fcntl.ioctl(port, termios.TIOCEXCL)
    return port


def _close(port: int) -> None:
    with suppress(OSError):
        fcntl.ioctl(port, termios.TIOCNXCL)
    os.close(port)


HOLDS: dict[str, tuple[Callable[[str], object], Callable[..., None]]] = {
    "pyserial": (_by_pyserial, lambda port: port.close()),
    "link": (_by_link, lambda port: port.close()),
    "ioctl": (_by_ioctl, _close),
}
OPENS: dict[str, Callable[[str], object]] = {"pyserial": _by_pyserial, "plain": _plainly}


if __name__ == "__main__":
    main()
