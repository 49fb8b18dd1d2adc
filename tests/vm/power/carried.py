"""All that the guest which is cut has in memory: interpreter, libraries, and the programs under test.

A machine whose state is to be copied cannot look at the host's files, so it brings what it needs.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.vm.guest.keeper import LOADED
from tests.vm.guest_machine import GUEST
from tests.vm.prepare import ROOT, Boot, File, kernel, modules, packed

PYTHON = Path(sys.executable).resolve()
INIT = GUEST / "init-cut"
SITE = Path(msgspec.__file__).parent.parent
OURS = ("protocols", "edge_agent", "collector")
MODULES = ("virtio_pci", "virtio_console", "virtio_net", "xhci-pci", "ftdi_sio")
DISKS = ("crc32c_generic", "xxhash_generic", "blake2b_generic", "ext4", "btrfs", "xfs")  # their sums are modules too
HELD_BACK = "virtio_blk"  # loaded when the power is back: before that nothing of the disk can be known
_NOT_NEEDED = re.compile(
    r"/(tests?|idlelib|lib2to3|ensurepip|turtledemo|tkinter|pydoc_data|distutils|unittest|config-\d[^/]*"
    r"|site-packages|dist-packages)/|/_(tkinter|test\w*|xx\w*)\.\w+"
)
_WHICH = "import importlib, sys; [importlib.import_module(each) for each in sys.argv[1:]]; print(*sys.modules)"


def carried(into: Path, code: Path = ROOT) -> Boot:
    """What the guest boots from, made in a folder; the programs are those of the project in the folder `code`."""
    unpacked = kernel()
    loaded, order = modules(unpacked, (*MODULES, *DISKS))
    late, _ = modules(unpacked, [HELD_BACK])
    files = {"init": File(INIT.read_bytes(), 0o755), "modules/order": File("\n".join(order).encode()), **loaded, **late}
    mine = [PYTHON, *_python(Path(sysconfig.get_path("stdlib"))), *_packages()]
    files |= {_inside(file): _file(file) for file in [*mine, *_libraries(mine)]}
    for package in OURS:
        files |= {_inside(ROOT / file.relative_to(code)): _file(file) for file in _all(code / package)}
    files |= {_inside(file): _file(file) for file in (GUEST / "keeper.py", GUEST / "orderly.py")}
    return packed(into / "initramfs", files, unpacked)


def _inside(file: Path) -> str:
    return str(file).lstrip("/")


def _file(file: Path) -> File:
    about = file.stat()
    # An interpreter believes its compiled files as long as the time of their source is the same.
    return File(file.read_bytes(), about.st_mode & 0o777, int(about.st_mtime))


def _all(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _python(folder: Path) -> Iterator[Path]:
    for file in _all(folder):
        if _NOT_NEEDED.search(f"/{file.relative_to(folder)}"):
            continue
        if file.suffix == ".py":
            yield file
            compiled = Path(importlib.util.cache_from_source(str(file)))
            if compiled.exists():
                yield compiled
        elif file.suffix in (".so", ".pem"):
            yield file


def _packages() -> Iterator[Path]:
    """The libraries that the programs use."""
    said = subprocess.run([sys.executable, "-c", _WHICH, *LOADED], capture_output=True, text=True, check=True, cwd=ROOT)
    for name in {module.split(".")[0] for module in said.stdout.split()}:
        if (SITE / name).is_dir():
            yield from _python(SITE / name)
        else:
            yield from (file for file in SITE.glob(f"{name}.*") if file.suffix in (".py", ".so"))


def _libraries(files: Iterable[Path]) -> set[Path]:
    """What these are linked with, where the loader looks for it."""
    binary = [str(file) for file in files if file == PYTHON or file.suffix == ".so"]
    said = subprocess.run(["ldd", *binary], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", said)}
