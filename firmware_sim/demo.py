"""Starts everything as separate processes, lets a busy morning happen, and compares the truth with the province.

Broker, province, collector, two agents with three windows each, and their panels on ptys. With faults, processes are
killed and started again while it runs. The verdict is reached from outside: from what the panels wrote down, what the
province wrote down, and what the ledger's file says of the ratings that are not there yet.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import click

from firmware_sim.scenario import Truth
from firmware_sim.verdict import KEYS, PREFIX, at_province, in_ledger, of_fates, of_presses, reading, whole_lines

AGENTS = ("hall-pc-1", "hall-pc-2")
WINDOWS = ("1", "2", "3")
PANEL_FAULTS = (
    "bounce:0.3,double:0.1,reboot:0.03,cable_out:0.03,split:0.05,glue:0.05,frame_lost:0.03,noise:0.05,"
    "ack_lost:0.05,ack_late:0.03,flip:0.001,byte_lost:0.0005"
)
PROVINCE_FAULTS = (
    "slow:0.03",
    "drop_before:0.03",
    "timeout_after:0.02",
    "empty:0.03",
    "rubbish:0.02",
    "http_5xx:0.03",
    "http_429:0.02",
    "http_401:0.01",
    "body_false:0.01",
    "forget:0.03",
)
PERSON = "demo"
_MARK = ".demo-run"  # in a folder that a demo made, and may clear
_UP_S = 60.0  # a part that has ended is seen at once; a busy machine takes its time to start one
_DRAIN_S = 60.0
_TURN_S = 1.0


@dataclass(frozen=True)
class Figures:
    """What came of it. `lost`, `doubled`, `invented` and `altered` must be 0."""

    pressed: int
    """Presses inside an invitation that a panel was thanked for, the first of each invitation."""
    kept: int
    """Rated presses ever in an outbox; more than `pressed` only where thanks were lost on the line, or where the truth
    cannot say to the millisecond whether the invitation was still open."""
    received: int
    """Ratings in the ledger."""
    accepted: int
    parked: int
    waiting: int
    lost: int
    doubled: int
    invented: int
    altered: int
    seconds: float

    @property
    def kept_promise(self) -> bool:
        return not (self.lost or self.doubled or self.invented or self.altered)


class Part:
    """One process of the demo, started again with the same command after it was killed."""

    def __init__(self, name: str, command: list[str], folder: Path):
        self.name = name
        self._command = command
        self._log = folder / f"{name}.log"
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it says goes to its log."""
        with self._log.open("ab") as log:
            # A group of its own: Ctrl-C is for the demo, which then ends its parts in order.
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder, process_group=0
            )

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, within_s: float = 10.0) -> None:
        """Ask it to end, and insist after a while."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])


class Demo:
    """One run in `folder`, which is empty."""

    def __init__(self, folder: Path, seconds: int, faults: bool, seed: int, broker: str):
        self.folder = folder
        self.seconds = seconds
        self.faults = faults
        self.seed = seed
        self._mosquitto = broker == "mosquitto"
        self.parts: dict[str, Part] = {}
        self._started = 0.0
        self.password = secrets.token_hex(6)
        """With which PERSON signs in to the page."""

    # ---- up

    def up(self) -> str:
        """Start every part; the address of the page."""
        self._users()
        self._part("broker", self._broker_command())
        self._await_file("broker.port", "broker")
        self._part("province", self._province_command())
        self._await_file("province.port", "province")
        self._await_file("province.json", "province")
        self._write_settings()
        self._part("collector", [*_module("collector"), "run", "--config", "collector.toml"])
        for agent in AGENTS:
            self._part(agent, [*_module("edge_agent"), "run", "--config", f"{agent}.toml"])
        self._await_file("collector.port", "collector")
        self._part("morning", [*_module("firmware_sim"), "morning", "hall.json"])
        self._started = time.monotonic()
        return f"http://127.0.0.1:{self._read('collector.port')}/"

    def _users(self) -> None:
        users = {"collector": f"c-{self.seed}", **{agent: f"a-{agent}-{self.seed}" for agent in AGENTS}}
        self._write("users.json", json.dumps(users))
        self._passwords = users

    def _broker_command(self) -> list[str]:
        if not self._mosquitto:
            return [*_module("firmware_sim"), "broker", "--users-file", "users.json", "--port-file", "broker.port"]
        return _mosquitto(self.folder, self._passwords)

    def _province_command(self) -> list[str]:
        wrongs = [word for fault in PROVINCE_FAULTS for word in ("--misbehave", fault)] if self.faults else []
        options = ["--key-file", "province.json", "--journal", "province.jsonl", "--port-file", "province.port"]
        slow = ["--slow-ms", "1500", "--stall-ms", "4000"]
        return [*_module("firmware_sim"), "province", *options, *slow, "--seed", str(self.seed), *wrongs]

    def _write_settings(self) -> None:
        broker_port, province_port = self._read("broker.port"), self._read("province.port")
        # The port the system chose stays: a broker that was killed comes back where it was.
        if not self._mosquitto:
            self.parts["broker"]._command += ["--port", broker_port]
        keys = json.loads(self._read("province.json"))
        self._write(
            "collector.toml",
            f"""
