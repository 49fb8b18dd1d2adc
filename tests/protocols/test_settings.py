"""Configuration files: every mistake at once, in words that a person in a hall can act on, and no secret among them."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from protocols import settings
from protocols.errors import BadSettings
from protocols.settings import DeviceId, Name, Port, Url


class Tls(msgspec.Struct, forbid_unknown_fields=True):
    ca: str
    key_file: str = ""


class Uplink(msgspec.Struct, forbid_unknown_fields=True):
    host: str
    port: Port = 1883
    password: str = ""
    app_word: str = ""
    tls: Tls | None = None
    wait_s: Annotated[int, Meta(ge=5)] | None = None


class Door(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    tokens: tuple[str, ...] = ()
    api_keys: dict[str, int] = {}
    address: Url = "http://127.0.0.1"


class Window(msgspec.Struct, forbid_unknown_fields=True):
    id: Name
    device: DeviceId
    number: Annotated[str, Meta(min_length=1, max_length=4)] = "1"
    profile: Literal["house", "pj06"] = "house"
    keys: dict[Annotated[str, Meta(pattern="^[1-9]$")], Literal["good", "bad"]] = {}
    marks: list[int] = []
    walk_in: bool = False
    gain: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Everything(msgspec.Struct, forbid_unknown_fields=True):
    agent: Name
    uplink: Uplink
    windows: Annotated[list[Window], Meta(min_length=1)]
    door: Door | None = None
    places: dict[str, Tls] = {}
    log: Literal["debug", "info"] = "info"


GOOD = """
agent = "hall-a"
[uplink]
host = "127.0.0.1"
[[windows]]
id = "A-01"
device = "D0217"
[windows.keys]
1 = "good"
[[windows]]
id = "A-02"
device = "D0218"
"""


def read(text: str | bytes) -> Everything:
    return settings.read(text.encode() if isinstance(text, str) else text, Everything, "agent.toml")


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        read(text)
    return bad.value.mistakes


NAME = (
    "名称: 字母、数字和 _ . -, 以字母或数字开头, 最多 64 个字符",
    "a name: letters, digits and _ . -, beginning with a letter or digit, at most 64 characters",
)


def said(*expected: tuple[str, str, str]) -> list[str]:
    return [f"agent.toml: {key}: {zh} / {en}" for key, zh, en in expected]


def mistake(*changes: tuple[str, str]) -> str:
    """The one mistake that these changes make in a good file."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (only,) = mistakes(text)
    return only


def test_good_settings_are_read_with_their_defaults():
    """Nothing is asked for that is not needed."""
    found = read(GOOD)

    assert Uplink("127.0.0.1", 1883) == found.uplink
    assert [Window("A-01", "D0217", keys={"1": "good"}), Window("A-02", "D0218")] == found.windows


def test_every_mistake_is_named_at_once():
    """Nobody wants to start a program seven times. Red if the first mistake ended the search."""
    found = mistakes(
        """
agent = "hall a"
lgo = "debug"
[uplink]
port = "1883"
password = 123456
[uplink.tls]
ca = 1
[[windows]]
id = "A-01"
device = 217
[[windows]]
device = "D0218"
profile = "huose"
keys = {1 = "godo", x = "good"}
[door]
"""
    )

    assert (
        said(
            ("lgo", "没有这个配置项, 是否指 log?", "no such key, did you mean log?"),
            ("agent", f'值 "hall a" 不对, 应为{NAME[0]}', f'wrong value "hall a", expected {NAME[1]}'),
            ("uplink.host", "缺少, 应填加引号的文字", "missing, expected text in quotes"),
            (
                "uplink.port",
                '值 "1883" 不对, 应为整数, 1 到 65535, 不加引号',
                'wrong value "1883", expected a whole number, 1 to 65535, without quotes',
            ),
            (
                "uplink.password",
                "值 (不显示) 不对, 应为加引号的文字",
                "wrong value (not shown), expected text in quotes",
            ),
            ("uplink.tls.ca", "值 1 不对, 应为加引号的文字", "wrong value 1, expected text in quotes"),
            (
                "windows[1].device",
                "值 217 不对, 请加引号",
                "wrong value 217, put it in quotes",
            ),
            ("windows[2].id", f"缺少, 应填{NAME[0]}", f"missing, expected {NAME[1]}"),
            (
                "windows[2].profile",
                '值 "huose" 不对, 应为其中之一: "house", "pj06", 是否指 house?',
                'wrong value "huose", expected one of "house", "pj06", did you mean house?',
            ),
            (
                "windows[2].keys.1",
                '值 "godo" 不对, 应为其中之一: "good", "bad", 是否指 good?',
                'wrong value "godo", expected one of "good", "bad", did you mean good?',
            ),
            (
                "windows[2].keys.x",
                '值 "x" 不对, 应为符合 ^[1-9]$ 的文字',
                'wrong value "x", expected text that matches ^[1-9]$',
            ),
            ("door.token", "缺少, 应填加引号的文字", "missing, expected text in quotes"),
        )
        == found
    )


