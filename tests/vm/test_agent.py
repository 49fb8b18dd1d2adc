"""The agent on a real FTDI adapter of a real kernel: presses kept and thanked, and the adapter pulled out and put back.

The port is given as a person would give it. VM_CYCLES says how often the adapter is pulled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from .desk import Agent, Panel, agent, appears, elapsed_ms, marks, opens
from .guest_machine import Guest

pytestmark = pytest.mark.vm

CYCLES = int(os.environ.get("VM_CYCLES", "4"))
SEED = int(os.environ.get("VM_SEED", "7"))
BACK_MS = 2_000  # what a hall is promised: from the kernel's knowing of the adapter to the agent's reading it
SERIAL = "A50285BI"
PORT, OTHER_PORT, STRANGERS_PORT = "1", "4.3", "2"

BY_NAME = "/dev/ttyUSB0"
EVENT = "/dev/input/event"
BY_PATH = "/dev/serial/by-path/pci-0000:00:04.0-usb-0:1:1.0-port0"
BY_SOCKET = "usb:1-1"
BY_SERIAL = f"usb:0403:6001:{SERIAL}"
BY_MAKE = "usb:0403:6001"
BY_ID = f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{SERIAL}-if00-port0"


@pytest.mark.parametrize("bound", [BY_NAME, BY_PATH, BY_ID, BY_MAKE])
def test_a_press_on_a_real_adapter_is_kept_and_thanked(guest: Guest, panel: Panel, bound: str) -> None:
    """Panel, TCP, QEMU's adapter, ftdi_sio, tty, agent, outbox, and the thanks all the way back."""
    guest.plug("adapter", PORT, panel.line.port, SERIAL)
    with agent(guest, bound) as running:
        opens(running, BY_NAME, 0)
        for button in (1, 5, 3):
            panel.press(button)
        assert panel.all_thanked(), running.program.errors
        running.stop()

        assert [(1, 1, 1), (1, 2, 5), (1, 3, 3)] == running.kept()


@dataclass(frozen=True)
class Return:
    """How an adapter comes back."""

    how: str
    port: str
    behind_a_stranger: bool
    """Another adapter was plugged in meanwhile and has taken its name."""


SAME = Return("the same port", PORT, False)
OTHER = Return("another port", OTHER_PORT, False)
RENAMED = Return("another name", PORT, True)
BOTH = Return("another port and name", OTHER_PORT, True)


@pytest.mark.parametrize(
    ("bound", "returns"),
    [(BY_SOCKET, (RENAMED, SAME)), (BY_SERIAL, (OTHER, RENAMED, BOTH, SAME))],
    ids=["usb socket", "serial number"],
)
def test_an_adapter_that_was_pulled_out_is_back_in_two_seconds(
    guest: Guest, panel: Panel, say: Callable[[str], None], bound: str, returns: tuple[Return, ...]
) -> None:
    """Presses before, during and after each outage: every one is thanked in the end and kept once.

    Turns red if the agent looks for its port only every few seconds, and if it thanks before it keeps.
    """
    rng = Random(f"{SEED}/{bound}")
    guest.plug("adapter", PORT, panel.line.port, SERIAL)
    with agent(guest, bound) as running:
        opens(running, BY_NAME, 0)
        measured = [_cycle(guest, panel, running, returns[at % len(returns)], rng) for at in range(CYCLES)]
        running.stop()
        kept = running.kept()

    back, outage = sorted(each[0] for each in measured), sorted(each[1] for each in measured)
    say(
        f"{CYCLES} × 拔插 / pulled and put back, VM_SEED={SEED}: 重新读取 / read again after {_spread(back)} ms; "
        f"到致谢 / from plug to thanks {_spread(outage)} ms"
    )
    assert 2 * CYCLES == len(panel.pressed())
    assert [(made.boot, made.count, made.button) for made in panel.pressed()] == kept
    assert max(back) <= BACK_MS


def test_of_two_adapters_alike_none_is_taken_until_somebody_says_which(guest: Guest, panel: Panel) -> None:
    """Same make, same serial number: both are named with their sockets, none is opened. Red if the first is."""
    guest.plug("adapter", PORT, panel.line.port, "0001")
    seen = marks(guest.plugs)
    guest.plug_stranger("stranger", STRANGERS_PORT, serial="0001")
    appears(guest, *seen)
    with agent(guest, BY_MAKE) as running:
        assert until_said(running, "usb:1-1", "usb:1-2", "say which in windows.port"), running.program.errors
        assert [] == [line for line in running.holds.said() if line.get("did") == "open"]
        running.stop()


def test_a_key_of_a_real_keypad_is_kept_and_types_nowhere(guest: Guest) -> None:
    """Found by its make, grabbed, pulled out and put into another socket: back under whatever number it has."""
    mark = len(guest.plugs.lines)
    guest.plug_any("usb-kbd", "keypad", "4.1")
    node = appears(guest, mark, EVENT)["node"]
    with agent(guest, "hid:0627:0001", "hid-keypad") as running:
        opens(running, node, 0)
        assert until_said(running, "cable in")  # grabbed by now: what is typed before that is forgotten
        guest.send_key("kp_5")
        assert until_said(running, "press kept"), running.program.errors
        guest.unplug_any("keypad")
        mark, held = len(guest.plugs.lines), len(running.holds.lines)
        guest.plug_any("usb-kbd", "keypad", "3")
        there = appears(guest, mark, EVENT)
        again = opens(running, there["node"], held)
        assert until_said(running, "cable in", times=2)
        guest.send_key("kp_2")
        assert until_said(running, "-2 无邀请")
        running.stop()

        assert [5, 2] == [button for _, _, button in running.kept()]
        assert again["at_ms"] - there["at_ms"] <= BACK_MS


def until_said(running: Agent, *words: str, times: int = 1, within_s: float = 60.0) -> bool:
    """Whether so many lines of its log have all of these words before the time is over."""
    deadline_s = time.monotonic() + within_s
    while sum(all(word in line for word in words) for line in running.program.errors) < times:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def _cycle(guest: Guest, panel: Panel, running: Agent, back: Return, rng: Random) -> tuple[int, int]:
    """Pull it out near a press, press again, put it back; ms until the agent reads, and from plug to thanks."""
    panel.press(rng.randint(1, 5))
    time.sleep(rng.uniform(0, 0.3))  # before, while or after the press is kept, as the seed has it
    guest.unplug("adapter")
    if back.behind_a_stranger:
        seen = marks(guest.plugs)
        guest.plug_stranger("stranger", STRANGERS_PORT)
        appears(guest, *seen)
    panel.press(rng.randint(1, 5))
    seen, held = marks(guest.plugs, running.holds)
    plugged_s = time.monotonic()
    guest.plug("adapter", back.port, panel.line.port, SERIAL)
    there = appears(guest, seen)
    read = opens(running, there["node"], held)
    assert panel.all_thanked(), f"{back.how}: {running.program.errors[-10:]}"
    outage_ms = elapsed_ms(plugged_s)
    if back.behind_a_stranger:
        guest.unplug("stranger")
    return round(read["at_ms"] - there["at_ms"]), outage_ms


def _spread(sorted_ms: list[int]) -> str:
    return f"{sorted_ms[0]} … {sorted_ms[len(sorted_ms) // 2]} … {sorted_ms[-1]}"
