"""Who may do what on the operators' pages: what every page asks before it shows or does something."""

from __future__ import annotations

from typing import Protocol

from ..people.roles import Role


class Gate(Protocol):
    """The door keeper of the operators' pages, for the request that is being answered."""

    def person(self, *roles: Role) -> str:
        """The name of who asks. Whoever is not signed in is sent to the sign-in page, and who has none of these roles
        is refused in words; administrators have them all, no role asked for means anybody who is signed in."""
        ...

    def still_there(self) -> bool:
        """Whether the same person may still be answered, where the answer goes on for hours."""
        ...

    def form(self) -> None:
        """Refuse a form that was not made by our own page for this person."""
        ...

    def note(self, action: str, about: str = "") -> None:
        """Write down for good that this person did this just now. No personal details of citizens."""
        ...
