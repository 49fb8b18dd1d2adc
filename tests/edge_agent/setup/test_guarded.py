"""Who is let into the setup page, and who is not: over real HTTP."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_agent.cli import main
from edge_agent.hall_it import FILE, BadPassword, HallIt

from ..hall import until
from .visitor import WORD, served


@pytest.fixture
def page(tmp_path: Path):
    with served(tmp_path) as page:
        yield page


def test_the_first_visitor_sets_the_password_and_is_let_in(page):
    """Nobody else can set another after that; the file is ours alone to read, and holds no password."""
    first, second = page.visitor(), page.visitor()
    assert "/setup/password" == first.get("/setup/").headers["Location"]
    assert 303 == first.begin().status
    file = page.folder / FILE

    assert 200 == first.get("/setup/guide/name").status
    assert "/setup/sign-in" == second.get("/setup/password").headers["Location"]
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert WORD not in file.read_text()


@pytest.mark.parametrize(
    ("word", "again", "expected"),
    [
        ("short", "short", "at least 10"),
        ("aaaaaaaaaaaa", "aaaaaaaaaaaa", "too simple"),
        (WORD, "other", "not the same"),
    ],
)
def test_a_weak_password_or_a_slip_is_told(page, word, again, expected):
    """And nothing is set."""
    answer = page.visitor().post("/setup/password", {"word": word, "again": again})

    assert 422 == answer.status
    assert expected in answer.text
    assert not (page.folder / FILE).exists()


def test_wrong_passwords_are_slowed_down_and_the_right_one_waits_too(page):
    """Longer each time; after the time the right one is let in and the count begins anew."""
    page.visitor().begin()
    visitor = page.visitor()
    statuses = [visitor.post("/setup/sign-in", {"word": "wrong password"}).status for _ in range(3)]
    locked = visitor.sign_in()
    page.clock.ahead_ms += int(locked.headers["Retry-After"]) * 1000
    again = visitor.post("/setup/sign-in", {"word": "wrong password"})
    longer = int(again.headers["Retry-After"])
    page.clock.ahead_ms += longer * 1000

    assert [401, 401, 429] == statuses
    assert 429 == locked.status
    assert longer > int(locked.headers["Retry-After"])
    assert 303 == visitor.sign_in().status


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1:1"]
)
def test_a_page_that_was_called_by_another_name_says_nothing(page, host):
    """DNS rebinding: a stranger's page whose name leads here. Red without the question for the Host."""
    page.visitor().begin()
    visitor = page.visitor()
    visitor.host = host.format(port=page.port)

    for path in ("/setup/", "/setup/sign-in", "/setup/alive"):
        answer = visitor.get(path)
        assert 421 == answer.status
        assert "form_word" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
def test_a_form_of_another_page_changes_nothing(page, origin):
    """Also with the cookie of who is signed in, and with the right form word."""
    visitor = page.visitor()
    visitor.begin()
    word = visitor.get("/setup/guide/name").form_word
    form = {"agent": "stolen", "broker": "later", "do": "next"}
    headers = {"Origin": origin}

    assert 403 == visitor.post("/setup/guide/name", form, word, **headers).status
    assert "stolen" not in visitor.get("/setup/guide/name").text


def test_a_form_without_its_word_changes_nothing(page):
    """Nor with that of another session."""
    one, other = page.visitor(), page.visitor()
    one.begin()
    other.sign_in()
    foreign = other.get("/setup/guide/name").form_word
    form = {"agent": "stolen", "broker": "later", "do": "next"}

    assert [403, 403] == [one.post("/setup/guide/name", form, word).status for word in ("", foreign)]


def test_a_word_in_other_letters_is_no_word(page):
    """Refused as any wrong one. Red if it breaks the page, which whoever is at the network could make it do."""
    assert 403 == page.visitor().post("/setup/password", {"word": WORD, "again": WORD}, "口令").status


def test_nothing_but_the_doorstep_is_there_before_signing_in(page):
    """Each page leads to the sign-in; a part of one is refused."""
    page.visitor().begin()
    visitor = page.visitor()
    app_paths = ["/setup/", "/setup/log", "/setup/settings", "/setup/bundle", "/setup/guide/device", "/setup/doctor"]

    assert {"/setup/sign-in"} == {visitor.get(path).headers.get("Location") for path in app_paths}
    assert 401 == visitor.get("/setup/guide/device/part").status
    assert 200 == visitor.get("/setup/static/setup.js").status


