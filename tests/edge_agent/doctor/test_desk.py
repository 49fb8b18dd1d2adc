"""The commands as hall IT staff meet them: real programs, a real pty, a simulated panel that no profile knows."""

import re
import select
import signal
import subprocess
import sys
import time
import tomllib
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

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def program(*arguments: object) -> Iterator[Program]:
    running = Program([str(each) for each in arguments])
    try:
        yield running
    finally:
        running.end()


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
        wizard.until(r"key 2: dissatisfied too slow\n")
        wizard.until(r"\? right\?")
        wizard.type("y")
        wizard.until("keys 3 are not confirmed")
        wizard.until("in the first 0.5 s of an invitation is kept, but not rated")
        assert 0 == wizard.process.wait(10)

    learnt = profiles.read(out.read_bytes(), out.name)
    assert "learnt" == learnt.shape.evidence
    assert {"1": ("very_satisfied", ""), "2": ("dissatisfied", "too slow")} == {
        key: (meaning.level, meaning.reason) for key, meaning in learnt.shape.keys.items()
    }
    assert f'profile = "{out.name}"' in wizard.output
    line = re.search(r"keys = (\{.*\})", wizard.output)
    assert line is not None
    expected = {"1": "very_satisfied", "2": {"level": "dissatisfied", "reason": "too slow"}}
    assert expected == tomllib.loads(line[0])["keys"]
    assert "restart the collector" in wizard.output
    told = cli("replay", tmp_path / "hall-3.recording.txt", "--profile", out, "--lang", "en").output
    assert 3 == len(re.findall(r"# key 2 press", told))
    assert 3 == len(re.findall(r"\bkey 2, [\d.]+ s ago|key 2 #\d+, [\d.]+ s ago", told))


@pytest.mark.parametrize("out", ["nowhere/x.toml", "file/x.toml"])
def test_what_cannot_be_written_is_said_before_the_first_press(tmp_path, out):
    """In words and at once: no dialogue, no traceback, no press lost."""
    (tmp_path / "file").write_text("")
    result = cli("learn", "--port", tmp_path / "panel0", "--out", tmp_path / out)

    assert 2 == result.exit_code
    assert "cannot be written" in result.stderr
    assert "please leave" not in result.output


def test_a_pulled_cable_is_waited_for_and_ctrl_c_keeps_the_recording(tmp_path):
    """The cable goes and comes back while it listens: told in plain words, and it goes on."""
    link, out = tmp_path / "panel0", tmp_path / "x.toml"
    (tmp_path / "x.recording.txt").write_text("of an earlier try")
    with panel(link, "--shape", "4"):
        wizard = Program(command("learn", "--port", link, "--out", out, "--lang", "en"))
        wizard.until("please leave")
    try:
        at = wizard.until("the cable is out, please put it back").end()
        with panel(link, "--shape", "4") as device:
            wizard.until("please leave", wizard.until("the cable is back", at).end())
            wizard.until("press key 1 briefly")
            device.type("1")
            wizard.until("    < ")
            wizard.process.send_signal(signal.SIGINT)
            wizard.until("cancelled, no profile was written")
            wizard.until(r"the recording is in .*x\.recording-2\.txt")
            assert 130 == wizard.process.wait(10)
    finally:
        wizard.end()

    assert "rror" not in wizard.output
    assert "# idle" in (tmp_path / "x.recording-2.txt").read_text()
    assert "of an earlier try" == (tmp_path / "x.recording.txt").read_text()


@pytest.mark.parametrize(("port", "profile"), [("hid:04d9:1203", "hid-keypad"), ("udp://10.0.0.5:5000", "sundyn-udp")])
@pytest.mark.parametrize("what", ["learn", "monitor"])
def test_what_has_no_line_is_not_learnt(tmp_path, what, port, profile):
    """It says which profile reads it instead."""
    out = ["--out", tmp_path / "x.toml"] if what == "learn" else []
    result = cli(what, "--port", port, *out)

    assert 2 == result.exit_code
    assert f'profile = "{profile}"' in result.stderr


def test_a_silent_line_is_told_at_the_end(tmp_path):
    """With what to try."""
    link = tmp_path / "panel0"
    with panel(link, "--shape", "4"):
        result = cli("monitor", "--port", link, "--seconds", 0.3, "--lang", "en")

    assert "nothing was heard" in result.output
    assert "19200" in result.output
