"""A profile that is wrong is refused with file, line, key and what was expected, in Chinese and English."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import profiles
from protocols.errors import BadSettings, Mistake
from protocols.profiles.places import line_of
from tests.languages import whole_in_each

FRAMED = """\
id = "made"
version = 1
title = { zh = "生成", en = "made" }
evidence = "generic"
source = "made here"
transport = "serial"
form = "frame"

[frame]                          # a = comment [with] {marks}
head = "AA 55"
layout = ["length", "command", "data", "check"]
length = { counts = ["command", "data"] }
data_min = 1
data_max = 4

[frame.check]
kind = "sum8"
over = ["command", "data"]

[[rules]]
event = "answer"
name = "hello"
command = "01"

[[rules]]                        # the second
event = "key"
command = "11"
keys = "00..03"
answer = "ack"

[ack]
command = "12"

[commands]
please_rate = { command = "20", data = "{seconds}", gap_ms = 5 }

[press]
min_gap_ms = 500

[[vectors]]
read = "AA 55 02 11 03 14"
expect = [{ event = "key", key = 3 }]

[[vectors]]
say = "please_rate"
bytes = "AA 55 02 20 1E 3E"
"""

TEXT = """\
id = "words"
version = 1
title = { zh = "文字", en = "words" }
evidence = "generic"
source = "made here"
transport = "serial"
form = "text"

[bare]
ends = ["LF"]

[[rules]]
event = "key"
pattern = "K(?P<key>[1-6])"

