"""Rules whose key is a code: its number stands in the rule, not in a byte."""

import pytest

from protocols import profiles
from protocols.errors import BadSettings

HEAD = """id = "codes"
version = 1
title = { zh = "代码", en = "Codes" }
evidence = "generic"
source = "test"
transport = "serial"
"""
FRAMES = """form = "frame"
frame = { head = "AA", layout = ["data"], data_min = 2, data_max = 2 }
rules = [
  { event = "key", data = "33 CC", key = 1 },
  { event = "key", data = "34 ..", key = 2, count_at = 1 },
]
vectors = [
  { read = "AA 33 CC", expect = [{ event = "key", key = 1 }] },
  { read = "AA 34 07", expect = [{ event = "key", key = 2, count = 7 }] },
  { read = "AA 33 CD", expect = [{ event = "noise" }] },
]
"""
BYTES = """form = "byte"
rules = [{ event = "key", bytes = "33", key = 1 }, { event = "beat", bytes = "F5" }]
vectors = [
  { read = "33", expect = [{ event = "key", key = 1 }] },
  { read = "33 F5", expect = [{ event = "key", key = 1 }] },
  { read = "34", expect = [{ event = "noise" }] },
]
"""
TEXT = """form = "text"
bare = { ends = ["LF"] }
rules = [{ event = "key", pattern = "GOOD", key = 1 }]
vectors = [{ read = "text:GOOD\\n", expect = [{ event = "key", key = 1 }] }]
"""


@pytest.mark.parametrize("body", [FRAMES, BYTES, TEXT])
def test_a_code_is_its_key(body):
    """In frames, bare bytes (also beside a sign of life) and text; the vectors say so."""
    assert "codes" == profiles.read((HEAD + body).encode(), "codes.toml").id


@pytest.mark.parametrize(
    "wrong", [("key = 1 },", 'key = 1, key_form = "digit" },'), ('"key", data = "33 CC"', '"beat", data = "33 CC"')]
)
def test_a_code_that_contradicts_itself_is_refused(wrong):
    """It is no digit as well, and no beat has a key."""
    with pytest.raises(BadSettings, match=r"rules\[1\]\.key: "):
        profiles.read((HEAD + FRAMES.replace(*wrong)).encode(), "codes.toml")
