"""The collector: a press until the province has it, records into the ledger, and the ledger checked from end to end."""

from __future__ import annotations

import json
import select
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import requests

from collector import directory as directories
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from firmware_sim import fleet
from firmware_sim.scenario import Service, busy_morning
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.messages import Batch, decode
from protocols.ratings import Case, Level, PressId, Rating, Request
from tests.bench import limits, parts
from tests.bench.limits import quantile
from tests.bench.table import PYTHON, Bench, Line, python_environment
from tests.brokers import ROOT
from tests.collector.ledgers import VAULT

RATED = 40
EVERY_S = 0.2
BATCHES = 60
BATCH = 1000


def to_the_province(folder: Path) -> dict[str, float]:
    """Five citizens a second: case to the collector, invitation at the door, press; times from the journal."""
    with parts.cables() as cables, parts.broker(folder) as broker, parts.province(folder) as far:
        far.await_file("province.port")
        devices = [cable.device for cable in cables]
        table = parts.province_table(folder)
        with parts.collector(folder, devices, broker.port, table) as near:
            near.await_file("collector.port")
            with parts.agent(folder, cables, broker.port, door=True) as agent:
                agent.await_file(f"{parts.AGENT}.port")
                for cable in cables:
                    parts.first_ack(cable)
                pressed_ms = _citizens(folder, cables)
                parts.wait_until(lambda: len(_accepted(folder)) >= RATED, 20, 0.05)
    accepted_ms = _accepted(folder)
    took = sorted(float(accepted_ms[case_no] - at_ms) for case_no, at_ms in pressed_ms.items())
    return {"p50": quantile(took, 0.5), "p99": quantile(took, 0.99)}


def _citizens(folder: Path, cables: list[parts.Cable]) -> dict[str, float]:
    """The wall clock's ms at which the button of each case went down."""
    door, collector = _Door(folder, f"{parts.AGENT}.port"), _Door(folder, "collector.port")
    pressed_ms: dict[str, float] = {}
    next_s = time.perf_counter()
    for number, service in enumerate(_services()):
        cable = cables[number % len(cables)]
        time.sleep(max(0.0, next_s - time.perf_counter()))
        next_s += EVERY_S
        collector.post("/api/v1/cases", {**service.case_details, "case_no": service.case_no})
        window = str(1 + number % len(cables))
        door.post("/v1/invitations", {"id": str(uuid.uuid4()), "window": window, "case_no": service.case_no})
        _await_invite(cable)
        pressed_ms[f"{parts.PREFIX}{service.case_no}"] = time.time() * 1000
        cable.press(1 + number % 3)
    return pressed_ms


def _services() -> list[Service]:
    now_ms = time.time_ns() // 1_000_000
    morning = busy_morning(7, parts.WINDOWS, 600, start_ms=now_ms - 3_600_000)
    return [service for service in morning.services if not service.lacking and service.service_number == 1][:RATED]


def _await_invite(cable: parts.Cable) -> None:
    said = b""
    while b"$INVITE" not in said:
        if not select.select([cable], [], [], 5.0)[0]:
            raise RuntimeError("the panel was not invited")
        said += cable.read()


