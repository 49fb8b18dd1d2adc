"""A small disk of its own, that can be full, have room again, and be read-only: a real one."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest


class Disk:
    """A tmpfs at `path`. Only root may mount one: skipped where it cannot be had, failed in CI."""

    def __init__(self, path: Path, size: str = "8m"):
        self.path = path
        path.mkdir()
        done = self._mount("-t", "tmpfs", "-o", f"size={size}", "none")
        if done.returncode:
            reason = f"no disk can be mounted here: {done.stderr.decode().strip()}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)

    def fill(self) -> None:
        """Not a byte is left."""
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                self._write_all(file.fileno(), bytes(size))

    def free(self) -> None:
        self._ballast.unlink()

    def set(self, how: str) -> None:
        """`ro` or `rw`; nobody may have a file of it open to write."""
        assert 0 == self._mount("-o", f"remount,{how}").returncode

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def _mount(self, *how: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["mount", *how, str(self.path)], check=False, capture_output=True)

    def _write_all(self, fd: int, piece: bytes) -> None:
        try:
            while True:
                os.write(fd, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
