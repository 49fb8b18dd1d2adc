"""办件: the details of a case as a business system gives them to either door, and what they are bound to when
hidden."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from . import bodies
from .bodies import BadBody
from .ratings import Case

CASE_NO_MAX = 50
SERVICES_MAX = 99
KEY_ID = 4  # bytes: enough to tell the few keys of one collector apart
TIME_MAX_MS = 253_000_000_000_000  # the year 9987: a calendar can show it in any zone
CaseNo = Annotated[str, Meta(min_length=1, max_length=CASE_NO_MAX, pattern=bodies.PRINTABLE)]
ServiceNumber = Annotated[int, Meta(ge=1, le=SERVICES_MAX)]

# msgspec works a type out when it first meets it, and the process dies if two threads do that at once: so it is done
# here, before there are any.
_case = msgspec.json.Decoder(Case)
_encode = msgspec.json.Encoder().encode
_FIELDS = {field.name for field in dataclasses.fields(Case)}
_TIMES = [name for name in sorted(_FIELDS) if name.endswith("_ms")]
_PRINTABLE = re.compile(bodies.PRINTABLE)


class Sealer(Protocol):
    """Hides texts for one key, see `seal`: whoever has it cannot open them again."""

    @property
    def key_id(self) -> str:
        """Which key, in hex."""

    def seal(self, text: bytes, about: bytes) -> bytes:
        """The text, so that only the key's owner reads it, and only as being about this."""


def case_of(item: object, where: str = "") -> Case:
    """The case that this decoded JSON says, which stands at `where` (`[2].`); BadBody names what is wrong."""
    if not isinstance(item, dict):
        raise BadBody(where.rstrip("."), f"{where}应为对象 / must be an object")
    unknown = sorted(str(name) for name in item if name not in _FIELDS)
    if unknown:
        raise BadBody(where + unknown[0], f"{where}{unknown[0]}: 没有这个字段 / no such field")
    case = bodies.shaped(item, Case, where)
    return checked(case, where)


def checked(case: Case, where: str = "") -> Case:
    """The same, if its numbers and times can be; BadBody names what cannot."""
    if not 1 <= len(case.case_no) <= CASE_NO_MAX or not _PRINTABLE.match(case.case_no):
        raise BadBody(where + "case_no", f"{where}case_no: 1–{CASE_NO_MAX} 个字符 / 1–{CASE_NO_MAX} characters")
    if not 1 <= case.service_number <= SERVICES_MAX:
        raise BadBody(where + "service_number", f"{where}service_number: 1–{SERVICES_MAX}")
    for name in _TIMES:
        if not 0 <= (getattr(case, name) or 0) <= TIME_MAX_MS:
            raise BadBody(where + name, f"{where}{name}: 应为毫秒 UTC / must be milliseconds UTC")
    return case


def encode_case(case: Case) -> bytes:
    """All of it, to be hidden."""
    return _encode(case)


def decode_case(text: bytes) -> Case:
    """What `encode_case` made, also of a newer program; BadBody if it is none."""
    try:
        return _case.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody("", "不是办件 / no case") from error


def about_case(case_no: str, service_number: int) -> bytes:
    """What the details of a case are bound to when they are hidden: they open for that case and no other."""
    return _encode([case_no, service_number])


def sealed_for(sealed: bytes) -> str:
    """Which key this was sealed for, in hex."""
    return sealed[1 : 1 + KEY_ID].hex()
