"""A run's metrics and pings: textfile, Pushgateway, ``/metrics``, and a dead man's switch.

The switch, such as healthchecks.io, raises the alarm when pings stay away: a machine that is down,
a timer that is disabled. Nothing here changes the result of a run: failures are logged. No label
holds a personal value.
"""

import io
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from socket import getaddrinfo
from threading import Thread
from typing import Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import anyio
import httpx
import prometheus_client as prometheus
import structlog
from anyio import to_thread
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from worker.config.settings import Telemetry
from worker.core.hosts import place_of
from worker.core.model import RunKind, RunStatus
from worker.core.run import RunReport, Standing
from worker.errors import ConfigurationError, ExitCode, FailureKind, WorkerError
from worker.files import named_faults, write_atomically
from worker.http.transport import Transport

log = structlog.get_logger()

PREFIX: Final = "pts_worker_"
HELP: Final[Mapping[str, str]] = {
    "last_run_timestamp_seconds": "End of the last run, whatever its result.",
    "last_success_timestamp_seconds": "Time of the last full publication without failures.",
    "last_published_timestamp_seconds": "Time of the last publication by a full run (`sync`).",
    "run_duration_seconds": "Duration of the last process of a run; not the time between attempts.",
    "exit_code": "Exit code of the last run.",
    "persons": "Persons of the last published run.",
    "areas": "Person-areas of the last published run.",
    "rows": "Restriction rows of the last published run.",
    "roster_faults": "Unreadable roster lines of the last published run.",
    "requests": "HTTP requests of the last published run.",
    "retries": "HTTP retries of the last published run.",
    "failures": "Person-areas that the last run could not read.",
    "new_undeclared_fields": "Fields that the last published run was the first to see, and that "
    "the contract with PTS does not declare.",
    "warnings": "Warnings of the last published run: what is below the guard's limits but unusual.",
    "stale_persons": "Persons with an area that the last run did not confirm.",
    "known_persons": "Persons with a published state who have not departed.",
}
"""All metrics, without prefix. All are gauges with the state after the last run."""

LIMIT_S: Final = 5.0
"""For each target."""
_JOB: Final = "pts_worker"
_FILE_MAX: Final = 1024 * 1024
_OWN: Final = re.compile(rf"(# HELP |# TYPE |){PREFIX}.{{1,500}}")
"""A line of these metrics. A longer one would cost the library's parser quadratic time."""
_PING_ENDS: Final[Mapping[ExitCode | None, str | None]] = {
    None: "/start",
    ExitCode.OK: "",
    ExitCode.GAPS: "",
    ExitCode.LEASE_HELD: None,  # another run pings
    ExitCode.STOPPED: None,  # the run is continued, or else the pings stay away
}
"""The end of a ping's path (healthchecks.io, "HTTP API"), if it is not ``/fail``; None: no ping."""
_Out: TypeAlias = Callable[[str], Transport]
"""Opens the way out to a server, which messages call so."""


class Board:
    """The latest sample of every metric and label set, without those of process and platform."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        self._gauges: dict[str, prometheus.Gauge] = {}
        self.post(samples)

    def post(self, samples: Iterable[Sample]) -> None:
        """Add samples, replacing those with the same name and labels."""
        for sample in samples:
            name, labels = sample.name, sample.labels
            # Made with its first sample: a gauge without labels begins with a zero, that of 1970.
            if name not in self._gauges:
                told = (name, HELP[name.removeprefix(PREFIX)], tuple(labels))
                self._gauges[name] = prometheus.Gauge(*told, registry=self.registry)
            gauge = self._gauges[name]
            (gauge.labels(**labels) if labels else gauge).set(sample.value)

    def text(self) -> bytes:
        """Prometheus' text format."""
        return prometheus.generate_latest(self.registry)

    @contextmanager
    def served(self, http_listen: str | None) -> Iterator[str | None]:
        """Serve ``/metrics`` inside the ``with`` block, whose value is its URL; None: nothing.

        Args:
            http_listen: ``host:port``; port 0 is a free port.

        Raises:
            ConfigurationError: cannot listen on the address.
        """
        if http_listen is None:
            yield None
            return
        host, _, port = http_listen.rpartition(":")
        try:
            server = _Server(host.strip("[]"), int(port), self.registry)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"telemetry.http_listen: cannot listen on this address ({error})",
                hint="choose another address or port, e.g. 127.0.0.1:9464",
            ) from error
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            ending = Thread(target=server.shutdown, daemon=True)
            ending.start()
            ending.join(1.0)  # no longer: it waits for the connection that is served
            server.server_close()


