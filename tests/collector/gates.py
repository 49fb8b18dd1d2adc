"""A door keeper who knows whom the test says: names, roles and forms without a sign-in."""

from __future__ import annotations

from collector.web.wrong import Wrong


class TestGate:
    """`role` is whose turn it is; `notes` what was written down."""

    __test__ = False

    def __init__(self) -> None:
        self.name, self.role = "李敏", "administrator"
        self.form_is_ours = True
        self.notes: list[tuple[str, str, str]] = []

    def person(self, *roles: str) -> str:
        if roles and self.role != "administrator" and self.role not in roles:
            raise Wrong(403, "role", "您的角色不能做这件事 / your role may not do this")
        return self.name

    def form(self) -> None:
        if not self.form_is_ours:
            raise Wrong(403, "form", "页面已过期 / this page is out of date")

    def note(self, action: str, about: str = "") -> None:
        self.notes.append((self.name, action, about))
