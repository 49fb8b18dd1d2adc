"""What a province of dialect A can be asked besides, by a person at a terminal; answered by the simulated province."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner

from collector.cli import main
from firmware_sim import sm2
from firmware_sim.province import txnbody as sim
from firmware_sim.province.door import serving
from firmware_sim.province.txnbody import Keys, province
from protocols.tags import TAGS
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import PERSON, case, window
from tests.collector.provinces import eventually, forwarding

PAIR, CLIENT = sm2.generate(), sm2.generate()
KEYS = Keys(PAIR.private_hex, PAIR.public_hex, "hall-1", "word", CLIENT.private_hex, CLIENT.public_hex)


@pytest.fixture
def there():
    with serving(province(KEYS)) as door:
        yield door


@pytest.fixture
def run(ledger, tmp_path, there):
    ledger.intake.take_cases([case("C1"), case("C2", applicant_name="别人", certificate_no="1")], NOW_MS)
    (tmp_path / "directory.toml").write_text(window(), "utf-8")
    (tmp_path / "collector.toml").write_text(
        f"""[broker]
host = "b"
password = "p"
[province]
dialect = "txnbody"
case_url = "{there.url}/hcp/case"
offline_rating_url = "{there.url}/hcp/offline-rating"
indicators_url = "{there.url}/hcp/indicators"
services_url = "{there.url}/hcp/services"
page_url = "{there.url}/hcp/page"
app_mark = "{KEYS.app_mark}"
app_word = "{KEYS.app_word}"
public_key = "{KEYS.public_hex}"
private_key = "{KEYS.client_private_hex}"
""",
        "utf-8",
    )

    def call(*words: str):
        return CliRunner().invoke(main, ["province", *words, "--config", str(tmp_path / "collector.toml")])

    return call


def test_other_tags_than_ours_are_named(run):
    """The simulated province has two of the list in force and one of the list before it."""
    done = run("tags")

    assert 1 == done.exit_code
    assert "- 511 可以先受理后补材料" in done.output
    assert "501" not in done.output
    assert "2 / 40" in done.output


def test_the_same_tags_are_the_same(run, monkeypatch):
    ours = [
        {"starLevel": code[0], "normCode": code, "normName": tag.text, "usingStatus": True, "expandNorm": not tag.base}
        for code, tag in TAGS.items()
    ]
    monkeypatch.setattr(sim, "INDICATORS", ours)
    done = run("tags")

    assert (0, True) == (done.exit_code, "相同 / the same" in done.output)


def test_what_a_citizen_has_not_rated_is_told(run, ledger, there):
    """Hidden for us by the province, opened with our own key; another citizen's are not among them."""
    ledger.rate(1, with_case=False)
    with forwarding(ledger, there.url, app_word=KEYS.app_word, public_key=KEYS.public_hex):
        eventually(lambda: ledger.states() == {"C1": "accepted"})
    for number in ("C5", "C6"):
        there.province._cases[number, "1"] = {
            "projectNo": number,
            "serviceNumber": "1",
            "serviceName": "补正",
            "userName": PERSON["applicant_name"] if number == "C5" else "别人",
            "creditNum": PERSON["certificate_no"],
        }
    done = run("unrated", "C1")

    assert 0 == done.exit_code
    assert "C5 1 补正" in done.output and "C6" not in done.output and "C1" not in done.output
    assert not [value for value in PERSON.values() if value in done.output]


def test_the_provinces_own_page_opens_by_its_address(run):
    """Signed: the province lets it in. Nobody's name or number is in it, and a changed one is refused."""
    address = run("page", "C1", "--channel", "kiosk").output.strip()

    assert 200 == requests.get(address, timeout=5).status_code
    assert 403 == requests.get(address.replace("appId=hall-1", "appId=hall-2"), timeout=5).status_code
    assert not [value for value in PERSON.values() if value in address]
    assert "/hcp/page" == urlsplit(address).path


@pytest.mark.parametrize(
    ("words", "said"), [(("unrated", "C77"), "没有办件 C77/1"), (("page", "C77"), "没有办件 C77/1")]
)
def test_a_case_that_is_not_there_is_said(run, words, said):
    done = run(*words)

    assert (2, True) == (done.exit_code, said in done.output)


def test_a_province_that_is_not_there_is_said(run, there):
    there.province.go_away(10**15)
    done = run("tags")

    assert 2 == done.exit_code
    assert "HTTP 503" in done.output
