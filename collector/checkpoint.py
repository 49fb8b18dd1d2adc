"""Signed checkpoints as text that a person can read and `openssl` can check. The only user of cryptography here.

Signed are all bytes of the text before the line of the signature, as they stand: ledger/checkpoint_text.py says which.
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

from protocols import chain

from .ledger.checkpoint_text import BadCheckpoint, readable, text, untext
from .ledger.checkpoints import NO_HASH, Checkpoint, End, taken
from .ledger.store import Store
from .people import people_of
from .people.log import begun_anew, end

log = logging.getLogger(__name__)

SUFFIX = ".checkpoint"
_SIGNATURE = b"signature: "
_FILE_MAX = 8 * 1024 * 1024  # ten years of daily checkpoints in one file are 3 MB
_DAY_MS = 86_400_000
_LOOK_S = 20.0  # so soon after midnight, or after what hindered it is out of the way, there is a checkpoint


class Forged(Exception):
    """The text is not what was signed."""


class BadKey(Exception):
    """This file is no key that can be used; the text says why and what to do."""


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
    checkpoint, key = untext(body)
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


def log_end(ledger: Path) -> End:
    """Where the audit log beside this ledger ends. DatabaseError if it cannot be read, or nobody wrote that end."""
    found = log_at(ledger, None) or End(0, chain.PEOPLE.hex())
    if not found.head:
        raise sqlite3.DatabaseError(f"{people_of(ledger).name}: {NO_HASH}")
    return found


def log_at(ledger: Path, line: int | None) -> End | None:
    """Where it was at this line, or is now; None if there is none, or it does not go so far."""
    found = end(people_of(ledger), line)
    return None if found is None else End(*found)


def log_before(ledger: Path, said: End) -> str | None:
    """None if a file that was set aside for the one beside this ledger, and lies beside it too, has this end; else what
    is to be said of such a file, nothing where none was set aside."""
    path, words, seen = people_of(ledger), "", set[str]()
    while (found := _set_aside_for(path)) and found[0] not in seen:
        name, at_ms = found
        seen.add(name)
        path = path.with_name(name)
        try:
            held = end(path, said.number)
        except sqlite3.DatabaseError:
            why = "那里读不了", "cannot be read there"
        else:
            if held is not None and End(*held) == said:
                return None
            why = "没有此文件", "there is no such file"
            if path.exists():
                why = "那里没有当时的末行", "it lacks the line of then"
        when = readable(at_ms)
        words = (
            f"; 此文件自称 {when} 因损坏而重建, 以前的日志在 {name}, 请放在旁边再核对: {why[0]}"
            f" / this file says that it was begun anew on {when}, the one before being damaged; the earlier log is in"
            f" {name}, put it beside and check again: {why[1]}"
        )
    return words


def _set_aside_for(path: Path) -> tuple[str, int] | None:
    try:
        found = begun_anew(path)
    except sqlite3.DatabaseError:
        return None
    # Only a name that the program itself gives: a line of a log must not lead to any other file.
    return found if found and re.fullmatch(r"people\.db\.damaged-[0-9]{1,20}", found[0]) else None


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
                checkpoint = taken(self._store, log_end(self._store.path), now_ms)
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
            self._trouble(f"账本或人员文件读不了 / the ledger, or the people's file, cannot be read: {error}")

    def _note(self, **said: Any) -> None:
        with self._lock:
            self._state |= said

    def _trouble(self, words: str) -> None:
        if words != self.state()["trouble"]:
            log.error("没有写成今天的检查点, 将继续尝试 / no checkpoint today, will try again: %s", words)
        self._note(trouble=words)
