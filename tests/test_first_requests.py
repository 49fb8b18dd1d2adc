"""What comes first, comes on several threads at once: a business system with a morning's cases, four windows' screens.

msgspec 0.22 works a type out when it first decodes it, in Python code, in which another thread may take its turn; if
that one meets the same type, the process ends by a segmentation fault. So no type may be new when the threads start.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CASE = '{"case_no": "C1", "service_number": 1}'
ASK = '{"window": "1", "case_no": "C1", "seconds": 30}'
PRESSED = '{"device": "D1", "boot": 1, "count": 1, "button": 1, "invitation": ""}'
LINK = '{"who": "a", "why": "b", "case_no": "C1"}'
GIVEN = '{"id": "1", "level": "satisfied", "channel": "web", "case_no": "C1", "given_ms": 1795420800000}'
WATCHED = """
import sys
{imports}
worked_out = []
def watch(frame, event, _):
    if event == "call" and frame.f_code.co_filename.endswith("_utils.py") and "msgspec" in frame.f_code.co_filename:
        worked_out.append(frame.f_code.co_name)
sys.setprofile(watch)
{first}
sys.setprofile(None)
if worked_out:
    sys.exit(", ".join(worked_out))
"""


@pytest.mark.parametrize(
    ("imports", "first"),
    [
        ("from collector import web", f"web._cases(b'{CASE}')"),
        ("from protocols import cases", f"cases.decode_case(b'{CASE}')"),
        ("from protocols import cases", f"cases.case_of({CASE})"),
        ("from collector.web import desk", f"desk.read(b'{LINK}', desk.Links)"),
        ("from collector.web import channels", f"channels.read(b'{GIVEN}', channels.RatingGiven)"),
        ("from protocols.dialects import linewell", "linewell._given.decode(b'{}')"),
        ("from protocols.dialects import flat", "flat._reply.decode(b'{}')"),
        ("from protocols.dialects import jsonrest", "jsonrest._reply.decode(b'{}')"),
        ("from protocols.dialects.txnbody import queries", "queries._unrated.decode(b'[]')"),
        ("from edge_agent import door", f"door.read(b'{ASK}', door.Ask)"),
        ("from edge_agent import door", f"door.read(b'{PRESSED}', door.Pressed)"),
        ("from collector.alerts import rows", """rows._told.decode(b'{"a":{"what":"opened","at_ms":1}}')"""),
        ("from protocols.profiles.readers import ScreenReader", f"ScreenReader().feed(b'{PRESSED}', 0)"),
    ],
    ids=[
        "case",
        "due case",
        "case of a door",
        "link",
        "rating of a channel",
        "token",
        "flat",
        "json",
        "unrated",
        "invitation",
        "press of a page",
        "alert",
        "screen",
    ],
)
def test_no_type_is_new_to_the_threads(imports: str, first: str) -> None:
    """Red if a type is first met in a request: 1 of 60 processes with eight requests at once then died on a PC."""
    program = WATCHED.format(imports=imports, first=first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert (0, "") == (done.returncode, done.stderr)


def test_a_type_that_is_new_is_noticed() -> None:
    """Or the test above would pass whatever happens."""
    program = WATCHED.format(
        imports="import msgspec\nfrom protocols.ratings import Case", first=f"msgspec.json.decode(b'{CASE}', type=Case)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert "get_dataclass_info" in done.stderr