def test_an_empty_file_is_told_all_that_it_needs():
    """With the line to begin each table with."""

    assert said(
        ("agent", f"缺少, 应填{NAME[0]}", f"missing, expected {NAME[1]}"),
        ("uplink", "缺少, 应填 [uplink] 一节, 其中必填 host", "missing, expected a table [uplink], with at least host"),
        (
            "windows",
            "缺少, 应填 [[windows]] 一节, 其中必填 id, device",
            "missing, expected a table [[windows]], with at least id, device",
        ),
    ) == mistakes("")


# ---- keys


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("host =", "hots =", "did you mean host?"),
        ("host =", "HOST =", "did you mean host?"),
        ("[uplink]", "[upnlik]", "did you mean uplink?"),
        ("device =", "devise =", "did you mean device?"),
    ],
)
def test_a_misspelt_key_is_guessed(old, new, expected):
    """Beside what is missing for it."""
    found = mistakes(GOOD.replace(old, new, 1))

    assert any(expected in each for each in found)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            ("device", 'log = "info"\ndevice'),
            "windows[1].log: 没有这个配置项, 应写在文件开头, 第一个 [ ] 之前"
            " / no such key, it belongs at the top of the file, before the first [ ]",
        ),
        (
            ("[uplink]", 'device = "D0001"\n[uplink]'),
            "device: 没有这个配置项, 应写在 [[windows]] 一节 / no such key, it belongs in [[windows]]",
        ),
        (
            ("[uplink]", '[uplink]\nca = "ca.pem"'),
            "uplink.ca: 没有这个配置项, 应写在 [uplink.tls] 一节 / no such key, it belongs in [uplink.tls]",
        ),
        (
            ("device", "zzz = 1\ndevice"),
            "windows[1].zzz: 没有这个配置项, 这里可用: id, device, number, profile, keys, marks, walk_in, gain"
            " / no such key, known here: id, device, number, profile, keys, marks, walk_in, gain",
        ),
    ],
)
def test_a_key_in_the_wrong_table_is_told_where_it_belongs(changes, expected):
    """The commonest mistake in TOML: a top-level key behind the first table."""

    assert f"agent.toml: {expected}" == mistake(changes)


