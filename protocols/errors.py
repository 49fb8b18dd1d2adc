"""What a peer can get wrong; each error carries what failed."""


class ProtocolError(Exception):
    """Somebody else's bytes or values are not what was agreed."""


class BadMessage(ProtocolError):
    """A message that is not ours. Its bytes are kept for the quarantine."""

    def __init__(self, reason: str, payload: bytes = b""):
        super().__init__(reason)
        self.reason = reason
        self.payload = payload


class BadSettings(ProtocolError):
    """A configuration that cannot be used; `mistakes` names every one of them."""

    def __init__(self, mistakes: list[str]):
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