directory = "directory.toml"
[broker]
host = "127.0.0.1"
port = {broker_port}
password = "{self._passwords["collector"]}"
[province]
dialect = "txnbody"
case_url = "http://127.0.0.1:{province_port}/hcp/case"
offline_rating_url = "http://127.0.0.1:{province_port}/hcp/offline-rating"
app_mark = "{keys["app_mark"]}"
app_word = "{keys["app_word"]}"
public_key = "{keys["public_hex"]}"
data_source = "165"
province_prefix = "{PREFIX}"
timeout_s = 3
[web]
port = 0
port_file = "collector.port"
token = "w-{self.seed}"
""",
        )
        self._write("directory.toml", "".join(placed(agent, window) for agent in AGENTS for window in WINDOWS))
        self._collector("people", "add", PERSON, "--role", "administrator", "--password-stdin", said=self.password)
        key = self._collector("key")
        for agent in AGENTS:
            self._write(f"{agent}.toml", self._agent_settings(agent, broker_port, key))
        hall = {
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": PANEL_FAULTS if self.faults else "",
            "per_window_per_s": 0.5,
            "windows": {f"{agent}/{window}": device_of(agent, window) for agent in AGENTS for window in WINDOWS},
            "doors": {agent: f"{agent}.port" for agent in AGENTS},
            "door_token": f"d-{self.seed}",
            "collector": "collector.port",
            "collector_token": f"w-{self.seed}",
            "sealed": 0.5,
        }
        self._write("hall.json", json.dumps(hall))

    def _collector(self, *words: str, said: str = "") -> str:
        """What this command of the collector prints."""
        command = [*_module("collector"), *words, "--config", "collector.toml"]
        done = subprocess.run(command, cwd=self.folder, input=said, capture_output=True, check=True, text=True)
        return done.stdout.strip()

    def _agent_settings(self, agent: str, broker_port: str, details_key: str) -> str:
        windows = "".join(
            f'[[windows]]\nid = "{window}"\ndevice = "{device_of(agent, window)}"\n'
            f'port = "{self.folder / f"panel-{device_of(agent, window)}"}"\n'
            for window in WINDOWS
        )
        return f"""
