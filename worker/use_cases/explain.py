"""``explain``: everything that the store has about one person."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from worker.app import App
from worker.core.identity import NationalId
from worker.store.identity import see_identity
from worker.store.queries.failures import OpenFailure
from worker.store.queries.person import (
    AreaStory,
    FirstProof,
    Publication,
    Version,
    person_story,
    publication_at,
)
from worker.use_cases.access import log_access
from worker.use_cases.failures import shown

_MASK = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownVersion(Version):
    """A version of a restriction; ``is_shown``: readers see it at the time asked for."""

    is_shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedArea:
    """One area of the person.

    Fields of the completeness proof are ``None`` if there is no proof.

    Attributes:
        first_read: the earlier read that the last one confirmed.
    """

    area: str
    last_confirmed_at: datetime | None = None
    age_s: float | None = None
    pages: int | None = None
    records: int | None = None
    digest: str | None = None
    first_read: FirstProof | None = None
    is_stale: bool | None = None
    failure: OpenFailure | None
    restrictions: Sequence[ShownVersion]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownPerson:
    """The store has nothing about this person.

    Attributes:
        as_of: the time asked for; ``None``: now.
        publication: what readers saw at that time.
    """

    is_known: bool = False
    as_of: datetime | None
    publication: Publication | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """What the store has about this person. See ``UnknownPerson``.

    Attributes:
        person_key: ``None`` in a store of plain identifiers.
        local_ref: as of that time, as ``cohort``; ``None`` before the first publication.
    """

    is_known: bool = True
    person_key: str | None
    local_ref: str | None
    cohort: str | None
    first_run: int
    first_run_at: datetime
    departed_at: datetime | None
    as_of: datetime | None
    areas: Sequence[ExplainedArea]
    publication: Publication | None


Explanation = KnownPerson | UnknownPerson


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
        now = app.runtime.now()
        publication = await store.read(publication_at, as_of or now)
        story = await store.read(person_story, key, as_of=as_of)
    if story is None:
        return UnknownPerson(as_of=as_of, publication=publication)
    is_plain = identity.mode == "plain"
    known = KnownPerson(
        person_key=None if is_plain else story.person_key,
        local_ref=story.local_ref,
        cohort=story.cohort,
        first_run=story.first_run,
        first_run_at=story.first_run_at,
        departed_at=story.departed_at,
        as_of=as_of,
        areas=[_area(area, as_of=as_of, now=now, is_plain=is_plain) for area in story.areas],
        publication=publication,
    )
    masked: KnownPerson = _masked(known, off_id.reveal())
    return masked


def _area(
    story: AreaStory, *, as_of: datetime | None, now: datetime, is_plain: bool
) -> ExplainedArea:
    proof = story.proof
    proof_fields: dict[str, Any] = {}
    if proof is not None:
        proof_fields = asdict(proof) | {"first_read": proof.first_read}
        confirmed_at = proof_fields.pop("confirmed_at")
        proof_fields["last_confirmed_at"] = confirmed_at
        if confirmed_at is not None:
            proof_fields["age_s"] = max((now - confirmed_at).total_seconds(), 0.0)
    return ExplainedArea(
        area=story.area,
        **proof_fields,
        failure=shown(story.failure, is_plain=is_plain) if story.failure else None,
        restrictions=[
            ShownVersion(**asdict(version), is_shown=version.shown_at(as_of or now))
            for version in story.versions
            if as_of is None or version.shown_at(as_of)
        ],
    )


def _masked(value: Any, digits: str) -> Any:
    """The value with every occurrence of the identifier masked."""
    if isinstance(value, str):
        return value.replace(digits, _MASK)
    if isinstance(value, Mapping):
        return {name: _masked(item, digits) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_masked(item, digits) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return type(value)(**{name: _masked(getattr(value, name), digits) for name in names})
    return value
