"""A process around a simulated province: its keys, its journal, its port."""

import json
import secrets
import signal
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from firmware_sim import sm2
from firmware_sim.province import Province, Way
from firmware_sim.province.demands import Rules
from firmware_sim.province.door import ProvinceDoor
from firmware_sim.province.exchange import Exchange, ExchangeKeys
from firmware_sim.province.flat import Flat, FlatKeys
from firmware_sim.province.linewell import Linewell, LinewellKeys
from firmware_sim.province.misbehaviour import MISBEHAVIOURS, misbehaviour
from firmware_sim.province.txnbody import Keys, TxnBody

DIALECTS = ("txnbody", "linewell", "flat", "json")


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
            print(f"省平台模拟器 province: {door.url} {' '.join(province.way.paths)}", flush=True)
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


def way_from(dialect: str, path: Path, rules: Rules) -> Way:
    """One dialect with the keys in this file, which is made if there is none; ValueError if it holds something else."""
    if dialect == "linewell":
        return Linewell(_agreed(path, LinewellKeys, LinewellKeys.made), rules)
    if dialect == "flat":
        return Flat(_agreed(path, FlatKeys, FlatKeys.made), rules)
    if dialect == "json":
        return Exchange(_agreed(path, ExchangeKeys, ExchangeKeys.made), rules)
    keys = keys_from(path)
    return TxnBody(keys, rules)


def keys_from(path: Path) -> Keys:
    """Dialect A's keys in this file, which is made when there is none; ValueError if it holds something else."""
    keys: Keys = _agreed(path, Keys, _made)
    sm2.check(sm2.KeyPair(keys.private_hex, keys.public_hex))
    return keys


def _made() -> Keys:
    pair, client = sm2.generate(), sm2.generate()
    word = secrets.token_hex(16)
    return Keys(
        pair.private_hex, pair.public_hex, f"hall{secrets.token_hex(4)}", word, client.private_hex, client.public_hex
    )


def _agreed(path: Path, kind: type[Any], made: Any) -> Any:
    if not path.exists():
        _write_whole(path, json.dumps(asdict(made()), indent=2) + "\n")
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing: whoever waits for this file never reads half of it."""
    draft = path.with_name(f"{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("province")
@click.option("--dialect", default="txnbody", type=click.Choice(DIALECTS), show_default=True, help="方言")
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
    dialect: str,
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
    """模拟省平台 / a simulated province that speaks one of our dialects."""
    try:
        way, wrongs = way_from(dialect, key_file, Rules(**rules)), misbehaviour(seed, misbehave)
    except (ValueError, OSError) as error:
        raise click.UsageError(f"--key-file, --misbehave: {error}") from error
    try:
        province = Province(way, Rules(**rules), wrongs, slow_ms=slow_ms, stall_ms=stall_ms)
        if isinstance(way, TxnBody):
            way.unrated = province.unrated
        serve(province, journal, port, port_file)
    except OSError as error:
        raise click.ClickException(f"端口 {port} 或文件用不了 / port or file cannot be used: {error}") from error