agent = "{agent}"
{windows}
[outbox]
path = "{agent}.db"
[uplink]
host = "127.0.0.1"
port = {broker_port}
password = "{self._passwords[agent]}"
receipt_wait_ms = 2000
health_every_s = 2
[door]
port = 0
port_file = "{agent}.port"
token = "d-{self.seed}"
[details]
key = "{details_key}"
"""

    # ---- while it runs

    def run(self, show: Display) -> None:
        """Until the morning is over; kills what the faults say in the meantime."""
        started = self._started
        kills = self._kills() if self.faults else []
        while self.parts["morning"].running:
            elapsed_s = time.monotonic() - started
            while kills and kills[0][0] <= elapsed_s:
                _, name, away_s = kills.pop(0)
                show.say(f"kill -9 {name}, {away_s:.1f} 秒后重启 / started again after {away_s:.1f} s")
                self.parts[name].kill()
                # Its port may be another one after the start; whoever looks for it must not find the old one.
                time.sleep(away_s)
                self.parts[name].start()
            self._still_up()
            show.hops(elapsed_s, self.glance())
            time.sleep(_TURN_S / 2)

    def drain(self, show: Display) -> None:
        """Let everything that is on its way arrive."""
        started = time.monotonic()
        while time.monotonic() - started < _DRAIN_S:
            seen = self.glance()
            show.hops(time.monotonic() - self._started, seen)
            if seen and seen["backlog"] == 0 and seen["due"] == 0 and not self._backlogs():
                return
            self._still_up()
            time.sleep(_TURN_S / 4)

    def down(self) -> None:
        """End every part, last the broker."""
        for name in ("morning", *AGENTS, "collector", "province", "broker"):
            if name in self.parts:
                self.parts[name].stop()

    def _kills(self) -> list[tuple[float, str, float]]:
        """When, what, and how long it stays away: each kind at least once, all from the seed."""
        rng = Random(f"{self.seed}/kills")
        names = [AGENTS[0], "collector", "broker", AGENTS[1]]
        slot = self.seconds / (len(names) + 1)
        return [(slot * (at + rng.uniform(0.6, 1.2)), name, rng.uniform(0.2, 2.0)) for at, name in enumerate(names)]

    def glance(self) -> dict[str, Any]:
        """The collector's figures and the panels' own; empty while the collector does not answer."""
        truth = [json.loads(line)["what"] for line in whole_lines(self.folder / "truth.jsonl")]
        try:
            url = f"http://127.0.0.1:{self._read('collector.port')}/api/v1/summary"
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer w-{self.seed}"})
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - our own address
                summary = json.load(answer)
        except (OSError, ValueError, urllib.error.URLError):
            return {}
        waiting = summary["ratings"]["waiting"]
        return {
            "pressed": truth.count("pressed"),
            "thanked": truth.count("thanked"),
            "backlog": summary["backlog"]["records"],
            "records": summary["records"],
            "ratings": summary["ratings"]["received"],
            "accepted": summary["ratings"]["accepted"],
            "parked": summary["ratings"]["parked"],
            "waiting": waiting,
            "due": self._due(),
        }

    def _due(self) -> int:
        with reading(self.folder / "ledger.db") as db:
            number: int = db.execute("SELECT count(*) FROM rating WHERE state = 'due'").fetchone()[0]
        return number

    def _backlogs(self) -> int:
        """What the outboxes' own files hold: a health message may be older than they are."""
        total = 0
        for agent in AGENTS:
            with reading(self.folder / f"{agent}.db") as db:
                total += db.execute("SELECT count(*) FROM record").fetchone()[0]
        return total

    def _still_up(self) -> None:
        for part in self.parts.values():
            if not part.running and not (part.name == "morning" and part.process and part.process.returncode == 0):
                raise click.ClickException(f"{part.name} 意外退出 / ended by itself:\n{part.last_words()}")

    # ---- what came of it

    def figures(self, seconds: float) -> tuple[Figures, list[str]]:
        """The figures, and every mistake in words."""
        truth = Truth.read(whole_lines(self.folder / "truth.jsonl"))
        held = at_province(self.folder / "province.jsonl")
        here = in_ledger(self.folder / "ledger.db")
        kept = sum(self._kept(agent) for agent in AGENTS)
        fates = truth.fates()
        mistakes = [*of_fates(fates, held, here), *of_presses(truth, self.folder / "ledger.db")]
        known = {(f"{PREFIX}{fate.case_no}", fate.service_number) for fate in fates}
        mistakes += [f"invented: {case} 省平台有而从未邀请 / never invited" for case in held if case not in known]
        count = Counter(mistake.split(":")[0] for mistake in mistakes)
        states = Counter(state for ratings in here.values() for state, _ in ratings)
        figures = Figures(
            pressed=sum(fate.certain for fate in fates),
            kept=kept,
            received=sum(states.values()),
            accepted=states["accepted"],
            parked=states["parked"],
            waiting=states["due"] + states["awaiting_case"],
            lost=count["lost"],
            doubled=count["doubled"],
            invented=count["invented"],
            altered=count["altered"],
            seconds=round(seconds, 1),
        )
        return figures, mistakes

    def notes(self) -> dict[str, Any]:
        """What a reader of the figures asks next: presses in all, those without a rating, and why some are parked."""
        with reading(self.folder / "ledger.db") as db:
            other = db.execute("SELECT count(*) FROM press WHERE fate NOT IN ('rated', 'duplicate')").fetchone()[0]
            parked = db.execute(
                "SELECT reason, words, count(*) FROM rating WHERE state = 'parked' GROUP BY reason, words"
            ).fetchall()
        made = len(Truth.read(whole_lines(self.folder / "truth.jsonl")).pressed())
        return {"made": made, "other": other, "parked": {(reason, words): count for reason, words, count in parked}}

    def _kept(self, agent: str) -> int:
        command = [*_module("edge_agent"), "outbox", "status", "--json", "--config", f"{agent}.toml"]
        answer = subprocess.run(command, cwd=self.folder, capture_output=True, check=True)
        return sum(json.loads(answer.stdout)["kept_rated"].values())

    def verified(self) -> bool:
        """Whether the collector finds every chain in its ledger whole."""
        command = [*_module("collector"), "verify", "--config", "collector.toml"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, check=False).returncode == 0

    def reconciled(self) -> bool:
        """Whether the collector has a reason for every difference between devices, agents, ledger and province."""
        command = [*_module("collector"), "reconcile", "--config", "collector.toml"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, check=False).returncode == 0

    # ---- small things

    def _part(self, name: str, command: list[str]) -> None:
        self.parts[name] = Part(name, command, self.folder)
        self.parts[name].start()

    def _await_file(self, name: str, part: str) -> None:
        deadline = time.monotonic() + _UP_S
        while not (self.folder / name).exists():
            if not self.parts[part].running or time.monotonic() > deadline:
                raise click.ClickException(f"{part} 没有启动 / did not start:\n{self.parts[part].last_words()}")
            time.sleep(0.02)

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8").strip()

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text.lstrip(), encoding="utf-8")


