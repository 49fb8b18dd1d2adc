"""The states of a mending, and which step leads from one to the next: one table, and nothing else decides.

The steps are the national ones (国办发〔2019〕51号): a bad rating is checked at once; what is clear and reasonable is
mended, what has no ground in law is explained, what is a mistake or malicious is not taken up; the citizen is told and
called back. Then another person than those who worked on it approves. A step that was wrong is put
right by a later one of the same kind: everything behind it is to be done again, and nothing that was noted ever goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

State = Literal["to_check", "to_mend", "to_answer", "to_call_back", "to_close", "closed"]
What = Literal["check", "mend", "answer", "call_back", "close", "reopen"]
Move = tuple[str, str]
"""A kind of step and its outcome."""

BEGINNING: State = "to_check"
"""Of a bad rating about which nobody has done anything: the rating itself is the work item."""
CLOSED: State = "closed"

_CHECK: dict[Move, State] = {
    ("check", "founded"): "to_mend",
    ("check", "unreasonable"): "to_answer",
    ("check", "unfounded"): "to_answer",
    ("check", "mistaken"): "to_close",
    ("check", "malicious"): "to_close",
}
_MEND: dict[Move, State] = {("mend", "done"): "to_answer"}
_ANSWER: dict[Move, State] = {("answer", "told"): "to_call_back", ("answer", "nobody"): "to_close"}
_CALL_BACK: dict[Move, State] = {
    ("call_back", "satisfied"): "to_close",
    ("call_back", "not_satisfied"): "to_close",
    ("call_back", "not_reached"): "to_call_back",
    ("call_back", "unreachable"): "to_close",
}
_CLOSE: dict[Move, State] = {("close", "approved"): "closed", ("close", "sent_back"): "to_check"}
_REOPEN: dict[Move, State] = {("reopen", "reopened"): "to_check"}

TABLE: dict[State, dict[Move, State]] = {
    "to_check": _CHECK,
    "to_mend": _CHECK | _MEND,
    "to_answer": _CHECK | _MEND | _ANSWER,
    "to_call_back": _CHECK | _MEND | _ANSWER | _CALL_BACK,
    "to_close": _CHECK | _MEND | _ANSWER | _CALL_BACK | _CLOSE,
    "closed": _REOPEN,
}
"""From each state: the steps that can be noted, and where each leads."""

NOT_TAKEN_UP = ("mistaken", "malicious")
"""误评, 恶意差评: counted for themselves, and in every total all the same."""
WORK = ("check", "mend", "answer", "call_back")
"""The steps of those who work on a mending; who took one of them does not approve it."""
NEEDS_WORDS = {*_CHECK, *_MEND, ("answer", "told"), ("call_back", "not_satisfied"), ("close", "sent_back"), *_REOPEN}
"""Steps that say nothing without words."""


def after(state: State, what: str, outcome: str) -> State | None:
    """Where this step leads; None if it cannot be noted here."""
    return TABLE[state].get((what, outcome))


def may_close(workers: Iterable[str], who: str) -> bool:
    """Whether this person may approve what those have worked on: nobody approves of their own work."""
    return who not in set(workers)
