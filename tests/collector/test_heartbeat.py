"""The call to an outside watcher, who hears of it by silence when the collector has stopped."""

from __future__ import annotations

import sqlite3
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
        self.location = ""
        self.waits: threading.Event | None = None


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.heard += self.path == f"/{SECRET}"
            if found.waits is not None:
                found.waits.wait()
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
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


@pytest.mark.parametrize("location", ["http://[", "http://a..b/", "http://127.0.0.1:x/", "http://[\udc80", "{own}", ""])
def test_whoever_answers_sends_the_collector_nowhere(watcher, location):
    """Red if a redirect is followed, or if one that is no address ends the loop, and with it the collector."""
    watcher.status, watcher.location = (
        302,
        location.format(own=watcher.url).encode("utf-8", "replace").decode("latin-1"),
    )
    words = Heartbeat(watcher.url, lambda: True).call()

    assert "HTTP 302, 不跟随转向, 请填最终地址 / redirects are not followed: give the address itself" == words
    assert 1 == watcher.heard


@pytest.mark.parametrize("url", ["http://[", "http://127.0.0.1:x/", "http://a..b/", "http://127.0.0.1:1/中"])
def test_an_address_that_cannot_be_called_is_a_word(url):
    """Red if it is an error that nobody expects; the word does not say the address."""
    words = Heartbeat(f"{url}{SECRET}", lambda: True).call()

    assert words in ("ValueError", "InvalidURL", "UnicodeError", "UnicodeEncodeError", "URLError")


def test_an_answer_that_never_ends_holds_nobody_up(watcher):
    """Each step in time is not the whole in time. Red if the end of the collector waits for the watcher."""
    watcher.waits = threading.Event()
    beat = Heartbeat(watcher.url, lambda: True, call_s=0.01)
    said = [beat.call(), beat.call()]
    ending = Heartbeat(watcher.url, lambda: True, call_s=600)
    thread = threading.Thread(target=ending.work, daemon=True)
    thread.start()
    eventually(lambda: ending._calling)
    ending.stop()
    thread.join(10)
    watcher.waits.set()

    assert ["没有及时答复 / no answer in time"] * 2 == said
    assert not thread.is_alive()


def test_a_ledger_that_cannot_be_asked_now_is_silence_and_a_broken_one_ends_the_collector(watcher, caplog):
    """As everywhere: locked or full is trouble around a whole file. Red if a busy disk ends the collector."""

    def raising(code: int) -> Heartbeat:
        def well() -> bool:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error

        return Heartbeat(watcher.url, well)

    assert not raising(sqlite3.SQLITE_IOERR)._is_well()
    assert "no heartbeat" in caplog.text
    with pytest.raises(sqlite3.OperationalError):
        raising(sqlite3.SQLITE_CORRUPT)._is_well()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("http://[", "应为一行地址"),
        ("http://kuma.example:99999/api", "应为一行地址"),
        ("http://kuma..example/api", "应为一行地址"),
        ("http://:80/api", "应为一行地址"),
        ("http://li:secret@kuma.example/api", "应为一行地址"),
        ("http://kuma.example/推送", "应为一行地址"),
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
