"""Panels stranger than those of firmware_sim: numbers that wrap early, lives of another length, every checksum."""

from __future__ import annotations

from bisect import insort
from random import Random

CHECKS = ("none", "xor", "sum8", "complement", "modbus", "ccitt", "xmodem")


def crc(data: bytes, poly: int, start: int, reflected: bool) -> int:
    """Bit by bit, as the standards describe it."""
    value = start
    for byte in data:
        if reflected:
            value ^= byte
            for _ in range(8):
                value = value >> 1 ^ (poly if value & 1 else 0)
        else:
            value ^= byte << 8
            for _ in range(8):
                value = (value << 1 ^ (poly if value & 0x8000 else 0)) & 0xFFFF
    return value


class OddPanel:
    """One panel: pressed at a time, it says bytes at times."""

    def __init__(self, seed: int):
        rng = Random(seed)
        keys = rng.choice((3, 4, 5, 6))
        self.buttons = tuple(range(1, keys + 1))
        self.bare = rng.random() < 0.25
        self.coding = rng.choice(("number", "digit", "bit", "code"))
        codes = rng.sample(range(0x10, 0xE0), keys)
        self.code = {
            key: {"number": key, "digit": 0x30 + key, "bit": 1 << key - 1, "code": codes[key - 1]}[self.coding]
            for key in self.buttons
        }
        self.head = bytes(rng.sample((0xAA, 0x55, 0x7E, 0x68, 0xFE, 0x02, 0xA5, 0x5A, 0xEB), rng.choice((1, 2, 3))))
        self.length = rng.choice((None, "data", "all", "rest"))
        self.address = bytes([rng.randrange(1, 32)]) if rng.random() < 0.5 else b""
        self.command = rng.random() < 0.7
        self.cmds = rng.sample(range(1, 0x40), 3)
        self.release = rng.choice((None, None, "flag", "top", "zero"))
        self.sequence = rng.choice((None, None, 256, 16, 10))
        self.number = rng.randrange(self.sequence or 1)
        self.check = rng.choice(CHECKS)
        self.start = rng.choice((0, len(self.head)))
        self.order = rng.choice(("big", "little"))
        self.tail = rng.choice((b"", b"\x1a", b"\x0d\x0a", b"\x03", b"\x55\xaa"))
        self.beat_ms = rng.choice((None, 3000, 5000, 8000))
        self.beat_counts = rng.random() < 0.5
        self.beats = 0
        self.rng = rng
        self._out: list[tuple[int, bytes]] = []
        if self.beat_ms:
            self._out.append((rng.randrange(200, self.beat_ms), b"beat"))

    def press(self, key: int, now_ms: int) -> None:
        if self.sequence:
            self.number = (self.number + 1) % self.sequence
        insort(self._out, (now_ms + 5, self._said(key, "down")))
        if self.release:
            insort(self._out, (now_ms + self.rng.randrange(90, 350), self._said(key, "up")))

    def poll(self, now_ms: int) -> bytes:
        said = b""
        while self._out and self._out[0][0] <= now_ms:
            at_ms, data = self._out.pop(0)
            if data == b"beat":
                insort(self._out, (max(at_ms, now_ms - self.beat_ms) + self.beat_ms, b"beat"))
                data = self._beat()
            said += data
        return said

    def next_ms(self, now_ms: int) -> int | None:
        return self._out[0][0] if self._out else None

    def _said(self, key: int, what: str) -> bytes:
        code, flag = self.code[key], b""
        if what == "up" and self.release == "top":
            code ^= 0x80
        if what == "up" and self.release == "zero":
            code = 0
        if self.bare:
            return bytes([code ^ 0x80 if what == "up" and self.release == "flag" else code])
        if self.release == "flag" and not self.command:
            flag = b"\x01" if what == "down" else b"\x00"
        command = bytes([self.cmds[0 if what == "down" or self.release != "flag" else 1]]) if self.command else b""
        number = bytes([self.number]) if self.sequence else b""
        return self._frame(command, flag + bytes([code]) + number)

    def _beat(self) -> bytes:
        self.beats += 1
        if self.bare:
            return b"\xf5"
        data = bytes([self.beats % 256]) if self.beat_counts else b""
        if not self.command:
            # What has no command says its life with a frame of another first byte.
            return self._frame(b"", b"\xee" + data + b"\x00", head=bytes([self.head[0] ^ 0x11]) + self.head[1:])
        return self._frame(bytes([self.cmds[2]]), data)

    def _frame(self, command: bytes, data: bytes, head: bytes = b"") -> bytes:
        head = head or self.head
        body = self.address + command + data
        width = {"none": 0, "modbus": 2, "ccitt": 2, "xmodem": 2}.get(self.check, 1)
        if self.length:
            size = {
                "data": len(body),
                "rest": len(body) + width,
                "all": len(head) + 1 + len(body) + width + len(self.tail),
            }
            body = bytes([size[self.length]]) + body
        frame = head + body
        covered = frame[self.start :]
        match self.check:
            case "xor":
                value = 0
                for byte in covered:
                    value ^= byte
                frame += bytes([value])
            case "sum8":
                frame += bytes([sum(covered) % 256])
            case "complement":
                frame += bytes([(256 - sum(covered)) % 256])
            case "modbus" | "ccitt" | "xmodem":
                poly, start, reflected = {
                    "modbus": (0xA001, 0xFFFF, True),
                    "ccitt": (0x1021, 0xFFFF, False),
                    "xmodem": (0x1021, 0, False),
                }[self.check]
                frame += crc(covered, poly, start, reflected).to_bytes(2, self.order)
        return frame + self.tail
