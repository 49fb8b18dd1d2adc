"""The links of the rating pages: whoever has one may rate there, and nothing else."""

from __future__ import annotations

import hmac


class Links:
    """Where the rating pages are: each link bears a key of its window, or of its one invitation, made from the door's
    token and telling nothing of it."""

    def __init__(self, token: str):
        self._token = token.encode()

    def window(self, window: str) -> str:
        """The path of the page that stays at this window."""
        return f"/rate/w/{window}/{self._key('window', window)}/"

    def invitation(self, invitation: str) -> str:
        """The path of the page for this invitation alone."""
        return f"/rate/i/{invitation}/{self._key('invitation', invitation)}/"

    def fits(self, kind: str, name: str, key: str) -> bool:
        """Whether this is the key of that window or invitation."""
        return hmac.compare_digest(self._key(kind, name).encode(), key.encode())

    def _key(self, kind: str, name: str) -> str:
        return hmac.digest(self._token, f"{kind}\0{name}".encode(), "sha256").hex()[:32]
