"""Send a run's metrics and pings to all targets. Failures are logged and never raised."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from urllib.parse import urlsplit

import anyio
import structlog
from anyio import to_thread

from worker.core.hosts import place_of
from worker.errors import AreaError, ExitCode, WorkerError
from worker.proxy import proxy_for
from worker.telemetry.numbers import Sample
from worker.telemetry.options import TelemetryOptions
from worker.telemetry.ping import Ping, send_ping
from worker.telemetry.prometheus import Board, push, write_textfile

log = structlog.get_logger()


async def emit(
    samples: Sequence[Sample], options: TelemetryOptions, *, board: Board | None = None
) -> None:
    """Send the samples of a run to all targets concurrently. Failures are logged, never raised.

    Each target has ``options.push_s_max`` seconds.

    Args:
        board: the samples of ``/metrics``, if it is served.
    """
    if board is not None:
        board.post(samples)
    async with anyio.create_task_group() as group:
        for name, send in _targets(samples, options):
            group.start_soon(_send, name, send, options)


async def ping(
    options: TelemetryOptions, signal: Ping | None, exit_code: ExitCode | None = None
) -> None:
    """Send a ping to ``options.ping_url``, if there is one. A failure is logged and never raised.

    It has ``options.push_s_max`` seconds.
    """
    if options.ping_url is not None and signal is not None:
        await _send("ping", partial(send_ping, options, signal, exit_code), options)


def _targets(
    samples: Sequence[Sample], options: TelemetryOptions
) -> Iterable[tuple[str, Callable[[], Awaitable[None]]]]:
    if options.textfile is not None:
        write = partial(write_textfile, options.textfile, samples, mode=options.textfile_mode)
        yield "textfile", partial(to_thread.run_sync, write, abandon_on_cancel=True)
    if options.pushgateway_url is not None:
        yield "pushgateway", partial(push, options, samples)


async def _send(name: str, send: Callable[[], Awaitable[None]], options: TelemetryOptions) -> None:
    """Send to one target within the time limit; a thread that takes longer is left behind."""
    way = _way(name, options)
    try:
        with anyio.fail_after(options.push_s_max):
            await send()
    except TimeoutError:
        reason = f"no response within {options.push_s_max:g} s{way}"
        log.warning("telemetry.failed", target=name, reason=reason)
    except AreaError as error:
        reason = f"{error.message}{way}"
        log.warning("telemetry.failed", target=name, reason=reason, hint=error.hint)
    except WorkerError as error:
        log.warning("telemetry.failed", target=name, reason=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - a target never changes the result of a run
        log.warning("telemetry.failed", target=name, reason=f"{type(error).__name__}{way}")


def _way(name: str, options: TelemetryOptions) -> str:
    """Host and port of a target on the network and its proxy, for messages.

    A ping's host is left out: its whole address is a secret.
    """
    url = {"pushgateway": options.pushgateway_url, "ping": options.ping_url}.get(name)
    if url is None:
        return ""
    place = "" if name == "ping" else f" at {place_of(url)}"
    proxy = proxy_for(options.proxy, urlsplit(url).hostname)
    return place if proxy is None else f"{place} (through the proxy {proxy.shown})"