class _Server(WSGIServer):
    """Serves one connection at a time: strangers hold one descriptor, and wait in the kernel."""

    def __init__(self, host: str, port: int, registry: prometheus.CollectorRegistry) -> None:
        (self.address_family, *_, address), *_ = getaddrinfo(host, None)
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(prometheus.make_wsgi_app(registry))

    def handle_error(self, *_: object) -> None:
        pass  # a broken connection ends nothing


class _Handler(WSGIRequestHandler):
    """Waits ``LIMIT_S`` for bytes, and prints nothing of a request, which may hold anything."""

    timeout = LIMIT_S

    def log_message(self, *_: object) -> None:
        pass

    def get_stderr(self) -> io.StringIO:
        return io.StringIO()


def samples_of(report: RunReport, standing: Standing | None) -> list[Sample]:
    """The samples of a run; an unpublished run has no totals.

    The labels are ``run`` (``sync`` or ``backfill``) and ``kind``; samples of the published state
    have none.

    Args:
        standing: the published state; ``None`` leaves what is known of it as it is.
    """
    run = report.kind.value
    samples = [
        *samples_of_end(report.exit_code, at=report.finished_at, kind=report.kind),
        _sample("run_duration_seconds", report.worked_s, run=run),
        *samples_of_totals(report.kind, report.totals),
    ]
    failures = ((kind.value, report.failures.get(kind.value, 0)) for kind in FailureKind)
    samples += [_sample("failures", amount, run=run, kind=kind) for kind, amount in failures]
    if report.status is RunStatus.PUBLISHED:
        samples.append(_sample("new_undeclared_fields", len(report.new_fields), run=run))
        samples.append(_sample("warnings", report.warnings, run=run))
    return [*samples, *(() if standing is None else samples_of_standing(standing))]


def samples_of_end(exit_code: ExitCode, *, at: datetime, kind: RunKind) -> list[Sample]:
    """How a run ended, and no more: for one that could not start, or an earlier one."""
    ended = _sample("last_run_timestamp_seconds", at.timestamp(), run=kind.value)
    return [ended, _sample("exit_code", exit_code, run=kind.value)]


def samples_of_totals(kind: RunKind, totals: Mapping[str, int]) -> Iterator[Sample]:
    """What a run published, by the ledger's columns, such as ``rows_opened`` and ``requests``."""
    for column, amount in totals.items():
        name, _, counted = column.partition("_")
        if name in {"persons", "areas", "rows"}:
            yield _sample(name, amount, run=kind.value, kind=counted)
        elif column in HELP:
            yield _sample(column, amount, run=kind.value)


def samples_of_standing(standing: Standing) -> Iterator[Sample]:
    """The published state."""
    if standing.last_published_at is not None:
        yield _sample("last_published_timestamp_seconds", standing.last_published_at.timestamp())
    if standing.last_success_at is not None:
        yield _sample("last_success_timestamp_seconds", standing.last_success_at.timestamp())
    yield _sample("stale_persons", standing.persons_stale)
    yield _sample("known_persons", standing.persons_known)


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(PREFIX + name, labels, float(value))


async def emit(
    samples: Sequence[Sample], to: Telemetry, out: _Out, board: Board | None = None
) -> Sequence[str]:
    """Send the samples of a run to all targets at once. Failures are logged, never raised.

    Args:
        board: the samples of ``/metrics``, if it is served.

    Returns:
        What failed, for the run's summary.
    """
    failed: list[str] = []
    if board is not None:
        board.post(samples)
    async with anyio.create_task_group() as group:
        if (path := to.textfile) is not None:
            write = partial(_write_textfile, path, samples)
            in_thread = partial(to_thread.run_sync, write, abandon_on_cancel=True)
            group.start_soon(_send, "telemetry.textfile", in_thread, failed)
        if (url := to.pushgateway_url) is not None:
            push = partial(_push, url, samples, out)
            group.start_soon(_send, f"pushgateway at {place_of(url)}", push, failed)
    return failed


