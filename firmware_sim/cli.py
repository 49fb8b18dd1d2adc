"""The command line of the simulators."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click

from firmware_sim import broker, demo, fleet, morning
from firmware_sim.bench import Change, Replugged, Unplugged
from firmware_sim.carriers import DoorLine, NodeLine, UdpLine
from firmware_sim.faults import GROUPS, Faults, Happening, catalogue
from firmware_sim.faults.chances import happens
from firmware_sim.holder import held
from firmware_sim.line import (
    Commands,
    Line,
    PtyLine,
    Station,
    TcpLine,
    boot_file,
    next_boot,
    serve,
    steady_clock,
)
from firmware_sim.panel import PressMade, PressNotAccepted, PressRefused, PressThanked, Rebooted
from firmware_sim.panels.base import Panel
from firmware_sim.panels.shelf import KINDS, make, make_line, make_unknown
from firmware_sim.province.process import command as province


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """模拟外部世界 / everything outside, simulated: panels, a province, a broker, a whole demo."""


def _all_there_is() -> Iterator[str]:
    """For the help: every panel and every fault, one a line."""
    yield "面板 / panels (--profile):\n"
    yield from (f"  {name:<17} {kind.words}\n" for name, kind in KINDS.items())
    yield "\n\b\n故障 / faults (--faults NAME, NAME:PROB, groupN):\n"
    group = 0
    for number, name, usual, words in catalogue():
        if number != group:
            group = number
            yield f"  group{number}  {GROUPS[number]}\n"
        yield f"    {name:<16} {usual:<5} {words}\n"


@dataclass(frozen=True)
class _Wanted:
    """The command's options."""

    profile: str
    link: Path
    tcp: bool
    port: int
    device: str
    address: int | None
    panels: int
    shape: str | None
    baud: int | None
    door: str
    token: str
    seed: int
    faults: str


