"""What the door answers when a request cannot be done: a status, the field, a code for programs, words for people."""

from __future__ import annotations

import errno
from typing import Any

from ..outbox.file import FULL, READ_ONLY

NOT_YET, STOPPING, NO_KEY = "not_yet", "stopping", "no_details_key"
"""What `error.code` says, for programs, beside FULL and READ_ONLY: these stay as they are."""
WHY = {FULL: ("存储已满", "storage is full"), READ_ONLY: ("存储只读", "storage is read-only")}
"""In words, Chinese and English."""
_WHAT = {
    "press": ("本次评价没有收下, 请稍后再按", "this rating was not accepted, please press again later"),
    "call": (
        "邀请未打开也未结束, 请稍后再试",
        "no invitation was opened or ended, please try again later",
    ),
}


class Wrong(Exception):
    """A request that is answered with an error: HTTP status, the field, and words for a person. `later`: after a while
    it is worth another try."""

    def __init__(self, status: int, field: str, message: str, later: bool = False, **more: Any):
        super().__init__(message)
        self.status = status
        self.later = later
        self.body = {"error": {"field": field, "message": message, **more}}


def unwritten(error: OSError) -> Wrong:
    """What was to change could not be written down, and has not changed."""
    words = f"没有办成: 本机写不进磁盘 ({error.strerror}), 请告诉信息人员"
    code = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else READ_ONLY
    return Wrong(507, "", f"{words} / not done: this machine's disk takes nothing, tell hall IT", later=True, code=code)


def no_room(why: str, what: str) -> Wrong:
    """Nothing is accepted for want of room. `why`: FULL or READ_ONLY; `what`: press or call."""
    words = f"{WHY[why][0]}, {_WHAT[what][0]} / {WHY[why][1]}, {_WHAT[what][1]}"
    return Wrong(507, "", words, later=True, code=why)