async def ping(to: Telemetry, out: _Out, exit_code: ExitCode | None = None) -> None:
    """Ping ``telemetry.ping_url``, if there is one: a run begins, or has ended with this code.

    The body is the code, and nothing else says anything of the run. A failure is logged and never
    raised; the log does not name the host, since the whole address is a secret.
    """
    end = _PING_ENDS.get(exit_code, "/fail")
    if to.ping_url is not None and end is not None:
        url = to.ping_url.get_secret_value() + end
        body = b"" if exit_code is None else f"exit code {int(exit_code)}\n".encode()
        post = partial(_post, url, body, out, "the service", "telemetry.ping_url")
        await _send("ping", post, [])


async def _send(target: str, send: Callable[[], Awaitable[None]], failed: list[str]) -> None:
    """Send to one target within the time limit; a thread that takes longer is left behind."""
    try:
        with anyio.fail_after(LIMIT_S):
            await send()
    except TimeoutError:
        fault = WorkerError(f"no response within {LIMIT_S:g} s")
    except WorkerError as error:
        fault = error
    except Exception as error:  # noqa: BLE001 - a target never changes the result of a run
        fault = WorkerError(type(error).__name__)
    else:
        return
    log.warning("telemetry.failed", target=target, reason=fault.message, hint=fault.hint)
    failed.append(f"metrics: {target}: {fault.advice}")


async def _push(url: str, samples: Iterable[Sample], out: _Out) -> None:
    """Push the samples to the Pushgateway. Other metrics keep their value there.

    Samples are grouped by job and kind of run, so a backfill does not replace the metrics of a
    sync. There is no instance label, which would leave one group behind per host.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        run = sample.labels.get("run")
        groups.setdefault(f"{_JOB}/run/{run}" if run else _JOB, []).append(sample)
    server = f"the Pushgateway at {place_of(url)}"
    for group, own in groups.items():
        address = f"{url.rstrip('/')}/metrics/job/{group}"
        await _post(address, Board(own).text(), out, server, "telemetry.pushgateway_url")


async def _post(url: str, body: bytes, out: _Out, server: str, key: str) -> None:
    """Post a text to the address of a configuration key; no redirect is followed."""
    headers = {"Content-Type": prometheus.CONTENT_TYPE_PLAIN_0_0_4}
    async with out(server) as transport:
        response = await transport.post(url, headers=headers, body=body)
    if not httpx.codes.is_success(response.status):
        is_theirs = httpx.codes.is_server_error(response.status)
        raise WorkerError(
            f"{server} answered with status {response.status}",
            hint="" if is_theirs else f"check {key}",
        )


def _write_textfile(path: Path, samples: Iterable[Sample]) -> None:
    """Write the samples atomically. Keeps samples that only the existing file has.

    The time of the last success thus survives a failed run. Anyone who may read the folder may read
    the file: node_exporter is another user.
    """
    with named_faults(path):
        try:
            board = Board([*_former(path), *samples])
        except (ValueError, LookupError, ArithmeticError):
            raise ConfigurationError(
                f"{path} is not a file of this program's metrics",
                hint="delete it, or name another file",
            ) from None
        # The collector reads every *.prom in the folder; the temporary name does not match.
        mode = 0o600 | (path.parent.stat().st_mode & 0o044)
        write_atomically(path, board.text(), mode=mode)


def _former(path: Path) -> list[Sample]:
    """What earlier runs wrote, if there is a file; ``ValueError`` if it is too long, or another."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        content = file.read(_FILE_MAX + 1)
    lines = content.decode().splitlines()
    if len(content) > _FILE_MAX or not all(map(_OWN.fullmatch, lines)):
        raise ValueError
    families = text_string_to_metric_families("\n".join(lines))
    return [sample for family in families for sample in family.samples]
