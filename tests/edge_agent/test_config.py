"""agent.toml: every mistake is named at once, with file, key and what was expected."""

import ast
from pathlib import Path

import pytest

import edge_agent
from edge_agent.config import checked, load, secret
from protocols import profiles
from protocols.errors import BadSettings, Mistake
from tests.languages import whole_in_each

GOOD = """
agent = "hall-pc-1"

[uplink]
host = "broker.hall"
password = "a-password"

[[windows]]
id = "1"
device = "D0001"
port = "/dev/serial/by-path/1"

[[windows]]
id = "2"
device = "D0002"
port = "socket://10.0.0.7:4001"
"""
DOOR = '\n[door]\ntoken = "a-token"\n'


@pytest.fixture
def written(tmp_path: Path):
    """Writes agent.toml; its path."""

    def write(text: str) -> Path:
        file = tmp_path / "agent.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def mistakes(file: Path) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        load(file)
    return bad.value.mistakes


@pytest.mark.parametrize(
    "port", ["usb:1-1.3", "usb:1a86:7523", "usb:0403:6001:A9", "rfc2217://h:23", "COM3", "./panel"]
)
def test_every_way_to_name_a_port_is_taken(written, port):
    """What each means is in test_ports.py."""
    assert port == load(written(GOOD.replace("socket://10.0.0.7:4001", port))).windows[1].port


def test_the_shortest_settings_are_enough(written):
    """The rest has defaults that are safe: loopback, own outbox, no door."""
    settings = load(written(GOOD))

    assert ("hall-pc-1", ["1", "2"], None) == (settings.agent, [each.id for each in settings.windows], settings.door)
    assert ("outbox.db", 20_000) == (settings.outbox.path, settings.outbox.max_megabytes)
    assert (1883, 5_000, 30, 20) == (
        settings.uplink.port,
        settings.uplink.receipt_wait_ms,
        settings.uplink.health_every_s,
        settings.uplink.keepalive_s,
    )
    assert (None, "house", 30, 30) == (
        settings.windows[0].baud,
        settings.windows[0].profile,
        settings.windows[0].invite_s,
        settings.windows[0].silent_after_s,
    )
    assert ("127.0.0.1", 8610) == (load(written(GOOD + DOOR)).door.host, load(written(GOOD + DOOR)).door.port)


