"""From settings to alerts that can run. apprise is loaded here, and only where there is a receiver."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from protocols.errors import BadSettings

from ..directory import Directory
from ..ledger.file import own
from ..ledger.since import Since
from ..ledger.store import Store
from .alerts import Alerts, Receiver
from .book import book_of, open_book
from .settings import AlertsSettings, masked, office_of, rules_of, url_of
from .unrated import Watch


def alerts_of(
    settings: AlertsSettings, folder: Path, ledger: Path, environment: Mapping[str, str], now_ms: Callable[[], int]
) -> Alerts:
    """The alerts of this ledger. BadSettings names a receiver whose address is of no use."""
    book = open_book(book_of(ledger), now_ms())
    return Alerts(
        book,
        receivers_of(settings, folder, environment),
        rules_of(settings),
        office_of(settings),
        settings.per_minute,
        settings.link,
        now_ms,
        _Once(book_of(ledger)),
    )


def watch_of(settings: AlertsSettings, store: Store, directory: Directory) -> Watch:
    """What tells windows at which nobody rates."""
    cases, hours = settings.no_rating_cases, settings.no_rating_hours
    return Watch(Since(store), directory, office_of(settings), cases, hours)


def receivers_of(settings: AlertsSettings, folder: Path, environment: Mapping[str, str]) -> list[Receiver]:
    """The receivers, each with its carrier."""
    if not settings.receivers:
        return []
    carrier = importlib.import_module(".carrier", __package__)
    receivers, mistakes = [], []
    for at, each in enumerate(settings.receivers, 1):
        url = url_of(each, folder, environment)
        try:
            receivers.append(Receiver(each.name, each.language, masked(url), carrier.Carrier(url)))
        except carrier.BadUrl as error:
            mistakes.append(f"alerts.receivers[{at}]: {each.name}: {masked(url)}: {error}; 写法见 / see docs/alerts.md")
    if mistakes:
        raise BadSettings(mistakes)
    return receivers


class _Once:
    """Whether this process tells: one of all that share a ledger, by a lock that goes with it."""

    def __init__(self, path: Path):
        self._path = path
        self._lock: object | None = None

    def __call__(self) -> bool:
        if self._lock is None:
            try:
                self._lock = own(self._path)
            except sqlite3.OperationalError:
                return True  # the disk takes nothing: better told by two than by nobody
        return self._lock is not None
