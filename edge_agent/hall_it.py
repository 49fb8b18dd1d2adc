"""Who may set this agent up: hall IT, by one password, kept as a hash in a file that only this account can read."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from .hashed import Cost, Hashed, fits, hashed

FILE = "hall-it.json"
WORD_MIN = 10
_WORD_MAX = 200
# 16 megabytes and a twentieth of a second for each try: a window PC has both, whoever stole the file has to pay it too.
_COST = Cost(memory=2**14, times=5)


class BadPassword(Exception):
    """The file cannot be used; the text says which one and why, Chinese first."""


class HallIt:
    """Of the agent whose settings lie in this folder. Read anew at each question: another program may set it too."""

    def __init__(self, folder: Path):
        self.file = folder / FILE

    def has_password(self) -> bool:
        """Whether hall IT has set its password here."""
        return bool(self._read())

    @property
    def mark(self) -> str:
        """Another one for each password that was ever set here; empty where none is. It tells nothing of the word."""
        return str(self._read().get("salt", ""))

    def holds(self, word: str) -> bool:
        """Whether this is hall IT's password."""
        kept = self._read()
        if not kept:
            return False
        try:
            expected = Hashed(bytes.fromhex(kept["salt"]), bytes.fromhex(kept["scrypt"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadPassword(f"{self.file}: 损坏, 请执行 / is damaged, run: edge-agent password") from error
        return fits(word, expected, _COST)

    def set_password(self, word: str) -> None:
        """From now on this is hall IT's password; on the disk when this returns. ValueError says why it cannot be."""
        wrong = mistake(word)
        if wrong:
            raise ValueError(wrong)
        made = hashed(word, _COST)
        entry = {"salt": made.salt.hex(), "scrypt": made.hash.hex()}
        try:
            write_private(self.file, json.dumps(entry))
        except OSError as error:
            raise BadPassword(f"{self.file}: 写不了 / cannot be written: {error.strerror}") from error

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BadPassword(f"{self.file}: 读不了 / cannot be read: {error.strerror}") from error
        except ValueError as error:
            # Taken for empty, whoever comes next could set a password of their own.
            raise BadPassword(f"{self.file}: 损坏, 请执行 / is damaged, run: edge-agent password") from error
        if not isinstance(found, dict) or not found:
            raise BadPassword(f"{self.file}: 损坏, 请执行 / is damaged, run: edge-agent password")
        return found


def mistake(word: str) -> str:
    """Why this cannot be a password; empty if it can."""
    if len(word) < WORD_MIN:
        return f"至少 {WORD_MIN} 个字符 / at least {WORD_MIN} characters"
    if len(word) > _WORD_MAX:
        return f"最多 {_WORD_MAX} 个字符 / at most {_WORD_MAX} characters"
    return "" if len(set(word)) > 3 else "太简单, 请用不同的字符 / too simple, use different characters"


def write_private(file: Path, content: str | bytes) -> None:
    """Put this into the file, whole or not at all, on the disk when this returns; nobody else can read it."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}.new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    # The new name is on the disk only when the folder is; Windows cannot open one.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
