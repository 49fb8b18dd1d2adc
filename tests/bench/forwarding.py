"""A forwarder in a process of its own, on one core, with a ledger full of ratings; and the province in another.

`python -m tests.bench.forwarding --dialect flat --ratings 2000` prints what it measured as JSON. A seed and the ways to
misbehave make a campaign of it: what the province holds is then compared with what was given.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collector.forwarder import Forwarder
from collector.ledger import audit
from collector.ledger.channels import Channels
from collector.ledger.delivery import Delivery
from collector.ledger.intake import Intake
from collector.ledger.store import Store
from firmware_sim.province.misbehaviour import MISBEHAVIOURS
from protocols.dialects import Dialect
from protocols.dialects.flat import Flat, FlatSettings
from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.dialects.linewell import Linewell, LinewellSettings
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from tests.bench.parts import Part
from tests.collector.agents import Agent, closing, press
from tests.collector.ledgers import VAULT, case, directory_of, window

DIALECTS = ("txnbody", "linewell", "flat", "json")
_AT_ONCE = 500
_BAD_EVERY = 100  # far more than halls see, so that each run has some


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def spoken(name: str, url: str, keys: dict[str, str]) -> Dialect:
    """Our side, from what the province has agreed on with us."""
    if name == "linewell":
        paths = {"token_url": f"{url}/api-gateway/gateway/get-token"}
        return Linewell(LinewellSettings(rating_url=f"{url}/wailian/webservice/getSaveEvaluation", **paths, **keys))
    if name == "flat":
        return Flat(FlatSettings(rating_url=f"{url}/zwztapi/offlinereport.do", data_source="133", **keys))
    if name == "json":
        return JsonRest(JsonRestSettings(ratings_url=f"{url}/exchange/v1/ratings", **keys))
    return TxnBody(
        TxnBodySettings(
            case_url=f"{url}/hcp/case",
            offline_rating_url=f"{url}/hcp/offline-rating",
            app_mark=keys["app_mark"],
            app_word=keys["app_word"],
            public_key=keys["public_hex"],
        )
    )


@contextmanager
def province(folder: Path, name: str, seed: int, misbehave: tuple[str, ...], stall_ms: int) -> Iterator[str]:
    """The simulated province as a process; its address."""
    options = ["--dialect", name, "--key-file", "keys.json", "--journal", "province.jsonl", "--port-file", "port"]
    wrongs = [word for wish in misbehave for word in ("--misbehave", wish)]
    slow = ["--seed", str(seed), "--stall-ms", str(stall_ms), "--slow-ms", "50"]
    with Part("firmware_sim", folder, "province", *options, *wrongs, *slow) as far:
        far.await_file("port")
        yield f"http://127.0.0.1:{(folder / 'port').read_text('utf-8').strip()}"


class Filled:
    """A ledger, and ratings that can be put into it."""

    def __init__(self, folder: Path):
        self.store = Store(folder / "ledger.db", sole=True)
        self.intake = Intake(self.store, directory_of(window()), VAULT)
        self.delivery = Delivery(self.store, VAULT)
        self.channels = Channels(self.store, self.intake)
        self._agent = Agent("hall-a")
        self._given = 0
        self.levels: dict[str, str] = {}

    def rate(self, count: int, bad_every: int = _BAD_EVERY) -> None:
        """So many more, each of a case of its own."""
        for first in range(0, count, _AT_ONCE):
            numbers = range(self._given + 1, self._given + 1 + min(_AT_ONCE, count - first))
            records = []
            for number in numbers:
                button = 2 if bad_every and number % bad_every == 0 else 1
                self.levels[f"C{number}"] = "2" if button == 2 else "5"
                records += [press(number, f"i{number}", button=button), closing(f"i{number}", f"C{number}")]
            self.intake.take(self._agent.sent(self._agent.write(*records)), now_ms())
            self.intake.take_cases([case(f"C{number}") for number in numbers], now_ms())
            self._given = numbers[-1]

    def states(self) -> dict[str, int]:
        rows = self.store.rows("SELECT state, count(*) AS n FROM rating GROUP BY 1")
        return {row["state"]: row["n"] for row in rows}


@contextmanager
def forwarding(filled: Filled, dialect: Dialect, workers: int, timeout_s: float) -> Iterator[None]:
    """A forwarder at work, as the collector runs it."""
    forwarder = Forwarder(filled.delivery, dialect, timeout_s, now_ms, look_again_s=1.0)
    filled.store.listen(forwarder.wake)
    threads = [threading.Thread(target=forwarder.work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        forwarder.stop()
        for thread in threads:
            thread.join()


def held(folder: Path) -> Counter[tuple[str, str]]:
    """What the province wrote down: case and level, and how often."""
    lines = (folder / "province.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return Counter((row["projectNo"], row["satisfaction"]) for row in rows if row["kind"] == "rating")


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Forward all of them; how fast, and what one rating takes of a processor."""
    filled = Filled(folder)
    filled.rate(options.ratings, 0 if options.bad else _BAD_EVERY)
    with province(folder, options.dialect, options.seed, tuple(options.misbehave), options.stall_ms) as url:
        keys = json.loads((folder / "keys.json").read_text("utf-8"))
        dialect = spoken(options.dialect, url, keys)
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})
        before_s, began_s = _cpu_s(), time.perf_counter()
        shown_s = began_s
        with forwarding(filled, dialect, options.workers, options.timeout_s):
            late_s = _bad_one(filled) if options.bad else None
            while not late_s and _goes_on(filled, options.ratings):
                if time.perf_counter() - shown_s > 10:
                    shown_s = time.perf_counter()
                    done = options.ratings - filled.states().get("due", 0)
                    left_s = (shown_s - began_s) * (options.ratings - done) / max(done, 1)
                    print(f"{options.dialect}: {done}/{options.ratings}, 还剩 / left {left_s:.0f} s", file=sys.stderr)
            took_s = time.perf_counter() - began_s
        cpu_s = _cpu_s() - before_s
    there, states = held(folder), filled.states()
    accepted = {row["case_no"] for row in filled.store.rows("SELECT case_no FROM rating WHERE state = 'accepted'")}
    filled.store.close()
    found = {
        "dialect": options.dialect,
        "ratings": options.ratings,
        "per_s": round(states.get("accepted", 0) / took_s, 1),
        "cpu_us": round(cpu_s / options.ratings * 1e6),
        "states": states,
        "province": sum(there.values()),
        "doubled": sum(n - 1 for n in there.values()),
        "altered": sum(n for (case_no, level), n in there.items() if filled.levels.get(case_no) != level),
        # One that it has and we do not know of yet waits for its answer: that is none lost.
        "lost": len(accepted - {case_no for case_no, _ in there}),
        "findings": len(audit.verify(folder / "ledger.db").findings),
    }
    return found | ({"bad_s": round(late_s, 3)} if late_s else {})


