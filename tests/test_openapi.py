"""The OpenAPI documents of both doors: what the code takes, and what the running programs do when anything is sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.vault import new_key
from edge_agent import door
from tests.collector.doors import app_of
from tests.collector.gates import works_of
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.people import gate
from tests.collector.test_desk import park
from tests.openapi.__main__ import DOCUMENTS, FOLDER, text

ROOT = Path(__file__).parent.parent
ALLOWED = ROOT / "tests" / "openapi" / "schemathesis.toml"
WORDS = {"agent.json": "d-word", "collector.json": "w-word"}
_UP_S = 20.0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_says_what_the_code_takes(name):
    """Red until `python -m tests.openapi` has been run after a change."""
    assert text(name) == (FOLDER / name).read_text("utf-8")


def routes(app: Any) -> set[tuple[str, str]]:
    """Method and path of each address that is there for programs."""
    return {
        (method, re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule).replace("{invitation}", "{id}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if re.match(r"/(?:api/)?v1/", rule.rule)
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_address_stands_in_it_and_no_other(name, tmp_path):
    document = DOCUMENTS[name]()
    told = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    if name == "agent.json":
        app = door.create_app(SimpleNamespace(listen=lambda _: None), {}, "d", lambda: None)
        assert routes(app) == told
        return
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    app = app_of(ledger, gate(), lambda: 0, works=works_of(ledger))
    assert routes(app) == told
    ledger.store.close()


# ---- against the running programs


@contextmanager
def running(package: str, folder: Path, port_file: str) -> Iterator[str]:
    """The address of this program's door."""
    with (folder / f"{package}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", package, "run", "--config", f"{package}.toml"],
            cwd=folder,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        until_s = time.monotonic() + _UP_S
        while not (folder / port_file).exists() and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{(folder / port_file).read_text().strip()}"
        assert process.poll() is None, (folder / f"{package}.log").read_text("utf-8")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of both programs, and a ledger with ratings that wait for a person."""
    folder = tmp_path_factory.mktemp("doors")
    ledger = Ledger(folder / "ledger.db", directory_of(window()))
    ledger.rate(*range(1, 6))
    park(ledger)
    ledger.store.close()
    (folder / "directory.toml").write_text(window(), "utf-8")
    (folder / "collector.toml").write_text(
        f"""[broker]
host = "127.0.0.1"
port = 1
password = "x"
[web]
port = 0
port_file = "collector.port"
token = "{WORDS["collector.json"]}"
[[web.clients]]
name = "portal"
secret = "s"
channels = ["web", "mobile"]
""",
        "utf-8",
    )
    (folder / "edge_agent.toml").write_text(
        f"""agent = "hall-a"
[uplink]
host = "127.0.0.1"
port = 1
password = "x"
[door]
port = 0
port_file = "agent.port"
token = "{WORDS["agent.json"]}"
[details]
key = "{new_key(folder / "sealing.key").public}"
[[windows]]
id = "1"
device = "D1"
port = "/nowhere"
[[windows]]
id = "6"
device = "SCREEN-6"
profile = "screen"
""",
        "utf-8",
    )
    return folder


def as_of_now(name: str, folder: Path) -> Path:
    """The document with what only a clock can say: nothing was given in the future."""
    document = json.loads((FOLDER / name).read_text("utf-8"))
    given = document["components"]["schemas"].get("RatingGiven")
    if given is not None:
        given["properties"]["given_ms"]["maximum"] = time.time_ns() // 1_000_000
    (folder / name).write_text(json.dumps(document), "utf-8")
    return folder / name


def attacked(document: Path, url: str, *options: str, phases: str = "examples,coverage,fuzzing") -> None:
    """Sends what the document allows, and what it does not, and holds each answer against it."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", ALLOWED),
            *("run", document, "--url", url, "--phases", phases, "--max-examples", "25"),
            *("--seed", "7", "--no-color", "--generation-database", "none", *options),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert 0 == done.returncode, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_running_agent_does_what_its_document_says(folder):
    """Red if anything that is sent is answered by 500, by another shape, or taken although it is forbidden."""
    with running("edge_agent", folder, "agent.port") as url:
        token = f"Authorization: Bearer {WORDS['agent.json']}"
        # A stream has no end that could be waited for.
        attacked(as_of_now("agent.json", folder), url, "-H", token, "--exclude-operation-id", "follow")


def test_the_running_collector_does_what_its_document_says(folder):
    document, token = as_of_now("collector.json", folder), f"Authorization: Bearer {WORDS['collector.json']}"
    others = ("--exclude-operation-id", "takeRating", "--exclude-operation-id", "takeCases")
    with running("collector", folder, "collector.port") as url:
        attacked(document, url, "-H", token, *others)
        # Each of its lists that may just be, of 500 cases with all their fields, would take two minutes.
        attacked(document, url, "-H", token, "--include-operation-id", "takeCases", phases="examples,fuzzing")
        attacked(document, url, "--auth", "portal:s", "--include-operation-id", "takeRating")
