"""What is wrong with the settings, read on a page that is shown in one language."""

from __future__ import annotations

import html
import re

import pytest

from .visitor import PAGE, beside

PORT = "usb:nowhere"


@pytest.fixture
def visitor(tmp_path):
    with beside(tmp_path, PAGE.format(door="")) as visitor:
        yield visitor


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh", "'usb:nowhere' 不对, 应为 usb:1-1.3 (USB 口), usb:1a86:7523 (仅一个时), usb:0403:6001:A9001XYZ"),
        (
            "en",
            "'usb:nowhere' is wrong, expected usb:1-1.3 (USB socket), usb:1a86:7523 (if there is only one),"
            " usb:0403:6001:A9001XYZ",
        ),
    ],
)
def test_a_mistake_that_is_put_together_is_said_in_the_language_of_the_page(visitor, language, words):
    """Beside its field, and with file and key where the settings are one text. Red if such a one is shown in both, or
    if its half has lost the key."""
    headers = {"Accept-Language": language}
    form = visitor.post("/setup/settings", {"windows.0.profile": "house", "windows.0.port": PORT}, **headers)
    text = PAGE.format(door="").replace('"page"', f'"house"\nport = "{PORT}"')
    whole = visitor.post("/setup/settings/text", {"text": text}, **headers)

    assert [words] == re.findall(r'class="mistake" id="m-windows\.0\.port">([^<]+)<', html.unescape(form.text))
    assert f"<p>agent.toml: windows[1].port: {words}</p>" in html.unescape(whole.text)
