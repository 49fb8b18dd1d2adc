"""What docs/integrate.md tells an integrator to do, done: its bodies are taken, and its Python is run against both
doors."""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector import web
from collector.ledger.desk import FIELDS
from edge_agent import door
from edge_agent.outbox import Outbox
from protocols.cases import case_of
from protocols.dialects.flat import Flat, FlatSettings
from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.dialects.linewell import Linewell, LinewellSettings
from protocols.ratings import Case, Moment
from tests.collector.agents import NOW_MS
from tests.collector.doors import app_of
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.people import gate

TEXT = (Path(__file__).parent.parent / "docs" / "integrate.md").read_text(encoding="utf-8")
BODIES = [json.loads(body) for body in re.findall(r"-d '(\{.*?\})'", TEXT, flags=re.DOTALL)]
CASE, WITH_CASE, ASK, CORRECTION = BODIES
PYTHON = re.search(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)[1]


@contextmanager
def served(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join(5)


def test_its_case_lacks_nothing_in_any_dialect():
    """Red if a dialect wants a field that the example does not give."""
    case = msgspec.convert(CASE, Case)
    for spoken in (
        Linewell(LinewellSettings(token_url="", rating_url="", app_key="", app_secret="", system_no="")),
        Flat(FlatSettings(rating_url="")),
        JsonRest(JsonRestSettings(ratings_url="", api_token="")),
    ):
        assert () == spoken.case_lacks(case)


def test_its_bodies_are_taken():
    assert "BJ20260001" == msgspec.convert(ASK, door.Ask).case_no
    assert CASE | {"case_no": WITH_CASE["case"]["case_no"]} == WITH_CASE["case"]
    assert case_of(msgspec.convert(WITH_CASE, door.Ask).case)
    assert {"who", "why", "fields"} == CORRECTION.keys()
    assert CORRECTION["fields"].keys() <= FIELDS.keys()


def test_its_python_works_against_both_doors(tmp_path):
    """A case posted, an invitation opened; sent again, nothing happens twice."""
    code: dict[str, Any] = {}
    exec(PYTHON, code)
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    collector = web.serve(app_of(ledger, gate(), lambda: NOW_MS), "127.0.0.1", 0)
    box = Outbox(tmp_path / "outbox.db", "hall-a", NOW_MS)
    moment = Moment(NOW_MS, 1_000, "boot")
    agent, port = door.serve(door.create_app(box, {"1": 30}, "d", lambda: moment), "127.0.0.1", 0)
    with served(collector), served(agent):
        url = f"http://127.0.0.1:{collector.effective_port}/api/v1/cases"
        taken = [code["post"](url, "t", CASE) for _ in range(2)]
        invitation = code["invite"](f"http://127.0.0.1:{port}", "d", "1", CASE["case_no"])
        assert invitation == box.open_id("1")
    box.close()
    ledger.store.close()

    assert [(1, 1), (1, 0)] == [(each["taken"], each["changed"]) for each in taken]


def test_its_python_asks_again_and_says_for_how_long(monkeypatch):
    """After a refusal for want of room, and after no answer at all; not after a mistake of its own."""
    code: dict[str, Any] = {}
    exec(PYTHON, code)
    monkeypatch.setattr(code["time"], "sleep", lambda _s: None)
    said: list[dict[str, Any]] = []

    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if len(said) == 1:
                self.send_error(507)
            elif len(said) == 2:
                self.connection.close()
            else:
                self.send_response(400 if self.path == "/wrong" else 201)
                self.end_headers()
                self.wfile.write(b'{"id": "x"}')

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Door) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{there.server_port}"
        assert "x" == code["invite"](address, "d", "1", "C1")
        with pytest.raises(urllib.error.HTTPError):
            code["post"](f"{address}/wrong", "d", {})
        there.shutdown()

    assert 4 == len(said)
    assert 1 == len({each["id"] for each in said[:3]})
    assert ["waited_ms" in each for each in said] == [True, True, True, False]
