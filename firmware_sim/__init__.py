"""Everything outside our two programs, simulated, and misbehaving on purpose."""
