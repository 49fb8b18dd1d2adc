"""From a finger on the glass to the province: the real agent, broker, collector and a simulated province between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page, expect

from tests.brokers import Mosquitto
from tests.collector.ledgers import case
from tests.edge_agent.program import ROOT

from .agents import running

pytestmark = pytest.mark.mosquitto
PATIENCE_S = 30
DIRECTORY = """
[[windows]]
agent = "hall-pc-1"
window = "3"
hall = "市民中心"
number = "3号"
device = "PAGE-3"
channel = "window_pad"
"""


@contextmanager
def started(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            stderr=log,
            stdout=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def read(file: Path) -> str:
    """What stands in this file, once it is there."""
    until_s = time.monotonic() + PATIENCE_S
    while not (file.exists() and file.read_text("utf-8").strip()):
        assert time.monotonic() < until_s, file
        time.sleep(0.05)
    return file.read_text("utf-8").strip()


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A broker's port, and the province's journal; cases C1 and C2 are known to the collector."""
    folder = tmp_path / "centre"
    with Mosquitto(tmp_path / "broker", {"collector": "c", "hall-pc-1": "x"}) as broker:
        folder.mkdir()
        journal = folder / "province.jsonl"
        files = ["--key-file", "keys.json", "--journal", str(journal), "--port-file", "province.port"]
        with started(folder, "firmware_sim", "province", "--dialect", "json", *files):
            port = read(folder / "province.port")
            (folder / "directory.toml").write_text(DIRECTORY, "utf-8")
            (folder / "collector.toml").write_text(
                f"""[broker]
host = "127.0.0.1"
port = {broker.port}
password = "c"
[web]
port = 0
port_file = "web.port"
token = "t"
[province]
dialect = "json"
ratings_url = "http://127.0.0.1:{port}/exchange/v1/ratings"
api_token = "{json.loads(read(folder / "keys.json"))["api_token"]}"
""",
                "utf-8",
            )
            with started(folder, "collector", "run", "--config", "collector.toml"):
                url = f"http://127.0.0.1:{read(folder / 'web.port')}/api/v1/cases"
                now_ms = time.time_ns() // 1_000_000
                times = {"service_ms": now_ms - 60_000, "accepted_ms": now_ms - 120_000}
                body = msgspec.json.encode([msgspec.to_builtins(case(each, **times)) for each in ("C1", "C2")])
                ask = urllib.request.Request(url, body, {"Authorization": "Bearer t"})
                urllib.request.urlopen(ask, timeout=10).close()
                yield broker.port, journal


def arrived(journal: Path, count: int) -> list[dict[str, Any]]:
    """So many ratings at the province."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
        if len(lines) >= count or time.monotonic() > until_s:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)


def test_what_a_citizen_says_on_the_page_is_what_the_province_has(
    tmp_path: Path, centre: tuple[int, Path], browse: Callable[..., Page]
) -> None:
    """One bad rating with a tag and a sentence, one good one with nothing but the face: each once, to the letter, with
    its case, and without a key map in anybody's directory."""
    broker, journal = centre
    with running(tmp_path, broker=broker) as agent:
        page = browse()
        page.goto(agent.standing)
        for case_no, face, words in (("C1", "very_dissatisfied", "等了两个小时, 没人理"), ("C2", "very_satisfied", "")):
            agent.invite(case_no=case_no)
            expect(page.locator("#ask")).to_be_visible()
            page.click(f".face.{face}")
            if words:
                page.click("#tags button >> nth=7")
                page.fill("#text", words)
            page.click("#submit")
            expect(page.locator("#thanks")).to_be_visible()
        there = arrived(journal, 2)

    assert [
        ("C1", "very_dissatisfied", ["115"], "等了两个小时, 没人理"),
        ("C2", "very_satisfied", [], ""),
    ] == sorted((each["projectNo"], each["level"], each["tags"], each["text"]) for each in there)
