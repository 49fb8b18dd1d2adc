"""SM2 public-key encryption on the national curve: what only the province's private key can open.

Sources: GM/T 0003.4 (the algorithm), GM/T 0003.5 (the curve, and a worked example), GM/T 0009 (the ASN.1 form).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from fastecdsa.curve import Curve  # type: ignore[attr-defined]  # its stubs forget to say that it passes these on
from fastecdsa.point import Point  # type: ignore[attr-defined]

from protocols.errors import BadSettings

_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
_GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
_CURVE = Curve("sm2p256v1", _P, _A, _B, _N, _GX, _GY)
_G = Point(_GX, _GY, _CURVE)

_COORDINATE = 32  # bytes of one coordinate, and of one SM3 digest
_C1 = 1 + 2 * _COORDINATE
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True)
class PublicKey:
    """A point of the curve; there is none that is not on it."""

    x: int
    y: int

    def __post_init__(self) -> None:
        if not (0 <= self.x < _P and 0 <= self.y < _P and _on_curve(self.x, self.y)):
            raise BadSettings(
                [
                    "SM2 公钥不在 sm2p256v1 曲线上, 多半抄错了一位 / "
                    "SM2 public key is not a point of sm2p256v1: probably a digit was copied wrong"
                ]
            )

    @classmethod
    def from_hex(cls, text: str) -> PublicKey:
        """A key as provinces hand it out: 130 hex digits with the leading 04, or 128 without.

        Raises BadSettings for anything else, and where this machine cannot compute SM3.
        """
        _require_sm3()
        digits = text.strip()
        if len(digits) == 130 and digits.startswith("04"):
            digits = digits[2:]
        if len(digits) != 128 or not _HEX_DIGITS.issuperset(digits):
            raise BadSettings(
                [
                    f"SM2 公钥应为 130 位十六进制 (04 开头) 或 128 位 (不带 04), 现为 {len(text.strip())} 位 / "
                    "SM2 public key: expected 130 hex digits beginning with 04, or 128 without it, "
                    f"got {len(text.strip())} characters"
                ]
            )
        return cls(int(digits[:64], 16), int(digits[64:], 16))


@dataclass(frozen=True)
class Ciphertext:
    """The three parts of an SM2 ciphertext, and the orders in which peers want them."""

    c1: bytes
    """A point, 65 bytes: 04, x, y."""
    c2: bytes
    """The hidden text, as long as the plaintext."""
    c3: bytes
    """SM3 digest, 32 bytes."""

    def c1c3c2(self) -> bytes:
        """The order of GM/T 0003."""
        return self.c1 + self.c3 + self.c2

    def c1c2c3(self) -> bytes:
        """The order of before GM/T 0003, still asked for by some."""
        return self.c1 + self.c2 + self.c3

    def der(self) -> bytes:
        """GM/T 0009 ASN.1, as `openssl pkeyutl -decrypt` reads it."""
        x, y = self.c1[1 : 1 + _COORDINATE], self.c1[1 + _COORDINATE :]
        return _der(
            0x30, _der_integer(x) + _der_integer(y) + _der(_OCTET_STRING, self.c3) + _der(_OCTET_STRING, self.c2)
        )


def encrypt(plaintext: bytes, key: PublicKey, *, secret: int | None = None) -> Ciphertext:
    """Hide `plaintext` (at least one byte) from everyone but the owner of `key`.

    `secret` is for known answers only: used twice for real, it gives both texts away.
    Raises ValueError for an empty text, and for a secret that is out of range or unusable for this text.
    """
    if not plaintext:
        raise ValueError("SM2 cannot hide an empty text")
    if secret is not None:
        ciphertext = _encrypt_with(secret, plaintext, key)
        if ciphertext is None:
            raise ValueError("this secret would leave the text in the open")
        return ciphertext
    while True:
        ciphertext = _encrypt_with(1 + secrets.randbelow(_N - 1), plaintext, key)
        if ciphertext is not None:
            return ciphertext


def _encrypt_with(secret: int, plaintext: bytes, key: PublicKey) -> Ciphertext | None:
    """GM/T 0003.4, 6.1; None where the mask is all zero, which would send the text as it is."""
    if not 0 < secret < _N:
        raise ValueError("an SM2 secret lies between 1 and the order of the curve")
    c1 = _times(_GX, _GY, secret)
    shared = _times(key.x, key.y, secret)
    x2, y2 = _coordinate(shared.x), _coordinate(shared.y)
    mask = _mask(x2 + y2, len(plaintext))
    if not any(mask):
        return None
    return Ciphertext(
        c1=b"\x04" + _coordinate(c1.x) + _coordinate(c1.y),
        c2=_xor(plaintext, mask),
        c3=_sm3(x2 + plaintext + y2),
    )


@dataclass(frozen=True)
class PrivateKey:
    """What opens texts that were hidden for us."""

    number: int

    @classmethod
    def from_hex(cls, text: str) -> PrivateKey:
        """64 hex digits; BadSettings for anything else. What it is, is never said."""
        digits = text.strip()
        if len(digits) != 64 or not _HEX_DIGITS.issuperset(digits) or not 0 < int(digits, 16) < _N:
            raise BadSettings(["SM2 私钥应为 64 位十六进制 / SM2 private key: expected 64 hex digits"])
        return cls(int(digits, 16))

    @classmethod
    def new(cls) -> PrivateKey:
        """A fresh one."""
        return cls(1 + secrets.randbelow(_N - 2))

    @property
    def public(self) -> PublicKey:
        """What others hide texts for us with."""
        point = _G * self.number
        return PublicKey(point.x, point.y)

    def __repr__(self) -> str:
        return "PrivateKey(…)"


def decrypt(text: str, key: PrivateKey, order: Literal["C1C3C2", "C1C2C3"] = "C1C3C2") -> bytes:
    """What was hidden for the owner of `key`, from hex with or without the leading 04. ValueError for anything else."""
    raw = bytes.fromhex(text)
    raw = raw if raw[:1] == b"\x04" else b"\x04" + raw
    c1, rest = raw[1:_C1], raw[_C1:]
    c3, c2 = (rest[:32], rest[32:]) if order == "C1C3C2" else (rest[-32:], rest[:-32])
    x, y = int.from_bytes(c1[:_COORDINATE]), int.from_bytes(c1[_COORDINATE:])
    if not c2 or len(c1) != 2 * _COORDINATE or not (x < _P and y < _P and _on_curve(x, y)):
        raise ValueError("no SM2 ciphertext")
    shared = Point(x, y, _CURVE) * key.number
    x2, y2 = _coordinate(shared.x), _coordinate(shared.y)
    plaintext = _xor(c2, _mask(x2 + y2, len(c2)))
    if _sm3(x2 + plaintext + y2) != c3:
        raise ValueError("not hidden for this key")
    return plaintext


_STEP = 10  # bits: 25 additions for a product instead of 256 doublings and half as many additions
_STEPS = -(-256 // _STEP)


_USES_MAX = 1000
_WORTH = 20  # products: whoever hides this many texts for a key hides thousands
_KEYS_MAX = 4  # the curve's own point and a few provinces': 7 MB each
_uses: dict[tuple[int, int], int] = {}
_powers: dict[tuple[int, int], list[list[Point]]] = {}


def _times(x: int, y: int, secret: int) -> Point:
    """The product of a point and a number. Of a point that comes again and again it is the sum of what the number's
    digits stand for, which takes a quarter of the time."""
    powers = _powers.get((x, y))
    if powers is None:
        uses = _uses[x, y] = _uses.get((x, y), 0) + 1
        # Exactly at this number, so that one thread works them out while the others go on as before.
        if uses == _WORTH and len(_powers) < _KEYS_MAX:
            _powers[x, y] = _worked_out(Point(x, y, _CURVE))
        if len(_uses) > _USES_MAX:
            _uses.clear()
        return Point(x, y, _CURVE) * secret
    digits = ((row, secret >> (_STEP * place) & (1 << _STEP) - 1) for place, row in enumerate(powers))
    first, *rest = (row[digit] for row, digit in digits if digit)  # a secret is never 0
    return sum(rest, first)


def _worked_out(base: Point) -> list[list[Point]]:
    """For each digit of a number and each value of it: what it adds to the product."""
    found = []
    for _ in range(_STEPS):
        multiples = [base, base]  # the first is never asked for
        for _ in range(2, 1 << _STEP):
            multiples.append(multiples[-1] + base)
        found.append(multiples)
        base = multiples[-1] + base
    return found


def _mask(shared: bytes, length: int) -> bytes:
    """The key derivation function of GM/T 0003.4, 5.4.3: `length` bytes."""
    blocks = -(-length // _COORDINATE)
    return b"".join(_sm3(shared + n.to_bytes(4, "big")) for n in range(1, blocks + 1))[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    # As two large integers: one operation instead of one per byte.
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def _coordinate(value: int) -> bytes:
    return value.to_bytes(_COORDINATE, "big")


def _on_curve(x: int, y: int) -> bool:
    return (y * y - (x * x * x + _A * x + _B)) % _P == 0


def _sm3(content: bytes) -> bytes:
    return hashlib.new("sm3", content).digest()


def _require_sm3() -> None:
    """Found out when the settings are read, not at the first rating."""
    try:
        _sm3(b"")
    except ValueError:  # a Python whose OpenSSL was built without it, or which runs in FIPS mode
        raise BadSettings(
            [
                "本机 Python 的 OpenSSL 不带 SM3, 无法使用国密省平台 / "
                "the OpenSSL of this Python has no SM3, so a province that wants SM2 cannot be served from here"
            ]
        ) from None


# ---- ASN.1, as much of it as four fields need

_INTEGER, _OCTET_STRING = 0x02, 0x04


def _der_integer(magnitude: bytes) -> bytes:
    digits = magnitude.lstrip(b"\0") or b"\0"
    # A first bit of 1 would read as a minus sign.
    return _der(_INTEGER, b"\0" + digits if digits[0] & 0x80 else digits)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
