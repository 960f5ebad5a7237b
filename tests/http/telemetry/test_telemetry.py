"""What each target receives about a run: real files, real sockets."""

import stat
from datetime import timedelta

import msgspec
import pytest
import structlog

from tests.support.http.reports import NIGHT, PUBLISHED_AT, STANDING, WITHHELD, pushes, reported
from tests.support.program import closed_port
from tests.support.raw_server import http, raw_server
from worker.config.settings import Telemetry
from worker.core.model import RunKind
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.telemetry import HELP, emit, samples_of


def out(server: str) -> Transport:
    return Transport(TransportOptions(server=server, attempt_s_max=10.0))


async def test_the_textfile_has_every_number(tmp_path):
    """Whole, under the promised names; who may read the folder may read it."""
    path = tmp_path / "pts_worker.prom"
    for folder, mode in ((0o755, 0o644), (0o750, 0o640), (0o700, 0o600)):
        tmp_path.chmod(folder)
        await emit(samples_of(NIGHT, STANDING), Telemetry(textfile=path), out)
        assert list(tmp_path.iterdir()) == [path]
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(mode)
    numbers = reported(path.read_text())
    expected = {
        "last_run_timestamp_seconds run=sync": NIGHT.finished_at.timestamp(),
        "last_success_timestamp_seconds": PUBLISHED_AT.timestamp(),
        "last_published_timestamp_seconds": PUBLISHED_AT.timestamp(),
        "run_duration_seconds run=sync": 93.0,
        "exit_code run=sync": 0.0,
        "persons kind=total run=sync": 500.0,
        "areas kind=complete run=sync": 1000.0,
        "rows kind=opened run=sync": 3.0,
        "requests run=sync": 1004.0,
        "retries run=sync": 4.0,
        "failures kind=transient run=sync": 0.0,
        "warnings run=sync": 2.0,
        "stale_persons": 0.0,
    }
    assert {name: numbers[name] for name in expected} == expected
    assert set(HELP) == {name.split()[0] for name in numbers}
    labels = {label.partition("=")[0] for name in numbers for label in name.split()[1:]}
    assert labels == {"run", "kind"}  # nothing personal


BACKFILL = msgspec.structs.replace(
    NIGHT,
    kind=RunKind.BACKFILL,
    totals={"persons_total": 2, "persons_stale": 2},
    published_at=PUBLISHED_AT + timedelta(days=2),
)
OF_THE_SUCCESS = {
    "last_published_timestamp_seconds": PUBLISHED_AT.timestamp(),
    "last_success_timestamp_seconds": PUBLISHED_AT.timestamp(),
    "persons kind=total run=sync": 500.0,
}


@pytest.mark.parametrize(
    ("then", "more"),
    [
        (WITHHELD, {"exit_code run=sync": 5.0, "failures kind=transient run=sync": 7.0}),
        (BACKFILL, {"persons kind=total run=backfill": 2.0, "stale_persons": 0.0}),
    ],
    ids=["a failed night", "a backfill"],
)
async def test_the_numbers_of_the_last_published_sync_stay(tmp_path, then, more):
    """Beside the exit code of the run that failed, or the numbers of a subset."""
    to = Telemetry(textfile=tmp_path / "pts_worker.prom")
    await emit(samples_of(NIGHT, STANDING), to, out)
    await emit(samples_of(then, None), to, out)
    numbers = reported((tmp_path / "pts_worker.prom").read_text())
    assert numbers == numbers | OF_THE_SUCCESS | more


async def test_a_push_replaces_only_its_own(tmp_path):
    """POST keeps what is not pushed; the groups are the job and the kind of run, no instance."""
    async with raw_server(http()) as server:
        await emit(samples_of(NIGHT, STANDING), Telemetry(pushgateway_url=server.url), out)
    assert {(method, path) for method, path, _ in pushes(server)} == {
        ("POST", "/metrics/job/pts_worker/run/sync"),
        ("POST", "/metrics/job/pts_worker"),
    }
    numbers = reported(b"".join(body for *_, body in pushes(server)))
    assert numbers["persons kind=total run=sync"] == 500.0


@pytest.mark.parametrize("status", [400, 500])
async def test_a_pushgateway_that_refuses_changes_nothing(tmp_path, status):
    """Host, port and status are logged, no credentials; the other targets get all the same."""
    to = Telemetry(textfile=tmp_path / "pts_worker.prom")
    async with raw_server(http(status=f"{status} No")) as server:
        secret = server.url.replace("//", "//somebody:hunter2@")
        with structlog.testing.capture_logs() as logs:
            to = to.model_copy(update={"pushgateway_url": secret})
            said = await emit(samples_of(NIGHT, STANDING), to, out)
    place = server.url.removeprefix("http://")
    found = [(log["event"], log["target"]) for log in logs]
    assert found == [("telemetry.failed", f"pushgateway at {place}")]
    assert [one.startswith(f"metrics: {found[0][1]}: ") for one in said] == [True]
    assert f"{place} answered with status {status}" in logs[0]["reason"]
    assert ("telemetry.pushgateway_url" in logs[0]["hint"]) == (status < 500)
    assert "hunter2" not in f"{logs} {said}"
    assert (tmp_path / "pts_worker.prom").exists()


async def test_targets_that_are_not_there_change_nothing(tmp_path):
    """A closed port, a missing folder and one in a file's place: a line with cause and remedy."""
    url = f"http://127.0.0.1:{closed_port()}"
    for path, cause, remedy in (
        (tmp_path / "nowhere" / "x.prom", "no such file or directory", "make the folder first"),
        (tmp_path, "it is not a plain file", "look at the folder and its disk"),
    ):
        to = Telemetry(textfile=path, pushgateway_url=url)
        with structlog.testing.capture_logs() as logs:
            await emit(samples_of(NIGHT, STANDING), to, out)
        found = {log["target"]: log for log in logs}
        assert set(found) == {f"pushgateway at {url.removeprefix('http://')}", "telemetry.textfile"}
        textfile = found["telemetry.textfile"]
        assert textfile["reason"] == f"{path} cannot be written ({cause})"
        assert textfile["hint"] == remedy
