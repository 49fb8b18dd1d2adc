"""A door keeper who believes what a test says of who is there, and remembers what was noted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from flask import g, request

from collector.mending.draws import Draws
from collector.mending.mendings import Mendings
from collector.people import People
from collector.people.file import File
from collector.people.roles import Person, Role
from collector.statistics import Statistics
from collector.web import Works
from collector.web.keeper import Keeper
from collector.web.wrong import Wrong
from tests.collector.agents import NOW_MS
from tests.collector.ledgers import VAULT, Ledger

WORD = "our-own-form"


class StandIn(Keeper):
    """Whoever comes is this person in this role, or whom the cookie `as` names (see `known`); the token is `t`."""

    def __init__(self, role: str = "administrator", name: str = "李敏"):
        super().__init__(People(File(Path(":memory:"))), "t", lambda: NOW_MS)
        self.name, self.role = name, role
        self.notes: list[tuple[str, str, str]] = []
        """Who did what, about what."""

    def person(self, *roles: Role) -> str:
        who = self._there()
        if not who.may(*roles):
            raise Wrong(403, "role", "您的角色不能做这件事 / your role may not do this")
        return who.name

    def still_there(self) -> bool:
        return True

    def form(self) -> None:
        if request.headers.get("X-Form") != WORD and request.form.get("form") != WORD:
            raise Wrong(403, "form", "页面已过期 / this page is out of date")

    def note(self, action: str, about: str = "") -> None:
        self.notes.append((self._there().name, action, about))

    def _let_in(self) -> Any:
        g.person = self._there()

    def _form_word(self) -> str:
        return WORD

    def _there(self) -> Person:
        said = request.cookies.get("as", "")
        name, _, role = bytes.fromhex(said).decode().partition(":") if said else (self.name, "", self.role)
        return Person(name, cast(Role, role), False, False, NOW_MS, NOW_MS)


def known(name: str, role: str) -> str:
    """The cookie of somebody."""
    return f"{name}:{role}".encode().hex()


def works_of(ledger: Ledger) -> Works:
    """What works on the ratings of this ledger."""
    mendings = Mendings(ledger.store, VAULT)
    return Works(mendings, Draws(ledger.store), Statistics(ledger.store, VAULT, mendings, ledger.directory))
