"""Makes a keypad of its own through uinput; on SIGUSR1 it pushes its keys and is unplugged.

Arguments: the keys by their numbers.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import sys

EV_SYN, EV_KEY = 0, 1
BUS_USB = 3
UI_DEV_CREATE, UI_DEV_DESTROY = 0x5501, 0x5502  # linux/uinput.h
UI_SET_EVBIT, UI_SET_KEYBIT = 0x40045564, 0x40045565
UI_DEV_SETUP = 0x405C5503  # _IOW('U', 3, struct uinput_setup): id, name[80], ff_effects_max
UI_GET_SYSNAME = 0x8040552C  # _IOC(_IOC_READ, 'U', 44, 64)
SETUP = struct.Struct("@HHHH80sI")
INPUT_EVENT = struct.Struct("@llHHi")


def main() -> None:
    keys = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    made = os.open("/dev/uinput", os.O_WRONLY)
    fcntl.ioctl(made, UI_SET_EVBIT, EV_KEY)
    for key in keys:
        fcntl.ioctl(made, UI_SET_KEYBIT, int(key))
    fcntl.ioctl(made, UI_DEV_SETUP, SETUP.pack(BUS_USB, 0x1A2C, 0x0021, 1, b"made keypad", 0))
    fcntl.ioctl(made, UI_DEV_CREATE)
    name = fcntl.ioctl(made, UI_GET_SYSNAME, bytes(64)).split(b"\0")[0].decode()
    node = next(each for each in os.listdir(f"/sys/devices/virtual/input/{name}") if each.startswith("event"))
    print(json.dumps({"made": f"/dev/input/{node}"}), flush=True)
    signal.sigwait({signal.SIGUSR1})
    for key in keys:
        for value in (1, 0):
            os.write(made, INPUT_EVENT.pack(0, 0, EV_KEY, int(key), value) + INPUT_EVENT.pack(0, 0, EV_SYN, 0, 0))
    fcntl.ioctl(made, UI_DEV_DESTROY)


if __name__ == "__main__":
    main()
