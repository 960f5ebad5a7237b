"""Compares the form of an answer that would close something with that of other answers (promise 1).

The response format of PTS is not published, so no list of words knows every way to say "this is not
all". But a field that only the incomplete answers have stands out: the answers to other persons of
the same run do not have it. ADR 0031.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from worker.core.fields import safe_name
from worker.core.model import CompleteArea
from worker.core.page_signs import natural_number, plain

Form: TypeAlias = frozenset[str]
"""What stands around the list of records, each as a path and a kind of value; holds no value."""

COMMON_SHARE: Final = 0.1
"""A field is common if so many of the answers have it that the guard would stop a run in which they
were all wrong (``sync.max_removed_share`` is 10 % by default)."""
REPEATED: Final = "repeatedRecord"
"""Names a record that stands twice, as if it were a field."""
_FILLED, _EMPTY, _PAGED = "filled", "empty", "paged"
_FIELDS_MAX: Final = 100
_DEPTH_MAX: Final = 4
_VALUES_MAX: Final = 2_000
_THERE: Final = "is there"
_KNOWN_MAX: Final = 10_000


def form_of(
    envelope: Mapping[str, Any],
    *,
    has_repeats: bool,
    understood: Collection[str],
    ignored: Collection[str],
    sizes: Collection[str],
    page_items: int,
    items: int,
) -> Form:
    """The form of an answer, from the envelope of one of its pages.

    Args:
        envelope: the fields around the list of records.
        has_repeats: a record stands twice on the page, perhaps in the place of another one.
        understood: plain names whose values are followed or checked.
        ignored: plain names that say nothing, with all that is in them.
        sizes: plain names of the size of a page; a page that is exactly full stands out.
        page_items: the number of items on the page.
        items: the number of items on all pages so far.
    """
    found: set[str] = set()
    if has_repeats and plain(REPEATED) not in ignored:
        found.add(f"{REPEATED}: {_THERE}")
    for number, (path, value) in enumerate(_fields(envelope, (), ignored)):
        if len(found) >= _FIELDS_MAX or number >= _VALUES_MAX:
            return frozenset({*found, "?: more"})
        name = plain(path[-1])
        if name in understood and not isinstance(value, list | Mapping):
            continue
        kinds = (_THERE, *_kinds(value, items))
        if name in sizes:
            is_full = (natural_number(value) or 0) <= page_items
            kinds = (_THERE, "full") if is_full else (_THERE,)
        found.update(f"{'.'.join(path)}: {kind}" for kind in kinds)
    return frozenset(found)


class AnswerForms(msgspec.Struct):
    """The forms of this run's answers that closed nothing, by area.

    Empty answers and those of several pages are kept apart, as a server may say more or less in
    them. Bounded in memory: beyond ``_KNOWN_MAX`` different fields, new ones are not counted.
    """

    _answers: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    _fields: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)

    def remember(self, read: CompleteArea) -> None:
        """Count an answer that closed nothing."""
        sort = _sort(read)
        self._answers[read.area, sort] += 1
        for name in read.form:
            key = read.area, sort, name
            if key in self._fields or len(self._fields) < _KNOWN_MAX:
                self._fields[key] += 1

    def knows(self, area: str) -> bool:
        """Whether there is an answer of this area to compare with."""
        return any(name == area for name, _ in self._answers)

    def unusual(self, read: CompleteArea) -> str | None:
        """The path of a field that hardly any other answer of its sort has, or nearly all have.

        Nothing is unusual if there is nothing to compare with. If there is no other answer of its
        sort, those with records on one page are compared; if there are none either, any.

        Returns:
            None if there is no such field.
        """
        sorts = (_sort(read), _FILLED, _EMPTY, _PAGED)
        sort = next((sort for sort in sorts if self._answers[read.area, sort]), _FILLED)
        answers = self._answers[read.area, sort]
        counts = {
            name: count
            for (area, one, name), count in self._fields.items()
            if (area, one) == (read.area, sort)
        }
        rare = {name for name in read.form if counts.get(name, 0) < COMMON_SHARE * answers}
        missing = {
            name
            for name, count in counts.items()
            if name.endswith(_THERE)
            and name not in read.form
            and answers - count < COMMON_SHARE * answers
        }
        found = sorted(rare | missing)
        return found[0].rpartition(": ")[0] if found else None


def _sort(read: CompleteArea) -> str:
    if read.proof.pages > 1:
        return _PAGED
    return _FILLED if read.records else _EMPTY


def _fields(
    value: Any, path: tuple[str, ...], ignored: Collection[str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if len(path) > _DEPTH_MAX:
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if plain(name) not in ignored:
                below = *path, safe_name(name)
                yield below, inner
                yield from _fields(inner, below, ignored)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, path, ignored)


def _kinds(value: Any, items: int) -> tuple[str, ...]:
    """What is said of a value. A larger number says more: a small one is never unusual."""
    if value is None or isinstance(value, bool):
        return () if value is None else (str(value),)
    number = natural_number(value)
    if number is not None:
        return ("number", "not 0", "more")[: 1 + (number > 0) + (number > items)]
    if isinstance(value, list | Mapping | str):
        return (type(value).__name__ if value else f"no {type(value).__name__}",)
    return ("number",)
