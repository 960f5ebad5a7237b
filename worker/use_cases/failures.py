"""``failures``: lists open failures."""

from collections.abc import Sequence

from msgspec.structs import replace

from worker.app import App
from worker.core.identity import NationalId
from worker.errors import UsageError
from worker.store.database import Database
from worker.store.identity import see_identity, stored_identity
from worker.store.queries.failures import (
    OpenFailure,
    failures_of,
    keys_beginning,
    list_failures,
)
from worker.use_cases.access import log_access


def shown(failure: OpenFailure, *, is_plain: bool) -> OpenFailure:
    """The failure, with the person's key only if it is a pseudonym."""
    return replace(failure, person_key=None) if is_plain else failure


async def open_failures(
    app: App, *, kind: str | None, areas: Sequence[str], limit: int
) -> Sequence[OpenFailure]:
    """List open failures, the oldest first.

    Args:
        areas: only these areas; all if empty.
    """
    async with app.database() as store:
        found = await store.read(list_failures, kind=kind, areas=areas, limit=limit)
        is_plain = await _is_plain(store)
        return [shown(failure, is_plain=is_plain) for failure in found]


async def failures_of_key(app: App, key: str, *, purpose: str | None) -> Sequence[OpenFailure]:
    """List the open failures of the person whose key begins with ``key``, and log the access.

    Raises:
        UsageError: no or several persons' keys begin with it, or the store holds plain identifiers.
    """
    async with app.database() as store:
        if await _is_plain(store):
            raise UsageError(
                "this database holds plain identifiers; the command line does not accept them",
                hint="give - and the identifier on standard input",
            )
        keys = await store.read(keys_beginning, key)
        if not keys:
            raise UsageError(
                "no person's key begins with these digits",
                hint="`pts-worker failures list` gives the keys",
            )
        if len(keys) > 1:
            raise UsageError(
                f"the keys of {len(keys)} persons begin with these digits",
                hint="give more digits",
            )
        await log_access(app, store, "failures show", purpose, person_key=keys[0])
        return await store.read(failures_of, keys[0])


async def failures_of_person(
    app: App, off_id: NationalId, *, purpose: str | None
) -> Sequence[OpenFailure]:
    """List the open failures of a person, and log the access.

    Raises:
        ConfigurationError: the pseudonym key is missing, or not that of the store.
    """
    identity = app.identity()
    async with app.database() as store:
        is_plain = await _is_plain(store)
        identity = await see_identity(store, identity)
        key = identity.person_key(off_id)
        await log_access(app, store, "failures show", purpose, person_key=key)
        found = await store.read(failures_of, key)
        return [shown(failure, is_plain=is_plain) for failure in found]


async def _is_plain(store: Database) -> bool:
    return (await store.read(stored_identity)).mode != "pseudonym"
