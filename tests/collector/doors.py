"""A collector's application over a ledger, as each test needs it, and a real server for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask import Flask

from collector import web
from collector.web.channels import Client
from collector.web.keeper import Keeper
from tests.collector.ledgers import Ledger


def app_of(
    ledger: Ledger, gate: Keeper, now_ms: Callable[[], int], clients: Sequence[Client] = (), **more: Any
) -> Flask:
    """The application over this ledger, at whose door `gate` stands; `more` as `create_app` takes it."""
    return web.create_app(
        ledger.overview,
        ledger.intake,
        ledger.desk,
        ledger.channels,
        ledger.directory,
        gate,
        clients,
        now_ms,
        **more,
    )


@contextmanager
def served(app: Flask, port: int = 0, trusted: str = "") -> Iterator[int]:
    """The port at which it answers as long as this lasts; one that is free if none is given."""
    server = web.serve(app, "127.0.0.1", port, trusted)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        app.extensions["board"].end()
        server.close()
        thread.join(10)  # or its complaint comes in the middle of the next test
