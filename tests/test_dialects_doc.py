"""What docs/dialects.md says of joining a province is so, and what travels to an exchange platform is as described."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from collector import config, provinces
from collector.reconcile.words import REASONS
from protocols.dialects.codes import ProvinceWays
from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.ratings import Case, ParkReason
from tests.protocols.test_jsonrest import RATED

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "dialects.md").read_text(encoding="utf-8")
API = (DOCS / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
PROVINCES = [block for block in BLOCKS if block.startswith("[province]")]
EXCHANGE = json.loads((DOCS / "openapi" / "exchange.json").read_text(encoding="utf-8"))
SCHEMAS = EXCHANGE["components"]["schemas"]


@pytest.mark.parametrize("block", PROVINCES, ids=["txnbody", "linewell", "flat", "json"])
def test_each_example_can_be_used(tmp_path, block):
    """As it stands there. Red if a setting is renamed, or one becomes required."""
    (tmp_path / "app.word").write_text("w", "utf-8")
    (tmp_path / "collector.toml").write_text(f'[broker]\nhost = "b"\npassword = "p"\n{block}', "utf-8")
    read = config.load(tmp_path / "collector.toml")

    assert provinces.dialect(read.province, tmp_path).tables_version


def test_the_other_blocks_can_be_used_too(tmp_path):
    (tmp_path / "items.toml").write_text(next(block for block in BLOCKS if block.startswith("[items]")), "utf-8")
    details = next(block for block in BLOCKS if block.startswith("[details]"))
    (tmp_path / "app.word").write_text("w", "utf-8")
    text = f'[broker]\nhost = "b"\npassword = "p"\n{PROVINCES[2]}items_file = "items.toml"\n{details}'
    (tmp_path / "collector.toml").write_text(text, "utf-8")
    read = config.load(tmp_path / "collector.toml")

    assert config.DetailsSettings() == read.details
    assert provinces.dialect(read.province, tmp_path)


def test_every_setting_is_described():
    """Those of one dialect under its heading, those of all in the table; red if a new one is not told of."""
    common = {*ProvinceWays.__struct_fields__, "timeout_s", "workers", "calls_per_s", "items_file"} - {"items"}
    missing = [name for name in common if not re.search(rf"\b{name}\b", TEXT)]
    for kind in get_args(provinces.ProvinceSettings):
        missing += [
            name
            for name in kind.__struct_fields__
            if name not in common
            and not re.search(rf"\b{name}(_file)?\b", TEXT)
            and name not in ("items", "operation", "upper_sign", "app_id_header", "app_secret_header")
            and name != "sends_handle_code"
        ]

    assert [] == missing


def test_every_reason_has_a_name_and_a_cure_and_is_listed():
    """For whoever sits at the desk, and for programs."""
    reasons = set(get_args(ParkReason)) - {"damaged", "case_damaged"}

    assert [] == [reason for reason in reasons if reason not in REASONS]
    assert [] == [reason for reason in get_args(ParkReason) if f"`{reason}`" not in API]


def fits(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """What of this value is not as the schema says; as much of JSON Schema as that file uses."""
    if "$ref" in schema:
        return fits(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], where)
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool):
        return [f"{where}: {schema['type']}"]
    wrong = []
    if schema["type"] == "object":
        known = schema["properties"]
        wrong += [f"{where}.{name}: missing" for name in schema.get("required", ()) if name not in value]
        wrong += [f"{where}.{name}: unknown" for name in value if name not in known]
        wrong += [each for name in value if name in known for each in fits(value[name], known[name], f"{where}.{name}")]
    if schema["type"] == "array":
        wrong += [each for item in value for each in fits(item, schema["items"], f"{where}[]")]
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{where}: {value}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        wrong.append(f"{where}: {value}")
    return wrong


def test_what_travels_to_an_exchange_platform_is_as_described():
    """And every field of a case is in the description."""
    dialect = JsonRest(JsonRestSettings(ratings_url="https://x", api_token="t", data_source="165"))
    sent = json.loads(dialect.rating_request(RATED, 0).body)

    assert [] == fits(sent, SCHEMAS["Ratings"])
    assert {field.name for field in dataclasses.fields(Case)} | {"data_source"} == set(SCHEMAS["Case"]["properties"])
    assert "3.1.0" == EXCHANGE["openapi"]


def test_a_description_that_is_not_kept_is_noticed():
    """Or the test above would pass whatever happens."""
    assert [".ratings[].nick: unknown", ".ratings[].level: good"] == [
        each
        for each in fits({"ratings": [{"level": "good", "nick": "x"}]}, SCHEMAS["Ratings"])
        if "missing" not in each
    ]
