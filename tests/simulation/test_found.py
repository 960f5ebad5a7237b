"""What the simulation has found, each by itself and by name."""

import shutil

import pytest

from tests.support.simulation.materials import fast_folder
from tests.support.simulation.nth_call import VirtualStage, apart, in_world
from tests.support.simulation.stage import Line


@pytest.fixture
def stage():
    """A small world that no run has met."""
    folder = fast_folder()
    yield VirtualStage(folder)
    shutil.rmtree(folder)


def test_a_reference_first_seen_by_a_withheld_run_is_shown_once_published(stage):
    """A person whom only a withheld run knew goes by the roster's reference afterwards."""
    upstream, observer = stage.upstream, stage.observer

    async def live():
        upstream.arm([{"action": "status", "status": 400, "area": "pts", "every": 1, "times": 100}])
        withheld = await apart(stage)
        upstream.arm([])
        published = await apart(stage, accepts=True)
        shown = dict(observer.model.refs)
        first = stage.roster[0]
        stage.roster[0] = Line(off_id=first.off_id, ref="new")
        again = await apart(stage)
        return withheld.code, published.code, again.code, shown

    withheld, published, again, shown = in_world(stage, live)
    refs = {observer.person_key(line.off_id): line.ref for line in stage.roster}
    assert (withheld, published, again) == (5, 0, 0)
    first = observer.person_key(stage.roster[0].off_id)
    assert shown == {**{person: refs[person] for person in shown}, first: "L0"}
    assert observer.model.refs[first] == "new"
    stage.close()
