"""Ports, adapters and what gets in their way, on machines made of folders; each told in two languages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.config import WindowSettings
from edge_agent.doctor.cable import examine
from edge_agent.doctor.findings import Finding
from edge_agent.machine import HERE, Account, account, serial_ports
from edge_agent.ports import PortFacts
from firmware_sim.line import PtyLine

from ..machines import CH340, FTDI, Machine

ROOT = Account("root", 0, frozenset())
DIALOUT = 20
CLERK = Account("clerk", 1000, frozenset({1000}))


@pytest.fixture
def machine(tmp_path) -> Machine:
    machine = Machine(tmp_path)
    (machine.roots.etc / "group").write_text(f"root:x:0:\ndialout:x:{DIALOUT}:other\nuucp:x:14:clerk,other\n")
    return machine


def bound(*ports: str) -> list[WindowSettings]:
    return [WindowSettings(str(at), f"D{at}", port) for at, port in enumerate(ports, 1)]


def found(machine: Machine, *ports: str, who: Account = ROOT) -> dict[str, list[Finding]]:
    """What is wrong, by code. Each trouble is told whole."""
    findings = examine(serial_ports(machine.roots), bound(*ports), who, machine.roots)
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        assert finding.words.zh
        assert finding.words.en
        assert finding.words.zh != finding.words.en
        if finding.severity != "ok":
            assert finding.cure.zh
            assert finding.cure.en
            assert finding.command
            by_code.setdefault(finding.code, []).append(finding)
    return by_code


def one(trouble: dict[str, list[Finding]], code: str) -> Finding:
    assert {code: 1} == {each: len(findings) for each, findings in trouble.items()}
    return trouble[code][0]


def test_a_machine_in_order_is_told_so(machine):
    """Two alike, each bound to its socket: everything is looked at, nothing to do."""
    machine.adapter("ttyUSB0", "1-1")
    machine.adapter("ttyUSB1", "1-2")
    findings = examine(serial_ports(machine.roots), bound("usb:1-1", "usb:1-2"), ROOT, machine.roots)

    assert {"ok"} == {finding.severity for finding in findings}
    assert [
        "port-absent",
        "port-number",
        "port-busy",
        "port-permission",
        "adapters-alike",
        "adapter-no-port",
        "brltty",
        "modemmanager",
        "serial-console",
    ] == [finding.code for finding in findings]


def test_an_empty_machine_is_in_order(machine):
    """Nothing plugged in, nothing bound, as before the first window is set up."""
    assert {} == found(machine)


# ---- which port


def test_a_bound_port_that_is_not_there_is_named(machine):
    """By socket and by path; a port behind a device server is none of this machine."""
    trouble = found(machine, "usb:1-3", str(machine.roots.dev / "ttyS7"), "socket://10.0.0.1:1", "rfc2217://h:1")

    assert ["窗口 1: 没有 usb:1-3", f"窗口 2: 没有 {machine.roots.dev}/ttyS7"] == [
        finding.words.zh for finding in trouble["port-absent"]
    ]
    assert {"bad"} == {finding.severity for finding in trouble["port-absent"]}


def test_a_port_that_could_be_two_is_told_with_both(machine):
    """And with what to write for each."""
    nodes = [machine.adapter(f"ttyUSB{at}", f"1-{at}") for at in range(2)]
    finding = found(machine, "usb:1a86:7523")["port-ambiguous"][0]

    assert all(f"{node} (usb:1-{at})" in finding.words.zh for at, node in enumerate(nodes))
    assert 'port = "usb:1-0" / port = "usb:1-1"' in finding.cure.en


@pytest.mark.parametrize("name", ["ttyUSB0", "ttyACM3", "ttyCH343USB0"])
def test_a_number_that_changes_with_a_replug_is_told_before_it_does(machine, name):
    """With the socket to bind instead. It works now: a warning."""
    node = machine.adapter(name, "1-1.4", FTDI, "A1")
    finding = found(machine, str(node))["port-number"][0]

    assert "warn" == finding.severity
    assert 'port = "usb:1-1.4"' in finding.cure.zh


def test_a_steady_name_is_no_trouble(machine):
    """A link by path or of one's own, and a port on the board."""
    node = machine.adapter("ttyUSB0", "1-1.4")
    (machine.roots.dev / "window3").symlink_to(node)
    board = machine.built_in("ttyS0")
    [by_path] = (machine.roots.dev / "serial" / "by-path").iterdir()

    assert {} == found(machine, str(by_path), str(machine.roots.dev / "window3"), str(board))


