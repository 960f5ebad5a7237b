"""Where metrics and pings of a run go: textfile, Pushgateway and a dead man's switch.

The switch, such as healthchecks.io, raises the alarm when pings stay away: a machine that is down,
a timer that is disabled. Nothing here changes the result of a run: failures are logged.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import httpx
import structlog
from anyio import to_thread
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from worker.core.hosts import place_of
from worker.errors import (
    AreaError,
    ConfigurationError,
    ExitCode,
    UnavailableError,
    WorkerError,
    reason_of,
)
from worker.files import write_atomically
from worker.http.connection import TransportOptions
from worker.http.proxy import Proxy
from worker.http.transport import Transport
from worker.telemetry.metrics import HELP, PREFIX, Board
from worker.tls import client_context

log = structlog.get_logger()

JOB: Final = "pts_worker"
_PING_ENDS: Final[Mapping[ExitCode | None, str | None]] = {
    None: "/start",
    ExitCode.OK: "",
    ExitCode.GAPS: "",
    ExitCode.LEASE_HELD: None,  # another run pings
    ExitCode.STOPPED: None,  # the run is continued, or else the pings stay away
}
"""The end of a ping's path (healthchecks.io, "HTTP API"), if it is not ``/fail``; None: no ping."""
_BYTES_MAX: Final = 256 * 1024
"""Of a response; many times what they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryOptions:
    """Targets; ``None`` disables a target (configuration section ``telemetry``).

    Attributes:
        textfile: for node_exporter's textfile collector, which reads ``*.prom``.
        ping_url: dead man's switch; ``/start`` or ``/fail`` is appended. Never log its path.
        push_s_max: seconds for each target.
        proxy: for the URLs, except loopback.
    """

    textfile: Path | None = None
    pushgateway_url: str | None = None
    ping_url: str | None = None
    ca_file: Path | None = None
    push_s_max: float = 5.0
    proxy: Proxy | None = None


async def emit(
    samples: Sequence[Sample], options: TelemetryOptions, board: Board | None = None
) -> None:
    """Send the samples of a run to all targets at once. Failures are logged, never raised.

    Args:
        board: the samples of ``/metrics``, if it is served.
    """
    if board is not None:
        board.post(samples)
    async with anyio.create_task_group() as group:
        if options.textfile is not None:
            write = partial(write_textfile, options.textfile, samples)
            in_thread = partial(to_thread.run_sync, write, abandon_on_cancel=True)
            group.start_soon(_send, "textfile", in_thread, "", options)
        if (url := options.pushgateway_url) is not None:
            push = partial(_push, url, samples, options)
            group.start_soon(_send, "pushgateway", push, f" at {place_of(url)}", options)


async def ping(options: TelemetryOptions, exit_code: ExitCode | None = None) -> None:
    """Ping ``options.ping_url``, if there is one: a run begins, or has ended with this code.

    The body is the code, and nothing else says anything of the run. A failure is logged and never
    raised; the log does not name the host, since the whole address is a secret.
    """
    url, end = options.ping_url, _PING_ENDS.get(exit_code, "/fail")
    if url is not None and end is not None:
        body = b"" if exit_code is None else f"exit code {int(exit_code)}\n".encode()
        post = partial(_post, url + end, body, options, "the service", "telemetry.ping_url")
        await _send("ping", post, "", options)


async def _send(
    target: str, send: Callable[[], Awaitable[None]], place: str, options: TelemetryOptions
) -> None:
    """Send to one target within the time limit; a thread that takes longer is left behind."""
    hint = ""
    try:
        with anyio.fail_after(options.push_s_max):
            await send()
    except TimeoutError:
        reason = f"no response within {options.push_s_max:g} s{place}"
    except WorkerError as error:
        reason, hint = error.message, error.hint
        reason += place if isinstance(error, AreaError) else ""
    except Exception as error:  # noqa: BLE001 - a target never changes the result of a run
        reason = f"{type(error).__name__}{place}"
    else:
        return
    log.warning("telemetry.failed", target=target, reason=reason, hint=hint)


async def _push(url: str, samples: Iterable[Sample], options: TelemetryOptions) -> None:
    """Push the samples to the Pushgateway. Other metrics keep their value there.

    Samples are grouped by job and kind of run, so a backfill does not replace the metrics of a
    sync. There is no instance label, which would leave one group behind per host.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        run = sample.labels.get("run")
        groups.setdefault(f"{JOB}/run/{run}" if run else JOB, []).append(sample)
    name = f"the Pushgateway at {place_of(url)}"
    for group, own in groups.items():
        address = f"{url.rstrip('/')}/metrics/job/{group}"
        await _post(address, Board(own).text(), options, name, "telemetry.pushgateway_url")


async def _post(url: str, body: bytes, options: TelemetryOptions, server: str, key: str) -> None:
    """Post a text; no redirect is followed.

    Args:
        server: who answers, for messages.
        key: the configuration key with its address.
    """
    transport = Transport(
        TransportOptions(
            server=server,
            attempt_s_max=options.push_s_max,
            response_bytes_max=_BYTES_MAX,
            tls=client_context(options.ca_file),
            proxy=options.proxy,
        )
    )
    headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    async with transport:
        response = await transport.post(url, headers=headers, body=body)
    problem = f"{server} answered with status {response.status}"
    if response.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise UnavailableError(problem)
    if not httpx.codes.is_success(response.status):
        raise ConfigurationError(problem, hint=f"check {key}")


def write_textfile(path: Path, samples: Iterable[Sample]) -> None:
    """Write the samples atomically. Keeps samples that only the existing file has.

    The time of the last success thus survives a failed run. Who may read the folder may read the
    file: node_exporter is another user.

    Raises:
        ConfigurationError: the file cannot be read or written.
    """
    try:
        try:
            board = Board([*_former(path), *samples])
        except ValueError:  # labels of another version
            board = Board(samples)
        # The collector reads every *.prom in the folder; the temporary name does not match.
        mode = 0o600 | (path.parent.stat().st_mode & 0o044)
        write_atomically(path, board.text(), mode=mode)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry.textfile: {path} cannot be written ({reason_of(error)})",
            hint="let the worker's user make files in that folder; under systemd, name it in "
            "ReadWritePaths= (config/systemd/textfile.conf)",
        ) from error


def _former(path: Path) -> list[Sample]:
    """What earlier runs wrote. None if there is no plain file, or no metrics."""
    try:
        content = path.read_text("utf-8") if path.is_file() else ""
        families = list(text_string_to_metric_families(content))
    except ValueError:
        return []
    samples = [sample for family in families for sample in family.samples]
    return [sample for sample in samples if sample.name.removeprefix(PREFIX) in HELP]
