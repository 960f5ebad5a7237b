"""What the benchmark computes without measuring: its persons, its requests, its verdicts."""

import orjson
import pytest

from bench.figures import Goal
from bench.people import OBJECTS_PER_PERSON, PRIVACY, SAFETY, answer, off_id
from tests.support.pts_answers import CONTRACT
from worker.areas import AREAS
from worker.core.answer import read_answer
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.record import RecordReader
from worker.offid import checksum_ok

PEOPLE = [off_id(number) for number in range(1_000)]


def test_a_person_has_one_and_a_half_objects_of_800_bytes():
    """The load that the figures are for; no two persons of a roster are one, or give a warning."""
    assert len(set(PEOPLE)) == len(PEOPLE)
    assert [one for one in PEOPLE if not checksum_ok(one)] == []
    bodies = [answer(area, one) for one in PEOPLE for area in (SAFETY, PRIVACY)]
    objects = sum(len(orjson.loads(body)) for body in bodies)
    assert OBJECTS_PER_PERSON == 1.5
    assert pytest.approx(objects / len(PEOPLE), rel=0.05) == 1.5
    assert pytest.approx(sum(map(len, bodies)) / objects, rel=0.10) == 800


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_the_worker_understands_every_answer(area):
    """Each object is a record with a key of its own; each has the fields that are not stored."""
    keys = []
    for one in PEOPLE[:500]:
        body = answer(area.name, one)
        kind = {"content-type": ("application/json",)}
        read = read_answer(200, kind, body, CONTRACT[area.name], one)
        person = Person(off_id=NationalId(one), person_key="k")
        page = RecordReader(area, CONTRACT[area.name]).read(read.items, person)
        assert set(page.drift.values()) <= {len(page.records)}
        assert len(orjson.loads(body)) == len(page.records)
        keys += [record.key for record in page.records]
    assert len(keys) == len(set(keys)) > 100


@pytest.mark.parametrize(
    ("goal", "verdicts"),
    [
        (Goal(must=2, aim=3), ["NOT MET", "met, aim not met", "met, aim met"]),
        (Goal(must=3, aim=2, is_floor=False), ["met, aim met", "met, aim met", "met, aim not met"]),
    ],
    ids=["at least", "at most"],
)
def test_a_goal_is_met_up_to_its_limit(goal, verdicts):
    """Just below, exactly at, and at the further limit."""
    assert verdicts == [goal.verdict(figure) for figure in (1.99, 2, 3)]