def _accepted(folder: Path) -> dict[str, int]:
    """When the province wrote down the rating of each case."""
    lines = (folder / "province.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["projectNo"]: row["at_ms"] for row in rows if row["kind"] == "rating"}


class _Door:
    """One of our HTTP doors, on one connection."""

    def __init__(self, folder: Path, port_file: str):
        self._url = f"http://127.0.0.1:{(folder / port_file).read_text('utf-8').strip()}"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {parts.TOKEN}"

    def post(self, path: str, body: dict[str, Any]) -> None:
        self._session.post(self._url + path, json=body, timeout=5).raise_for_status()


def bare_posts(folder: Path) -> dict[str, float]:
    """Case and rating posted straight to the simulated province, both sealed beforehand, on one connection."""
    with parts.province(folder) as far:
        far.await_file("province.port")
        pairs = _sealed(folder, 40)
        session = requests.Session()
        session.trust_env = False
        took = []
        for pair in pairs:
            started_s = time.perf_counter()
            for request in pair:
                answer = session.post(request.url, data=request.body, headers=request.headers, timeout=5)
                if b'"success":"true"' not in answer.content:
                    raise RuntimeError(answer.text)
            took.append((time.perf_counter() - started_s) * 1000)
    # Another province stands here next: it must not find these papers.
    for name in ("province.port", "province.jsonl"):
        (folder / name).unlink()
    return {"post_p50": quantile(sorted(took), 0.5), "post_p99": quantile(sorted(took), 0.99)}


def _sealed(folder: Path, count: int) -> list[tuple[Request, Request]]:
    keys = json.loads((folder / "province.json").read_text("utf-8"))
    url = f"http://127.0.0.1:{(folder / 'province.port').read_text('utf-8').strip()}"
    dialect = TxnBody(
        TxnBodySettings(
            case_url=f"{url}/hcp/case",
            offline_rating_url=f"{url}/hcp/offline-rating",
            app_mark=keys["app_mark"],
            app_word=keys["app_word"],
            public_key=keys["public_hex"],
            data_source="165",
            province_prefix=parts.PREFIX,
        )
    )
    now_ms = time.time_ns() // 1_000_000
    pairs = []
    for number, service in enumerate(_services()[:count]):
        case = Case(case_no=service.case_no, **service.case_details)
        press = PressId("D0001", 1, number)
        rating = Rating(press, Level.SATISFIED, "H", "1", now_ms, case_no=case.case_no)
        if held := dialect.held(rating, case):
            raise RuntimeError(f"{held}")
        pairs.append((dialect.case_request(case, now_ms), dialect.rating_request([(rating, case)], now_ms)))
    return pairs


# ---- the ledger


def into_the_ledger(folder: Path) -> dict[str, float]:
    """Batches of 1,000 as they come from the broker: decoded, chain checked, understood, on disk; then all verified."""
    (folder / "directory.toml").write_text(fleet.directory(["agent-a"]), "utf-8")
    directory = directories.read((folder / "directory.toml").read_bytes(), "directory.toml")
    agent = fleet.Agent("agent-a", fleet.device_of(1), 0)
    now_ms = time.time_ns() // 1_000_000
    for number in range(BATCHES * BATCH // 2):
        agent.serve(now_ms + number)
    store = Store(folder / "ledger.db")
    intake = Intake(store, directory, VAULT)
    spent_s = 0.0
    for _ in range(BATCHES):
        payload = agent.due(0.0)
        assert payload is not None
        started_s = time.perf_counter()
        ((_, receipt),) = intake.take([("agent-a", decode(payload, Batch), payload)], now_ms)
        spent_s += time.perf_counter() - started_s
        agent.take(receipt, 0.0)
    store.close()
    if not agent.finished:
        raise RuntimeError("not everything was receipted")
    return {"intake": BATCHES * BATCH / spent_s, "verify": _verified(folder)}


def _verified(folder: Path) -> float:
    """Records a second of `collector verify`, by its own account of the time it took."""
    (folder / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "not used"\n', "utf-8")
    command = [PYTHON, "-m", "collector", "verify", "--json", "--config", "collector.toml"]
    done = subprocess.run(command, cwd=folder, env=python_environment(ROOT), capture_output=True, check=True)
    found = json.loads(done.stdout)
    if found["records"] != BATCHES * BATCH:
        raise RuntimeError(f"{found}")
    return float(found["records"] / found["seconds"])


BENCHES = (
    Bench(
        name="province",
        how="每秒 5 位办事人: 办件送汇聚器, 经代理接口开邀请, 面板收到邀请即按键; 时刻取自省平台自己的日志,"
        " 汇聚器先送办件再送评价。\n\n"
        "Five citizens a second: the case goes to the collector, the invitation is opened at the agent's door, and"
        " the press follows as soon as the panel is invited. Times are from the province's own journal. The"
        " collector sends the case, then the rating.",
        bounded_by="两次 HTTP 与省平台解密 two calls and the province's decryption (纯 Python SM2 of the simulator)",
        lines=(
            Line("p50", "按键 → 省平台接收 press → accepted, p50", "ms"),
            Line("p99", "按键 → 省平台接收 press → accepted, p99", "ms", at_most=1000),
        ),
        measure=to_the_province,
        limits=(
            Line("post_p50", "直接送两次 both posted directly, p50", "ms"),
            Line("post_p99", "直接送两次 both posted directly, p99", "ms"),
        ),
        limit=bare_posts,
        seconds=12,
    ),
    Bench(
        name="ledger",
        how=f"{BATCHES} 批各 1,000 条 (一半按键一半终结, 每次按键成一条评价) 解码入账; 再以 collector verify 重算全部。"
        f"\n\n{BATCHES} batches of 1,000 records, half presses and half closings, each press becoming a rating:"
        " decoded and taken in, in the measuring process. Then `collector verify` recomputes all of it, by its own"
        " account of the time.",
        bounded_by="Python 与 SQLite, 一个核 one core",
        lines=(
            Line("intake", "入账 records into the ledger", "/s"),
            Line("verify", "collector verify 核对 records checked", "/s", at_least=200_000),
        ),
        measure=into_the_ledger,
        limits=(
            Line("links", "SHA-256 链 bare chain links", "/s"),
            Line("rows", "SQLite 每 1,000 行一提交 rows in commits of 1,000", "/s"),
        ),
        limit=limits.together(limits.chain, limits.rows),
        seconds=9,
    ),
)
