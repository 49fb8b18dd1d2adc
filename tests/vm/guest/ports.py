"""Says what pyserial finds out about each USB serial port, as JSON lines in the order of their names."""

from __future__ import annotations

import json

from serial.tools import list_ports


def main() -> None:
    for port in sorted(list_ports.comports(), key=lambda each: each.device):
        if port.vid is not None:
            facts = ("device", "vid", "pid", "serial_number", "location", "manufacturer", "product", "interface")
            print(json.dumps({fact: getattr(port, fact) for fact in facts}))


if __name__ == "__main__":
    main()
