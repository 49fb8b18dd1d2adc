"""The command line of the simulators."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import click

from firmware_sim import broker, demo, fleet, morning, province
from firmware_sim.faults import Faults
from firmware_sim.line import (
    Change,
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
from firmware_sim.panel import HousePanel


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """模拟外部世界 / everything outside, simulated: panels, a province, a broker, a whole demo."""


@main.command()
@click.option(
    "--link", type=click.Path(path_type=Path), default=Path("panel0"), show_default=True, help="串口链接 / link"
)
@click.option("--tcp", is_flag=True, help="用 TCP 代替 pty / TCP instead of a pty, for socket://")
@click.option("--device", default="D0001", show_default=True, help="设备编号 / device id")
@click.option("--seed", default=0, help="随机种子 / all faults follow from it")
@click.option("--faults", default="", help="NAME:PROB,… / e.g. bounce:0.3,flip:0.001")
def panel(link: Path, tcp: bool, device: str, seed: int, faults: str) -> None:
    """一个按键面板; 每行输入一个按键号 / one panel: type a button's number and Enter, or reboot, unplug, replug."""
    try:
        station = _station(link, tcp, device, seed, faults)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    stop, commands = threading.Event(), Commands()
    worker = threading.Thread(
        target=serve, args=([station], steady_clock(), stop, commands, _tell), name="panel", daemon=True
    )
    signal.signal(signal.SIGTERM, _end)
    worker.start()
    try:
        for line in sys.stdin:
            _obey(line.strip(), commands)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        commands.wake()
        worker.join(2)
        station.line.close()


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def _station(link: Path, tcp: bool, device: str, seed: int, faults: str) -> Station:
    chances = Faults.parse(faults)
    boots = boot_file(link)
    made = HousePanel(device, next_boot(boots), steady_clock()())
    line: Line = TcpLine() if tcp else PtyLine(link)
    click.echo(f"面板 panel {device} @ {line.url if isinstance(line, TcpLine) else link}")
    return Station("panel", made, line, chances, seed, boots)


def _obey(word: str, commands: Commands) -> None:
    match word:
        case "reboot":
            commands.reboot("panel")
        case "unplug":
            commands.unplug("panel")
        case "replug":
            commands.replug("panel")
        case _ if word.isdigit():
            commands.press("panel", int(word))
        case "":
            pass
        case _:
            click.echo("按键号, reboot, unplug 或 replug / a button's number, reboot, unplug or replug")


def _tell(_window: str, event: Change) -> None:
    click.echo(str(event))


main.add_command(broker.main)
main.add_command(province.command)
main.add_command(morning.command)
main.add_command(fleet.command)
main.add_command(demo.command)

if __name__ == "__main__":
    main()
