"""Somebody at the door of the operators' pages, who lets in whoever is said to be there."""

from __future__ import annotations

from flask import Flask, request
from markupsafe import Markup

from collector.mending.draws import Draws
from collector.mending.mendings import Mendings
from collector.statistics import Statistics
from collector.web import Works
from collector.web.gate import Role
from collector.web.wrong import Wrong
from tests.collector.ledgers import VAULT, Ledger

WORD = "our-own-form"


class StandIn:
    """A gate that believes the cookie `as`: `<name>:<role>`, in hex; without one it is 李敏, an operator."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str, str]] = []

    def keep(self, app: Flask) -> None:
        """Give the templates what they ask of a gate."""
        app.context_processor(
            lambda: {
                "csrf": lambda: Markup('<input type="hidden" name="form" value="{}">').format(WORD),
                "may": lambda *roles: self._role() == "administrator" or not roles or self._role() in roles,
            }
        )

    def person(self, *roles: Role) -> str:
        if roles and self._role() not in (*roles, "administrator"):
            raise Wrong(403, "role", "您的角色不能做这件事 / your role may not do this")
        return self._who()[0]

    def form(self) -> None:
        if request.form.get("form") != WORD:
            raise Wrong(403, "form", "页面已过期 / this page is out of date")

    def note(self, action: str, about: str = "") -> None:
        self.notes.append((self._who()[0], action, about))

    def _role(self) -> str:
        return self._who()[1]

    def _who(self) -> tuple[str, str]:
        name, _, role = bytes.fromhex(request.cookies.get("as", known("李敏", "operator"))).decode().partition(":")
        return name, role


def known(name: str, role: str) -> str:
    """The cookie of somebody."""
    return f"{name}:{role}".encode().hex()


def works_of(ledger: Ledger) -> Works:
    """What works on the ratings of this ledger."""
    mendings = Mendings(ledger.store, VAULT)
    return Works(mendings, Draws(ledger.store), Statistics(ledger.store, VAULT, mendings, ledger.directory))
