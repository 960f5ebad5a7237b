"""Stores with something to report: runs through the real writer and publisher."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.store_world import PRIVACY, World, failed, read, record
from worker.core.guard import GuardLimits
from worker.core.model import PersonRead, Record, RunKind
from worker.core.run import RunProgress
from worker.errors import WithheldError

ANY = GuardLimits(
    max_removed_share=1.0, min_completeness=0.0, first_min_completeness=0.0, accept_removals=True
)
"""Whatever goes and fails, it is published."""
NEVER = datetime.max.replace(tzinfo=UTC)


def key_of(number: int) -> str:
    """A pseudonym as the worker makes them: 64 hexadecimal digits."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def safety(key: str, code: str, until: datetime | None = None, **columns: Any) -> Record:
    """A patient safety restriction."""
    is_indefinite = None if until is None else until.year == 9999
    columns = {"delay_delivery_until": until, "delay_is_indefinite": is_indefinite} | columns
    return record(key, code, **columns)


def privacy(key: str, kind: str, level: str, **columns: Any) -> Record:
    """A patient privacy restriction."""
    return record(key, area=PRIVACY, privacy_type=kind, privacy_level=level, **columns)


def seen(world: World, number: int | str, *safe: Record, **more: Any) -> PersonRead:
    """A person whose two areas were read completely; see ``read``."""
    return read(world, _key(number), *safe, **more)


def missed(
    world: World, number: int | str, ref: str | None = None, cohort: str | None = None
) -> PersonRead:
    """A person whose safety area could not be read."""
    return failed(world, _key(number), ref=ref, cohort=cohort)


def _key(number: int | str) -> str:
    return number if isinstance(number, str) else key_of(number)


async def publish(
    world: World, *reads: PersonRead, kind: RunKind = RunKind.SYNC, is_full_roster: bool = True
) -> None:
    """A run that is published, whatever it says; after a sync absent persons depart."""
    is_full_roster = is_full_roster and kind == RunKind.SYNC
    await world.publish(*reads, kind=kind, limits=ANY, is_full_roster=is_full_roster)


async def withhold(world: World, *reads: PersonRead) -> None:
    """A run that reads these and is withheld."""
    attempt = await world.begin()
    await attempt.write(*reads)
    await attempt.store.withhold(WithheldError("too many removals"), RunProgress())


async def small_store(world: World) -> None:
    """Two runs: ten persons; then one restriction changed, one gone, one person unread."""
    now = world.fake.now()
    await world.publish(*(_first(world, number, now) for number in range(10)))
    world.fake.advance(86_400)
    reads = [_first(world, number, now) for number in range(10)]
    reads[0] = seen(world, 0, safety("s0", "NORN_FFL", NEVER), ref="R-0")
    reads[1] = seen(world, 1, ref="R-1")
    reads[2] = missed(world, 2, "R-2")
    await world.publish(*reads)


def _first(world: World, number: int, now: datetime) -> PersonRead:
    delays = [timedelta(days=3), timedelta(days=20), timedelta(days=90), timedelta(days=-2)]
    safe = (
        [safety(f"s{number}", "NORU", now + delays[number % 4])]
        if number < 4
        else [safety(f"s{number}", "NORN_EPO", NEVER), safety(f"n{number}", "N")]
    )
    private = (privacy(f"p{number}", "Block", "Hard"),) if number % 3 == 0 else ()
    return seen(world, number, *safe, private=private, ref=f"R-{number}")


class _Interrupted:
    """A connection on which a first question for the publication is followed by another one."""

    def __init__(self, connection: Any, world: World) -> None:
        self._connection, self._world, self._is_over = connection, world, False
        self.dialect, self.stream = connection.dialect, connection.stream

    async def execute(self, *args: Any, **options: Any) -> Any:
        result = await self._connection.execute(*args, **options)
        if not self._is_over and "publication_no" in str(args[0]):
            self._is_over = True
            reads = [seen(self._world, number, safety(f"z{number}", "X")) for number in range(10)]
            await self._world.publish(*reads, limits=ANY)
        return result


def interrupted(world: World) -> Any:
    """A way to read the store during which another run is published."""
    return lambda work: world.database.read(lambda one: work(_Interrupted(one, world)))
