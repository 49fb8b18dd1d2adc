"""A machine made of folders: what the kernel would say of adapters that are plugged in, and of programs that run."""

from pathlib import Path

from edge_agent.machine import Roots

CH340 = (0x1A86, 0x7523)
FTDI = (0x0403, 0x6001)


class Machine:
    """The folders proc, sys, dev, etc and usr under one; nothing is plugged in and nothing runs."""

    def __init__(self, folder: Path):
        names = ("proc", "sys", "dev", "etc", "usr")
        self.roots = Roots(*(folder / name for name in names))
        for name in (*names, "sys/class/tty", "sys/bus/usb/devices", "dev/pts"):
            (folder / name).mkdir(parents=True)

    def adapter(
        self,
        name: str,
        socket: str,
        ids: tuple[int, int] = CH340,
        serial: str = "",
        driver: str = "ch341-uart",
        interfaces: int = 1,
        number: int = 0,
        by_id: str = "",
        node: Path | None = None,
    ) -> Path:
        """One port of a USB adapter; its node in dev. `node` lends it a real terminal."""
        _, interface = self.usb(socket, ids, serial, interfaces, number)
        port = interface / name
        port.mkdir()
        (port / "driver").symlink_to(self._folder(f"sys/bus/usb-serial/drivers/{driver}"))
        (port / "subsystem").symlink_to(self._folder("sys/bus/usb-serial"))
        links = [f"by-path/pci-0000:00:14.0-usb-0:{socket.partition('-')[2]}:1.{number}-port0"]
        links += [f"by-id/{by_id}"] if by_id else []
        return self._tty(name, port, links, node)

    def usb(
        self, socket: str, ids: tuple[int, int], serial: str = "", interfaces: int = 1, number: int = 0
    ) -> tuple[Path, Path]:
        """A USB device without a port, as when no driver has taken it; its folder and that of its interface."""
        usb = self.roots.sys / "devices" / "usb1" / socket
        interface = usb / f"{socket}:1.{number}"
        interface.mkdir(parents=True)
        facts = {"idVendor": f"{ids[0]:04x}", "idProduct": f"{ids[1]:04x}", "bNumInterfaces": f"{interfaces:2d}"}
        facts |= {"product": "USB Serial", "manufacturer": "QinHeng"} | ({"serial": serial} if serial else {})
        for fact, value in facts.items():
            (usb / fact).write_text(f"{value}\n")
        (interface / "subsystem").symlink_to(self._folder("sys/bus/usb"))
        for each in (usb, interface):
            place = self.roots.sys / "bus" / "usb" / "devices" / each.name
            if not place.is_symlink():
                place.symlink_to(each)
        return usb, interface

    def vendor_port(self, name: str, socket: str, driver: str = "usb_ch343") -> Path:
        """A port of WCH's own driver, which hangs on the USB interface itself."""
        _, interface = self.usb(socket, CH340)
        (interface / "driver").symlink_to(self._folder(f"sys/bus/usb/drivers/{driver}"))
        return self._tty(name, interface, [], None)

    def built_in(self, name: str, kind: str = "4") -> Path:
        """A port on the board; kind 0 is a name without a port."""
        port = self.roots.sys / "devices" / "pnp0" / f"{name}:0"
        port.mkdir(parents=True)
        (port / "subsystem").symlink_to(self._folder("sys/bus/serial-base"))
        node = self._tty(name, port, [], None)
        (self.roots.sys / "class" / "tty" / name / "type").write_text(f"{kind}\n")
        return node

    def pull(self, name: str) -> None:
        """Unplug it: the kernel and udev take all of it away."""
        entry = self.roots.sys / "class" / "tty" / name
        (entry / "device").unlink()
        for link in (self.roots.dev / "serial").glob("*/*"):
            if link.readlink().name == name:
                link.unlink()
        (self.roots.dev / name).unlink()

    def program(self, pid: int, command: str, *opened: Path | str, arguments: str = "") -> None:
        """A program that runs and has these files open."""
        process = self.roots.proc / str(pid)
        (process / "fd").mkdir(parents=True)
        (process / "fdinfo").mkdir()
        (process / "comm").write_text(f"{command}\n")
        (process / "cmdline").write_text(arguments.replace(" ", "\0") + "\0")
        for number, file in enumerate(opened, 3):
            (process / "fd" / str(number)).symlink_to(file)

    def _tty(self, name: str, device: Path, links: list[str], node: Path | None) -> Path:
        entry = self.roots.sys / "class" / "tty" / name
        entry.mkdir(exist_ok=True)
        (entry / "device").symlink_to(device)
        made = self.roots.dev / name
        if node is None:
            made.touch(mode=0o660)
        else:
            made.symlink_to(node)
        for link in links:
            place = self.roots.dev / "serial" / link
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # the last to come has the name
            place.symlink_to(made)
        return made

    def _folder(self, path: str) -> Path:
        folder = self.roots.sys.parent / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder
