"""`python -m firmware_sim.province`"""

from firmware_sim.province.process import command

command()
