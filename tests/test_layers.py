"""Which way imports point, where each library lives and who may look at a clock: held by reading every file.

Every rule is a function from the sources to its violations, and is seen to turn red below by a line put into a copy.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from configparser import ConfigParser
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocols", "edge_agent", "collector", "firmware_sim")

MAY_IMPORT = {
    "protocols": set(),
    "edge_agent": {"protocols"},
    "collector": {"protocols"},
    "firmware_sim": {"protocols"},
}
# A simulator is written from the description, never from our own encoder; the fleet stands for agents and is one.
SIMULATORS_WITH_OUR_WORDS = {"firmware_sim/fleet.py"}

ANYWHERE = ("",)
LIBRARIES = {
    "protocols": {"msgspec": ANYWHERE, "cryptography": ("seal.py", "seal_sm.py", "sm4.py"), "fastecdsa": ("sm2.py",)},
    "edge_agent": {
        "msgspec": ANYWHERE,
        "click": ("cli.py", "ground.py", "staff.py", "doctor/commands.py", "doctor/desk.py", "doctor/terminal.py"),
        "flask": (
            "door/__init__.py",
            "door/language.py",
            "door/rating.py",
            "door/clerk.py",
            "door/streams.py",
            "door/setup/__init__.py",
            "door/setup/guide/__init__.py",
            "door/setup/guide/bind.py",
            "door/setup/guide/device.py",
            "door/setup/guide/learn.py",
            "door/setup/guide/name.py",
            "door/setup/guide/trial.py",
            "door/setup/guide/walk.py",
            "door/setup/broker.py",
            "door/setup/cards.py",
            "door/setup/home.py",
            "door/setup/restart.py",
        ),
        "minimalmodbus": ("modbus.py",),
        "paho": ("uplink.py", "setup/broker.py"),
        "serial": ("link.py",),
        "tomlkit": ("setup/toml.py",),
        "waitress": ("door/__init__.py",),
        "werkzeug": ("door/__init__.py", "door/setup/__init__.py"),
    },
    "collector": {
        "msgspec": ANYWHERE,
        "argon2": ("people/passwords.py",),
        "apprise": ("alerts/carrier.py",),
        "click": (
            "cli/__init__.py",
            "cli/alerts.py",
            "cli/codes.py",
            "cli/desk.py",
            "cli/evidence.py",
            "cli/ground.py",
            "cli/keys.py",
            "cli/mending.py",
            "cli/people.py",
            "cli/questions.py",
        ),
        "cryptography": ("checkpoint.py", "vault.py"),
        "flask": (
            "web/__init__.py",
            "web/alerts.py",
            "web/board.py",
            "web/channels.py",
            "web/desk.py",
            "web/desk_pages.py",
            "web/draws.py",
            "web/exports.py",
            "web/healthz.py",
            "web/keeper.py",
            "web/language.py",
            "web/log.py",
            "web/mending.py",
            "web/metrics.py",
            "web/odd.py",
            "web/pages.py",
            "web/people.py",
            "web/statistics.py",
            "web/windows.py",
        ),
        "markupsafe": ("web/keeper.py", "web/language.py"),
        "paho": ("inbox.py",),
        "requests": ("calls.py",),
        "segno": ("cli/codes.py",),
        "sqlite_utils": ("ledger/store.py",),
        "tenacity": ("alerts/alerts.py", "forwarder.py"),
        "urllib3": ("calls.py",),
        "waitress": ("web/__init__.py",),
        "werkzeug": ("web/__init__.py", "web/alerts.py"),
        "xlsxwriter": ("web/sheets.py",),
    },
    "firmware_sim": {
        "amqtt": ("broker.py",),
        "click": ("broker.py", "cli.py", "demo.py", "fleet.py", "morning.py", "province/process.py"),
        "cryptography": ("province/linewell.py",),
        "paho": ("fleet.py",),
        "requests": ("morning.py",),
    },
}
DISTRIBUTIONS = {  # what pip calls them; the last three come with another
    "argon2": "argon2-cffi",
    "paho": "paho-mqtt",
    "serial": "pyserial",
    "sqlite_utils": "sqlite-utils",
    "werkzeug": "flask",
    "markupsafe": "flask",
    "urllib3": "requests",
    "xlsxwriter": "XlsxWriter",
}
EXTRAS = {"edge_agent": "agent", "collector": "collector", "firmware_sim": "sim"}

CLOCK_FILES = {
    "edge_agent/clock.py",
    "collector/__main__.py",
    "collector/cli/alerts.py",
    "collector/cli/desk.py",
    "collector/cli/evidence.py",
    "collector/cli/mending.py",
    "collector/cli/people.py",
    "collector/cli/questions.py",
    "collector/forwarder.py",  # loops: how long a call takes, and may take
    "collector/calls.py",
}
CLOCKS = {
    "time": re.compile(r"(time|monotonic|perf_counter|process_time|thread_time|clock_gettime)(_ns)?|(local|gm|c)time"),
    "datetime": re.compile("now|utcnow|today"),
    "date": re.compile("today"),
}

PURE = {
    "__future__",
    "base64",
    "binascii",
    "collections",
    "dataclasses",
    "datetime",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "importlib.resources",
    "json",
    "operator",
    "re",
    "secrets",
    "struct",
    "tomllib",
    "types",
    "typing",
    "urllib.parse",
    "xml.etree",
    "xml.sax.saxutils",
    "zlib",
}
IO_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
# Flask where there is a door; the command line, last; apprise where there is a receiver.
LOADERS = {"edge_agent/__main__.py", "collector/__main__.py", "collector/alerts/wiring.py"}

OUTSIDE = re.compile(r"/(work|home|root|tmp|etc|var|usr|opt|mnt|srv|proc|dev|sys|run)/|\.\./")
OUTSIDE_OF_THE_HOUSE = {
    "edge_agent/doctor/keypads.py": {"cat /proc/bus/input/devices"},  # what a person can look at
    "edge_agent/clock.py": {"/proc/sys/kernel/random/boot_id"},
    "edge_agent/keypad.py": {"/dev/input", "/proc/bus/input/devices"},  # where Linux has its keypads
    "edge_agent/ports.py": {"/dev/serial/by-path/…, /dev/ttyS0, COM3"},  # what a port in the settings may look like
    "firmware_sim/demo.py": {":/usr/sbin"},  # where mosquitto is found
    "firmware_sim/sm2.py": {"/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib"},
}

Sources = Mapping[str, str]
Rule = Callable[[Sources], list[str]]


def sources() -> dict[str, str]:
    """Every Python file of the product, by its path."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}


