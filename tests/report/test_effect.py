"""Which restrictions are in effect, until when, and of which group: one definition in SQL."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.clock import START
from tests.support.columns import named
from tests.support.made_databases import BOTH
from tests.support.report.stores import ANY, NEVER, missed, privacy, safety, seen
from tests.support.store_world import world_on
from worker.core.area import area_named
from worker.core.effect import effect_of
from worker.store.derived import is_active
from worker.store.schema.tables import VERSIONS

PAST, FUTURE = datetime(2001, 2, 3, 4, 5, tzinfo=UTC), datetime(2901, 2, 3, 4, 5, tzinfo=UTC)
RANGES = '[{"from":"a","to":"b"},{"from":"c","to":"d"}]'


async def published(world, *safe, private=()):
    await world.publish(seen(world, 1, *safe, private=private))


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_patient_safety(database_url):
    """Code N and delays that have ended are not in effect; an unknown code is, without a group."""
    async with world_on(database_url, our_clock=True) as world:
        await published(
            world,
            safety("a", "N"),
            safety("b", "NORU", PAST),
            safety("c", "NORU", FUTURE),
            safety("d", "NORU"),
            safety("e", "NORN_EPO", NEVER),
            safety("f", "NORN_NEW", PAST),
            safety("g", "NORS"),
            safety("h", "other"),
        )
        rows = await world.rows(
            "SELECT restriction_id, is_in_effect, ends_at, restriction_group, publication_no "
            "FROM report_patient_safety_current ORDER BY 1"
        )
        assert [(key, bool(does), at(ends), *rest) for key, does, ends, *rest in rows] == [
            ("a", False, None, "none", 1),
            ("b", False, PAST, "delayed", 1),
            ("c", True, FUTURE, "delayed", 1),
            ("d", True, None, "delayed", 1),
            ("e", True, None, "denied", 1),
            ("f", False, PAST, "denied", 1),
            ("g", True, None, "blocked", 1),
            ("h", True, None, None, 1),
        ]


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_a_delay_that_is_counted_from_a_result_to_come(database_url):
    """Days without a time, of no result: a rule with an unknown end, which hides nothing yet.

    Of a result, or with the time from which they count, the delay restricts. So says the second
    pass, which asks one row, and the facts.
    """
    days: dict[str, dict[str, Any]] = {
        "rule": {},
        "requisition": {"object_type": "Rekvisisjon"},
        "result": {"object_type": "Svarrapport"},
        "counted": {"delay_from_time": PAST},
        "ends": {"delay_delivery_until": FUTURE},
    }
    records = [safety(key, "NORU", **({"delay_days": 14} | more)) for key, more in days.items()]
    records += [safety("denied", "NORN_EPO", delay_days=14)]
    async with world_on(database_url, our_clock=True) as world:
        await published(world, *records)
        rows = await world.rows(
            "SELECT restriction_id, is_in_effect, restriction_group "
            "FROM report_patient_safety_current"
        )
        facts = await world.rows(
            "SELECT restriction_group, sum(open), sum(in_effect) FROM report_daily "
            "WHERE open > 0 GROUP BY 1 ORDER BY 1"
        )
    found = {key: (bool(does), group) for key, does, group in rows}
    assert found == {
        "rule": (False, "pending"),
        "requisition": (False, "pending"),
        "result": (True, "delayed"),
        "counted": (True, "delayed"),
        "ends": (True, "delayed"),
        "denied": (True, "denied"),
    }
    assert [(group, int(open_), int(does)) for group, open_, does in facts] == [
        ("delayed", 3, 3),
        ("denied", 1, 1),
        ("pending", 2, 0),
    ]
    effect = area_named("patient-safety").effect
    assert {
        record.key: effect_of(effect, named(record)).is_active(START) for record in records
    } == {key: does for key, (does, _) in found.items()}


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_patient_privacy(database_url):
    """By its range; with several ranges none is claimed to be over, or not to have begun."""
    async with world_on(database_url, our_clock=True) as world:
        one = RANGES.partition("},")[0] + "}]"
        await published(
            world,
            private=(
                privacy("a", "Block", "Hard"),
                privacy("b", "Shield", "Soft", restricted_from=PAST, restricted_to=FUTURE),
                privacy("c", "Block", "Hard", restricted_to=PAST, time_ranges=one),
                privacy("d", "Block", "Hard", restricted_from=FUTURE),
                privacy("e", "Block", "Hard", restricted_to=PAST, time_ranges=RANGES),
                privacy("f", "Block", "Hard", restricted_to=NEVER),
                privacy("g", "Block", "Hard", restricted_from=FUTURE, time_ranges=RANGES),
            ),
        )
        rows = await world.rows(
            "SELECT restriction_id, is_in_effect, ends_at, restriction_group "
            "FROM report_patient_privacy_current ORDER BY 1"
        )
        assert [(key, bool(does), at(ends), group) for key, does, ends, group in rows] == [
            ("a", True, None, "blocked"),
            ("b", True, FUTURE, "shielded"),
            ("c", False, PAST, "blocked"),
            ("d", False, None, "blocked"),
            ("e", True, None, "blocked"),
            ("f", True, None, "blocked"),
            ("g", True, None, "blocked"),
        ]


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_the_history(database_url):
    """Of each version its group and its end; only what stands and restricts now is in effect."""
    async with world_on(database_url, our_clock=True) as world:
        await published(world, safety("a", "NORU", FUTURE), safety("b", "N"), safety("c", "NORS"))
        gone = seen(world, 1, safety("a", "NORN_EPO", NEVER), safety("b", "N"))
        await world.publish(gone, limits=ANY)
        rows = await world.rows(
            "SELECT restriction_id, closed_publication, is_in_effect_now, ends_at, "
            "restriction_group FROM report_patient_safety_history ORDER BY 1, opened_publication"
        )
    assert [
        (key, closed, bool(does), at(ends), group) for key, closed, does, ends, group in rows
    ] == [
        ("a", 2, False, FUTURE, "delayed"),
        ("a", None, True, None, "denied"),
        ("b", None, False, None, "none"),
        ("c", 2, False, None, "blocked"),
    ]


def at(value):
    """A time of a view, which is text on SQLite."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


