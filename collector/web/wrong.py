"""How the API says no: a status, the field, and words for a person."""

from __future__ import annotations


class Wrong(Exception):
    """A request that is answered with an error: HTTP status, the field, and words for a person."""

    def __init__(self, status: int, field: str, message: str):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"field": field, "message": message}}
