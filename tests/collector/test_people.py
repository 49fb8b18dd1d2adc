"""Who may sign in: passwords, lock-outs, sessions, and the log that cannot be changed unnoticed; in real files."""

from __future__ import annotations

import re
import sqlite3
import threading
import unicodedata
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner

from collector.cli import main
from collector.people import GIVEN_OUT_MS, People, Refused, Rules, SignedIn, locks, open_people, passwords
from collector.people.file import PeopleMismatch
from collector.people.roles import NotSo
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import unguard, window

WORD = "一个很长的口令2026"
MINUTE_MS = 60_000
HERE = "10.0.0.7"


@pytest.fixture
def opened(tmp_path: Path):
    """Opens people.db, as often as it is called: a restart, or a second program beside the first."""
    here: list[People] = []

    def open_file() -> People:
        here.append(open_people(tmp_path / "ledger.db", NOW_MS)[0])
        return here[-1]

    yield open_file
    for each in here:
        each.close()


@pytest.fixture
def people(opened) -> People:
    found = opened()
    for name, role in (("管理", "administrator"), ("李敏", "operator"), ("看板", "viewer")):
        found.add(name, role, WORD, "test", "", NOW_MS)
    return found


def token(people: People, name: str = "李敏", now_ms: int = NOW_MS) -> str:
    signed_in = people.sign_in(name, WORD, HERE, now_ms)
    assert isinstance(signed_in, SignedIn)
    return signed_in.token


def fails(people: People, times: int, name: str = "李敏", address: str = HERE, now_ms: int = NOW_MS) -> int | None:
    """Until when the last of so many is locked out."""
    found = [people.sign_in(name, "wrong wrong", address, now_ms) for _ in range(times)]
    assert isinstance(found[-1], Refused)
    return found[-1].until_ms


def actions(people: People, most: int = 99) -> list[str]:
    return [line.action for line in people.log.lines(most)]


# ---- lock-outs


def test_a_lock_out_grows_and_survives_a_restart(opened, people):
    """1, 2, 4, 8 and then 15 minutes; the right password does not help meanwhile. Red if it is kept in memory."""
    now_ms, waits = NOW_MS, []
    assert fails(people, 4) is None
    for _ in range(6):
        until_ms = fails(opened(), 1, now_ms=now_ms)
        assert until_ms == people.sign_in("李敏", WORD, HERE, until_ms - 1).until_ms
        waits.append((until_ms - now_ms) // MINUTE_MS)
        now_ms = until_ms
    assert [1, 2, 4, 8, 15, 15] == waits

    assert isinstance(people.sign_in("李敏", WORD, HERE, now_ms), SignedIn)
    assert fails(people, 4, now_ms=now_ms) is None


def test_an_address_that_tries_many_names_is_locked_out_too(people):
    """A whole hall may stand behind it, so later than a name."""
    assert [None] * 19 == [fails(people, 1, f"n{number}") for number in range(19)]
    until_ms = fails(people, 1, "n19")

    assert NOW_MS + MINUTE_MS == until_ms == people.sign_in("李敏", WORD, HERE, NOW_MS).until_ms
    assert isinstance(people.sign_in("李敏", WORD, "10.0.0.8", NOW_MS), SignedIn)


def test_nobody_is_told_which_names_there_are(people, monkeypatch):
    """An unknown name, a disabled person and a wrong password: the same answer, as many hashes, locked out alike."""
    hashed = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", lambda *given: hashed.append(given[1]) or verify(*given))
    people.set_disabled("看板", True, "test", "", NOW_MS)
    answers = {}
    for at, name in enumerate(("没有", "李敏", "看板")):
        hashed.clear()
        answers[name] = [people.sign_in(name, WORD + "x", f"10.0.0.{at}", NOW_MS) for _ in range(7)]
        assert 5 == len(hashed), name

    assert answers["没有"] == answers["李敏"] == answers["看板"]
    assert isinstance(people.sign_in("看板", WORD, "10.1.1.1", NOW_MS + 30 * MINUTE_MS), Refused)


def test_guesses_at_once_are_counted_one_by_one(people, monkeypatch):
    """Red if a failure is counted only after it was found to be one: all of them would be looked at."""
    looked = []
    monkeypatch.setattr(passwords, "matches", lambda *_: looked.append(1) and False)
    threads = [threading.Thread(target=fails, args=(people, 1)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 5 == len(looked)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda people: people.set_password("李敏", WORD + "2", "管理", HERE, NOW_MS),
        lambda people: people.set_disabled("李敏", True, "管理", HERE, NOW_MS),
    ],
    ids=["reset", "disabled"],
)
def test_who_signs_in_while_it_is_taken_away_is_not_signed_in(people, monkeypatch, meanwhile):
    """A password takes a moment to compare, and an administrator may end it within that. Red if whoever knows the old
    one, and tries again and again, keeps a session."""
    matches, done = passwords.matches, []

    def slowly(*given):
        found = matches(*given)
        if not done:
            done.append(meanwhile(people))
        return found

    monkeypatch.setattr(passwords, "matches", slowly)

    assert isinstance(people.sign_in("李敏", WORD, HERE, NOW_MS), Refused)
    assert 0 == people._file.row("SELECT count(*) FROM session")[0]


def test_an_own_new_password_does_not_undo_the_reset_that_came_meanwhile(people, monkeypatch):
    """Red if whoever knows the old one has the last word, and not the administrator."""
    hashed, given_out = passwords.hashed, WORD + "2"
    monkeypatch.setattr(passwords, "hashed", lambda word: reset() or hashed(word))

    def reset():
        monkeypatch.setattr(passwords, "hashed", hashed)
        people.set_password("李敏", given_out, "管理", HERE, NOW_MS)

    assert isinstance(people.change_password("李敏", WORD, WORD + "3", HERE, NOW_MS), Refused)
    assert isinstance(people.sign_in("李敏", given_out, HERE, NOW_MS), SignedIn)


def test_what_is_no_password_costs_no_more_than_one(people, monkeypatch):
    """Anybody may send half a megabyte of accents, and putting them in order would hold up the whole program for
    minutes. Red if all of it is looked at."""
    looked = []
    normalize = unicodedata.normalize
    monkeypatch.setattr(unicodedata, "normalize", lambda *given: looked.append(len(given[1])) or normalize(*given))
    piled = "a" + "\u0301" * 100_000 + "\u0323" * 100_000
    refused = people.sign_in("李敏", piled, HERE, NOW_MS)
    with pytest.raises(NotSo, match="至多 128"):
        people.set_password("李敏", piled, "test", "", NOW_MS)

    assert isinstance(refused, Refused)
    assert max(looked) < 1000


def test_a_longest_password_is_known_however_it_is_composed(people):
    """Red if accents that an input method writes by themselves are cut off with what is too long."""
    word = ("é一ê二" * 32)[:128]
    people.set_password("李敏", word, "test", "", NOW_MS)

    assert isinstance(people.sign_in("李敏", unicodedata.normalize("NFD", word), HERE, NOW_MS), SignedIn)
    assert isinstance(people.sign_in("李敏", word + "x", HERE, NOW_MS), Refused)


@pytest.mark.parametrize("name", [".", ".."])
def test_nobody_is_called_what_an_address_cannot_say(people, name):
    """A browser makes /role of /people/../role. Red if somebody is added whom no page can disable."""
    with pytest.raises(NotSo) as error:
        people.add(name, "viewer", WORD, "test", "", NOW_MS)

    assert "name" == error.value.field


def test_a_clock_that_was_wrong_locks_nobody_out_for_years(people):
    fails(people, 5, now_ms=NOW_MS + 10**12)

    assert isinstance(people.sign_in("李敏", WORD, HERE, NOW_MS), SignedIn)


def test_the_rows_of_failures_have_an_end(people, monkeypatch):
    """Whoever sends names without end fills nobody's disk."""
    monkeypatch.setattr(locks, "_ROWS_MAX", 10)
    monkeypatch.setattr(passwords, "matches", lambda *_: False)
    for number in range(30):
        people.sign_in(f"n{number}", "x", f"10.2.0.{number}", NOW_MS + number)

    assert 10 == people._file.row("SELECT count(*) FROM failure")[0]


# ---- what is kept


def test_no_password_stands_in_the_file_nor_what_was_typed_for_a_name(people, tmp_path):
    """Somebody types it there by mistake. Nor does a token: who reads the file signs in as nobody."""
    session = token(people)
    fails(people, 1, "MyPassword-in-the-wrong-box")
    people.set_password("李敏", "another-long-word", "李敏", HERE, NOW_MS)
    everything = b"".join(each.read_bytes() for each in tmp_path.glob("people.db*"))

    for secret in (WORD, "wrong wrong", "MyPassword-in-the-wrong-box", "another-long-word", session):
        assert secret.encode() not in everything
    assert 0 == (tmp_path / "people.db").stat().st_mode & 0o077


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "九个字的口令不够长",
        "LiMin-2026",
        "limin-2026limin-2026",
        "1234567890",
        "PASSWORD123",
        "aaaaaaaaaaaa",
        "x" * 129,
    ],
)
def test_a_password_that_is_none_is_refused(people, password):
    """Too short, the name, the name with digits, one of the most common, one letter, too long."""
    with pytest.raises(NotSo) as wrong:
        people.add("LiMin-2026", "operator", password, "test", "", NOW_MS)
    assert "password" == wrong.value.field


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 33, "<b>", "a/b", "李敏\n"[:0] + "\x00"])
def test_a_name_that_is_none_is_refused(people, name):
    with pytest.raises(NotSo) as wrong:
        people.add(name, "operator", WORD, "test", "", NOW_MS)
    assert "name" == wrong.value.field


def test_a_name_is_taken_however_it_is_written(people):
    people.add("LiMin", "operator", WORD, "test", "", NOW_MS)

    with pytest.raises(NotSo):
        people.add("limin", "viewer", WORD, "test", "", NOW_MS)
    assert isinstance(people.sign_in(" ＬｉＭｉｎ ", WORD, HERE, NOW_MS), SignedIn)


# ---- sessions


@pytest.mark.parametrize(
    "change",
    [
        lambda people: people.set_role("李敏", "auditor", "管理", HERE, NOW_MS),
        lambda people: people.set_password("李敏", "another-long-word", "管理", HERE, NOW_MS),
        lambda people: people.set_disabled("李敏", True, "管理", HERE, NOW_MS),
        lambda people: people.change_password("李敏", WORD, "another-long-word", HERE, NOW_MS),
    ],
    ids=["role", "reset", "disabled", "own"],
)
def test_every_session_of_a_person_ends_with_what_it_stood_on(people, change):
    """And nobody else's."""
    sessions, other = [token(people), token(people)], token(people, "看板")
    change(people)

    assert [None, None] == [people.session(each, True, NOW_MS) for each in sessions]
    assert "看板" == people.session(other, True, NOW_MS).name


def test_a_session_ends_when_nothing_is_done_and_in_the_evening(tmp_path):
    """What a page asks by itself is nothing done, but for a viewer: that is a board on a wall."""
    people, _ = open_people(tmp_path / "ledger.db", NOW_MS, Rules(30 * MINUTE_MS, 120 * MINUTE_MS))
    people.add("李敏", "operator", WORD, "test", "", NOW_MS)
    people.add("看板", "viewer", WORD, "test", "", NOW_MS)
    operator, idle, board = token(people), token(people), token(people, "看板")
    for minute in range(0, 120, 10):
        at_ms = NOW_MS + minute * MINUTE_MS
        assert people.session(operator, True, at_ms)
        assert people.session(board, False, at_ms)
        assert (people.session(idle, False, at_ms) is not None) == (minute < 30)
    last_ms = NOW_MS + 120 * MINUTE_MS

    assert [None, None] == [people.session(each, True, last_ms) for each in (operator, board)]
    people.close()


def test_a_session_survives_a_restart_and_ends_for_good(opened, people):
    session = token(people)
    assert opened().session(session, True, NOW_MS).name == "李敏"
    people.sign_out(session, HERE, NOW_MS)

    assert opened().session(session, True, NOW_MS) is None
    assert ["signed_out", "signed_in"] == actions(people, 2)


