"""New settings: checked as they will be read, the old ones kept beside them, then put in their place whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from protocols.errors import BadSettings, Mistake
from protocols.words import Words

from .. import config
from ..hall_it import write_private

_PLACE = re.compile(r"[^:]*: ((?:[A-Za-z_]+(?:\[\d+\])?\.)*[A-Za-z_]+(?:\[\d+\])?)(?:: (.*))?")


def check(text: str, file: Path) -> config.Settings:
    """The settings that this text would be; BadSettings names every mistake, and nothing is written."""
    settings = config.checked(text.encode(), file)
    folder = (file.parent / settings.outbox.path).parent
    if not os.access(folder, os.W_OK):
        words = Words(f"不能写入文件夹: {folder}", f"folder cannot be written: {folder}")
        raise BadSettings([Mistake(f"{file.name}: outbox.path", words)])
    return settings


def apply(text: str, file: Path, now_ms: int) -> Path | None:
    """Put checked settings into the file; where the old ones are kept. BadSettings if they are wrong, OSError if they
    cannot be written: the file is then as it was."""
    check(text, file)
    kept = _kept(file, now_ms) if file.exists() else None
    try:
        if kept is not None:
            shutil.copy2(file, kept)
        write_private(file, text)
    except OSError:
        if kept is not None:
            kept.unlink(missing_ok=True)  # half of it, or of no use beside the file itself
        raise
    return kept


def take_back(file: Path, kept: Path | None) -> None:
    """The file is again what it was before `apply`; this asks for no room."""
    if kept is None:
        file.unlink(missing_ok=True)
    else:
        kept.replace(file)


def not_written(error: OSError) -> str:
    """Why nothing was put on the disk, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        zh, en = "磁盘已满, 请腾出空间后再点一次", "the disk is full: make room, then press it again"
    elif error.errno == errno.EROFS:
        zh, en = "磁盘只读, 请查磁盘后再点一次", "the disk is read-only: look at the disk, then press it again"
    else:
        where = f" ({Path(error.filename).name})" if error.filename else ""
        zh, en = (
            f"文件写不了{where}, 请查权限: {error.strerror}",
            f"cannot be written{where}, check who may write there",
        )
    return f"没有保存, 原来的配置没有动, 代理照旧: {zh} / nothing was saved, the settings are as they were: {en}"


def _kept(file: Path, now_ms: int) -> Path:
    at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
    kept = file.with_name(f"{file.name}.{at}")
    return kept if not kept.exists() else kept.with_name(f"{kept.name}-{now_ms % 1000:03}")


def day(at_ms: int) -> str:
    """The day of this moment where this machine stands."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")


def clock_of(at_ms: int, now_ms: int) -> str:
    """The time of this moment where this machine stands; with its day if that is another than today."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()
    return at.strftime("%H:%M" if day(at_ms) == day(now_ms) else "%m-%d %H:%M")


def keep_secret(folder: Path, name: str, word: str = "") -> None:
    """A file for this word, or for a new one where there is no file yet."""
    if word:
        write_private(folder / name, f"{word}\n")
    elif not (folder / name).exists():
        write_private(folder / name, f"{secrets.token_hex(16)}\n")


def by_key(error: BadSettings) -> dict[str, Words]:
    """What is wrong, by the key it is wrong with as a form names it (`windows.0.port`); under '' what has none."""
    found: dict[str, Words] = {}
    for mistake in error.mistakes:
        place = _PLACE.fullmatch(mistake.where)
        key = re.sub(r"\[(\d+)\]", lambda number: f".{int(number[1]) - 1}", place[1]) if place else ""
        words = (Mistake(place[2] or "", mistake.words) if place else mistake).whole
        before = found.get(key)
        found[key] = words if before is None else Words(f"{before.zh}; {words.zh}", f"{before.en}; {words.en}")
    return found
