"""The province's side of SM2: key pairs, and opening what a client has encrypted, by OpenSSL 3 and nothing of ours.

What travels is the hex text that Hutool's `encryptBcd` makes: upper case, C1 || C3 || C2, where C1 is the point
`04 || x || y`, C3 the 32-byte SM3 digest and C2 the masked text (GB/T 32918.4). OpenSSL speaks the DER form of
the same three parts (GB/T 35276).
"""

import ctypes
import ctypes.util
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

_LIBRARIES = (  # by name, first found wins; the unversioned macOS name comes last because Apple's own aborts
    "libcrypto.so.3",
    "libcrypto-3-x64.dll",
    "libcrypto-3.dll",
    "/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib",
    "libcrypto.3.dylib",
    "libcrypto.dylib",
)
_CURVE_ORDER = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123  # n of sm2p256v1
_POINT = 65  # bytes of 04 || x || y
_DIGEST = 32  # bytes of SM3
_KEYPAIR = 0x87  # EVP_PKEY_KEYPAIR: parameters, public and private part
_PUBLIC = 0x86  # EVP_PKEY_PUBLIC_KEY: parameters and public part
_UNSIGNED, _UTF8, _OCTETS = 2, 4, 5  # OSSL_PARAM data types


@dataclass(frozen=True)
class KeyPair:
    """An SM2 key: 64 hex digits for the province, 130 (starting with 04) for its clients."""

    private_hex: str
    public_hex: str


def generate() -> KeyPair:
    """Make a new key pair."""
    lib = _libcrypto()
    with _new_context(lib) as context:
        key = ctypes.c_void_p()
        _must(lib, "keygen_init", lib.EVP_PKEY_keygen_init(context))
        _must(lib, "generate", lib.EVP_PKEY_generate(context, ctypes.byref(key)))
    try:
        return KeyPair(_private_of(lib, key), _public_of(lib, key))
    finally:
        lib.EVP_PKEY_free(key)


def check(pair: KeyPair) -> None:
    """Make sure that the two halves belong together, or raise ValueError."""
    lib = _libcrypto()
    public = _bytes_of(pair.public_hex, "public key")
    if len(public) != _POINT or public[0] != 4:
        raise ValueError("public key: 130 hex digits starting with 04 expected")
    with _key(lib, pair.private_hex, public) as key, _context_of(lib, key) as context:
        _must(lib, "the key's halves do not belong together", lib.EVP_PKEY_pairwise_check(context))


def decrypt(text: str, private_hex: str, order: str = "C1C3C2") -> bytes:
    """Open one ciphertext in upper-case hex; ValueError says what was wrong with it or with the key."""
    if not re.fullmatch(r"(?:[0-9A-F]{2})+", text):
        raise ValueError("ciphertext: upper-case hex in pairs expected")
    sealed = _der_of(bytes.fromhex(text), order)
    lib = _libcrypto()
    with _key(lib, private_hex) as key, _context_of(lib, key) as context:
        _must(lib, "decrypt_init", lib.EVP_PKEY_decrypt_init(context))
        opened = ctypes.create_string_buffer(len(sealed))  # the text is always shorter than its ciphertext
        size = ctypes.c_size_t(len(opened))
        _must(
            lib,
            "ciphertext does not open with this key",
            lib.EVP_PKEY_decrypt(context, opened, ctypes.byref(size), sealed, len(sealed)),
        )
        return opened.raw[: size.value]


def encrypt(text: bytes, public_hex: str, order: str = "C1C3C2") -> str:
    """Hide a text for the owner of this key, in upper-case hex; ValueError for a key that is none."""
    lib = _libcrypto()
    public = _bytes_of(public_hex, "public key")
    with _key(lib, "", public) as key, _context_of(lib, key) as context:
        _must(lib, "encrypt_init", lib.EVP_PKEY_encrypt_init(context))
        size = ctypes.c_size_t()
        _must(lib, "encrypt", lib.EVP_PKEY_encrypt(context, None, ctypes.byref(size), text, len(text)))
        sealed = ctypes.create_string_buffer(size.value)
        _must(lib, "encrypt", lib.EVP_PKEY_encrypt(context, sealed, ctypes.byref(size), text, len(text)))
    x, y, digest, masked = _der_parts(sealed.raw[: size.value])
    point = b"\x04" + x.lstrip(b"\0").rjust(32, b"\0") + y.lstrip(b"\0").rjust(32, b"\0")
    return (point + (digest + masked if order == "C1C3C2" else masked + digest)).hex().upper()