def _goes_on(filled: Filled, ratings: int) -> bool:
    """Whether something still happens; looked at a little later."""
    time.sleep(0.02 if ratings <= 5_000 else 0.5)
    # What a province never answers stays due for good: it has been tried often, and waits for its time.
    asked = "SELECT 1 FROM rating WHERE state = 'due' AND tries < 6 LIMIT 1"
    return filled.store.row(asked) is not None


def campaign(options: argparse.Namespace) -> int:
    """Each way to misbehave, a fifth of the time, in one dialect after the other; 1 if a promise is broken."""
    each = -(-options.ratings // len(MISBEHAVIOURS))
    totals: Counter[str] = Counter()
    for at, kind in enumerate(MISBEHAVIOURS):
        name = "txnbody" if kind == "forget" else DIALECTS[at % len(DIALECTS)]
        one = argparse.Namespace(
            **{
                **vars(options),
                "dialect": name,
                "ratings": each,
                "misbehave": [f"{kind}:0.2"],
                "seed": options.seed + at,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            found = measured(one, Path(folder))
        balanced = sum(found["states"].values()) == each
        totals.update(
            {
                **found["states"],
                **{word: found[word] for word in ("province", "doubled", "altered", "lost", "findings")},
            }
        )
        totals["unbalanced"] += not balanced
        print(json.dumps({"way": kind, **found, "balanced": balanced}), flush=True)
    print(json.dumps({"received": each * len(MISBEHAVIOURS), **totals}), flush=True)
    return int(any(totals[word] for word in ("doubled", "altered", "lost", "findings", "unbalanced")))


def _bad_one(filled: Filled) -> float:
    """One bad rating among all that wait; how long until the province has it."""
    time.sleep(1.0)
    began_s = time.perf_counter()
    filled.rate(1, bad_every=1)
    number = max(int(case_no[1:]) for case_no in filled.levels)
    asked = "SELECT state FROM rating WHERE case_no = ?"
    while filled.store.row(asked, (f"C{number}",))["state"] != "accepted":
        time.sleep(0.001)
    return time.perf_counter() - began_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialect", choices=DIALECTS, default="flat")
    parser.add_argument("--ratings", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--core", type=int, help="只用这个核 / on this core only")
    parser.add_argument("--bad", action="store_true", help="只量一条差评 / one bad rating among those that wait")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--misbehave", action="append", default=[], help="NAME:PROB")
    parser.add_argument("--timeout-s", type=float, default=10.0)
    parser.add_argument("--stall-ms", type=int, default=30_000)
    parser.add_argument("--campaign", action="store_true", help="不守规矩各两成 / each way to misbehave, a fifth")
    options = parser.parse_args()
    if options.campaign:
        return campaign(options)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(options, Path(folder))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
