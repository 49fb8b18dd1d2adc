"""agent.toml as the setup page writes it: comments kept, secrets covered, mistakes found before anything changes."""

import stat
from pathlib import Path

import msgspec
import pytest

from edge_agent import config
from edge_agent.setup import apply, toml
from edge_agent.setup.draft import Draft, agent_name, device_id
from edge_agent.setup.fields import SECRETS, WORDS, fields
from protocols.errors import BadSettings
from protocols.frames import DEVICE

ROOT = Path(__file__).parent.parent.parent.parent
WRITTEN = """# ours
agent = "hall-pc-1"  # the name

[uplink]
host = "broker.example"
password = "hunter22"  # not in a file, alas

[door]
token = "door-token"

# by the entrance
[[windows]]
id = "1"
device = "D1"
port = "/dev/ttyS0"
"""
DRAFT = Draft(agent="a1", host="b.example", kind="serial", bind="usb:1-1.3", profile="house", window="7", device="D7")


def test_every_key_of_the_settings_has_its_words():
    """In both languages; and no words stand there for a key that is gone."""
    known = {field.key for field in fields()}

    assert known == set(WORDS)
    assert all(words.zh and words.en for words in WORDS.values())
    assert set(SECRETS) <= known


@pytest.mark.parametrize(
    "draft",
    [
        DRAFT,
        Draft(agent="a1", later=True, kind="screen", profile="page", window="1", device="S1"),
        Draft(
            agent="a1", later=True, kind="udp", bind="udp://10.0.0.2:8001", profile="sundyn-udp", window="1", device="T"
        ),
        Draft(agent="a1", later=True, kind="serial", bind="COM3", profile="qs4", window="1", device="Q", address=5),
        Draft(
            agent="a1", later=True, kind="serial", bind='/dev/"\\一', profile="pj06", window="1", device="Q", baud=19200
        ),
    ],
)
def test_what_the_guide_writes_is_read_back(tmp_path, draft):
    """As it was meant, by the agent's own reading."""
    apply.keep_secret(tmp_path, "door.token")
    settings = config.checked(toml.new_text(draft, 8610).encode(), tmp_path / "agent.toml")
    window = settings.windows[0]

    assert (draft.agent, draft.window, draft.device) == (settings.agent, window.id, window.device)
    assert (draft.bind, draft.profile, draft.address) == (window.port, window.profile, window.address)
    assert settings.door is not None
    assert settings.door.has_setup


def test_a_window_is_added_and_not_a_byte_else_changes(tmp_path):
    """What a person wrote stays."""
    text = toml.with_window(WRITTEN, DRAFT)

    assert text.startswith(WRITTEN)
    assert ["1", "7"] == [window.id for window in config.checked(text.encode(), tmp_path / "agent.toml").windows]


def test_one_value_changes_and_the_comments_stay():
    """A number is written as one, an emptied value is taken out, a table that was not there is made."""
    wanted = {"uplink.port": "8883", "windows.0.invite_s": "45", "uplink.tls.ca": "ca.crt", "door.setup": "false"}
    text = toml.changed(WRITTEN, wanted, fields())
    gone = toml.changed(text, {"windows.0.invite_s": ""}, fields())

    assert "port = 8883" in text
    assert '[uplink.tls]\nca = "ca.crt"' in text
    assert "setup = false" in text
    assert all(line in text for line in ("# ours", "# the name", "# by the entrance", "# not in a file, alas"))
    assert "invite_s = 45" in text
    assert "invite_s" not in gone


def test_secrets_are_never_shown_and_stay_when_left_alone():
    """In the form, in the text, in what changes; a new one is taken."""
    shown = toml.covered(WRITTEN)
    back = toml.uncovered(shown, WRITTEN)
    other = toml.changed(WRITTEN, {"uplink.password": "swordfish1"}, fields())
    every = [shown, str(toml.values(WRITTEN)), *toml.difference(WRITTEN, other), toml.covered("password = = broken")]

    assert not [text for text in every if "hunter22" in text or "door-token" in text or "swordfish1" in text]
    assert WRITTEN == back
    assert WRITTEN == toml.changed(WRITTEN, {"uplink.password": toml.COVERED}, fields())
    assert 'password = "swordfish1"' in other
    assert toml.difference(WRITTEN, other)


def test_a_mistake_is_told_with_its_key_and_nothing_is_written(tmp_path):
    """As a form calls the key."""
    file = tmp_path / "agent.toml"
    file.write_text(WRITTEN)
    wrong = WRITTEN.replace("/dev/ttyS0", "nowhere").replace('id = "1"', 'id = "a b"')
    with pytest.raises(BadSettings) as error:
        apply.apply(wrong.replace("a b", "1"), file, 0)
    with pytest.raises(BadSettings) as name:
        apply.apply(wrong, file, 0)

    assert {"windows.0.port"} == set(apply.by_key(error.value))
    assert {"windows.0.id"} == set(apply.by_key(name.value))
    assert WRITTEN == file.read_text()
    assert ["agent.toml"] == [each.name for each in tmp_path.iterdir()]


def test_the_old_settings_are_kept_and_the_new_ones_are_private(tmp_path):
    """Also when it is done twice within a second."""
    file = tmp_path / "agent.toml"
    file.write_text(WRITTEN)
    first = apply.apply(WRITTEN.replace("# ours", "# 1"), file, 1_790_000_000_001)
    second = apply.apply(WRITTEN.replace("# ours", "# 2"), file, 1_790_000_000_002)

    assert first is not None and second is not None and first != second
    assert [WRITTEN, WRITTEN.replace("# ours", "# 1")] == [first.read_text(), second.read_text()]
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_names_are_proposed_that_nobody_has(tmp_path):
    """After the machine; after the window and what stands there, as a line takes it."""
    twice = toml.with_window(WRITTEN.replace('device = "D1"', 'device = "7-btn"'), DRAFT)
    settings = config.checked(toml.with_window(WRITTEN, DRAFT).encode(), tmp_path / "agent.toml")

    assert ["hall-7", "hall-pc-1", "hall-pc-1", "pc"] == [
        agent_name(each) for each in ("HALL-7", "", "collector", "-pc-")
    ]
    assert ["A03-page", "A03-btn", "A03-tablet", "A-3-btn"] == [
        device_id(window, kind, settings)
        for window, kind in (("A03", "screen"), ("A03", "serial"), ("A03", "udp"), ("A.3", "hid"))
    ]
    assert "7-btn2" == device_id("7", "serial", config.checked(twice.encode(), tmp_path / "agent.toml"))
    assert all(DEVICE.fullmatch(device_id(window, "screen", None)) for window in ("a" * 64, "A-", "x.y"))
    assert "" == device_id("", "screen", None)


def test_the_keys_of_our_own_page_are_not_asked_of_the_centre():
    """They are the levels, wherever it stands; those of any other device are named, or said to be unknown."""
    own = toml.directory_text(msgspec.structs.replace(DRAFT, profile="page"), None)

    assert "keys" not in own
    assert toml.directory_text(DRAFT, {}).endswith("\nkeys = {}")
    assert toml.directory_text(DRAFT, {"1": '"satisfied"'}).endswith('\nkeys = { 1 = "satisfied" }')
