"""collector.toml: what it may say, and every mistake in it named with the key to put right."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from collector import config, credentials, provinces
from collector.ledger.tally import day_number
from protocols.dialects.codes import Item
from protocols.dialects.flat import Flat
from protocols.dialects.jsonrest import JsonRest
from protocols.dialects.linewell import Linewell
from protocols.dialects.txnbody import TxnBody
from protocols.errors import BadSettings
from tests.collector.provinces import KEYS

BROKER = '[broker]\nhost = "127.0.0.1"\npassword = "p"\n'
PROVINCE = f"""[province]
dialect = "txnbody"
case_url = "https://province.example/hcp/case"
offline_rating_url = "https://province.example/hcp/offline-rating"
app_mark = "{KEYS.app_mark}"
app_word = "w"
public_key = "{KEYS.public_hex}"
"""
LINEWELL = """[province]
dialect = "linewell"
token_url = "https://province.example/get-token"
rating_url = "https://province.example/save"
app_key = "hall"
app_secret = "s"
system_no = "1"
"""
FLAT = """[province]
dialect = "flat"
rating_url = "https://province.example/offlinereport.do"
"""
JSON = """[province]
dialect = "json"
ratings_url = "https://exchange.example/v1/ratings"
api_token = "t"
"""
WEB = '[web]\ntoken = "t"\n'


def load(folder: Path, text: str) -> config.Settings:
    """The settings with this text."""
    (folder / "collector.toml").write_text(text, "utf-8")
    return config.load(folder / "collector.toml")


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadSettings) as failure:
        load(folder, text)
    return failure.value.mistakes


def test_little_has_to_be_said(tmp_path):
    """A broker is enough: ratings are kept, and nothing is sent or shown."""
    read = load(tmp_path, BROKER)

    assert ("127.0.0.1", 1883, "collector", "p") == (
        read.broker.host,
        read.broker.port,
        read.broker.user,
        read.broker.password,
    )
    assert (None, None, "ledger.db") == (read.province, read.web, read.ledger.path)


def test_all_of_it_is_read(tmp_path):
    read = load(tmp_path, BROKER + PROVINCE + WEB + '[ledger]\npath = "x.db"\n')

    assert ("x.db", "127.0.0.1", 8620, 4) == (read.ledger.path, read.web.host, read.web.port, read.province.workers)
    assert provinces.dialect(read.province, tmp_path).case_first


@pytest.mark.parametrize(
    ("text", "kind"),
    [(PROVINCE, TxnBody), (LINEWELL, Linewell), (FLAT, Flat), (JSON, JsonRest)],
    ids=["txnbody", "linewell", "flat", "json"],
)
def test_each_dialect_has_its_own_settings(tmp_path, text, kind):
    """With what all of them share: how the province is called, where it differs, and which items it knows."""
    (tmp_path / "items.toml").write_text('[items]\nL1 = {code = "P1", name = "身份证"}\n', "utf-8")
    more = 'workers = 2\ncalls_per_s = 5\nbad_needs_reason = true\nitems_file = "items.toml"\n'
    read = load(tmp_path, BROKER + text + more + '[province.tables]\npf = {window_keypad = "5"}\n')
    spoken = provinces.dialect(read.province, tmp_path)

    assert kind is type(spoken)
    assert (2, 5, True) == (read.province.workers, read.province.calls_per_s, read.province.bad_needs_reason)
    assert {"L1": Item("P1", "身份证")} == spoken._settings.items


def test_what_bad_ratings_ask_for_can_be_set(tmp_path):
    """Fifteen natural days unless the hall says otherwise; reminders from the earliest on."""
    assert 15 == load(tmp_path, BROKER).mending.rules().days
    text = BROKER + '[mending]\ndays = 7\nremind_days = [1, 3]\nsince = "2027-01-01"\n'
    rules = load(tmp_path, text).mending.rules()

    assert (7, (3, 1), day_number("2027-01-01")) == (rules.days, rules.remind_days, rules.since)


def test_a_mistake_in_the_list_of_items_names_that_file(tmp_path):
    (tmp_path / "items.toml").write_text("[items]\nL1 = 5\n", "utf-8")
    (mistake,) = mistakes(tmp_path, BROKER + FLAT + 'items_file = "items.toml"\n')

    assert "items.toml: items.L1" in mistake


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "secret").write_text("from a file\n", "utf-8")
    read = load(tmp_path, BROKER + LINEWELL.replace('app_secret = "s"', 'app_secret_file = "secret"'))

    assert "from a file" == provinces.dialect(read.province, tmp_path)._settings.app_secret


def test_there_is_no_setting_for_making_ratings_up(tmp_path):
    """No default rating, no shifted time: not even as an option."""
    names = {
        name
        for settings in (config.Settings, *get_args(provinces.ProvinceSettings), config.LedgerSettings)
        for name in settings.__struct_fields__
    }

    assert [] == [name for name in names for word in ("default", "auto", "shift", "offset") if word in name]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["broker"]),
        (BROKER + 'hots = "x"\n', ["broker.hots", "host"]),
        (BROKER.replace("127.0.0.1", " "), ["broker.host"]),
        (BROKER.replace('password = "p"', ""), ["broker.password"]),
        (BROKER.replace('"p"', '" "'), ["broker.password"]),
        (BROKER + 'password_file = "p.txt"\n', ["broker.password", "password_file"]),
        (BROKER.replace('password = "p"', 'password_file = "none.txt"'), ["broker.password_file", "none.txt"]),
        (BROKER.replace('password = "p"', 'password_file = "empty.txt"'), ["broker.password_file", "empty.txt"]),
        (BROKER.replace('password = "p"', 'password_file = "gbk.txt"'), ["broker.password_file", "gbk.txt"]),
        (BROKER.replace('password = "p"', 'password_file = "."'), ["broker.password_file"]),
        (BROKER + "port = 70000\n", ["broker.port", "65535"]),
        (BROKER + 'port = "1883"\n', ["broker.port"]),
        (BROKER + 'share = "a/b"\n', ["broker.share"]),
        (BROKER + '[broker.tls]\nca = "none.crt"\n', ["broker.tls.ca", "none.crt"]),
        (BROKER + '[broker.tls]\nca = "gbk.txt"\n', ["broker.tls"]),
        (BROKER + PROVINCE.replace(KEYS.public_hex, "04" + "1" * 128), ["province.public_key"]),
        (BROKER + PROVINCE.replace(KEYS.public_hex, "zz"), ["province.public_key"]),
        (BROKER + PROVINCE.replace("https://province.example/hcp/case", "ftp://x"), ["province.case_url"]),
        (BROKER + PROVINCE.replace("https://province.example/hcp/case", "https:///case"), ["province.case_url"]),
        (BROKER + PROVINCE.replace("province.example/hcp/off", "a:b/off"), ["province.offline_rating_url"]),
        (BROKER + PROVINCE.replace("province.example/hcp/case", "a b/case"), ["province.case_url"]),
        (BROKER + PROVINCE.replace('app_word = "w"', ""), ["province.app_word"]),
        (BROKER + PROVINCE.replace(f'app_mark = "{KEYS.app_mark}"', 'app_mark = ""'), ["province.app_mark"]),
        (BROKER + PROVINCE + "workers = 0\n", ["province.workers"]),
        (BROKER + PROVINCE.replace("txnbody", "klingon"), ["province.dialect", "txnbody", "linewell", "flat", "json"]),
        (BROKER + PROVINCE.replace("txnbody", "Flat"), ["province.dialect", "did you mean flat?"]),
        (BROKER + PROVINCE.replace('dialect = "txnbody"', ""), ["province.dialect", "missing", '"linewell"']),
        (BROKER + PROVINCE + 'app_secret = "x"\n', ["province.app_secret: "]),
        (BROKER + PROVINCE + 'private_key = "12"\n', ["province.private_key: "]),
        (BROKER + PROVINCE + 'page_url = "p"\n', ["province.page_url"]),
        (BROKER + PROVINCE + 'tables.levels.satisfied = "2"\n', ["province.tables.levels"]),
        (BROKER + PROVINCE + 'items_file = "none.toml"\n', ["none.toml"]),
        (BROKER + LINEWELL.replace('app_secret = "s"', ""), ["province.app_secret"]),
        (BROKER + LINEWELL.replace('system_no = "1"', ""), ["province.system_no", "missing"]),
        (BROKER + JSON.replace('api_token = "t"', ""), ["province.api_token"]),
        (BROKER + PROVINCE + "default_rating = 5\n", ["province.default_rating"]),
        (BROKER + WEB.replace('"t"', '""'), ["web.token"]),
        (BROKER + '[web]\ntoken_file = "empty.txt"\n', ["web.token_file", "empty.txt"]),
        (BROKER + WEB + "port = -1\n", ["web.port"]),
        (BROKER + "[mending]\ndays = 0\n", ["mending.days"]),
        (BROKER + "[mending]\nremind_days = []\n", ["mending.remind_days"]),
        (BROKER + '[mending]\nsince = "1 May"\n', ["mending.since", "2027-01-01"]),
        (BROKER + '[mending]\nsince = "2027-02-30"\n', ["mending.since", "no such day"]),
        ("[broker", ["TOML"]),
    ],
)
def test_every_mistake_is_named(tmp_path, text, parts):
    """With file and key. Red for an empty token file if it is not looked into: then everybody could write."""
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "gbk.txt").write_bytes("密码".encode("gbk"))
    (mistake,) = mistakes(tmp_path, text)

    assert [] == [part for part in ["collector.toml", *parts] if part not in mistake]


def test_all_mistakes_are_named_at_once(tmp_path):
    text = BROKER.replace('password = "p"', "") + PROVINCE.replace(KEYS.public_hex, "zz") + WEB.replace('"t"', '""')

    assert 3 == len(mistakes(tmp_path, text))


def test_a_secret_is_never_shown(tmp_path):
    """A password in the wrong place stays out of the message."""
    wrong = BROKER.replace('password = "p"', "password = 31337") + PROVINCE.replace(
        'app_word = "w"', "app_word = 31337"
    )

    assert [] == [mistake for mistake in mistakes(tmp_path, wrong) if "31337" in mistake]


def test_secrets_may_live_in_files(tmp_path):
    """Without the line end that an editor leaves."""
    (tmp_path / "p.txt").write_text("pass word\n")
    read = load(tmp_path, BROKER.replace('password = "p"', 'password_file = "p.txt"'))

    assert "pass word" == credentials.secret(read.broker.password, read.broker.password_file, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadSettings, match=r"nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml")
    with pytest.raises(BadSettings):
        config.load(tmp_path)


def test_a_certificate_and_its_key_are_used(tmp_path):
    """And one without the other is named."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            "k.pem",
            "-out",
            "c.pem",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    good = load(tmp_path, BROKER + '[broker.tls]\nca = "c.pem"\ncertificate = "c.pem"\nkey_file = "k.pem"\n')
    context = config.tls_context(good.broker.tls, tmp_path)

    assert (ssl.CERT_REQUIRED, 1) == (context.verify_mode, len(context.get_ca_certs()))
    (mistake,) = mistakes(tmp_path, BROKER + '[broker.tls]\nca = "c.pem"\ncertificate = "c.pem"\n')
    assert "broker.tls" in mistake
