"""No write of a run, of whatever kind, gets past another holder of the lease (promise 4).

Each write transaction has its trial: just before it begins another process takes the lease, under
a higher token. Nothing may be written from then on, be it by that transaction or by those that end
the run. Of every other kind of run each commit is watched in all simulated worlds
(``tests/support/simulation/process.py``).
"""

from dataclasses import replace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from tests.support.fencing import Act, Trial, try_it
from tests.support.simulation.materials import materials
from tests.support.simulation.nth_call import apart, change
from tests.support.simulation.process import entered
from tests.support.simulation.stage import Outcome, Stage
from worker.app import App
from worker.core.identity import NationalId
from worker.errors import ExitCode, LeaseLostError
from worker.store.privacy import count_traces, erase_traces
from worker.store.runs.lease import held_lease

pytestmark = pytest.mark.promise("4")

HELD_FROM = 2
"""The first write takes the lease; it can be taken over from the second on."""
STOPPED_AT = 5
"""The write before which a run is asked to stop: it has written a batch."""


async def run(stage: Stage) -> Outcome:
    return await apart(stage, accepts=True)


async def changed(stage: Stage) -> Outcome:
    """A run over the changed world."""
    change(stage)
    return await run(stage)


async def interrupted(stage: Stage) -> Outcome:
    """The same, asked to stop on the way, and left open."""
    change(stage)
    stop, others = anyio.Event(), stage.before_write

    def ask(number: int) -> None:
        others(number)
        if number == STOPPED_AT:
            stop.set()

    stage.before_write = ask
    outcome = await apart(stage, accepts=True, stop=stop)
    stage.before_write = others
    return outcome


async def erasing(stage: Stage) -> None:
    """One person goes, and where others name them."""
    process = stage.process()
    entered(process)
    loaded = replace(materials().loaded, settings=stage.settings)
    app = App(loaded=loaded, runtime=process.runtime())
    off_id = NationalId(stage.roster[0].off_id)
    key = app.identity().person_key(off_id)
    async with app.database() as database, held_lease(database, ttl_s=50) as lease:
        assert await count_traces(database, key)
        await erase_traces(lease, key)


SCENARIOS: dict[str, tuple[Act, Act, int | None]] = {
    "a changed world": (run, changed, 0),
    "an interrupted run": (run, interrupted, 75),
    "an erasure": (run, erasing, None),
}
"""The runs before, what is disturbed, and how it ends if it is not."""
ALWAYS = "a changed world"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == ALWAYS else [pytest.mark.nightly])
        for name in SCENARIOS
    ],
)
def test_no_write_gets_past_another_holder(name: str):
    """Nothing is written, and the lease's loss reported, unless the run had ended already."""
    before, act, code = SCENARIOS[name]
    undisturbed = try_it(before, act)
    assert getattr(undisturbed.ended, "code", undisturbed.ended) == code
    for number in range(HELD_FROM, undisturbed.writes + 1):
        trial = try_it(before, act, taken_at=number)
        trial.assert_nothing_written()
        assert_reported(trial, number, is_last=number == undisturbed.writes)


def assert_reported(trial: Trial, number: int, *, is_last: bool) -> None:
    """75 and why; who published or left open before keeps that, and the last gives it back."""
    ended: Any = trial.ended
    report = getattr(ended, "report", None)
    if report is not None:
        assert trial.status_then(report.run_id) == report.status
        return
    fault = ended.fault if isinstance(ended, Outcome) else ended
    if not (is_last and fault is None):
        assert isinstance(fault, LeaseLostError), f"before write {number}: {fault!r}"
        assert fault.exit_code == ExitCode.STOPPED


@pytest.mark.parametrize("moment", ["its last batch", "its end"])
def test_a_lost_lease_is_reported_after_another_error(moment: str):
    """A run that was asked to stop finds its lease lost: that is what it says, with 75."""
    events: list[str] = []

    async def act(stage: Stage) -> Outcome:
        with capture_logs() as logs:
            ended = await interrupted(stage)
        events[:] = [one["event"] for one in logs]
        return ended

    is_at_its_end = moment == "its end"
    # After its end is noted the lease is given back.
    number = try_it(run, act).writes - 1 if is_at_its_end else STOPPED_AT
    trial = try_it(run, act, taken_at=number)
    assert isinstance(trial.ended.fault, LeaseLostError)
    assert trial.ended.code == ExitCode.STOPPED
    assert "run.stopping" in events
    assert ("run.interrupted" in events) == is_at_its_end
    trial.assert_nothing_written()
