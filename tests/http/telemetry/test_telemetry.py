"""What each target receives about a run: real files, real sockets."""

import stat

import msgspec
import pytest
import structlog

from tests.support.http.reports import (
    NIGHT,
    PUBLISHED_AT,
    STANDING,
    SUCCESS_AT,
    WITHHELD,
    pushes,
    reported,
)
from tests.support.raw_server import http, raw_server
from worker.config.settings import Telemetry
from worker.core.model import RunKind
from worker.http.connection import TransportOptions
from worker.http.transport import Transport
from worker.telemetry import HELP, emit, samples_of


def out(server: str) -> Transport:
    return Transport(TransportOptions(server=server))


BACKFILL = msgspec.structs.replace(NIGHT, kind=RunKind.BACKFILL, totals={"persons_total": 2})
OF_THE_SUCCESS = {
    "last_published_timestamp_seconds": PUBLISHED_AT.timestamp(),
    "last_success_timestamp_seconds": SUCCESS_AT.timestamp(),
    "persons kind=total run=sync": 500.0,
}


async def test_the_textfile_has_every_number(tmp_path):
    """Whole, under the promised names; who may read the folder may read it."""
    path = tmp_path / "pts_worker.prom"
    for folder, mode in ((0o755, 0o644), (0o750, 0o640), (0o700, 0o600)):
        tmp_path.chmod(folder)
        await emit(samples_of(NIGHT, STANDING), Telemetry(textfile=path), out)
        modes = [oct(stat.S_IMODE(file.stat().st_mode)) for file in tmp_path.iterdir()]
        assert modes == [oct(mode)]
    numbers = reported(path.read_text())
    expected = OF_THE_SUCCESS | {
        "last_run_timestamp_seconds run=sync": NIGHT.finished_at.timestamp(),
        "run_duration_seconds run=sync": 93.0,
        "exit_code run=sync": 0.0,
        "retries run=sync": 4.0,
        "warnings run=sync": 2.0,
        "stale_persons": 0.0,
    }
    assert {name: numbers[name] for name in expected} == expected
    assert set(HELP) == {name.split()[0] for name in numbers}
    labels = {label.partition("=")[0] for name in numbers for label in name.split()[1:]}
    assert labels == {"run", "kind"}  # nothing personal


async def test_the_numbers_of_the_last_published_sync_stay(tmp_path):
    """Beside the exit code of the run that failed, or the numbers of a subset."""
    to = Telemetry(textfile=tmp_path / "pts_worker.prom")
    ended = {"exit_code run=sync": 5.0, "failures kind=transient run=sync": 7.0}
    for then, more in (
        (WITHHELD, ended | {"warnings run=sync": 2.0}),
        (BACKFILL, {"persons kind=total run=backfill": 2.0, "stale_persons": 0.0}),
    ):
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
    bodies = b"".join(body for *_, body in pushes(server))
    assert reported(bodies)["persons kind=total run=sync"] == 500.0


@pytest.mark.parametrize("status", [400, 500])
async def test_a_pushgateway_that_refuses_changes_nothing(tmp_path, status):
    """Host, port and status are logged, no credentials; the other targets get all the same."""
    async with raw_server(http(status=f"{status} No")) as server:
        secret = server.url.replace("//", "//somebody:hunter2@")
        with structlog.testing.capture_logs() as logs:
            textfile = Telemetry(textfile=tmp_path / "pts_worker.prom")
            to = textfile.model_copy(update={"pushgateway_url": secret})
            said = await emit(samples_of(NIGHT, STANDING), to, out)
    place, (log,) = server.url.removeprefix("http://"), logs
    reason = f"the Pushgateway at {place} answered with status {status}"
    assert (log["target"], log["reason"]) == (f"pushgateway at {place}", reason)
    assert log["hint"] == ("check telemetry.pushgateway_url" if status < 500 else "")
    assert "hunter2" not in f"{logs} {said}"
    assert (tmp_path / "pts_worker.prom").exists()


OWN = b'pts_worker_exit_code{run="sync"} 1'
NOT_OURS = {
    "key": b"\xff of a key",
    "comment": b"# a setting",
    "labels": b"pts_worker_exit_code 3",
    "number": OWN + b"0" * 400,
    "long": (b"# HELP pts_worker_exit_code " + b"x" * 400 + b"\n") * 3000,
    "line": OWN.replace(b"sync", rb"\"" * 500_000),
}


async def test_textfiles_that_cannot_be_written(tmp_path):
    """A line with cause and remedy; what was named by mistake stays as it is."""
    for name, content in NOT_OURS.items():
        (tmp_path / name).write_bytes(content)
    mistaken = (" is not a file of this program's metrics", "delete it, or name another file")
    for name, cause, remedy in (
        (
            "none/x.prom",
            " cannot be written (no such file or directory)",
            "create the folder first",
        ),
        ("", " cannot be written (it is a folder)", "name a file in it"),
        *((name, *mistaken) for name in NOT_OURS),
    ):
        path = tmp_path / name
        with structlog.testing.capture_logs() as log:
            await emit(samples_of(NIGHT, STANDING), Telemetry(textfile=path), out)
        assert [(line["reason"], line["hint"]) for line in log] == [(f"{path}{cause}", remedy)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == NOT_OURS
