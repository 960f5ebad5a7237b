"""What needs a second read, whether two reads agree, and who waits for how long."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.clock import START, FakeRuntime
from tests.support.plain_evidence import plain_evidence
from tests.support.pts_answers import complete_area
from worker.core.confirmation import Confirm, Unconfirmed, compared, needs_second_read
from worker.core.identity import NationalId
from worker.core.model import (
    AreaFailure,
    CompleteArea,
    FailureKind,
    Person,
    PersonRead,
)
from worker.core.run import RunProgress
from worker.errors import TransientError
from worker.sync.confirmation import Confirmations
from worker.sync.reading import PersonReader

AREA = "patient-safety"
REMOVALS, CHANGES = Confirm.REMOVALS, Confirm.CHANGES

contents = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3))


def hashes(held: dict[str, int]) -> dict[str, bytes]:
    return {key: bytes([content]) for key, content in held.items()}


@given(published=contents, read=contents)
def test_what_needs_a_second_read(published, read):
    """`removals`: anything published is missing; `changes`: anything differs."""
    found = complete_area(read)
    is_lost = bool(published.keys() - read.keys())
    assert needs_second_read(hashes(published), found, REMOVALS) == is_lost
    assert needs_second_read(hashes(published), found, CHANGES) == (published != read)


@pytest.mark.promise("1")
@given(published=contents, first=contents, second=contents, confirm=st.sampled_from(Confirm))
@example(published={"a": 1, "b": 1}, first={"a": 1}, second={"b": 1}, confirm=REMOVALS)
@example(published={"a": 1}, first={}, second={"x": 1}, confirm=REMOVALS)
def test_two_reads_agree_or_are_a_failure(published, first, second, confirm):
    """What two agree on is the second, with both in its proof, and needs no third."""
    keys, later = frozenset(published), complete_area(second, after_s=2.5)
    result = compared(keys, complete_area(first), later, confirm)
    agrees = first == second if confirm == CHANGES else first.keys() == second.keys()
    if not agrees:
        assert isinstance(result, AreaFailure)
        assert (result.kind, result.attempts, result.status) == (FailureKind.UNSTABLE, 2, 200)
        assert result.failed_at == START + timedelta(seconds=2.5)
        return
    assert isinstance(result, CompleteArea)
    before = result.proof.first_read
    assert before is not None
    assert result.records == later.records
    assert (before.read_at, before.record_count) == (START, len(first))
    assert before.digest == complete_area(first).proof.digest
    assert result.proof.read_at == START + timedelta(seconds=2.5)
    assert not needs_second_read(hashes(published), result, confirm)


class Upstream:
    """The port ``AreaReader`` on a list of answers: what a second read finds, person by person."""

    def __init__(self, fake: FakeRuntime) -> None:
        self._fake = fake
        self.answers: dict[str, CompleteArea | Exception] = {}
        self.asked: list[tuple[str, float]] = []

    async def read(
        self,
        person: Person,
        name: str,
        *,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> CompleteArea:
        """See ``AreaReader``."""
        assert is_single_use
        assert not is_probe
        assert name == AREA
        self.asked.append((person.person_key, self._fake.monotonic()))
        await anyio.lowlevel.checkpoint()
        answer = self.answers.get(person.person_key, complete_area({}))
        if isinstance(answer, Exception):
            raise answer
        return answer


def held(key: str) -> Unconfirmed:
    """A person whose one published restriction the first read lacks."""
    person = Person(off_id=NationalId("1" * 11), person_key=key)
    read = PersonRead(person=person, areas=(complete_area({}),))
    return Unconfirmed(read=read, published={AREA: frozenset({"a"})})


def numbered(first: int, last: int) -> Sequence[Unconfirmed]:
    return [held(f"p{number}") for number in range(first, last)]


class Waiting:
    """Confirmations over such an upstream, with what was decided."""

    def __init__(self) -> None:
        self.fake = FakeRuntime()
        self.upstream = Upstream(self.fake)
        self.progress = RunProgress()
        self.confirmations = Confirmations(
            reader=PersonReader(
                evidence=plain_evidence(self.upstream),
                progress=self.progress,
                runtime=self.fake.runtime,
            ),
            runtime=self.fake.runtime,
        )
        self.decided, self.reads = anyio.create_memory_object_stream[PersonRead](10_000)

    def results(self) -> dict[str, str]:
        """By person, ``confirmed`` or the kind of failure."""
        found: dict[str, str] = {}
        with suppress(anyio.WouldBlock):
            while True:
                read = self.reads.receive_nowait()
                for one in read.areas:
                    outcome = one.kind if isinstance(one, AreaFailure) else "confirmed"
                    found[read.person.person_key] = outcome
        return found


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    """With an upstream that has nothing for anybody; ``upstream.answers`` can be set."""
    made = Waiting()
    with made.decided, made.reads:
        yield made


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(2_000):
        await anyio.lowlevel.checkpoint()


async def blocks(call: Callable[[], Awaitable[object]]) -> bool:
    """Whether the call does not return before something else happens."""
    is_over = False

    async def watched() -> None:
        nonlocal is_over
        await call()
        is_over = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched)
        await settled()
        tasks.cancel_scope.cancel()
    return not is_over


async def test_everybody_is_read_again_two_seconds_later(waiting: Waiting):
    """When nobody is left to be read first; each with its own result, and no earlier."""
    waiting.upstream.answers = {
        "p1": complete_area({"a": 1}),
        "p2": TransientError("lost"),
    }
    at_s = waiting.fake.monotonic()
    waiting.confirmations.hold(numbered(0, 3))
    assert waiting.confirmations.claims.keys() == {"p0", "p1", "p2"}
    waiting.confirmations.close()
    await waiting.confirmations.work(waiting.decided)
    assert waiting.results() == {"p0": "confirmed", "p1": "unstable", "p2": "transient"}
    assert waiting.confirmations.claims == {"p0": 1}, "as confirmed"
    assert all(later_s - at_s >= 2.0 for _, later_s in waiting.upstream.asked)
    assert dict(waiting.progress.failures) == {FailureKind.UNSTABLE: 1, FailureKind.TRANSIENT: 1}


@pytest.mark.promise("1")
async def test_no_more_wait_than_there_is_room(waiting: Waiting):
    """256; then the writer waits, and second reads make room for half of it."""
    confirmations = waiting.confirmations
    assert await confirmations.room() == 256
    confirmations.hold(numbered(0, 100))
    assert await confirmations.room() == 156
    confirmations.hold(numbered(100, 256))
    assert await blocks(confirmations.room)
    async with anyio.create_task_group() as readers:
        readers.start_soon(confirmations.work, waiting.decided)
        await settled()
        assert await confirmations.room() == 128
        assert len(waiting.results()) == 128
        readers.cancel_scope.cancel()


async def test_who_waits_is_let_go_when_reading_ends(waiting: Waiting):
    """Nobody waits for what will not come: neither the writer nor the readers."""
    waiting.confirmations.hold(numbered(0, 256))
    waiting.confirmations.doubt()
    waiting.confirmations.abandon()
    waiting.confirmations.hold(numbered(256, 300))
    waiting.confirmations.close()
    with anyio.fail_after(30):
        assert await waiting.confirmations.room() == 256
        await waiting.confirmations.may_read_on()
        await waiting.confirmations.work(waiting.decided)
    assert waiting.results() == {}
