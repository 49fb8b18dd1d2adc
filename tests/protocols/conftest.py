"""The province's side of SM2, played by the openssl command line: a key and a reader that are not ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class ProvinceKey:
    """An SM2 key pair that openssl made and alone can use."""

    def __init__(self, path: Path):
        self._path = path
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", str(path))
        # The last 65 bytes of the public key's DER are the point: 04, x, y.
        self.public_hex = openssl("pkey", "-in", str(path), "-pubout", "-outform", "DER")[-65:].hex()

    def open_der(self, ciphertext: bytes) -> bytes:
        return openssl("pkeyutl", "-decrypt", "-inkey", str(self._path), given=ciphertext)

    def open(self, raw: bytes, order: str = "C1C3C2") -> bytes:
        """Opens the raw form, put into ASN.1 here and not by the code under test."""
        c1, rest = raw[:65], raw[65:]
        c3, c2 = (rest[:32], rest[32:]) if order == "C1C3C2" else (rest[-32:], rest[:-32])
        integers = b"".join(
            tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))
            for value in (int.from_bytes(c1[1:33], "big"), int.from_bytes(c1[33:], "big"))
        )
        return self.open_der(tlv(0x30, integers + tlv(0x04, c3) + tlv(0x04, c2)))


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big") if size > 255 else b"\x81" + bytes([size])
    return bytes([tag]) + head + content


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, timeout=20).stdout


@pytest.fixture(scope="session")
def province_key(tmp_path_factory: pytest.TempPathFactory) -> ProvinceKey:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command line")
    return ProvinceKey(tmp_path_factory.mktemp("province") / "key.pem")
