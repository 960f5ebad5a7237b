"""Looks at processes and at whole databases."""

from pathlib import Path
from typing import Any

from tests.acceptance.program import Running, Store


def is_paused(running: Running) -> bool:
    """Whether the process stands still (proc(5): state T)."""
    stat = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="ascii")
    return "T" == stat[stat.rindex(")") + 2]


def tables_of(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table and view."""
    return {
        name: sorted(store.rows(f'SELECT * FROM "{name}"'), key=repr) for name in store.tables()
    }