# ---- values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("port = 0", "整数, 1 到 65535 / wrong value 0, expected a whole number, 1 to 65535"),
        ("port = 65536", "整数, 1 到 65535 / wrong value 65536, expected a whole number, 1 to 65535"),
        ("port = 1883.5", "整数, 1 到 65535 / wrong value 1883.5, expected a whole number, 1 to 65535"),
        ("port = true", "整数, 1 到 65535 / wrong value true, expected a whole number, 1 to 65535"),
        ("port = 1979-05-27", "整数, 1 到 65535 / wrong value 1979-05-27, expected a whole number, 1 to 65535"),
        ("port = 0x" + "f" * 9000, "整数, 1 到 65535 / wrong value (too large), expected a whole number, 1 to 65535"),
        ("wait_s = 4", "整数, 至少 5 / wrong value 4, expected a whole number, at least 5"),
        ("host = 10", "加引号的文字 / wrong value 10, expected text in quotes"),
    ],
)
def test_a_wrong_value_is_shown_with_what_was_expected(written, expected):
    """As it would be written in the file: `true`, not `True`."""

    assert mistake(('host = "127.0.0.1"', f'host = "h"\n{written}' if "host" not in written else written)).endswith(
        f"不对, 应为{expected}"
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            'number = ""',
            '"" 不对, 应为加引号的文字, 1 到 4 个字 / wrong value "", expected text in quotes, 1 to 4 characters',
        ),
        ('walk_in = "yes"', '应为 true 或 false, 不加引号 / wrong value "yes", expected true or false, without quotes'),
        ("gain = 1.5", "应为数字, 0 到 1 / wrong value 1.5, expected a number, 0 to 1"),
        (
            'marks = "1"',
            "marks: 写法不对, 应为列表 […], 每项为整数 / wrong form, expected a list […], each a whole number",
        ),
        (
            'marks = [1, "2"]',
            'marks[2]: 值 "2" 不对, 应为整数, 不加引号 / wrong value "2", expected a whole number, without quotes',
        ),
        ('keys = "1"', "keys: 写法不对, 应为 [windows.keys] 一节 / wrong form, expected a table [windows.keys]"),
        ("profile = 1", '1 不对, 应为其中之一: "house", "pj06" / wrong value 1, expected one of "house", "pj06"'),
        (f'profile = "{"x" * 99}"', f'值 "{"x" * 58}… 不对'),
        ("id = 1", "id: 值 1 不对, 请加引号 / wrong value 1, put it in quotes"),
        ("id = -1", "id: 值 -1 不对, 应为名称"),
        ("id = true", "id: 值 true 不对, 应为名称"),
        ("id = 0x" + "f" * 9000, "id: 值 (太大) 不对, 应为名称"),
        ('id = "A-01\\n"', '值 "A-01\\n" 不对, 应为名称'),
        ('device = "D0217\\n"', '值 "D0217\\n" 不对, 应为评价器编号'),
    ],
)
def test_a_wrong_value_in_a_list_of_tables_is_found(written, expected):
    """Windows count from 1, as people do. A name with a line end is none: red if its pattern ended in `$`."""
    key = written.split(" ")[0]
    old = {"id": 'id = "A-02"\n', "device": 'device = "D0218"\n'}.get(key, '\n[[windows]]\nid = "A-02"\n')
    new = f"{written}\n" if key in ("id", "device") else f"{old}{written}\n"
    found = mistake((old, new))

    assert found.startswith(f"agent.toml: windows[2].{key}")
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("[uplink]", "[[uplink]]"), "uplink: 写法不对, 应为 [uplink] 一节, 其中必填 host"),
        (GOOD.replace("[uplink]", "[[uplink]]"), "wrong form, expected a table [uplink], with at least host"),
        (GOOD.split("[[windows]]")[0] + '[windows]\nid="A"\ndevice="D"', "windows: 写法不对, 应为 [[windows]] 一节"),
        ("windows = []\n" + GOOD.split("[[windows]]")[0], "windows: 写法不对, 应为 [[windows]] 一节"),
        (GOOD + "[places.x]\n", "places.x.ca: 缺少, 应填加引号的文字 / missing, expected text in quotes"),
        (GOOD + "[places]\nx = 1\n", "places.x: 写法不对, 应为 [places.x] 一节, 其中必填 ca"),
        ("door = false\n" + GOOD, "door: 写法不对, 应为 [door] 一节, 其中必填 token"),
    ],
)
def test_wrong_brackets_are_told_the_right_ones(text, expected):
    """One bracket for a table, two for one of many."""

    assert any(expected in each for each in mistakes(text))


# ---- secrets


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("[uplink]", "[uplink]\npassword = ['geheim']"),
        GOOD.replace("[uplink]", "[uplink]\npassword = {of = 'geheim'}"),
        GOOD.replace("[uplink]", "[uplink]\npasswort = 'geheim'"),
        GOOD.replace("[uplink]", "[uplink]\nport = {password = 'geheim'}"),
        GOOD.replace("[uplink]", "[[uplink]]\npassword = 'geheim'"),
        GOOD.replace("[uplink]", "[uplink]\napp_word = 1066-01-01T00:00:00Z"),
        GOOD.replace("[uplink]\n", "uplink = 'geheim'\n[x]\n"),
        GOOD + "[door]\ntoken = 'geheim'\nprot = 1\n",
        GOOD + "[door]\ntoken = 'x'\ntokens = [1, ['geheim']]\n",
        GOOD + "[door]\ntoken = 'x'\ntokens = 'geheim'\n",
        GOOD + "[door]\ntoken = 'x'\napi_keys = {hall = 'geheim'}\n",
        GOOD + "[[door]]\ntoken = 'geheim'\n",
        GOOD + "[windows.token]\nx = 'geheim'\n",
        GOOD + "[door]\ntoken = 'geheim\n",
        GOOD + "[door]\ntoken = geheim\n",
        GOOD + "[door]\ntoken = “geheim”\n",
        GOOD.encode() + b"[door]\ntoken = 'geheim\xff'\n",
    ],
)
def test_a_secret_is_never_shown(text):
    """Wherever it was put down wrongly: in a list, in a table, under a misspelt key, in a line that is no TOML.

    Red if a table were shown whole, if only the last part of a key were looked at, or if the line were quoted.
    """
    found = "\n".join(mistakes(text))

    assert found
    assert "geheim" not in found
    assert "1066" not in found


@pytest.mark.parametrize("key", ["password", "token", "app_word", "tokens", "api_keys"])
def test_a_secret_of_the_wrong_type_is_not_shown(key):
    """Digits without quotes: the likeliest mistake with a password."""
    table = "[uplink]\n" if key in ("password", "app_word") else "[door]\n" + 'token = "x"\n' * (key != "token")
    written = {"tokens": "[271828]", "api_keys": "{hall = 'x', other = 271828.5}"}.get(key, "271828")
    text = (GOOD if "door" in table else GOOD.replace("[uplink]\n", "")).replace('host = "127.0.0.1"\n', "")
    found = "\n".join(mistakes(text + table + f"{key} = {written}\n"))

    assert "(不显示)" in found
    assert "(not shown)" in found
    assert "271828" not in found