def test_a_password_that_was_given_out_serves_a_week(people):
    people.set_password("李敏", WORD, "管理", HERE, NOW_MS, once=True)

    assert people.session(token(people, now_ms=NOW_MS + GIVEN_OUT_MS - 1), True, NOW_MS + GIVEN_OUT_MS - 1).once
    assert isinstance(people.sign_in("李敏", WORD, HERE, NOW_MS + GIVEN_OUT_MS), Refused)


def test_there_is_always_an_administrator(people):
    """Red if the last one can be disabled, or made something else: nobody could ever let anybody in again."""
    for change in (
        lambda: people.set_disabled("管理", True, "管理", HERE, NOW_MS),
        lambda: people.set_role("管理", "viewer", "管理", HERE, NOW_MS),
    ):
        with pytest.raises(NotSo):
            change()
    people.set_role("李敏", "administrator", "管理", HERE, NOW_MS)
    people.set_disabled("管理", True, "李敏", HERE, NOW_MS)

    assert people.person("管理").disabled


# ---- the log


def altered(path: Path, statement: str) -> None:
    """What somebody who owns the file can do."""
    db = sqlite3.connect(path)
    unguard(db)
    db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE log SET who = '别人' WHERE n = 2", "第 2 行被改动"),
        ("UPDATE log SET at_ms = at_ms + 1 WHERE n = 3", "第 3 行被改动"),
        ("UPDATE log SET address = '' WHERE n = 5", "第 5 行被改动"),
        ("DELETE FROM log WHERE n = 2", "第 2–2 行缺失"),
        ("DELETE FROM log WHERE n = 1", "第 1–1 行缺失"),
        ("DELETE FROM log WHERE n > 4", "第 5–5 行被截去"),
        ("UPDATE log SET hash = 'x' WHERE n = 2", "第 2 行被改动"),
        ("UPDATE log SET hash = 'x' WHERE n = 5", "第 5 行被改动"),
        ("UPDATE log SET about = x'00' WHERE n = 2", "第 2 行被改动"),
    ],
)
def test_whatever_is_changed_in_the_log_is_named(people, tmp_path, statement, words):
    """By its line; the end, which nothing follows, by a head that was kept elsewhere."""
    token(people)
    fails(people, 1)
    whole = people.log.verify()
    assert ([], 5) == (whole.findings, whole.lines)
    altered(tmp_path / "people.db", statement)

    assert words in "\n".join(people.log.verify((5, whole.head)).findings)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET who = 'x' WHERE n = 1",
        "DELETE FROM log",
        "INSERT OR REPLACE INTO log SELECT n, at_ms, 'x', action, about, address, hash FROM log WHERE n = 1",
    ],
)
def test_no_statement_changes_the_log(people, tmp_path, statement):
    db = sqlite3.connect(tmp_path / "people.db")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    db.close()


def test_two_programs_write_one_chain(opened, people):
    """The command line beside a running collector. Red if a head is kept in memory."""
    other = opened()
    for number in range(10):
        (people, other)[number % 2].log.note("x", "signed_in", str(number), HERE, NOW_MS)

    assert [] == people.log.verify().findings


def test_a_damaged_file_is_set_aside_and_presses_go_on(tmp_path):
    """Nobody can sign in until somebody at the machine says who may; the old file is kept whole."""
    file = tmp_path / "people.db"
    file.write_bytes(b"no database at all" * 100)
    people, aside = open_people(tmp_path / "ledger.db", NOW_MS)

    assert people.empty()
    assert b"no database" in aside.read_bytes()
    assert ["file_set_aside"] == actions(people)
    people.close()


def test_what_cannot_be_had_is_named(tmp_path):
    """Another database, or a newer program's; not as if it were the ledger."""
    for statements in ("CREATE TABLE x(y)", "PRAGMA user_version = 99"):
        if "99" in statements:
            open_people(tmp_path / "ledger.db", NOW_MS)[0].close()
        db = sqlite3.connect(tmp_path / "people.db")
        db.executescript(statements)
        db.close()
        with pytest.raises(PeopleMismatch, match=r"people\.db"):
            open_people(tmp_path / "ledger.db", NOW_MS)
        (tmp_path / "people.db").unlink()


