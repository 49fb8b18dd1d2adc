"""The commands as hall IT staff meet them: real programs, a real pty, a simulated panel that no profile knows."""

import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent.cli import main
from protocols import profiles

from ..program import command, environment

DEADLINE_S = 90


def cli(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


class Program:
    """A program that is talked to line by line."""

    def __init__(self, arguments: list[str]):
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        self.output = ""

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())
        self.process.stdin.flush()

    def until(self, pattern: str, since: int = 0) -> re.Match[str]:
        """What it said that looks so; fails with all that it said."""
        assert self.process.stdout is not None
        end = time.monotonic() + DEADLINE_S
        while (found := re.compile(pattern).search(self.output, since)) is None:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = self.process.stdout.read1(4096) if ready else b""  # type: ignore[attr-defined]
            assert data, f"no {pattern!r} in:\n{self.output}"
            self.output += data.decode()
        return found


@contextmanager
def program(*arguments: object) -> Iterator[Program]:
    running = Program([str(each) for each in arguments])
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for pipe in (running.process.stdin, running.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def panel(link: Path, *arguments: object) -> Iterator[Program]:
    with program(sys.executable, "-m", "firmware_sim", "panel", "--link", link, *arguments) as running:
        running.until("面板 panel")
        yield running


@pytest.mark.slow
def test_an_unknown_panel_is_learnt_at_the_desk(tmp_path):
    """Each key three times, what it means, a profile that loads, and the lines for both settings files."""
    link, out = tmp_path / "panel0", tmp_path / "hall-3.toml"
    with (
        panel(link, "--shape", "4") as device,
        program(*command("learn", "--port", link, "--keys", 3, "--out", out, "--lang", "en")) as wizard,
    ):
        at = 0
        for _ in range(9):
            asked = wizard.until(r"\? press key (\d)", at)
            at = asked.end()
            device.type(asked[1])
        at = wizard.until(r"\? what stands on key 1.*\n", at).end()
        wizard.type("a")
        at = wizard.until(r"\? what stands on key 2.*\n", at).end()
        wizard.type("d too slow")
        at = wizard.until(r"\? what stands on key 3.*\n", at).end()
        wizard.type("")
        wizard.until("keys 3 are not confirmed")
        assert 0 == wizard.process.wait(10)

    learnt = profiles.read(out.read_bytes(), out.name)
    assert "learnt" == learnt.shape.evidence
    assert {"1": ("very_satisfied", ""), "2": ("dissatisfied", "too slow")} == {
        key: (meaning.level, meaning.reason) for key, meaning in learnt.shape.keys.items()
    }
    assert f'profile = "{out}"' in wizard.output
    assert 'keys = { 1 = "very_satisfied", 2 = "dissatisfied" }' in wizard.output
    told = cli("replay", tmp_path / "hall-3.recording.txt", "--profile", out, "--lang", "en").output
    assert 3 == len(re.findall(r"# key 2 press", told))
    assert 3 == len(re.findall(r"\bkey 2, \d+ ms ago|key 2 #\d+, \d+ ms ago", told))
