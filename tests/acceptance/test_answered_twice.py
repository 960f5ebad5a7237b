"""A proxy before PTS that answers one request in sixty twice, night after night."""

import random
from pathlib import Path

import pytest

from tests.support.made_databases import fresh_database
from tests.support.raw_server import Reply, http
from tests.support.standin import Ask, Standin, person

pytestmark = pytest.mark.promise("1")

PERSONS, ONE_IN = 90, 60
TABLES = ("patient_safety", "patient_privacy")


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    return fresh_database(request)


@pytest.mark.parametrize(
    ("database_url", "nights"),
    [
        ("sqlite", 2),
        pytest.param("sqlite", 20, marks=pytest.mark.nightly),
        pytest.param("postgresql", 20, marks=pytest.mark.nightly),
    ],
    indirect=["database_url"],
)
def test_nothing_is_lost(standin: Standin, tmp_path: Path, database_url: str, nights: int) -> None:
    """The second answer comes at once or later, perhaps in place of the next person's.

    Every second person has no restriction, so that another's answer may be an empty list.
    """
    for number in range(PERSONS):
        person(standin, number, safeties=number % 2, privacies=2 * (number % 2))
    worker = standin.install(tmp_path, database_url, requests_per_second=1000)
    assert worker.sync().code == 0
    truth = [worker.store.ids(table) for table in TABLES]
    assert list(map(len, truth)) == [PERSONS // 2, PERSONS]
    luck = random.Random(27)
    standin.asked.clear()

    def twice(ask: Ask) -> Reply:
        data = http(ask.records).data
        if len(standin.asked) % ONE_IN:
            return Reply(data=data)
        return Reply(data=2 * data, cuts=(len(data),), pause_s=luck.choice((0.0, 0.005, 0.05)))

    standin.everybody = twice
    for night in range(nights):
        ended = worker.sync()
        assert ended.code in {0, 3}, ended.story()
        published = [worker.store.ids(table) for table in TABLES]
        assert published == truth, (night, ended.story())
    assert len(standin.asked) > nights * PERSONS
    standin.everybody = None
    assert worker.sync().code == 0
    assert worker.store.stale() == set()