@main.command(epilog="\b\n" + "".join(_all_there_is()))
@click.option(
    "--profile", type=click.Choice(list(KINDS)), default="house", show_default=True, help="面板种类 / which panel"
)
@click.option(
    "--link",
    type=click.Path(path_type=Path),
    default=Path("panel0"),
    show_default=True,
    help="串口链接, 键盘则为事件节点 / link; of a keypad, its event node",
)
@click.option("--tcp", is_flag=True, help="用 TCP 代替 pty / TCP instead of a pty, for socket://")
@click.option(
    "--port", default=0, help="TCP 或 UDP 端口; 0 由系统选择 / of --tcp or of a tablet; 0: the system chooses"
)
@click.option("--device", default="D0001", show_default=True, help="设备编号 / device id, of house and screen")
@click.option("--address", type=int, help="首个总线地址 / bus address of the first panel")
@click.option("--panels", default=1, show_default=True, help="同一条线上的台数 / how many on this line")
@click.option("--shape", metavar="SEED", help="无人认识的面板, 形状由种子定 / a panel that no profile knows")
@click.option(
    "--baud", type=int, help="面板的波特率; 主机设得不同就读错 / the panel's rate: a host with another reads nonsense"
)
@click.option("--door", default="", help="代理的门 / the agent's door, of a screen: http://127.0.0.1:PORT/…")
@click.option("--token", default="", help="门的口令 / the door's token")
@click.option("--seed", default=0, help="随机种子 / all faults follow from it")
@click.option("--faults", default="", help="NAME[:PROB],groupN,… / e.g. bounce,flip:0.01,group6")
def panel(**options: object) -> None:
    """一个或一线按键面板 / one panel, or several on a line.

    每行输入 / type a line: 3 (按键 button 3), 5:3 (地址 5 的按键 3 / button 3 at address 5), reboot, unplug, replug,
    rename (换名插回 / back under another name).
    """
    wanted = _Wanted(**options)  # type: ignore[arg-type]
    try:
        station = _station(wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with ExitStack() as others:
        _others_at_the_port(wanted, station.faults, others)
        _run(station)


def _run(station: Station) -> None:
    stop, commands = threading.Event(), Commands()
    worker = threading.Thread(
        target=serve, args=([station], steady_clock(), stop, commands, _tell), name="panel", daemon=True
    )
    signal.signal(signal.SIGTERM, _end)
    worker.start()
    try:
        for line in sys.stdin:
            _obey(line.strip(), commands, station.panel)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        commands.wake()
        worker.join(2)
        station.line.close()


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def _station(wanted: _Wanted) -> Station:
    chances = Faults.parse(wanted.faults)
    boots = boot_file(wanted.link)
    made = _panel(wanted, steady_clock()(), next_boot(boots))
    line, where = _line(wanted)
    click.echo(f"面板 panel {_name(wanted, made)} @ {where}")
    return Station("panel", made, line, chances, wanted.seed, boots, wanted.baud)


def _panel(wanted: _Wanted, on_ms: int, boot: int) -> Panel:
    if wanted.shape is not None:
        return make_unknown(wanted.shape, on_ms, boot)
    if wanted.address is not None or wanted.panels != 1 or KINDS[wanted.profile].first_address is not None:
        return make_line(wanted.profile, wanted.address, wanted.panels, on_ms, boot)
    return make(wanted.profile, wanted.device, on_ms, boot)


def _name(wanted: _Wanted, made: Panel) -> str:
    if wanted.shape is not None:
        return f"形状 shape {wanted.shape}"
    if wanted.profile == "house":
        return made.device
    count = f" ×{wanted.panels}" if wanted.panels > 1 else ""
    return f"{wanted.profile} {made.device}".rstrip() + count


def _line(wanted: _Wanted) -> tuple[Line, str]:
    """What carries it, and where that is found."""
    line: Line
    match "serial" if wanted.shape is not None else KINDS[wanted.profile].carrier:
        case "udp":
            line = UdpLine(wanted.port)
            return line, f"udp://127.0.0.1:{line.port}"
        case "node":
            return NodeLine(wanted.link), str(wanted.link)
        case "door":
            headers = {"Authorization": f"Bearer {wanted.token}"} if wanted.token else {}
            return DoorLine(wanted.door, headers), wanted.door
    if wanted.tcp:
        line = TcpLine(wanted.port)
        return line, line.url
    return PtyLine(wanted.link), str(wanted.link)


def _others_at_the_port(wanted: _Wanted, faults: Faults, others: ExitStack) -> None:
    """The tenth group: who else is at this port, and whether one may open it at all."""
    rng = Random(f"{wanted.seed}/port")
    if not wanted.link.is_symlink():
        return
    if happens(faults.port_held, rng):
        pid = others.enter_context(held(wanted.link, "hold"))
        click.echo(f"端口被另一进程独占 / the port is held by process {pid}")
    if happens(faults.port_shared, rng):
        pid = others.enter_context(held(wanted.link, "share"))
        click.echo(f"另一进程也打开了端口 / the port is open in process {pid} too")
    if happens(faults.port_forbidden, rng):
        wanted.link.chmod(0)
        click.echo("端口无权打开 / the port may not be opened")


def _obey(line: str, commands: Commands, made: Panel) -> None:
    device, _, word = line.rpartition(":")
    try:
        made.at(device)
    except KeyError:
        click.echo(f"此线上没有 / not on this line: {device}")
        return
    match word:
        case "reboot":
            commands.reboot("panel", device)
        case "unplug":
            commands.unplug("panel")
        case "replug":
            commands.replug("panel")
        case "rename":
            commands.rename("panel")
        case _ if word.isdecimal():
            commands.press("panel", int(word), device)
        case "":
            pass
        case _:
            click.echo("按键号, reboot, unplug, replug 或 rename / a button's number, or one of these words")


def _tell(_window: str, event: Change) -> None:
    click.echo(words_of(event))


def words_of(event: Change) -> str:
    """What happened, for whoever sits before it."""
    match event:
        case PressMade(device, _, count, button, _, invited):
            asked = "邀请中 / asked" if invited else "无邀请 / not asked"
            return f"{_at(device)}按键 {button}, 第 {count} 次 ({asked}) / button {button}, its press {count}"
        case PressThanked(press):
            return f"{_at(press.device)}按键 {press.button}, 第 {press.count} 次: 已致谢 / press {press.count} thanked"
        case PressRefused(press):
            return f"{_at(press.device)}主机存储已满, 未收下第 {press.count} 次 / not accepted, will be repeated"
        case PressNotAccepted(device, button):
            return f"{_at(device)}按键 {button} 未接受: 没有邀请, 或还有按键未交出 / button {button} not accepted"
        case Rebooted(device, boot, _, lost):
            return f"{_at(device)}第 {boot} 次启动, 丢失 {len(lost)} 次按键 / start {boot}, {len(lost)} presses lost"
        case Unplugged():
            return "线缆断开 / cable out"
        case Replugged():
            return "线缆已接 / cable in"
        case Happening(kind=kind):
            return f"发生 / happens: {kind}"


def _at(device: str) -> str:
    return f"{device}: " if device else ""


main.add_command(broker.main)
main.add_command(province)
main.add_command(morning.command)
main.add_command(fleet.command)
main.add_command(demo.command)

if __name__ == "__main__":
    main()
