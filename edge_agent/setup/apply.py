"""New settings: checked as they will be read, the old ones kept beside them, then put in their place whole."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from protocols.errors import BadSettings

from .. import config
from ..hall_it import write_private

_PLACE = re.compile(r"[^:]*: ((?:[A-Za-z_]+(?:\[\d+\])?\.)*[A-Za-z_]+(?:\[\d+\])?): (.*)", re.DOTALL)


def check(text: str, file: Path) -> config.Settings:
    """The settings that this text would be; BadSettings names every mistake, and nothing is written."""
    settings = config.checked(text.encode(), file)
    folder = (file.parent / settings.outbox.path).parent
    if not os.access(folder, os.W_OK):
        raise BadSettings([f"{file.name}: outbox.path: 不能写入文件夹 / folder cannot be written: {folder}"])
    return settings


def apply(text: str, file: Path, now_ms: int) -> Path | None:
    """Put checked settings into the file; where the old ones are kept. BadSettings if they are wrong, OSError if they
    cannot be written: the file is then as it was."""
    check(text, file)
    kept = _kept(file, now_ms) if file.exists() else None
    if kept is not None:
        shutil.copy2(file, kept)
    write_private(file, text)
    return kept


def _kept(file: Path, now_ms: int) -> Path:
    at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
    kept = file.with_name(f"{file.name}.{at}")
    return kept if not kept.exists() else kept.with_name(f"{kept.name}-{now_ms % 1000:03}")


def day(at_ms: int) -> str:
    """The day of this moment where this machine stands."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")


def keep_secret(folder: Path, name: str, word: str = "") -> None:
    """A file for this word, or for a new one where there is no file yet."""
    if word:
        write_private(folder / name, f"{word}\n")
    elif not (folder / name).exists():
        write_private(folder / name, f"{secrets.token_hex(16)}\n")


def by_key(error: BadSettings) -> dict[str, str]:
    """What is wrong, by the key it is wrong with as a form names it (`windows.0.port`); under '' what has none."""
    found: dict[str, str] = {}
    for mistake in error.mistakes:
        place = _PLACE.fullmatch(mistake)
        key = re.sub(r"\[(\d+)\]", lambda number: f".{int(number[1]) - 1}", place[1]) if place else ""
        words = place[2] if place else mistake
        found[key] = f"{found[key]}; {words}" if key in found else words
    return found
