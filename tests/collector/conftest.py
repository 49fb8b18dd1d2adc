from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.directory import Directory
from tests.collector.ledgers import Ledger, directory_of, window


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Opens tmp_path/ledger.db, as often as it is called: a restart, or a second program beside the first."""
    ledgers: list[Ledger] = []

    def open_ledger(directory: Directory | None = None) -> Ledger:
        ledgers.append(Ledger(tmp_path / "ledger.db", directory_of(window()) if directory is None else directory))
        return ledgers[-1]

    yield open_ledger
    for each in ledgers:
        each.store.close()


@pytest.fixture
def ledger(opened: Callable[..., Ledger]) -> Ledger:
    return opened()