@lru_cache(maxsize=1000)  # every rule reads every file, and each change below changes one
def nodes(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(source)))


# ---- what a file imports


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@lru_cache(maxsize=1000)
def imports(path: str, source: str) -> tuple[tuple[str, list[str]], ...]:
    """Each module that the file imports from, by its whole name, and what it takes from it."""
    return tuple(_imports(path.split("/")[:-1], source))


def _imports(inside: list[str], source: str) -> Iterator[tuple[str, list[str]]]:
    for node in nodes(source):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])]), [alias.name for alias in node.names]


def modules_imported(path: str, files: Sources) -> set[str]:
    """The modules of ours that the file names: `from . import clock` means clock, not the package around it."""
    ours = {module_of(each) for each in files}
    found: set[str] = set()
    for module, names in imports(path, files[path]):
        inner = {f"{module}.{name}" for name in names} & ours
        found |= inner or ({module} & ours)
    return found


def tops(path: str, source: str) -> set[str]:
    return {module.split(".")[0] for module, _ in imports(path, source)}


def libraries_of(path: str, source: str) -> set[str]:
    return {top for top in tops(path, source) if top not in sys.stdlib_module_names and top not in PACKAGES}


# ---- the rules


def imports_point_one_way(files: Sources) -> list[str]:
    """protocols imports none of the others; the other three never one another."""
    wrong = []
    for path, source in files.items():
        package = path.split("/")[0]
        for other in sorted(tops(path, source) & set(PACKAGES) - {package} - MAY_IMPORT[package]):
            wrong.append(f"{path} imports {other}")
    return wrong


def simulators_speak_for_themselves(files: Sources) -> list[str]:
    """What stands for a device, a line, a broker or a province takes no word from protocols."""
    return [
        f"{path} imports protocols"
        for path in sorted(files.keys() - SIMULATORS_WITH_OUR_WORDS)
        if path.startswith("firmware_sim/") and "protocols" in tops(path, files[path])
    ]


