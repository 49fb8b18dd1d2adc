"""One target under atheris, until it breaks or time is over: `python -m tests.fuzz.one decoder -max_total_time=9`"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["protocols", "edge_agent"]):
    # Only what is loaded in here tells where it goes; libraries are not ours to break.
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name, *limits = sys.argv[1:]
    atheris.Setup([name, *limits], TARGETS[name])
    atheris.Fuzz()
