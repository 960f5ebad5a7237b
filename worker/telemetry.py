"""A run's metrics and pings: textfile, Pushgateway, ``/metrics``, and a dead man's switch.

A dead man's switch such as healthchecks.io raises an alarm if no ping arrives, for example because
the machine is down or the timer is disabled. A failure of telemetry is logged, and never changes
the result of a run. No label contains a personal value.
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
from worker.core.run import PublishedState, RunReport
from worker.errors import ConfigurationError, ExitCode, FailureKind, WorkerError
from worker.files import convert_write_errors, write_atomically
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
    "new_undeclared_fields": "Undeclared fields first seen in the last published run.",
    "warnings": "Warnings of the last published run: unusual figures below the guard's limits.",
    "stale_persons": "Persons on the roster with a stale area.",
    "known_persons": "Persons with a published state who have not departed.",
}
"""All metrics, without prefix. All are gauges with the state after the last run."""

LIMIT_S: Final = 5.0
"""Time-out for each target."""
_JOB: Final = "pts_worker"
_FILE_MAX: Final = 1024 * 1024
_METRIC_LINE: Final = re.compile(rf"(# HELP |# TYPE |){PREFIX}.{{1,500}}")
"""A line of these metrics. A longer one would cost the library's parser quadratic time."""
_PING_ENDS: Final[Mapping[ExitCode | None, str | None]] = {
    None: "/start",
    ExitCode.OK: "",
    ExitCode.GAPS: "",
    ExitCode.LEASE_HELD: None,  # the run with the lease sends the ping
    ExitCode.STOPPED: None,  # if the run is not continued, the missing ping raises the alarm
}
"""The end of a ping's path (healthchecks.io, "HTTP API"). Other codes: ``/fail``. None: no ping."""
_OpenTransport: TypeAlias = Callable[[str], Transport]
"""Opens a transport to the server with this name, which messages use."""


class Gauges:
    """The latest sample of every metric and label set, without process and platform metrics."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        self._gauges: dict[str, prometheus.Gauge] = {}
        self.update(samples)

    def update(self, samples: Iterable[Sample]) -> None:
        """Add samples, replacing those with the same name and labels."""
        for sample in samples:
            name, labels = sample.name, sample.labels
            # Created with its first sample: a gauge without labels starts at 0, and a time of 0
            # (1970) would raise an alarm.
            if name not in self._gauges:
                arguments = (name, HELP[name.removeprefix(PREFIX)], tuple(labels))
                self._gauges[name] = prometheus.Gauge(*arguments, registry=self.registry)
            gauge = self._gauges[name]
            (gauge.labels(**labels) if labels else gauge).set(sample.value)

    def text(self) -> bytes:
        """Return the samples in Prometheus' text format."""
        return prometheus.generate_latest(self.registry)

    @contextmanager
    def served(self, http_listen: str | None) -> Iterator[str | None]:
        """Serve ``/metrics`` inside the ``with`` block. Its value is the URL, or None.

        Args:
            http_listen: ``host:port``. Port 0 is a free port. None: serve nothing.

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
            ending.join(1.0)  # shutdown waits for the current connection, which may be slow
            server.server_close()


class _Server(WSGIServer):
    """Serves one connection at a time, so that unknown clients use at most one descriptor."""

    def __init__(self, host: str, port: int, registry: prometheus.CollectorRegistry) -> None:
        (self.address_family, *_, address), *_ = getaddrinfo(host, None)
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(prometheus.make_wsgi_app(registry))

    def handle_error(self, *_: object) -> None:
        pass  # a broken connection must not stop the schedule


class _Handler(WSGIRequestHandler):
    """Waits at most ``LIMIT_S`` for bytes. Never logs a request, which may contain any text."""

    timeout = LIMIT_S

    def log_message(self, *_: object) -> None:
        pass

    def get_stderr(self) -> io.StringIO:
        return io.StringIO()


def samples_of(report: RunReport, state: PublishedState | None) -> list[Sample]:
    """Return the samples of a run. An unpublished run has no totals.

    The labels are ``run`` (``sync`` or ``backfill``) and ``kind``. Samples of the published state
    have no labels.

    Args:
        state: the published state. None keeps the earlier samples.
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
    return [*samples, *(() if state is None else samples_of_state(state))]


def samples_of_end(exit_code: ExitCode, *, at: datetime, kind: RunKind) -> list[Sample]:
    """Return the samples of a run's end, also for a run that could not start."""
    ended = _sample("last_run_timestamp_seconds", at.timestamp(), run=kind.value)
    return [ended, _sample("exit_code", exit_code, run=kind.value)]


def samples_of_totals(kind: RunKind, totals: Mapping[str, int]) -> Iterator[Sample]:
    """Yield the totals of a published run, from the ledger's columns such as ``rows_opened``."""
    for column, amount in totals.items():
        # ``rows_opened`` becomes ``rows{kind="opened"}``.
        name, _, label = column.partition("_")
        if name in {"persons", "areas", "rows"}:
            yield _sample(name, amount, run=kind.value, kind=label)
        elif column in HELP:
            yield _sample(column, amount, run=kind.value)


