"""What the guest boots from: a Debian kernel, unpacked and never installed, and a first file system made around it."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / ".vm"
BUSYBOX = Path("/bin/busybox")
INIT = Path(__file__).parent / "guest" / "init"

NEWEST = "linux-image-amd64"  # the package that depends on Debian's newest kernel
MODULES = (
    # The host's files: shared read-only, with a memory file system on top that takes what is written.
    ("virtio_pci", "9pnet_virtio", "9p", "overlay"),
    # What carries commands, and what devices are plugged into.
    ("virtio_console", "xhci-pci"),
    # The drivers that a hall's adapters and keypads have.
    ("ftdi_sio", "usbhid", "hid-generic", "evdev", "uinput"),
)


@dataclass(frozen=True)
class Boot:
    """The two files that the guest's machine is given."""

    kernel: Path
    initramfs: Path


def prepare(folder: Path = FOLDER) -> Boot:
    """Everything in place; downloads about 70 MB with apt the first time, and is done in a moment from then on."""
    folder.mkdir(exist_ok=True)
    unpacked = folder / "kernel"
    if not unpacked.exists():
        _unpack(_package(folder), unpacked)
    kernel = next(unpacked.glob("boot/vmlinuz-*"))
    initramfs = folder / "initramfs"
    initramfs.write_bytes(_initramfs(unpacked))
    return Boot(kernel, initramfs)


def _package(folder: Path) -> Path:
    depends = subprocess.run(["apt-cache", "depends", NEWEST], check=True, capture_output=True, text=True).stdout
    name = re.search(r"Depends: (linux-image-\S+)", depends)
    assert name, f"{NEWEST} depends on no kernel / 没有内核包: {depends!r}"
    subprocess.run(["apt-get", "download", "-qq", name[1]], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    return next(folder.glob(f"{name[1]}_*.deb"))


def _unpack(package: Path, into: Path) -> None:
    half = into.with_name("half-unpacked")
    subprocess.run(["rm", "-rf", half], check=True)
    subprocess.run(["dpkg-deb", "-x", package, half], check=True)
    half.rename(into)
    package.unlink()


# ---- the modules, each behind those it needs


def _initramfs(unpacked: Path) -> bytes:
    there = {_name(file): file for file in sorted(unpacked.rglob("*.ko*"))}
    order: dict[str, bytes] = {}
    for wanted in (_name(Path(module)) for group in MODULES for module in group):
        _load_order(wanted, there, order)
    files = {
        "init": (0o755, INIT.read_bytes()),
        "bin/busybox": (0o755, BUSYBOX.read_bytes()),
        "modules/order": (0o644, "\n".join(order).encode()),
        **{f"modules/{name}.ko": (0o644, code) for name, code in order.items()},
    }
    return b"".join(_archive(files))


def _load_order(module: str, there: dict[str, Path], order: dict[str, bytes]) -> None:
    """Put a module behind everything that it says it depends on; what is no file is built into the kernel."""
    if module in order or module not in there:
        return
    code = _code(there[module])
    needs = re.search(rb"\0depends=([^\0]*)\0", code)
    for need in needs[1].decode("ascii").split(",") if needs else ():
        _load_order(_name(Path(need)), there, order)
    order[module] = code


def _name(file: Path) -> str:
    """A module's name as other modules write it."""
    return file.name.split(".")[0].replace("-", "_")


def _code(file: Path) -> bytes:
    return lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()


# ---- an archive as the kernel reads it: cpio, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst)


def _archive(files: dict[str, tuple[int, bytes]]) -> Iterator[bytes]:
    for folder in ("bin", "modules", "proc", "sys", "dev", "host", "memory", "root"):
        yield _entry(folder, 0o040755, b"")
    for name, (mode, content) in files.items():
        yield _entry(name, 0o100000 | mode, content)
    yield _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, content: bytes) -> bytes:
    title = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(title), 0)
    return _padded(b"070701" + b"".join(b"%08X" % number for number in numbers) + title) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


if __name__ == "__main__":
    boot = prepare()
    print(f"虚拟机就绪 / the guest can boot: {boot.kernel.name}, {boot.initramfs.stat().st_size >> 20} MiB initramfs")