class Display:
    """One line per hop, drawn over itself on a terminal, repeated now and then elsewhere."""

    def __init__(self, page: str):
        self._page = page
        self._drawn = 0
        self._next_s = 0.0
        self._terminal = sys.stdout.isatty()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._drawn = 0
        click.echo(text)

    def hops(self, elapsed_s: float, seen: dict[str, Any]) -> None:
        """The path of the presses, hop by hop."""
        if not self._terminal and elapsed_s < self._next_s:
            return
        self._next_s = elapsed_s + 5.0
        lines = [
            f"[{elapsed_s:5.1f} s]  网页 page {self._page}",
            _hop("面板 panels", seen, "按键 pressed {pressed} · 已致谢 thanked {thanked}"),
            _hop("代理 agents", seen, "未上交 in outboxes {backlog}"),
            _hop("账本 ledger", seen, "记录 records {records} · 评价 ratings {ratings}"),
            _hop(
                "省平台 province", seen, "已接收 accepted {accepted} · 待处理 parked {parked} · 等待 waiting {waiting}"
            ),
        ]
        if self._terminal and self._drawn:
            click.echo(f"\x1b[{self._drawn}A", nl=False)
        clear = "\x1b[K" if self._terminal else ""
        click.echo("\n".join(f"{line}{clear}" for line in lines))
        self._drawn = len(lines)


def _hop(name: str, seen: dict[str, Any], text: str) -> str:
    return f"  {name:<14} {text.format(**seen) if seen else '… (汇聚器不在 / collector away)'}"


@click.command("demo")
@click.option("--seconds", default=20, show_default=True, type=click.IntRange(3, 3600), help="多久 / for how long")
@click.option("--faults/--no-faults", default=False, help="故障与 kill -9 / faults and kill -9")
@click.option("--seed", default=7, show_default=True, help="随机种子 / everything follows from it")
@click.option("--broker", type=click.Choice(["amqtt", "mosquitto"]), default="amqtt", show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="结果文件 / figures as JSON")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="保留全部文件于此 / keep all files here")
def command(seconds: int, faults: bool, seed: int, broker: str, json_file: Path | None, keep: Path | None) -> None:
    """演示: 一次按键, 省平台恰有一条评价 / one press is exactly one rating at the province. Exit 1 if it is not."""
    if json_file is not None:
        # Before the morning, not after it.
        _must_be_writable(json_file)
    if keep is not None:
        _clear(keep)
    with tempfile.TemporaryDirectory(prefix="demo-") as scratch:
        _play(Demo((keep or Path(scratch)).resolve(), seconds, faults, seed, broker), json_file)


def _play(demo: Demo, json_file: Path | None) -> None:
    click.echo(f"种子 seed {demo.seed}, {demo.seconds} s{', 有故障 with faults' if demo.faults else ''}")
    started = time.monotonic()
    try:
        page = demo.up()
        click.echo(f"登录网页 / to sign in to the page: {PERSON}, 密码 password {demo.password}")
        show = Display(f"{page}  {PERSON} / {demo.password}")
        _ctrl_c_ends_the_morning(demo, show)
        demo.run(show)
        show.say("上午结束, 等待全部送达 / the morning is over, letting everything arrive")
        demo.drain(show)
    finally:
        demo.down()
    figures, mistakes = demo.figures(time.monotonic() - started)
    verified = demo.verified()
    _report(figures, mistakes, verified, demo.notes())
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(figures)) + "\n", encoding="utf-8")
    if not figures.kept_promise or not verified:
        again = f"firmware-sim demo --seconds {demo.seconds} --seed {demo.seed}{' --faults' if demo.faults else ''}"
        click.echo(f"复现 / replay: {again} --keep demo-run")
        sys.exit(1)


def _must_be_writable(file: Path) -> None:
    try:
        file.touch()
    except OSError as error:
        raise click.ClickException(f"--json {file}: 写不了 / cannot be written: {error.strerror}") from error


