"""Who is who on the operators' pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "operator", "auditor", "administrator"]
"""A viewer looks; an operator also works on what is parked, bad or wrong; an auditor looks, draws spot checks and reads
what everybody did; an administrator may do all of it and says who has which role."""
ROLES: tuple[Role, ...] = get_args(Role)

WORDS = {
    "viewer": "查看人员 / viewer",
    "operator": "处理人员 / operator",
    "auditor": "审计人员 / auditor",
    "administrator": "管理员 / administrator",
}
"""What each role is called."""


@dataclass(frozen=True)
class Person:
    """Somebody who may sign in, unless `disabled`; `once`: the password was given out and has to be changed first."""

    name: str
    role: Role
    disabled: bool
    once: bool
    changed_ms: int
    signed_in_ms: int | None = None

    def may(self, *roles: Role) -> bool:
        """Whether this person has one of these roles; administrators have all, no role asked for means anybody."""
        return not roles or self.role == "administrator" or self.role in roles


class NotSo(Exception):
    """What somebody wants to be done about a person cannot be done, and why. `field` is what has to be put right."""

    def __init__(self, field: str, words: str):
        super().__init__(words)
        self.field = field
