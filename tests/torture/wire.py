"""The network between two parts: as good as loopback, or cut, silent, slow, reset; and MQTT that doubles, shuffles and
loses what it carries.

MQTT promises a message at least once, and in order, as long as a connection and a broker live. What is done here to its
messages is what a broker that restarts, a bridge, and a client that comes back do to them.
Format: MQTT 3.1.1, 2.2 and 3.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from random import Random
from typing import Literal

Mode = Literal["good", "cut", "silent", "slow"]
_SLOW_BYTES, _SLOW_S = 512, 0.05  # 10 kB/s: a modem line in a village
_PUBLISH, _PUBACK = 3, 4
_QOS_1, _DUP = 0x02, 0x08


@dataclass(frozen=True)
class Unruly:
    """What happens to each message at QoS 1; shares from 0 to 1."""

    lost: float = 0.0
    copied: float = 0.0
    copies_max: int = 5
    late: float = 0.0
    late_s: float = 2.0


class Net:
    """All wires of a world, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="net", daemon=True)
        self._thread.start()
        self._wires: list[Wire] = []

    def wire(self, target: int, mqtt: bool, seed: str) -> Wire:
        """A wire to this port of 127.0.0.1; `port` is where it begins."""
        made = Wire(self._loop, target, mqtt, Random(seed))
        self._call(made.open())
        self._wires.append(made)
        return made

    def set(self, wire: Wire, mode: Mode) -> None:
        self._call(wire.be(mode))

    def reset(self, wire: Wire) -> None:
        """Break every connection, without a goodbye."""
        self._call(wire.reset())

    def close(self) -> None:
        for wire in self._wires:
            self._call(wire.be("cut"))
        self._call(_nothing_left())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(10)


class Wire:
    """One way from a port of its own to a target."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, mqtt: bool, rng: Random):
        self.port = 0
        self.unruly = Unruly()
        self._loop, self._target, self._mqtt, self._rng = loop, target, mqtt, rng
        self._mode: Mode = "good"
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._heard = asyncio.Event()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._heard.set()

    async def be(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._heard.clear()
        else:
            self._heard.set()
        if mode == "cut":
            if self._server is not None:
                self._server.close()
                self._server = None
            await self.reset()
        elif self._server is None:
            await self.open()

    async def reset(self) -> None:
        for end in list(self._ends):
            # So that the other side hears RST and no FIN: the machine is gone, it did not hang up.
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.transport.abort()

    async def _carry(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        self._ends.add(client_out)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._heard.wait()
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self._target)
            self._ends.add(server_out)
            up: asyncio.Queue[bytes] = asyncio.Queue()
            down: asyncio.Queue[bytes] = asyncio.Queue()
            ways = (
                self._listen(client_in, up, down),
                self._listen(server_in, down, up),
                self._speak(up, server_out),
                self._speak(down, client_out),
            )
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody is at the other end: the client hears it
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (client_out, *([server_out] if tasks else [])):
                self._ends.discard(end)
                end.transport.abort()

    async def _listen(self, source: asyncio.StreamReader, on: asyncio.Queue[bytes], back: asyncio.Queue[bytes]) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if not self._mqtt:
                    on.put_nowait(data)
                    continue
                packets, rest = packets_of(rest + data)
                for packet in packets:
                    self._pass(packet, on, back)
        await asyncio.sleep(0.01)  # what was said before a goodbye still goes out

    async def _speak(self, what: asyncio.Queue[bytes], sink: asyncio.StreamWriter) -> None:
        # One at a time: a message that comes late must not stand in the middle of another.
        with contextlib.suppress(OSError):
            while True:
                data = await what.get()
                step = _SLOW_BYTES if self._mode == "slow" else max(1, len(data))
                for at in range(0, len(data), step):
                    await self._heard.wait()
                    if self._mode == "slow":
                        await asyncio.sleep(_SLOW_S)
                    sink.write(data[at : at + step])
                    await sink.drain()

    def _pass(self, packet: bytes, on: asyncio.Queue[bytes], back: asyncio.Queue[bytes]) -> None:
        wrong, rng = self.unruly, self._rng
        if packet[0] >> 4 != _PUBLISH or not packet[0] & _QOS_1:
            on.put_nowait(packet)
            return
        if rng.random() < wrong.lost:
            # It was answered for, and then forgotten: that is a broker that lost all it had.
            back.put_nowait(bytes([_PUBACK << 4, 2]) + packet_id(packet))
            return
        copies = rng.randint(2, wrong.copies_max) if rng.random() < wrong.copied else 1
        for number in range(copies):
            copy = packet if number == 0 else bytes([packet[0] | _DUP]) + packet[1:]
            if rng.random() < wrong.late:
                self._loop.call_later(rng.uniform(0, wrong.late_s), on.put_nowait, copy)
            else:
                on.put_nowait(copy)


def packets_of(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole packets at the beginning of these bytes, and what is left."""
    packets = []
    while (size := _size(data)) is not None and size <= len(data):
        packets.append(data[:size])
        data = data[size:]
    return packets, data


def packet_id(publish: bytes) -> bytes:
    """Of a PUBLISH at QoS 1."""
    at = next(number for number in range(1, 5) if publish[number] < 0x80) + 1
    topic = int.from_bytes(publish[at : at + 2], "big")
    return publish[at + 2 + topic : at + 4 + topic]


def _size(data: bytes) -> int | None:
    """Of the packet that begins here, as far as that can be told yet."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return 2 + place + length
    return None


async def _nothing_left() -> None:
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def free_ports(number: int) -> Iterator[int]:
    """Ports below those that the system gives away by itself: they stay free while their program is dead."""
    found, port = 0, 20_000 + os.getpid() * 37 % 10_000  # another run beside this one begins elsewhere
    while found < number:
        port += 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found += 1
        yield port
