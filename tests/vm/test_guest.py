"""What every other test here relies on: that the guest does what it is asked, and says all of what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .guest_machine import Guest

pytestmark = pytest.mark.vm


def test_a_long_answer_comes_whole(guest: Guest) -> None:
    """Longer than what the driver of the channel takes at a time."""
    done = guest.python("print('x' * 300_000)")

    assert (0, 300_001) == (done.returncode, len(done.stdout))


def test_the_hosts_files_cannot_be_written(guest: Guest) -> None:
    """What the guest writes stays in its memory."""
    here = Path(__file__)
    code = "import pathlib, sys; here = pathlib.Path(sys.argv[1]); here.write_text('#'); print(here.read_text())"
    done = guest.python(code, here)

    assert "#\n" == done.stdout
    assert "#" != here.read_text("utf-8")
