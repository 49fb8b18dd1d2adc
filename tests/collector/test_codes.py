"""The printable codes: one for each window, which says where it is; and a page of all of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import segno
from click.testing import CliRunner

from collector.cli import main
from tests.collector.ledgers import window

URL = "https://p.example/rate?hall={hall}&window={number}"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "directory.toml").write_text(window() + window(window="w2", device="D2"), "utf-8")
    (tmp_path / "collector.toml").write_text('[broker]\nhost = "b"\npassword = "p"\n', "utf-8")

    def call(*words: str):
        config = ["--config", str(tmp_path / "collector.toml"), "--to", str(tmp_path / "codes")]
        return CliRunner().invoke(main, ["qr", *words, *config])

    return call


def test_each_window_has_a_code_of_its_own(run, tmp_path):
    """The very code that this address makes, and a page to print. Red if two windows get the same."""
    done = run("--url", URL)
    codes = sorted(each.name for each in (tmp_path / "codes").glob("*.svg"))
    page = (tmp_path / "codes" / "codes.html").read_text("utf-8")

    assert (0, ["hall-a-w1.svg", "hall-a-w2.svg"]) == (done.exit_code, codes)
    address = "https://p.example/rate?hall=%E5%B8%82%E6%B0%91%E4%B8%AD%E5%BF%83&window=1%E5%8F%B7"
    segno.make(address, error="q", micro=False).save(str(tmp_path / "own.svg"), scale=8, border=4, xmldecl=True)
    assert (tmp_path / "own.svg").read_text("utf-8") == (tmp_path / "codes" / codes[0]).read_text("utf-8")
    assert ElementTree.parse(tmp_path / "codes" / codes[1]) is not None
    assert "市民中心 1号" in page and "hall-a-w2.svg" in page


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://p.example/rate", "names no window"),
        ("https://p.example/{nick}", "{nick}"),
        ("p.example/{hall}", "expected https://"),
        ("https://p.example/{hall", "--url"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(run, tmp_path, url, said):
    done = run("--url", url)

    assert (2, True) == (done.exit_code, said in done.output)
    assert not (tmp_path / "codes").exists()


def test_what_stands_in_a_hall_s_name_cannot_change_the_page(run, tmp_path):
    (tmp_path / "directory.toml").write_text(window().replace("市民中心", "<b>&"), "utf-8")
    run("--url", URL)

    assert "&lt;b&gt;&amp;" in (tmp_path / "codes" / "codes.html").read_text("utf-8")