def each_library_has_one_home(files: Sources) -> list[str]:
    """In the file of the table and in no other; a table that says more than is there is wrong too."""
    wrong = []
    for path, source in files.items():
        package, _, file = path.partition("/")
        for library in sorted(libraries_of(path, source)):
            homes = LIBRARIES[package].get(library, ())
            if homes != ANYWHERE and file not in homes:
                wrong.append(f"{path} imports {library}, which lives in {', '.join(homes) or 'no file'} of {package}")
    for package, homes_of in LIBRARIES.items():
        for library, homes in homes_of.items():
            for path in (f"{package}/{file}" for file in homes if homes != ANYWHERE):
                if library not in libraries_of(path, files.get(path, "")):
                    wrong.append(f"{path} does not import {library}, as the table says")
    return wrong


def clocks_are_read_in_few_places(files: Sources) -> list[str]:
    """Everything else is handed `now_ms`; a simulator has its own time."""
    return [
        f"{path}:{line} reads {clock}"
        for path, source in files.items()
        if path not in CLOCK_FILES and not path.startswith("firmware_sim/")
        for line, clock in clock_reads(source)
    ]


def clock_reads(source: str) -> Iterator[tuple[int, str]]:
    for node in nodes(source):
        if isinstance(node, ast.Attribute):
            of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if of in CLOCKS and CLOCKS[of].fullmatch(node.attr):
                yield node.lineno, f"{of}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (
                (node.lineno, f"time.{each.name}") for each in node.names if CLOCKS["time"].fullmatch(each.name)
            )
        elif isinstance(node, ast.Import | ast.ImportFrom):
            hidden = [each for each in node.names if each.name in CLOCKS and each.asname not in (None, each.name)]
            yield from ((node.lineno, f"{each.name} under the name of {each.asname}") for each in hidden)


def imports_stand_at_the_top(files: Sources) -> list[str]:
    """None inside a function, none by name but where a whole program is put together."""
    wrong = []
    for path, source in files.items():
        for function in nodes(source):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
                wrong += [f"{path}:{node.lineno} imports inside {function.name}" for node in inner]
        if path not in LOADERS:
            names = [node for node in nodes(source) if getattr(node, "attr", getattr(node, "id", "")) in _BY_NAME]
            wrong += [f"{path}:{node.lineno} imports by name" for node in names]
    return wrong


_BY_NAME = {"import_module", "__import__", "exec_module", "run_module", "run_path"}


def no_import_goes_in_a_circle(files: Sources) -> list[str]:
    """Within a package or across; each circle is named by one of its ways round."""
    edges = {module_of(path): modules_imported(path, files) for path in files}
    done: set[str] = set()

    def circle(module: str, way: tuple[str, ...]) -> list[str]:
        if module in way:
            return [" → ".join((*way[way.index(module) :], module))]
        if module in done:
            return []
        found = [each for other in sorted(edges[module]) for each in circle(other, (*way, module))]
        done.add(module)
        return found

    return [each for module in sorted(edges) for each in circle(module, ())]


def protocols_is_pure(files: Sources) -> list[str]:
    """Bytes and values: of the standard library only what neither reads, writes, waits nor asks for the time."""
    wrong = []
    for path, source in files.items():
        if not path.startswith("protocols/"):
            continue
        for module, names in imports(path, source):
            top = module.split(".")[0]
            allowed = PURE | PACKAGES_AND_LIBRARIES
            if not {module, top, *(f"{module}.{name}" for name in names)} & allowed:
                wrong.append(f"{path} imports {module}")
        calls = [node.func.id for node in nodes(source) if _is_call_by_name(node)]
        wrong += [f"{path} calls {call}" for call in calls if call in IO_CALLS]
    return wrong


PACKAGES_AND_LIBRARIES = {"protocols", *LIBRARIES["protocols"]}


def _is_call_by_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def nothing_outside_is_named(files: Sources) -> list[str]:
    """No path to somewhere else on the machine that builds it, save the few that every such machine has."""
    return [
        f"{path}:{node.lineno} names {node.value!r}"
        for path, source in files.items()
        for node in nodes(source)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and OUTSIDE.search(node.value)
        and node.value not in OUTSIDE_OF_THE_HOUSE.get(path, ())
    ]


BY_NAME = {"edge_agent": ["protocols.seal"]}  # loaded where it is configured, by LOADERS


def extras_are_what_is_imported(files: Sources) -> list[str]:
    """A window PC gets what its agent imports, directly or through protocols, and nothing of the collector's."""
    wrong = []
    for package, extra in EXTRAS.items():
        libraries = {each for path in reached(package, files) for each in libraries_of(path, files[path])}
        needed = {DISTRIBUTIONS.get(each, each) for each in libraries}
        installed = distributions("options", "install_requires") | distributions("options.extras_require", extra)
        wrong += [f"{extra} lacks {each}" for each in sorted(needed - installed)]
        wrong += [f"{extra} has {each}, which nobody imports" for each in sorted(installed - needed - {"msgspec"})]
    return wrong


