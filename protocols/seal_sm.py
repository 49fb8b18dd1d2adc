"""The same as `seal`, by the national ciphers, for halls that must: SM2 hides a fresh SM4 key, SM4-GCM the text.

Sources: GM/T 0003.4 (SM2), GM/T 0002 (SM4), GB/T 17964 (GCM).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM

from . import sm2
from .cases import KEY_ID
from .seal import CannotOpen

SM = 2
PREFIX = "sm2:"
_HIDDEN_KEY = 65 + 32 + 16  # an SM4 key, hidden: C1, C3, C2
_TAG = 16
_ONCE = bytes(12)  # the key is used once, so its nonce need not differ


@dataclass(frozen=True)
class SmPublicKey:
    """What a window PC has: it seals with it."""

    key: sm2.PublicKey

    @classmethod
    def from_text(cls, text: str) -> SmPublicKey:
        """`sm2:` and 130 hex digits; BadSettings for anything else."""
        return cls(sm2.PublicKey.from_hex(text.strip().removeprefix(PREFIX)))

    def __str__(self) -> str:
        return f"{PREFIX}04{self.key.x:064x}{self.key.y:064x}"

    @property
    def key_id(self) -> str:
        return hashlib.sha256(f"{self.key.x:064x}{self.key.y:064x}".encode()).digest()[:KEY_ID].hex()

    def seal(self, text: bytes, about: bytes) -> bytes:
        """As `cases.Sealer` says."""
        key = secrets.token_bytes(16)
        encryptor = Cipher(SM4(key), GCM(_ONCE)).encryptor()
        encryptor.authenticate_additional_data(about)
        hidden = encryptor.update(text) + encryptor.finalize()
        hidden_key = sm2.encrypt(key, self.key).c1c3c2()
        return bytes([SM]) + bytes.fromhex(self.key_id) + hidden_key + hidden + encryptor.tag


@dataclass(frozen=True)
class SmPrivateKey:
    """What the collector has, and nobody else."""

    key: sm2.PrivateKey = field(repr=False)

    @classmethod
    def new(cls) -> SmPrivateKey:
        """A fresh one."""
        return cls(sm2.PrivateKey.new())

    @classmethod
    def from_text(cls, text: str) -> SmPrivateKey:
        """`sm2:` and 64 hex digits; BadSettings for anything else. What it is, is never said."""
        return cls(sm2.PrivateKey.from_hex(text.strip().removeprefix(PREFIX)))

    def text(self) -> str:
        """For the key's own file, and for nothing else."""
        return f"{PREFIX}{self.key.number:064x}"

    @property
    def raw(self) -> bytes:
        return self.key.number.to_bytes(32)

    @property
    def public(self) -> SmPublicKey:
        return SmPublicKey(self.key.public)

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """As `seal.PrivateKey` says."""
        hidden_key = sealed[1 + KEY_ID :][:_HIDDEN_KEY]
        hidden, tag = sealed[1 + KEY_ID + _HIDDEN_KEY : -_TAG], sealed[-_TAG:]
        if sealed[:1] != bytes([SM]) or len(sealed) < 1 + KEY_ID + _HIDDEN_KEY + _TAG:
            raise CannotOpen("不是密封的信息 / nothing that was sealed")
        if sealed[1 : 1 + KEY_ID].hex() != self.key_id:
            raise CannotOpen(f"为另一把密钥密封 / sealed for another key: {sealed[1 : 1 + KEY_ID].hex()}")
        try:
            key = sm2.decrypt(hidden_key.hex(), self.key)
            decryptor = Cipher(SM4(key), GCM(_ONCE, tag)).decryptor()
            decryptor.authenticate_additional_data(about)
            return decryptor.update(hidden) + decryptor.finalize()
        except (InvalidTag, ValueError) as error:  # altered, about another case, or a point that is none
            raise CannotOpen("打不开: 已改动, 或属于另一办件 / altered, or about another case") from error
