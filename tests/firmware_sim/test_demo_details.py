"""Nobody's name, number or telephone, in any byte that a whole demo writes, logs or sends between processes."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from pathlib import Path

import pytest

from firmware_sim.demo import Demo, Display
from tests.taps import Tap

_PIECE = 4096  # longer than any spelling of anything
_PERSONAL = ("userName", "certkeyGOV", "mobile")


class Tapped(Demo):
    """A demo whose broker and province are reached through cables that remember; its files are read while it runs."""

    def __init__(self, folder: Path, seconds: int):
        super().__init__(folder, seconds, faults=False, seed=11, broker="amqtt")
        self.taps: dict[str, Tap] = {}
        self.seen: dict[str, set[bytes]] = {}

    def _read(self, name: str) -> str:
        said = super()._read(name)
        if name not in ("broker.port", "province.port"):
            return said
        if name not in self.taps:
            self.taps[name] = Tap(int(said))
        return str(self.taps[name].port)

    def run(self, show: Display) -> None:
        """While it is busiest the logs of its databases hold what is deleted from them later."""
        while self.parts["morning"].running:
            self.look()
            time.sleep(0.2)

    def look(self) -> None:
        """Add all that stands in its files now, in pieces that lap over each other: most of them have been seen."""
        for file in self.folder.rglob("*"):
            if file.is_file() and file.name != "province.jsonl":
                data = file.read_bytes()
                pieces = self.seen.setdefault(file.name, set())
                pieces.update(data[at : at + 2 * _PIECE] for at in range(0, len(data), _PIECE))

    def all_seen(self, name: str) -> bytes:
        return b"\0".join(self.seen[name])


@pytest.fixture(scope="module")
def tapped(tmp_path_factory: pytest.TempPathFactory) -> Tapped:
    demo = Tapped(tmp_path_factory.mktemp("tapped"), 8)
    try:
        show = Display(demo.up())
        demo.run(show)
        demo.drain(show)
    finally:
        demo.down()
        demo.look()
        for tap in demo.taps.values():
            tap.close()
    return demo


def fed_in(demo: Tapped) -> set[str]:
    """What the province decrypted: it was fed in, and it came through."""
    lines = (demo.folder / "province.jsonl").read_text("utf-8").splitlines()
    return {row[name] for line in lines if (row := json.loads(line))["kind"] == "case" for name in _PERSONAL}


def spelled(value: str) -> set[bytes]:
    """All the ways in which a program may write it down."""
    raw = value.encode()
    return {
        raw,
        json.dumps(value)[1:-1].encode(),
        urllib.parse.quote(value).encode(),
        raw.hex().encode(),
        value.encode("utf-16-le"),
        value.encode("gbk"),
        *(base64.b64encode(b" " * shift + raw)[4 * bool(shift) : -4] for shift in range(3)),
    }


def test_the_taps_and_the_files_saw_something(tapped):
    """Or the test below would pass whatever happens: both ways in were used, and all arrived."""
    details = fed_in(tapped)
    assert len(details) > 15
    assert b"hcp/v1/hall-pc-1/details" in tapped.taps["broker.port"].everything()
    assert b"POST /hcp/case" in tapped.taps["province.port"].everything()
    assert b"CREATE TABLE details" in tapped.all_seen("hall-pc-1.db.details")
    assert len(tapped.all_seen("ledger.db")) > 100_000
    figures, mistakes = tapped.figures(8)
    assert ([], 0, True) == (mistakes, figures.lost, figures.accepted > 5)


def test_nobodys_details_are_written_or_sent_in_clear(tapped):
    """Red if the agent keeps a case before it is sealed, if the collector keeps one as it came, if a program tells its
    log whose case it is, or if anything of it travels in clear."""
    everything = {name: tapped.all_seen(name) for name in tapped.seen}
    everything |= {name: tap.everything() for name, tap in tapped.taps.items()}

    found = [
        (where, value)
        for value in fed_in(tapped)
        for spelling in spelled(value)
        for where, data in everything.items()
        if spelling in data
    ]
    assert [] == found


def test_a_spelling_would_be_found():
    """Each of them, wherever it stands."""
    for spelling in spelled("欧阳测试"):
        assert spelling in b"x" * 7 + spelling + b"y"
    assert any(each in base64.b64encode(b'{"name":"' + "欧阳测试".encode() + b'"}') for each in spelled("欧阳测试"))
