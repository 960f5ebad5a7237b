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
    names = store.tables()
    found = store.rows_of(*(f'SELECT * FROM "{name}"' for name in names))
    return {name: sorted(rows, key=repr) for name, rows in zip(names, found, strict=True)}