def test_two_adapters_alike_are_told(machine):
    """Without windows, and where a window is bound to one of them alone; both names and both sockets."""
    for at in range(2):
        machine.adapter(f"ttyUSB{at}", f"1-{at}")

    for trouble in (found(machine), found(machine, "usb:1-0")):
        finding = one(trouble, "adapters-alike")
        assert "warn" == finding.severity
        assert 'port = "usb:1-0" / port = "usb:1-1"' in finding.cure.zh


def test_a_link_by_id_that_two_share_is_told(machine):
    """It leads to whichever came last."""
    for at in range(2):
        machine.adapter(f"ttyUSB{at}", f"1-{at}", by_id="usb-1a86_USB_Serial-if00-port0")
    trouble = found(machine, str(machine.roots.dev / "serial" / "by-id" / "usb-1a86_USB_Serial-if00-port0"))

    assert {"port-ambiguous", "adapters-alike"} == trouble.keys()


def test_the_makers_own_driver_is_told(machine):
    """Its ports have no by-id link; bound to its socket it is as good as any."""
    machine.vendor_port("ttyCH343USB0", "1-1.2")

    assert 'port = "usb:1-1.2"' in one(found(machine), "wch-driver").cure.en
    assert {} == found(machine, "usb:1-1.2")


# ---- who may


def owned(node: Path, mode: int, gid: int = DIALOUT) -> int:
    """Give the node away if we can; the group that it has then."""
    if os.geteuid() == 0:
        os.chown(node, 0, gid)
    node.chmod(mode)
    return node.stat().st_gid


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")


@pytest.mark.parametrize(
    ("mode", "gid", "command"),
    [
        (0o660, DIALOUT, "sudo usermod -aG dialout clerk"),
        (0o660, 14, "newgrp uucp"),
        (0o600, DIALOUT, "sudo chgrp dialout {0} && sudo chmod 660 {0}"),
        (0o660, 0, "sudo chgrp dialout {0} && sudo chmod 660 {0}"),
        (0o640, 1000, "sudo chgrp dialout {0} && sudo chmod 660 {0}"),
    ],
)
def test_who_may_not_use_a_port_is_told_how(machine, mode, gid, command):
    """Join its group; sign in again where that was done; a node that is nobody's needs a group first."""
    needs_root()
    node = machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    owned(node, mode, gid)
    finding = one(found(machine, who=CLERK), "port-permission")

    assert command.format(node) == finding.command
    assert "clerk" in finding.words.zh


@pytest.mark.parametrize(
    "who",
    [ROOT, Account("clerk", 1000, frozenset({DIALOUT})), Account("owner", 7, frozenset())],
    ids=lambda who: who.name,
)
def test_who_may_use_a_port_is_told_nothing(machine, who):
    """Root, the group, and the owner."""
    needs_root()
    node = machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    owned(node, 0o660)
    os.chown(node, 7, -1)

    assert {} == found(machine, who=who)


def test_a_keypad_asks_for_its_own_group(machine):
    """What is bound is what is looked at, whatever it is."""
    needs_root()
    (machine.roots.etc / "group").write_text("input:x:104:\n")
    keypad = machine.roots.dev / "event3"
    keypad.touch()
    owned(keypad, 0o660, 104)

    assert "sudo usermod -aG input clerk" == one(found(machine, str(keypad), who=CLERK), "port-permission").command


def test_this_account_is_known(machine):
    """By its name where it has one."""
    (machine.roots.etc / "passwd").write_text(f"x:x:99999:1::/:\nme:x:{os.geteuid()}:1::/:\n")

    assert ("me", os.geteuid()) == (account(machine.roots).name, account(machine.roots).uid)
    assert os.getegid() in account(machine.roots).gids


# ---- who else


def test_the_program_that_holds_a_bound_port_is_named(machine):
    """With its number; one that holds another port is not, nor is an agent of ours."""
    node = machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    other = machine.adapter("ttyUSB1", "1-2", FTDI, "A2")
    machine.program(41, "queue-client", node)
    machine.program(42, "minicom", other)
    machine.program(43, "python3", node, arguments="python3 -m edge_agent run")
    machine.program(44, "edge-agent", node, arguments="/opt/bin/edge-agent run")
    finding = one(found(machine, "usb:1-1"), "port-busy")

    assert f"窗口 1: {node} 被 queue-client (pid 41) 占用" == finding.words.zh
    assert "sudo kill 41" == finding.command