def test_a_session_ends(page):
    """By signing out, after an hour without a word, and when the password is set anew by whoever forgot it."""
    visitor = page.visitor()
    visitor.begin()
    kept = dict(visitor.cookies)
    visitor.post("/setup/sign-out", {}, visitor.get("/setup/guide/name").form_word)
    visitor.cookies = kept
    assert 302 == visitor.get("/setup/guide/name").status
    visitor.sign_in()
    assert 200 == visitor.get("/setup/guide/name").status
    page.clock.ahead_ms += 61 * 60_000

    assert 302 == visitor.get("/setup/guide/name").status


OTHER = "another horse 7"


def changed(visitor, old: str, word: str = OTHER, again: str = OTHER):
    return visitor.post("/setup/password", {"old": old, "word": word, "again": again})


def test_the_password_is_changed_by_whoever_knows_the_old_one_alone(page):
    """A page that was left open is not hall IT. Red if a session is enough; wrong tries are slowed down here too."""
    visitor = page.visitor()
    visitor.begin()
    without, wrong = changed(visitor, ""), changed(visitor, "wrong password")
    third, locked = changed(visitor, "wrong password"), changed(visitor, WORD)

    assert [401, 401, 429, 429] == [answer.status for answer in (without, wrong, third, locked)]
    assert "too many wrong passwords" in locked.text
    assert HallIt(page.folder).holds(WORD)
    page.clock.ahead_ms += 6_000
    assert [422, 422] == [changed(visitor, WORD, *slip).status for slip in ((OTHER, "other"), ("short", "short"))]
    assert HallIt(page.folder).holds(WORD)


def test_a_changed_password_signs_everybody_else_out(page):
    """Who changed it stays, with another cookie; the old password is none any more. Red if a session outlives it."""
    one, other = page.visitor(), page.visitor()
    one.begin()
    other.sign_in()
    before = dict(one.cookies)
    assert 303 == changed(one, WORD).status
    thief = page.visitor()
    thief.cookies = before

    assert [200, 302, 302] == [each.get("/setup/guide/name").status for each in (one, other, thief)]
    assert 401 == other.sign_in().status
    assert 303 == other.post("/setup/sign-in", {"word": OTHER}).status


def test_a_password_that_is_set_on_the_machine_signs_everybody_out(page):
    """`edge-agent password` is another program; also over a restart. Red if a session does not know its password."""
    visitor = page.visitor()
    visitor.begin()
    HallIt(page.folder).set_password(OTHER)

    assert 302 == visitor.get("/setup/guide/name").status


def test_its_cookie_is_out_of_reach(page):
    """Of scripts and of other sites."""
    answer = page.visitor().begin()
    cookie = next(value for value in [answer.headers["Set-Cookie"]] if "setup" in value)

    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/setup"))


def test_a_session_goes_on_after_a_restart_and_only_just_after_it(tmp_path):
    """Its hash is handed over once: the file is gone, and holds nothing to sign in with."""
    with served(tmp_path) as before:
        visitor = before.visitor()
        visitor.begin()
        visitor.post("/setup/guide/name", {"agent": "a1", "broker": "later", "do": "next"})
        visitor.post("/setup/guide/device", {"kind": "screen"})
        visitor.post("/setup/guide/bind", {"window": "1", "device": "S1"})
        assert until(lambda: before.again)
        left = (tmp_path / "setup.sessions").read_text()
        assert all(value not in left for value in visitor.cookies.values())
    with served(tmp_path) as after:
        visitor.port = after.port
        assert 200 == visitor.get("/setup/settings/text").status
        handed_over = (tmp_path / "setup.sessions").exists()
    with served(tmp_path) as later:
        visitor.port = later.port
        assert 302 == visitor.get("/setup/settings/text").status
    (tmp_path / "setup.sessions").write_text(left)
    HallIt(tmp_path).set_password(OTHER)
    with served(tmp_path) as other:
        visitor.port = other.port

        assert not handed_over
        assert 302 == visitor.get("/setup/settings/text").status, "the password is another one by now"


def test_who_forgot_the_password_sets_it_on_the_machine(tmp_path):
    """`edge-agent password`; also where the file is damaged, which lets nobody set another from the page."""
    (tmp_path / FILE).write_text("{")
    with pytest.raises(BadPassword, match="edge-agent password"):
        HallIt(tmp_path).has_password()
    result = CliRunner().invoke(
        main, ["password", "--config", str(tmp_path / "agent.toml")], input=f"{WORD}\n{WORD}\n", catch_exceptions=False
    )

    assert 0 == result.exit_code, result.output
    assert HallIt(tmp_path).holds(WORD)
    assert not HallIt(tmp_path).holds(f"{WORD} ")
