"""What the benchmark computes without measuring: its persons, its requests, its verdicts."""

from collections import defaultdict
from itertools import pairwise

import orjson
import pytest

from bench.cases import Plan
from bench.figures import Figure, Goal, Heading, Sample, ratios, table
from bench.people import OBJECTS_PER_PERSON, PRIVACY, SAFETY, answer, off_id, roster_lines
from bench.picture import FILE, bars, picture
from bench.report import LARGE, STORE_SHARE, lines
from bench.standin import replies, split_request
from worker.areas import AREAS, area_named
from worker.core.answer import read_page
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.offid import checksum_ok

PEOPLE = [off_id(number) for number in range(4_000)]


def test_each_person_has_an_identifier_of_its_own_with_control_digits_that_add_up():
    """So that no two persons of a roster are one, and no line gives a warning."""
    assert len(PEOPLE) == len(set(PEOPLE))
    assert all(map(checksum_ok, PEOPLE))
    assert {81 + month for month in range(12)} == {int(one[2:4]) for one in PEOPLE}


def test_there_are_not_more_persons_than_identifiers():
    """A number beyond the last identifier is refused, not given somebody else's."""
    last = 28 * 12 * 100 * 100 - 1
    assert 11 == len(off_id(last))
    with pytest.raises(ValueError, match="no identifier"):
        off_id(last + 1)


def test_a_person_has_one_and_a_half_objects_of_800_bytes():
    """The load that the figures are told for."""
    bodies = [answer(area, one) for one in PEOPLE for area in (SAFETY, PRIVACY)]
    objects = sum(len(orjson.loads(body)) for body in bodies)
    assert 1.5 == OBJECTS_PER_PERSON
    assert 1.5 == pytest.approx(objects / len(PEOPLE), rel=0.05)
    assert 800 == pytest.approx(sum(map(len, bodies)) / objects, rel=0.10)


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_the_worker_understands_every_answer(area):
    """Each object is a record with a key of its own, and nothing in it is unknown."""
    keys = []
    for one in PEOPLE[:500]:
        body = answer(area.name, one)
        page = read_page(
            200,
            {"content-type": ("application/json",)},
            body,
            area=area_named(area.name),
            person=Person(off_id=NationalId(one), person_key="k"),
        )
        assert frozenset() == page.drift
        assert len(orjson.loads(body)) == len(page.records)
        keys += [record.key for record in page.records]
    assert len(keys) == len(set(keys)) > 100


def test_a_night_changes_the_share_of_persons_that_was_asked_for():
    """At 1 %, one in a hundred persons differs from the night before, and not the same ones."""
    holders = [one for one in PEOPLE if answer(SAFETY, one) != b"[]"]
    nights = [[answer(SAFETY, one, night, 1) for one in holders] for night in range(3)]
    changed = [
        {one for one, old, new in zip(holders, before, after, strict=True) if old != new}
        for before, after in pairwise(nights)
    ]
    assert [0.01, 0.01] == pytest.approx([len(one) / len(holders) for one in changed], abs=0.006)
    assert set() == changed[0] & changed[1]
    assert nights[0] == [answer(SAFETY, one) for one in holders]


def test_a_roster_has_a_header_and_a_line_for_each_person():
    """As `roster.path` wants it."""
    lines = list(roster_lines(3))
    assert "off_id,local_ref\n" == lines[0]
    assert PEOPLE[:3] == [line.partition(",")[0] for line in lines[1:]]


def test_requests_in_one_segment_are_told_apart():
    """Two whole requests and the begin of a third."""
    one = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    two = b"POST /b HTTP/1.1\r\ncontent-length:0\r\nX: y\r\n\r\n"
    received, found = one + two + one[:-1], []
    while request := split_request(received):
        *first, received = request
        found.append(first)
    assert [[b"/a", b"hello"], [b"/b", b""]] == found
    assert one[:-1] == received
    assert split_request(one[:20]) is None


