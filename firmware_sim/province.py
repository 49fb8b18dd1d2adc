"""A province that answers in dialect A ("txnbody"): strict about every field, and misbehaving by seed.

`Province` decides and remembers, without any I/O. `ProvinceDoor` is HTTP around it, `serve` a process around
that. What it has accepted is the truth at the far end: each case and rating, exactly as decrypted, is a line
of its journal before the answer leaves. A restart goes on from its journal, as a province would.
"""

import json
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import click

from firmware_sim import sm2
from firmware_sim.demands import (
    CASE_ALREADY,
    NO_CASE,
    PARAMETERS_WRONG,
    RATED_ALREADY,
    Record,
    Rules,
    case_mistake,
    moment_ms,
    rating_mistake,
)
from firmware_sim.misbehaviour import FORGET, MISBEHAVIOURS, PER_CALL, PER_RECORD, Misbehaviour, misbehaviour

CASE_PATH, RATING_PATH = "/hcp/case", "/hcp/offline-rating"
BODY_MAX = 1 << 20  # one sealed record is about 4 kB; what is longer than this was not meant for us
FUTURE_MAX_MS = 300_000  # a rating this far ahead of our clock was not given yet


# --- the province ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    """What the province and its client have agreed on. The client gets all of it but `private_hex`."""

    private_hex: str
    public_hex: str
    app_mark: str
    app_word: str


