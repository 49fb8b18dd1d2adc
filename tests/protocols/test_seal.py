"""Sealed details: for one key, about one case, whole or not at all; and nothing of them is ever said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import seal, seal_sm
from protocols.cases import about_case, sealed_for
from protocols.errors import BadSettings
from protocols.seal import CannotOpen

KINDS = pytest.mark.parametrize("kind", [seal.PrivateKey, seal_sm.SmPrivateKey], ids=["x25519", "sm2"])
TEXT = '{"applicant_name":"欧阳测试甲"}'.encode()
ABOUT = about_case("BJ1", 1)
KEY = seal.PrivateKey.new()


@KINDS
def test_what_is_sealed_opens_with_its_key(kind):
    key = kind.new()
    public = type(key.public).from_text(str(key.public))
    sealed = public.seal(TEXT, ABOUT)

    assert TEXT == kind.from_text(key.text()).open(sealed, ABOUT)
    assert key.key_id == public.key_id == sealed_for(sealed)
    assert "欧阳".encode() not in sealed
    assert sealed != public.seal(TEXT, ABOUT), "the same text twice looks different"


@KINDS
def test_another_key_does_not_open_it(kind):
    sealed = kind.new().public.seal(TEXT, ABOUT)

    with pytest.raises(CannotOpen, match="another key"):
        kind.new().open(sealed, ABOUT)


@KINDS
@pytest.mark.parametrize("about", [about_case("BJ1", 2), about_case("BJ2", 1), b""])
def test_it_opens_for_its_own_case_only(kind, about):
    """Red if somebody's details can be put beside another one's rating."""
    key = kind.new()

    with pytest.raises(CannotOpen):
        key.open(key.public.seal(TEXT, ABOUT), about)


@KINDS
def test_a_single_bit_is_noticed_wherever_it_stands(kind):
    key = kind.new()
    sealed = key.public.seal(b"x" * 20, ABOUT)
    for at in range(0, len(sealed), 1 if kind is seal.PrivateKey else 7):
        with pytest.raises(CannotOpen):
            key.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], ABOUT)


@given(st.binary(max_size=200))
def test_any_bytes_are_opened_or_refused(noise):
    with pytest.raises(CannotOpen):
        KEY.open(noise, ABOUT)


@pytest.mark.parametrize("text", ["", "x25519:", "x25519:AAAA", "rsa:" + "A" * 44, "x25519:" + "?" * 44, "A" * 44])
def test_what_is_no_key_is_said_so_and_not_shown(text):
    for kind in (seal.PublicKey, seal.PrivateKey):
        with pytest.raises(BadSettings) as wrong:
            kind.from_text(text)
        assert not text[7:] or text[7:] not in str(wrong.value)


def test_a_private_key_is_never_shown_by_accident():
    key, sm = seal.PrivateKey.new(), seal_sm.SmPrivateKey.new()

    assert key.text()[7:20] not in f"{key!r} {key.public!r}"
    assert sm.text()[4:20] not in f"{sm!r} {sm.public!r}"
