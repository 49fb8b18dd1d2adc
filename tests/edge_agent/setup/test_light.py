"""What nobody sets up carries nothing of it; and where the page is open."""

import subprocess
import sys

import pytest

from edge_agent.config import DoorSettings, is_loopback
from edge_agent.setup.beside import Beside
from tests.edge_agent.program import environment


def test_an_agent_that_nobody_sets_up_loads_nothing_of_the_page():
    """Its modules come with the first visit. Red if the command line imports one of them."""
    heavy = "{'flask', 'tomlkit', 'edge_agent.setup.desk', 'edge_agent.door.setup'}"
    code = f"import sys, edge_agent.cli, edge_agent.__main__; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())

    assert "" == done.stderr.strip()


@pytest.mark.parametrize(
    ("door", "open_"),
    [
        (DoorSettings(), True),
        (DoorSettings(host="localhost"), True),
        (DoorSettings(host="::1"), True),
        (DoorSettings(host="10.0.0.5"), False),
        (DoorSettings(host="0.0.0.0"), False),
        (DoorSettings(host="10.0.0.5", setup=True), True),
        (DoorSettings(setup=False), False),
    ],
)
def test_the_page_is_open_on_this_machine_alone_unless_told_so(door, open_):
    """Whoever sets a password first should sit at the machine."""

    assert open_ == door.has_setup


@pytest.mark.parametrize(("host", "ours"), [("127.9.9.9", True), ("[::1]", True), ("example", False), ("", False)])
def test_loopback_is_known_by_its_number(host, ours):
    """And localhost by its name."""

    assert ours == is_loopback(host)


def test_the_page_is_loaded_once_and_the_door_is_left_alone():
    """What is not under /setup/ goes to the door, whatever it is called."""
    asked, loaded = [], []

    def load():
        loaded.append(True)
        return lambda environ, _: [environ["PATH_INFO"].encode()]

    beside = Beside(lambda environ, _: asked.append(environ["PATH_INFO"]) or [], load)
    for path in ("/v1/invitations", "/setupx", "/rate/1", "/look/look.css"):
        beside({"PATH_INFO": path}, None)

    assert not loaded
    assert ["/v1/invitations", "/setupx", "/rate/1", "/look/look.css"] == asked
    assert [[b"/setup/"], [b"/"], [b"/setup/log"]] == [
        beside({"PATH_INFO": path}, None) for path in ("/setup", "/", "/setup/log")
    ]
    assert [True] == loaded