# ---- from the command line


@pytest.fixture
def command(tmp_path):
    (tmp_path / "directory.toml").write_text(window(), "utf-8")
    settings = '[broker]\nhost = "127.0.0.1"\npassword = "x"\n[web]\ntoken = "t"\n'
    (tmp_path / "collector.toml").write_text(settings, "utf-8")

    def run(*words: str, said: str = "") -> tuple[int, str]:
        done = CliRunner().invoke(main, [*words, "--config", str(tmp_path / "collector.toml")], input=said)
        return done.exit_code, done.output

    return run


def test_the_first_administrator_is_made_at_the_machine(command, opened):
    """Asked for twice, never shown; before that `check` says that nobody can sign in."""
    assert "还没有可以登录网页的人" in command("check")[1]
    code, output = command("people", "add", "管理", "--role", "administrator", said=f"{WORD}\n{WORD}\n")
    assert (0, True) == (code, WORD not in output)
    assert "还没有可以登录网页的人" not in command("check")[1]

    assert isinstance(opened().sign_in("管理", WORD, HERE, NOW_MS), SignedIn)


def test_a_weak_password_is_refused_before_it_is_typed_again(command, opened):
    """And what it must be is said before the first. Red if the second entry is asked for in vain."""
    said = f"short\n管理1234567890\n{WORD}\n{WORD[:-1]}\n{WORD}\n{WORD}\n"
    code, output = command("people", "add", "管理", "--role", "administrator", said=said)
    rule, short, named, differ, end = re.split("✗", output.replace("再输入一次", "✗再输入一次"), maxsplit=4)

    assert 0 == code
    assert "至少 10 个字符" in rule and "不能是用户名" in rule
    assert "至少 10 个字符" in short and "不能是用户名" in named
    assert differ.startswith("再输入一次") and "两次输入的密码不同" in end
    assert isinstance(opened().sign_in("管理", WORD, HERE, NOW_MS), SignedIn)


def test_everything_about_people_from_the_command_line(command, opened):
    """Each is written down, with who it was."""
    for name, role in (("管理", "administrator"), ("李敏", "viewer")):
        assert 0 == command("people", "add", name, "--role", role, "--password-stdin", said=WORD)[0]
    assert 2 == command("people", "add", "短", "--role", "viewer", "--password-stdin", said="short")[0]
    assert "至少 10 个字符" in command("people", "add", "短", "--role", "viewer", "--password-stdin", said="short")[1]
    assert 0 == command("people", "role", "李敏", "operator")[0]
    assert 0 == command("people", "password", "李敏", said="another-long-word\nanother-long-word\n")[0]
    assert 0 == command("people", "disable", "李敏")[0]
    assert "李敏  处理人员 / operator  最近登录 last signed in –  已停用" in command("people", "list")[1]
    assert 0 == command("people", "disable", "李敏", "--undo")[0]
    assert 2 == command("people", "disable", "管理")[0]
    assert 2 == command("people", "role", "没有", "viewer")[0]

    said = ["person_enabled", "person_disabled", "password_reset", "role_changed", "person_added", "person_added"]
    assert said == actions(opened())
    assert "李敏 viewer → operator" in command("people", "log")[1]


def test_verify_names_the_line_and_ends_with_1(command, tmp_path):
    command("people", "add", "管理", "--role", "administrator", "--password-stdin", said=WORD)
    code, output = command("people", "verify")
    head = output.split("head ")[1].split("\n")[0]
    assert (0, 0) == (code, command("people", "verify", "--head", head)[0])
    assert 2 == command("people", "verify", "--head", "x")[0]
    altered(tmp_path / "people.db", "UPDATE log SET about = 'x'")

    assert (1, True) == ((found := command("people", "verify"))[0], "✗ 第 1 行被改动" in found[1])