def test_a_key_map_is_no_secret():
    """A wrong level must be seen to be found; red if `keys` were hidden with the keys that are secret."""
    found = mistake(('1 = "good"', '1 = "godo"'))

    assert 'windows[1].keys.1: 值 "godo" 不对' in found


# ---- the text


@pytest.mark.parametrize("beginning", [b"\xef\xbb\xbf", b""])
def test_a_file_saved_by_a_windows_editor_is_read(beginning):
    """With its byte order mark and its line ends."""

    assert "hall-a" == read(beginning + GOOD.replace("\n", "\r\n").encode()).agent


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("# 大厅\n".encode("gbk"), 1),
        (b"\xef\xbb\xbf# one\n\xff", 2),
        (b"\n\n\nagent = '\xb4\xf3'", 4),
        (GOOD.encode("utf-16"), 1),
    ],
)
def test_a_file_in_another_encoding_is_told_where_and_what_to_do(raw, line):
    """Red if the mark at the beginning were counted into the place."""

    zh, en = f"第 {line} 行不是 UTF-8 文本, 请另存为 UTF-8", f"line {line} is not UTF-8 text, save the file as UTF-8"

    assert [f"agent.toml: {zh} / {en}"] == mistakes(raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\nport ＝ 1",
            "第 2 行第 6 列不合 TOML 写法: ＝ 是全角符号, 请改成半角 / line 2, column 6 is not TOML: ＝ is",
        ),
        ("a = “b”", "第 1 行第 5 列不合 TOML 写法: “ 是全角符号"),
        ("［a］", "第 1 行第 1 列不合 TOML 写法: ［ 是全角符号"),
        ('\n\nport = "C:\\dev"', "列不合 TOML 写法: 反斜杠要写两个, 或改用单引号 '…' / line 3, column"),
        (
            'port = "C:\\Users"',
            "is not TOML: double the backslash, or use single quotes '…' (Invalid hex value)",
        ),
        ("a = hall", "文字要加引号, 数字和 true/false 不加"),
        ("a = True", "文字要加引号, 数字和 true/false 不加"),
        ('a = "b\nc = 1', "引号没有配对"),
        (
            'a = "b',
            "文件末尾不合 TOML 写法: 引号没有配对 / the end of the file is not TOML: a closing quote is missing",
        ),
        ("[a\nb = 1", "第 1 行第 3 列不合 TOML 写法: 括号没有配对"),
        ("a = [1, 2", "括号没有配对"),
        ("a = 1\na = 2\nb = 3", "第 2 行第 6 列不合 TOML 写法: 同一项写了两次"),
        ("[a]\n[a]", "第 2 行第 3 列不合 TOML 写法: 同一项写了两次"),
        ("agent", "配置项和值之间要有 = / the end of the file is not TOML: a = is missing between key and value"),
        ("a = 1 b = 2", "一行只能写一项"),
        ("= 1", "请对照示例检查此处 / line 1, column 1 is not TOML: compare it with the example (Invalid statement)"),
        ("a = " + "1" * 5000, "文件末尾不合 TOML 写法"),
        ("a = " + "[" * 5000, "括号套得太深 / brackets within brackets, too deep"),
    ],
)
def test_a_line_that_is_no_toml_is_found_with_a_hint(text, expected):
    """What goes wrong on a Chinese keyboard and with Windows paths, in words; a number of 5,000 digits, in any."""
    (found,) = mistakes(text)

    assert found.startswith("agent.toml: ")
    assert expected in found


# ---- whatever a file says

KEYS = ["agent", "uplink", "windows", "door", "host", "port", "tls", "ca", "id", "device", "keys", "1", "", "a.b"]
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["house", "D0217", "A-01", 10**400, datetime.date(2024, 1, 1), datetime.time(1)]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_whatever_a_table_holds_is_read_or_explained(table):
    """Nothing slips through to an exception of msgspec's. Each mistake names its file, and says it in two languages."""
    found = settings._wrong(table, Everything, "", {})
    try:
        expected = msgspec.convert(table, Everything)
    except msgspec.ValidationError:
        expected = None

    assert (expected is None) == bool(found)
    assert all(" / " in each for each in found)


@given(st.binary(max_size=60))
def test_whatever_bytes_a_file_holds_are_read_or_explained(raw):
    """BadSettings, and nothing else."""

    assert all(each.startswith("agent.toml: ") and " / " in each for each in mistakes(raw))
