"""What we hide with SM2 is opened by somebody else's program, and by nobody else."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import sm2
from protocols.errors import BadSettings, ProtocolError

# The worked example on the recommended curve: GM/T 0003.5, the same as GB/T 32918.5 appendix A.
EXAMPLE_KEY = (
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
EXAMPLE_SECRET = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
EXAMPLE_C1 = (
    "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
)
EXAMPLE_C2 = "21886CA989CA9C7D58087307CA93092D651EFA"
EXAMPLE_C3 = "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"


def test_the_standards_own_example_comes_out_bit_for_bit():
    """GM/T 0003.5, "encryption standard". Turns red if x2 and y2 change places, or the counter starts at 0."""
    ciphertext = sm2.encrypt(b"encryption standard", sm2.PublicKey.from_hex(EXAMPLE_KEY), secret=EXAMPLE_SECRET)

    assert EXAMPLE_C1 + EXAMPLE_C3 + EXAMPLE_C2 == ciphertext.c1c3c2().hex().upper()
    assert EXAMPLE_C1 + EXAMPLE_C2 + EXAMPLE_C3 == ciphertext.c1c2c3().hex().upper()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plaintext=st.binary(min_size=1, max_size=1000))
def test_openssl_opens_what_we_hid(province_key, plaintext):
    """Any bytes, through our own ASN.1. Turns red if C3 is taken of the parts in another order."""
    key = sm2.PublicKey.from_hex(province_key.public_hex)

    assert plaintext == province_key.open_der(sm2.encrypt(plaintext, key).der())


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 127, 128, 255, 256, 257, 1000, 5000])
def test_every_length_survives(province_key, length):
    """Around the edges of a mask block and of a DER length. Turns red if the mask is one block short."""
    plaintext = bytes(range(1, 251)) * 20
    ciphertext = sm2.encrypt(plaintext[:length], sm2.PublicKey.from_hex(province_key.public_hex))

    assert plaintext[:length] == province_key.open_der(ciphertext.der())


@pytest.mark.parametrize("order", ["C1C3C2", "C1C2C3"])
def test_both_orders_are_what_they_are_called(province_key, order):
    """Taken apart by the test and opened by openssl. Turns red if the two methods change places."""
    ciphertext = sm2.encrypt("非常满意".encode(), sm2.PublicKey.from_hex(province_key.public_hex))
    raw = ciphertext.c1c3c2() if order == "C1C3C2" else ciphertext.c1c2c3()

    assert "非常满意" == province_key.open(raw, order).decode()


def test_the_standards_own_example_has_the_known_asn1():
    """Byte by byte, because openssl also opens wrong ASN.1 and other peers do not.

    Turns red if a first bit of 1 is not kept from being a minus sign."""
    ciphertext = sm2.encrypt(b"encryption standard", sm2.PublicKey.from_hex(EXAMPLE_KEY), secret=EXAMPLE_SECRET)
    x, y = EXAMPLE_C1[2:66], EXAMPLE_C1[66:]

    assert f"307C0220{x}022100{y}0420{EXAMPLE_C3}0413{EXAMPLE_C2}" == ciphertext.der().hex().upper()


def test_short_coordinates_keep_their_zeros_raw_and_lose_them_in_asn1(province_key):
    """32 bytes in the raw form; the shortest integer in ASN.1, with 00 before a first bit of 1.

    Turns red if the coordinates are written without padding, and if the zeros stay in the integer."""
    key = sm2.PublicKey.from_hex(province_key.public_hex)
    hidden = (sm2.encrypt(b"x", key, secret=secret) for secret in usable_secrets(key))
    ciphertext = next(one for one in hidden if len(one.c1) != 65 or (one.c1[1] == 0 and 0 < one.c1[2] < 0x80))
    der = ciphertext.der()

    assert 65 == len(ciphertext.c1)
    assert bytes([0x02, 0x1F]) + ciphertext.c1[2:33] == der[2:35]
    assert b"x" == province_key.open_der(der)


def test_the_same_text_is_never_hidden_the_same_way_twice():
    """A secret of its own for every text. Turns red if the secret is a constant."""
    key = sm2.PublicKey.from_hex(EXAMPLE_KEY)

    assert 20 == len({sm2.encrypt(b"non-repeating", key).c1 for _ in range(20)})


def test_an_all_zero_mask_is_not_used():
    """One byte in 256 would go out in the open. Turns red if the mask is not looked at."""
    key = sm2.PublicKey.from_hex(EXAMPLE_KEY)

    with pytest.raises(ValueError, match="open"):
        sm2.encrypt(b"x", key, secret=secret_with_a_zero_mask(key))


def test_an_all_zero_mask_is_drawn_again(monkeypatch):
    """The next secret is taken instead. Turns red if the first one is returned or raised."""
    key = sm2.PublicKey.from_hex(EXAMPLE_KEY)
    zero, good = secret_with_a_zero_mask(key), next(usable_secrets(key))
    drawn = iter([zero - 1, good - 1])
    monkeypatch.setattr(sm2.secrets, "randbelow", lambda _: next(drawn))

    assert sm2.encrypt(b"x", key, secret=good) == sm2.encrypt(b"x", key)


@pytest.mark.parametrize("wrong", [0, -1, 2**256])
def test_a_secret_out_of_range_is_refused(wrong):
    """Nothing is hidden with it."""
    with pytest.raises(ValueError, match="secret"):
        sm2.encrypt(b"x", sm2.PublicKey.from_hex(EXAMPLE_KEY), secret=wrong)


def test_an_empty_text_is_refused():
    """There is nothing to hide, and openssl would not open it."""
    with pytest.raises(ValueError, match="empty"):
        sm2.encrypt(b"", sm2.PublicKey.from_hex(EXAMPLE_KEY))


@pytest.mark.parametrize("text", [EXAMPLE_KEY, EXAMPLE_KEY[2:], EXAMPLE_KEY.lower(), f"  {EXAMPLE_KEY}\n"])
def test_a_key_is_read_in_every_form_that_provinces_use(text):
    """With and without the leading 04, in either case, with the line end of a copied file."""
    key = sm2.PublicKey.from_hex(text)

    assert EXAMPLE_KEY[2:66] == f"{key.x:064X}"
    assert EXAMPLE_KEY[66:] == f"{key.y:064X}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "130"),
        ("04", "130"),
        (EXAMPLE_KEY[:-1], "129"),
        ("03" + EXAMPLE_KEY[2:], "04"),
        (EXAMPLE_KEY[2:-1] + "G", "128"),
        ("+" + EXAMPLE_KEY[3:], "128"),  # int() would take the sign
        (EXAMPLE_KEY[:-1] + "4", "曲线"),  # one digit copied wrong
        ("00" * 64, "曲线"),
        ("FF" * 64, "曲线"),
    ],
)
def test_a_key_that_is_none_says_what_was_expected(text, says):
    """At start, in words for the person who pasted it. Turns red if the curve equation is not checked."""
    with pytest.raises(BadSettings, match=says) as caught:
        sm2.PublicKey.from_hex(text)

    assert isinstance(caught.value, ProtocolError)


def test_a_coordinate_has_one_spelling_only():
    """x and x + p are the same point, and a province would take only one of them.

    Turns red if coordinates beyond the field are let through."""
    p, x = sm2._P, 0
    while pow(x**3 + sm2._A * x + sm2._B, (p - 1) // 2, p) != 1:  # until x has a y
        x += 1
    y = pow(x**3 + sm2._A * x + sm2._B, (p + 1) // 4, p)

    assert sm2.PublicKey(x, y) == sm2.PublicKey.from_hex(f"{x:064x}{y:064x}")
    with pytest.raises(BadSettings, match="曲线"):
        sm2.PublicKey.from_hex(f"{x + p:064x}{y:064x}")


def test_a_python_without_sm3_says_so(monkeypatch):
    """When the key is read, not at the first rating. Turns red if from_hex does not look."""

    def new(name: str, content: bytes = b""):
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(sm2.hashlib, "new", new)
    with pytest.raises(BadSettings, match="SM3"):
        sm2.PublicKey.from_hex(EXAMPLE_KEY)


def test_only_the_owner_opens_it(province_key):
    """openssl refuses a ciphertext made for another key: C3 does not fit."""
    hidden = sm2.encrypt(b"for somebody else", sm2.PublicKey.from_hex(EXAMPLE_KEY))

    with pytest.raises(subprocess.CalledProcessError):
        province_key.open_der(hidden.der())


def usable_secrets(key):
    """Small secrets whose mask for the one byte "x" is not zero."""
    for secret in range(1, 100_000):
        try:
            sm2.encrypt(b"x", key, secret=secret)
        except ValueError:
            continue
        yield secret


def secret_with_a_zero_mask(key):
    """Found by its mark: C2 would be the plaintext. One in 256 is one."""
    for secret in range(1, 10_000):
        try:
            sm2.encrypt(b"x", key, secret=secret)
        except ValueError:
            return secret
    raise AssertionError("no secret among 10000 has a zero mask: the mask is not looked at")


def test_a_key_that_is_used_again_and_again_hides_the_same_way():
    """The quick way of a product gives the very point that the library gives. Red if a digit is left out."""
    key = sm2.PrivateKey.new()
    for _ in range(sm2._WORTH + 5):
        hidden = sm2.encrypt(b"text", key.public)
        assert b"text" == sm2.decrypt(hidden.c1c3c2().hex(), key)
    powers = sm2._powers.get((key.public.x, key.public.y)) or sm2._powers[sm2._GX, sm2._GY]
    base = powers[0][1]
    for secret in (1, 2, 1023, 1024, 1025, 2**255 + 1, sm2._N - 1, sm2._N // 3):
        expected = base * secret
        found = sm2._times(base.x, base.y, secret)
        assert (expected.x, expected.y) == (found.x, found.y)
