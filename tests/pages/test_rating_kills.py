"""The agent is killed again and again while citizens rate on its page: whoever was thanked is on the disk, once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Page, expect

from edge_agent.outbox.salvage import reading

from .agents import Running, running

LEVELS = ("very_dissatisfied", "dissatisfied", "basically_satisfied", "satisfied", "very_satisfied")
CITIZENS = 12  # at the least
KILLS = 3  # a slow machine takes long for each


class Mortal:
    """An agent that dies at moments that a seed chooses, and is started again on the same port."""

    def __init__(self, folder: Path, seed: int):
        self.kills = 0
        self._folder = folder
        self._random = Random(seed)
        self._stop = threading.Event()
        self._life = ExitStack()
        self.agent: Running = self._life.enter_context(running(folder))
        self._thread = threading.Thread(target=self._die_again_and_again, daemon=True)

    def begin(self) -> None:
        """From now on it dies."""
        self._thread.start()

    def _die_again_and_again(self) -> None:
        while not self._stop.wait(self._random.uniform(0.3, 4)):
            self._life.close()  # SIGKILL
            self.kills += 1
            self.agent = self._life.enter_context(running(self._folder, port=self.agent.port))

    def end(self) -> None:
        """The last death."""
        self._stop.set()
        self._thread.join()
        self._life.close()


def asked(mortal: Mortal, number: int) -> str:
    """The business system asks until it has its answer; the invitation's id, which is its own."""
    invitation = f"00000000-0000-4000-8000-{number:012d}"
    while True:
        try:
            mortal.agent.ask(
                "POST", "/v1/invitations", {"window": "3", "id": invitation, "seconds": 120, "replace": True}
            )
            return invitation
        except (OSError, ValueError):
            time.sleep(0.1)


@pytest.mark.parametrize("seed", [1, 2])
def test_whoever_is_thanked_is_on_the_disk_once(tmp_path: Path, browse: Callable[..., Page], seed: int) -> None:
    """Red if the page thanks before it is answered, or gives a press that it says again another number."""
    mortal = Mortal(tmp_path, seed)
    chance = Random(seed)
    truth: dict[str, int] = {}
    page = browse()
    page.goto(mortal.agent.standing)
    mortal.begin()
    try:
        number = 0
        while number < CITIZENS or mortal.kills < KILLS:
            number += 1
            invitation = asked(mortal, number)
            expect(page.locator("#ask")).to_be_visible(timeout=30_000)
            page.wait_for_function("id => shown === id", arg=invitation, timeout=30_000)
            level = chance.randrange(1, 6)
            page.click(f".face.{LEVELS[level - 1]}")
            page.click("#tags button >> nth=0")
            page.click("#submit")
            while not page.locator("#thanks").is_visible():
                if page.locator("#again").is_visible():
                    page.click("#again")
                page.wait_for_timeout(50)
            truth[invitation] = level
    finally:
        mortal.end()
    with reading(tmp_path / "outbox.db") as found:
        records = found.records()
        said = [json.loads(body) for _, body in records.after(records.done)]
    kept = Counter((each["invitation"], each["button"]) for each in said if each["kind"] == "press")

    assert dict.fromkeys(truth.items(), 1) == kept
