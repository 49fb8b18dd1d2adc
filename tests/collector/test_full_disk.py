"""The centre's disk is really full, and has room again: no receipt for what is not kept, and everybody is told."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from collector.ledger import audit
from tests.collector.agents import Agent, rated
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.provinces import eventually
from tests.collector.test_cli import BROKER, WEB, running
from tests.disks import Disk

HEADERS = {"Authorization": "Bearer t", "Content-Type": "application/json"}
CASE = json.dumps({"case_no": "A-1"})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk", "16m")
    yield disk
    disk.unmount()


@pytest.fixture
def folder(tmp_path: Path, disk: Disk) -> Path:
    (tmp_path / "directory.toml").write_text(window("agent-a"), "utf-8")
    settings = f'{BROKER.format(port=1)}[ledger]\npath = "{disk.path}/ledger.db"\n{WEB}'
    (tmp_path / "collector.toml").write_text(settings, "utf-8")
    return tmp_path


def asked(folder: Path, method: str, path: str, body: str | bytes | None = None) -> tuple[int, str]:
    port = int((folder / "web.port").read_text())
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_that_there_is_no_room_for_gets_no_receipt(disk, seed):
    """Twelve cycles: sent again it is taken once, and the chain goes on. Red if a receipt is made before the commit."""
    ledger = Ledger(disk.path / "ledger.db", directory_of(window("agent-a")))
    agent, rng, refused = Agent("agent-a"), Random(seed), 0
    for cycle in range(12):
        numbers = range(cycle * 100, cycle * 100 + rng.randint(20, 90))
        batch = agent.write(*(record for number in numbers for record in rated(number)))
        before = ledger.count("record")
        disk.fill()
        try:
            assert batch.head == ledger.take(agent, batch).head
        except sqlite3.OperationalError as error:
            assert sqlite3.SQLITE_FULL == error.sqlite_errorcode
            assert before == ledger.count("record")
            refused += 1
        disk.free()
        assert batch.head == ledger.take(agent, batch).head == ledger.take(agent, batch).head
    ledger.store.close()

    assert refused > 3
    assert [] == audit.verify(ledger.path).findings
    assert agent.bodies == Ledger(ledger.path, directory_of(window("agent-a"))).records()


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_collector_that_starts_without_room_says_so_and_goes_on_when_there_is_some(disk, folder, trouble):
    """The board in words, the API with a code, at the same address before and after. Red if it ends, or opens a ledger
    that cannot grow."""
    disk.set("ro") if trouble == "read-only" else disk.fill()
    code, words = ("storage_read_only", "中心存储只读") if trouble == "read-only" else ("storage_full", "中心存储已满")
    with running(folder) as process:
        eventually(lambda: (folder / "web.port").exists(), 30)
        pages = [asked(folder, "GET", "/"), asked(folder, "GET", "/board")]
        calls = [asked(folder, "POST", "/api/v1/cases", CASE), asked(folder, "GET", "/api/v1/summary")]
        disk.set("rw") if trouble == "read-only" else disk.free()
        eventually(lambda: asked(folder, "GET", "/api/v1/summary")[0] == 200, 30)
        after = asked(folder, "POST", "/api/v1/cases", CASE)
        assert process.poll() is None

    assert all(status == 200 and f"{words}, 暂不收任何评价, 各代理照常保留" in said for status, said in pages)
    assert [(507, code)] * 2 == [(status, json.loads(said)["error"]["code"]) for status, said in calls]
    assert (200, 1) == (after[0], json.loads(after[1])["taken"])


def test_a_case_that_there_is_no_room_for_is_told_so(disk, folder):
    """507 with a code, not a page of HTML; sent again it is taken. Red if it is a 500."""
    with running(folder):
        eventually(lambda: (folder / "web.port").exists(), 30)
        disk.fill()
        cases = json.dumps(
            [{"case_no": f"A-{number}", "case_name": "名" * 500} for number in range(400)], ensure_ascii=False
        )
        full = asked(folder, "POST", "/api/v1/cases", cases.encode())
        disk.free()
        after = asked(folder, "POST", "/api/v1/cases", cases.encode())

    assert (507, "storage_full") == (full[0], json.loads(full[1])["error"]["code"])
    assert (200, 400) == (after[0], json.loads(after[1])["changed"])
