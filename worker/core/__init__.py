"""Decisions as pure functions of values, without I/O, clock or randomness."""
