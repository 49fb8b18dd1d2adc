"""Opens a port for itself alone, tries to open it once more, and says how that went as a JSON line.

Arguments: the node; how it is held (pyserial, ioctl, link); how the second one tries (pyserial, open); as which user id.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import termios

import serial

from edge_agent.link import Link

PYSERIAL = "import serial, sys; serial.Serial(sys.argv[1], exclusive=True)"
PLAIN = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)"
ASKED = "import sys\ntry:\n    {}\nexcept OSError as error:\n    print(error.errno)"


def main() -> None:
    node, how, second, user = sys.argv[1:]
    os.chmod(node, 0o666)  # as for a member of dialout: what is asked is who holds it, not who may
    held = _held(node, how)
    code = ASKED.format({"pyserial": PYSERIAL, "open": PLAIN}[second])
    asked = subprocess.run(
        [sys.executable, "-I", "-c", code, node], user=int(user), capture_output=True, text=True, check=True
    )
    refused = errno.errorcode[int(asked.stdout)] if asked.stdout else None
    print(json.dumps({"held": how, "second": second, "user": int(user), "refused": refused}), flush=True)
    del held


def _held(node: str, how: str) -> object:
    """Something that holds the port as long as it is there."""
    match how:
        case "link":
            link = Link(node, 9600)
            link.open()
            return link
        case "ioctl":
            number = os.open(node, os.O_RDWR | os.O_NOCTTY)
            fcntl.ioctl(number, termios.TIOCEXCL)
            return number
    return serial.Serial(node, exclusive=True)


if __name__ == "__main__":
    main()
