"""What a province does wrong on purpose (A.3): how often, and that one seed is one behaviour."""

import random
from dataclasses import dataclass, fields, replace
from typing import Any

PER_CALL = (  # the next try of the same record may succeed
    "slow",  # right, but late
    "drop_before",  # the line is cut before anything is kept
    "stall_before",  # nothing is kept, and no answer comes for longer than anyone waits
    "timeout_after",  # it IS kept, and no answer comes for longer than anyone waits
    "empty",  # 200 without a body; half the time the record was kept before
    "rubbish",  # a web page instead of an answer; half the time the record was kept before
    "http_5xx",  # the gateway gives up; half the time the record was kept before
    "http_429",
    "http_401",
    "http_403",
    "token_lost",  # the gateway knows the token no longer
)
PER_RECORD = ("body_false", "missing_parameter", "bad_sign")  # the same refusal however often it is tried
FORGET = ("forget",)  # a case is gone, once, when its first rating comes


@dataclass(frozen=True)
class Misbehaviour:
    """How likely each kind is, from 0 to 1. All else follows from the seed, the record and the number of the try.

    Not from the order of calls: whichever thread comes first, one seed gives one behaviour.
    """

    seed: int = 0
    slow: float = 0.0
    drop_before: float = 0.0
    stall_before: float = 0.0
    timeout_after: float = 0.0
    empty: float = 0.0
    rubbish: float = 0.0
    http_5xx: float = 0.0
    http_429: float = 0.0
    http_401: float = 0.0
    http_403: float = 0.0
    token_lost: float = 0.0
    body_false: float = 0.0
    missing_parameter: float = 0.0
    bad_sign: float = 0.0
    forget: float = 0.0

    def __post_init__(self) -> None:
        for names in (PER_CALL, PER_RECORD, FORGET):
            chances = [getattr(self, name) for name in names]
            if min(chances) < 0 or not sum(chances) <= 1:  # said so that NaN is refused as well
                raise ValueError(f"概率须在0到1之间 / chances must lie between 0 and 1, together: {', '.join(names)}")

    def pick(self, names: tuple[str, ...], about: str) -> tuple[str | None, random.Random]:
        """Which of these happens to what `about` names, if any, and the dice for the rest of it."""
        dice = random.Random(f"{self.seed} {names[0]} {about}")
        left = dice.random()
        for name in names:
            left -= getattr(self, name)
            if left < 0:
                return name, dice
        return None, dice


MISBEHAVIOURS = tuple(each.name for each in fields(Misbehaviour) if each.name != "seed")


def misbehaviour(seed: int, wishes: tuple[str, ...]) -> Misbehaviour:
    """Read `NAME:PROB` wishes; ValueError names the one that cannot be read."""
    chances: dict[str, Any] = {}
    for wish in wishes:
        name, _, chance = wish.partition(":")
        if name not in MISBEHAVIOURS:
            raise ValueError(f"{wish}: 名称应为 / the name must be one of {', '.join(MISBEHAVIOURS)}")
        chances[name] = float(chance)
    return replace(Misbehaviour(seed), **chances)