def _der_parts(sealed: bytes) -> list[bytes]:
    """What stands in the SEQUENCE."""
    body, _ = _der_value(sealed, 0)
    parts, at = [], 0
    while at < len(body):
        part, at = _der_value(body, at)
        parts.append(part)
    return parts


def _der_value(der: bytes, at: int) -> tuple[bytes, int]:
    size, at = der[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(der[at : at + count]), at + count
    return der[at : at + size], at + size


def _der_of(sealed: bytes, order: str) -> bytes:
    """SEQUENCE { x INTEGER, y INTEGER, C3 OCTET STRING, C2 OCTET STRING }, as OpenSSL wants it."""
    if len(sealed) <= _POINT + _DIGEST:
        raise ValueError(f"ciphertext: {len(sealed)} bytes are too few for C1, C3 and any text")
    if sealed[0] != 4:
        raise ValueError(f"ciphertext: C1 starts with {sealed[0]:02X}, not with 04")
    x, y, rest = sealed[1:33], sealed[33:_POINT], sealed[_POINT:]
    match order:
        case "C1C3C2":
            digest, masked = rest[:_DIGEST], rest[_DIGEST:]
        case "C1C2C3":
            digest, masked = rest[-_DIGEST:], rest[:-_DIGEST]
        case _:
            raise ValueError(f"order {order}: C1C3C2 or C1C2C3 expected")
    return _der(0x30, _der_integer(x) + _der_integer(y) + _der(0x04, digest) + _der(0x04, masked))


def _der_integer(big_endian: bytes) -> bytes:
    stripped = big_endian.lstrip(b"\0") or b"\0"
    # DER integers are signed: a leading 1 bit would make a coordinate negative.
    return _der(0x02, b"\0" + stripped if stripped[0] & 0x80 else stripped)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _bytes_of(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{what}: not hex") from None


# --- libcrypto -----------------------------------------------------------------------------------------------


class _Param(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = [
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    ]


@functools.cache
def _libcrypto() -> ctypes.CDLL:
    """OpenSSL's own library, with the signatures of what is called here; OSError when there is none."""
    for name in (*_LIBRARIES, ctypes.util.find_library("crypto")):
        try:
            lib = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if lib is not None and hasattr(lib, "EVP_PKEY_fromdata"):  # which came with version 3
            return _declare(lib)
    raise OSError("找不到 OpenSSL 3 的 libcrypto / no libcrypto of OpenSSL 3 was found")


def _declare(lib: ctypes.CDLL) -> ctypes.CDLL:
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "EVP_PKEY_CTX_new_from_name": (pointer, [pointer, text, text]),
        "EVP_PKEY_CTX_new_from_pkey": (pointer, [pointer, pointer, text]),
        "EVP_PKEY_CTX_free": (None, [pointer]),
        "EVP_PKEY_free": (None, [pointer]),
        "EVP_PKEY_keygen_init": (number, [pointer]),
        "EVP_PKEY_generate": (number, [pointer, pointer]),
        "EVP_PKEY_fromdata_init": (number, [pointer]),
        "EVP_PKEY_fromdata": (number, [pointer, pointer, number, pointer]),
        "EVP_PKEY_pairwise_check": (number, [pointer]),
        "EVP_PKEY_decrypt_init": (number, [pointer]),
        "EVP_PKEY_decrypt": (number, [pointer, pointer, pointer, text, size]),
        "EVP_PKEY_encrypt_init": (number, [pointer]),
        "EVP_PKEY_encrypt": (number, [pointer, pointer, pointer, text, size]),
        "EVP_PKEY_get_bn_param": (number, [pointer, text, pointer]),
        "EVP_PKEY_get_octet_string_param": (number, [pointer, text, pointer, size, pointer]),
        "BN_bn2binpad": (number, [pointer, pointer, number]),
        "BN_clear_free": (None, [pointer]),
        "ERR_get_error": (ctypes.c_ulong, []),
        "ERR_clear_error": (None, []),
        "ERR_error_string_n": (None, [ctypes.c_ulong, pointer, size]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _must(lib: ctypes.CDLL, what: str, outcome: int | None) -> None:
    """Go on if OpenSSL said yes; else a ValueError with its own first reason, and its error list emptied."""
    if outcome is not None and outcome > 0:
        return
    reason = ctypes.create_string_buffer(256)
    lib.ERR_error_string_n(lib.ERR_get_error(), reason, len(reason))
    lib.ERR_clear_error()
    raise ValueError(f"{what} ({reason.value.decode(errors='replace')})")


@contextmanager
def _freed(handle: int | None, free: Callable[[int | None], None]) -> Iterator[int]:
    if not handle:
        raise MemoryError("OpenSSL gave no handle")
    try:
        yield handle
    finally:
        free(handle)


def _new_context(lib: ctypes.CDLL) -> AbstractContextManager[int]:
    return _freed(lib.EVP_PKEY_CTX_new_from_name(None, b"SM2", None), lib.EVP_PKEY_CTX_free)


def _context_of(lib: ctypes.CDLL, key: int) -> AbstractContextManager[int]:
    return _freed(lib.EVP_PKEY_CTX_new_from_pkey(None, key, None), lib.EVP_PKEY_CTX_free)


@contextmanager
def _key(lib: ctypes.CDLL, private_hex: str, public: bytes = b"") -> Iterator[int]:
    """The key as OpenSSL holds it, for as long as the block lasts."""
    parts = [(b"group", _UTF8, b"SM2")]
    if private_hex or not public:
        private = _bytes_of(private_hex, "private key")
        if len(private) != 32 or not 0 < int.from_bytes(private, "big") < _CURVE_ORDER - 1:
            raise ValueError("private key: 64 hex digits of a number between 1 and n-2 expected")
        parts.append((b"priv", _UNSIGNED, _native(private)))
    if public:
        parts.append((b"pub", _OCTETS, public))
    # The buffers have to outlive the call, and OSSL_PARAM only points at them.
    held = [ctypes.create_string_buffer(value, len(value)) for _, _, value in parts]
    params = (_Param * (len(parts) + 1))(
        *(
            _Param(name, kind, ctypes.addressof(buffer), len(buffer), 0)
            for (name, kind, _), buffer in zip(parts, held, strict=True)
        )
    )
    key = ctypes.c_void_p()
    with _new_context(lib) as context:
        _must(lib, "fromdata_init", lib.EVP_PKEY_fromdata_init(context))
        kind = _PUBLIC if public and not private_hex else _KEYPAIR
        made = lib.EVP_PKEY_fromdata(context, ctypes.byref(key), kind, ctypes.byref(params))
        _must(lib, "OpenSSL does not take this key", made)
    with _freed(key.value, lib.EVP_PKEY_free) as handle:
        yield handle


def _native(big_endian: bytes) -> bytes:
    """OSSL_PARAM integers lie in memory the way this machine's do."""
    return big_endian[::-1] if sys.byteorder == "little" else big_endian


def _private_of(lib: ctypes.CDLL, key: ctypes.c_void_p) -> str:
    number = ctypes.c_void_p()
    _must(lib, "no private part", lib.EVP_PKEY_get_bn_param(key, b"priv", ctypes.byref(number)))
    try:
        private = ctypes.create_string_buffer(32)
        lib.BN_bn2binpad(number, private, len(private))
        return private.raw.hex().upper()
    finally:
        lib.BN_clear_free(number)


def _public_of(lib: ctypes.CDLL, key: ctypes.c_void_p) -> str:
    point, size = ctypes.create_string_buffer(_POINT), ctypes.c_size_t()
    _must(
        lib,
        "no public part",
        lib.EVP_PKEY_get_octet_string_param(key, b"pub", point, len(point), ctypes.byref(size)),
    )
    return point.raw[: size.value].hex().upper()
