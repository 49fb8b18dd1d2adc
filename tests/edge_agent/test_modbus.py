"""Polling over a real pty and a real socket: what a panel shows, refuses, damages or does not say; and what it costs.

The panel is written from the Modbus description alone, its checksum bit by bit.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from random import Random

import pytest
import serial

from edge_agent.link import LinkDown
from edge_agent.modbus import ModbusPoll
from protocols.profiles.events import Noise, Pressed
from protocols.profiles.modbus import DeviceSaid, Keys, NoAnswer, Reading

READ_INPUTS, READ_HOLDING, READ_INPUT_REGISTERS, WRITE = 2, 3, 4, 6


def checked(body: bytes) -> bytes:
    register = 0xFFFF
    for byte in body:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
    return body + register.to_bytes(2, "little")


class Panel(threading.Thread):
    """Panels of several addresses on one line: registers by address; `spoil` does to an answer what a line can do."""

    def __init__(self, addresses: tuple[int, ...] = (1,)):
        super().__init__()
        self.registers = {address: [0] * 32 for address in addresses}
        self.spoil: Callable[[bytes, bytes], bytes] = lambda request, answer: answer
        self._master, self._slave = pty.openpty()
        tty.setraw(self._master)
        self.port = os.ttyname(self._slave)
        self._told, self._tell = os.pipe()

    def run(self) -> None:
        while self._told not in select.select([self._master, self._told], [], [])[0]:
            request = os.read(self._master, 8)
            while len(request) < 8:
                request += os.read(self._master, 8 - len(request))
            os.write(self._master, self.spoil(request, self.answer(request)))

    def answer(self, request: bytes) -> bytes:
        address, function = request[0], request[1]
        first, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if address not in self.registers or checked(request[:6]) != request:
            return b""
        registers = self.registers[address]
        if function == WRITE and first < len(registers):
            registers[first] = count
            return request
        if function not in (READ_INPUTS, READ_HOLDING, READ_INPUT_REGISTERS) or first + count > len(registers):
            return checked(bytes([address, function | 0x80, 2]))
        values = registers[first : first + count]
        if function == READ_INPUTS:
            data = sum(value << at for at, value in enumerate(values)).to_bytes(-(-count // 8), "little")
        else:
            data = b"".join(value.to_bytes(2, "big") for value in values)
        return checked(bytes([address, function, len(data)]) + data)

    def unplug(self) -> None:
        os.write(self._tell, b"!")
        self.join(10)
        for fd in (self._master, self._slave, self._told, self._tell):
            os.close(fd)


@pytest.fixture
def panel() -> Iterator[Panel]:
    panel = Panel((1, 5))
    panel.start()
    yield panel
    if panel.is_alive():
        panel.unplug()


@pytest.fixture
def line(panel: Panel) -> Iterator[serial.Serial]:
    with serial.Serial(panel.port, 9600, timeout=0.5, write_timeout=1, exclusive=True) as line:
        yield line


# ---- what it shows


@pytest.mark.parametrize(
    ("function", "values", "raw"),
    [
        (READ_HOLDING, (3,), "01 03 02 00 03 F8 45"),
        (READ_INPUT_REGISTERS, (3, 65535), checked(bytes.fromhex("01 04 04 00 03 FF FF")).hex()),
        (READ_INPUTS, (0, 0, 1, 0, 0), "01 02 01 04 A0 4B"),
    ],
)
def test_a_panel_shows_its_registers_and_inputs(panel, line, function, values, raw):
    """Frames as the Modbus description has them, their checksums too."""
    panel.registers[1][: len(values)] = values

    assert Reading(values, bytes.fromhex(raw), function == READ_INPUTS) == ModbusPoll(
        line, function, 0, len(values)
    ).poll(1)


def test_a_register_is_set(panel, line):
    """A key cleared, a lamp lit; the panel says so."""
    said = ModbusPoll(line, READ_HOLDING, 0).write(5, 16, 1)

    assert Reading((1,), checked(bytes.fromhex("05 06 00 10 00 01"))) == said
    assert 1 == panel.registers[5][16]


def test_a_press_is_read_off_a_panel_and_cleared(panel, line):
    """Latched until told to let go; the panel of the other address is asked in between."""
    poll = ModbusPoll(line, READ_HOLDING, 0)
    keys = {address: Keys(str(address), "latched", "number", {3: 3}) for address in (1, 5)}
    found = []
    for now_ms in range(0, 600, 100):
        panel.registers[5][0] = 3 if now_ms == 200 else panel.registers[5][0]
        for address, each in keys.items():
            found += each.feed(poll.poll(address), now_ms)
            if each.to_clear:
                poll.write(address, 0, 0)

    assert [("5", 3)] == [(each.device, each.key) for each in found if isinstance(each, Pressed)]
    assert [] == [each for each in found if isinstance(each, Noise)]


def test_every_change_is_seen_and_every_sameness(panel, line):
    """An answer like the last one is taken unjudged, any other is judged; each address has its own last one."""
    poll = ModbusPoll(line, READ_HOLDING, 0)
    seen = []
    for value in (0, 0, 3, 3, 0, 65535, 0):
        panel.registers[1][0] = value
        seen += [poll.poll(address) for address in (1, 5)]

    assert [0, 0, 3, 3, 0, 65535, 0] == [said.values[0] for said in seen[::2]]
    assert [0] * 7 == [said.values[0] for said in seen[1::2]]
    assert [checked(b"\x01\x03\x02" + said.values[0].to_bytes(2, "big")) for said in seen[::2]] == [
        said.raw for said in seen[::2]
    ]


# ---- what a line can do


@pytest.mark.alone
def test_an_address_that_is_not_there_says_nothing(line):
    """Within the time-out, and the next panel is asked as if nothing had been."""
    poll = ModbusPoll(line, READ_HOLDING, 0)
    poll.poll(1)
    began = time.monotonic()

    assert NoAnswer() == poll.poll(9)
    assert 0.06 < time.monotonic() - began < 0.2
    assert isinstance(poll.poll(1), Reading)


@pytest.mark.alone
def test_a_panel_that_refuses_is_heard_at_once(line):
    """Without waiting for the bytes that an exception does not have. Red if the whole answer is waited for."""
    poll = ModbusPoll(line, READ_HOLDING, 40, wait_ms=1000)
    poll.poll(1)
    began = time.monotonic()

    assert DeviceSaid(2, bytes.fromhex("01 83 02 C0 F1")) == poll.poll(1)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda request, answer: answer[:3], "answer cut short"),
        (lambda request, answer: answer[:6], "bad checksum"),
        (lambda request, answer: answer[:4] + bytes([answer[4] ^ 2]) + answer[5:], "bad checksum"),
        (lambda request, answer: checked(b"\x05" + answer[1:-2]), "another address answered"),
        (lambda request, answer: checked(b"\x01\x04" + answer[2:-2]), "not the answer to what was asked"),
        (lambda request, answer: checked(answer[:2] + b"\x01\x00\x00"), "not the answer to what was asked"),
        (lambda request, answer: checked(b"\x01\x83\x05"), "not the answer to what was asked"),
        (lambda request, answer: request + answer, "our own words back: does the adapter echo?"),
        (lambda request, answer: b"\xff\x00" + answer, "bad checksum"),
    ],
)
def test_a_damaged_answer_is_noise_and_the_next_is_heard(panel, line, spoil, reason, known):
    """Cut, flipped, another's, another question's, our own, behind two bytes of noise; nothing of it is left over.

    Whether or not the panel has said it well before.
    """
    poll = ModbusPoll(line, READ_HOLDING, 0)
    if known:
        poll.poll(1)
    good, panel.spoil = panel.spoil, spoil
    said = poll.poll(1)
    panel.spoil = good

    assert isinstance(said, Noise)
    assert reason == said.reason
    assert isinstance(poll.poll(1), Reading)


def test_an_adapter_that_echoes_is_no_trouble_when_told(panel, line):
    """The echo is taken off before the answer; one that is not what was sent is noise."""
    panel.registers[1][0] = 4
    poll = ModbusPoll(line, READ_HOLDING, 0, echo=True)
    panel.spoil = lambda request, answer: request + answer
    values = poll.poll(1)
    same = poll.poll(1)
    wrote = poll.write(1, 2, 7)
    panel.spoil = lambda request, answer: request[:-1] + answer
    short = poll.poll(1)

    assert isinstance(values, Reading)
    assert (4,) == values.values
    assert same == values
    assert isinstance(wrote, Reading)
    assert isinstance(short, Noise)
    assert "echo is not what was sent" == short.reason


@pytest.mark.parametrize("seed", range(20))
def test_nothing_a_line_can_do_makes_it_raise(panel, line, seed):
    """Random bytes, and random bodies with a right checksum, for every function; never a reading of them all."""
    chance = Random(seed)
    body = bytes(chance.choice([1, 2, 3, 4, 6, 0x83, chance.randrange(256)]) for _ in range(chance.randrange(12)))
    body = chance.choice([body, b"\x01" + body])
    panel.spoil = lambda request, answer: chance.choice([body, checked(body), checked(request[:2] + body)])
    good, spoiled = (lambda request, answer: answer), panel.spoil
    for function in (READ_INPUTS, READ_HOLDING, READ_INPUT_REGISTERS):
        poll = ModbusPoll(line, function, 0, wait_ms=5)
        panel.spoil = good
        poll.poll(1)
        panel.spoil = spoiled
        for said in (poll.poll(1), poll.poll(1), poll.write(1, 0, 1)):
            assert isinstance(said, Reading | NoAnswer | DeviceSaid | Noise)


def test_a_cable_that_is_out_is_the_links_matter(panel, line):
    """It opens the line again; so does one that was never opened."""
    poll = ModbusPoll(line, READ_HOLDING, 0)
    poll.poll(1)
    panel.unplug()
    for _ in range(2):
        with pytest.raises(LinkDown, match="线缆已断开"):
            poll.poll(1)
        line.close()


def test_a_panel_behind_a_socket_is_asked_too(panel):
    """A box that puts a serial line on the network: the same bytes."""
    panel.registers[1][0] = 2
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = serial.serial_for_url(f"socket://127.0.0.1:{server.getsockname()[1]}", timeout=0.5)
        with server.accept()[0] as box:
            asked = threading.Thread(target=lambda: box.sendall(panel.answer(box.recv(8))))
            asked.start()
            said = ModbusPoll(line, READ_HOLDING, 0).poll(1)
            asked.join(10)
            silent = ModbusPoll(line, READ_HOLDING, 0).poll(1)
            line.close()

    assert isinstance(said, Reading)
    assert (2,) == said.values
    assert NoAnswer() == silent


# ---- what it costs


def test_thirty_polls_a_second_cost_little(line):
    """As many as a line of 9600 baud can carry, counted in this thread's own time on the processor."""
    poll = ModbusPoll(line, READ_HOLDING, 0)
    keys = Keys("1", "level", "number", {1: 1})
    poll.poll(1)
    began = time.thread_time()
    for count in range(100):
        keys.feed(poll.poll(1), count)
    each_ms = (time.thread_time() - began) * 10

    assert each_ms < 1, f"{each_ms:.2f} ms a poll, {each_ms * 3:.1f} % of a core at thirty a second"
