"""What docs/api.md says of the two doors is so."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import msgspec

from collector.config import ClientSettings
from collector.ledger import file as ledger_file
from collector.reconcile import reconcile
from collector.reconcile.balance import balance
from collector.web.channels import RatingGiven
from edge_agent.door import NOT_YET, STOPPING, Ask, Pressed
from edge_agent.outbox import file as outbox_file
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.ratings import Case
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import Ledger, directory_of, window

API = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
KEY = "0432C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7"  # the curve's own base point
KEY += "BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"


def example(door: str) -> dict[str, object]:
    """The body of the curl call to this door."""
    (body,) = re.findall(rf"curl -s http://127.0.0.1:{door} [^{{]*-d '(\{{.*?\}})'", API, flags=re.DOTALL)
    return json.loads(body)


def named(section: str) -> set[str]:
    """Field names in the first column of the section's tables."""
    text = API.split(section, 1)[1].split("\n### ", 1)[0]
    return {
        name for row in re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }


def test_the_example_invitation_is_one():
    """It decodes as the door decodes it, and every field is in the table."""
    asked = msgspec.convert(example("8610/v1/invitations"), Ask)

    assert "1" == asked.window
    assert {field.name for field in msgspec.structs.fields(Ask)} <= named("### `POST /v1/invitations`")


def test_the_example_press_is_one():
    """It decodes as the door decodes it, every field is in the table, and its window is the example screen's."""
    pressed = msgspec.convert(example("8610/v1/windows/6/presses"), Pressed)
    screen = (Path(__file__).parent.parent / "deploy" / "agent.toml").read_text(encoding="utf-8")

    assert f'# id = "6"\n# device = "{pressed.device}"\n# profile = "screen"' in screen
    assert {field.name for field in msgspec.structs.fields(Pressed)} == named("### `POST /v1/windows/<window>/presses`")


def test_the_example_rating_of_another_channel_is_one():
    """It decodes as the address decodes it, every field is in the table, and its settings can be used."""
    given = msgspec.convert(example("8620/api/v1/ratings"), RatingGiven)
    section = API.split("### `POST /api/v1/ratings`", 1)[1]
    settings = tomllib.loads(re.findall(r"```toml\n(.*?)```", section, flags=re.DOTALL)[0])
    (client,) = msgspec.convert(settings["web"]["clients"], list[ClientSettings])

    assert given.channel in client.channels
    assert {field.name for field in msgspec.structs.fields(RatingGiven)} <= named("### `POST /api/v1/ratings`")


def test_every_code_is_listed_and_both_doors_have_the_same():
    """A program is written against them. Red if one is renamed."""
    codes = {NOT_YET, STOPPING, outbox_file.FULL, outbox_file.READ_ONLY}

    assert codes == set(re.findall(r"^\| 50\d \| `(\w+)` \|", API, flags=re.MULTILINE))
    assert {ledger_file.FULL, ledger_file.READ_ONLY} < codes


def test_a_page_is_told_which_clock_to_use():
    """A wall clock that is set between press and sending would move the press to another citizen."""
    section = API.split("### `POST /v1/windows/<window>/presses`", 1)[1].split("\n## ", 1)[0]

    assert "performance.now()" in section
    assert "never with the wall clock" in section
    assert "Date.now" not in section


def test_what_a_window_says_of_its_device_is_described():
    """The names in the table of addresses are those of the answer."""
    assert [] == [
        name
        for name in ("profile", "evidence", "evidence_words", "not_taken", "unconfirmed", "undatable", "words")
        if f"`{name}`" not in API
    ]


def test_every_field_of_the_reconciliation_is_described(tmp_path):
    """Of the answer, of a line and of an agent; and no field in its table that is not there."""
    ledger = Ledger(tmp_path / "ledger.db", directory_of(window()))
    ledger.rate(1)
    directory, days = ledger.directory, ledger.overview.days
    found = reconcile(ledger.overview, directory) | balance(days, directory, NOW_MS)
    ledger.store.close()
    section = API.split("### `GET /api/v1/reconcile`", 1)[1]
    described = set(re.findall(r"`(\w+)`", section))

    assert set(found) == named("### `GET /api/v1/reconcile`")
    assert [] == [name for each in (found["days"][0], found["agents"][0], found["all"]) for name in {*each} - described]
    assert [] == [name for name in found["days"][0]["differences"] if name not in described]


def test_the_example_case_lacks_nothing():
    """Dialect A can send it as it stands; red if a field becomes required and the example does not get it."""
    case = msgspec.convert(example("8620/api/v1/cases"), Case)
    settings = TxnBodySettings(
        case_url="https://p/c",
        offline_rating_url="https://p/r",
        app_mark="a",
        app_word="b",
        public_key=KEY,
        data_source="1",
    )

    assert () == TxnBody(settings).case_lacks(case)


def test_every_field_of_a_case_is_described():
    """And none that does not exist."""
    fields = {field.name for field in dataclasses.fields(Case)}

    assert fields == named("### `POST /api/v1/cases`")