def samples_of_state(state: PublishedState) -> Iterator[Sample]:
    """Yield the samples of the published state."""
    if state.last_published_at is not None:
        yield _sample("last_published_timestamp_seconds", state.last_published_at.timestamp())
    if state.last_success_at is not None:
        yield _sample("last_success_timestamp_seconds", state.last_success_at.timestamp())
    yield _sample("stale_persons", state.persons_stale)
    yield _sample("known_persons", state.persons_known)


def _sample(name: str, value: float, **labels: str) -> Sample:
    return Sample(PREFIX + name, labels, float(value))


async def emit(
    samples: Sequence[Sample],
    targets: Telemetry,
    open_transport: _OpenTransport,
    gauges: Gauges | None = None,
) -> Sequence[str]:
    """Send the samples of a run to all targets at once. Failures are logged, never raised.

    Args:
        gauges: the samples of ``/metrics``, if it is served.

    Returns:
        The failures, for the run's summary.
    """
    failed: list[str] = []
    if gauges is not None:
        gauges.update(samples)
    # At the same time, so that a slow target does not delay the others.
    async with anyio.create_task_group() as group:
        if (path := targets.textfile) is not None:
            write = partial(_write_textfile, path, samples)
            in_thread = partial(to_thread.run_sync, write, abandon_on_cancel=True)
            group.start_soon(_send, "telemetry.textfile", in_thread, failed)
        if (url := targets.pushgateway_url) is not None:
            push = partial(_push, url, samples, open_transport)
            group.start_soon(_send, f"pushgateway at {place_of(url)}", push, failed)
    return failed


async def ping(
    targets: Telemetry, open_transport: _OpenTransport, exit_code: ExitCode | None = None
) -> None:
    """Ping ``telemetry.ping_url``, if it is set, when a run starts or ends.

    The body contains the exit code and nothing else. A failure is logged and never raised. The log
    does not name the host, because the whole address is a secret.

    Args:
        exit_code: of the run that has ended. None: a run starts.
    """
    end = _PING_ENDS.get(exit_code, "/fail")
    if targets.ping_url is not None and end is not None:
        url = targets.ping_url.get_secret_value() + end
        body = b"" if exit_code is None else f"exit code {int(exit_code)}\n".encode()
        post = partial(_post, url, body, open_transport, "the service", "telemetry.ping_url")
        await _send("ping", post, [])


async def _send(target: str, send: Callable[[], Awaitable[None]], failed: list[str]) -> None:
    """Send to one target within the time limit. A thread that takes longer is abandoned."""
    try:
        with anyio.fail_after(LIMIT_S):
            await send()
    except TimeoutError:
        failure = WorkerError(f"no response within {LIMIT_S:g} s")
    except WorkerError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - a target never changes the result of a run
        failure = WorkerError(type(error).__name__)
    else:
        return
    log.warning("telemetry.failed", target=target, reason=failure.message, hint=failure.hint)
    failed.append(f"metrics: {target}: {failure.advice}")


async def _push(url: str, samples: Iterable[Sample], open_transport: _OpenTransport) -> None:
    """Push the samples to the Pushgateway. Other metrics keep their value there."""
    # Grouped by kind of run, so that a backfill does not replace the metrics of a sync. Without an
    # instance label, which would leave one group behind for each former host.
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        run = sample.labels.get("run")
        groups.setdefault(f"{_JOB}/run/{run}" if run else _JOB, []).append(sample)
    server = f"the Pushgateway at {place_of(url)}"
    for group, members in groups.items():
        address = f"{url}/metrics/job/{group}"
        await _post(
            address, Gauges(members).text(), open_transport, server, "telemetry.pushgateway_url"
        )


async def _post(
    url: str, body: bytes, open_transport: _OpenTransport, server: str, key: str
) -> None:
    """Post a text to the address of a configuration key. Redirects are not followed."""
    headers = {"Content-Type": prometheus.CONTENT_TYPE_PLAIN_0_0_4}
    async with open_transport(server) as transport:
        response = await transport.post(url, headers=headers, body=body)
    if not httpx.codes.is_success(response.status):
        is_server_error = httpx.codes.is_server_error(response.status)
        raise WorkerError(
            f"{server} answered with status {response.status}",
            hint="" if is_server_error else f"check {key}",
        )


def _write_textfile(path: Path, samples: Iterable[Sample]) -> None:
    """Write the samples atomically. Keeps samples that only the existing file has."""
    with convert_write_errors(path):
        try:
            # The time of the last success must survive a failed run.
            gauges = Gauges([*_previous(path), *samples])
        except (ValueError, LookupError, ArithmeticError):
            raise ConfigurationError(
                f"{path} is not a file of this program's metrics",
                hint="delete it, or name another file",
            ) from None
        # Readable for accounts that can read the folder: node_exporter runs as another user. It
        # reads every *.prom there, and the temporary name does not match.
        mode = 0o600 | (path.parent.stat().st_mode & 0o044)
        write_atomically(path, gauges.text(), mode=mode)


def _previous(path: Path) -> list[Sample]:
    """Read the samples of the existing file, if there is one.

    Raises:
        ValueError: the file is too large, or contains anything else.
    """
    if not path.is_file():
        return []
    with path.open("rb") as file:
        content = file.read(_FILE_MAX + 1)
    lines = content.decode().splitlines()
    if len(content) > _FILE_MAX or not all(map(_METRIC_LINE.fullmatch, lines)):
        raise ValueError
    families = text_string_to_metric_families("\n".join(lines))
    return [sample for family in families for sample in family.samples]
