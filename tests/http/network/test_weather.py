"""The worker on a bad network: what it reads is right, or it says that it could not read it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.network.net import WEATHERS, Net, assert_counted, text_of
from tests.support.network.proxy import HOLD_S, Strike, Weather

PATIENCE_S = 10.0
EACH_NIGHT = {"latency", "bytes one by one", "reset in mid-body", "closed in mid-body"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if name in EACH_NIGHT else ())
        for name in WEATHERS
    ],
)
def test_the_run_is_complete(
    plain: Net,
    undisturbed: Callable[[], str],
    migrated_sqlite: Path,
    tmp_path: Path,
    name: str,
):
    """0, and what is published is what a run in fair weather publishes; no proof is used twice."""
    weather = WEATHERS[name]
    expected = undisturbed()
    plain.clear(weather)
    worker = plain.install(tmp_path, migrated_sqlite)
    ended = worker.sync()
    assert ended.code == 0, ended.out + ended.err
    assert text_of(worker) == expected
    plain.assert_no_proof_twice()
    assert_counted(plain, weather, ended)


@pytest.mark.nightly
def test_silence_is_given_up(
    plain: Net, undisturbed: Callable[[], str], migrated_sqlite: Path, tmp_path: Path
):
    """A half-open connection costs sync.request_timeout_s and no more, and is tried again."""
    expected = undisturbed()
    plain.clear(Weather(strike=Strike.SILENCE, strikes_max=6))
    worker = plain.install(tmp_path, migrated_sqlite)
    worker.configure(sync={"request_timeout_s": PATIENCE_S})
    plain.helseid.weather = Weather()
    ended = worker.sync()
    assert ended.code == 0, ended.out + ended.err
    assert text_of(worker) == expected
    plain.assert_no_proof_twice()
    assert plain.pts.struck == 6
    assert PATIENCE_S < ended.took_s < HOLD_S