WRONG = [
    ('agent = "hall-pc-1"\n', "", "agent: ", "/"),
    ('agent = "hall-pc-1"', 'agent = "hall pc/1"', "agent: ", "/"),
    ('agent = "hall-pc-1"', "agent = 7", "agent: ", "/"),
    ('agent = "hall-pc-1"', 'agent = "hall-pc-1"\nagnet = 1', "agnet: ", "agent"),
    ('host = "broker.hall"', "", "uplink.host: ", "/"),
    ('host = "broker.hall"', 'host = "b"\nport = 70000', "uplink.port: ", "65535"),
    ('host = "broker.hall"', 'host = "b"\nport = "1883"', "uplink.port: ", "/"),
    ('host = "broker.hall"', 'host = "b"\nreceipt_wait_ms = 99', "uplink.receipt_wait_ms: ", "600000"),
    ('host = "broker.hall"', 'host = "b"\npasswort = "x"', "uplink.passwort: ", "password"),
    ('password = "a-password"', "password = 12", "uplink.password: ", "/"),
    ('device = "D0001"', 'device = "D 1"', "windows[1].device: ", "/"),
    ('device = "D0001"', "", "windows[1].device: ", "/"),
    ('device = "D0002"', 'device = "D0002"\nbaud = 9', "windows[2].baud: ", "4000000"),
    ('device = "D0002"', 'device = "D0002"\nprofile = "pj07"', "windows[2].profile: ", "did you mean pj06?"),
    ('device = "D0002"', 'device = "D0002"\ninvite_s = 4', "windows[2].invite_s: ", "600"),
    ('id = "2"', 'id = "1"', "windows[2].id: ", "is taken by windows[1]"),
    ('device = "D0002"', 'device = "D0001"', "windows[2].device: ", "is taken by windows[1]"),
    ('"socket://10.0.0.7:4001"', '"/dev/serial/by-path/1"', "windows[2].port: ", "is taken by windows[1]"),
    ('"socket://10.0.0.7:4001"', '"socket://10.0.0.7"', "windows[2].port: ", "expected socket://host:number"),
    ('"socket://10.0.0.7:4001"', '"socket://:4001"', "windows[2].port: ", "expected socket://host:number"),
    ('"socket://10.0.0.7:4001"', '"socket://10.0.0.7:x"', "windows[2].port: ", "expected socket://host:number"),
    ('"socket://10.0.0.7:4001"', '"socket://h:99999"', "windows[2].port: ", "expected socket://host:number"),
    ('"socket://10.0.0.7:4001"', '""', "windows[2].port: ", "expected /dev/serial/by-path/"),
    ('"socket://10.0.0.7:4001"', '"hid:"\nprofile = "hid-keypad"', "windows[2].port: ", "hid:04d9:1203"),
    ('"socket://10.0.0.7:4001"', '"rfc2217://10.0.0.7"', "windows[2].port: ", "expected socket://host:number"),
    ('"socket://10.0.0.7:4001"', '"usb:1a86"', "windows[2].port: ", "usb:1-1.3 (USB socket)"),
    (
        '"socket://10.0.0.7:4001"',
        '"ttyUSB0"',
        "windows[2].port: 'ttyUSB0' 不对, 应为 /dev/",
        "'ttyUSB0' is wrong, ",
    ),
    ('id = "2"', "id = 2", "windows[2].id: ", "请加引号 / wrong value 2, put it in quotes"),
    ("[[windows]]", "[[window]]", "window: ", "windows"),
    ('password = "a-password"', 'password = "x"\npassword_file = "p"', "uplink.password: ", "not both"),
    ('password = "a-password"', 'password_file = "nowhere"', "uplink.password_file: ", "'nowhere'"),
    ('agent = "hall-pc-1"', 'agent = "hall-pc-1"\nlog = "loud"', "log: ", "warning"),
    ('agent = "hall-pc-1"', 'agent = "hall-pc-1"\noutbox = 3', "outbox: ", "outbox"),
    ("\n[uplink]", "\n[outbox]\nmax_megabytes = 0\n[uplink]", "outbox.max_megabytes: ", "1000000"),
    ("\n[uplink]", '\n[details]\nkey = "x25519:abc"\n[uplink]', "details.key: ", "collector key"),
    ("\n[uplink]", "\n[details]\n[uplink]", "details.key: ", "missing"),
    ("\n[uplink]", "\n[door]\n[uplink]", "door.token: ", "give token or token_file"),
    ("\n[uplink]", '\n[door]\ntoken = "a"\ntoken_file = "b"\n[uplink]', "door.token: ", "not both"),
    ("\n[uplink]", '\n[uplink.tls]\nca = "ca.crt"\n[uplink]', "uplink.tls.ca: ", "no file 'ca.crt'"),
    ("\n[uplink]", '\n[uplink.tls]\nkey_file = "agent.toml"\n[uplink]', "uplink.tls.certificate: ", "missing"),
]
"""What of the good settings is replaced by what, the key that is then wrong, and a word of what is said of it."""


@pytest.mark.parametrize(("old", "new", "key", "told"), WRONG)
def test_a_mistake_is_named(written, old, new, key, told):
    """File, key, and what was expected; in Chinese and English."""
    [first, *_] = mistakes(written(GOOD.replace(old, new)))

    assert first.startswith(f"agent.toml: {key}")
    assert told in first
    assert " / " in first


def test_all_mistakes_are_named_at_once(written):
    """Who has to walk to the window PC wants to do it once."""
    text = GOOD.replace("hall-pc-1", "a b").replace('"D0001"', "1").replace("broker.hall", 'b"\nport = 0\nx = "')

    assert ["agent", "uplink.x", "uplink.port", "windows[1].device"] == [
        mistake.removeprefix("agent.toml: ").split(":")[0] for mistake in sorted(mistakes(written(text)), key=order)
    ]


def order(mistake: str) -> int:
    return ["agent", "uplink.x", "uplink.port", "windows[1].device"].index(mistake.split(": ")[1])


BUS = """agent = "hall-pc-1"
[uplink]
host = "b"
"""


def on_a_bus(*devices: str) -> str:
    """Windows 1, 2 … with these lines each."""
    return BUS + "".join(
        f'[[windows]]\nid = "{number}"\ndevice = "D{number}"\n{lines}\n' for number, lines in enumerate(devices, 1)
    )


QS4 = 'profile = "qs4"\naddress = {}\nport = "{}"'


