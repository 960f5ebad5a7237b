"""Imports without what a library loads besides and the worker never uses.

Every command pays for what is imported, in time and in memory (``docs/performance.md``). Nothing
here changes what a library does; whoever asks for what was left out still gets it.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_ASYNC_SQL: Final = "sqlalchemy.ext.asyncio"
_OBJECTS_TO_IMPORT: Final = 200_000
_OBJECTS_BETWEEN_LOOKS: Final = 20_000


def leave_imports_be() -> None:
    """Keep the garbage collector from looking while modules are loaded.

    They make many objects and hardly any garbage.
    """
    gc.set_threshold(_OBJECTS_TO_IMPORT)


def imports_are_done() -> None:
    """Let it look again, though seldom, and never at what was imported: that stays."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)


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


class _PartByPart(ModuleType):
    """A package whose names are looked up in its parts, and no part is loaded before."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or find_spec(f"{self.__name__}.{name}") is not None:
            raise AttributeError(name)  # a part itself: the import that asks goes on to load it
        for part in ("engine", "result", "session", "scoping"):
            module = import_module(f"{self.__name__}.{part}")
            if hasattr(module, name):
                setattr(self, name, getattr(module, name))
                return getattr(self, name)
        raise AttributeError(name)


def without_orm() -> None:
    """Let SQLAlchemy's asyncio extension come without its sessions, which load the whole ORM."""
    found = find_spec("sqlalchemy")
    if _ASYNC_SQL in sys.modules or found is None or found.origin is None:
        return
    package = _PartByPart(_ASYNC_SQL)
    package.__path__ = [str(Path(found.origin).parent / "ext" / "asyncio")]
    sys.modules[_ASYNC_SQL] = package
