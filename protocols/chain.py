"""The hash chain over records: whoever holds a head can tell whether anything before it was changed.

    head(0) = SHA-256("hcp/v1" LF agent LF epoch)
    head(n) = SHA-256(head(n-1) ‖ canonical bytes of record n)

The ledger has one of its own over the stretches that it took, of all agents, in the order in which it took them:

    stretch(0) = SHA-256("hcp/v1/ledger")
    stretch(n) = SHA-256(stretch(n-1) ‖ epoch LF first LF upto LF head(upto) LF received_ms)

The audit log of those who work at the collector's pages has a third, over its lines:

    line(0) = SHA-256("hcp/v1/people")
    line(n) = SHA-256(line(n-1) ‖ JSON of [n, at_ms, who, action, about, address])

Canonical bytes are exactly what travels. The beginning carries agent and epoch, so a stretch of one outbox
cannot be grafted onto another.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def genesis(agent: str, epoch: str) -> bytes:
    """The head of an outbox that has no record yet."""
    return sha256(f"hcp/v1\n{agent}\n{epoch}".encode()).digest()


def link(head: bytes, body: bytes) -> bytes:
    """The head after `body`."""
    return sha256(head + body).digest()


LEDGER = sha256(b"hcp/v1/ledger").digest()
"""The ledger's chain before its first stretch."""


PEOPLE = sha256(b"hcp/v1/people").digest()
"""The audit log's chain before its first line."""


def stretch(before: bytes, epoch: str, first: int, upto: int, head: bytes, received_ms: int) -> bytes:
    """The ledger's chain after it took records `first` to `upto` of this epoch, whose head they end with."""
    return sha256(before + f"{epoch}\n{first}\n{upto}\n{head.hex()}\n{received_ms}".encode()).digest()


def heads(head: bytes, bodies: Iterable[bytes]) -> list[bytes]:
    """The head after each of `bodies`, in order."""
    after = []
    for body in bodies:
        head = sha256(head + body).digest()
        after.append(head)
    return after