def reached(package: str, files: Sources) -> set[str]:
    """The files that are loaded for a package, whatever part of it runs."""
    path_of = {module_of(path): path for path in files}
    found: set[str] = set()
    waiting = [module for module in path_of if module.split(".")[0] == package] + BY_NAME.get(package, [])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            around = module.rpartition(".")[0]  # loading a module loads the packages around it
            waiting += [*modules_imported(path_of[module], files), *([around] if around else [])]
    return {path_of[module] for module in found}


def distributions(section: str, option: str) -> set[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    lines = config.get(section, option).split("\n")
    return {re.split(r"[ <>=!~\[]", line.strip(), maxsplit=1)[0] for line in lines if line.strip() and line[0] != "#"}


RULES: tuple[Rule, ...] = (
    imports_point_one_way,
    simulators_speak_for_themselves,
    each_library_has_one_home,
    clocks_are_read_in_few_places,
    imports_stand_at_the_top,
    no_import_goes_in_a_circle,
    protocols_is_pure,
    nothing_outside_is_named,
    extras_are_what_is_imported,
)


# ---- the rules hold, and each can turn red


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule):
    """What it says is in its docstring; what turns it red, below."""

    assert [] == rule(sources())


@pytest.mark.parametrize(
    ("rule", "path", "line"),
    [
        (imports_point_one_way, "protocols/frames.py", "import edge_agent"),
        (imports_point_one_way, "protocols/dialects/txnbody/__init__.py", "from collector.config import Settings"),
        (imports_point_one_way, "edge_agent/window.py", "from collector.directory import Directory"),
        (imports_point_one_way, "edge_agent/link.py", "import firmware_sim.line"),
        (imports_point_one_way, "collector/web/__init__.py", "from edge_agent import clock"),
        (imports_point_one_way, "collector/ledger/store.py", "if True:\n    import firmware_sim"),
        (imports_point_one_way, "firmware_sim/demo.py", "from collector.cli import main"),
        (imports_point_one_way, "firmware_sim/panel.py", "def late():\n    import edge_agent.outbox"),
        (simulators_speak_for_themselves, "firmware_sim/panel.py", "from protocols.frames import encode"),
        (simulators_speak_for_themselves, "firmware_sim/province/__init__.py", "from protocols import sm2"),
        (each_library_has_one_home, "edge_agent/window.py", "import serial"),
        (each_library_has_one_home, "edge_agent/cli.py", "from paho.mqtt import client"),
        (each_library_has_one_home, "edge_agent/link.py", "import minimalmodbus"),
        (each_library_has_one_home, "edge_agent/outbox/__init__.py", "from flask import g"),
        (each_library_has_one_home, "edge_agent/door/__init__.py", "import requests"),
        (each_library_has_one_home, "collector/inbox.py", "import sqlite_utils"),
        (each_library_has_one_home, "collector/ledger/intake.py", "import requests.adapters"),
        (each_library_has_one_home, "collector/web/__init__.py", "import tenacity"),
        (each_library_has_one_home, "collector/ledger/checkpoints.py", "from cryptography import x509"),
        (each_library_has_one_home, "protocols/frames.py", "import fastecdsa"),
        (each_library_has_one_home, "protocols/frames.py", "import numpy"),
        (each_library_has_one_home, "firmware_sim/line.py", "import serial"),
        (clocks_are_read_in_few_places, "edge_agent/outbox/__init__.py", "import time\nnow = time.time()"),
        (clocks_are_read_in_few_places, "edge_agent/outbox/__init__.py", "import time\nnow = time.time_ns"),
        (clocks_are_read_in_few_places, "edge_agent/uplink.py", "from time import monotonic"),
        (clocks_are_read_in_few_places, "edge_agent/uplink.py", "import time as t"),
        (clocks_are_read_in_few_places, "edge_agent/__main__.py", "import time\ntime.perf_counter()"),
        (clocks_are_read_in_few_places, "collector/inbox.py", "from datetime import datetime\ndatetime.now()"),
        (clocks_are_read_in_few_places, "collector/normalize.py", "import datetime\ndatetime.datetime.utcnow()"),
        (clocks_are_read_in_few_places, "protocols/messages.py", "import datetime\ndatetime.date.today()"),
        (imports_stand_at_the_top, "collector/cli/ground.py", "def late():\n    import json"),
        (imports_stand_at_the_top, "edge_agent/cli.py", "async def late():\n    from . import door"),
        (imports_stand_at_the_top, "edge_agent/cli.py", "import importlib\nimportlib.import_module('flask')"),
        (imports_stand_at_the_top, "firmware_sim/cli.py", "__import__('requests')"),
        (no_import_goes_in_a_circle, "edge_agent/outbox/__init__.py", "from ..window import Window"),
        (no_import_goes_in_a_circle, "edge_agent/clock.py", "from . import cli"),
        (no_import_goes_in_a_circle, "collector/ledger/store.py", "from .intake import Intake"),
        (no_import_goes_in_a_circle, "collector/directory.py", "from .reconcile import KEYS"),
        (no_import_goes_in_a_circle, "protocols/errors.py", "from protocols.messages import NAME"),
        (no_import_goes_in_a_circle, "firmware_sim/panel.py", "import firmware_sim.line"),
        (protocols_is_pure, "protocols/frames.py", "import logging"),
        (protocols_is_pure, "protocols/chain.py", "import os"),
        (protocols_is_pure, "protocols/settings.py", "from pathlib import Path"),
        (protocols_is_pure, "protocols/dialects/txnbody/__init__.py", "import urllib.request"),
        (protocols_is_pure, "protocols/dialects/__init__.py", "import importlib"),
        (protocols_is_pure, "protocols/sm2.py", "open('key.pem')"),
        (nothing_outside_is_named, "edge_agent/config.py", "PATH = '/etc/hall/agent.toml'"),
        (nothing_outside_is_named, "collector/cli/ground.py", "PATH = f'/home/{1}/x'"),
        (nothing_outside_is_named, "firmware_sim/demo.py", "PATH = '../shared'"),
        (extras_are_what_is_imported, "edge_agent/cli.py", "import requests"),
        (extras_are_what_is_imported, "edge_agent/cli.py", "from protocols.sm2 import encrypt"),
        (extras_are_what_is_imported, "edge_agent/cli.py", "import protocols.dialects.txnbody"),
        (extras_are_what_is_imported, "collector/cli/ground.py", "import serial"),
        (extras_are_what_is_imported, "firmware_sim/cli.py", "import flask"),
    ],
)
def test_the_rule_turns_red(rule, path, line):
    """By this line at the end of that file; nothing is written."""
    files = sources()
    worse = {**files, path: f"{files[path]}\n{line}\n"}

    assert set(rule(worse)) - set(rule(files))


