"""Passwords and keys that stand in the settings, or in a file beside them."""

from __future__ import annotations

from pathlib import Path

from protocols.errors import BadSettings


def file_bytes(path: Path) -> bytes:
    """The bytes of a settings file; BadSettings if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings([f"{path}: 读不了 / cannot be read: {error.strerror}"]) from error


def secret(value: str, file: str, folder: Path) -> str:
    """A password given in the settings or kept in a file beside them."""
    # utf-8-sig: what Windows' Notepad puts before a text is no part of a password.
    return (folder / file).read_text(encoding="utf-8-sig").strip() if file else value


def secret_mistakes(key: str, value: str, file: str, folder: Path) -> list[str]:
    """What is wrong with a secret that is given as `value` or in `file`; it is never shown."""
    if value and file:
        return [f"{key}: 与 {key}_file 只能填一个 / give this or {key}_file, not both"]
    if not value.strip() and not file:
        return [f"{key}: 缺少 / missing; 填此项或 {key}_file / give this or {key}_file"]
    if not file:
        return []
    try:
        # An empty token would let everybody in.
        return [] if secret("", file, folder) else [f"{key}_file: 文件是空的 / the file is empty: {file!r}"]
    except FileNotFoundError:
        return [f"{key}_file: 没有文件 / no file {file!r}"]
    except OSError as error:
        return [f"{key}_file: 读不了 / cannot be read: {file!r}: {error.strerror}"]
    except UnicodeDecodeError:
        return [f"{key}_file: 不是 UTF-8 文本 / is not UTF-8 text: {file!r}"]
