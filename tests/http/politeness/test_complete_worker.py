"""The whole worker (roster, tokens, pages, writer, publication) before a PTS that goes away.

In virtual time, as all simulated nights: everything but sockets and clocks is the real program.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.politeness.world import AWAY
from tests.support.simulation.loop import Clock
from tests.support.simulation.nth_call import in_world
from tests.support.simulation.served import Rows
from tests.support.simulation.stage import Line, Outcome, Stage
from tests.support.simulation.upstream import DictPts
from worker.sandbox.restrictions import PRIVACY, SAFETY
from worker.sandbox.web import Request, Response, problem

pytestmark = pytest.mark.promise("6")


@dataclass(kw_only=True)
class Outage:
    """PTS that answers everybody with 503 from some request on.

    Attributes:
        left: requests until then.
        failed: moment of each request that it answered so, with its path and body.
    """

    left: int
    pts: DictPts
    clock: Clock
    failed: list[tuple[float, tuple[str, bytes]]] = field(default_factory=list)

    def handle(self, request: Request) -> tuple[str, Response, str]:
        """As ``Pts.handle``."""
        self.left -= 1
        if self.left >= 0:
            return self.pts.handle(request)
        self.failed.append((self.clock.elapsed_s, (request.path, request.body)))
        return "pts", problem(AWAY, "Service Unavailable"), ""

    @property
    def found(self) -> Rows:
        """As ``DictPts.found``."""
        return self.pts.found


def test_an_outage_ends_a_run_that_had_read_many(tmp_path: Path):
    """With 69 after 24 requests, and what was under way when the circuit opened.

    The last four are for persons who had been read before.
    """
    clock = Clock(datetime(2026, 3, 28, 22, 17, 43, tzinfo=UTC))
    stage = Stage(tmp_path, clock, random.Random(5), seed=7)
    stage.look_share = 0.0
    for index in range(300):
        off_id = stage.upstream.off_id(index)
        stage.upstream.truth[off_id] = {SAFETY: {"a": 1}, PRIVACY: {}}
        stage.roster.append(Line(off_id=off_id, ref=f"L{index}"))
    stage.limit(concurrency=16, batch_persons=500, requests_per_second=100.0)
    outage = Outage(left=200, pts=stage.upstream._pts, clock=clock)
    stage.upstream._pts = outage  # type: ignore[assignment]

    async def main() -> Outcome:
        return await stage.run(stage.process())

    outcome: Outcome = in_world(stage, main)
    stage.close()
    assert outcome.code == 69
    assert 24 <= len(outage.failed) <= 28
    moments, asked = zip(*outage.failed[-5:], strict=True)
    pauses = [later - sooner for sooner, later in pairwise(moments)]
    assert [round(pause) for pause in pauses] == [1, 3, 9, 27]
    assert len(set(asked[1:])) == 3
    assert not set(asked[1:]) & {searched for _, searched in outage.failed[:-4]}
