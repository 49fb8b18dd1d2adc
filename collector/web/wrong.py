"""How the API says no: a status, the field, and words for a person."""

from __future__ import annotations

EXCHANGED = "开始日期晚于结束日期, 请对调 / the first day is after the last: exchange them"
"""Said of days in the wrong order: what is counted of no day at all would look as if all were well."""


class Wrong(Exception):
    """A request that is answered with an error: HTTP status, the field, and words for a person."""

    def __init__(self, status: int, field: str, message: str):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"field": field, "message": message}}