def test_devices_with_an_address_each_share_a_line(written):
    """One port, one profile, two windows."""
    settings = load(written(on_a_bus(QS4.format(5, "/dev/ttyS0"), QS4.format(6, "/dev/ttyS0"))))

    assert [5, 6] == [window.address for window in settings.windows]


UNSHARED = [
    (QS4.format(5, "COM3"), "address", "each window needs its own"),
    ('profile = "qs4"\nport = "COM3"', "address", "told apart by address"),
    (QS4.format(6, "COM3") + "\nbaud = 4800", "profile", "profile and baud have to be the same"),
    ('profile = "pj06"\nport = "COM3"', "port", "or an address each on one line"),
    ('profile = "pj06"\nport = "com3"', "port", "or an address each on one line"),
    (QS4.format(6, "com3"), "port", "the same port as windows[1]'s 'COM3', write both alike"),
    (QS4.format(6, "\\\\\\\\.\\\\COM3"), "port", "the same port as windows[1]'s 'COM3', write both alike"),
]


@pytest.mark.parametrize(("second", "key", "told"), UNSHARED)
def test_what_cannot_share_a_line_is_named(written, second, key, told):
    """Also where the port is written in another way. Red if ports are compared letter by letter."""
    [first, *_] = mistakes(written(on_a_bus(QS4.format(5, "COM3"), second)))

    assert first.startswith(f"agent.toml: windows[2].{key}: ")
    assert told in first


def test_two_links_to_one_node_are_one_port(written, tmp_path):
    """As the system makes them for every adapter. Red if a link is not followed."""
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-path").symlink_to("ttyUSB0")
    two = [f'port = "{tmp_path}/{name}"' for name in ("ttyUSB0", "by-path")]

    [first] = mistakes(written(on_a_bus(*two)))

    assert "windows[2].port: " in first


def test_no_window_is_a_mistake(written):
    """An agent without one has nothing to do."""
    [first] = mistakes(written('agent = "a"\nwindows = []\n[uplink]\nhost = "b"\n'))

    assert "agent.toml: windows: 至少一个窗口 / at least one [[windows]]" == first


def test_a_wrong_secret_is_not_shown(written):
    """What is told here ends in a log or on somebody's screen."""
    [first] = mistakes(written(GOOD.replace('"a-password"', "123456")))

    assert "123456" not in first


@pytest.mark.parametrize("raw", [b"agent = ", b"\xff\xfea", "agent = '大厅'".encode("gbk"), b"\x00"])
def test_a_file_that_is_no_settings_file(tmp_path, raw):
    """Cut short, or saved by an editor in another encoding: said, no traceback."""
    (tmp_path / "agent.toml").write_bytes(raw)
    [first] = mistakes(tmp_path / "agent.toml")

    assert first.startswith("agent.toml: ")


