"""The profiles that come with the program: all load, none has a key map, their frames are those seen in the field."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from protocols import profiles
from protocols.profiles.events import Answered, NobodyPressed, Noise, Pressed
from protocols.profiles.saying import Values
from protocols.ratings import Level

ROOT = Path(__file__).parent.parent.parent.parent
FILES = ROOT / "protocols" / "profiles"
SCHEMA = ROOT / "docs" / "profile.schema.json"


def heard(name: str, text: str) -> list[Any]:
    reader = profiles.shipped(name).reader()
    return [each.event for each in reader.feed(bytes.fromhex(text), 0) + reader.quiet(1000)]


def answered(name: str, text: str) -> bytes:
    profile = profiles.shipped(name)
    reader = profile.reader()
    heard = reader.feed(bytes.fromhex(text), 0)
    return b"".join(profile.ack(each.event) if isinstance(each.event, Pressed) else each.answer for each in heard)


def test_every_file_is_listed_and_loads():
    """No more and no fewer than the list says."""

    assert sorted(profiles.SHIPPED) == sorted(file.stem for file in FILES.glob("*.toml") if file.stem != "presets")
    assert list(profiles.SHIPPED) == [profiles.shipped(name).id for name in profiles.SHIPPED]


@pytest.mark.parametrize("name", profiles.SHIPPED)
def test_none_has_a_key_map(name):
    """What a key means differs between two devices of one maker: somebody has to confirm it there. Only our own page
    is the same wherever it is opened."""
    ours = {number: level for number, level in enumerate(reversed(Level), 1)} if name == "page" else {}

    assert ours == dict(profiles.shipped(name).levels)


def test_an_unknown_profile_is_a_key_error():
    """And no file of that name is looked for."""
    with pytest.raises(KeyError):
        profiles.shipped("../profiles/house")


# ---- frames as observed in the field


def test_qs4_says_and_answers_what_was_observed():
    """FF 68 LEN LEN 68 ADDR FUNC DATA SUM 16; the answer is the frame with function 01 and the sum less 10."""

    assert [Pressed("5", 2, 0, bytes.fromhex("FF680303680511021816"))] == heard("qs4", "FF 68 03 03 68 05 11 02 18 16")
    assert bytes.fromhex("FF 68 03 03 68 05 01 02 08 16") == answered("qs4", "FF 68 03 03 68 05 11 02 18 16")
    assert bytes.fromhex("FF 68 03 03 68 05 01 0B 11 16") == profiles.shipped("qs4").say("please_rate", address=5)
    assert bytes.fromhex("FF 68 03 03 68 05 02 05 0C 16") == profiles.shipped("qs4").say("set_stars", address=5)


@pytest.mark.parametrize("raw", ["FF 68 03 03 68 05 01 02 08 16", "FF 68 03 03 68 05 02 05 0C 16"])
def test_qs4_never_answers_its_own_words(raw):
    """On a line that echoes late they would go round for ever. Red if they count as a caller's."""

    assert b"" == answered("qs4", raw)


def test_qs4_gives_a_caller_its_frame_back_once_on_a_line_that_echoes():
    """Red without `echo`: what is given back comes back, is given back again, and so on."""
    frame = bytes.fromhex("FF 68 03 03 68 05 10 0C 21 16")
    reader = profiles.shipped("qs4").reader()
    [first] = reader.feed(frame, 0)
    reader.sent(first.answer, 1)
    [second] = reader.feed(first.answer, 20)

    assert (Answered("5", "", frame), frame) == first
    assert isinstance(second.event, Noise)
    assert b"" == second.answer