@pytest.mark.promise("2")
@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_it_ends_at_the_instant(database_url):
    """In effect from its beginning and until before its end, to the microsecond."""
    async with world_on(database_url, our_clock=True) as world:
        await published(world, safety("a", "NORU", FUTURE))
        versions = VERSIONS["patient-safety"].c
        active = [is_active(versions, FUTURE + timedelta(microseconds=late)) for late in (-1, 0, 1)]
        (row,) = await world.selected(select(*active))
        assert [bool(value) for value in row] == [True, False, False]
        begins = "effect_from = effect_until, effect_until = NULL"
        await world.rows_written(f"UPDATE patient_safety_version SET {begins}")
        (row,) = await world.selected(select(*active))
        assert [bool(value) for value in row] == [False, True, True]


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_views_go_by_utc(database_url):
    """The zone of the machine, four hours away in these tests, decides nothing."""
    hour = timedelta(hours=1)
    async with world_on(database_url) as world:
        now = datetime.now(UTC)
        await published(world, safety("a", "NORU", now - hour), safety("b", "NORU", now + hour))
        rows = "SELECT restriction_id FROM report_patient_safety_current WHERE is_in_effect"
        assert await world.rows(rows) == [("b",)]


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_episodes(database_url):
    """One row a restriction: beginning, end, changes; what stood at the first read is censored."""
    async with world_on(database_url, our_clock=True) as world:
        for codes in ("N", "NORU"), ("NORU", "NORU"), ("NORU",):
            await published(
                world, *(safety(key, code) for key, code in zip("ab", codes, strict=False))
            )
            world.fake.advance(86_400)
        await published(world, safety("a", "NORU"), safety("c", "N"))
        rows = await world.rows(
            "SELECT restriction_id, ended_at IS NULL, is_left_censored, revisions, "
            "CASE WHEN ended_at IS NOT NULL THEN days END "
            "FROM report_episode WHERE area = 'patient-safety' ORDER BY 1"
        )
        assert [(key, bool(stands), bool(left), *rest) for key, stands, left, *rest in rows] == [
            ("a", True, True, 1, None),
            ("b", False, True, 0, 2),
            ("c", True, False, 0, None),
        ]
        wrong = "2099-01-01T00:00:00.000000+00:00"  # the date of a clock that was ahead
        await world.rows_written(f"UPDATE patient_safety_version SET first_seen_at = '{wrong}'")
        assert await world.rows("SELECT max(days), min(days) FROM report_episode") == [(0, 0)]


@pytest.mark.parametrize("database_url", BOTH, indirect=True)
async def test_a_restriction_that_comes_back_begins_a_new_episode(database_url):
    """Nobody knows it to have stood in between: not in ``days``, and its return is no change.

    Nobody saw the beginning of what stood when its area was first read: late, or after a departure.
    """
    async with world_on(database_url, our_clock=True) as world:
        for night, code in enumerate(("N", "NORU", None, None, "NORU", None, "NORU")):
            mine = [safety("a", code)] if code else []
            late = seen(world, 2, safety("late", "N")) if night else missed(world, 2)
            others = [] if night in {3, 4} else [late]
            await world.publish(seen(world, 1, safety("stays", "N"), *mine), *others, limits=ANY)
            world.fake.advance(86_400)
        rows = await world.rows(
            "SELECT ended_at IS NULL, is_left_censored, revisions FROM report_episode "
            "WHERE restriction_id <> 'stays' ORDER BY restriction_id, started_at"
        )
        flags = [(bool(stands), bool(left), revisions) for stands, left, revisions in rows]
        assert flags[:3] == [(False, True, 1), (False, False, 0), (True, False, 0)]
        assert flags[3:] == [(False, True, 0), (True, True, 0)]
        assert await world.rows(
            "SELECT days FROM report_episode WHERE ended_at IS NOT NULL ORDER BY started_at"
        ) == [(2,), (3,), (1,)]
