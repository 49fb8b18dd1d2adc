"""Signed checkpoints as text that a person can read and `openssl` can check. The only user of cryptography here.

Signed are all bytes of the text before the line of the signature, as they stand: UTF-8, a line feed after each line,

    好差评账本检查点 hall-rating checkpoint 1
    账本 ledger: <32 hex>
    段 stretch: <number>
    链首 head: <64 hex>
    时间 at: 2026-11-24T00:00:03.217Z
    毫秒 at_ms: 1795478403217
    …
    公钥 key: <64 hex: SHA-256 of the public key in DER>
    signature: <base64 of the 64 bytes of Ed25519>

docs/evidence.md has the commands of `openssl`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from protocols.ratings import Level

from .ledger.checkpoints import STATES, Checkpoint, taken
from .ledger.store import Store

log = logging.getLogger(__name__)

SUFFIX = ".checkpoint"
_TITLE = "好差评账本检查点 hall-rating checkpoint"
_VERSION = 1
_SIGNATURE = b"signature: "
_FILE_MAX = 8 * 1024 * 1024  # ten years of daily checkpoints in one file are 3 MB
_DAY_MS = 86_400_000
_LOOK_S = 20.0  # so soon after midnight, or after what hindered it is out of the way, there is a checkpoint


class BadCheckpoint(Exception):
    """This is no checkpoint that can be checked; the text says what was expected and what to do."""


class Forged(Exception):
    """The text is not what was signed."""


class BadKey(Exception):
    """This file is no key that can be used; the text says why and what to do."""


# ---- the text


def text(checkpoint: Checkpoint, key: str) -> bytes:
    """The bytes that are signed, by the key of this name."""
    levels = " ".join(f"{level.value}={count}" for level, count in zip(Level, checkpoint.levels, strict=True))
    states = " ".join(f"{state}={count}" for state, count in zip(STATES, checkpoint.states, strict=True))
    lines = (
        f"{_TITLE} {_VERSION}",
        f"账本 ledger: {checkpoint.ledger}",
        f"段 stretch: {checkpoint.stretch}",
        f"链首 head: {checkpoint.head}",
        f"时间 at: {readable(checkpoint.at_ms)}",
        f"毫秒 at_ms: {checkpoint.at_ms}",
        f"存档 epochs: {checkpoint.epochs}",
        f"记录 records: {checkpoint.records}",
        f"缺口 gaps: {checkpoint.gaps}",
        f"按键 presses: {checkpoint.presses}",
        f"评价 ratings: {checkpoint.ratings}",
        f"满意度 levels: {levels}",
        f"去向 states: {states}",
        f"公钥 key: {key}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


_NUMBER = r"(0|[1-9][0-9]{0,18})"
_TEXT = re.compile(
    rf"{_TITLE} {_VERSION}\n账本 ledger: ([0-9a-f]{{32}})\n段 stretch: {_NUMBER}\n链首 head: ([0-9a-f]{{64}})\n"
    rf"时间 at: ([0-9TZ:.-]+)\n毫秒 at_ms: {_NUMBER}\n存档 epochs: {_NUMBER}\n记录 records: {_NUMBER}\n"
    rf"缺口 gaps: {_NUMBER}\n按键 presses: {_NUMBER}\n评价 ratings: {_NUMBER}\n"
    rf"满意度 levels: {' '.join(f'{level.value}={_NUMBER}' for level in Level)}\n"
    rf"去向 states: {' '.join(f'{state}={_NUMBER}' for state in STATES)}\n公钥 key: ([0-9a-f]{{64}})\n",
    re.ASCII,
)


def _untext(signed: bytes) -> tuple[Checkpoint, str]:
    """The checkpoint of these bytes and the name of its key; BadCheckpoint if they are none."""
    try:
        said = signed.decode()
    except UnicodeDecodeError:
        raise BadCheckpoint("不是 UTF-8 文本 / is no UTF-8 text") from None
    title, _, version = said.partition("\n")[0].rpartition(" ")
    if title != _TITLE:
        raise BadCheckpoint(f"第一行应为 / the first line must be {_TITLE!r} {_VERSION}")
    if version != str(_VERSION):
        raise BadCheckpoint(
            f"格式版本 {version[:20]!r} 由更新的程序写成, 请用该程序核对"
            " / this format version is of a newer program, check it with that"
        )
    found = _TEXT.fullmatch(said)
    if found is None:
        raise BadCheckpoint(
            "缺行、多行或值不对, 请取原件 / a line is missing, too much or wrong; get the original file"
        )
    ledger, stretch, head, _at, *rest, key = found.groups()
    at_ms, epochs, records, gaps, presses, ratings, *counts = map(int, rest)
    levels, states = tuple(counts[: len(Level)]), tuple(counts[len(Level) :])
    checkpoint = Checkpoint(ledger, int(stretch), head, at_ms, epochs, records, gaps, presses, ratings, levels, states)
    try:
        same = text(checkpoint, key) == signed
    except (ValueError, OverflowError):
        same = False  # a time that no calendar has
    if not same:
        raise BadCheckpoint("时间与毫秒不一致 / the time and its milliseconds differ")
    return checkpoint, key


def readable(at_ms: int) -> str:
    """`2026-11-24T00:00:03.217Z`."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