def _clear(folder: Path) -> None:
    """An empty folder for this run; what an earlier run left there is removed, and nothing that is not a run's."""
    mark = folder / _MARK
    try:
        if folder.exists() and any(folder.iterdir()) and not mark.exists():
            raise click.ClickException(
                f"--keep {folder}: 不是空的, 也不是以前的演示, 不予清空 / not empty, no earlier demo: not touched"
            )
        if mark.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise click.ClickException(f"--keep {folder}: 用不了 / cannot be used: {error.strerror}") from error


def _ctrl_c_ends_the_morning(demo: Demo, show: Display) -> None:
    def enough(*_: object) -> None:
        show.say("收到中断, 不再接待新的办事人 / no new citizens, finishing")
        demo.parts["morning"].stop(within_s=40)

    signal.signal(signal.SIGINT, enough)
    signal.signal(signal.SIGTERM, enough)


def _report(figures: Figures, mistakes: list[str], verified: bool, notes: dict[str, Any]) -> None:
    chains = "完好 whole" if verified else "断裂 BROKEN"
    unsure = figures.kept - figures.pressed
    edge = f" ({unsure} 次致谢丢失, 或恰在邀请边缘 / thanks lost, or at the edge of an invitation)" if unsure else ""
    click.echo(
        f"\n实际 truth        按键 {notes['made']} presses, 其中邀请内且已致谢 inside an invitation and thanked"
        f" {figures.pressed}\n"
        f"代理 agents       存盘 kept {figures.kept}{edge}\n"
        f"账本 ledger       收到 received {figures.received}, 哈希链 chains {chains};"
        f" 邀请外或重复, 只保存 kept without a rating {notes['other']}\n"
        f"省平台 province   已接收 accepted {figures.accepted}, 待处理 parked {figures.parked},"
        f" 等待 waiting {figures.waiting}"
    )
    for (reason, words), count in notes["parked"].items():
        click.echo(f"                  待处理 parked: {count} × {reason} {words}")
    if notes["parked"]:
        click.echo("                  (演示有意为之, 留待人工 / meant so by the demo: a person has to look)")
    click.echo(
        f"\n丢失 lost {figures.lost}, 重复 doubled {figures.doubled}, 多出 invented {figures.invented},"
        f" 篡改 altered {figures.altered}   ({figures.seconds} s)"
    )
    for mistake in mistakes[:20]:
        click.echo(f"  ✗ {mistake}")


def device_of(agent: str, window: str) -> str:
    """The id of the panel at this window of an agent called `…-<number>`."""
    return f"D{agent.rsplit('-', 1)[1]}00{window}"


def placed(agent: str, window: str) -> str:
    """The same window as it stands in directory.toml."""
    keys = ", ".join(f'{button} = "{level}"' for button, level in enumerate(KEYS, 1))
    number = f"{agent.rsplit('-', 1)[1]}0{window}"
    return (
        f'[[windows]]\nagent = "{agent}"\nwindow = "{window}"\nhall = "示例大厅"\nnumber = "{number}"\n'
        f'device = "{device_of(agent, window)}"\nkeys = {{ {keys} }}\n\n'
    )


def _module(package: str) -> list[str]:
    return [sys.executable, "-m", package]


def _mosquitto(folder: Path, users: dict[str, str]) -> list[str]:
    """A real mosquitto on a free port, with the same fences as the deployed one."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    maker = shutil.which("mosquitto_passwd")
    if program is None or maker is None:
        raise click.ClickException("没有安装 mosquitto / mosquitto is not installed: sudo apt-get install mosquitto")
    (folder / "passwd").write_text("".join(f"{user}:{word}\n" for user, word in users.items()), encoding="utf-8")
    subprocess.run([maker, "-U", str(folder / "passwd")], check=True)
    fences = [
        "user collector",
        "topic read hcp/v1/#",
        "topic write hcp/v1/+/receipt",
        "topic write hcp/v1/+/taken",
        "topic write hcp/v1/collector/status",
    ]
    fences += [f"pattern write hcp/v1/%u/{kind}" for kind in ("batch", "details", "status", "health")]
    fences += ["pattern read hcp/v1/%u/#", "pattern read hcp/v1/collector/status"]
    (folder / "acl").write_text("\n".join(fences) + "\n", encoding="utf-8")
    port = _free_port()
    settings = [f"listener {port} 127.0.0.1", "allow_anonymous false", "password_file passwd", "acl_file acl"]
    settings += ["max_queued_messages 0", *(["user root"] if os.geteuid() == 0 else [])]
    (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n", encoding="utf-8")
    (folder / "broker.port").write_text(str(port), encoding="utf-8")
    return [program, "-c", "mosquitto.conf"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
