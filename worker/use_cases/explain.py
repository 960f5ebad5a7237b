"""``explain``: everything that the store has about one person."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from worker.app import App
from worker.core.identity import NationalId
from worker.core.value import Value
from worker.store.identity import see_identity
from worker.store.queries.person import (
    PersonStory,
    Publication,
    person_story,
    publication_at,
)
from worker.use_cases.access import log_access
from worker.use_cases.failures import shown

_MASK = "***"


class UnknownPerson(Value, frozen=True, kw_only=True):
    """The store has nothing about this person.

    Attributes:
        as_of: the time asked for; ``None``: now.
        publication: what readers saw at that time.
    """

    is_known: bool = False
    as_of: datetime | None
    publication: Publication | None


Explanation = PersonStory | UnknownPerson


async def explain(
    app: App, off_id: NationalId, *, as_of: datetime | None, purpose: str | None
) -> Explanation:
    """Everything that the store has about one person. The access is logged.

    The identifier is masked wherever it occurs: a store may hold it in plain text.

    Args:
        as_of: the restrictions that readers saw at that time; ``None``: now.

    Raises:
        ConfigurationError: the pseudonym key is missing, or not that of the store; or the access
            cannot be logged.
        SchemaError: the database is missing, behind or ahead.
    """
    identity = app.identity()
    async with app.database() as store:
        identity = await see_identity(store, identity)
        key = identity.person_key(off_id)
        await log_access(app, store, "explain", purpose, person_key=key)
        now = await store.read(store.now)
        story = await store.read(person_story, key, now=now, as_of=as_of)
        if story is None:
            publication = await store.read(publication_at, as_of)
            return UnknownPerson(as_of=as_of, publication=publication)
    if identity.mode == "plain":  # a person's key is the identifier
        areas = [
            replace(area, failure=shown(area.failure, is_plain=True)) if area.failure else area
            for area in story.areas
        ]
        story = replace(story, person_key=None, areas=areas)
    masked: PersonStory = _masked(story, off_id.reveal())
    return masked


def _masked(value: Any, digits: str) -> Any:
    """The value with every occurrence of the identifier masked."""
    if isinstance(value, str):
        return value.replace(digits, _MASK)
    if isinstance(value, Mapping):
        return {name: _masked(item, digits) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_masked(item, digits) for item in value]
    if isinstance(value, Value):
        names = value.__struct_fields__
        return type(value)(**{name: _masked(getattr(value, name), digits) for name in names})
    return value
