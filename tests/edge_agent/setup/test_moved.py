"""Settings that move the setup page itself, or close it: whoever applied them is told where it is from now on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .visitor import PAGE, beside


@pytest.mark.parametrize(
    ("door", "leads_to", "says"),
    [
        ('host = "192.168.7.20"\nport = 8611\nsetup = true', "http://192.168.7.20:8611/setup/", "Starting again"),
        ('host = "0.0.0.0"\nport = 8611\nsetup = true', "http://127.0.0.1:8611/setup/", "Starting again"),
        ('host = "::1"\nport = 8611', "http://[::1]:8611/setup/", "Starting again"),
        ("port = 8611", "http://127.0.0.1:8611/setup/", "Starting again"),
        ("port = {here}\nsetup = true", "/setup/", "Starting again"),
        ('host = "192.168.7.20"', "", "closed from now on"),
        ("setup = false", "", "closed from now on"),
    ],
)
def test_the_page_says_where_it_is_from_now_on(tmp_path: Path, door: str, leads_to: str, says: str) -> None:
    """Red if it waits for an address where nobody will be, as after each change of door.host."""
    with beside(tmp_path, PAGE.format(door="")) as visitor:
        text = PAGE.format(door=door.format(here=visitor.port))
        reviewed = visitor.post("/setup/settings/text", {"text": text})
        [typed] = re.findall(r'name="typed" value="([^"]+)"', reviewed.text)
        applied = visitor.post("/setup/settings/apply", {"typed": typed}, reviewed.form_word)

    assert 200 == applied.status
    assert says in applied.text
    assert leads_to == "".join(re.findall(r'data-next="([^"]*)"', applied.text))
