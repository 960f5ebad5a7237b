"""Looks at processes."""

from pathlib import Path

from tests.acceptance.program import Running


def is_paused(running: Running) -> bool:
    """Whether the process stands still (proc(5): state T)."""
    stat = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="ascii")
    return "T" == stat[stat.rindex(")") + 2]
