"""One door, two applications: the setup page is loaded when somebody first asks for it, and weighs nothing before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Beside:
    """What is under /setup/ goes to the setup page, the rest to the door."""

    def __init__(self, door: Application, load: Callable[[], Application]):
        self._door, self._load = door, load
        self._setup: Application | None = None
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        # Nothing else of the door is a page that a person would type the bare address for.
        if path.startswith("/setup/") or path in ("/", "/setup"):
            return self._loaded()({**environ, "PATH_INFO": "/setup/" if path == "/setup" else path}, start_response)
        return self._door(environ, start_response)

    def _loaded(self) -> Application:
        with self._turn:
            if self._setup is None:
                self._setup = self._load()
            return self._setup
