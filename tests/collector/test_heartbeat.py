"""The call to an outside watcher, who hears of it by silence when the collector has stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from collector import config
from collector.alerts.heartbeat import Heartbeat
from collector.alerts.settings import heartbeat_of
from collector.web.healthz import well
from protocols.errors import BadSettings
from tests.collector.agents import NOW_MS
from tests.collector.provinces import eventually

SECRET = "push-4711"


class Watcher:
    """A monitor that waits to be called."""

    def __init__(self, url: str):
        self.url = f"{url}/{SECRET}"
        self.heard = 0
        self.status = 200


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.heard += self.path == f"/{SECRET}"
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Door)
    found = Watcher(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_beats_while_ratings_go_out_and_is_silent_while_they_do_not(ledger, watcher):
    """As healthz says. Red if a collector that cannot reach the province seems to be well to whoever watches."""
    beat = Heartbeat(watcher.url, lambda: well(ledger.overview, lambda: True, True, lambda: NOW_MS), 0.01)
    thread = threading.Thread(target=beat.work)
    thread.start()
    eventually(lambda: watcher.heard >= 3)
    ledger.delivery.province_away("HTTP 503", NOW_MS)
    looks: list[int] = []
    eventually(lambda: looks.append(watcher.heard) or (looks[-3:] == [watcher.heard] * 3 and len(looks) > 50))
    beat.stop()
    thread.join()

    assert looks[-1] == watcher.heard


def test_a_watcher_that_is_away_holds_up_nothing_and_its_address_is_in_no_log(ledger, watcher, caplog):
    """Said once, and once more when it is heard again."""
    caplog.set_level("INFO")
    beat = Heartbeat(watcher.url, lambda: True)
    for status in (500, 500, 200, 200):
        watcher.status = status
        beat._say(beat.call())
    nobody = Heartbeat(f"http://127.0.0.1:1/{SECRET}", lambda: True).call()

    assert "URLError" == nobody
    assert 2 == len(caplog.records)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "没有文件"),
        ("ftp://x", "应为一行地址"),
        ("http://kuma.example/api/push/x\nmore", "应为一行地址"),
        ("https://kuma.example/api/push/x\n", ""),
    ],
)
def test_a_wrong_address_is_named_and_not_shown(tmp_path, said, words):
    path = tmp_path / "collector.toml"
    path.write_text('[broker]\nhost = "x"\npassword = "x"\n[alerts]\nheartbeat_file = "beat.url"\n', "utf-8")
    if said:
        (tmp_path / "beat.url").write_text(said, "utf-8")
    if words:
        with pytest.raises(BadSettings) as caught:
            config.load(path)
        assert [f"collector.toml: alerts.heartbeat_file: {words}"] == [
            mistake[: len(f"collector.toml: alerts.heartbeat_file: {words}")] for mistake in caught.value.mistakes
        ]
        assert not said or said not in str(caught.value.mistakes)
    else:
        assert said.strip() == heartbeat_of(config.load(path).alerts, Path(tmp_path), {})
