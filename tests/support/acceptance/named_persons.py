"""Two persons who are named in texts where no identifier belongs, and every text of a store."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.support.program import PSEUDONYM_KEY
from tests.support.pseudonyms import pseudonym_of

OWN, OTHER = "02867599994", "01858299949"
"""Both begin with a zero, and have structure and control digits."""


def pseudonym(digits: str) -> str:
    """What stands for a person in the store."""
    return pseudonym_of(PSEUDONYM_KEY, digits)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value, also in JSON within texts."""
    if isinstance(value, str):
        yield value
        with contextlib.suppress(ValueError):
            yield from texts_in(json.loads(value) if value[:1] in {"{", "["} else [])
    elif isinstance(value, Mapping):
        yield from texts_in([*value.keys(), *value.values()])
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for part in value:
            yield from texts_in(part)
