"""What SQLite asks of its disk, in its own order: a layer between the two, put in without changing a line of either.

The programs run as they are, on the real SQLite; what it writes, cuts, syncs and deletes is written down on the way.
Format of the tables: https://www.sqlite.org/c3ref/vfs.html and https://www.sqlite.org/c3ref/io_methods.html
"""

from __future__ import annotations

import ctypes as c
import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_POINTER = c.c_void_p
_CREATE = 0x4
_DIRECTORY_SYNCED = 0x800 | 0x4000 | 0x80000  # a journal or a log that is made is synced with its folder
_OK = 0


@dataclass(frozen=True)
class Opened:
    """A file, made if it was not there. `with_folder`: its first sync makes the names in its folder lasting too."""

    name: str
    with_folder: bool


@dataclass(frozen=True)
class Written:
    """These bytes at this place."""

    name: str
    at: int
    data: bytes


@dataclass(frozen=True)
class Cut:
    """The file is so long from now on."""

    name: str
    size: int


@dataclass(frozen=True)
class Synced:
    """What was written before is on the disk when this has returned."""

    name: str


@dataclass(frozen=True)
class Deleted:
    """The file is gone; lastingly if `synced`."""

    name: str
    synced: bool


Asked = Opened | Written | Cut | Synced | Deleted


class _Vfs(c.Structure):
    _fields_ = [
        ("version", c.c_int),
        ("file_size", c.c_int),
        ("longest_path", c.c_int),
        ("next", _POINTER),
        ("name", c.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        ("others", _POINTER * 14),
    ]


class _Methods(c.Structure):
    _fields_ = [
        ("version", c.c_int),
        ("close", _POINTER),
        ("read", _POINTER),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    ]


# Names go through as pointers: SQLite keeps more behind and before them than the text.
_OPEN = c.CFUNCTYPE(c.c_int, _POINTER, _POINTER, _POINTER, c.c_int, _POINTER)
_DELETE = c.CFUNCTYPE(c.c_int, _POINTER, _POINTER, c.c_int)
_CLOSE = c.CFUNCTYPE(c.c_int, _POINTER)
_WRITE = c.CFUNCTYPE(c.c_int, _POINTER, _POINTER, c.c_int, c.c_int64)
_TRUNCATE = c.CFUNCTYPE(c.c_int, _POINTER, c.c_int64)
_SYNC = c.CFUNCTYPE(c.c_int, _POINTER, c.c_int)


class _Real:
    """The system's own methods of a kind of file, and the table that stands in for theirs."""

    def __init__(self, address: int, mine: dict[str, Any]):
        theirs = _Methods.from_address(address)
        self.table = _Methods.from_buffer_copy(theirs)
        for name, method in mine.items():
            setattr(self.table, name, c.cast(method, _POINTER).value)
        self.close, self.write = _CLOSE(theirs.close), _WRITE(theirs.write)
        self.truncate, self.sync = _TRUNCATE(theirs.truncate), _SYNC(theirs.sync)


class Watched:
    """While it lasts, every database that this process opens is watched. `asked` is what was asked for, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._library = library()
        self._library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
        self._real = self._library.sqlite3_vfs_find(None)
        self._real_open = _OPEN(self._real.contents.open)
        self._real_delete = _DELETE(self._real.contents.delete)
        self._open, self._delete = _OPEN(self._on_open), _DELETE(self._on_delete)
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.name = b"watched"
        self._vfs.open, self._vfs.delete = c.cast(self._open, _POINTER), c.cast(self._delete, _POINTER)
        self._mine = {
            "close": _CLOSE(self._on_close),
            "write": _WRITE(self._on_write),
            "truncate": _TRUNCATE(self._on_truncate),
            "sync": _SYNC(self._on_sync),
        }
        self._kinds: dict[int, _Real] = {}
        self._files: dict[int, tuple[str, _Real]] = {}

    def __enter__(self) -> Self:
        assert _OK == self._library.sqlite3_vfs_register(c.byref(self._vfs), 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.sqlite3_vfs_register(self._real, 1)
        self._library.sqlite3_vfs_unregister(c.byref(self._vfs))

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        code: int = self._real_open(vfs, name, file, flags, out)
        methods = c.cast(file, c.POINTER(_POINTER))
        if code == _OK and name and methods[0]:
            text = c.string_at(name).decode()
            kind = self._kinds.setdefault(methods[0], _Real(methods[0], self._mine))
            self._files[file] = text, kind
            methods[0] = c.addressof(kind.table)
            self.asked.append(Opened(text, bool(flags & _CREATE and flags & _DIRECTORY_SYNCED)))
        return code

    def _on_delete(self, vfs: int, name: int, synced: int) -> int:
        code: int = self._real_delete(vfs, name, synced)
        self.asked.append(Deleted(c.string_at(name).decode(), bool(synced)))
        return code

    def _on_write(self, file: int, data: int, size: int, at: int) -> int:
        name, real = self._files[file]
        self.asked.append(Written(name, at, c.string_at(data, size)))
        return int(real.write(file, data, size, at))

    def _on_truncate(self, file: int, size: int) -> int:
        name, real = self._files[file]
        self.asked.append(Cut(name, size))
        return int(real.truncate(file, size))

    def _on_sync(self, file: int, flags: int) -> int:
        name, real = self._files[file]
        code = int(real.sync(file, flags))
        self.asked.append(Synced(name))
        return code

    def _on_close(self, file: int) -> int:
        _, real = self._files.pop(file)
        return int(real.close(file))


class OwnWrites:
    """While it lasts, what a module of ours writes by itself is noted too, in the same order as SQLite's requests."""

    def __init__(self, watched: Watched, module: Any):
        self._asked, self._module, self._names = watched.asked, module, {}

    def __enter__(self) -> Self:
        self._module.os = self
        return self

    def __exit__(self, *_: object) -> None:
        self._module.os = os

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        fd = os.open(path, flags, mode)
        if flags & os.O_RDWR:
            self._names[fd] = str(path)
            self._asked.append(Opened(str(path), False))
        return fd

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        self._asked.append(Written(self._names[fd], at, bytes(data)))
        return os.pwrite(fd, data, at)

    def ftruncate(self, fd: int, size: int) -> None:
        self._asked.append(Cut(self._names[fd], size))
        os.ftruncate(fd, size)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)
        self._asked.append(Synced(self._names[fd]))


def library() -> c.CDLL:
    """The very library that Python's sqlite3 is linked with."""
    assert sqlite3.sqlite_version  # loaded by now
    for line in Path("/proc/self/maps").read_text().splitlines():
        if re.search(r"/libsqlite3\.so[.0-9]*$", line):
            return c.CDLL(line.split()[-1])
    raise OSError("Python's sqlite3 is not a library of its own here: its disk cannot be watched")