def test_pj06_says_what_was_observed():
    """55 AA LEN CMD DATA 1A, without a checksum; stars without the 00 behind."""
    profile = profiles.shipped("pj06")
    said = {
        "welcome": profile.say("welcome"),
        "please_rate": profile.say("please_rate"),
        "60 s": profile.say("set_timeout", values=Values(seconds=60)),
        "10 s": profile.say("set_timeout", values=Values(seconds=10)),
        "stars": profile.say("set_stars"),
    }

    assert said == {
        "welcome": bytes.fromhex("55 AA 02 1F 00 1A"),
        "please_rate": bytes.fromhex("55 AA 02 20 00 1A"),
        "60 s": bytes.fromhex("55 AA 03 13 3C 00 1A"),
        "10 s": bytes.fromhex("55 AA 03 13 0A 00 1A"),
        "stars": bytes.fromhex("55 AA 02 15 05 1A"),
    }
    assert [1, 6] == [each.key for text in ("01", "06") for each in heard("pj06", text)]
    assert ["set_timeout", "set_stars"] == [step.say for step in profile.shape.init if step.say]


def test_taxi905_has_the_copied_layout():
    """55 AA, length of 2, type, vendor, command of 2, data, exclusive or, 55 AA; results 0 nobody, 1 to 4."""
    raw = "55 AA 00 05 06 00 00 02 03 02 55 AA"

    assert [Pressed("1536", 3, 0, bytes.fromhex(raw))] == heard("taxi905", raw)
    assert [NobodyPressed("1536", bytes.fromhex("55AA000506000002000155AA"))] == heard(
        "taxi905", "55 AA 00 05 06 00 00 02 00 01 55 AA"
    )
    assert bytes.fromhex("55 AA 00 05 06 00 80 02 03 82 55 AA") == answered("taxi905", raw)


# ---- the published shape


def test_the_published_schema_is_the_current_one():
    """Write it anew with json.dumps(profiles.json_schema(), indent=2, ensure_ascii=False) and an end of line."""

    assert json.dumps(profiles.json_schema(), indent=2, ensure_ascii=False) + "\n" == SCHEMA.read_text("utf-8")


@pytest.mark.parametrize("name", profiles.SHIPPED)
def test_a_shipped_profile_fits_the_schema(name):
    """By a reader of schemas that is not the one which made it."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    table = tomllib.loads((FILES / f"{name}.toml").read_text("utf-8"))

    assert [] == wrong(table, schema, schema, name)
    assert wrong(table | {"script": "rm"}, schema, schema, name)
    assert wrong(table | {"id": "Not An Id"}, schema, schema, name)


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def wrong(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    """What JSON Schema 2020-12 has against it, as far as our schema uses its words; an unknown word is a mistake."""
    if "$ref" in schema:
        return wrong(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, at)
    found: list[str] = []
    for word, said in schema.items():
        match word:
            case "$defs" | "title" | "description" | "default":
                fits = True
            case "type":
                fits = isinstance(value, _TYPES[said]) and (said == "boolean" or not isinstance(value, bool))
            case "enum":
                fits = value in said
            case "anyOf":
                fits = any(not wrong(value, each, root, at) for each in said)
            case "properties":
                found += [
                    x
                    for key, each in said.items()
                    if key in value
                    for x in wrong(value[key], each, root, f"{at}.{key}")
                ]
                fits = True
            case "required":
                fits = all(key in value for key in said)
            case "additionalProperties" if said is False:
                fits = set(value) <= set(schema["properties"])
            case "additionalProperties":
                found += [x for key, each in value.items() for x in wrong(each, said, root, f"{at}.{key}")]
                fits = True
            case "propertyNames":
                found += [x for key in value for x in wrong(key, said, root, f"{at}.{key}")]
                fits = True
            case "items":
                found += [x for each in value for x in wrong(each, said, root, f"{at}[]")]
                fits = True
            case "pattern":
                assert "\\Z" not in said  # there it is the letter
                fits = re.search(said, value) is not None
            case "minimum":
                fits = value >= said
            case "maximum":
                fits = value <= said
            case "minLength" | "minItems":
                fits = len(value) >= said
            case "maxLength" | "maxItems":
                fits = len(value) <= said
            case _:
                fits = False
        if not fits:
            found.append(f"{at}: {word} {said!r}")
    return found
