"""Signed checkpoints: made by the collector, checked by openssl alone, and held against the ledger later."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import random
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner, Result

from collector import checkpoint as signing
from collector import cli
from collector.checkpoint import BadKey, Daily, Forged
from collector.cli import evidence
from collector.ledger import checkpoint_text, checkpoints
from collector.ledger.checkpoint_text import BadCheckpoint
from protocols import chain
from protocols.ratings import Accepted
from tests.brokers import ROOT
from tests.collector.agents import NOW_MS, Agent, rated
from tests.collector.ledgers import Ledger, directory_of, window
from tests.collector.provinces import eventually
from tests.collector.test_cli import WEB, running, summary

EVIDENCE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
DAY_MS = 86_400_000
NO_LINES = checkpoints.End(0, chain.PEOPLE.hex())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Settings, a directory, a ledger of two ratings, and a key."""
    (tmp_path / "directory.toml").write_text(window("agent-a"), "utf-8")
    (tmp_path / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "x"\n[checkpoint]\n', "utf-8")
    with_ratings(tmp_path, 1, 2)
    assert 0 == said(tmp_path, "--new-key", str(tmp_path / "checkpoint.key")).exit_code
    return tmp_path


def with_ratings(folder: Path, *numbers: int) -> None:
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    ledger.rate(*numbers, name="agent-a")
    due = ledger.delivery.next(NOW_MS, ())
    ledger.delivery.end(due, "rating", ledger.delivery.begin(due, "rating", NOW_MS), Accepted(), NOW_MS)
    ledger.store.close()


def said(folder: Path, *words: str, command: str = "checkpoint") -> Result:
    """What the command says, and its exit code; a traceback fails the test."""
    result = CliRunner().invoke(cli.main, [command, *words, "--config", str(folder / "collector.toml")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def written(folder: Path) -> Path:
    """A checkpoint of now."""
    before = set((folder / "checkpoints").glob("*"))
    result = said(folder)
    assert 0 == result.exit_code, result.output
    (new,) = set((folder / "checkpoints").glob("*.checkpoint")) - before
    return new


def verified(folder: Path, *files: Path, key: str = "checkpoint.key.pub") -> Result:
    given = [word for file in files for word in ("--checkpoint", str(file))]
    return said(folder, *given, "--public-key", str(folder / key), command="verify")


# ---- the text


def some(seed: int) -> checkpoints.Checkpoint:
    chance = random.Random(seed)
    number = lambda: chance.choice([0, 1, 9, chance.randrange(10**12)])  # noqa: E731
    return checkpoints.Checkpoint(
        ledger=f"{chance.getrandbits(128):032x}",
        stretch=number(),
        head=f"{chance.getrandbits(256):064x}",
        at_ms=chance.randrange(2 * 10**12),
        epochs=number(),
        records=number(),
        gaps=number(),
        presses=number(),
        ratings=number(),
        levels=tuple(number() for _ in range(5)),
        states=tuple(number() for _ in range(4)),
        ends=checkpoints.Ends(*(checkpoints.End(number(), f"{chance.getrandbits(256):064x}") for _ in range(4)))
        if seed % 3
        else None,
    )


@pytest.fixture(scope="module")
def signer(tmp_path_factory) -> signing.Signer:
    return signing.new_key(tmp_path_factory.mktemp("key") / "k")


@pytest.mark.parametrize("seed", range(20))
def test_a_checkpoint_comes_out_of_its_text_as_it_went_in(signer, seed):
    """Alone, and behind another one in the same file."""
    one, other = some(seed), some(seed + 100)

    assert [one] == signing.read(signer.signed(one), signer.public)
    assert [one, other] == signing.read(signer.signed(one) + signer.signed(other), signer.public)


@pytest.mark.parametrize("seed", range(30))
def test_no_byte_of_it_can_be_changed(signer, seed):
    """Changed, removed, inserted: forged or no checkpoint, never taken. Red if the signature is not looked at."""
    chance = random.Random(seed)
    raw = signer.signed(some(seed))
    for _ in range(100):
        at = chance.randrange(len(raw))
        other = bytes([raw[at] ^ (1 << chance.randrange(8))])
        spoiled = raw[:at] + chance.choice([other, b"", other + raw[at : at + 1]]) + raw[at + 1 :]
        with pytest.raises((BadCheckpoint, Forged)):
            signing.read(spoiled, signer.public)


def test_a_number_that_was_made_another_is_forged(signer):
    """A checkpoint in every respect, but not what was signed. Red if the signature is not looked at."""
    checkpoint = some(3)
    raw = signer.signed(checkpoint)
    better = checkpoint_text.text(dataclasses.replace(checkpoint, records=checkpoint.records + 1), signer.name)

    with pytest.raises(Forged, match="签名不符"):
        signing.read(better + raw[raw.index(b"signature: ") :], signer.public)


BROKEN = {
    "empty": (b"", "empty"),
    "blanks": (b"\n \n", "empty"),
    "binary": (bytes(range(256)) * 3, "editor"),
    "no UTF-8": (b"\xff\xfe\x00\n\nsignature: x\n", "UTF-8"),
    "another text": (b"hello\n", "signature"),
    "another text, signed": (b"hello\nsignature: eA==\n", "first line"),
    "JSON": (b'{"agent": "hall", "day": "2026-11-24"}\n', "signature"),
    "a key": (b"-----BEGIN PUBLIC KEY-----\nMCo=\n-----END PUBLIC KEY-----\n", "signature"),
    "cut in a line": (lambda raw: raw[:300], "cut short"),
    "cut at the end": (lambda raw: raw[:-1], "cut short"),
    "no signature": (lambda raw: raw[: raw.index(b"signature")], "signature"),
    "Windows line ends": (lambda raw: raw.replace(b"\n", b"\r\n"), "original"),
    "a mark before it": (lambda raw: b"\xef\xbb\xbf" + raw, "original"),
    "a line less": (lambda raw: re.sub(rb"[^\n]*records[^\n]*\n", b"", raw), "line is missing"),
    "a line more": (lambda raw: raw.replace("记录".encode(), "备注 note: x\n记录".encode()), "line is missing"),
    "lines in another order": (lambda raw: b"".join(sorted(raw.splitlines(True))), "first line|signature|cut"),
    "a number with a zero": (lambda raw: raw.replace(b"epochs: ", b"epochs: 0"), "line is missing"),
    "a negative number": (lambda raw: raw.replace(b"epochs: ", b"epochs: -"), "line is missing"),
    "another time": (lambda raw: raw.replace(b"at_ms: 1", b"at_ms: 2"), "differ"),
    "a year that no calendar has": (lambda raw: re.sub(rb"at_ms: \d+", b"at_ms: 9" + b"0" * 18, raw), "differ"),
    "a newer format": (lambda raw: raw.replace(b"checkpoint 2", b"checkpoint 3"), "newer program"),
    "no base64": (lambda raw: raw.replace(b"signature: ", b"signature: *"), "base64"),
    "something behind it": (lambda raw: raw + b"and more\n", "signature"),
    "a blank line behind it": (lambda raw: raw + b"\n", "signature"),
    "too long": (b"x" * (8 * 1024 * 1024 + 1), "too long"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_named_with_what_to_do(folder, what):
    """What, where, what was expected: exit code 2, as nothing was found out; no traceback."""
    good = written(folder)
    spoil, words = BROKEN[what]
    raw = good.read_bytes().replace(b"\xe6\xaf\xab\xe7\xa7\x92 at_ms: 1", "毫秒 at_ms: 1".encode())
    broken = folder / "broken.checkpoint"
    broken.write_bytes(spoil(raw) if callable(spoil) else spoil)
    result = verified(folder, good, broken)

    assert 2 == result.exit_code, result.output
    assert re.search(words, result.output), result.output
    assert "broken.checkpoint" in result.output
    assert " / " in result.output


def test_files_and_keys_that_are_not_there_are_named(folder):
    """A missing file, an empty folder, no key, a private key, a key of another kind, another key."""
    good = written(folder)
    (folder / "empty").mkdir()
    (folder / "text.pub").write_text("no key")
    for name, kind in (("rsa", ["RSA"]), ("ec", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"])):
        openssl(folder, "genpkey", "-algorithm", *kind, "-out", f"{name}.key")
        openssl(folder, "pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")
    signing.new_key(folder / "other.key")

    assert (2, True) == outcome(verified(folder, folder / "nothing.checkpoint"), "nothing.checkpoint: 读不了")
    assert (2, True) == outcome(verified(folder, folder / "empty"), "no such file")
    assert (2, True) == outcome(said(folder, "--checkpoint", str(good), command="verify"), "needs --public-key")
    assert (2, True) == outcome(verified(folder, good, key="nothing.pub"), "nothing.pub: 读不了")
    assert (2, True) == outcome(verified(folder, good, key="text.pub"), "no public key in PEM")
    assert (2, True) == outcome(verified(folder, good, key="checkpoint.key"), "the private key")
    assert (2, True) == outcome(verified(folder, good, key="rsa.pub"), "no Ed25519")
    assert (2, True) == outcome(verified(folder, good, key="ec.pub"), "no Ed25519")
    assert (2, True) == outcome(verified(folder, good, key="other.key.pub"), "signed by another key")


def outcome(result: Result, words: str) -> tuple[int, bool]:
    return result.exit_code, words in result.output


# ---- openssl alone


def openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True, timeout=60).stdout


def commands() -> list[str]:
    """The commands of docs/evidence.md for an auditor who has neither our program nor our word."""
    (block,) = re.findall(r"```sh\n(sed '\$d' .*?)```", EVIDENCE, flags=re.DOTALL)
    return block.splitlines()


def shell(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", "-ec", "\n".join(commands())], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


def test_openssl_alone_checks_a_checkpoint(folder, tmp_path):
    """The very commands of the page for auditors: right as it is, wrong after one digit was changed."""
    desk = tmp_path / "desk"
    desk.mkdir()
    shutil.copy(written(folder), desk / "2026-11-24.checkpoint")
    shutil.copy(folder / "checkpoint.key.pub", desk / "checkpoint.key.pub")
    right = shell(desk)
    raw = (desk / "2026-11-24.checkpoint").read_text("utf-8")
    (desk / "2026-11-24.checkpoint").write_text(raw.replace("records: 4", "records: 5"), "utf-8")
    wrong = shell(desk)

    assert (0, True) == (right.returncode, "Signature Verified Successfully" in right.stdout), right
    assert (1, True) == (wrong.returncode, "Signature Verification Failure" in wrong.stdout), wrong
    # The last command shows which key it is, as the checkpoint names it.
    assert re.search(r"公钥 key: ([0-9a-f]{64})", raw)[1] in right.stdout


def test_a_key_made_by_openssl_signs_too(folder):
    """Whoever has a key already keeps it."""
    openssl(folder, "genpkey", "-algorithm", "ed25519", "-out", "own.key")
    openssl(folder, "pkey", "-in", "own.key", "-pubout", "-out", "own.pub")
    assert 0 == said(folder, "--key", str(folder / "own.key")).exit_code

    assert (folder / "own.pub").read_text() == said(folder, "--key", str(folder / "own.key"), "--show-key").output
    assert 0 == verified(folder, folder / "checkpoints", key="own.pub").exit_code


# ---- keys


def test_a_new_key_is_for_its_owner_alone_and_never_overwrites_one(folder):
    key = folder / "checkpoint.key"
    before = key.read_bytes()
    os.umask(before_umask := os.umask(0))
    result = said(folder, "--new-key", str(key))
    fresh = said(folder, "--new-key", str(folder / "fresh.key"))
    os.umask(before_umask)

    assert (2, before) == (result.exit_code, key.read_bytes())
    assert 0o600 == stat.S_IMODE((folder / "fresh.key").stat().st_mode)
    assert "审计人员" in fresh.output
    assert signing.key_name(signing.read_public(folder / "fresh.key.pub")) in fresh.output
    assert "PRIVATE" not in fresh.output


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: (folder / "k").write_text("no key"), "no private key in PEM"),
        (lambda folder: openssl(folder, "genpkey", "-algorithm", "RSA", "-out", "k"), "no Ed25519"),
        (
            lambda folder: openssl(
                folder, "genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", "k"
            ),
            "password",
        ),
        (lambda folder: shutil.copy(folder / "checkpoint.key.pub", folder / "k"), "no private key in PEM"),
        (lambda folder: (folder / "k").mkdir(), "读不了"),
        (lambda folder: None, "No such file or directory; 请恢复, 或另做 / restore it, or make one with"),
    ],
)
def test_a_key_that_cannot_sign_is_named(folder, make, words):
    make(folder)

    assert (2, True) == outcome(said(folder, "--key", str(folder / "k")), words)
    with pytest.raises(BadKey):
        signing.read_key(folder / "k")


def test_check_says_what_is_wrong_with_the_key(folder):
    """Missing, and readable by others."""
    assert 0 == said(folder, command="check").exit_code
    (folder / "checkpoint.key").chmod(0o644)
    assert (2, True) == outcome(said(folder, command="check"), "chmod 600")
    (folder / "checkpoint.key").unlink()
    assert (2, True) == outcome(said(folder, command="check"), "checkpoint.key_file")


def test_without_a_key_it_is_said_how_to_make_one(folder):
    (folder / "collector.toml").write_text('[broker]\nhost = "127.0.0.1"\npassword = "x"\n', "utf-8")

    assert (2, True) == outcome(said(folder), "--new-key checkpoint.key")


# ---- held against the ledger


def test_a_ledger_that_went_on_still_holds_its_checkpoints(folder):
    """Of an empty ledger, of today, of tomorrow; a folder of them, and all in one file."""
    shutil.move(folder / "ledger.db", folder / "full.db")
    Ledger(folder / "ledger.db", directory_of(window("agent-a"))).store.close()
    written(folder)
    with_ratings(folder, 1, 2)
    written(folder)
    with_ratings(folder, 3)
    written(folder)
    with_ratings(folder, 4)
    result = verified(folder, folder / "checkpoints")
    together = folder / "all"
    together.write_bytes(b"".join(file.read_bytes() for file in sorted((folder / "checkpoints").iterdir())))

    assert (0, True) == outcome(result, "3 个检查点"), result.output
    assert (0, True) == outcome(verified(folder, together), "3 个检查点")


def test_it_says_what_the_ledger_stands_for(folder):
    (checkpoint,) = signing.read(written(folder).read_bytes(), signing.read_public(folder / "checkpoint.key.pub"))

    assert (1, 4, 2, 2, (2, 0, 0, 0, 0), (1, 0, 0, 1)) == (
        checkpoint.epochs,
        checkpoint.records,
        checkpoint.presses,
        checkpoint.ratings,
        checkpoint.levels,
        checkpoint.states,
    )


def test_a_forged_checkpoint_is_a_finding(folder):
    """Exit code 1: somebody has changed evidence."""
    file = written(folder)
    file.write_text(file.read_text("utf-8").replace("records: 4", "records: 5"), "utf-8")

    assert (1, True) == outcome(verified(folder, file), "签名不符")


def test_numbers_that_were_other_ones_are_found(folder):
    """Signed, of this very stretch, and still not so. Red if the counts are not compared."""
    signer = signing.read_key(folder / "checkpoint.key")
    (true,) = signing.read(written(folder).read_bytes(), signer.public)
    accepted = (true.states[0], 0, 0, true.states[3] + 1)
    for change, words in (
        ({"epochs": 9}, "epochs: 当时 then 9"),
        ({"records": 5}, "records: 当时 then 5, 现为 now 4"),
        ({"gaps": 1}, "gaps"),
        ({"presses": 3}, "presses: 当时 then 3, 现为 now 2"),
        ({"ratings": 3}, "ratings: 当时 then 3, 现为 now 2"),
        ({"levels": (1, 1, 0, 0, 0)}, "满意 satisfied: 当时 then 1, 现为 now 0"),
        ({"states": accepted}, "accepted"),
    ):
        (folder / "x.checkpoint").write_bytes(signer.signed(dataclasses.replace(true, **change)))

        assert (1, True) == outcome(verified(folder, folder / "x.checkpoint"), words), change


def test_an_older_backup_is_found(folder):
    """The ledger as it was before the checkpoint. Red if a stretch that is not there is passed over."""
    shutil.copy(folder / "ledger.db", folder / "backup.db")
    with_ratings(folder, 3)
    file = written(folder)
    assert 0 == verified(folder, file).exit_code
    for each in folder.glob("ledger.db*"):
        each.unlink()
    shutil.copy(folder / "backup.db", folder / "ledger.db")

    assert (1, True) == outcome(verified(folder, file), "账本只到第 1 段, 当时已有第 2 段")


def test_another_ledger_is_told_from_this_one(folder):
    file = written(folder)
    for each in folder.glob("ledger.db*"):
        each.unlink()
    with_ratings(folder, 1, 2)

    assert (1, True) == outcome(verified(folder, file), "属于另一账本")


# ---- every day


def test_there_is_one_a_day(folder):
    """Whatever the time of day; none is written twice, also by a second collector of the same ledger."""
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    now = [NOW_MS // DAY_MS * DAY_MS + 5]
    both = [Daily(ledger.store, folder / "checkpoint.key", folder / "daily", lambda: now[0]) for _ in range(2)]
    for _ in range(3):
        for _ in range(4):
            for daily in both:
                daily.look()
            now[0] += DAY_MS // 4
    names = sorted(file.name for file in (folder / "daily").iterdir())
    ledger.store.close()

    assert ["2027-01-15.checkpoint", "2027-01-16.checkpoint", "2027-01-17.checkpoint"] == names
    assert 0 == verified(folder, folder / "daily").exit_code


def test_what_hinders_it_is_said_and_hinders_nothing_else(folder, caplog):
    """No key, no folder; said once, and forgotten as soon as it works."""
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    (folder / "daily").write_text("a file stands where the folder should be")
    shutil.move(folder / "checkpoint.key", folder / "away")
    daily = Daily(ledger.store, folder / "checkpoint.key", folder / "daily", lambda: NOW_MS)
    daily.look()
    daily.look()
    assert "checkpoint.key" in daily.state()["trouble"]
    assert 1 == len(caplog.records)
    shutil.move(folder / "away", folder / "checkpoint.key")
    daily.look()
    assert "daily" in daily.state()["trouble"]
    (folder / "daily").unlink()
    daily.look()
    ledger.store.close()

    assert {"at_ms": NOW_MS, "stretch": 1, "trouble": ""} == daily.state()


def test_it_is_of_one_moment_and_holds_up_nobody(folder):
    """While batches come in: each checkpoint's numbers belong together. Red without the read transaction."""
    ledger = Ledger(folder / "ledger.db", directory_of(window("agent-a")))
    agent = Agent("agent-a")
    done = threading.Event()

    def write() -> None:
        number = 100
        while not done.is_set():
            number += 1
            ledger.take(agent, agent.write(*rated(number)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [checkpoints.taken(ledger.store, NO_LINES, NOW_MS)]
        while len({each.stretch for each in found}) < 20:
            found.append(checkpoints.taken(ledger.store, NO_LINES, NOW_MS))
    finally:
        done.set()
        writer.join()
    ledger.store.close()

    assert [] == [each for each in found if (each.records, each.ratings) != (2 * each.presses, each.presses)]
    assert [[]] * len(found) == checkpoints.compared(folder / "ledger.db", found, lambda line: NO_LINES)


def test_a_ledger_of_before_has_no_name_and_says_so(folder):
    """A checkpoint is of the ledger that has its name."""
    file = written(folder)
    db = sqlite3.connect(folder / "ledger.db")
    db.execute("DROP TABLE identity")
    db.commit()
    db.close()

    assert (1, True) == outcome(verified(folder, file), "账本编号被改")


def board_of(folder: Path, port: int) -> str:
    """The board, as somebody sees it who was just given a password and has signed in."""
    password = "一个很长的口令2026"
    add = ["people", "add", "NAME", "--role", "viewer", "--password-stdin", "--config", str(folder / "collector.toml")]
    assert 0 == CliRunner().invoke(cli.main, add, input=password + "\n").exit_code
    board = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    form = urlencode({"name": "NAME", "password": password})
    board.request("POST", "/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = board.getresponse()
    answer.read()
    board.request("GET", "/board", headers={"Cookie": answer.getheader("Set-Cookie").partition(";")[0]})
    page = board.getresponse().read().decode()
    board.close()
    return page


def test_the_running_collector_writes_one_by_itself_and_shows_what_hinders_it(folder):
    """Without broker or province, at its start; then without a key, and it runs all the same. Red if a key that cannot
    be read ended it."""
    settings = folder / "collector.toml"
    settings.write_text(
        settings.read_text("utf-8").replace('password = "x"', 'password = "x"\nport = 1') + WEB, "utf-8"
    )
    with running(folder) as process:
        eventually(lambda: list((folder / "checkpoints").glob("*.checkpoint")))
        assert process.poll() is None
    assert 0 == verified(folder, folder / "checkpoints").exit_code
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoint.key").unlink()
    (folder / "web.port").unlink(missing_ok=True)
    with running(folder) as process:
        eventually((folder / "web.port").exists)
        port = int((folder / "web.port").read_text())
        eventually(lambda: "checkpoint.key" in summary(port)["checkpoint"]["trouble"])
        page = board_of(folder, port)

        assert process.poll() is None
    assert "今天的检查点没有写成" in page
    assert "将继续尝试" in process.said()


def test_any_number_of_processes_says_the_same(folder):
    """`--processes 2` as without."""
    file = written(folder)
    one, two = (
        said(folder, "--json", "--checkpoint", str(file), "--public-key", str(folder / "checkpoint.key.pub"), *words,
             command="verify")
        for words in ((), ("--processes", "2"))
    )  # fmt: skip
    shown = [
        {name: value for name, value in json.loads(each.output).items() if name != "seconds"} for each in (one, two)
    ]

    assert (0, 0) == (one.exit_code, two.exit_code)
    assert shown[0] == shown[1]
    assert 1 == shown[0]["checkpoints"]


def test_a_terminal_is_shown_how_long_it_may_still_take(monkeypatch, capsys):
    """A quarter done in ten seconds leaves thirty; nothing where nobody looks."""
    clock = iter([0.0, 10.0, 10.1, 20.0])
    monkeypatch.setattr(evidence.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = evidence._Progress()
    for done in (25, 26, 50):
        progress.shown(done, 100)
    progress.end()
    shown = capsys.readouterr().err

    assert "25 %" in shown
    assert "about 30 s left" in shown
    assert "26 %" not in shown
    assert "about 20 s left" in shown
