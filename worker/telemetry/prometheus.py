"""The Prometheus targets: textfile, Pushgateway and the ``/metrics`` page."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import pushadd_to_gateway
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from worker.errors import ConfigurationError
from worker.files import write_whole
from worker.proxy import proxy_for
from worker.telemetry.numbers import HELP, PREFIX, Sample
from worker.telemetry.options import TelemetryOptions
from worker.tls import client_context

JOB: Final = "pts_worker"


class Board(Collector):
    """The latest value of every metric: a newer sample replaces the one of its name and labels."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._lock = threading.Lock()
        self._samples: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
        self.post(samples)

    def post(self, samples: Iterable[Sample]) -> None:
        """Take newer samples in."""
        with self._lock:
            self._samples |= {(sample.name, sample.labels): sample for sample in samples}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families, for prometheus-client."""
        with self._lock:
            samples = list(self._samples.values())
        for name, tells in HELP.items():
            own = [sample for sample in samples if sample.name == PREFIX + name]
            if not own:
                continue
            family = GaugeMetricFamily(
                PREFIX + name, tells, labels=[label for label, _ in own[0].labels]
            )
            for sample in own:
                family.add_metric([value for _, value in sample.labels], sample.value)
            yield family


def registry_of(board: Board) -> CollectorRegistry:
    """A registry with this board alone: nothing of the process, the host or the interpreter."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(board)
    return registry


def write_textfile(path: Path, samples: Iterable[Sample], *, mode: int) -> None:
    """Write the samples at once; numbers that only the old file has are kept.

    So the time of the last success outlives a night that failed.

    Raises:
        OSError: the file cannot be written.
    """
    board = Board(_read_textfile(path))
    board.post(samples)
    # The collector reads every *.prom of the folder; the temporary name does not end so.
    write_whole(path, generate_latest(registry_of(board)), mode=mode)


def _read_textfile(path: Path) -> list[Sample]:
    try:
        families = list(text_string_to_metric_families(path.read_text("utf-8")))
    except (FileNotFoundError, ValueError):
        return []
    return [
        Sample(name=sample.name, value=sample.value, labels=tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    ]


def push(options: TelemetryOptions, samples: Iterable[Sample]) -> None:
    """Push the samples to the Pushgateway; what is not among them keeps its value there.

    The groups are the job, and the job with the kind of run, so that a backfill does not replace
    the numbers of a sync. An instance label would leave one group behind for every host.

    Raises:
        httpx.HTTPError: the Pushgateway cannot be reached or refused.
    """
    if options.pushgateway_url is None:
        return
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(dict(sample.labels).get("run", ""), []).append(sample)
    for run, own in groups.items():
        pushadd_to_gateway(
            options.pushgateway_url,
            job=JOB,
            registry=registry_of(Board(own)),
            grouping_key={"run": run} if run else {},
            timeout=options.push_s_max,
            handler=_handler(options),
        )


def _handler(
    options: TelemetryOptions,
) -> Callable[[str, str, float | None, list[tuple[str, str]], bytes], Callable[[], None]]:
    """Sends a push as prometheus-client asks; its own way takes a proxy from the environment."""

    def handle(
        url: str,
        method: str,
        timeout: float | None,
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        def send() -> None:
            proxy = proxy_for(options.proxy, urlsplit(url).hostname)
            context = client_context(options.ca_file)
            with httpx.Client(
                verify=context,
                trust_env=False,
                proxy=None if proxy is None else proxy.for_httpx(context),
                timeout=timeout,
            ) as client:
                client.request(method, url, headers=headers, content=data).raise_for_status()

        return send

    return handle


@contextmanager
def serve_metrics(board: Board, options: TelemetryOptions) -> Iterator[str | None]:
    """Serve ``/metrics`` on ``options.http_listen`` for as long as the block lasts.

    Yields:
        The address, e.g. ``http://127.0.0.1:9464/metrics``; ``None`` if none is configured. Port 0
        takes any free port.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    if options.http_listen is None:
        yield None
        return
    host, _, port = options.http_listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        server, thread = start_http_server(int(port), addr=host, registry=registry_of(board))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not host:port"
        raise ConfigurationError(
            f"telemetry.http_listen: cannot listen there ({reason})",
            hint="choose another port, e.g. 127.0.0.1:9464",
        ) from error
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
