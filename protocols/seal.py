"""A citizen's details, readable by the collector's key only: whoever has them seals them, and cannot open them again.

X25519 with a fresh key for each text, HKDF-SHA256 and ChaCha20-Poly1305 (RFC 7748, 5869, 8439). Halls that must use the
national ciphers name an SM2 key instead, see `seal_sm`.

A sealed text: one byte that says how, four that say for which key, what the key's owner needs besides, and the hidden
text with its tag. What it is about is bound to it: it opens for that case and no other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .cases import KEY_ID
from .errors import BadSettings, ProtocolError

X25519 = 1
_PREFIX = "x25519:"
_PUBLIC = 32
_INFO = b"hall-rating details sealed 1"
_ONCE = bytes(12)  # the key is used once, so its nonce need not differ


class CannotOpen(ProtocolError):
    """Sealed for another key, about another case, or not whole. It says nothing of what is inside."""


@dataclass(frozen=True)
class PublicKey:
    """What a window PC has: it seals with it."""

    raw: bytes

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """`x25519:` and 32 bytes in base64; BadSettings for anything else."""
        return cls(_raw(text, "公钥 / public key"))

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.raw).digest()[:KEY_ID].hex()

    def seal(self, text: bytes, about: bytes) -> bytes:
        """As `cases.Sealer` says."""
        once = X25519PrivateKey.generate()
        theirs = once.public_key().public_bytes_raw()
        key = _key(once.exchange(X25519PublicKey.from_public_bytes(self.raw)), theirs, self.raw)
        hidden = ChaCha20Poly1305(key).encrypt(_ONCE, text, about)
        return bytes([X25519]) + bytes.fromhex(self.key_id) + theirs + hidden


@dataclass(frozen=True)
class PrivateKey:
    """What the collector has, and nobody else."""

    raw: bytes = field(repr=False)

    @classmethod
    def new(cls) -> PrivateKey:
        """A fresh one."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> PrivateKey:
        """As `text` gives it; BadSettings for anything else. What it is, is never said."""
        return cls(_raw(text, "私钥 / private key"))

    def text(self) -> str:
        """For the key's own file, and for nothing else."""
        return _PREFIX + base64.b64encode(self.raw).decode()

    @property
    def public(self) -> PublicKey:
        return PublicKey(X25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw())

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """The text; CannotOpen if it is not for us, not about this, or not whole."""
        theirs, hidden = sealed[1 + KEY_ID :][:_PUBLIC], sealed[1 + KEY_ID + _PUBLIC :]
        if sealed[:1] != bytes([X25519]) or len(theirs) != _PUBLIC:
            raise CannotOpen("不是密封的信息 / nothing that was sealed")
        if sealed[1 : 1 + KEY_ID].hex() != self.key_id:
            raise CannotOpen(f"为另一把密钥密封 / sealed for another key: {sealed[1 : 1 + KEY_ID].hex()}")
        try:
            shared = X25519PrivateKey.from_private_bytes(self.raw).exchange(X25519PublicKey.from_public_bytes(theirs))
            return ChaCha20Poly1305(_key(shared, theirs, self.public.raw)).decrypt(_ONCE, hidden, about)
        except (InvalidTag, ValueError) as error:  # altered, about another case, or a point that is none
            raise CannotOpen("打不开: 已改动, 或属于另一办件 / altered, or about another case") from error


def _key(shared: bytes, once: bytes, theirs: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=once + theirs, info=_INFO).derive(shared)


def _raw(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _PUBLIC or not text.strip().startswith(_PREFIX):
        raise BadSettings([f"{what}: 应为 x25519: 加 44 个字符 / expected x25519: and 44 characters"])
    return raw
