"""Who stands at the door of the operators' pages in these tests: somebody with given roles."""

from __future__ import annotations

from werkzeug.exceptions import Forbidden


class Somebody:
    """A gate for one person, which remembers what was noted."""

    def __init__(self, *roles: str):
        self.roles = roles
        self.noted: list[tuple[str, str]] = []

    def person(self, *roles: str) -> str:
        if "administrator" not in self.roles and roles and not {*roles} & {*self.roles}:
            raise Forbidden
        return "somebody"

    def form(self) -> None:
        return None

    def note(self, action: str, about: str = "") -> None:
        self.noted.append((action, about))
