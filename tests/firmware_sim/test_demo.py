"""The demo itself: its figures, and that it can say no."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_sim.demo import Demo

KEYS = ["pressed", "kept", "received", "accepted", "parked", "waiting"]
KEYS += ["lost", "doubled", "invented", "altered", "seconds"]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A short demo that kept its files, and its figures."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    figures = folder.parent / "out.json"
    command = [sys.executable, "-m", "firmware_sim", "demo", "--seconds", "6", "--keep", folder, "--json", figures]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    return folder, json.loads(figures.read_text())


def test_its_figures_have_exactly_the_agreed_keys(played):
    """And every press came through."""
    figures = played[1]

    assert KEYS == list(figures)
    assert figures["pressed"] > 0
    assert figures["pressed"] == figures["kept"] == figures["received"]
    assert [0, 0, 0, 0] == [figures[key] for key in ("lost", "doubled", "invented", "altered")]


def test_nobodys_details_lie_about_in_what_it_leaves(played):
    """Every byte of every file but the province's own journal: ledger, outboxes, their logs, what each program said.
    Red if details are kept as they came, or a program tells its log whose case it is."""
    folder, _ = played
    rows = [json.loads(line) for line in (folder / "province.jsonl").read_text("utf-8").splitlines()]
    details = {row[name] for row in rows if row["kind"] == "case" for name in ("userName", "certkeyGOV", "mobile")}
    files = [each for each in folder.rglob("*") if each.is_file() and each.name != "province.jsonl"]

    assert len(details) > 10
    assert any(each.name == "ledger.db" for each in files)
    found = {(each.name, value) for each in files for value in details if value.encode() in each.read_bytes()}
    assert set() == found


def judged(folder: Path) -> list[str]:
    """The mistakes that the demo finds in these files."""
    return Demo(folder, 6, False, 7, "amqtt").figures(0)[1]


def rewritten(path: Path, change) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))


@pytest.fixture
def copy(played, tmp_path: Path) -> Path:
    """The files of the run, to be tampered with."""
    folder = tmp_path / "run"
    subprocess.run(["cp", "-a", played[0], folder], check=True)
    return folder


def last_rating(lines: list[str]) -> int:
    return max(at for at, line in enumerate(lines) if json.loads(line)["kind"] == "rating")


def test_a_rating_that_the_province_lost_is_seen(copy):
    """Thanked, accepted as far as we know, and not in the province's own journal."""

    def lose(lines: list[str]) -> list[str]:
        del lines[last_rating(lines)]
        return lines

    rewritten(copy / "province.jsonl", lose)

    assert ["lost"] == [mistake.split(":")[0] for mistake in judged(copy)]


def test_a_rating_twice_at_the_province_is_seen(copy):
    """Doubled."""
    rewritten(copy / "province.jsonl", lambda lines: [*lines, lines[last_rating(lines)]])

    assert ["doubled"] == [mistake.split(":")[0] for mistake in judged(copy)]


def test_another_level_at_the_province_is_seen(copy):
    """Altered."""

    def alter(lines: list[str]) -> list[str]:
        row = json.loads(lines[last_rating(lines)])
        row["satisfaction"] = str(int(row["satisfaction"]) % 5 + 1)
        lines[last_rating(lines)] = json.dumps(row) + "\n"
        return lines

    rewritten(copy / "province.jsonl", alter)

    assert ["altered"] == [mistake.split(":")[0] for mistake in judged(copy)]


def test_a_rating_that_nobody_pressed_is_seen(copy):
    """Invented."""

    def invent(lines: list[str]) -> list[str]:
        row = json.loads(lines[last_rating(lines)])
        row["projectNo"] += "X"
        return [*lines, json.dumps(row) + "\n"]

    rewritten(copy / "province.jsonl", invent)

    assert ["invented"] == [mistake.split(":")[0] for mistake in judged(copy)]


def test_a_thanked_press_that_is_not_in_the_ledger_is_seen(copy):
    """Even one that is no rating."""
    db = sqlite3.connect(copy / "ledger.db")
    db.execute("DROP TRIGGER press_never_goes")
    db.execute("DELETE FROM press WHERE id = 1")
    db.commit()
    db.close()

    assert any(mistake.startswith("lost") for mistake in judged(copy))
