"""A contract in the making: what is declared, what is a guess, and what becomes of each field."""

import re
from collections import defaultdict
from typing import Any, Final

from worker.contracts.shape import Shape
from worker.core.contract import AreaContract
from worker.core.paths import UNNAMED

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``name_of`` gives them."""
REFUSED: Final = "not declared, so refused"

_PUNCTUATION: Final = re.compile(r"[^a-z0-9.]+")


class Draft:
    """One area's part of a contract.

    Attributes:
        contract: the result; None if nothing could be concluded, so that the one in force stands.
        facts: what was seen, in a line each.
        table: the keys of the contract.
        notes: comments by key; a guess begins with ``proposal``.
        sendable: where a request may have a field of this name: ``query`` or ``body``.
        shape: the fields of the answers.
        becomes: what becomes of a field, by its path.
        empty: columns that no field is mapped to.
    """

    def __init__(self, *facts: str, **table: Any) -> None:
        self.contract: AreaContract | None = None
        self.facts = [*facts]
        self.table = table
        self.notes = defaultdict[str, list[str]](list)
        self.sendable = dict[str, str]()
        self.shape: Shape = {}
        self.becomes = dict[str, str]()
        self.empty: tuple[str, ...] = ()

    def propose(self, key: str, text: str) -> None:
        """Mark what stands at a key as a guess."""
        self.notes[key].append(f"proposal: {text}")

    def rows(self) -> list[dict[str, Any]]:
        """Each field of the answers, its kinds, in how many records it stands, and its end."""
        ends = {path: "no name that can be shown" for path in self.shape if UNNAMED in path}
        ends |= self.becomes
        return [
            {
                "field": path.removeprefix("[]."),
                "kinds": "|".join(sorted(leaf.kinds)),
                "records": leaf.records or None,
                "becomes": ends.get(path, ""),
            }
            for path, leaf in self.shape.items()
        ]


def plain(path: str) -> str:
    """A path for comparing names: without case and punctuation, but with its dots."""
    return _PUNCTUATION.sub("", path.lower())


def name_of(path: str) -> str:
    """The last name of a path, for comparing."""
    return plain(path).rpartition(".")[2]
