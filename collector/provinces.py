"""The [province] of collector.toml: which dialect, who we are there, how it is called; and the dialect made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from protocols import settings
from protocols.dialects import Dialect
from protocols.dialects.codes import Item
from protocols.dialects.flat import Flat, FlatSettings
from protocols.dialects.jsonrest import JsonRest, JsonRestSettings
from protocols.dialects.linewell import Linewell, LinewellSettings
from protocols.dialects.txnbody import TxnBody, TxnBodySettings
from protocols.errors import BadSettings
from protocols.settings import Url

from .credentials import file_bytes, secret, secret_mistakes

TimeoutS = Annotated[int, Meta(ge=1, le=120)]
Workers = Annotated[int, Meta(ge=1, le=32)]
CallsPerS = Annotated[float, Meta(ge=0, le=10_000)]
"""How many calls a second the province takes at most; 0 for as many as it answers."""

# Each of these is its dialect's own settings, and how the province is called; msgspec lets a struct have one parent.


class TxnBodyProvince(TxnBodySettings, frozen=True, kw_only=True, tag_field="dialect", tag="txnbody"):
    """Dialect A."""

    case_url: Url
    offline_rating_url: Url
    app_word: str = ""
    app_word_file: str = ""
    private_key_file: str = ""
    timeout_s: TimeoutS = 10
    workers: Workers = 4
    calls_per_s: CallsPerS = 0
    items_file: str = ""
    """Beside this file: the hall's item codes and the province's."""


class LinewellProvince(LinewellSettings, frozen=True, kw_only=True, tag_field="dialect", tag="linewell"):
    """Dialect B."""

    token_url: Url
    rating_url: Url
    app_secret: str = ""
    app_secret_file: str = ""
    timeout_s: TimeoutS = 10
    workers: Workers = 4
    calls_per_s: CallsPerS = 0
    items_file: str = ""


class FlatProvince(FlatSettings, frozen=True, kw_only=True, tag_field="dialect", tag="flat"):
    """Dialect C."""

    rating_url: Url
    app_secret_file: str = ""
    timeout_s: TimeoutS = 10
    workers: Workers = 4
    calls_per_s: CallsPerS = 0
    items_file: str = ""


class JsonProvince(JsonRestSettings, frozen=True, kw_only=True, tag_field="dialect", tag="json"):
    """Dialect D."""

    ratings_url: Url
    api_token: str = ""
    api_token_file: str = ""
    together: Annotated[int, Meta(ge=1, le=1000)] = 100
    timeout_s: TimeoutS = 10
    workers: Workers = 4
    calls_per_s: CallsPerS = 0
    items_file: str = ""


ProvinceSettings = TxnBodyProvince | LinewellProvince | FlatProvince | JsonProvince
_SECRETS = {  # what must be given, here or in a file of its own
    TxnBodyProvince: ("app_word",),
    LinewellProvince: ("app_secret",),
    FlatProvince: (),
    JsonProvince: ("api_token",),
}
_FILLED = {  # what must say something
    TxnBodyProvince: ("app_mark", "tenancy_id"),
    LinewellProvince: ("app_key", "system_no", "operation"),
    FlatProvince: (),
    JsonProvince: (),
}


class _Items(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: dict[str, Item]


def dialect(province: ProvinceSettings, folder: Path) -> Dialect:
    """The province's way to say it. Files are relative to `folder`. BadSettings for what it cannot be made of."""
    known = msgspec.structs.asdict(province)
    given: dict[str, Any] = {
        name.removesuffix("_file"): secret(known[name.removesuffix("_file")], file, folder)
        for name, file in known.items()
        if name.endswith("_file") and name != "items_file" and file
    }
    if province.items_file:
        read = settings.read(file_bytes(folder / province.items_file), _Items, province.items_file)
        given["items"] = {**province.items, **read.items}
    whole = msgspec.structs.replace(province, **given)
    match whole:
        case TxnBodyProvince():
            return TxnBody(whole)
        case LinewellProvince():
            return Linewell(whole)
        case FlatProvince():
            return Flat(whole)
        case _:
            return JsonRest(whole)


def mistakes(province: ProvinceSettings, folder: Path) -> list[str]:
    """Every mistake in it that the shape alone does not show."""
    known = msgspec.structs.asdict(province)
    found = [
        f"province.{key}: 网址不对 / wrong address {value!r} (应为 / expected: https://主机[:端口]/路径)"
        for key, value in known.items()
        if key.endswith("_url") and value and not _is_address(value)
    ]
    found += [
        f"province.{key}: 不能为空 / must not be empty" for key in _FILLED[type(province)] if not known[key].strip()
    ]
    for key in _SECRETS[type(province)]:
        found += secret_mistakes(f"province.{key}", known[key], known[f"{key}_file"], folder)
    if found:
        return found
    try:
        dialect(province, folder)
    except BadSettings as error:
        return [_where(mistake, province) for mistake in error.mistakes]
    except OSError as error:
        return [f"province: 文件读不了 / file cannot be read: {error.filename}: {error.strerror}"]
    return []


def _where(mistake: str, province: ProvinceSettings) -> str:
    if province.items_file and mistake.startswith(province.items_file):
        return mistake
    key = "public_key: " if "公钥" in mistake else "private_key: " if "私钥" in mistake else ""
    return f"province.{key}{mistake}"


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
        return known and parts.port != 0 and not any(each.isspace() for each in text)
    except ValueError:  # a port that is no number
        return False
