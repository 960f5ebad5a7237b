"""Two nights as telemetry gets them, and what its targets receive."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from tests.support.clock import START
from tests.support.raw_server import RawServer
from worker.core.model import RunKind, RunStatus
from worker.core.run import PublishedState, RunReport
from worker.errors import ExitCode

PUBLISHED_AT = START + timedelta(seconds=92)
SUCCESS_AT = PUBLISHED_AT - timedelta(days=1)
NIGHT = RunReport(
    run_id=12,
    kind=RunKind.SYNC,
    status=RunStatus.PUBLISHED,
    exit_code=ExitCode.OK,
    started_at=START,
    finished_at=START + timedelta(seconds=93),
    published_at=PUBLISHED_AT,
    totals={
        "persons_total": 500,
        "persons_complete": 500,
        "persons_stale": 0,
        "persons_departed": 1,
        "roster_faults": 0,
        "areas_complete": 1000,
        "areas_failed": 0,
        "rows_read": 700,
        "rows_opened": 3,
        "requests": 1004,
        "retries": 4,
    },
    warnings=2,
)
STANDING = PublishedState(
    last_success_at=SUCCESS_AT, last_published_at=PUBLISHED_AT, persons_stale=0, persons_known=9
)
WITHHELD = RunReport(
    run_id=13,
    kind=RunKind.SYNC,
    status=RunStatus.WITHHELD,
    exit_code=ExitCode.WITHHELD,
    started_at=START + timedelta(days=1),
    finished_at=START + timedelta(days=1, seconds=20),
    failures={"transient": 7},
    reasons=("a person decides",),
)


def pushes(server: RawServer) -> list[tuple[str, str, bytes]]:
    """What it was sent: method, path and body."""
    lines = ((request.line.split(), request.body) for request in server.requests)
    return [(method, path, body) for (method, path, _), body in lines]


def reported(text: str | bytes) -> dict[str, float]:
    """Every sample by its name and labels, read by prometheus-client's own parser."""
    text = text.decode() if isinstance(text, bytes) else text
    return {
        sample.name.removeprefix("pts_worker_")
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