def test_a_search_is_answered_for_its_area_and_person():
    """The stand-in's answer is the person's, by the path."""
    reply = replies("http://127.0.0.1:1")
    holder = next(one for one in PEOPLE if answer(SAFETY, one) != answer(PRIVACY, one))
    for area in AREAS:
        body = reply(area.path.encode(), orjson.dumps({"offId": holder}))
        assert answer(area.name, holder) == body.partition(b"\r\n\r\n")[2]
    assert reply(b"/elsewhere", b"").startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("parts", "judged"),
    [
        (("large", "nothing"), ["SQLite, unchanged: of that"]),
        (("latency", "nothing"), ["SQLite, first: of that"]),
        (("large", "latency", "nothing"), ["SQLite, unchanged: of that", "SQLite, first: of that"]),
        (("large", "latency"), []),
    ],
)
def test_the_store_is_judged_unchanged_and_with_latency(parts, judged):
    """A first run with a server that answers at once shows its share, and is no goal."""
    plan = Plan(persons=50_000, databases=("sqlite",), parts=parts)
    found = lines(defaultdict(lambda: [sample()]), plan, has_shards=True)
    assert judged == [
        line.name for line in found if isinstance(line, Figure) and line.goal is STORE_SHARE
    ]


def test_the_goal_is_beside_the_loop_of_the_reference_and_the_harder_one_is_told_too():
    """Asyncio's own loop is what the goals were set for; uvloop, a lever of ours, has none."""
    plan = Plan(persons=50_000, databases=("sqlite",), parts=("large",))
    samples: dict[str, list[Sample]] = defaultdict(lambda: [sample(wall_s=4)])
    samples["fast 50000 bare asyncio"] = [sample(wall_s=3)]
    samples["fast 50000 bare uvloop"] = [sample(wall_s=2)]
    found = [line for line in lines(samples, plan, has_shards=True) if isinstance(line, Figure)]
    ratios_told = [(one.name.strip(), one.value, one.goal) for one in found if "  of" in one.name]
    assert [("of the bare loop", 0.75, LARGE), ("of that on uvloop", 0.5, None)] * 2 == ratios_told


def sample(persons: int = 1000, wall_s: float = 2.0) -> Sample:
    return Sample(persons=persons, wall_s=wall_s, cpu_s=1.0, peak_kib=2048)


def test_a_sample_tells_speed_processor_time_and_memory():
    """500 persons/s, 1 s for 1,000 persons, 2.1 million bytes."""
    one = sample()
    assert (500, 1.0, 2.097152) == (one.persons_per_s, one.cpu_s_per_1000, one.peak_mb)


def test_ratios_are_taken_round_by_round():
    """A slow round is slow for both, and does not show."""
    ours = [sample(wall_s=2), sample(wall_s=20)]
    theirs = [sample(wall_s=1), sample(wall_s=10)]
    assert (0.5, 0.5) == ratios(ours, theirs)
    with pytest.raises(ValueError, match="shorter"):
        ratios(ours, theirs[:1])


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


def test_the_table_shows_median_range_and_verdict():
    """Three rounds, one of them bad: the median decides."""
    lines: list[Figure | Heading] = [
        Heading("Speed"),
        Figure(
            name="worker", values=(0.1, 0.8, 0.9), unit="", digits=2, goal=Goal(must=0.5, aim=1)
        ),
        Figure(name="bare", values=(1234.5,), unit="persons/s"),
    ]
    head, *rows = table(lines).splitlines()
    assert ["median", "unit", "range", "goal"] == head.split()
    assert ["", "Speed"] == rows[:2]
    assert ["worker", "0.80", "0.10", "to", "0.90"] == rows[2].split()[:5]
    assert rows[2].endswith(">= 0.5, aim 1  met, aim not met")
    assert ["bare", "1,234", "persons/s"] == rows[3].split()


def test_the_picture_of_the_country_is_drawn_from_the_figures():
    """``docs/scale.md`` shows what ``python -m bench.picture`` draws now."""
    assert picture(bars()) == FILE.read_text(encoding="utf-8")
