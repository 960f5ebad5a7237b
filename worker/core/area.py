"""The resource areas as the store knows them: names, typed columns, and when one is in effect.

Where the columns come from is declared in the contract with PTS (``core.contract``).
"""

import enum

from worker.core.effect import Effect
from worker.core.value import Value


class ColumnType(enum.StrEnum):
    """The type of a typed column."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    JSON = "json"
    """The value as canonical JSON text."""


class Column(Value, frozen=True, kw_only=True):
    """One typed column.

    Attributes:
        name: the column's name in the contract, the store and the reporting views.
        type: its type; a value of another type is a failure of the area.
        never_of: the name of a time column, in place of a field of its own; true if that time is
            in the year 9999, which PTS uses for "never".
        codes: those that are known, if it holds codes; ``Effect`` knows those of its own column.
    """

    name: str
    type: ColumnType
    never_of: str = ""
    codes: tuple[str, ...] = ()


class ResourceArea(Value, frozen=True, kw_only=True, eq=False):
    """One of PTS's lists of restrictions. Compared by identity.

    Attributes:
        name: e.g. ``patient-safety``.
        table: the stem of its tables and views, e.g. ``patient_safety``.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    effect: Effect
