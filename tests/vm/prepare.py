"""What the guest boots from: a Debian kernel, unpacked and never installed, and a first file system made around it."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Iterable, Iterator
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


@dataclass(frozen=True)
class File:
    """What the guest finds at a path from the start."""

    content: bytes
    mode: int = 0o644
    mtime_s: int = 0


def prepare(folder: Path = FOLDER) -> Boot:
    """Everything in place; downloads about 70 MB with apt the first time, and is done in a moment from then on."""
    unpacked = kernel(folder)
    code, order = modules(unpacked, [name for group in MODULES for name in group])
    files = {"init": File(INIT.read_bytes(), 0o755), "modules/order": File("\n".join(order).encode())}
    return packed(folder / "initramfs", files | code, unpacked)


def kernel(folder: Path = FOLDER) -> Path:
    """The folder of the unpacked kernel."""
    folder.mkdir(exist_ok=True)
    unpacked = folder / "kernel"
    if not unpacked.exists():
        _unpack(_package(folder), unpacked)
    return unpacked


def packed(initramfs: Path, files: dict[str, File], unpacked: Path) -> Boot:
    """A first file system of these files and a busybox, beside that kernel."""
    busybox = {"bin/busybox": File(BUSYBOX.read_bytes(), 0o755)}
    initramfs.write_bytes(b"".join(_archive(files | busybox)))
    return Boot(next(unpacked.glob("boot/vmlinuz-*")), initramfs)


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


def modules(unpacked: Path, wanted: Iterable[str]) -> tuple[dict[str, File], list[str]]:
    """Their files, with those that they need, and the order in which they are loaded."""
    there = {_name(file): file for file in sorted(unpacked.rglob("*.ko*"))}
    order: dict[str, bytes] = {}
    for each in wanted:
        _load_order(_name(Path(each)), there, order)
    return {f"modules/{name}.ko": File(code) for name, code in order.items()}, list(order)


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


def _archive(files: dict[str, File]) -> Iterator[bytes]:
    yield from (_entry(folder, 0o040755, File(b"")) for folder in _folders(files))
    for name, file in files.items():
        yield _entry(name, 0o100000 | file.mode, file)
    yield _entry("TRAILER!!!", 0, File(b""))


def _folders(files: Iterable[str]) -> list[str]:
    """Each before what lies in it."""
    needed = {str(folder) for name in files for folder in Path(name).parents} - {"."}
    return sorted(needed | {"proc", "sys", "dev", "host", "memory", "root"})


def _entry(name: str, mode: int, file: File) -> bytes:
    title = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, file.mtime_s, len(file.content), 0, 0, 0, 0, len(title), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(head + title) + _padded(file.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


if __name__ == "__main__":
    boot = prepare()
    print(f"虚拟机就绪 / the guest can boot: {boot.kernel.name}, {boot.initramfs.stat().st_size >> 20} MiB initramfs")
