"""Turns a store that today's program filled into what version 0.1 would have left."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from alembic import command
from sqlalchemy import Connection, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.migration.old_pseudonymise import pseudonymise
from worker.core.record import KeyedHash, digest_of
from worker.runtime import real_runtime
from worker.store.database import open_database
from worker.store.schema.tables import VERSIONS, person, person_area, store_identity
from worker.store.schema.upgrade import alembic_config

OLD = "0006"
"""The last revision of a program that stored so."""

Answers = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""What PTS answered, by identifier and area."""


def old_pseudonym(key: bytes, digits: str) -> str:
    """Without a label."""
    return hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()


async def make_old(
    url: str, key: bytes, answers: Answers, refs: Mapping[str, str], keys: Mapping[str, str]
) -> None:
    """Write keys, columns, payloads, hashes, digests and the revision as they were.

    Args:
        url: a store that has read these answers once.
        key: the pseudonym key.
        answers: the same answers.
        refs: the local reference of each person as the roster has it.
        keys: the key of each person in the store now.
    """

    async def work(connection: AsyncConnection) -> None:
        for digits, areas in answers.items():
            now, then = keys[digits], old_pseudonym(key, digits)
            person_id = (
                await connection.execute(
                    select(person.c.person_id).where(person.c.person_key == now)
                )
            ).scalar_one()
            await connection.execute(
                update(person)
                .where(person.c.person_id == person_id)
                .values(person_key=then, local_ref=refs[digits])
            )
            for area, items in areas.items():
                await _area(connection, person_id, area, (digits, then), items)
        check = hmac.new(key, b"pts-sync-worker key check value", hashlib.sha256).hexdigest()[:16]
        await connection.execute(update(store_identity).values(key_check=check))
        await connection.run_sync(_downgrade)

    async with open_database(url, real_runtime()) as database:
        await database.alter(work)


async def _area(
    connection: AsyncConnection,
    person_id: int,
    area: str,
    of: tuple[str, str],
    items: Sequence[Mapping[str, Any]],
) -> None:
    table, (digits, person_key) = VERSIONS[area], of
    rows = (
        await connection.execute(
            select(table).where(table.c.person_id == person_id).order_by(table.c.version_id)
        )
    ).all()
    kept = []
    for row, item in zip(rows, items, strict=True):
        canonical = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        payload = pseudonymise(canonical, digits, person_key)
        document = orjson.loads(payload)
        digest = hashlib.blake2b(payload, digest_size=16)
        content_hash = digest.digest()
        digest.update(b"\0" + person_key.encode())
        values: dict[str, Any] = {
            "restriction_id": document.get("id") or digest.hexdigest(),
            "payload": payload.decode(),
            "content_hash": content_hash,
        }
        if "cause" in document:
            author = document["createdBy"]
            values["cause"] = document["cause"]
            values["created_by"] = (
                author
                if isinstance(author, str)
                else orjson.dumps(author, option=orjson.OPT_SORT_KEYS).decode()
            )
        kept.append(KeyedHash(values["restriction_id"], content_hash))
        await connection.execute(
            update(table).where(table.c.version_id == row.version_id).values(**values)
        )
    await connection.execute(
        update(person_area)
        .where(person_area.c.person_id == person_id, person_area.c.area == area)
        .values(digest=digest_of(kept).hex())
    )


def _downgrade(connection: Connection) -> None:
    command.downgrade(alembic_config(connection=connection), OLD)
