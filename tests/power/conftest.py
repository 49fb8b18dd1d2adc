"""What is the same in every state that a cut or a flip leaves is worked out once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from protocols import wal


@pytest.fixture(autouse=True, scope="module")
def each_frame_is_summed_once() -> Iterator[None]:
    """A pure function, remembered: hundreds of states share nearly all frames of their logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wal, "_checksum", lru_cache(4096)(wal._checksum))
        yield