# ---- the keys


class Signer:
    """A private key."""

    def __init__(self, key: Ed25519PrivateKey):
        self._key = key
        self.public = key.public_key()
        self.name = key_name(self.public)

    def signed(self, checkpoint: Checkpoint) -> bytes:
        """The checkpoint as text, with its signature in the last line."""
        body = text(checkpoint, self.name)
        return body + _SIGNATURE + base64.b64encode(self._key.sign(body)) + b"\n"


def key_name(public: Ed25519PublicKey) -> str:
    """SHA-256 of the public key in DER, in hex."""
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def public_pem(public: Ed25519PublicKey) -> str:
    """The public key as `openssl` reads it."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def new_key(file: Path) -> Signer:
    """A new key in this file, for its owner alone, and its public part in `<file>.pub`; OSError, FileExistsError if
    either is there already: a key that has signed is never overwritten."""
    key = Ed25519PrivateKey.generate()
    signer = Signer(key)
    public_file = file.with_name(f"{file.name}.pub")
    if public_file.exists():
        raise FileExistsError(17, "已存在 / is there already", str(public_file))
    _written_once(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _written_once(public_file, public_pem(signer.public).encode(), 0o644)
    return signer


def _written_once(file: Path, content: bytes, mode: int) -> None:
    # The mode from the first moment on: a key that was readable for an instant is no secret.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_key(file: Path) -> Signer:
    """The private key in this file; BadKey says what is wrong with it."""
    try:
        raw = _key_bytes(file)
    except BadKey as error:
        raise BadKey(
            f"{error}; 请恢复, 或另做 / restore it, or make one with collector checkpoint --new-key"
        ) from error
    try:
        key = load_pem_private_key(raw, None)
    except TypeError:
        raise BadKey(
            f"{file}: 有口令保护, 程序无法自行使用 / is protected by a password and cannot be used unattended;"
            " 请用 / use collector checkpoint --new-key"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(
            f"{file}: 不是 PEM 私钥 / is no private key in PEM; 请用 / make one with collector checkpoint --new-key"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(
            f"{file}: 不是 Ed25519 私钥 / is no Ed25519 key; 请用 / make one with collector checkpoint --new-key"
        )
    return Signer(key)


def read_public(file: Path) -> Ed25519PublicKey:
    """The public key in this file; BadKey says what is wrong with it."""
    raw = _key_bytes(file)
    if b"PRIVATE KEY" in raw:
        raise BadKey(
            f"{file}: 这是私钥, 不得外传; 请用其 .pub 文件 / this is the private key, which stays where it is;"
            " give the file that ends in .pub"
        )
    try:
        key = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(
            f"{file}: 不是 PEM 公钥 / is no public key in PEM; 应为 collector checkpoint --show-key 的输出"
            " / expected what that command prints"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"{file}: 不是 Ed25519 公钥 / is no Ed25519 public key")
    return key


def _key_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(64 * 1024)
    except OSError as error:
        raise BadKey(f"{file}: 读不了 / cannot be read: {error.strerror}") from error


def readable_by_others(file: Path) -> bool:
    """Whether somebody else on this machine may read it; always no where files have no such modes."""
    return os.name == "posix" and bool(file.stat().st_mode & 0o077)


# ---- checkpoints in files


def write(folder: Path, name: str, signed: bytes) -> Path:
    """Put it into the folder, on disk when this returns, all of it or nothing; FileExistsError if the name is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}{SUFFIX}"
    if file.exists():
        raise FileExistsError(17, "已存在 / is there already", str(file))
    draft = folder / f".{name}.{os.getpid()}.{threading.get_ident()}.new"
    try:
        with draft.open("wb") as stream:
            stream.write(signed)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file