[[vectors]]
read = "text:K3\\n"
expect = [
  { event = "key", key = 3 },
]
"""


def refused(text: str) -> list[Mistake]:
    with pytest.raises(BadSettings) as error:
        profiles.read(text.encode(), "made.toml")
    return error.value.mistakes


def told(mistake: str, line: int, key: str) -> bool:
    """Whether it is of this line and key in both languages."""
    zh, _, en = mistake.partition(" / ")
    return zh.startswith(f"made.toml: 第 {line} 行: {key}: ") and en.startswith(f"line {line}: {key}: ")


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def test_a_profile_that_is_right_is_read():
    """The two that are spoilt below."""

    assert "made" == profiles.read(FRAMED.encode(), "made.toml").id
    assert "words" == profiles.read(b"\xef\xbb\xbf" + TEXT.encode(), "words.toml").id


@pytest.mark.parametrize(
    ("old", "new", "key", "there"),
    [
        # an unknown key, wherever it stands
        ("evidence =", "evidense =", "evidense", "evidense"),
        ("\nhead =", "\nhaed =", "frame.haed", "haed"),
        ('kind = "sum8"', 'kind = "sum8"\nrange = 3', "frame.check.range", "range"),
        ('name = "hello"', 'name = "hello"\nscript = "rm"', "rules[1].script", "script"),
        ('keys = "00..03"', 'keys = "00..03"\neval = "1"', "rules[2].eval", "eval"),
        ("gap_ms = 5 }", "gab_ms = 5 }", "commands.please_rate.gab_ms", "please_rate"),
        ("{ event = \"key\", key = 3 }", '{ event = "key", kee = 3 }', "vectors[1].expect[1].kee", "kee"),
        # a value that cannot be
        ('form = "frame"', 'form = "picture"', "form", "form ="),
        ('head = "AA 55"', 'head = "AA5"', "frame.head", "head ="),
        ("min_gap_ms = 500", "min_gap_ms = 50000", "press.min_gap_ms", "min_gap_ms"),
        ("version = 1", "version = 1.5", "version", "version"),
        ("[press]\nmin_gap_ms = 500", "press.min_gap_ms = 50000", "", ""),
        # contradictions
        ("[ack]\ncommand", "[nak]\ncommand", "ack", ""),
        ('command = "12"', 'command = "12 13"', "ack", "[ack]"),
        ('transport = "serial"', 'transport = "udp"', "transport", "transport ="),
        ('keys = "00..03"', 'keys = "03..00"', "rules[2].keys", "keys ="),
        ('command = "01"', 'command = "01 02"', "rules[1].command", 'command = "01 02"'),
        ('command = "01"', 'bytes = "01"', "rules[1].bytes", 'bytes = "01"'),
        ('name = "hello"\n', "", "rules[1].name", "[[rules]]\n"),
        ('event = "key"\ncommand = "11"', 'event = "beat"\ncommand = "11"', "rules", "[[rules]]\n"),
        ('layout = ["length", ', 'layout = [', "frame.length", "length ="),
        ('counts = ["command", "data"]', 'counts = ["command"]', "frame.length.counts", "length ="),
        ('over = ["command", "data"]', 'over = ["address"]', "frame.check.over", "over ="),
        ('data = "{seconds}"', 'data = "{text}"', "commands.please_rate", "please_rate"),
        ('data = "{seconds}"', 'data = "01 02 03 04 05"', "commands.please_rate", "please_rate"),
        ("[press]", '[[init]]\nsay = "welcome"\n[press]', "init[1].say", 'say = "welcome"'),
        ("[press]", "[poll]\nevery_ms = 500\n[press]", "commands.poll", "[commands]"),
        ("[press]", "[udp]\nport = 8001\n[press]", "udp", "[udp]"),
        ("min_gap_ms = 500", "repeats = true", "press.same_ms", "[press]"),
        # vectors
        ('read = "AA 55 02 11 03 14"', 'read = "AA 55 02 11 03 15"', "vectors[1].expect", "expect ="),
        ("key = 3 }", "key = 2 }", "vectors[1].expect", "expect ="),
        ("key = 3 }]", 'key = 3 }]\nanswer = "AA"', "vectors[1].answer", "answer = \"AA\""),
        ("key = 3 }]", 'key = 3 }]\nanswer = "zz"', "vectors[1].answer", "answer = \"zz\""),
        ("key = 3 }", "key = 3, age_ms = 9 }", "vectors[1].expect", "expect ="),
        ('read = "AA 55 02 11 03 14"', 'read = "hello"', "vectors[1].read", "read ="),
        ('bytes = "AA 55 02 20 1E 3E"', 'bytes = "AA"', "vectors[2].bytes", 'bytes = "AA"'),
        ('bytes = "AA 55', 'read = "AA 55', "vectors[2].say", 'say = "please_rate"'),
        ('say = "please_rate"\nbytes', 'say = "welcome"\nbytes', "vectors[2].say", 'say = "welcome"'),
        ('bytes = "AA 55 02 20 1E 3E"\n', 'address = 300\n', "vectors[2].say", 'say = "please_rate"'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_key(old, new, key, there):
    """The line on which `there` stands, counted from 1."""
    if not key:
        text = changed(FRAMED, "[press]\nmin_gap_ms = 500\n", "")
        text, key, there = (
            changed(text, "version = 1", "version = 1\npress.min_gap_ms = 50000"),
            "press.min_gap_ms",
            "press.",
        )
    else:
        text = changed(FRAMED, old, new)
    lines = (text.split(there)[0].count("\n") + 1) if there else 1
    mistakes = refused(text)

    assert any(told(each, lines, key) for each in mistakes), mistakes
    assert [] == [each for each in mistakes if not whole_in_each(each)]


def test_a_value_with_a_slash_is_not_taken_for_two_languages():
    """Both halves name it whole. Red if the message is parted at its first slash."""
    (mistake,) = refused(changed(FRAMED, 'layout = ["length", "command"', 'layout = ["a / b", "command"'))

    assert "'a / b' 不对" in mistake.said("zh") and "is wrong" not in mistake.said("zh")
    assert "'a / b' is wrong" in mistake.said("en") and "不对" not in mistake.said("en")


@pytest.mark.parametrize(
    ("old", "new", "key", "there"),
    [
        ("(?P<key>[1-6])", "[1-6]", "rules[1].pattern", "pattern ="),
        ("(?P<key>[1-6])", "(?P<key>[1-6]", "rules[1].pattern", "pattern ="),
        ("K(?P<key>[1-6])", "a*b*c*(?P<key>[1-6])", "rules[1].pattern", "pattern ="),
        ("key = 3", "key = 4", "vectors[1].expect", "expect ="),
        ("key = 3", "kez = 3", "vectors[1].expect[1].kez", "kez"),
        ('ends = ["LF"]', "ends = []", "bare.ends", "ends"),
        ('[[vectors]]\nread = "text:K3\\n"\nexpect = [\n  { event = "key", key = 3 },\n]\n', "", "vectors", ""),
        ('{ event = "key", key = 3 },', "", "vectors[1].expect", "expect ="),
    ],
)
def test_a_mistake_in_a_text_profile_is_named_with_its_line_and_key(old, new, key, there):
    """Also inside a list over several lines, and where there is no vector at all."""
    text = changed(TEXT, old, new)
    line = (text.split(there)[0].count("\n") + 1) if there else 1

    assert any(told(each, line, key) for each in refused(text)), refused(text)
    assert [] == [each for each in refused(text) if not whole_in_each(each)]


def test_a_profile_without_a_vector_that_reads_a_key_is_refused():
    """What it says to the device proves nothing of what it hears."""
    [mistake] = refused(FRAMED[: FRAMED.index("[[vectors]]")] + FRAMED[FRAMED.rindex("[[vectors]]") :])

    assert "vectors: at least one that reads a key" in mistake


def test_what_is_no_toml_names_its_line_once():
    """As the settings of every program do."""
    [mistake] = refused(FRAMED.replace("version = 1", "version ="))

    assert mistake.startswith("made.toml: 第 2 行第")
    assert 1 == mistake.count("line 2")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 300 + "]" * 300, "a = " + "{b=" * 300 + "1" + "}" * 300, "[[rules]]\nzz = 1\n" * 1000, "[" * 90000],
)
def test_a_hostile_file_is_refused_in_a_moment(text):
    """Brackets in brackets, and thousands of mistakes. Red if the file is gone through anew for each of them."""
    started = time.process_time()

    assert refused(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("raw", [b",[\xb4[\x9e=\n[", b"a = [=\xff", b"a = [}", b"a = {=}=", b"x = [\xff]"])
def test_what_is_no_text_at_all_has_an_end_too(raw):
    """With the line that is not UTF-8, told once. Red if anybody looks for keys in it."""
    with pytest.raises(BadSettings) as error:
        profiles.read(raw, "made.toml")

    assert 1 == len(error.value.mistakes)
    assert error.value.mistakes[0].count(" line ") <= 1
    assert 1 == line_of(raw.decode("utf-8", "replace"), "no.such")


def test_a_file_without_an_end_is_refused():
    """Before anything is made of it."""

    assert "too long" in refused("#" * (profiles.FILE_MAX + 1))[0]


PLACES = '''\
a = 1                            # 1
"b c" = """
d = 5
"""
e.f = [1,                        # 5
  2, { g = 3 }, "x = y", \'\'\'
h = 1\'\'\'
]
[i]                              # 9
j = { k = { l = 1 }, m = [
  1, 2 ] }
[[n]]                            # 12
o = 1
[n.p]
q = 1
[[n]]                            # 16
o = "[[n]]"
[[n.r]]
s = 2024-01-01 10:00:00
[[n.r]]                          # 20
s = 2
[ "t" . u ]
v = -1.5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 1), ("b c", 2), ("d", 1), ("e", 5), ("e.f", 5), ("e.f[1]", 5), ("e.f[2]", 6), ("e.f[3].g", 6),
        ("e.f[5]", 6), ("h", 1), ("i", 9), ("i.j.k.l", 10), ("i.j.m[2]", 11), ("i.missing", 9), ("n", 12),
        ("n[1].o", 13), ("n[1].p.q", 15), ("n[2]", 16), ("n[2].o", 17), ("n[2].r[1].s", 19), ("n[2].r[2].s", 21),
        ("n[2].nothing", 16), ("t.u.v", 23), ("nowhere", 1), ("", 1),
    ],
)  # fmt: skip
def test_every_key_has_its_line(path, line):
    """Repeated tables, inline tables, dotted and quoted keys, lists, text over several lines and comments."""

    assert line == line_of(PLACES, path)


@given(st.one_of(st.text(), st.lists(st.sampled_from([*FRAMED.split("\n"), *PLACES.split("\n")])).map("\n".join)))
def test_no_text_breaks_the_reading(text):
    """A profile or the mistakes in it, whatever is in the file."""
    try:
        profiles.read(text.encode("utf-8", "surrogatepass"), "any.toml")
    except BadSettings as error:
        assert error.mistakes
