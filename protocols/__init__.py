"""Bytes and values that all parts agree on. No I/O, no clock, no threads."""

__version__ = "0.1.0"
