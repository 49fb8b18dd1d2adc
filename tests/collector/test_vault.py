"""Citizens' details at rest: hidden, shown to who has the key, masked for a person, deleted when nobody needs them."""

from __future__ import annotations

import base64
import os
import stat

import msgspec
import pytest
from click.testing import CliRunner

from collector import vault as vaults
from collector.cli import main
from collector.ledger import audit
from collector.ledger.details import Details, Keep, hides
from collector.ledger.rows import case_sum
from collector.vault import Locked, Vault, mask, masked, without_person
from protocols.errors import BadSettings
from protocols.ratings import Accepted
from protocols.seal import CannotOpen, PrivateKey
from protocols.seal_sm import SmPrivateKey
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import PERSON, VAULT, case, window

DAY_MS = 86_400_000
KINDS = pytest.mark.parametrize("kind", [PrivateKey, SmPrivateKey], ids=["x25519", "sm2"])


@KINDS
def test_details_are_hidden_and_shown_again(kind):
    vault = Vault([kind.new()])
    body = vault.hide(case())

    assert case() == vault.show("C1", 1, body)
    for value in PERSON.values():
        assert value.encode() not in body + base64.b64decode(body)
    assert body != vault.hide(case()), "the same details twice look different"


@KINDS
def test_they_belong_to_their_case_and_to_nobody_elses(kind):
    """Red if a row can be copied over another one."""
    vault = Vault([kind.new()])
    body = vault.hide(case())

    for case_no, number in (("C2", 1), ("C1", 2)):
        with pytest.raises(CannotOpen):
            vault.show(case_no, number, body)


@KINDS
def test_an_older_key_shows_what_it_hid(kind):
    """A new key goes on top of the file; without the old one its details are locked, and it is named."""
    old, new = kind.new(), PrivateKey.new()
    body = Vault([old]).hide(case())

    assert case() == Vault([new, old]).show("C1", 1, body)
    with pytest.raises(Locked, match=old.key_id):
        Vault([new]).show("C1", 1, body)


@pytest.mark.parametrize("body", [b"", b"!", b"AAAA", base64.b64encode(b"x" * 10)])
def test_what_was_not_hidden_is_not_shown(body):
    with pytest.raises((CannotOpen, Locked)):
        VAULT.show("C1", 1, body)


def test_an_altered_byte_is_noticed():
    raw = bytearray(base64.b64decode(VAULT.hide(case())))
    raw[40] ^= 1

    with pytest.raises(CannotOpen):
        VAULT.show("C1", 1, base64.b64encode(raw))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("张", "张"),
        ("张建国", "张**"),
        ("13912345678", "139****5678"),
        ("370102199003071234", "370102********1234"),
        ("E12345678", "E12**5678"),
        ("某某有限责任公司分公司", "某***"),
    ],
)
def test_a_person_sees_enough_to_compare_and_too_little_to_copy(value, shown):
    assert shown == mask(value)


def test_nobody_is_left_in_a_masked_case():
    """Red if a field that says who somebody is gets a new name."""
    for changed in (masked(case()), without_person(case())):
        assert not [value for value in PERSON.values() if value in str(changed)]
    assert ("身份证换领", "370102") == (without_person(case()).item_name, without_person(case()).area_code)


# ---- the key's file


def test_a_new_key_is_for_its_owner_only_and_never_replaced(tmp_path):
    made = vaults.new_key(tmp_path / "details.key")

    assert 0o600 == stat.S_IMODE((tmp_path / "details.key").stat().st_mode)
    assert made.public == vaults.read_keys(tmp_path / "details.key", {}).public
    with pytest.raises(FileExistsError):
        vaults.new_key(tmp_path / "details.key")


def test_keys_come_from_the_environment_first(tmp_path):
    first, second = PrivateKey.new(), PrivateKey.new()
    (tmp_path / "k").write_text(f"# the old one\n{second.text()}\n")
    read = vaults.read_keys(tmp_path / "k", {vaults.ENVIRONMENT: first.text()})

    assert str(first.public) == read.public
    assert case() == read.show("C1", 1, Vault([second]).hide(case()))
    assert vaults.read_keys(tmp_path / "none", {}) is None


def test_what_is_no_key_is_named_and_not_shown(tmp_path):
    (tmp_path / "k").write_text(f"\n{PrivateKey.new().text()[:-4]}\n")
    with pytest.raises(BadSettings) as wrong:
        vaults.read_keys(tmp_path / "k", {})

    assert "k: 第 2 行 line 2" in str(wrong.value)
    assert (tmp_path / "k").read_text().strip()[8:] not in str(wrong.value)


