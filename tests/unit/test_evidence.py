"""Who speaks for PTS before a run concludes that it is away, denies or is not understood."""

from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from tests.support.clock import FakeRuntime
from tests.support.pts_answers import person
from worker.core.evidence import KnownGood
from worker.core.model import CompleteArea, Person, Proof, Record
from worker.core.times import END_OF_TIME
from worker.errors import ContractError, TransientError
from worker.sync.evidence import Evidence

ANNA, BODIL, CARL, DORA = (person(key=name * 64) for name in "abcd")


def test_a_witness_that_fails_gives_way_to_others():
    """One who was read once and fails now does not speak for PTS alone; records come first."""
    known = KnownGood()
    assert (known.witnesses("x"), known.latest()) == ([], [])
    known.remember(ANNA, "x", has_records=True)
    known.remember(DORA, "y", has_records=True)
    for each in (BODIL, CARL):
        known.remember(each, "x", has_records=False)
    known.failed(CARL, "x")
    assert known.latest() == [(BODIL, "x")]
    assert known.witnesses("x") == [(ANNA, "x"), (BODIL, "x"), (CARL, "x")]
    assert known.witnesses("y") == [(DORA, "y")]
    assert known.witnesses("z")[:2] == [(ANNA, "x"), (DORA, "y")], "there is no better"


@dataclass
class Pts:
    """The ports ``AreaReader`` and ``Availability``.

    Attributes:
        failing: what reading a person ends with, by key.
        asked: whom was asked for, and the area.
    """

    failing: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def read(self, person, area, *, is_single_use=False, is_probe=False):
        assert is_probe
        self.asked.append((person.person_key[0], area))
        await anyio.lowlevel.checkpoint()
        if person.person_key in self.failing:
            raise self.failing[person.person_key]
        return complete(area)

    def watch(self, begin_probe):
        raise AssertionError

    def probed(self, *, is_read):
        raise AssertionError


def complete(area, records=0):
    proof = Proof(pages=1, record_count=records, digest=b"", read_at=END_OF_TIME)
    record = Record(key="1", content_hash=b"", columns=())
    return CompleteArea(area=area, records=(record,) * records, proof=proof)


def evidence(pts: Pts, *known: Person) -> tuple[Evidence, FakeRuntime]:
    fake = FakeRuntime()
    made = Evidence(reader=pts, runtime=fake.runtime, availability=pts)
    for each in known:
        made.remember(each, complete("x"))
    return made, fake


async def test_a_known_good_read_refutes():
    """Once for some seconds, however many ask, at the same time or after."""
    pts = Pts()
    made, fake = evidence(pts, ANNA)
    answers = []

    async def ask():
        answers.append("refuted" if await made.refutes("x") else "believed")

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    await ask()
    assert (answers, pts.asked) == (["refuted"] * 4, [("a", "x")])
    fake.advance(5.0)
    await ask()
    assert len(pts.asked) == 2


async def test_nothing_refutes():
    """Nobody was read; or the known-good fail, too."""
    assert not await evidence(Pts())[0].refutes("x")
    for error in (TransientError("status 503"), ContractError("no list")):
        made, _ = evidence(Pts(failing={ANNA.person_key: error}), ANNA)
        assert not await made.refutes("x")
