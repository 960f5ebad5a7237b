"""Where telemetry goes."""

from dataclasses import dataclass
from pathlib import Path

from worker.proxy import Proxy

PUSH_S_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryOptions:
    """The targets; one that is ``None`` is left out (configuration section ``telemetry``).

    Attributes:
        textfile: for node_exporter's textfile collector; it reads names that end in ``.prom``.
        textfile_mode: of that file.
        pushgateway_url: a Prometheus Pushgateway.
        http_listen: ``host:port`` where ``schedule`` serves ``/metrics``.
        otlp_endpoint: an OpenTelemetry collector (OTLP over HTTP); ``/v1/metrics`` is added.
        ca_file: a private CA for the two addresses.
        push_s_max: seconds that each push may take.
        proxy: for the two addresses, unless they are this very machine's.
    """

    textfile: Path | None = None
    textfile_mode: int = 0o600
    pushgateway_url: str | None = None
    http_listen: str | None = None
    otlp_endpoint: str | None = None
    ca_file: Path | None = None
    push_s_max: float = PUSH_S_MAX
    proxy: Proxy | None = None
