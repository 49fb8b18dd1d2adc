"""A real Prometheus reads a collector: its rules load and ring as they should, each panel of the board has a figure."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from protocols.messages import AgentStatus, Health, WindowHealth
from tests.collector.agents import NOW_MS, Agent
from tests.collector.doors import app_of, served
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.people import gate
from tests.collector.test_web import TOKEN

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"
RULES = DEPLOY / "prometheus" / "hall-rating.yml"
PATIENCE_S = 60
QUIET_PANELS = {"待处理的原因 / parked by reason"}  # empty where nothing is wrong

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: hall-rating
    authorization: {{credentials: "{token}"}}
    static_configs: [{{targets: ["127.0.0.1:{collector}"]}}]
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    """Skips where Prometheus is not; fails in CI, where it has to be."""
    if all(map(_find, ("prometheus", "promtool"))):
        return
    reason = "没有 prometheus / is not here: make prometheus"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _find(program: str) -> str:
    """Where it is: the system's own, or the one that `make prometheus` unpacks; empty if nowhere."""
    return shutil.which(program) or shutil.which(program, path=str(UNPACKED)) or ""


class Prometheus:
    """A running one, and what it answers."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **params: str) -> Any:
        answer = requests.get(f"{self.url}/{path}", params, timeout=10).json()
        assert "success" == answer["status"], answer
        return answer["data"]

    def shows(self, expr: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expr)["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has read a collector with a rating, an agent and a window three times."""
    tmp_path = tmp_path_factory.mktemp("prometheus")
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    ledger.rate(1, 2, button=2)
    ledger.intake.note_status("hall-a", AgentStatus(True), NOW_MS)
    windows = [WindowHealth("w1", "cable_out", since_ms=NOW_MS)]
    ledger.intake.note_health(
        "hall-a", Health(NOW_MS, Agent().epoch, windows, backlog=7, oldest_ms=NOW_MS - 90_000), NOW_MS
    )
    ledger.delivery.province_away("HTTP 503", NOW_MS - 700_000)
    try:
        with served(app_of(ledger, gate(TOKEN), lambda: NOW_MS)) as port:
            yield from _reads(port, tmp_path)
    finally:
        ledger.store.close()


def _reads(port: int, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has read the collector at this port three times, as long as it is wanted."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        own = chosen.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=RULES, token=TOKEN, collector=port), "utf-8")
    program = subprocess.Popen(
        [
            _find("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        stderr=subprocess.DEVNULL,
    )
    found = Prometheus(own)
    try:
        _until(lambda: len(found.shows('up{job="hall-rating"}[1m]')[0]["values"]) >= 3)
        yield found
    finally:
        program.kill()
        program.wait()


def _until(shown: Any) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            if shown():
                return
        except (OSError, IndexError, AssertionError):
            pass  # not up yet, or has not read yet
        assert time.monotonic() < until_s, "Prometheus 一直没有读到 / has read nothing"
        time.sleep(0.2)


def test_each_panel_of_the_board_shows_a_figure(prometheus):
    """Red if a name, a label or the PromQL of a panel is wrong: it would stand empty in the operators' room."""
    board = json.loads((DEPLOY / "grafana" / "hall-rating.json").read_text("utf-8"))
    [choice] = [each for each in board["templating"]["list"] if each["name"] == "instance"]
    metric, label = choice["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
    empty = {
        panel["title"]
        for panel in board["panels"]
        for target in panel.get("targets", [])
        if not prometheus.shows(target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m"))
    }

    assert prometheus.get(f"label/{label}/values", **{"match[]": metric})
    assert empty <= QUIET_PANELS


def test_every_rule_loads_and_is_reckoned_without_an_error(prometheus):
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    _until(lambda: all("ok" == rule["health"] for rule in rules()))

    assert len(rules()) == RULES.read_text("utf-8").count("- alert:")
    assert "HallRatingProvinceAway" in {rule["name"] for rule in rules() if rule["alerts"]}


def test_each_rule_rings_when_it_should_and_not_before():
    """Of Prometheus' own tool, on minutes that are made up: hall_rating_rules.yml beside this file."""
    done = subprocess.run(
        [_find("promtool"), "test", "rules", str(Path(__file__).with_name("hall_rating_rules.yml"))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
