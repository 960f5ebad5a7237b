"""A month of nights, for what draws, models or queries the facts of many publications."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.support.report.stores import ANY, NEVER, missed, privacy, safety, seen, withhold
from tests.support.store_world import World, world_on
from worker.core.model import PersonRead, RunKind
from worker.views import codes

NIGHTS, WITHHELD_NIGHT, BACKFILL_NIGHT, PERSONS, CLINICS = 31, 2, 5, 90, 18
ABSENT_NIGHTS, ABSENT = (3, 4), PERSONS - 1
DENIED = [one.code for one in codes() if one.system == "9603" and one.code != "N"]


async def month(world: World, *, nights: int = NIGHTS) -> None:
    """All codes, delays, long names of clinics, a withheld night, and persons who are missed.

    The same code is in two groups, as a delay and as a rule for results to come, and unknown codes
    are in two as well. On one day a backfill publishes after the sync. One person is not on two
    rosters in a row, departs, and is back in the next night.
    """
    for night in range(nights):
        if night == WITHHELD_NIGHT:
            await withhold(world, seen(world, 1, cohort="Clinic 1"))
        else:
            is_last = night == nights - 1
            persons = [n for n in range(PERSONS) if n != ABSENT or night not in ABSENT_NIGHTS]
            reads = (_read(world, night, number, is_last) for number in persons)
            await world.publish(*reads, limits=ANY)
        if night == BACKFILL_NIGHT:
            reads = (_read(world, night + 1, number, is_last=False) for number in range(9))
            await world.publish(*reads, kind=RunKind.BACKFILL, limits=ANY)
            world.fake.advance(-61.5)
        world.fake.advance(86_400 - 61.5)


def last_night(world: World, persons: int) -> Iterator[PersonRead]:
    """Reads of the first so many persons after the month, two of whom cannot be read.

    Half of them are now in one clinic, which is large enough for a rate.
    """
    for number in range(persons):
        clinic = 0 if number < PERSONS // 2 else number
        yield _read(world, NIGHTS, number, is_last=True, clinic=clinic)


def _read(
    world: World, night: int, number: int, is_last: bool, clinic: int | None = None
) -> PersonRead:
    place = number if clinic is None else clinic
    cohort = f"Klinikk for sjeldne tilstander {place % CLINICS}"
    if is_last and number < 2:
        return missed(world, number, cohort=cohort)
    until = world.fake.now() + timedelta(days=number % 100)
    found = [safety(f"d{number}", "NORU", until)] if (number + night) % 5 else []
    if number % 2:
        found.append(safety(f"s{number}", DENIED[number % len(DENIED)], NEVER))
    if number % 5 == 0:
        found.append(safety(f"r{number}", "NORU", delay_days=14, object_type="Rekvisisjon"))
        found += [safety(f"o{number}", "ODD"), safety(f"n{number}", "NORN_NEW")]
    kind, level = ("Block", "Shield")[number % 2], ("Soft", "Hard")[number % 4 // 2]
    private = (privacy(f"p{number}", kind, level),) if number % 3 == 0 else ()
    return seen(world, number, *found, private=private, cohort=cohort)


async def fill(url: str, *, nights: int = NIGHTS) -> None:
    """A month on PostgreSQL whose last night was a day ago; tonight's run is open."""
    async with world_on(url, our_clock=True) as world:
        begin = datetime.now(UTC) - timedelta(days=nights)
        world.fake.advance((begin - world.fake.now()).total_seconds())
        await month(world, nights=nights)
        attempt = await world.begin()
        await attempt.write(missed(world, PERSONS))  # somebody new, of whom nothing is published
