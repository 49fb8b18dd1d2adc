"""What a conversation at the desk wants done: say this, ask that, open the port anew, it is over."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.words import Words

from . import Proposal
from .samples import Unsure

YES, NO = ("y", "yes", "是"), ("n", "no", "否")


@dataclass(frozen=True)
class Tell:
    """Say this to the person."""

    words: Words


@dataclass(frozen=True)
class Ask:
    """Say this, and expect an answer or a press."""

    words: Words


@dataclass(frozen=True)
class Reopen:
    """Open the port again at this rate."""

    baud: int


@dataclass(frozen=True)
class Finish:
    """It is over, with a profile or the words why not."""

    result: Proposal | Unsure


Act = Tell | Ask | Reopen | Finish
