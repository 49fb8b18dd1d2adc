"""The province's SM2 opens what a third implementation, the openssl command, has sealed."""

import subprocess
from functools import lru_cache

import pytest

from firmware_sim import sm2

SPKI_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")  # ecPublicKey, sm2p256v1
KEY = sm2.generate()


def encrypt_with_openssl(text: str, public_hex: str, directory, order: str = "C1C3C2") -> str:
    """Seal a text as Hutool's encryptBcd would, by way of the openssl command line."""
    key_file = directory / f"{public_hex[:16]}.der"
    key_file.write_bytes(SPKI_HEAD + bytes.fromhex(public_hex))
    sealed = subprocess.run(
        ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", str(key_file)],
        input=text.encode(),
        capture_output=True,
        check=True,
    ).stdout
    x, y, digest, masked = der_parts(sealed)
    rest = digest + masked if order == "C1C3C2" else masked + digest
    return (b"\x04" + coordinate(x) + coordinate(y) + rest).hex().upper()


def der_parts(sealed: bytes) -> list[bytes]:
    body, _ = der_value(sealed, 0)
    parts, at = [], 0
    while at < len(body):
        part, at = der_value(body, at)
        parts.append(part)
    return parts


def der_value(der: bytes, at: int) -> tuple[bytes, int]:
    size, at = der[at + 1], at + 2
    if size & 0x80:
        width = size & 0x7F
        size, at = int.from_bytes(der[at : at + width], "big"), at + width
    return der[at : at + size], at + size


def coordinate(integer: bytes) -> bytes:
    return int.from_bytes(integer, "big").to_bytes(32, "big")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Seal a text for KEY, each text only once."""
    directory = tmp_path_factory.mktemp("keys")
    return lru_cache(lambda text, order="C1C3C2": encrypt_with_openssl(text, KEY.public_hex, directory, order))


@pytest.mark.parametrize("order", ["C1C3C2", "C1C2C3"])
@pytest.mark.parametrize("text", ["x", "评价", "办件" * 30, "非常满意" * 400], ids=["1", "6", "180", "4800 bytes"])
def test_what_openssl_seals_is_opened_in_either_order(sealed, text, order):
    """Texts on both sides of each DER length form come back whole."""
    opened = sm2.decrypt(sealed(text, order), KEY.private_hex, order)

    assert text == opened.decode()


def test_short_and_negative_looking_coordinates_survive(sealed):
    """A coordinate with leading zeros or a leading 1 bit is still a valid DER integer: 40 random points."""
    for number in range(40):
        assert f"{number}" == sm2.decrypt(sealed(f"{number}"), KEY.private_hex).decode()


def test_a_der_integer_has_no_needless_zero_and_never_looks_negative():
    """The two edges that random points meet only one time in 256 and one time in 2."""
    assert b"\x02\x01\x7f" == sm2._der_integer(b"\0\0\x7f")
    assert b"\x02\x02\0\x80" == sm2._der_integer(b"\0\x80")
    assert b"\x02\x01\0" == sm2._der_integer(b"\0\0")


def test_a_generated_key_has_the_agreed_shape_and_fits_itself():
    """64 digits, 130 digits starting with 04, another key each time."""
    pair = sm2.generate()

    assert (64, 130) == (len(pair.private_hex), len(pair.public_hex))
    assert pair.public_hex.startswith("04")
    assert pair != KEY
    sm2.check(pair)


def test_halves_of_two_keys_are_not_a_key():
    """A key file put together by hand is found out when it is read, not at the first rating."""
    with pytest.raises(ValueError, match="do not belong together"):
        sm2.check(sm2.KeyPair(KEY.private_hex, sm2.generate().public_hex))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: text.lower(), "upper-case hex"),
        (lambda text: text[:-1], "upper-case hex"),
        (lambda text: "", "upper-case hex"),
        (lambda text: text[:190], "too few"),
        (lambda text: "05" + text[2:], "not with 04"),
        (lambda text: text[2:], "not with 04|does not open"),  # one x in 256 starts with 04 itself
        (lambda text: text[:-2] + ("00" if text[-2:] != "00" else "01"), "does not open"),
        (lambda text: "04" + "11" * 64 + text[130:], "does not open"),
    ],
    ids=["lower case", "half a byte", "nothing", "cut", "no 04", "its 04 lost", "bit flipped", "no point of the curve"],
)
def test_a_spoilt_ciphertext_is_a_value_error_that_says_what_was_wrong(sealed, spoil, reason):
    """Nothing opens by half, and nothing but ValueError comes out."""
    with pytest.raises(ValueError, match=reason):
        sm2.decrypt(spoil(sealed("评价")), KEY.private_hex)


def test_the_wrong_order_does_not_open(sealed):
    """C1C2C3 read as C1C3C2 is refused, not turned into rubbish."""
    with pytest.raises(ValueError, match="does not open"):
        sm2.decrypt(sealed("评价" * 20, "C1C2C3"), KEY.private_hex, "C1C3C2")
    with pytest.raises(ValueError, match="C1C3C2 or C1C2C3"):
        sm2.decrypt(sealed("评价"), KEY.private_hex, "C3C2C1")


def test_another_key_does_not_open(sealed):
    """The digest C3 stands against the wrong private key."""
    with pytest.raises(ValueError, match="does not open"):
        sm2.decrypt(sealed("评价"), sm2.generate().private_hex)


@pytest.mark.parametrize("private", ["", "zz", "00" * 32, "FF" * 32, "11" * 31])
def test_a_private_key_that_is_none_is_named(sealed, private):
    """Not hex, nought, beyond the curve's order, too short."""
    with pytest.raises(ValueError, match="private key"):
        sm2.decrypt(sealed("评价"), private)


def test_a_public_key_that_is_none_is_named():
    """A key file whose public half lost its 04, as Hutool keeps it, says so."""
    with pytest.raises(ValueError, match="public key"):
        sm2.check(sm2.KeyPair(KEY.private_hex, KEY.public_hex[2:]))