def test_who_is_not_root_is_told_how_far_it_sees(machine):
    """Of other people's programs nothing can be seen: the good news is not more than that."""
    machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    findings = examine(serial_ports(machine.roots), bound("usb:1-1"), CLERK, machine.roots)

    assert ["no other program holds one (only root sees them all)"] == [
        finding.words.en for finding in findings if finding.code == "port-busy"
    ]


def test_a_real_program_on_a_real_terminal_is_named(tmp_path):
    """On this very machine."""
    line = PtyLine(tmp_path / "panel")
    code = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(line.link)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        findings = examine([], bound(str(line.link)), ROOT, HERE)
        other.stdin.close()
    line.close()

    assert [f"sudo kill {other.pid}"] == [finding.command for finding in findings if finding.code == "port-busy"]


def brltty_installed(machine: Machine) -> None:
    rules = machine.roots.usr / "lib" / "udev" / "rules.d"
    rules.mkdir(parents=True)
    (rules / "85-brltty.rules").write_text('ATTRS{idVendor}=="1a86"\n')


def brltty_runs(machine: Machine) -> None:
    machine.program(50, "brltty")


@pytest.mark.parametrize("there", [brltty_installed, brltty_runs])
def test_brltty_beside_a_ch340_is_told(machine, there):
    """A warning while the port is there, a trouble when it is gone; none beside another adapter."""
    there(machine)
    machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    assert {} == found(machine)
    machine.adapter("ttyUSB1", "1-2", CH340)
    assert "warn" == one(found(machine), "brltty").severity
    machine.pull("ttyUSB1")
    finding = one(found(machine), "brltty")

    assert "bad" == finding.severity
    assert "brltty 夺走了 CH340 (usb:1-2)" == finding.words.zh
    assert finding.command.startswith("sudo systemctl mask --now brltty-udev.service")


def test_brltty_that_was_masked_is_no_trouble(machine):
    """The cure cures: its rules are still there and start nothing."""
    brltty_installed(machine)
    machine.adapter("ttyUSB1", "1-2", CH340)
    units = machine.roots.etc / "systemd" / "system"
    units.mkdir(parents=True)
    (units / "brltty-udev.service").symlink_to("/dev/null")

    assert {} == found(machine)


@pytest.mark.parametrize(("ids", "driver"), [(CH340, "ch341"), (FTDI, "ftdi_sio")])
def test_an_adapter_without_a_port_is_told(machine, ids, driver):
    """Nobody has taken it: its driver is missing. What is no serial adapter needs none."""
    machine.usb("1-1", ids)
    machine.usb("1-2", (0x046D, 0xC31C))

    assert f"sudo modprobe {driver}" == one(found(machine), "adapter-no-port").command


def test_modem_manager_beside_an_adapter_is_told(machine):
    """Until it is told to leave ports alone; without an adapter it does nothing."""
    machine.program(60, "ModemManager")
    assert {} == found(machine)
    machine.adapter("ttyUSB0", "1-1", FTDI, "A1")
    assert "sudo systemctl disable --now ModemManager" == one(found(machine), "modemmanager").command
    (machine.roots.etc / "udev" / "rules.d").mkdir(parents=True)
    (machine.roots.etc / "udev" / "rules.d" / "70-hall.rules").write_text('ENV{ID_MM_DEVICE_IGNORE}="1"\n')

    assert {} == found(machine)


@pytest.mark.parametrize("grub", [True, False])
def test_a_port_on_which_the_kernel_writes_is_told(machine, grub):
    """Its messages are noise for the device. Another port beside it is not touched."""
    (machine.roots.proc / "cmdline").write_text("quiet console=tty0 console=ttyS0,115200n8\n")
    if grub:
        (machine.roots.etc / "default").mkdir()
        (machine.roots.etc / "default" / "grub").touch()
    first, second = machine.built_in("ttyS0"), machine.built_in("ttyS1")

    assert {} == found(machine, str(second))
    finding = one(found(machine, str(first)), "serial-console")
    assert ("update-grub" if grub else "serial-getty@ttyS0.service") in finding.command


@pytest.mark.parametrize(("listed", "severity"), [(["COM3"], {"ok"}), ([], {"ok", "bad"})])
def test_a_com_port_is_there_if_the_system_lists_it(machine, listed, severity):
    """It is no file. On a system that has no such names it is missing, and told so. Red if any name will do."""
    findings = examine([PortFacts(name) for name in listed], bound("COM3"), ROOT, machine.roots)

    assert severity == {finding.severity for finding in findings}
