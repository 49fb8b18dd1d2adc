"""The setup page on a machine with real USB: what is plugged in while it is open shows, and leads to a kept press."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .desk import Panel, appears, marks
from .guest_machine import PYTHON, Guest
from .prepare import ROOT

pytestmark = pytest.mark.vm

PORT, SOCKET, SERIAL = 8610, "4.2", "A50285BI"
THINK_S = 3  # at each screen; he has never seen it
SHOWN_S = 15.0  # a page looks once a second; an emulated machine needs several to look
JOURNEY_S = 180


def test_setup_shows_an_adapter_that_is_plugged_in_and_goes_on_to_a_kept_press(
    guest: Guest, panel: Panel, say: Callable[[str], None]
) -> None:
    """An empty folder, nothing plugged in, the guide open: the adapter comes by itself, bound to its USB socket, its
    press is kept and thanked, all within three minutes. Red if the list is made once, when the screen is opened."""
    ours = ["env", f"PYTHONPATH={ROOT}", PYTHON, "-m", "edge_agent"]
    guest.run(["mkdir", "set-up"])
    agent = guest.start_program([*ours, "run", "--config", "set-up/agent.toml", "--setup-port", PORT])
    technician = guest.start_program(["technician.py", PORT, THINK_S])

    def reached(step: str) -> dict[str, object]:
        return technician.wait(lambda line: line["step"] == step, timeout_s=180)

    try:
        looks = reached("looks")
        seen = marks(guest.plugs)
        guest.plug("adapter", SOCKET, panel.line.port, SERIAL)
        appears(guest, *seen)
        appeared = reached("appeared")
        reached("listens")
        panel.press(3)
        kept = reached("kept")
        thanked = panel.all_thanked()
        assert 0 == technician.join()
    finally:
        agent.stop()
    export = guest.run([*ours, "outbox", "export", "--config", "set-up/agent.toml"]).json()
    steps = ", ".join(f"{line['step']} {line['at_s']}" for line in technician.said())
    say(f"设置页在虚拟机里, 每屏想 {THINK_S} 秒 / the setup page in the guest, {THINK_S} s at each screen: {steps} s")

    assert f"usb:1-{SOCKET}" == appeared["bind"]
    assert float(str(appeared["at_s"])) - float(str(looks["at_s"])) < SHOWN_S
    assert thanked, agent.errors[-10:]
    assert [("A03", 3)] == [(line["window"], line["body"]["button"]) for line in export if line["kind"] == "press"]
    assert float(str(kept["at_s"])) < JOURNEY_S
