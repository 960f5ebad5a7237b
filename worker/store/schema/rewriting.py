"""Rewrites rows of an earlier program by the current privacy rules (``core.privacy``).

Record keys, columns, payloads, content hashes, local references and digests become what the next
read of the same responses would give, so that nothing looks removed, changed or new. Each batch of
persons commits its progress, so the rewriting can be stopped anywhere and continued.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Text, bindparam, inspect, select, table, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core import exact_json
from worker.core.area import ResourceArea
from worker.core.identity import Identity, NationalId
from worker.core.model import Person
from worker.core.privacy import Cleaner, PrivacyRules
from worker.core.recogniser import candidates
from worker.core.record import KeyedHash, digest_of, reader_of
from worker.errors import ContractError
from worker.store.dialects import delete_securely, member, members
from worker.store.identity import NEW, StoredIdentity
from worker.store.runs.facts import invalidate_base
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import key_paths
from worker.store.schema.tables import (
    VERSIONS,
    alias_of,
    person,
    person_area,
    run,
    store_identity,
)

PERSONS_PER_BATCH: Final = 500
_DIGESTS: Final = ("digest", "first_digest", "prev_digest", "prev_first_digest")


class Rewritten(NamedTuple):
    """The number of persons checked, and of their rows rewritten."""

    persons: int = 0
    rows: int = 0


async def identity_before_upgrade(connection: AsyncConnection) -> StoredIdentity:
    """How persons are keyed in a store of any revision; an early one is always to be rewritten."""
    has_ours = await connection.run_sync(lambda sync: inspect(sync).has_table(store_identity.name))
    name = store_identity.name if has_ours else "tenant"  # before 0011
    found = await connection.execute(select(text("*")).select_from(table(name)).order_by(text("1")))
    row = found.first()
    if row is None:
        return NEW
    waits = getattr(row, "rewritten_to", 0) is not None  # a column since 0008
    return StoredIdentity(row.identity, row.key_check, bool(row.identity) and waits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriter:
    """Rewrites the rows of a store.

    Attributes:
        lease: held, so that no run writes meanwhile.
        areas: as configured; record keys and hashes depend on it.
        identity: how persons are keyed, as the store has it.
    """

    lease: Lease
    areas: Sequence[ResourceArea]
    identity: Identity
    rules: PrivacyRules
    persons_per_batch: int = PERSONS_PER_BATCH
    changed: Callable[[Rewritten], None] = lambda _: None

    async def work(self) -> Rewritten:
        """Rewrite the remaining rows and count them. Call ``finish`` afterwards.

        Raises:
            LeaseLostError: another holder took over; committed batches stay.
        """
        done = Rewritten()
        while (batch := await self.lease.write(self._batch)) is not None:
            done = Rewritten(done.persons + batch.persons, done.rows + batch.rows)
            self.changed(done)
        return done

    async def finish(self) -> None:
        """Record that no row is left to rewrite."""
        await self.lease.write(self._mark, None)

    async def _batch(self, connection: AsyncConnection) -> Rewritten | None:
        """Rewrite the next persons and record the progress; None if there are none."""
        await delete_securely(connection)
        done_to: int | None = (
            await connection.execute(select(store_identity.c.rewritten_to))
        ).scalar_one()
        if done_to is None:
            return None
        found = await connection.execute(
            select(
                person.c.person_id,
                person.c.person_key,
                person.c.local_ref,
                person.c.prev_local_ref,
            )
            .where(person.c.person_id > done_to)
            .order_by(person.c.person_id)
            .limit(self.persons_per_batch)
        )
        persons: Sequence[Any] = found.all()
        if not persons:
            return None
        rows = await self._rewrite(connection, persons)
        await self._mark(connection, persons[-1].person_id)
        return Rewritten(len(persons), rows)

    async def _rewrite(self, connection: AsyncConnection, persons: Sequence[Any]) -> int:
        ids = [row.person_id for row in persons]
        stored = {area.name: await self._versions(connection, area, ids) for area in self.areas}
        keys = await key_paths(connection)
        count = 0
        for row in persons:
            own = {name: versions.get(row.person_id, []) for name, versions in stored.items()}
            cleaner = self._cleaner(
                row, [version for versions in own.values() for version in versions]
            )
            count += await self._references(connection, row, cleaner)
            for area in self.areas:
                batch = _Area(area, keys.get(area.name), row, cleaner, own[area.name])
                count += await batch.rewrite(connection)
        return count

    def _cleaner(self, row: Row[Any], versions: Iterable[Row[Any]]) -> Cleaner:
        """The rules for a person, whose own identifier is recognised by its person key."""
        own = ""
        if self.identity.mode == "pseudonym":
            texts = [row.local_ref, row.prev_local_ref]
            for version in versions:
                texts += [version.restriction_id, exact_json.loads(version.payload.encode())]
            tried = dict.fromkeys(candidates(texts))
            key_of = self.identity.person_key
            own = next(
                (digits for digits in tried if key_of(NationalId(digits)) == row.person_key), ""
            )
        return self.rules.cleaner(Person(off_id=NationalId(own), person_key=row.person_key))

    async def _references(
        self, connection: AsyncConnection, row: Row[Any], cleaner: Cleaner
    ) -> int:
        before = {name: getattr(row, name) for name in ("local_ref", "prev_local_ref")}
        after = {name: text and cleaner.text(text) for name, text in before.items()}
        if before == after:
            return 0
        await connection.execute(
            update(person).where(person.c.person_id == row.person_id).values(**after)
        )
        return 1

    async def _versions(
        self, connection: AsyncConnection, area: ResourceArea, persons: Sequence[int]
    ) -> Mapping[int, list[Row[Any]]]:
        table = VERSIONS[area.name]
        opened, closed = alias_of(run, "opened"), alias_of(run, "closed")
        texts = [table.c[name] for name in _text_columns(area)]
        rows = await connection.execute(
            select(
                table.c.version_id,
                table.c.person_id,
                table.c.restriction_id,
                table.c.content_hash,
                table.c.payload,
                table.c.closed_run,
                opened.c.publication_no.label("opened_no"),
                closed.c.publication_no.label("closed_no"),
                *texts,
            )
            .join(opened, opened.c.run_id == table.c.opened_run)
            .outerjoin(closed, closed.c.run_id == table.c.closed_run)
            .where(member(table.c.person_id))
            .order_by(table.c.version_id),
            members(persons),
        )
        found: dict[int, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            found[row.person_id].append(row)
        return found

    async def _mark(self, connection: AsyncConnection, person_id: int | None) -> None:
        await invalidate_base(connection)
        await connection.execute(update(store_identity).values(rewritten_to=person_id))


class _Area(NamedTuple):
    """One person's rows of one area."""

    area: ResourceArea
    key_path: str | None
    person: Row[Any]
    cleaner: Cleaner
    versions: Sequence[Row[Any]]

    async def rewrite(self, connection: AsyncConnection) -> int:
        """Rewrite the rows and the digests of their proofs; return the number of changed rows."""
        changes = {row.version_id: self._change(row) for row in self.versions}
        self._keep_keys_apart(changes)
        changed = {version: values for version, values in changes.items() if values}
        table = VERSIONS[self.area.name]
        for version, values in changed.items():
            await connection.execute(
                update(table).where(table.c.version_id == bindparam("version")).values(**values),
                {"version": version},
            )
        if any("content_hash" in values for values in changed.values()):
            await self._digests(connection, changes)
        return len(changed)

    def _keep_keys_apart(self, changes: Mapping[int, dict[str, Any]]) -> None:
        """Keep two open rows apart whose keys differed only in the spelling of an identifier.

        A read of them fails, because two records have one key, so that both stay, stale.
        """
        taken: set[str] = set()
        for row in self.versions:
            if row.closed_run is None:
                key = changes[row.version_id].get("restriction_id", row.restriction_id)
                while key in taken:
                    key += "_"
                    changes[row.version_id]["restriction_id"] = key
                taken.add(key)

    def _change(self, row: Row[Any]) -> dict[str, Any]:
        """The new values of a row; empty if it stays as it is."""
        item = exact_json.loads(row.payload.encode())
        names = _text_columns(self.area)
        try:
            made = reader_of(self.area).remade(
                item,
                person_key=self.person.person_key,
                key_path=self.key_path or "",
                cleaner=self.cleaner,
            )
        except ContractError:
            return self._by_text(row, item)
        numbers = {column.name: number for number, column in enumerate(self.area.columns)}
        columns = {name: made.columns[numbers[name]] for name in names}
        if made.payload == row.payload:
            authors = {column.name for column in self.area.columns if column.is_author}
            return {
                name: value
                for name, value in columns.items()
                if name in authors and value != getattr(row, name)
            }
        return {
            "restriction_id": made.key,
            "content_hash": made.content_hash,
            "payload": made.payload,
            **columns,
        }

    def _by_text(self, row: Row[Any], item: Any) -> dict[str, Any]:
        """The new values of a record that the current declaration cannot read, text by text."""
        names = ("restriction_id", *_text_columns(self.area))
        after = {name: (text := getattr(row, name)) and self.cleaner.text(text) for name in names}
        after["payload"] = exact_json.canonical(self.cleaner.record(item)).decode()
        return {name: text for name, text in after.items() if text != getattr(row, name)}

    async def _digests(
        self, connection: AsyncConnection, changes: Mapping[int, Mapping[str, Any]]
    ) -> None:
        """Give the proofs the digest of the rewritten records, or none if it is unknown.

        Without a digest the next read is compared row by row.
        """
        sets = (
            [row for row in self.versions if row.closed_run is None],
            [row for row in self.versions if row.opened_no is not None and row.closed_no is None],
        )
        known = {}
        for rows in sets:
            before = [KeyedHash(row.restriction_id, row.content_hash) for row in rows]
            after = [
                KeyedHash(
                    changes[row.version_id].get("restriction_id", row.restriction_id),
                    changes[row.version_id].get("content_hash", row.content_hash),
                )
                for row in rows
            ]
            known[digest_of(before).hex()] = digest_of(after).hex()
        ours = (
            person_area.c.person_id == self.person.person_id,
            person_area.c.area == self.area.name,
        )
        columns = [person_area.c[name] for name in _DIGESTS]
        proof = (await connection.execute(select(*columns).where(*ours))).one_or_none()
        if proof is not None:
            values = {name: known.get(getattr(proof, name) or "") for name in _DIGESTS}
            await connection.execute(update(person_area).where(*ours).values(**values))


def _text_columns(area: ResourceArea) -> list[str]:
    table = VERSIONS[area.name]
    return [column.name for column in area.columns if isinstance(table.c[column.name].type, Text)]
