"""Faults that last, each by itself: what must come of it is known to the last person.

Some persons fail for ever while the world goes on; PTS asks for silence; one replica of PTS has a
wrong clock. Nothing else is wrong meanwhile.
"""

import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import anyio

from tests.support.model.values import AREAS, PersonArea, expect
from tests.support.simulation.changes import Changes
from tests.support.simulation.stage import Outcome, Stage
from worker.sandbox.dpop import NONCE_VALID_S
from worker.sandbox.faults import Action

KINDS: dict[str, tuple[dict[str, Any], int, str]] = {
    "500": ({"action": Action.STATUS, "status": 500}, 69, "transient"),
    "503": ({"action": Action.STATUS, "status": 503}, 69, "transient"),
    "reset": ({"action": Action.RESET}, 69, "transient"),
    "cut body": ({"action": Action.TRUNCATE}, 69, "transient"),
    "403": ({"action": Action.STATUS, "status": 403}, 77, "refused"),
    "wrong shape": ({"action": Action.EMPTY_OBJECT}, 65, "contract"),
}
"""How somebody may fail for ever; how a run ends if nobody else could be read; the failure."""
PLACES = ("head", "tail", "spread")
REQUESTS_MAX = 250
"""A run whom everybody fails asks no more than that."""

ROOM_S = 900.0
"""``sync.retry_after_max``."""
LONGER_THAN_A_LEASE_S = 61.0
FAR_AWAY = datetime(9999, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Silence:
    """A value of ``Retry-After``.

    Attributes:
        fault: the keys of a fault that give it.
        asked_s: what it asks for; 0 for the past and for what cannot be read.
    """

    fault: dict[str, Any]
    asked_s: float


SILENCES: dict[str, tuple[float, str, float]] = {
    "0": (0, "seconds", 0),
    "seconds": (40, "seconds", 40),
    "minutes": (600, "seconds", 600),
    "too long": (3600, "seconds", 3600),
    "a date": (300, "date", 300),
    "a past date": (-7200, "date", 0),
    "a far date": (86_400, "date", 86_400),
    "the year 9999": (math.inf, "date", math.inf),
    "garbage": (-5, "seconds", 0),
}
"""Values of ``Retry-After``: of the fault, its form, and the seconds that it asks for."""


def silence_of(name: str, now: datetime) -> Silence:
    """That value now."""
    value_s, form, asked_s = SILENCES[name]
    if math.isinf(value_s):
        value_s = (FAR_AWAY - now.astimezone(UTC)).total_seconds() // 1
    return Silence(fault={"retry_after_s": value_s, "retry_after_as": form}, asked_s=asked_s)


class Lasting:
    """What follows a seed's nights.

    Args:
        stage: a world that the store equals.
        changes: of that world.
        run: one more run, after so many seconds.
    """

    def __init__(
        self, stage: Stage, changes: Changes, run: Callable[[float], Awaitable[Outcome]]
    ) -> None:
        self.stage = stage
        self.changes = changes
        self.seed = stage.upstream.state.options.seed
        self.rng = random.Random(f"lasting {self.seed}")
        self._run = run

    async def live(self) -> None:
        """Neighbouring seeds have different fates."""
        match self.seed % 5:
            case 0 | 2:
                for number in range(2):
                    kind = list(KINDS)[(self.seed + number) % len(KINDS)]
                    await self._certain_persons(kind)
            case 1 | 3:
                for name in self.rng.sample(sorted(SILENCES), 4):
                    await self._silence(name)
            case _ if self._may_leave_a_replica():
                await self._replicas()
            case _:
                await self._certain_persons("503")

    # Certain persons

    async def _certain_persons(self, kind: str) -> None:
        """They fail for several runs, while the world goes on; then they are well again."""
        for _ in range(self.rng.choice((0, 0, 8, 20))):
            self.changes.add_person()
        fault, _, _ = KINDS[kind]
        areas = self.rng.choice((AREAS, AREAS, AREAS[:1], AREAS[1:]))
        chosen = self._choose()
        faults = [{**fault, "area": area, "off_id_sha256": chosen} for area in areas]
        self.stage.upstream.arm(faults)
        self.stage.tally.faults[f"certain persons: {kind}"] += 1
        for _ in range(self.rng.choice((1, 2, 3))):
            failing = {
                (off_id, area)
                for off_id in self._roster()
                for area in areas
                if digest(off_id) in chosen
            }
            await self._run_with(failing, kind)
            for _ in range(self.rng.randint(0, 2)):
                self.changes.change_world()
        await self._well_again()

    def _choose(self) -> list[str]:
        """Digests of some persons of the roster: from one to everybody, at any place of it."""
        roster = self._roster()
        count = self.rng.choice((1, 1, 1 + len(roster) // 8, len(roster) // 2, len(roster)))
        count = max(1, count)
        match self.rng.choice(PLACES):
            case "head":
                found = roster[:count]
            case "tail":
                found = roster[-count:]
            case _:
                found = self.rng.sample(roster, count)
        return [digest(off_id) for off_id in found]

    async def _run_with(
        self,
        failing: set[tuple[str, str]],
        kind: str,
        *,
        is_replica: bool = False,
        may_fail: bool = False,
    ) -> Outcome:
        """Others speak for PTS, once somebody was read; before that there is no evidence."""
        due = len(AREAS) * len(self._roster())
        _, verdict, failure = KINDS[kind]
        outcome = await self._run(60.0)
        for number in range(12):
            if number:
                outcome = await self._run(60.0)
            served = self.stage.upstream.served[outcome.process.number]
            requests = served.searches.total()
            if not served.answers and (failing or is_replica):
                expect(outcome.code == verdict, f"{kind}: nobody was read, and {outcome.code}")
                expect(requests <= REQUESTS_MAX, f"{kind}: {requests} requests, nobody was read")
                if len(failing) == due:
                    return outcome
                continue
            if is_replica and outcome.code in (3, 5):
                continue  # refused six times in a row by chance; of four persons half are few
            if may_fail and outcome.code in (3, 5):
                continue  # the last ones were not waited for
            shares = [
                1 - len({one for one in failing if one[1] == area}) / len(self._roster())
                for area in AREAS
            ]
            is_enough = max(shares) >= self.stage.settings.sync.min_completeness
            wanted = 0 if not failing else 3 if is_enough else 5
            what = f"{kind}: {len(failing)} of {due} person-areas fail"
            expect(outcome.code == wanted, f"{what}, and the run ends with {outcome.code}")
            if wanted == 5:
                return outcome
            assert outcome.report is not None
            found = outcome.report.failures
            expect(set(found) == ({failure} if failing else set()), f"{what} as {found}")
            self._check_world(failing)
            return outcome
        is_small = len(self._roster()) <= 2 * len({off_id for off_id, _ in failing})
        expect(is_small, f"{kind}: of {due} person-areas nobody who is well was asked in time")
        return outcome

    def _check_world(self, failing: set[tuple[str, str]]) -> None:
        observer = self.stage.observer
        keys: set[PersonArea] = {(observer.person_key(off_id), area) for off_id, area in failing}
        roster = {line.off_id for line in self.stage.roster}
        not_sent = self.stage.not_sent(roster)
        observer.check_world(self.stage.upstream.truth, roster, keys, not_sent)

    # Silence

    async def _silence(self, name: str) -> None:
        """For one person alone, for everybody a few times, or for everybody for good."""
        silence = silence_of(name, self.stage.clock.true_now())
        is_demanding = self.stage.upstream.state.options.rs_nonce
        fault: dict[str, Any] = {
            "action": Action.STATUS, "status": self.rng.choice((429, 503)), **silence.fault
        }  # fmt: skip
        match self.rng.choice(("one", "a few times", "for good")):
            case "one" if not (is_demanding and NONCE_VALID_S < silence.asked_s <= ROOM_S):
                self.stage.tally.faults[f"Retry-After to one: {name}"] += 1
                off_id = self.rng.choice(self._roster())
                self.stage.upstream.arm([{**fault, "off_id_sha256": [digest(off_id)]}])
                await self._run_in_silence({(off_id, area) for area in AREAS}, silence)
            case "a few times" if silence.asked_s <= ROOM_S:
                self.stage.tally.faults[f"Retry-After a few times: {name}"] += 1
                times = self.rng.randint(1, self.stage.settings.sync.retry_attempts - 1)
                with self._for_everybody({**fault, "times": times}, silence):
                    await self._run_in_silence(set(), silence, may_fail=True)
            case _:
                self.stage.tally.faults[f"Retry-After for good: {name}"] += 1
                everyone = {(off_id, area) for off_id in self._roster() for area in AREAS}
                with self._for_everybody(fault, silence):
                    await self._run_in_silence(everyone, silence)
        await self._well_again()

    @contextmanager
    def _for_everybody(self, fault: dict[str, Any], silence: Silence) -> Iterator[None]:
        upstream = self.stage.upstream
        upstream.arm([fault])
        upstream.silence_s = max(0.0, silence.asked_s - 1.0)  # a date has no fractions
        yield
        upstream.silence_s = 0.0

    async def _run_in_silence(
        self, failing: set[tuple[str, str]], silence: Silence, *, may_fail: bool = False
    ) -> None:
        """One that is too long is not waited for, and the run says until when it was asked for."""
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._compete)
            outcome = await self._run_with(failing, "503", may_fail=may_fail)
            beside.cancel_scope.cancel()
        if outcome.code == 69 and silence.asked_s > ROOM_S:
            assert outcome.report is not None
            said = " ".join(outcome.report.reasons)
            expect("asks for a pause until" in said, f"69 in a long silence, and it says: {said}")

    async def _compete(self) -> None:
        """Somebody else starts in a silence that has been longer than a lease lasts."""
        while True:
            await anyio.sleep(LONGER_THAN_A_LEASE_S)
            first = self.stage.processes[-1]
            until_s = self.stage.upstream.served[first.number].silent_until_s
            if not first.ended and until_s - self.stage.clock.elapsed_s > 10:
                self.stage.tally.faults["overlapping run in a silence"] += 1
                other = await self._run(0.0)
                expect(other.code == 4, f"{other.code} beside a run in a silence")
                return

    # Replicas

    def _may_leave_a_replica(self) -> bool:
        """Nonces hold a replica's time; few readers meet six refusals in a row by chance."""
        sync = self.stage.settings.sync
        has_others = sync.concurrency > 1 and sync.retry_attempts > 2
        return has_others and not self.stage.upstream.state.options.rs_nonce

    async def _replicas(self) -> None:
        """One of three has a wrong clock: nobody fails by that."""
        for by, replica in [
            ("connection", 0),
            ("connection", 1),
            ("connection", 2),
            ("request", 0),
        ]:
            self.stage.tally.faults[f"replicas by {by}"] += 1
            fault = {
                "action": Action.CLOCK_SKEW, "replicas": 3, "replica_by": by,
                "replica": replica,
                "skew_s": self.rng.choice((-600, -30, 30, 600)),
            }  # fmt: skip
            self.stage.upstream.arm([fault])
            self.changes.change_world()
            await self._run_with(set(), "403", is_replica=True)
        await self._well_again()

    async def _well_again(self) -> None:
        self.stage.upstream.arm([])
        await self._run_with(set(), "500")

    def _roster(self) -> list[str]:
        """Whom PTS may be asked about, in order."""
        listed = dict.fromkeys(line.off_id for line in self.stage.roster)
        return [one for one in listed if one not in self.stage.not_sent(listed)]


def digest(off_id: str) -> str:
    """How a fault names a person."""
    return sha256(off_id.encode()).hexdigest()
