"""Somebody who is signed in, and a door keeper, for tests whose matter is something else."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from flask.testing import FlaskClient

from collector.people import People, Rules, SignedIn
from collector.people.file import File
from collector.people.roles import Role
from collector.web.keeper import Keeper
from tests.collector.agents import NOW_MS

_FOR_EVER = Rules(10**15, 10**15)  # tests move the clock
NAMES: dict[Role, str] = {"viewer": "王看", "operator": "李敏", "auditor": "赵审", "administrator": "管理"}
PASSWORD = "一个很长的口令2026"


@lru_cache(maxsize=1)
def _everybody() -> tuple[People, dict[Role, str]]:
    """One of each role, and their sessions; made once, for hashing a password takes a while."""
    people = People(File(Path(":memory:")), _FOR_EVER)
    sessions: dict[Role, str] = {}
    for role, name in NAMES.items():
        people.add(name, role, PASSWORD, "test", "", NOW_MS)
        signed_in = people.sign_in(name, PASSWORD, "127.0.0.1", NOW_MS)
        assert isinstance(signed_in, SignedIn)
        sessions[role] = signed_in.token
    return people, sessions


def gate(token: str = "t", now_ms: Callable[[], int] = lambda: NOW_MS) -> Keeper:
    """A keeper who knows one person of each role, and this token."""
    return Keeper(_everybody()[0], token, now_ms)


def signed_in(client: FlaskClient, role: Role = "administrator") -> FlaskClient:
    """The same client, as somebody of this role uses it; its application has a `gate` of this module."""
    people, sessions = _everybody()
    client.set_cookie(f"collector-{people.id[:8]}", sessions[role])
    return client


def cookie(url: str, role: Role = "administrator") -> dict[str, str]:
    """The same for a browser: what its context is given for the pages at this address."""
    people, sessions = _everybody()
    return {"name": f"collector-{people.id[:8]}", "value": sessions[role], "url": url}
