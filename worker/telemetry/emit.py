"""Telling every target of a run, without ever standing in its way."""

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

import anyio
import structlog
from anyio import to_thread

from worker.core.run import RunReport
from worker.errors import WorkerError
from worker.proxy import proxy_for
from worker.telemetry.numbers import Sample, Standing, samples_of
from worker.telemetry.options import TelemetryOptions
from worker.telemetry.otlp import export_otlp, load_otlp
from worker.telemetry.prometheus import Board, push, write_textfile

log = structlog.get_logger()


def check_telemetry(options: TelemetryOptions) -> None:
    """Find out before a run what could not work after it.

    Raises:
        ConfigurationError: a target needs something that is not installed.
    """
    if options.otlp_endpoint is not None:
        load_otlp()


async def emit(
    report: RunReport,
    options: TelemetryOptions,
    *,
    standing: Standing | None = None,
    board: Board | None = None,
) -> None:
    """Tell every target how a run ended. Failures are logged and never raised.

    The targets are told at the same time, and each push ends after ``options.push_s_max``.

    Args:
        report: how the run ended.
        options: the targets; see ``check_telemetry``.
        standing: what stands by the database; without it, what this run alone knows.
        board: what ``/metrics`` shows, if it is served.
    """
    await emit_samples(samples_of(report, standing), options, board=board)


async def emit_samples(
    samples: Sequence[Sample], options: TelemetryOptions, *, board: Board | None = None
) -> None:
    """The same for samples, e.g. those of a run that could not begin (``samples_of_failure``)."""
    if board is not None:
        board.post(samples)
    async with anyio.create_task_group() as group:
        for name, tell in _targets(samples, options):
            group.start_soon(_told, name, tell, options)


def _targets(
    samples: Sequence[Sample], options: TelemetryOptions
) -> Iterable[tuple[str, Callable[[], None]]]:
    textfile = options.textfile
    if textfile is not None:
        yield "textfile", lambda: write_textfile(textfile, samples, mode=options.textfile_mode)
    if options.pushgateway_url is not None:
        yield "pushgateway", lambda: push(options, samples)
    if options.otlp_endpoint is not None:
        yield "otlp", lambda: export_otlp(options, samples)


async def _told(name: str, tell: Callable[[], None], options: TelemetryOptions) -> None:
    """Tell one target in a thread that is left behind if it takes too long."""
    through = _through(name, options)
    try:
        with anyio.fail_after(options.push_s_max):
            await to_thread.run_sync(tell, abandon_on_cancel=True)
    except TimeoutError:
        reason = f"no answer within {options.push_s_max:g} s{through}"
        log.warning("telemetry.failed", target=name, reason=reason)
    except WorkerError as error:
        log.warning("telemetry.failed", target=name, reason=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - whatever a target does, the run has ended as it has
        log.warning("telemetry.failed", target=name, reason=f"{type(error).__name__}{through}")


def _through(name: str, options: TelemetryOptions) -> str:
    """Names the proxy that a target is reached through, if there is one."""
    url = {"pushgateway": options.pushgateway_url, "otlp": options.otlp_endpoint}.get(name)
    proxy = None if url is None else proxy_for(options.proxy, urlsplit(url).hostname)
    return "" if proxy is None else f" (through the proxy {proxy.shown})"
