"""Ports and programs as the kernel's files describe them: in made folders, and on this very machine."""

import os
import pty
import subprocess
import sys

import pytest
import serial.tools.list_ports

from edge_agent.machine import Holder, holders, is_pty, is_tty, serial_ports

from .machines import FTDI, Machine


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_an_adapter_is_described_whole(machine):
    """Make, serial number, socket, links, driver: what a person needs to tell it from another."""
    node = machine.adapter("ttyUSB0", "1-1.3", FTDI, "A9001XYZ", "ftdi_sio", by_id="usb-FTDI_A9001XYZ-if00-port0")
    [port] = serial_ports(machine.roots)

    assert (str(node), 0x0403, 0x6001, "A9001XYZ", "1-1.3") == (
        port.device,
        port.vid,
        port.pid,
        port.serial,
        port.location,
    )
    assert ("ftdi_sio", "QinHeng", "USB Serial", "USB Serial") == (
        port.driver,
        port.manufacturer,
        port.product,
        port.description,
    )
    assert ["usb-FTDI_A9001XYZ-if00-port0", "pci-0000:00:14.0-usb-0:1.3:1.0-port0"] == [
        os.path.basename(link) for link in port.links
    ]


def test_ports_that_pyserial_does_not_list_are_there(machine):
    """WCH's own driver has names of its own, and so has a board with i.MX ports."""
    machine.vendor_port("ttyCH343USB0", "1-1.2")
    machine.built_in("ttymxc2")
    ports = {os.path.basename(port.device): port for port in serial_ports(machine.roots)}

    assert {"ttyCH343USB0", "ttymxc2"} == ports.keys()
    assert ("1a86:7523", "1-1.2", "usb_ch343") == (
        ports["ttyCH343USB0"].adapter,
        ports["ttyCH343USB0"].location,
        ports["ttyCH343USB0"].driver,
    )


def test_a_port_of_several_is_told_with_its_interface(machine):
    """Four ports in one adapter share the socket."""
    for number in range(2):
        machine.adapter(f"ttyUSB{number}", "1-2", (0x0403, 0x6011), "Q1", "ftdi_sio", interfaces=2, number=number)

    assert ["1-2:1.0", "1-2:1.1"] == [port.location for port in serial_ports(machine.roots)]


def test_names_without_a_port_are_left_out(machine):
    """A PC has ttyS0 to ttyS31 by name, consoles of the screen, and what is unplugged."""
    machine.built_in("ttyS0")
    machine.built_in("ttyS1", kind="0")
    (machine.roots.sys / "class" / "tty" / "tty1").mkdir()
    machine.adapter("ttyUSB0", "1-1.3")
    machine.pull("ttyUSB0")
    machine.adapter("ttyUSB1", "1-1.4").unlink()  # in a container the kernel's port may have no node

    assert [str(machine.roots.dev / "ttyS0")] == [port.device for port in serial_ports(machine.roots)]


def test_ports_come_in_the_order_of_their_numbers(machine):
    """ttyUSB10 behind ttyUSB9."""
    for number in (10, 9, 1):
        machine.adapter(f"ttyUSB{number}", f"1-{number}")

    assert ["ttyUSB1", "ttyUSB9", "ttyUSB10"] == [os.path.basename(p.device) for p in serial_ports(machine.roots)]


def test_nothing_is_missed_that_pyserial_lists_here():
    """On this machine, whatever it has; names without hardware apart."""
    ours = {port.device for port in serial_ports()}
    theirs = {port.device for port in serial.tools.list_ports.comports() if "ttyS" not in port.device}

    assert theirs <= ours


def test_the_program_that_has_a_port_open_is_named(machine):
    """Through whatever link it was asked for; not the one that has another port."""
    node = machine.adapter("ttyUSB0", "1-1.3")
    machine.program(4711, "queue-client", node)
    machine.program(4712, "other", machine.built_in("ttyS0"))
    [link] = (machine.roots.dev / "serial" / "by-path").iterdir()

    assert [Holder(4711, "queue-client")] == holders(str(link), machine.roots)
    assert "queue-client (pid 4711)" == str(holders(str(node), machine.roots)[0])
    assert [] == holders(str(machine.roots.dev / "nowhere"), machine.roots)


def test_a_real_program_with_a_real_terminal_is_named():
    """A second process; the end that stands for the device is told apart."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    code = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as other:
        other.stdout.readline()
        held = {each.pid: each.far_end for each in holders(name)}
        other.stdin.close()

    assert {other.pid: False, os.getpid(): True} == held
    assert is_tty(name)
    assert is_pty(name)
    assert not is_tty("/dev/null")
    os.close(master)
    os.close(slave)
    assert not is_tty(name)