def test_a_file_from_notepad_is_read(tmp_path):
    """Windows puts three bytes before UTF-8."""
    (tmp_path / "agent.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    assert "hall-pc-1" == load(tmp_path / "agent.toml").agent


@pytest.mark.parametrize("path", ["nowhere.toml", ""])
def test_settings_that_cannot_be_read(tmp_path, path):
    """Not there, or a folder: what, and how to name another."""
    [first] = mistakes(tmp_path / path)

    assert "读不了: " in first
    assert "name it with --config" in first


# ---- secrets


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "'secret' 是空文件 / 'secret' is empty"),
        (b" \n\t", "'secret' 是空文件 / 'secret' is empty"),
        (b"\xef\xbb\xbf\r\n", "'secret' 是空文件 / 'secret' is empty"),
        (b"\xff\xfe", "'secret' 不是 UTF-8 文本 / 'secret' is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("key", ["uplink.password_file", "door.token_file"])
def test_a_secret_that_is_none_is_a_mistake(written, tmp_path, content, words, key):
    """An empty token would let everybody in. Red if an empty file is an empty word."""
    (tmp_path / "secret").write_bytes(content)
    if key.startswith("uplink"):
        text = GOOD.replace('password = "a-password"', 'password_file = "secret"')
    else:
        text = GOOD + '[door]\ntoken_file = "secret"\n'
    [first] = mistakes(written(text))

    assert f"agent.toml: {key}: " in first
    assert words in first


def test_a_secret_that_may_not_be_read_is_a_mistake(written, tmp_path):
    """A folder stands in for a file that only its owner may read: root may read any."""
    (tmp_path / "secret").mkdir()
    [first] = mistakes(written(GOOD.replace('password = "a-password"', 'password_file = "secret"')))

    assert "uplink.password_file: 'secret' 读不了: Is a directory / 'secret' cannot be read: " in first


def test_a_secret_in_a_file_loses_only_its_line_end(tmp_path):
    """Relative to the settings' folder."""
    (tmp_path / "word").write_text(" 口令 with spaces \r\n", encoding="utf-8")

    assert "口令 with spaces" == secret("x", "", "word", tmp_path)
    assert "given" == secret("x", "given", "", tmp_path)


def test_a_secret_from_notepad_is_the_word_alone(tmp_path):
    """Windows puts three bytes before it and a carriage return behind. Red if they are sent as part of a password."""
    (tmp_path / "word").write_bytes(b"\xef\xbb\xbfletmein\r\n")

    assert "letmein" == secret("x", "", "word", tmp_path)


# ---- in one language


def spoilt(text: str, folder: Path) -> list[Mistake]:
    """The mistakes of these settings."""
    with pytest.raises(BadSettings) as bad:
        checked(text.encode(), folder / "agent.toml")
    return bad.value.mistakes


SECRETS_OF_A_FILE = [
    GOOD.replace('password = "a-password"', f'password_file = "{name}"') for name in ("empty", "none", "folder", "odd")
]
TLS = [
    GOOD.replace('\n[[windows]]\nid = "1"', f'\n[uplink.tls]\n{lines}\n[[windows]]\nid = "1"')
    for lines in ('ca = "odd"', 'certificate = "odd"', 'ca = "none"\ncertificate = "none"\nkey_file = "odd"')
]
PORTS = [
    GOOD.replace('"socket://10.0.0.7:4001"', f'"{port}"\nprofile = "{profile}"')
    for port, profile in (
        ("COM3", "screen"), ("udp:7", "sundyn-udp"), ("COM3", "hid-keypad"), ("COM3", "qs4"), ("COM3", "pj07"),
        ("COM3", "nothing-like-it"), ("COM3", "mine.toml"), ("COM3", "near.toml"), ("COM3", "nowhere.toml"),
    )
]  # fmt: skip
WHOLE = [
    *(GOOD.replace(old, new) for old, new, *_ in WRONG),
    *(on_a_bus(QS4.format(5, "COM3"), second) for second, *_ in UNSHARED),
    *SECRETS_OF_A_FILE,
    *TLS,
    *PORTS,
    GOOD.replace("hall-pc-1", "collector"),
    GOOD + 'profile = "key-byte"\naddress = 3\n',
    GOOD + "silent_after_s = [3]\n",
    GOOD + "no end\n",
    'agent = "a"\nwindows = []\n[uplink]\nhost = "b"\n',
]


@pytest.mark.parametrize("text", WHOLE)
def test_every_mistake_is_whole_in_each_language(tmp_path, text):
    """On the setup page only one is read. Red if a value, or the key, stands in one half alone; or if a half is put
    together of texts that are in both languages already."""
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    (tmp_path / "mine.toml").write_text('form = "text"\ntransport = "hid"\nspeed = 3\n', encoding="utf-8")
    (tmp_path / "near.toml").write_bytes(b"#" * (profiles.FILE_MAX + 1))

    assert [] == [(each.said("zh"), each.said("en")) for each in spoilt(text, tmp_path) if not whole_in_each(each)]


@pytest.mark.parametrize("port", ["COM3 / COM4", "x / is / y"])
def test_a_value_that_looks_like_two_languages_is_one(tmp_path, port):
    """Red if the halves are told apart by what stands between them."""
    [mistake] = spoilt(GOOD.replace("socket://10.0.0.7:4001", f"usb:{port}"), tmp_path)

    assert mistake.said("zh").startswith(f"agent.toml: windows[2].port: 'usb:{port}' 不对, 应为 ")
    assert mistake.said("en").startswith(f"agent.toml: windows[2].port: 'usb:{port}' is wrong, expected ")


def test_no_mistake_of_the_agent_is_given_as_text_alone():
    """A text of both languages would be taken apart where it happens to have a slash. Red with one such line."""
    found = []
    for file in sorted(Path(edge_agent.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadSettings":
                [given] = node.args
                listed = given.elts if isinstance(given, ast.List) else []
                found += [
                    f"{file.name}:{each.lineno}" for each in listed if isinstance(each, ast.Constant | ast.JoinedStr)
                ]

    assert [] == found
