"""The province's side of the forwarder: the real simulated province over HTTP, and five-line ones that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from collector.forwarder import Forwarder
from collector.pace import Pace
from firmware_sim import sm2
from firmware_sim.province import Province, Way
from firmware_sim.province import exchange as exchange_sim
from firmware_sim.province import flat as flat_sim
from firmware_sim.province import linewell as linewell_sim
from firmware_sim.province.demands import Rules
from firmware_sim.province.exchange import ExchangeKeys
from firmware_sim.province.flat import FlatKeys
from firmware_sim.province.linewell import LinewellKeys
from firmware_sim.province.txnbody import CASE_PATH, RATING_PATH, Keys
from firmware_sim.province.txnbody import province as txnbody
from protocols.dialects import Dialect
from protocols.dialects.flat import Flat, FlatSettings
from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.dialects.linewell import Linewell, LinewellSettings
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import Ledger

_PAIR = sm2.generate()
KEYS = Keys(_PAIR.private_hex, _PAIR.public_hex, "hall-1", "secret-word-1")
ACCEPTED = b'{"C-API-Status":"00","C-Response-Desc":"success","C-Response-Body":{"success":"true","message":""}}'


def refusing(words: str) -> bytes:
    """An answer of the agreed shape that says no."""
    return b'{"C-API-Status":"01","C-Response-Desc":"%s","C-Response-Body":{}}' % words.encode()


def dialect(url: str, **other) -> TxnBody:
    """Dialect A as spoken to the province at `url`."""
    usual = {
        "case_url": url + CASE_PATH,
        "offline_rating_url": url + RATING_PATH,
        "app_mark": KEYS.app_mark,
        "app_word": KEYS.app_word,
        "public_key": KEYS.public_hex,
        "data_source": "",
    }
    return TxnBody(TxnBodySettings(**(usual | other)))


@dataclass
class Spoken:
    """One dialect: a simulated province, made from its description, and us speaking to it."""

    province: Callable[..., Province]
    """A province of it; takes what `Province` takes."""
    dialect: Callable[..., Dialect]
    """Our side, given the province's address; takes what the dialect's settings take."""


def _spoken() -> dict[str, Spoken]:
    linewell, flat, exchange = LinewellKeys.made(), FlatKeys.made(), ExchangeKeys.made()

    def made(way: Callable[[Rules], Way]) -> Callable[..., Province]:
        return lambda rules=None, **more: Province(way(rules or Rules()), rules or Rules(), **more)

    def to_linewell(url: str, **other) -> Dialect:
        usual = {"token_url": url + linewell_sim.TOKEN_PATH, "rating_url": url + linewell_sim.RATING_PATH}
        return Linewell(LinewellSettings(**(usual | asdict(linewell) | other)))

    def to_flat(url: str, **other) -> Dialect:
        usual = {"rating_url": url + flat_sim.RATING_PATH, "data_source": "133"}
        return Flat(FlatSettings(**(usual | asdict(flat) | other)))

    def to_json(url: str, **other) -> Dialect:
        usual = {"ratings_url": url + exchange_sim.RATINGS_PATH, "api_token": exchange.api_token}
        return JsonRest(JsonRestSettings(**(usual | other)))

    return {
        "txnbody": Spoken(lambda rules=None, **more: txnbody(KEYS, rules, **more), dialect),
        "linewell": Spoken(made(lambda rules: linewell_sim.Linewell(linewell, rules)), to_linewell),
        "flat": Spoken(made(lambda rules: flat_sim.Flat(flat, rules)), to_flat),
        "json": Spoken(made(lambda rules: exchange_sim.Exchange(exchange, rules)), to_json),
    }


SPOKEN = _spoken()


class Clock:
    """Milliseconds from NOW_MS, faster than the world's, so that no test waits for a back-off."""

    def __init__(self, speed: int = 1):
        self._speed = speed
        self._began_s = time.monotonic()

    def __call__(self) -> int:
        return NOW_MS + int((time.monotonic() - self._began_s) * 1000 * self._speed)


@contextmanager
def forwarding(
    ledger: Ledger,
    url: str,
    workers: int = 2,
    timeout_s: float = 5,
    speed: int = 50,
    look_again_s: float = 0.2,
    speaks: Dialect | None = None,
    pace: Pace | None = None,
    **other,
) -> Iterator[Forwarder]:
    """A forwarder at work for as long as the block lasts. Fails if a worker breaks, or does not end soon."""
    forwarder = Forwarder(ledger.delivery, speaks or dialect(url, **other), timeout_s, Clock(speed), look_again_s, pace)
    ledger.store.listen(forwarder.wake)
    done = threading.Event()

    def hurry() -> None:
        # A worker waits by the world's clock for what is due by the faster one.
        while speed > 1 and not done.wait(0.003):
            forwarder.wake()

    with ThreadPoolExecutor(workers + 1) as pool:
        pool.submit(hurry)
        loops = [pool.submit(forwarder.work) for _ in range(workers)]
        try:
            yield forwarder
        finally:
            forwarder.stop()
            done.set()
            # It raises here what broke a worker, and TimeoutError if one does not end.
            for loop in loops:
                loop.result(2)


def eventually(claim: Callable[[], object], within_s: float = 15) -> None:
    """Wait until `claim()` holds: at once, but for a busy machine on which a program takes its time to start."""
    last_s = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < last_s, f"never came true within {within_s} s"
        time.sleep(0.005)


class Stub(ThreadingHTTPServer):
    """A province of one function: (caller, path, number of the call) → nothing; it answers by itself."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, int], None]):
        self.calls: list[str] = []
        stub = self

        class Caller(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                stub.calls.append(self.path)
                answer(self, len(stub.calls))

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Caller)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass  # the caller hung up


def says(caller: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer a call."""
    caller.send_response(status)
    for name, value in headers.items():
        caller.send_header(name, value)
    caller.send_header("Content-Length", str(len(body)))
    caller.end_headers()
    caller.wfile.write(body)


@contextmanager
def stubbed(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[Stub]:
    """The stub, serving for as long as the block lasts."""
    stub = Stub(answer)
    thread = threading.Thread(target=stub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()
        thread.join()
