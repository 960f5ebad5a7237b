"""Imports without what a library would load besides if it can, and the worker never uses.

Every command pays for what is imported, in time and in memory: `docs/performance.md`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let an ``import`` in this block find no module of these names, unless they are loaded.

    A library that tries one and does without it is the smaller for it; afterwards the modules are
    there for whoever asks. ``None`` in ``sys.modules`` is the documented way to say so.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