@dataclass(frozen=True)
class Answer:
    """What goes back: after `delay_ms`, and if `drop` not at all, the line is only cut."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_ms: int = 0
    drop: bool = False


class Opened(NamedTuple):
    """A call after decryption: its one record, or why there is none."""

    record: Record
    refusal: str | None = None


def _keep_nothing(row: dict[str, Any]) -> None:
    """The journal of a province that keeps none."""


@dataclass
class Province:
    """Cases and ratings as one strict province holds them. Safe to call from many threads.

    `keep` is called with each case and rating before its answer is made, one call at a time.
    """

    keys: Keys
    rules: Rules = field(default_factory=Rules)
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    keep: Callable[[dict[str, Any]], None] = _keep_nothing
    slow_ms: int = 2_000
    stall_ms: int = 30_000  # longer than a client should wait

    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _cases: dict[tuple[str, str], Record] = field(default_factory=dict, init=False, repr=False)
    _ratings: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, init=False, repr=False)
    _forgotten: set[str] = field(default_factory=set, init=False, repr=False)
    _tries: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _misbehaved: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _away_until_ms: int = field(default=0, init=False, repr=False)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> Answer:
        """Answer one POST. Whatever the answer says or hides, what was kept is in the journal by now."""
        if path not in (CASE_PATH, RATING_PATH):
            return Answer(404)
        opened = self._open(headers, body)  # outside the lock: opening is the only slow part
        with self._lock:
            self._counts["calls"] += 1
            if now_ms < self._away_until_ms:
                self._misbehaved["away"] += 1
                return Answer(503, {"Retry-After": "1"})
            return self._misanswer(path, opened, now_ms)

    def go_away(self, until_ms: int) -> None:
        """Refuse everything with 503 until that moment; a moment in the past ends it."""
        with self._lock:
            self._away_until_ms = until_ms

    def state(self) -> dict[str, Any]:
        """The counts: what is held, and what was refused, doubled or done wrong."""
        with self._lock:
            counted = {name: self._counts[name] for name in ("duplicates_refused", "refused", "calls")}
            held = {"cases": len(self._cases), "ratings": len(self._ratings)}
            return {**held, **counted, "misbehaved": dict(self._misbehaved)}

    def ratings(self) -> list[dict[str, Any]]:
        """Every accepted rating, in the order of acceptance, as it stands in the journal."""
        with self._lock:
            return list(self._ratings.values())

    def recall(self, row: dict[str, Any]) -> None:
        """Know again what an earlier process wrote into the journal."""
        record = {name: value for name, value in row.items() if name not in ("kind", "at_ms")}
        key = record["projectNo"], record.get("serviceNumber", "")
        with self._lock:
            if row["kind"] == "case":
                self._cases[key] = record
            else:
                self._ratings[key] = row

    # opening

    def _open(self, headers: Mapping[str, str], body: bytes) -> Opened:
        tenancy = {name.lower(): value for name, value in headers.items()}.get("c-tenancy-id")
        if tenancy != self.rules.tenancy:
            return Opened({}, f"{PARAMETERS_WRONG}：C-Tenancy-Id")
        try:
            match json.loads(body):
                case {
                    "txnBodyCom": {
                        "appMark": str(mark),
                        "time": str(moment),
                        "sign": str(sign),
                        "params": {"evaluate": [str(sealed)]},
                    },
                    "txnCommCom": dict(),
                }:
                    return self._open_sealed(mark, moment, sign, sealed)
        except ValueError:  # not JSON, or not UTF-8
            pass
        return Opened({}, PARAMETERS_WRONG)

    def _open_sealed(self, mark: str, moment: str, sign: str, sealed: str) -> Opened:
        if not re.fullmatch(r"\d{14}", moment, re.ASCII):
            return Opened({}, f"{PARAMETERS_WRONG}：time")
        if self._decrypted(sign) != f"{moment}{self.keys.app_mark}{self.keys.app_word}" or (mark != self.keys.app_mark):
            return Opened({}, self.rules.bad_sign)
        try:
            match json.loads(self._decrypted(sealed) or ""):
                case [dict(record)]:
                    return Opened(record)
        except ValueError:
            pass
        return Opened({}, f"{PARAMETERS_WRONG}：evaluate")

    def _decrypted(self, text: str) -> str | None:
        try:
            return sm2.decrypt(text, self.keys.private_hex, self.rules.order).decode()
        except ValueError:
            return None

    # answering

    def _misanswer(self, path: str, opened: Opened, now_ms: int) -> Answer:
        """The answer of `_judge`, or what the line, the gateway or the load makes of it."""
        about = f"{path} {opened.record.get('projectNo')} {opened.record.get('serviceNumber')}"
        self._tries[about] += 1
        kind, dice = self.misbehaviour.pick(PER_CALL, f"{about} {self._tries[about]}")
        if kind is None:
            return self._judge(path, opened, now_ms)
        self._misbehaved[kind] += 1
        kept = kind in ("slow", "timeout_after") or (kind in ("empty", "rubbish", "http_5xx") and dice.random() < 0.5)
        honest = self._judge(path, opened, now_ms) if kept else Answer()
        match kind:
            case "slow":
                return replace(honest, delay_ms=self.slow_ms)
            case "drop_before":
                return Answer(drop=True)
            case "stall_before" | "timeout_after":
                return Answer(delay_ms=self.stall_ms, drop=True)
            case "empty":
                return Answer()
            case "rubbish":
                return Answer(200, {"Content-Type": "text/html"}, "<html><h1>系统繁忙</h1></html>".encode())
            case "http_5xx":
                return Answer(dice.choice((500, 502, 503, 504)))
            case "http_429":
                return Answer(429, {"Retry-After": "1"})
            case _:
                return Answer(401)

    def _judge(self, path: str, opened: Opened, now_ms: int) -> Answer:
        """Keep the record and say success, or say in the province's words why not."""
        record, refusal = opened
        if refusal is None:
            refusal = case_mistake(record) if path == CASE_PATH else rating_mistake(record, self.rules)
        if refusal is None:
            kind, _ = self.misbehaviour.pick(PER_RECORD, f"{path} {record['projectNo']}")
            if kind == "body_false":
                self._misbehaved[kind] += 1
                self._counts["refused"] += 1
                return _reply("success", "业务校验未通过")
            if kind is not None:
                self._misbehaved[kind] += 1
                refusal = PARAMETERS_WRONG if kind == "missing_parameter" else self.rules.bad_sign
        if refusal is None:
            refusal = self._take_case(record, now_ms) if path == CASE_PATH else self._take_rating(record, now_ms)
        if refusal is None:
            return _reply("success")
        self._counts["duplicates_refused" if refusal == RATED_ALREADY else "refused"] += 1
        return _reply(refusal, refusal)

    def _take_case(self, record: Record, now_ms: int) -> str | None:
        key = record["projectNo"], record.get("serviceNumber", "")
        if self._cases.get(key) == record:
            return CASE_ALREADY if self.rules.refuses_repeated_case else None
        self.keep({"kind": "case", "at_ms": now_ms, **record})
        self._cases[key] = record
        return None

    def _take_rating(self, record: Record, now_ms: int) -> str | None:
        case_no, key = record["projectNo"], (record["projectNo"], record["serviceNumber"])
        if key in self._ratings:
            return RATED_ALREADY
        self._perhaps_forget(case_no)
        case = self._cases.get(key) or self._cases.get((case_no, ""))
        if case is None:
            return NO_CASE
        given_ms, served_ms = moment_ms(record["assessTime"]) or 0, moment_ms(case["serviceTime"]) or 0
        if self.rules.refuses_early and given_ms < served_ms:
            return "评价时间不能早于服务时间"
        if self.rules.refuses_future and given_ms > now_ms + FUTURE_MAX_MS:
            return "评价时间不能晚于当前时间"
        row = {"kind": "rating", "at_ms": now_ms, **record}
        self.keep(row)
        self._ratings[key] = row
        return None

    def _perhaps_forget(self, case_no: str) -> None:
        kind, _ = self.misbehaviour.pick(FORGET, case_no)
        held = [key for key in self._cases if key[0] == case_no] if kind else []
        if not held or case_no in self._forgotten:
            return
        self._misbehaved["forget"] += 1
        self._forgotten.add(case_no)
        for key in held:
            del self._cases[key]