def test_check_looks_at_the_key(tmp_path):
    """One that others can read, or that is none, is named with its cure; one that is not there yet is told of."""
    (tmp_path / "collector.toml").write_text('[broker]\nhost = "b"\npassword = "p"\n', "utf-8")
    (tmp_path / "directory.toml").write_text(window(), "utf-8")

    def check() -> tuple[int, str]:
        done = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "collector.toml")])
        return done.exit_code, done.output

    code, said = check()
    assert (0, True) == (code, "首次启动时生成" in said)
    vaults.new_key(tmp_path / "details.key")
    assert 0 == check()[0]
    (tmp_path / "details.key").chmod(0o644)
    assert (2, True) == (check()[0], "chmod 600" in check()[1])
    (tmp_path / "details.key").write_text("x25519:AAAA")
    assert "第 1 行 line 1" in check()[1]


def test_a_cut_leaves_a_whole_key_or_none(tmp_path):
    """Half a file, or an empty one, is replaced. Red if it is written in its place."""
    (tmp_path / "details.key").touch()
    (tmp_path / "details.key.new").write_text("x255")
    vaults.new_key(tmp_path / "details.key")

    assert vaults.read_keys(tmp_path / "details.key", {}) is not None
    assert ["details.key"] == [each.name for each in tmp_path.iterdir()]


# ---- in the ledger


def bytes_of(ledger) -> bytes:
    return b"".join(each.read_bytes() for each in ledger.path.parent.glob("ledger.db*"))


def test_no_byte_of_the_ledgers_files_says_who_somebody_is(ledger):
    """The log included. Red if details are kept as they came."""
    ledger.rate(1, 2)

    assert not [value for value in PERSON.values() if value.encode() in bytes_of(ledger)]
    assert hides(ledger.path)


def test_the_same_details_again_are_no_change(ledger):
    """Though they are hidden anew each time."""
    assert [1, 0, 1] == [ledger.intake.take_cases([each], NOW_MS) for each in (case(), case(), case(mobile="1"))]


def test_what_an_older_program_left_in_clear_is_hidden(ledger):
    """In steps, while the collector works; the ratings go on."""
    ledger.rate(1)
    body = msgspec.json.encode(case("C1"))
    with ledger.store.writing() as db:
        db.execute("UPDATE service_case SET body = ?, sum = ?", (body, case_sum("C1", 1, body, NOW_MS)))
    assert case("C1") == ledger.delivery.next(NOW_MS, ()).case
    details = Details(ledger.store, VAULT, Keep(30, 90))

    assert [1, 0] == [details.hide(), details.hide()]
    assert case("C1") == ledger.delivery.next(NOW_MS, ()).case
    assert b"{" != ledger.store.row("SELECT substr(body, 1, 1) FROM service_case")[0]


def settle(ledger, now_ms: int) -> None:
    due = ledger.delivery.next(now_ms, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", now_ms), Accepted(), now_ms)


def test_details_go_when_the_rule_says_so_and_the_evidence_stays(ledger):
    """30 days after the province has the rating, 90 after they came where nobody rated; one that waits keeps them."""
    ledger.rate(1, 2)
    ledger.intake.take_cases([case("C9")], NOW_MS)
    settle(ledger, NOW_MS)
    details = Details(ledger.store, VAULT, Keep(30, 90))
    assert 0 == details.forget(NOW_MS + 29 * DAY_MS)
    assert 1 == details.forget(NOW_MS + 31 * DAY_MS)
    assert 0 == details.forget(NOW_MS + 89 * DAY_MS)
    assert 1 == details.forget(NOW_MS + 91 * DAY_MS)

    rows = ledger.store.rows("SELECT case_no, service_number, body FROM service_case ORDER BY case_no")
    assert ["", PERSON["mobile"], ""] == [VAULT.show(*row).mobile for row in rows]
    assert "身份证换领" == VAULT.show(*rows[0]).item_name
    assert [] == audit.verify(ledger.path).findings


def test_details_of_a_parked_rating_stay_however_long(ledger):
    """A person still has to mend it."""
    ledger.rate(1)
    ledger.delivery.park(ledger.delivery.next(NOW_MS, ()), "refused", "不行", NOW_MS)

    assert 0 == Details(ledger.store, VAULT, Keep(1, 1)).forget(NOW_MS + 1000 * DAY_MS)


def test_a_rating_whose_key_is_missing_is_parked_and_named(ledger, opened):
    """And goes on when its details come again, or the key."""
    ledger.rate(1)
    ledger.delivery._vault = Vault([PrivateKey.new()])

    assert ledger.delivery.next(NOW_MS, ()) is None
    assert {"C1": "parked locked"} == ledger.states()
    assert VAULT._current.key_id in ledger.store.row("SELECT words FROM rating")["words"]
    ledger.intake.take_cases([case("C1", clerk_name="x")], NOW_MS)
    assert {"C1": "due"} == ledger.states()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_folder_is_on_disk_too(tmp_path, monkeypatch):
    """A power cut must not leave a ledger that hides things, and no key. Red without the folder's own fsync."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(os.fstat(number).st_mode), real(number)))
    vaults.new_key(tmp_path / "details.key")

    assert [False, True] == [stat.S_ISDIR(mode) for mode in synced]
