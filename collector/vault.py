"""Citizens' details as the ledger keeps them: hidden with a key that stands elsewhere; and the keys themselves.

The key file holds one private key a line, the one in use first, older ones below it for what was hidden with them. What
is at rest is hidden with a key made from it (HKDF; AES-256-GCM, or SM4-GCM where the key is an SM2 key), bound to its
case. Losing the file loses the details that no province has yet, and nothing else: the business system has them still.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols import seal, seal_sm
from protocols.bodies import BadBody
from protocols.cases import KEY_ID, about_case, checked, decode_case, encode_case, sealed_for
from protocols.errors import BadSettings
from protocols.ratings import Case
from protocols.seal import CannotOpen

ENVIRONMENT = "HALL_RATING_DETAILS_KEY"
"""Keys given by the environment come before those of the file."""
PERSONAL = (
    "applicant_name",
    "certificate_no",
    "mobile",
    "handler_name",
    "handler_certificate_no",
    "case_name",  # 关于某某申请…的业务
)
"""The fields of a case that say who somebody is."""

_AES, _SM4 = 0x11, 0x12
_NONCE, _TAG = 12, 16
_HEAD = 1 + KEY_ID
_INFO = b"hall-rating details at rest 1"
Private = seal.PrivateKey | seal_sm.SmPrivateKey


class Locked(Exception):
    """Details that were hidden with a key which is not here; it says which."""

    def __init__(self, key_id: str):
        super().__init__(f"缺少密钥 / key missing: {key_id}")
        self.key_id = key_id


class Vault:
    """Hides and shows details. The first of `keys` hides; each shows what was hidden with it."""

    def __init__(self, keys: Sequence[Private]):
        self._keys = {key.key_id: key for key in keys}
        self._at_rest = {key.key_id: _key_at_rest(key) for key in keys}
        self._current = keys[0]

    @property
    def public(self) -> str:
        """What window PCs seal with."""
        return str(self._current.public)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Which keys are here, the one in use first; everything that lacks a key calls it so."""
        return tuple(self._keys)

    def hide(self, case: Case) -> bytes:
        """All of a case, for the ledger."""
        return self.hide_text(encode_case(case), about_case(case.case_no, case.service_number))

    def hide_text(self, text: bytes, about: bytes) -> bytes:
        """Any text, for the ledger, bound to what it is about."""
        key_id, nonce = self._current.key_id, os.urandom(_NONCE)
        kind = _SM4 if isinstance(self._current, seal_sm.SmPrivateKey) else _AES
        hidden = _hidden(kind, self._at_rest[key_id], nonce, text, about)
        # As text: a column that a wrong bit makes one of text can still be read, and shown to be altered.
        return base64.b64encode(bytes([kind]) + bytes.fromhex(key_id) + nonce + hidden)

    def show(self, case_no: str, service_number: int, body: bytes) -> Case:
        """The case again. Locked if its key is not here; CannotOpen if it is not what was hidden for this case."""
        try:
            return decode_case(self.written(case_no, service_number, body))
        except BadBody as error:
            raise CannotOpen("办件信息打不开 / details cannot be opened") from error

    def written(self, case_no: str, service_number: int, body: bytes) -> bytes:
        """The same as it was written, JSON: whoever opens very many reads a field or two of each."""
        if body[:1] == b"{":
            return body  # of a ledger of before
        return self.show_text(body, about_case(case_no, service_number))

    def show_text(self, body: bytes, about: bytes) -> bytes:
        """What `hide_text` hid. Locked if its key is not here, CannotOpen if it was altered or is about another."""
        try:
            raw = base64.b64decode(body, validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) <= _HEAD + _NONCE:
            raise CannotOpen("没有办件信息 / no details")
        key_id = sealed_for(raw)
        if key_id not in self._at_rest:
            raise Locked(key_id)
        nonce, hidden = raw[_HEAD : _HEAD + _NONCE], raw[_HEAD + _NONCE :]
        try:
            return _shown(raw[0], self._at_rest[key_id], nonce, hidden, about)
        except (InvalidTag, ValueError) as error:
            raise CannotOpen("办件信息打不开 / details cannot be opened") from error

    def unseal(self, case_no: str, service_number: int, sealed: bytes) -> Case:
        """What a window PC sealed. Locked if it is for a key that is not here; CannotOpen if it is not the details of
        this case."""
        key = self._keys.get(sealed_for(sealed))
        if key is None:
            raise Locked(sealed_for(sealed))
        try:
            case = checked(decode_case(key.open(sealed, about_case(case_no, service_number))))
        except BadBody as error:
            raise CannotOpen(error.message) from error
        if (case.case_no, case.service_number) != (case_no, service_number):
            raise CannotOpen("属于另一办件 / about another case")
        return case


