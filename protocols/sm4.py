"""SM4 block by block (ECB), as provinces of dialect B want it. Source: GM/T 0002 (the cipher, and a worked example).

ECB shows which blocks are alike. It is what the province reads, and the connection around it has to be TLS.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB

BLOCK = 16


def encrypt_blocks(plaintext: bytes, key: bytes) -> bytes:
    """The same number of blocks, hidden one by one with a key of 16 bytes. ValueError for part of a block."""
    encryptor = Cipher(SM4(key), ECB()).encryptor()  # noqa: S305 - the province's choice
    return encryptor.update(plaintext) + encryptor.finalize()