def read(raw: bytes, public: Ed25519PublicKey) -> list[Checkpoint]:
    """The checkpoints in these bytes, one or several behind one another.

    BadCheckpoint if they are none or are signed by another key, Forged if one is not what was signed.
    """
    if len(raw) > _FILE_MAX:
        raise BadCheckpoint(f"太长 / too long: {len(raw)} > {_FILE_MAX} 字节 bytes")
    if not raw.strip():
        raise BadCheckpoint("文件是空的 / the file is empty")
    if raw.startswith(b"\xef\xbb\xbf") or b"\r" in raw:
        raise BadCheckpoint(
            "换行或开头被某个编辑器改过, 请取原件"
            " / line ends or the beginning were changed by an editor; get the original file"
        )
    checkpoints = []
    rest = raw
    while rest:
        body, mark, rest = rest.partition(b"\n" + _SIGNATURE)
        if not mark:
            raise BadCheckpoint("没有签名行, 或文件不完整 / no line of a signature, or the file is cut short")
        signature, end, rest = rest.partition(b"\n")
        if not end:
            raise BadCheckpoint("文件不完整 / the file is cut short")
        checkpoints.append(_checked(body + b"\n", signature, public))
    return checkpoints


def _checked(body: bytes, encoded: bytes, public: Ed25519PublicKey) -> Checkpoint:
    checkpoint, key = _untext(body)
    if key != key_name(public):
        raise BadCheckpoint(
            f"由另一把钥匙签名 / signed by another key: {key};"
            f" 给出的公钥是 / the public key given is {key_name(public)}"
        )
    try:
        signature = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadCheckpoint("签名不是 base64 / the signature is no base64") from None
    try:
        public.verify(signature, body)
    except InvalidSignature:
        raise Forged(
            f"{readable(checkpoint.at_ms)}: 签名不符, 检查点被改过 / the signature is wrong, the checkpoint was changed"
        ) from None
    return checkpoint


# ---- every day


class Daily:
    """Writes a checkpoint every day (UTC) as long as the collector runs. Whatever hinders it is said, and hinders no
    rating."""

    def __init__(self, store: Store, key_file: Path, folder: Path, now_ms: Callable[[], int]):
        self._store = store
        self._key_file = key_file
        self._folder = folder
        self._now_ms = now_ms
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"at_ms": None, "stretch": None, "trouble": ""}

    def state(self) -> dict[str, Any]:
        """`at_ms` and `stretch` of the last one of this run, and `trouble` in words as long as there is some."""
        with self._lock:
            return dict(self._state)

    def stop(self) -> None:
        """Let `work` end."""
        self._stop.set()

    def work(self) -> None:
        """Until it is told to stop."""
        while not self._stop.is_set():
            self.look()
            self._stop.wait(_LOOK_S)

    def look(self) -> None:
        """Write today's checkpoint if there is none."""
        now_ms = self._now_ms()
        name = f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y-%m-%d}"
        todays = self._folder / f"{name}{SUFFIX}"
        try:
            if not todays.exists():
                checkpoint = taken(self._store, now_ms)
                write(self._folder, name, read_key(self._key_file).signed(checkpoint))
                log.info("检查点 / checkpoint: %s, 第 %s 段 / stretch", todays, checkpoint.stretch)
                self._note(at_ms=now_ms, stretch=checkpoint.stretch)
            self._note(trouble="")
        except OSError as error:
            if isinstance(error, FileExistsError) and todays.is_file():
                return  # another collector of the same ledger was faster
            self._trouble(
                f"{error.filename or self._folder}: 写不了检查点 / no checkpoint can be written: {error.strerror}"
            )
        except BadKey as error:
            self._trouble(str(error))
        except sqlite3.Error as error:
            self._trouble(f"账本读不了 / the ledger cannot be read: {error}")

    def _note(self, **said: Any) -> None:
        with self._lock:
            self._state |= said

    def _trouble(self, words: str) -> None:
        if words != self.state()["trouble"]:
            log.error("没有写成今天的检查点, 将继续尝试 / no checkpoint today, will try again: %s", words)
        self._note(trouble=words)
