"""Clerks: cards that change at once, PINs that let their owner in and nobody else, seats that outlive a restart."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from edge_agent.clerks import Clerk, Clerks, Seat, Wait
from edge_agent.cli import main
from edge_agent.links import Links
from protocols.errors import BadSettings

from .program import settings

PIN = "2468"


@pytest.fixture
def clerks(tmp_path: Path) -> Clerks:
    known = Clerks(tmp_path)
    known.put(Clerk("018", "张敏", 4), PIN)
    return known


def test_a_pin_lets_its_owner_in_and_nobody_else(clerks: Clerks) -> None:
    """Red if any PIN fits, or a clerk without one may come in with an empty one."""
    clerks.put(Clerk("021", "李强"))

    assert Clerk("018", "张敏", 4) == msgspec.structs.replace(clerks.signs_in("018", PIN, 0), pin="")
    assert clerks.signs_in("018", "1357", 0) is None
    assert clerks.signs_in("021", "", 0) is None
    assert clerks.signs_in("099", PIN, 0) is None


def test_whoever_guesses_has_to_wait_longer_each_time(clerks: Clerks) -> None:
    """Five wrong ones, then half a minute in which also the right one is not looked at, then a minute. Red without the
    wait. Another clerk is let in meanwhile."""
    clerks.put(Clerk("021", "李强"), "1357")
    wrong = [clerks.signs_in("018", "0000", at) for at in range(5)]
    first = clerks.signs_in("018", PIN, 10)
    clerks.signs_in("018", "0000", 30_010)
    second = clerks.signs_in("018", PIN, 30_020)

    assert [None] * 5 == wrong
    assert (Wait(29_994), Wait(59_990)) == (first, second)
    assert "021" == clerks.signs_in("021", "1357", 20).number
    assert "018" == clerks.signs_in("018", PIN, 90_011).number


def test_no_pin_stands_in_the_file_and_nobody_else_may_read_it(clerks: Clerks, tmp_path: Path) -> None:
    """Two clerks with one PIN have different words there."""
    clerks.put(Clerk("021", "李强"), PIN)
    file = tmp_path / "clerks.json"
    hidden = [each["pin"] for each in json.loads(file.read_bytes())["clerks"]]

    assert PIN not in file.read_text("utf-8") and 2 == len(set(hidden))
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_card_changes_at_once(clerks: Clerks, tmp_path: Path) -> None:
    """Hall IT changes it from another process while the agent runs; the PIN stays."""
    Clerks(tmp_path).put(Clerk("018", "张敏", 5))

    assert 5 == clerks.get("018").stars
    assert clerks.signs_in("018", PIN, 0) is not None


def test_a_business_system_may_send_number_or_name(clerks: Clerks) -> None:
    """Both are found; whoever is not known is nobody."""
    assert "018" == clerks.get("张敏").number == clerks.get("018").number
    assert clerks.get("王五") is None and clerks.get("") is None


def test_who_sits_where_outlives_a_restart(clerks: Clerks, tmp_path: Path) -> None:
    """And a pause with it: a tablet must not welcome anybody because the PC was started again."""
    clerks.sit("3", Seat("018", paused=True))

    assert Seat("018", True) == Clerks(tmp_path).seat("3")
    assert "张敏" == Clerks(tmp_path).card("3").name
    assert Seat() == Clerks(tmp_path).seat("4")


def test_a_file_that_is_none_is_said_so(tmp_path: Path) -> None:
    """With its name, and not with what stands in it."""
    (tmp_path / "clerks.json").write_text('{"clerks": [{"number": "0 1"}]}')
    with pytest.raises(BadSettings, match=r"clerks.json: 写法不对"):
        Clerks(tmp_path).check()


def test_a_pin_that_was_typed_into_the_file_is_none(tmp_path: Path) -> None:
    """The card is shown, hall IT sees that its clerk cannot sign in, and a PIN is set as for anybody. Red if it is only
    found out when she signs in, and breaks that page."""
    (tmp_path / "clerks.json").write_text('{"clerks": [{"number": "018", "pin": "secret"}]}')
    clerks = Clerks(tmp_path)

    assert [Clerk("018")] == clerks.all()
    assert clerks.signs_in("018", "secret", 0) is None
    clerks.put(Clerk("018"), PIN)
    assert clerks.signs_in("018", PIN, 0) is not None


def test_the_mark_of_a_windows_editor_is_no_mistake(tmp_path: Path) -> None:
    """Notepad puts it before the first letter."""
    (tmp_path / "clerks.json").write_text('{"clerks": [{"number": "018", "name": "张敏"}]}', "utf-8-sig")

    assert ["张敏"] == [each.name for each in Clerks(tmp_path).all()]


@pytest.mark.parametrize("damage", [b"", b"\0" * 200, b'{"seats": {"3": {"clerk": 18}}}'])
def test_seats_that_a_dying_disk_left_keep_no_agent_from_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    """Nobody sits anywhere until somebody signs in, and it is said. Red if every press waits for that file."""
    (tmp_path / "seats.json").write_bytes(damage)
    clerks = Clerks(tmp_path)

    assert Seat() == clerks.seat("3")
    assert "seats.json" in caplog.text and "have to sign in again" in caplog.text
    clerks.sit("3", Seat("018"))
    assert Seat("018") == Clerks(tmp_path).seat("3")


def test_a_comma_too_many_takes_no_screen_away(clerks: Clerks, tmp_path: Path) -> None:
    """Those of before stay until the file is right again."""
    assert clerks.get("018") is not None
    (tmp_path / "clerks.json").write_text("{,}")

    assert "张敏" == clerks.get("018").name
    assert [] == Clerks(tmp_path).all()


def test_a_thousand_numbers_free_nobody_and_guesses_at_once_are_counted(clerks: Clerks) -> None:
    """Red if unknown numbers push the known ones out, or if a guess counts only once it was looked at."""
    with ThreadPoolExecutor(20) as many:
        looked_at = [found for found in many.map(lambda _: clerks.signs_in("018", "0000", 0), range(60))]
    for number in range(1100):
        clerks.signs_in(f"9{number}", "0000", 1)

    assert 5 == looked_at.count(None)
    assert isinstance(clerks.signs_in("018", PIN, 2), Wait)


def test_hall_it_adds_lists_and_removes_clerks(tmp_path: Path) -> None:
    """On the command line, with a photo that is copied and a PIN that is not shown; what is wrong is said in words."""
    file = tmp_path / "agent.toml"
    file.write_text(settings(), "utf-8")
    (tmp_path / "him.PNG").write_bytes(b"png")
    run = CliRunner().invoke
    how = ["--config", str(file)]
    added = run(
        main,
        [
            "clerk",
            "add",
            "018",
            "--name",
            "张敏",
            "--stars",
            "4",
            "--photo",
            str(tmp_path / "him.PNG"),
            "--pin-stdin",
            *how,
        ],
        input=f"{PIN}\n",
    )
    listed = run(main, ["clerk", "list", *how])
    short = run(main, ["clerk", "add", "021", "--pin-stdin", *how], input="12\n")
    strange = run(main, ["clerk", "add", "0/1", "--no-pin", *how])
    photo = (tmp_path / "photos" / "018.png").read_bytes()
    removed = run(main, ["clerk", "remove", "018", *how])
    again = run(main, ["clerk", "remove", "018", *how])

    assert (0, 0) == (added.exit_code, removed.exit_code)
    assert "张敏\t★★★★\t018.png\t可登录" in listed.output and PIN not in added.output + listed.output
    assert (b"png", []) == (photo, list((tmp_path / "photos").iterdir()))  # nobody's face stays behind
    assert "口令至少 4 位" in short.output and "工号用字母" in strange.output and "没有这个工号" in again.output


def test_hall_it_is_told_where_the_pages_are(tmp_path: Path) -> None:
    """With the address by which a tablet reaches this machine; only for windows that have our page."""
    file = tmp_path / "agent.toml"
    more = '[[windows]]\nid = "4"\ndevice = "PAGE-4"\nprofile = "page"\n'
    file.write_text(settings(door='[door]\ntoken = "t"') + more, "utf-8")
    told = CliRunner().invoke(main, ["pages", "--host", "10.1.2.3", "--config", str(file)]).output

    assert f"http://10.1.2.3:8610{Links('t').window('4')}" in told and "http://10.1.2.3:8610/clerk/" in told
    assert "/rate/w/3/" not in told


def test_a_sign_in_that_was_ended_is_remembered_as_long_as_it_would_have_held(clerks: Clerks, tmp_path: Path) -> None:
    """Also after a restart, and not as it was: whoever reads the file cannot sign in with it. Red if nothing is
    forgotten, or nothing written."""
    clerks.end("one", until_s=100, now_s=10)
    clerks.end("two", until_s=200, now_s=20)
    again = Clerks(tmp_path)
    both = again.has_ended("one"), again.has_ended("two")
    again.end("three", until_s=300, now_s=100)

    assert (True, True) == both
    assert [False, True, True, False] == [again.has_ended(each) for each in ("one", "two", "three", "four")]
    assert '"two"' not in (tmp_path / "seats.json").read_text("utf-8")


def test_the_memory_of_sign_ins_is_bounded(clerks: Clerks, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would end last is kept, and the newest whatever it is. Red without the bound."""
    monkeypatch.setattr("edge_agent.clerks._ENDED_MAX", 3)
    for number in range(5):
        clerks.end(str(number), until_s=100 + number, now_s=10)

    assert [False, False, True, True, True] == [clerks.has_ended(str(number)) for number in range(5)]
