"""Keeps a local, provable copy of PTS access restrictions for reporting."""

__version__ = "0.2.0"