def _reply(description: str, objection: str = "") -> Answer:
    """The gateway's form: `description` is its own word, `objection` that of the business behind it."""
    refused = description != "success"
    words = {
        "C-API-Status": "01" if refused else "00",
        "C-Response-Code": "000000000001" if refused else "000000000000",
        "C-Response-Desc": description,
        "C-Response-Body": {"success": "false" if objection else "true", "message": objection},
    }
    body = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(200, {"Content-Type": "application/json;charset=UTF-8"}, body)


# --- HTTP around it -------------------------------------------------------------------------------------------


class ProvinceDoor(ThreadingHTTPServer):
    """The province on 127.0.0.1; port 0 lets the system choose one."""

    daemon_threads = True
    request_queue_size = 128  # a forwarder may open all its connections at once

    def __init__(self, province: Province, port: int = 0):
        super().__init__(("127.0.0.1", port), _Caller)
        self.province = province
        self.stopping = threading.Event()
        self._callers: set[socket.socket] = set()
        self._callers_lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._callers_lock:
            self._callers.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._callers_lock:
            self._callers.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news; anything else is a mistake of ours and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop listening and hang up on everyone, also on those who are being kept waiting."""
        self.stopping.set()
        self.server_close()
        with self._callers_lock:
            for caller in self._callers:
                try:
                    caller.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it hung up first


class _Caller(BaseHTTPRequestHandler):
    """One keep-alive connection."""

    server: ProvinceDoor
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body leave in one piece
    timeout = 120  # a connection that is silent for longer is given up

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > BODY_MAX:
            self.close_connection = True
            self._send(Answer(413 if size.isdecimal() else 411))
            return
        body = self.rfile.read(int(size))
        now_ms = time.time_ns() // 1_000_000
        if self.path == "/_sim/away":
            self._send(self._go_away(body, now_ms))
            return
        self._send(self.server.province.answer(self.path, dict(self.headers.items()), body, now_ms))

    def do_GET(self) -> None:
        match self.path:
            case "/_sim/state":
                self._send(_shown(self.server.province.state()))
            case "/_sim/ratings":
                self._send(_shown(self.server.province.ratings()))
            case _:
                self._send(Answer(404))

    def _go_away(self, body: bytes, now_ms: int) -> Answer:
        try:
            seconds = float(json.loads(body)["seconds"])
        except (ValueError, TypeError, KeyError):
            return Answer(400)
        self.server.province.go_away(now_ms + int(seconds * 1000))
        return _shown({"away_ms": int(seconds * 1000)})

    def _send(self, answer: Answer) -> None:
        if answer.delay_ms:
            self.server.stopping.wait(answer.delay_ms / 1000)
        if answer.drop:
            self.close_connection = True
            return
        try:
            self.send_response(HTTPStatus(answer.status))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        except OSError:  # the client did not wait
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: one line per call would hide the rest."""


def _shown(value: Any) -> Answer:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Answer(200, {"Content-Type": "application/json;charset=UTF-8"}, body)


@contextmanager
def serving(province: Province, port: int = 0) -> Iterator[ProvinceDoor]:
    """The province's door, open in a thread of this process for as long as the block lasts."""
    door = ProvinceDoor(province, port)
    thread = threading.Thread(target=door.serve_forever, args=(0.05,), name="province", daemon=True)
    thread.start()
    try:
        yield door
    finally:
        door.shutdown()
        door.close()
        thread.join()


