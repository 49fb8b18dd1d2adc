"""Measures the real processes over real parts, beside what the machine itself can do. `python -m tests.bench`."""
