"""collector.toml: what it may say, and every mistake in it named with the key to put right."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from collector import config
from protocols.errors import BadSettings
from tests.collector.provinces import KEYS

BROKER = '[broker]\nhost = "127.0.0.1"\npassword = "p"\n'
PROVINCE = f"""[province]
case_url = "https://province.example/hcp/case"
offline_rating_url = "https://province.example/hcp/offline-rating"
app_mark = "{KEYS.app_mark}"
app_word = "w"
public_key = "{KEYS.public_hex}"
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
    assert config.dialect(read.province, tmp_path).case_first


def test_there_is_no_setting_for_making_ratings_up(tmp_path):
    """No default rating, no shifted time: not even as an option."""
    names = {
        name
        for settings in (config.Settings, config.ProvinceSettings, config.LedgerSettings)
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
        (BROKER + PROVINCE + 'dialect = "klingon"\n', ["province.dialect", "txnbody"]),
        (BROKER + PROVINCE + "default_rating = 5\n", ["province.default_rating"]),
        (BROKER + WEB.replace('"t"', '""'), ["web.token"]),
        (BROKER + '[web]\ntoken_file = "empty.txt"\n', ["web.token_file", "empty.txt"]),
        (BROKER + WEB + "port = -1\n", ["web.port"]),
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

    assert "pass word" == config.secret(read.broker.password, read.broker.password_file, tmp_path)


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
