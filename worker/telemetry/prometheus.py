"""Prometheus targets: textfile, Pushgateway and ``/metrics``."""

import errno
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import httpx
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from worker.core.hosts import place_of
from worker.errors import ConfigurationError, UnavailableError, reason_of
from worker.files import write_atomically
from worker.telemetry.http_client import open_client
from worker.telemetry.http_server import Page
from worker.telemetry.numbers import HELP, PREFIX, Sample
from worker.telemetry.options import TelemetryOptions
from worker.trusted_files import open_own

JOB: Final = "pts_worker"
_TEXTFILE_BYTES_MAX: Final = 256 * 1024
"""Many times what we write."""
_OWN: Final = "remove it, and let nobody but the worker's user make files of that name"
_HINTS: Final = {
    errno.EROFS: "the file system is read-only for the worker; under systemd, name the folder in "
    "ReadWritePaths= (config/systemd/textfile.conf)",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the quota of the worker's user",
    errno.ENOENT: "make the folder, or correct telemetry.textfile",
    errno.EISDIR: "name a file in that folder, e.g. pts_worker.prom",
    errno.ENOTDIR: "correct telemetry.textfile",
}
"""What to do about an error of the file system; else it is permissions."""


class Board(Collector):
    """The latest sample of every metric and label set."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._lock = threading.Lock()
        self._samples: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
        self.post(samples)

    def post(self, samples: Iterable[Sample]) -> None:
        """Add samples, replacing those with the same name and labels."""
        with self._lock:
            self._samples |= {(sample.name, sample.labels): sample for sample in samples}

    def fill(self, samples: Iterable[Sample]) -> None:
        """Add those samples of which there is none yet."""
        with self._lock:
            self._samples = {(s.name, s.labels): s for s in samples} | self._samples

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric families, for prometheus-client."""
        with self._lock:
            samples = list(self._samples.values())
        for name, text in HELP.items():
            members = [sample for sample in samples if sample.name == PREFIX + name]
            if not members:
                continue
            family = GaugeMetricFamily(
                PREFIX + name, text, labels=[label for label, _ in members[0].labels]
            )
            for sample in members:
                family.add_metric([value for _, value in sample.labels], sample.value)
            yield family


def registry_of(board: Board) -> CollectorRegistry:
    """A registry with only this board, without metrics of the process or the platform."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(board)
    return registry


def write_textfile(path: Path, samples: Iterable[Sample], *, mode: int) -> None:
    """Write the samples atomically. Keeps samples that only the existing file has.

    The time of the last success thus survives a failed run.

    Raises:
        ConfigurationError: as ``read_textfile``; or the file cannot be read or written.
    """
    try:
        board = Board(read_textfile(path))
        board.post(samples)
        # The collector reads every *.prom in the folder; the temporary name does not match.
        write_atomically(path, generate_latest(registry_of(board)), mode=mode)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry.textfile: {path} cannot be written ({reason_of(error)})",
            hint=_HINTS.get(error.errno or 0, "let the worker's user create files in that folder"),
        ) from error


def read_textfile(path: Path) -> list[Sample]:
    """The samples of a file that an earlier run wrote. None if there is no file, or no metrics.

    Its folder may be others' to write, so what lies there may be theirs.

    Raises:
        ConfigurationError: it is no plain file, belongs to another user, or is too large.
        OSError: it cannot be read.
    """
    try:
        with open_own(path, key="telemetry.textfile") as file:
            content = file.read(_TEXTFILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return []
    except ConfigurationError as error:
        raise ConfigurationError(f"{error.message}; it is left as it is", hint=_OWN) from None
    if len(content) > _TEXTFILE_BYTES_MAX:
        raise ConfigurationError(
            f"telemetry.textfile: {path} is larger than {_TEXTFILE_BYTES_MAX} bytes; it is left as "
            "it is",
            hint=_OWN,
        )
    try:
        families = list(text_string_to_metric_families(content.decode()))
    except ValueError:
        return []
    return [
        Sample(name=sample.name, value=sample.value, labels=tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
        if sample.name.startswith(PREFIX)
    ]


async def push(options: TelemetryOptions, samples: Iterable[Sample]) -> None:
    """Push the samples to the Pushgateway. Other metrics keep their value there.

    Samples are grouped by job and kind of run, so a backfill does not replace the metrics of a
    sync. There is no instance label, which would leave one group behind per host.

    Raises:
        ConfigurationError: the Pushgateway refuses the push, or redirects.
        UnavailableError: it answers with an error of its own.
        AreaError: it cannot be reached, or what answers is not HTTP.
    """
    if options.pushgateway_url is None:
        return
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(dict(sample.labels).get("run", ""), []).append(sample)
    async with open_client(options, "the Pushgateway") as client:
        for run, group in groups.items():
            response = await client.send(_pushed(options.pushgateway_url, run, group))
            _require_success(response, options.pushgateway_url)


def _pushed(url: str, run: str, samples: Iterable[Sample]) -> httpx.Request:
    """Adds these samples to the group of a kind of run; empty: of none."""
    group = f"{JOB}/run/{run}" if run else JOB
    return httpx.Request(
        "POST",
        f"{url.rstrip('/')}/metrics/job/{group}",
        headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4},
        content=generate_latest(registry_of(Board(samples))),
    )


def _require_success(response: httpx.Response, url: str) -> None:
    if response.is_success:
        return
    problem = f"the Pushgateway at {place_of(url)} answered with status {response.status_code}"
    if response.is_server_error:
        raise UnavailableError(problem, hint="see the Pushgateway's own log")
    raise ConfigurationError(problem, hint="check telemetry.pushgateway_url")


def metrics_page(board: Board) -> Page:
    """``/metrics`` in Prometheus' text format."""
    return Page(body=generate_latest(registry_of(board)), content_type=CONTENT_TYPE_PLAIN_0_0_4)