# --- a process around that ------------------------------------------------------------------------------------


def serve(province: Province, journal: Path | None = None, port: int = 0, port_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; call it from the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            if journal is not None:
                _go_on(province, journal)
                file = stack.enter_context(journal.open("a", encoding="utf-8"))
                province.keep = lambda row: _append(file, row)
            door = ProvinceDoor(province, port)
            stack.callback(door.close)
            if port_file is not None:
                _write_whole(port_file, f"{door.server_address[1]}\n")
            print(f"省平台模拟器 province: {door.url} 办件 {CASE_PATH} 评价 {RATING_PATH}", flush=True)
            door.serve_forever()
        except KeyboardInterrupt:
            pass


def _go_on(province: Province, journal: Path) -> None:
    """Whoever was killed in the middle of a line has not answered for it: it goes."""
    written = journal.read_bytes() if journal.exists() else b""
    whole = written[: written.rfind(b"\n") + 1]
    if whole != written:
        journal.write_bytes(whole)
    for line in whole.splitlines():
        province.recall(json.loads(line))


def _append(file: Any, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()


def keys_from(path: Path) -> Keys:
    """The keys in this file, which is made when there is none; ValueError if it holds something else."""
    if not path.exists():
        pair = sm2.generate()
        made = Keys(pair.private_hex, pair.public_hex, f"hall{secrets.token_hex(4)}", secrets.token_hex(16))
        _write_whole(path, json.dumps(asdict(made), indent=2) + "\n")
    try:
        keys = Keys(**json.loads(path.read_text(encoding="utf-8")))
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    sm2.check(sm2.KeyPair(keys.private_hex, keys.public_hex))
    return keys


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing: whoever waits for this file never reads half of it."""
    draft = path.with_name(f"{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("province")
@click.option("--port", default=0, help="端口，0=自动 / port, 0 = any free one")
@click.option("--port-file", type=_FILE, help="写入所用端口 / the port chosen is written here")
@click.option("--key-file", type=_FILE, required=True, help="密钥文件，无则新建 / keys; made when missing")
@click.option("--journal", type=_FILE, help="已收办件与评价 / what was accepted, as JSON lines")
@click.option("--seed", default=0, help="随机种子 / all misbehaviour follows from it")
@click.option("--misbehave", multiple=True, help=f"故障:概率 / NAME:PROB of {', '.join(MISBEHAVIOURS)}")
@click.option("--tenancy", default=Rules.tenancy, show_default=True, help="C-Tenancy-Id")
@click.option("--order", default=Rules.order, type=click.Choice(["C1C3C2", "C1C2C3"]), show_default=True)
@click.option("--requires-reason", is_flag=True, help="差评须有理由 / bad ratings need tags or text")
@click.option("--refuses-early", is_flag=True, help="拒收早于服务的评价 / assessTime before serviceTime")
@click.option("--refuses-future", is_flag=True, help="拒收未来的评价 / assessTime five minutes ahead")
@click.option("--refuses-repeated-case", is_flag=True, help="拒收重复办件 / a case pushed again")
@click.option("--slow-ms", default=Province.slow_ms, show_default=True, help="慢应答 / how late `slow` is")
@click.option("--stall-ms", default=Province.stall_ms, show_default=True, help="超时 / how long a stall lasts")
def command(
    port: int,
    port_file: Path | None,
    key_file: Path,
    journal: Path | None,
    seed: int,
    misbehave: tuple[str, ...],
    slow_ms: int,
    stall_ms: int,
    **rules: Any,
) -> None:
    """模拟省平台（方言A）/ a simulated province that speaks dialect A."""
    try:
        keys, wrongs = keys_from(key_file), misbehaviour(seed, misbehave)
    except (ValueError, OSError) as error:
        raise click.UsageError(f"--key-file, --misbehave: {error}") from error
    try:
        serve(Province(keys, Rules(**rules), wrongs, slow_ms=slow_ms, stall_ms=stall_ms), journal, port, port_file)
    except OSError as error:
        raise click.ClickException(f"端口 {port} 或文件用不了 / port or file cannot be used: {error}") from error


if __name__ == "__main__":
    command()
