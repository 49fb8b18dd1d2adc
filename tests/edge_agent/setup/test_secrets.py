"""Secrets that hall IT types in the settings: kept as typed, and never shown again."""

import re
import tomllib
from pathlib import Path

import pytest

from .visitor import Page, Visitor, beside, served

PLAIN = """agent = "hall-pc-1"  # the name

[uplink]
host = "broker.example"
{password}
[door]
port = 8610
token = "the-token-before"

[[windows]]
id = "1"
device = "D1"
profile = "page"
"""
NEW = "swordfish one"
OLD = 'password = "hunter22"  # alas'


def toml(page: Page) -> dict:
    return tomllib.loads((page.folder / "agent.toml").read_text("utf-8"))


def form_of(page: str) -> dict[str, str]:
    """The hidden fields and inputs of a form, as a browser sends them back."""
    return dict(re.findall(r'<input[^>]*? name="([^"]+)"[^>]*? value="([^"]*)"', page))


@pytest.fixture
def page(tmp_path: Path):
    with served(tmp_path) as page:
        yield page


@pytest.fixture
def visitor(page: Page) -> Visitor:
    visitor = page.visitor()
    visitor.begin()
    return visitor


@pytest.mark.parametrize("before", ["", OLD], ids=["new", "changed"])
@pytest.mark.parametrize("way", ["form", "text"])
@pytest.mark.parametrize("key", ["uplink.password", "door.token"])
def test_a_secret_ends_in_the_settings_as_it_was_typed(page, visitor, key, way, before):
    """And no page shows it after that, nor has it in its source. Red if what covers it is taken for it."""
    text = PLAIN.format(password=before)
    (page.folder / "agent.toml").write_text(text)
    if way == "form":
        reviewed = visitor.post("/setup/settings", {key: NEW})
    else:
        shown = text.replace("hunter22", "********").replace("the-token-before", "********")
        name = key.rpartition(".")[2]
        line = f'{name} = "{NEW}"'
        there = f'{name} = "********"' in shown
        shown = shown.replace(f'{name} = "********"', line) if there else shown.replace("[door]", f"{line}\n[door]")
        reviewed = visitor.post("/setup/settings/text", {"text": shown})
    applied = visitor.post("/setup/settings/apply", form_of(reviewed.text), reviewed.form_word)
    found, was = toml(page), tomllib.loads(text)
    table, name = key.split(".")
    was[table][name] = NEW

    assert (200, 200) == (reviewed.status, applied.status)
    assert was == found
    assert name in reviewed.text.partition('class="diff')[2]
    assert not [secret for secret in (NEW, "hunter22", "the-token-before") if secret in reviewed.text + applied.text]


@pytest.mark.parametrize("way", ["form", "text"])
def test_a_secret_is_not_lost_over_a_mistake_beside_it(page, visitor, way):
    """The page that tells the mistake shows it covered; what is sent back covered is what was typed."""
    text = PLAIN.format(password=OLD)
    (page.folder / "agent.toml").write_text(text)
    if way == "form":
        shown = form_of(visitor.get("/setup/settings").text)
        wrong = visitor.post("/setup/settings", shown | {"uplink.password": NEW, "uplink.port": "many"})
        given = form_of(wrong.text) | {"uplink.port": "1884"}
        reviewed = visitor.post("/setup/settings", given, wrong.form_word)
    else:
        new = text.replace('"hunter22"', f'"{NEW}"')
        wrong = visitor.post("/setup/settings/text", {"text": f'log = "no such"\n{new}'})
        given = form_of(wrong.text) | {"text": new.replace(NEW, "********") + "\n# mended"}
        reviewed = visitor.post("/setup/settings/text", given, wrong.form_word)
    visitor.post("/setup/settings/apply", form_of(reviewed.text), reviewed.form_word)

    assert (422, 200) == (wrong.status, reviewed.status)
    assert not [answer for answer in (wrong, reviewed) if NEW in answer.text]
    assert NEW == toml(page)["uplink"]["password"]


def test_what_stands_for_a_secret_is_never_taken_for_one(page, visitor):
    """Nobody has given a password yet: eight stars are none."""
    text = PLAIN.format(password='password = "********"')
    (page.folder / "agent.toml").write_text(PLAIN.format(password=""))
    answer = visitor.post("/setup/settings/text", {"text": text})

    assert 422 == answer.status
    assert "type the secret itself" in answer.text


def test_what_one_session_has_typed_is_there_for_no_other(page, visitor):
    """It is told, and nothing is written."""
    text = PLAIN.format(password=OLD)
    (page.folder / "agent.toml").write_text(text)
    reviewed = visitor.post("/setup/settings", {"uplink.password": NEW})
    other = page.visitor()
    other.sign_in()
    word = other.get("/setup/settings").form_word
    answer = other.post("/setup/settings/apply", {"typed": form_of(reviewed.text)["typed"]}, word)
    form = other.post(
        "/setup/settings", {"typed": form_of(reviewed.text)["typed"], "uplink.password": "********"}, word
    )

    assert (409, 409) == (answer.status, form.status)
    assert "nothing was saved" in answer.text
    assert text == (page.folder / "agent.toml").read_text()


@pytest.mark.parametrize(("typed", "wrong"), [(NEW, ""), ("", 'id="h-password" class="mistake"')])
def test_a_new_password_is_tried_where_the_old_one_cannot_be_read(tmp_path, typed, wrong):
    """Its file went after the start: so there is a new one. Red if the try wants the old, or blames another field."""
    (tmp_path / "gone").write_text("hunter22")
    with beside(tmp_path, PLAIN.format(password='password_file = "gone"')) as visitor:
        (tmp_path / "gone").unlink()
        given = {"host": "127.0.0.1", "port": "9", "password": typed, "do": "test"}
        answer = visitor.post("/setup/broker", given)

    assert wrong in answer.text
    assert ("gone" in answer.text) == (not typed)
    assert ("no broker at port 9" in answer.text) == bool(typed)