def without_person(case: Case) -> Case:
    """The same case, and nobody in it."""
    return replace(case, **_each(lambda _value: "", case))


def masked(case: Case) -> Case:
    """The same case, as a person who mends it may see it: enough to compare, too little to copy."""
    return replace(case, **_each(mask, case))


def _each(change: Callable[[str], str], case: Case) -> dict[str, Any]:
    return {name: change(getattr(case, name)) for name in PERSONAL}


def mask(value: str) -> str:
    """`张**`, `138****5678`, `370102********1234`; short ones leave their first character only."""
    if len(value) < 8:
        return value[:1] + "*" * (len(value) - 1) if value else ""
    ahead = 6 if len(value) >= 15 else 3
    return value[:ahead] + "*" * (len(value) - ahead - 4) + value[-4:] if value.isascii() else value[:1] + "***"


# ---- the keys


def new_key(file: Path, national: bool = False) -> Vault:
    """Make a key in this file, readable by its owner only; FileExistsError if something stands in it."""
    if file.exists() and file.stat().st_size:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    key: Private = seal_sm.SmPrivateKey.new() if national else seal.PrivateKey.new()
    # All of it or nothing: half a key, after a cut, would be none.
    draft = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as written:
        written.write(key.text() + "\n")
        written.flush()
        os.fsync(written.fileno())
    draft.replace(file)
    _sync_folder(file.parent)  # or a power cut may leave a ledger that hides things, and no key
    return Vault([key])


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows opens no folder, and keeps names by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_keys(file: Path, environment: Mapping[str, str]) -> Vault | None:
    """The keys of environment and file; None if there are none. BadSettings names what is no key, OSError a file that
    cannot be read."""
    given = environment.get(ENVIRONMENT, "")
    lines = given.replace(",", "\n").splitlines()
    where = [ENVIRONMENT] * len(lines)
    if file.exists():
        written = file.read_text(encoding="utf-8-sig").splitlines()
        lines += written
        where += [f"{file.name}: 第 {number} 行 line {number}" for number in range(1, len(written) + 1)]
    keys = [
        _private(line, place)
        for line, place in zip(lines, where, strict=True)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return Vault(keys) if keys else None


def _private(line: str, where: str) -> Private:
    try:
        if line.strip().startswith(seal_sm.PREFIX):
            return seal_sm.SmPrivateKey.from_text(line)
        return seal.PrivateKey.from_text(line)
    except BadSettings as error:
        raise BadSettings([f"{where}: {mistake}" for mistake in error.mistakes]) from error


# ---- at rest


def _key_at_rest(key: Private) -> bytes:
    size = 16 if isinstance(key, seal_sm.SmPrivateKey) else 32
    return HKDF(SHA256(), size, salt=None, info=_INFO).derive(key.raw)


def _hidden(kind: int, key: bytes, nonce: bytes, text: bytes, about: bytes) -> bytes:
    if kind == _AES:
        return AESGCM(key).encrypt(nonce, text, about)
    encryptor = Cipher(SM4(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(about)
    return encryptor.update(text) + encryptor.finalize() + encryptor.tag


def _shown(kind: int, key: bytes, nonce: bytes, hidden: bytes, about: bytes) -> bytes:
    if kind == _AES:
        return AESGCM(key).decrypt(nonce, hidden, about)
    decryptor = Cipher(SM4(key), GCM(nonce, hidden[-_TAG:])).decryptor()
    decryptor.authenticate_additional_data(about)
    return decryptor.update(hidden[:-_TAG]) + decryptor.finalize()