@pytest.mark.parametrize(
    ("path", "gone", "expected"),
    [
        ("edge_agent/link.py", "import serial", "agent has pyserial, which nobody imports"),
        ("collector/cli/codes.py", "import segno", "collector has segno, which nobody imports"),
        ("protocols/sm2.py", "from fastecdsa", "collector has fastecdsa, which nobody imports"),
    ],
)
def test_what_is_no_longer_imported_is_no_longer_installed(path, gone, expected):
    """Nor stays it in the table of libraries above."""
    files = sources()
    files[path] = "\n".join(line for line in files[path].split("\n") if not line.startswith(gone))

    assert expected in extras_are_what_is_imported(files)
    assert any("as the table says" in each for each in each_library_has_one_home(files))


# ---- everything that is written, not only what runs

WRITTEN = {"", ".py", ".md", ".toml", ".cfg", ".html", ".js", ".css", ".conf", ".yaml", ".yml", ".service", ".rules"}
OURS = (*PACKAGES, "tests", "docs", "deploy", ".ci")


def written() -> Iterator[Path]:
    yield from (file for file in ROOT.iterdir() if file.is_file() and file.suffix in WRITTEN)
    for folder in OURS:
        yield from (file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix in WRITTEN)


def naming(files: Mapping[Path, str]) -> list[str]:
    """The files that name the folder of those who build this."""
    desk = "/" + "work" + "/"
    return [str(file) for file, text in files.items() if desk in text]


def test_nothing_names_the_desk_it_was_written_on():
    """In no file of any kind: it is not there where this runs. Red with one line more, as the last assertion shows."""
    files = {file: file.read_text("utf-8") for file in written()}
    desk = "/".join(("see ", "work", "shared"))

    assert [] == naming(files)
    assert [str(Path(__file__))] == naming({**files, Path(__file__): desk})
