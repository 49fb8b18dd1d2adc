"""Reads a keypad's node as raw structs and says each key as a JSON line, until it is unplugged.

Arguments: the node; "grab" to have its keys alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import sys

INPUT_EVENT = struct.Struct("@llHHi")  # linux/input.h: seconds, microseconds, type, code, value; 24 bytes on 64 bits
EV_KEY = 1
EVIOCGRAB = 0x40044590  # _IOW('E', 0x90, int)
EVIOCGNAME = 0x81004506  # _IOC(_IOC_READ, 'E', 0x06, 256)


def main() -> None:
    node, *grab = sys.argv[1:]
    keypad = os.open(node, os.O_RDONLY)
    _say(reading=node, name=fcntl.ioctl(keypad, EVIOCGNAME, bytes(256)).split(b"\0")[0].decode())
    if grab:
        _grab(keypad)
    try:
        while True:
            data = os.read(keypad, INPUT_EVENT.size * 64)
            for seconds, micros, kind, code, value in INPUT_EVENT.iter_unpack(data):
                if kind == EV_KEY:
                    _say(key=code, value=value, bytes=INPUT_EVENT.size, at_ms=seconds * 1000 + micros // 1000)
    except OSError as error:
        _say(gone=errno.errorcode[error.errno or 0])


def _grab(keypad: int) -> None:
    try:
        fcntl.ioctl(keypad, EVIOCGRAB, 1)
    except OSError as error:
        _say(refused=errno.errorcode[error.errno or 0])
        sys.exit()
    _say(grabbed=True)


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
