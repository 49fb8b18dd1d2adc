"""Ways a line and a device go wrong: small functions with a probability and a seed, composed. No line, no clock."""

from firmware_sim.faults.chances import GROUPS, Faults, catalogue
from firmware_sim.faults.damage import add_noise, flip_bits, lose_bytes, spoil
from firmware_sim.faults.hand import Happening, closures, finger
from firmware_sim.faults.line import FaultyLine
from firmware_sim.faults.wire import LINES, Wire

__all__ = [
    "GROUPS",
    "LINES",
    "Faults",
    "FaultyLine",
    "Happening",
    "Wire",
    "add_noise",
    "catalogue",
    "closures",
    "finger",
    "flip_bits",
    "lose_bytes",
    "spoil",
]
